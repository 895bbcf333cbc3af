/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fallocate() on a DAX filesystem, where it may wait for pins of the file: XFS breaks
 * layouts for every mode of fallocate() (kernel.md K13).
 */
#ifndef DP_FALLOC_H
#define DP_FALLOC_H

#include "os/ring.h"

/* private to falloc.c */
struct dp_falloc {
	struct dp_ring ring;
	bool open;
};

struct dp_falloc_args {
	int fd;
	int mode;
	uint64_t offset;
	uint64_t size;
};

/* If no ring can be created, the calls are made in the calling thread. */
void dp_falloc_open(struct dp_falloc *falloc);
void dp_falloc_close(struct dp_falloc *falloc);

/*
 * Call fallocate(). While it is in progress, go_on() is called every 10 ms. A result of
 * go_on() other than 0 cancels the request and is returned, unless the request has
 * completed by then. -EINTR is returned only if there is no ring.
 */
int dp_falloc_run(struct dp_falloc *falloc, struct dp_falloc_args call,
		  int (*go_on)(void *arg), void *arg);

#endif
