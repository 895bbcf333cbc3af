/* SPDX-License-Identifier: BSD-3-Clause */
/* Registering and deregistering one memory region. */
#ifndef DP_RDMA_MR_H
#define DP_RDMA_MR_H

#include <infiniband/verbs.h>
#include <stdint.h>

/* ibv_reg_mr(). Repeated after a temporary failure, so hold no lock. 0 or -errno. */
int dp_mr_register(struct ibv_pd *pd, void *base, uint64_t length, int access,
		   struct ibv_mr **ret_mr);
/*
 * ibv_dereg_mr(). Repeated after a temporary failure, so hold no lock. 0: the device
 * reports that no DMA reaches the memory through this region any more. -errno: DMA may
 * still reach it.
 */
int dp_mr_deregister(struct ibv_mr *mr);

/* The same with one call of the device, for callers that hold a lock. */
int dp_mr_register_once(struct ibv_pd *pd, void *base, uint64_t length,
			int access, struct ibv_mr **ret_mr);
int dp_mr_deregister_once(struct ibv_mr *mr);

#endif
