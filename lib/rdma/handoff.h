/* SPDX-License-Identifier: BSD-3-Clause */
/* The executor's part of a grant, and the other references to it. */
#ifndef DP_RDMA_HANDOFF_H
#define DP_RDMA_HANDOFF_H

#include "rdma/types.h"

/* The executor is about to get the grant. */
void dp_handoff_give(struct daxpin_grant *grant);
/* The executor runs it. true: the caller ends the grant. false: it was taken from
 * the executor meanwhile, and may be freed now: access it no more. */
bool dp_handoff_begin(struct daxpin_grant *grant);
/* The executor refused it. Returns as dp_handoff_begin() does. */
bool dp_handoff_refused(struct daxpin_grant *grant);
/* Take it from the executor, which may run it all the same. false: too late. */
bool dp_handoff_take(struct daxpin_grant *grant);

/* Keep the grant's memory until dp_handoff_unref(), which may free it. */
void dp_handoff_ref(struct daxpin_grant *grant);
void dp_handoff_unref(struct daxpin_grant *grant);
/* The grant has ended and its handle is forgotten. The last reference frees it. */
void dp_handoff_forget(struct daxpin_grant *grant);

#endif
