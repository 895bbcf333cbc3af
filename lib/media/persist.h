/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What makes a store durable, by granularity. The second seam: the crash
 * simulator puts itself here and records stores, flushes and fences.
 *
 * With PAGE granularity a flush is msync() and can fail; the first failure
 * stays (dp_persist_error()), since nobody can tell what reached the medium.
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

struct dp_persist {
	const int *pipe;		/* super.c reads by it, see pool.h; or NULL */
	enum dp_granularity granularity;
	_Atomic int error;
	struct pmem2_map *map;
	void (*flush)(const void *, size_t);
	void (*drain)(void);
	void *(*set)(void *, int, size_t, unsigned int);
};

void dp_persist_init(struct dp_persist *persist,
		     enum dp_granularity granularity);
/*
 * Ask libpmem2 how to make stores durable, by one mapping of the pool: all are
 * of one kind and granularity, so its functions serve them all.
 */
int dp_persist_bind(struct dp_persist *persist, int fd, void *base,
		    uint64_t size, const struct dp_errmsg *errmsg);
void dp_persist_fini(struct dp_persist *persist);

/* One aligned 8-byte store to media, all there or not at all. */
void dp_persist_store(struct dp_persist *persist, void *to, uint64_t value);
void dp_persist_copy(struct dp_persist *persist, void *to, const void *from,
		     uint64_t size);
/* Zero the range; durable after a flush of it and a fence, however it is stored. */
void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size);
/* Zero much, past the caches; durable when it returns. Not with PAGE. */
void dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size);

/* Write the range back; durable after the next fence. */
int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size);
void dp_persist_fence(struct dp_persist *persist);
/*
 * The same for ranges in many files: with PAGE they wait for one sync of their
 * filesystem, which fd is of, instead of an msync() for each.
 */
int dp_persist_collect(struct dp_persist *persist, const void *from,
		       uint64_t size);
int dp_persist_settle(struct dp_persist *persist, int fd);
/* 0, or the first error of a flush. */
int dp_persist_error(struct dp_persist *persist);

#endif
