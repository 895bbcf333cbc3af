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
 * Find the context in which `domain` makes its protection domains; its flags are 0.
 * *ret_maker: the thread that opened the context, or 0 if that thread is dead or in
 * another pid namespace.
 *
 * -EBUSY   the kernel does not show the number
 * -ENODEV  the kernel has no RDMA, so no verbs context exists
 * -ENOMEM
 * others   the error of domain()
 */
int dp_rdma_self_find(dp_rdma_domain_fn *domain, void *arg,
		      struct dp_rdma_context *ret_context,
		      uint32_t *ret_maker);

#endif
