/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fallocate() on a DAX filesystem, where it may wait for pins of the file: XFS breaks
 * layouts for every mode of fallocate() (kernel.md K13).
 */
#ifndef DP_ASK_H
#define DP_ASK_H

#include "os/ring.h"

/* private to ask.c */
struct dp_ask {
	struct dp_ring ring;
	bool open;
};

struct dp_ask_call {
	int fd;
	int mode;
	uint64_t offset;
	uint64_t size;
};

/* If no ring can be created, the calls are made in the calling thread. */
void dp_ask_open(struct dp_ask *ask);
void dp_ask_close(struct dp_ask *ask);

/*
 * Call fallocate(). While it is in progress, go_on() is called every 10 ms. A result of
 * go_on() other than 0 cancels the request and is returned, unless the request has
 * completed by then. -EINTR is returned only if there is no ring.
 */
int dp_ask_fallocate(struct dp_ask *ask, struct dp_ask_call call,
		     int (*go_on)(void *arg), void *arg);

#endif
