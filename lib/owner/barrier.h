/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout barrier: wait until no page of files on a DAX filesystem is pinned. Then
 * no DMA that began before the barrier can reach the files, whichever process or
 * system call began it (kernel.md K10).
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
 * Every file must be mapped, because kernels before 6.15 look for pins only in mapped
 * files. The contents of the files do not change. Their times do and, on ext4 before
 * Linux 6.9, a block is allocated past the end (barrier.c).
 *
 * -EBUSY      a page is pinned at the deadline, or it is unknown whether one is
 * -ECANCELED  progress() returned non-zero
 * -ENOSYS     on this kernel the wait cannot be ended at a deadline or by progress()
 */
int dp_barrier_pass(const struct dp_barrier *barrier,
		    struct dp_wait_policy *policy,
		    const struct dp_errmsg *errmsg);

#endif
