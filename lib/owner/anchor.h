/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One descriptor that keeps all files of a pool open and locked: a socket with
 * their descriptors in its queue. See anchor.c.
 */
#ifndef DP_ANCHOR_H
#define DP_ANCHOR_H

#include "util/util.h"

/* private to anchor.c */
struct dp_anchor {
	bool open;
	int queue;			/* what rings keep in their file tables */
	int feed;			/* what is sent here lies in the queue */
};

/*
 * -EMFILE        no two descriptors left
 * -EAFNOSUPPORT  this process may have no AF_UNIX sockets
 */
int dp_anchor_open(struct dp_anchor *anchor, const struct dp_errmsg *errmsg);
/*
 * Add files to the anchor. Rings that have the anchor already keep these files as well
 * from now on.
 *
 * -ETOOMANYREFS  too many descriptors of this user are queued in sockets
 * -ENOMEM        the socket's buffer is full
 */
int dp_anchor_add(struct dp_anchor *anchor, const int *fd, uint32_t count,
		  const struct dp_errmsg *errmsg);
/* The descriptor, or -1 where there is none: zeroed memory has none. */
int dp_anchor_fd(const struct dp_anchor *anchor);
void dp_anchor_close(struct dp_anchor *anchor);

#endif
