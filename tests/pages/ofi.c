/* SPDX-License-Identifier: BSD-3-Clause */
/* The example of daxpin_ofi_attach(3). It needs a peer, so it is only compiled. */
#include <daxpin-ofi.h>

int main(void)
{
	struct daxpin_ofi_peer *peer = NULL;
	struct daxpin_extent extent = { 0, 0 };
	int ret;

#include "daxpin_ofi_attach-1.inc"
	return ret != 0;
}
