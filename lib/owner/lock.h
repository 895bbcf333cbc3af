/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner lock: an flock() on each segment's file, or on the device node, that
 * lives as long as the owner's DMA. See lock.c for the argument.
 */
#ifndef DP_LOCK_H
#define DP_LOCK_H

#include <sys/stat.h>
#include "owner/claim.h"
#include "util/util.h"

enum dp_owner_state {		/* as enum daxpin_owner */
	DP_OWNER_ALIVE = 1,
	DP_OWNER_DRAINING,
	DP_OWNER_UNKNOWN,
	DP_OWNER_RDMA,
	DP_OWNER_PINNED,
	DP_OWNER_KEPT,
	DP_OWNER_NONE,
};

/* What a call is waiting for; the argument of the progress function. */
struct dp_wait {
	enum dp_owner_state owner;
	int pid;
	uint64_t waited_ns;
	uint64_t done_bytes;		/* of its own work */
	uint64_t total_bytes;
};

/* How long to wait, and the function that reports progress. */
struct dp_wait_policy {
	uint64_t deadline_ns;
	int (*progress)(const struct dp_wait *wait, void *arg);
	void *arg;
	uint64_t begin_ns;		/* set by dp_wait_begin() */
	uint64_t reported_ns;
};

void dp_wait_begin(struct dp_wait_policy *policy);
/* Report the wait to progress(), if the interval has passed. Returns like
 * dp_wait_sleep(). */
int dp_wait_report(struct dp_wait_policy *policy, enum dp_owner_state owner,
		   int pid);
/*
 * The same while the call does work instead of waiting. A deadline that had already
 * passed when the call began (0, for example) limits only waiting: it does not end
 * the work.
 */
int dp_wait_work(struct dp_wait_policy *policy, uint64_t done_bytes,
		 uint64_t total_bytes);
/* Report, then sleep up to 10 ms. -ETIMEDOUT at the deadline, -ECANCELED if progress()
 * returned non-zero. */
int dp_wait_sleep(struct dp_wait_policy *policy, enum dp_owner_state owner,
		  int pid);

/* The lock of one file of a pool, or of the device. */
/* private to lock.c */
struct dp_lock {
	struct dp_claim *claim;
	bool taken;
};

/* Initialize without locking anything. Allocates what dp_lock_claim() needs, so that
 * it cannot fail for lack of memory; -ENOMEM. */
int dp_lock_init(struct dp_lock *lock);
/*
 * Claim the inode of fd. Each process opens an inode only once, because closing any
 * descriptor of it would unlock the alive byte (claim.c). fd belongs to the lock from
 * now on, even after an error. stat: of fd.
 *
 * -EBUSY  the inode is claimed in this process
 */
int dp_lock_claim(struct dp_lock *lock, int fd, const struct stat *stat);
/* Hand over fd, whose inode is unknown, to claim.c. It must not be closed, because the
 * inode may be claimed. */
void dp_lock_give_away(struct dp_lock *lock, int fd);
/* The claimed file's descriptor, or -1. */
int dp_lock_fd(const struct dp_lock *lock);
bool dp_lock_is_of(const struct dp_lock *lock, const struct stat *stat);

/* Take the lock on the claimed file. */
int dp_lock_take(struct dp_lock *lock, bool shared,
		 struct dp_wait_policy *policy, const struct dp_errmsg *errmsg);
/* Could this process take the lock for reading now? It tries, and unlocks at once. */
bool dp_lock_is_free(const struct dp_lock *lock);
/* Who keeps it? NONE if it is free. The pid is 0 if it is unknown. */
enum dp_owner_state dp_lock_find_owner(const struct dp_lock *lock, int *ret_pid);
/* Take the lock exclusively if it is free. Returns true if the lock is taken, even if
 * it was taken before this call. */
bool dp_lock_try(struct dp_lock *lock);
bool dp_lock_is_taken(const struct dp_lock *lock);
/*
 * Unlock and close the file, and end the claim. Other references to the open file,
 * such as those of rings, do not keep the lock, so no DMA of this process may reach
 * the file any more. In a forked child the parent's lock remains.
 */
void dp_lock_end(struct dp_lock *lock);

#endif
