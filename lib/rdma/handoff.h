/* SPDX-License-Identifier: BSD-3-Clause */
/* The executor's part of a grant, and the other references to it. */
#ifndef DP_RDMA_HANDOFF_H
#define DP_RDMA_HANDOFF_H

#include "rdma/types.h"

/* Called before the grant is passed to the executor. */
void dp_handoff_give(struct daxpin_grant *grant);
/* Called by the executor's job. True: the caller must end the grant. False: it was
 * taken from the executor meanwhile, and may be freed, so it must not be accessed. */
bool dp_handoff_begin(struct daxpin_grant *grant);
/* Called after the executor refused the grant. True: the caller must queue the grant.
 * False: a revoke has taken it meanwhile, and it may be freed. */
bool dp_handoff_refused(struct daxpin_grant *grant);
/* Take the grant from the executor; if the job runs later, it does nothing. False: the
 * executor has already begun to end the grant, or does not have it. */
bool dp_handoff_take(struct daxpin_grant *grant);

/* Keep the grant's memory until dp_handoff_unref(), which may free it. */
void dp_handoff_ref(struct daxpin_grant *grant);
void dp_handoff_unref(struct daxpin_grant *grant);
/* The grant has ended and its handle is forgotten. The last reference frees it. */
void dp_handoff_forget(struct daxpin_grant *grant);

#endif
