/* SPDX-License-Identifier: BSD-3-Clause */
/* Registering and deregistering one memory region. */
#ifndef DP_RDMA_MR_H
#define DP_RDMA_MR_H

#include <infiniband/verbs.h>
#include <stdint.h>

/* ibv_reg_mr(), repeated if a signal interrupts it. 0 or -errno. */
int dp_mr_register(struct ibv_pd *pd, void *base, uint64_t length, int access,
		   struct ibv_mr **ret_mr);
/* 0: the device reports that nothing reaches the memory by this region any more.
 * -errno: it may still. */
int dp_mr_deregister(struct ibv_mr *mr);

#endif
