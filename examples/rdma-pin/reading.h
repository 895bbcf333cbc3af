/* SPDX-License-Identifier: BSD-3-Clause */
/* A read that stays in flight for a while: from a slow disk, or an empty pipe. */
#ifndef READING_H
#define READING_H

#include <daxpin-uring.h>
#include "rdma-pin.h"

/* The source of a read, and the read's size. */
struct source {
	int fd;			/* the disk, or the pipe's read end */
	int write_fd;		/* the pipe's write end; -1: a disk */
	uint32_t bytes;
};

void source_open(struct source *source, const struct stage *stage);
/* Lets a read from the pipe land. One from a disk lands by itself. */
void source_release(const struct source *source);
void source_close(struct source *source);

/* One read into an extent, with a ring of its own. */
struct reading {
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	struct io_uring ring;
	struct daxpin_uring *uring;	/* NULL with --unsafe */
	struct daxpin_uring_io io;
	uint64_t begin_ns;
};

/*
 * Makes a ring, attaches it (not with --unsafe) and starts a read into the extent.
 * Returns 0, or -errno with errmsg.
 */
int reading_begin(struct reading *reading, struct daxpin_pool *pool,
		  struct daxpin_extent extent, const struct source *source,
		  bool unsafe, char *errmsg, size_t errmsg_size);
bool reading_in_flight(struct reading *reading);
/* Waits for the read. Returns its result. */
int reading_end(struct reading *reading);
/* Detaches the ring and frees it. */
void reading_close(struct reading *reading);

#endif
