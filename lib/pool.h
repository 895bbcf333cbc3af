/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool as a thing on media: its lock, its mapped segments, its superblock.
 * Who uses the space in it is the business of the modules above.
 */
#ifndef DP_POOL_H
#define DP_POOL_H

#include <pthread.h>
#include "layout.h"
#include "lock.h"
#include "map.h"
#include "persist.h"
#include "source.h"
#include "table.h"

struct dp_segment {
	char *base;
	uint64_t size;
	uint32_t blocks;
	int fd;				/* -1: a slice of the device */
	bool made;			/* the file, by this create */
	struct dp_table table;
	uint8_t *chunk;			/* DP_CHUNK_..., one per chunk */
};

struct dp_pool {
	struct dp_source source;
	struct dp_lock lock;
	struct dp_map map;
	struct dp_persist persist;
	bool readonly;
	bool was_unclean;
	uint32_t segments;
	uint32_t segments_open;		/* of them, those with resources */
	uint64_t segment_size;
	uint64_t size;			/* of all segments */
	uint32_t ignored_files;
	uint64_t seed;
	struct dp_segment *segment;
	pthread_mutex_t super_mutex;
	struct dp_super super;		/* segment 0's, as on media */
};

struct dp_pool_request {
	const char *path;
	bool readonly;
	bool overwrite;
	bool any_node;
	uint32_t granularity;		/* enum dp_granularity, 0 automatic */
	uint64_t pool_size;
	uint64_t segment_size;
	struct dp_patience patience;
	const struct dp_why *why;
};

/*
 * Lock, check and map an existing pool; nothing on it is changed before
 * dp_pool_own(). What the tables say is not looked at.
 */
int dp_pool_open(struct dp_pool *pool, struct dp_pool_request *request);

/* Make a pool on media, then as dp_pool_open(). */
int dp_pool_create(struct dp_pool *pool, struct dp_pool_request *request);

/* The tables checked out: the next epoch begins, on media too (D15). */
int dp_pool_own(struct dp_pool *pool);

/* This process's verbs may outlive the lock: on media before it returns. */
int dp_pool_record_rdma(struct dp_pool *pool, const char *device);

/* Unmap, unlock, close. clean: nothing of ours can reach the pool any more. */
int dp_pool_close(struct dp_pool *pool, bool clean);

#endif
