/* SPDX-License-Identifier: BSD-3-Clause */
/* The access of a peer: through a memory region or a memory window. */
#ifndef DP_RDMA_ACCESS_H
#define DP_RDMA_ACCESS_H

#include "rdma/types.h"

void dp_accesses_init(struct daxpin_rdma *rdma);
void dp_accesses_destroy(struct daxpin_rdma *rdma);
/*
 * Called before any grant: use windows if the options request them and the report's
 * findings about them are trusted. 0 or -errno; *ret_kept: the loopback connection
 * could not be closed, so the device still has objects in the protection domain, and
 * this is not called again.
 */
int dp_accesses_open(struct daxpin_rdma *rdma,
		     const struct daxpin_rdma_options *o,
		     const struct daxpin_rdma_report *report, bool *ret_kept);
/* Called when no grant exists. After an error it can be called again. */
int dp_accesses_close(struct daxpin_rdma *rdma);
bool dp_accesses_have_windows(const struct daxpin_rdma *rdma);
void dp_accesses_count(struct daxpin_rdma *rdma, struct daxpin_rdma_info *info);

/*
 * Give access to exactly key.addr and key.length, under the grant's hold, with verbs
 * access flags. Sets key.rkey. 0 or -errno. After an error the peer has no access,
 * unless *ret_kept is set: then the device did not release a window.
 */
int dp_access_open(struct daxpin_grant *grant, int flags,
		   const struct daxpin_grant_options *o, bool *ret_kept);
/*
 * End the access, with one call of the device. 0: the device reports that the peer has
 * no access through this grant any more.
 *
 * -EINPROGRESS  the window was not freed, because its bind may still execute
 * others        the device refused; the caller must repeat the call after a temporary
 *               failure (retry.h)
 */
int dp_access_close(struct daxpin_grant *grant);
bool dp_access_is_open(const struct daxpin_grant *grant);
/* enum daxpin_grant_via */
uint32_t dp_access_via(const struct daxpin_grant *grant);
/* The grant's own region; NULL if it is a window. */
struct ibv_mr *dp_access_region(const struct daxpin_grant *grant);
/* Called when qp is in the error state: a bind that was posted on it never executes. */
void dp_access_flushed(struct daxpin_grant *grant, struct ibv_qp *qp);
/* Called when the bind has completed. -EINVAL: the grant has no window of type 2. */
int dp_access_bound(struct daxpin_grant *grant);

#endif
