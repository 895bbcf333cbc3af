/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One decision in a file of its own, so that a test can replace it and use a
 * device whose probe failed. There is no option for that.
 */
#include "rdma/trust.h"

bool dp_rdma_trusts(const struct daxpin_rdma_finding *finding)
{
	return finding->verdict == DAXPIN_RDMA_WORKS;
}
