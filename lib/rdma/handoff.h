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
/* Called after the executor refused the grant. Returns like dp_handoff_begin(). */
bool dp_handoff_refused(struct daxpin_grant *grant);
/* Take it from the executor, which may still run its job. False: too late. */
bool dp_handoff_take(struct daxpin_grant *grant);

/* Keep the grant's memory until dp_handoff_unref(), which may free it. */
void dp_handoff_ref(struct daxpin_grant *grant);
void dp_handoff_unref(struct daxpin_grant *grant);
/* The grant has ended and its handle is forgotten. The last reference frees it. */
void dp_handoff_forget(struct daxpin_grant *grant);

#endif
