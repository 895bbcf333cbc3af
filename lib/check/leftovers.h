/* SPDX-License-Identifier: BSD-3-Clause */
/* What an owner that died has left behind: who keeps the locks of the pool's files, and
 * which of its verbs contexts exist. */
#ifndef DP_LEFTOVERS_H
#define DP_LEFTOVERS_H

#include <daxpin-status.h>
#include "check/image.h"

struct dp_leftovers {
	void (*fn)(const struct daxpin_leftover *leftover, void *arg);
	void *arg;
	uint32_t count;			/* of those that were reported */
	uint32_t pid;			/* of the owner that did not close the pool, in
					   its namespace; 0: the pool was closed */
	/* private to leftovers.c */
	struct dp_image *image;
	struct dp_lock_file *file;	/* of each segment */
	uint32_t locked;		/* segments */
	uint32_t locked_first;
	uint32_t certain;		/* uses of the lock by a process */
	struct dp_lock_use *socket;	/* listed only if none is certain */
	uint32_t sockets;
};

/*
 * Find and report them.
 *
 * -EBUSY  a living process has the pool open
 * others  as an open for reading, but whether the pool was closed does not matter
 */
int dp_leftovers_list(struct dp_leftovers *leftovers, struct dp_pool_request *request);

#endif
