/* SPDX-License-Identifier: BSD-3-Clause */
/* Which verbs context is this process's own, by the kernel's numbers. */
#ifndef DP_RDMA_SELF_H
#define DP_RDMA_SELF_H

#include "media/layout.h"

/*
 * Makes (make is 1) or ends (0) one protection domain in a verbs context, in the
 * calling thread. 0 or -errno.
 */
typedef int dp_rdma_domain_fn(int make, void *arg);

/*
 * The context in which domain makes its protection domains, with no flags.
 * *ret_maker: the thread that made the context, 0: dead or in another pid
 * namespace. -EBUSY: the number cannot be learnt here. -ENODEV: there is no verbs
 * context at all, as the kernel has no RDMA. Otherwise what domain returned.
 */
int dp_rdma_self_find(dp_rdma_domain_fn *domain, void *arg,
		      struct dp_rdma_context *ret_context,
		      uint32_t *ret_maker);

#endif
