/* SPDX-License-Identifier: BSD-3-Clause */
/* Which grants wait for a deadline, and which for a thread. All under grants_lock. */
#ifndef DP_RDMA_PENDING_H
#define DP_RDMA_PENDING_H

#include "rdma/types.h"

void dp_pending_init(struct dp_pending *pending);
void dp_pending_destroy(struct dp_pending *pending);
/* Allocate space for `grants` grants, so that no other function fails. 0 or -ENOMEM. */
int dp_pending_reserve(struct dp_pending *pending, uint32_t grants);

/* Let the grant wait for its peer until the deadline. If it waits already, this
 * replaces its deadline. */
void dp_pending_add(struct dp_pending *pending, struct daxpin_grant *grant,
		    uint64_t deadline_ns);
/* Add the grant to the end of the queue of those that wait for a thread to end them. */
void dp_pending_queue(struct dp_pending *pending, struct daxpin_grant *grant);
/* Take the grant out of the heap or the queue, if it is in one. */
void dp_pending_remove(struct dp_pending *pending, struct daxpin_grant *grant);
bool dp_pending_is_queued(const struct daxpin_grant *grant);

/* The grant's deadline; 0: it does not wait for its peer. */
uint64_t dp_pending_deadline(const struct daxpin_grant *grant);
/* The earliest deadline; 0: there is none. */
uint64_t dp_pending_next_deadline(const struct dp_pending *pending);
/* The grant with the earliest deadline, if that is not after now; or NULL. */
struct daxpin_grant *dp_pending_expired(const struct dp_pending *pending,
					uint64_t now_ns);
/* The grant that has waited longest for a thread, or NULL; and how many wait. */
struct daxpin_grant *dp_pending_first_queued(const struct dp_pending *pending);
uint32_t dp_pending_queued(const struct dp_pending *pending);

#endif
