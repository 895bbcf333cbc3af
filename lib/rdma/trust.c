/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One decision, in a file of its own, so that a test can be built that believes
 * a device which is not to be believed. Nobody else can have it otherwise.
 */
#include "rdma/backing.h"

bool dp_rdma_trusts(const struct daxpin_rdma_finding *finding)
{
	return finding->verdict == DAXPIN_RDMA_WORKS;
}
