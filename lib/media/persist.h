/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes stores durable, as the granularity requires. This is the second seam: the crash
 * simulator replaces it and records stores, flushes and fences.
 *
 * With PAGE granularity a flush is msync() and can fail. The first error is kept
 * (dp_persist_error()), because it is then unknown what is on the medium.
 */
#ifndef DP_PERSIST_H
#define DP_PERSIST_H

#include "util/util.h"

struct pmem2_map;

enum dp_granularity {		/* as enum daxpin_granularity */
	DP_GRANULARITY_BYTE = 1,
	DP_GRANULARITY_CACHE_LINE,
	DP_GRANULARITY_PAGE,
};

/* private to persist.c */
struct dp_persist {
	const int *pipe;
	enum dp_granularity granularity;
	_Atomic int error;
	struct pmem2_map *map;
	void (*flush)(const void *, size_t);
	void (*drain)(void);
	void *(*set)(void *, int, size_t, unsigned int);
	void *(*copy)(void *, const void *, size_t, unsigned int);
};

void dp_persist_init(struct dp_persist *persist,
		     enum dp_granularity granularity);
/*
 * Ask libpmem2 for the functions that fit one mapping of the pool. They are used for
 * all of the pool's mappings, which have the same kind and granularity.
 */
int dp_persist_bind(struct dp_persist *persist, int fd, void *base,
		    uint64_t size, const struct dp_errmsg *errmsg);
void dp_persist_fini(struct dp_persist *persist);

static inline enum dp_granularity
dp_persist_granularity(const struct dp_persist *persist)
{
	return persist->granularity;
}

/* The pipe through which super.c reads, see pool.h; NULL until it is set. */
static inline void dp_persist_set_pipe(struct dp_persist *persist, const int pipe[2])
{
	persist->pipe = pipe;
}

static inline const int *dp_persist_pipe(const struct dp_persist *persist)
{
	return persist->pipe;
}

/* Store 8 aligned bytes to media. A power cut leaves all of them or none. */
void dp_persist_store(struct dp_persist *persist, void *to, uint64_t value);
void dp_persist_copy(struct dp_persist *persist, void *to, const void *from,
		     uint64_t size);
/* Zero the range, which is durable after a flush and a fence. With CACHE_LINE, stores
 * to large ranges bypass the caches. */
void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size);
/* Zero a range; durable when it returns. Except with PAGE, which can fail, the stores
 * bypass the caches. */
int dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size);

/* Copy a large range, past the caches if the granularity is not PAGE; durable after the
 * next fence, without a flush. An error is that of msync(). */
int dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
			 uint64_t size);

/* Write the range back; durable after the next fence. */
int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size);
void dp_persist_fence(struct dp_persist *persist);
/*
 * The same for ranges in many files: collect each range, then settle once. With PAGE,
 * collect does nothing, and settle syncs the whole filesystem of fd, instead of an
 * msync() for each range.
 */
int dp_persist_collect(struct dp_persist *persist, const void *from,
		       uint64_t size);
int dp_persist_settle(struct dp_persist *persist, int fd);
/* 0, or the error of the first flush that failed. */
int dp_persist_error(struct dp_persist *persist);

#endif
