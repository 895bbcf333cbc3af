/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RDMA_PIN_H
#define RDMA_PIN_H

#include <daxpin.h>
#include <stdbool.h>

/* What all stories use. */
struct stage {
	const char *pool_path;
	const char *device;	/* RDMA; NULL: there is none */
	const char *slow;	/* a slow disk; NULL: a pipe instead */
	const char *no_rdma;	/* why there is no RDMA story */
	bool unsafe;		/* without daxpin's protection */
	uint64_t read_ns;	/* how long a read from the disk takes */
	uint64_t corrupted;	/* --unsafe: bytes, in the story just told */
};

/* Each opens the pool and closes it again. */
void story_rdma(struct stage *stage);
void story_uring(struct stage *stage);
void story_crash(struct stage *stage);

/* The process that story_crash() kills. Does not return by itself. */
int owner_main(const struct stage *stage);

/* Open a pool, telling whom it waits for; gives up where it cannot. */
struct daxpin_pool *open_pool(const struct stage *stage, unsigned int wait_ms);
/* Close it, and claim that nothing was left behind. */
void close_pool(struct daxpin_pool *pool);

/* Report the holds of an extent. Returns their number. */
int tell_holders(struct daxpin_pool *pool, struct daxpin_extent extent);

/* Reserved -> live -> retired, as a program does with data it is done with. */
int publish(struct daxpin_pool *pool, struct daxpin_extent extent,
	    uint32_t type, uint32_t flags);

/* Gives up where err is not 0. */
void must(int err, const char *what);

#endif
