/* SPDX-License-Identifier: BSD-3-Clause */
/* A read that is in flight for a while: from a slow disk, or an empty pipe. */
#ifndef READING_H
#define READING_H

#include <daxpin-uring.h>
#include "rdma-pin.h"

/* What is read from, and how much at a time. */
struct well {
	int fd;			/* to read from */
	int spring;		/* the pipe's other end; -1: a disk */
	uint32_t bytes;
};

void well_open(struct well *well, const struct stage *stage);
/* The pipe: let the read land now. The disk does it in its own time. */
void well_let_go(const struct well *well);
void well_close(struct well *well);

/* One read into an extent, by a ring of its own. */
struct reading {
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	struct io_uring ring;
	struct daxpin_uring *uring;	/* NULL with --unsafe */
	struct daxpin_uring_io io;
	uint64_t begin_ns;
};

/*
 * Make a ring, attach it (not with --unsafe) and put a read into the extent
 * in flight. 0 or -errno, with a sentence.
 */
int reading_begin(struct reading *reading, struct daxpin_pool *pool,
		  struct daxpin_extent extent, const struct well *well,
		  bool unsafe, char *errmsg, size_t errmsg_size);
bool reading_in_flight(struct reading *reading);
/* Wait for it: its result. */
int reading_end(struct reading *reading);
/* Detach the ring and free it. */
void reading_close(struct reading *reading);

#endif
