/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fallocate() on a DAX filesystem, which may wait for pins of the file: XFS breaks
 * the layout for any kind of it (kernel.md K13).
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

/* Where there can be no ring, calls are made in the calling thread. */
void dp_ask_open(struct dp_ask *ask);
void dp_ask_close(struct dp_ask *ask);

/*
 * fallocate(). While the kernel has not answered, go_on is asked every 10 ms: what
 * it returns other than 0 ends the call and is returned, unless the kernel is done
 * by then. Never -EINTR, but in the calling thread.
 */
int dp_ask_fallocate(struct dp_ask *ask, struct dp_ask_call call,
		     int (*go_on)(void *arg), void *arg);

#endif
