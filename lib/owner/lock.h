/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner lock: an flock() on segment 0 or the device node that lives as
 * long as the owner's DMA, because rings keep its descriptor in their file
 * tables and the pool is mapped through it. See lock.c for the argument.
 */
#ifndef DP_LOCK_H
#define DP_LOCK_H

#include <sys/types.h>
#include "util/util.h"

enum dp_owner_state {		/* as enum daxpin_owner */
	DP_OWNER_ALIVE = 1,
	DP_OWNER_DRAINING,
	DP_OWNER_UNKNOWN,
	DP_OWNER_RDMA,
	DP_OWNER_PINNED,
	DP_OWNER_KEPT,
};

/* How long to wait, and whom to tell. */
struct dp_patience {
	uint64_t deadline_ns;
	int (*progress)(enum dp_owner_state owner, int pid, uint64_t waited_ns,
			void *arg);
	void *arg;
	uint64_t begin_ns;		/* set by dp_patience_begin() */
	uint64_t told_ns;
};

void dp_patience_begin(struct dp_patience *patience);
/* Tell of the wait when it is time to. Returns as dp_patience_wait(). */
int dp_patience_tell(struct dp_patience *patience, enum dp_owner_state owner,
		     int pid);
/* Sleep a little. -ETIMEDOUT at the deadline, -ECANCELED when told to stop. */
int dp_patience_wait(struct dp_patience *patience, enum dp_owner_state owner,
		     int pid);

struct dp_lock {
	int fd;
	dev_t dev;
	ino_t ino;
};

/*
 * One open of an inode per process: closing any descriptor of it would drop
 * the owner byte. Call before the inode is opened. -EBUSY: it is open here.
 */
int dp_lock_claim(struct dp_lock *lock, dev_t dev, ino_t ino,
		  const struct dp_why *why);
void dp_lock_unclaim(struct dp_lock *lock);

/* Take the lock on fd, which stays the caller's to close. */
int dp_lock_take(struct dp_lock *lock, int fd, bool shared,
		 struct dp_patience *patience, const struct dp_why *why);
/* A clean close: nothing can reach the pool, so no reference may keep it. */
void dp_lock_drop(struct dp_lock *lock);

#endif
