/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handles that were detached, remembered for a while: a late call on one finds
 * memory that says so and returns an error, where it would otherwise reach
 * memory that has been reused.
 */
#ifndef DP_DETACHED_H
#define DP_DETACHED_H

#include <pthread.h>

#define DP_DETACHED_MAX		64u

struct dp_detached {
	void *handle;
	void *more;		/* what is freed with it; leak checkers find it
				   here, whatever memory the handle is in */
};

/* One for each kind of handle, static, with lock = PTHREAD_MUTEX_INITIALIZER. */
struct dp_detached_list {
	pthread_mutex_t lock;
	struct dp_detached of[DP_DETACHED_MAX];
	unsigned int next;
};

/* Returns the oldest entry, which the caller must free, or NULLs. Any thread. */
struct dp_detached dp_detached_remember(struct dp_detached_list *list,
					struct dp_detached detached);

#endif
