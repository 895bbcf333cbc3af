/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner's record on media, and the successor's check of it. RDMA is not
 * ordered by the owner lock (a verbs context closed late outlives it: LOCK 1),
 * so whoever opens after an unclean end looks whether that owner's threads and
 * verbs contexts are gone.
 */
#ifndef DP_OWNER_H
#define DP_OWNER_H

#include "media/layout.h"
#include "owner/lock.h"

/* Describe this process; no RDMA devices yet. */
int dp_owner_self(struct dp_owner *owner);

/* Add a device; 1 when it was new, 0 when it stood there, -ENOSPC, -EINVAL. */
int dp_owner_add_device(struct dp_owner *owner, const char *device);

/*
 * Does the kernel list a verbs context of that device that a successor would
 * know as this process's? 0: none, so it is another process's. 1: yes, or
 * nothing can be asked here.
 */
int dp_owner_has_context(const char *device);

/*
 * Wait until the dead owner's verbs can write no more. 0: nothing can (also
 * another boot, or no devices). -EBUSY: cannot be told from here (another pid
 * or network namespace, no netlink), or not gone at the deadline. -EUCLEAN: the
 * record makes no sense. -ECANCELED: progress said stop.
 */
int dp_owner_await(const struct dp_owner *owner, struct dp_patience *patience,
		   const struct dp_why *why);

/*
 * The same when the record was lost: wait until no verbs context at all exists
 * on this machine. The caller has the owner lock, so whatever else could bring
 * a write is over. -EBUSY also when that cannot be told from here.
 */
int dp_owner_await_unknown(struct dp_patience *patience,
			   const struct dp_why *why);

#endif
