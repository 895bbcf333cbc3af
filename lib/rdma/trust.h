/* SPDX-License-Identifier: BSD-3-Clause */
/* Which findings of a probe the adapter relies on. */
#ifndef DP_RDMA_TRUST_H
#define DP_RDMA_TRUST_H

#include <daxpin-rdma.h>
#include <stdbool.h>

bool dp_rdma_trusts(const struct daxpin_rdma_finding *finding);

#endif
