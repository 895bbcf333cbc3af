/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner's record on media, and the successor's check of it. The owner lock does
 * not cover RDMA (a verbs context can outlive it: kernel.md K29), so an open after an
 * unclean end checks whether that owner's verbs contexts are gone.
 */
#ifndef DP_OWNER_H
#define DP_OWNER_H

#include "media/layout.h"
#include "owner/lock.h"
#include "owner/rdma_self.h"

/* Describe this process; no verbs contexts yet. */
void dp_owner_self(struct dp_owner *owner);

/*
 * Find the verbs context in which `domain` makes its protection domains.
 *
 * 0        *ret_context is set
 * 1        its number is unknown, because the kernel does not show it
 * -EINVAL  a living thread of another process opened it, or the kernel has no RDMA
 * -ENOMEM
 * others   the error of domain()
 */
int dp_owner_find_context(dp_rdma_domain_fn *domain, void *arg,
			  struct dp_rdma_context *ret_context,
			  const struct dp_errmsg *errmsg);

/* Add a context; 1 when it was new, 0 when it was there, -ENOSPC. */
int dp_owner_add_context(struct dp_owner *owner,
			 const struct dp_rdma_context *context);
/* Remove a context, which must be in the record. */
void dp_owner_remove_context(struct dp_owner *owner,
			     const struct dp_rdma_context *context);

/* A verbs context on record, and how many registrations have it. */
struct dp_rdma_use {
	struct dp_rdma_context context;
	uint32_t count;
};

/* Find the entry of that context in an array of DP_RDMA_CONTEXTS_MAX. If it has none,
 * return an unused entry, or NULL if all are used. */
struct dp_rdma_use *dp_owner_find_use(struct dp_rdma_use *uses,
				      const struct dp_rdma_context *context);

/* May its DMA outlive the lock? */
bool dp_owner_has_rdma(const struct dp_owner *owner);

/* Is it proven that the machine was started again since? */
bool dp_owner_is_over(const struct dp_owner *owner);

/* Could this library have written it? */
bool dp_owner_is_record(const struct dp_owner *owner);

/*
 * Wait until the dead owner's verbs contexts cannot write any more.
 *
 * 0            they cannot; also after a reboot, or without contexts
 * -EBUSY       the kernel cannot answer, or they exist at the deadline
 * -ECANCELED   progress() returned non-zero
 * -EUCLEAN     the record is invalid
 *
 * despite: return 0 even if the kernel cannot answer, or if contexts exist at the
 * deadline, unless the opener of one of them is known to be alive.
 */
int dp_owner_await(const struct dp_owner *owner, struct dp_wait_policy *policy,
		   bool despite, const struct dp_errmsg *errmsg);

/* A recorded context that the kernel still has, and the name of its device. */
struct dp_verbs_seen;
typedef void dp_owner_rest_fn(const struct dp_rdma_context *context, const char *device,
			      const struct dp_verbs_seen *seen, void *arg);

/* Call fn for each of them, without waiting. The record is valid. -EBUSY with a
 * sentence: of some contexts the kernel cannot answer; the others were listed. */
int dp_owner_list(const struct dp_owner *owner, dp_owner_rest_fn *fn, void *arg,
		  const struct dp_errmsg *errmsg);

/*
 * The same as dp_owner_await() if the record was lost: wait until no verbs context
 * exists on this machine. The caller has the owner lock, so the requests of the dead
 * owner's rings have ended. despite: also return 0 if contexts exist at the deadline,
 * whoever opened them.
 */
int dp_owner_await_unknown(struct dp_wait_policy *policy, bool despite,
			   const struct dp_errmsg *errmsg);

#endif
