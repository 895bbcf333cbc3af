/* SPDX-License-Identifier: BSD-3-Clause */
/* The examples of daxpin_ofi_attach(3) and daxpin_ofi_local_open(3). They need a peer,
 * so they are only compiled. */
#include <daxpin-ofi.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

int write_extent(struct daxpin_ofi_local *local, struct daxpin_extent extent,
		 uint64_t length, struct fid_ep *ep, struct fid_cq *cq, fi_addr_t to,
		 uint64_t addr, uint64_t key);

int write_extent(struct daxpin_ofi_local *local, struct daxpin_extent extent,
		 uint64_t length, struct fid_ep *ep, struct fid_cq *cq, fi_addr_t to,
		 uint64_t addr, uint64_t key)
{
	struct daxpin_ofi_io io = { 0 };
	struct fi_cq_err_entry error = { 0 };
	struct fi_cq_entry entry;
	ssize_t ret;

#include "daxpin_ofi_local_open-1.inc"
	return (int)ret;
}

int main(void)
{
	struct daxpin_ofi_peer *peer = NULL;
	struct daxpin_extent extent = { 0, 0 };
	int ret;

#include "daxpin_ofi_attach-1.inc"
	return ret != 0;
}
