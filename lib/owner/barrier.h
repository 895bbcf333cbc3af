/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout barrier: when it has passed, no process has a page of these files on a
 * DAX filesystem pinned, so no DMA that began before can reach them, of whatever
 * process or call (kernel.md K10).
 */
#ifndef DP_BARRIER_H
#define DP_BARRIER_H

#include "owner/lock.h"

struct dp_barrier {
	const char *path;		/* of the pool, for messages */
	int pid;			/* the last owner's, or 0 */
	uint32_t files;
	/* A file of the pool: open for writing, and mapped. */
	int (*file)(uint32_t index, void *arg);
	void *arg;
};

/*
 * Every file must be mapped: kernels before 6.15 look for pins only in files
 * that are. Changes nothing in them but their times. -EBUSY: pinned at the
 * deadline; -ECANCELED: progress() returned non-zero; -ENOSYS: this
 * kernel allows no wait with a deadline.
 */
int dp_barrier_pass(const struct dp_barrier *barrier,
		    struct dp_wait_policy *policy,
		    const struct dp_errmsg *errmsg);

#endif
