/* SPDX-License-Identifier: BSD-3-Clause */
/* One memory region for each segment, without access for peers. */
#ifndef DP_RDMA_LOCAL_KEY_H
#define DP_RDMA_LOCAL_KEY_H

#include "rdma/types.h"

void dp_local_keys_init(struct daxpin_rdma *rdma);
void dp_local_keys_destroy(struct daxpin_rdma *rdma);
/* Allow local keys. Before this call, requests for them return -EOPNOTSUPP. */
void dp_local_keys_allow(struct daxpin_rdma *rdma, bool for_windows);

/* Lend the region of the segment that contains a pool address, to bind a window to it.
 * It is not deregistered before dp_local_key_return(). 0 or -errno. */
int dp_local_key_lend(struct daxpin_rdma *rdma, uint64_t addr,
		      struct ibv_mr **ret_mr);
void dp_local_key_return(struct daxpin_rdma *rdma, uint64_t addr);

/* Deregister the keys of segments that a reclaim wants. Returns the first error. */
int dp_local_keys_service(struct daxpin_rdma *rdma);
/* Deregister all keys. Returns the first error; it can be called again. */
int dp_local_keys_close(struct daxpin_rdma *rdma);
uint32_t dp_local_keys_count(struct daxpin_rdma *rdma);

#endif
