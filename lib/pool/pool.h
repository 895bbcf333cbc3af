/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool on media: its lock, its mapped segments, its superblock. The modules above
 * manage the space in it.
 */
#ifndef DP_POOL_H
#define DP_POOL_H

#include <pthread.h>
#include "media/badblocks.h"
#include "media/layout.h"
#include "media/persist.h"
#include "owner/lock.h"
#include "owner/owner.h"
#include "pool/epoch.h"
#include "pool/file.h"
#include "pool/flushed.h"
#include "pool/segment.h"
#include "pool/source.h"

struct dp_pool {
	struct dp_source source;
	struct dp_badblocks badblocks;	/* of the device, or the whole disk */
	struct dp_file first;		/* the device, or segment 0's */
	struct dp_anchor anchor;	/* keeps all files locked; a disk has none,
					   because it has no DMA */
	struct dp_persist persist;
	bool readonly;
	bool degraded;			/* use only what passes its check */
	bool was_unclean;
	bool created;			/* by the present call */
	bool passed_barrier;		/* at this open */
	enum dp_tristate movable;	/* see pool/defrag.h */
	int mark_error;			/* of marking a file, or 0 */
	struct dp_flushed flushed;
	struct dp_geometry geometry;
	_Atomic uint32_t in_set;	/* segments of the pool on media: fewer than
					   geometry.segments after a shrink */
	uint32_t ignored_files;
	bool restored;			/* the first superblock, from its copy */
	uint64_t seed;
	struct dp_segments segments;
	struct dp_epochs epochs;
	pthread_mutex_t super_mutex;
	bool has_pipe;
	int pipe[2];			/* under super_mutex; made at the open, because
					   a close reads the superblocks even if the
					   process has no descriptor left */
	struct dp_super super;		/* segment 0's, as on media */
	/* Protected by super_mutex, like the record in super. */
	struct dp_rdma_use rdma_use[DP_RDMA_CONTEXTS_MAX];
	uint32_t rdma_unknown;		/* registrations of unknown contexts */
};

static inline uint32_t dp_pool_in_set(const struct dp_pool *pool)
{
	return atomic_load_explicit(&pool->in_set, memory_order_acquire);
}

struct dp_pool_request {
	const char *path;
	bool readonly;
	bool degraded;
	bool create;			/* if there is no pool */
	bool overwrite;
	bool any_node;
	bool despite_rdma;		/* the user accepts the risk */
	bool any_owner;
	bool any_filesystem;
	uint32_t mode;			/* of new files */
	bool adopt;			/* a copy of a pool that was not closed */
	bool need_flushed;
	uint8_t uuid[16];		/* of the wanted pool; 0: any */
	uint32_t granularity;		/* enum dp_granularity, 0 automatic */
	uint64_t pool_size;
	uint64_t segment_size;
	uint64_t max_size;		/* for which to reserve addresses; 0: default */
	uint32_t segments;		/* set as soon as known, for messages */
	struct dp_wait_policy policy;
	const struct dp_errmsg *errmsg;
};

/*
 * Lock, check and map an existing pool. The medium does not change before
 * dp_pool_own(). The tables are not read.
 */
int dp_pool_open(struct dp_pool *pool, struct dp_pool_request *request);

/* ------------------------------------------- the steps, for create.c as well */

/* Find the path; flags as dp_source_find(). */
int dp_pool_begin(struct dp_pool *pool, struct dp_pool_request *request,
		  uint32_t flags);
/* Open and claim segment 0 or the device, as pool->first. */
int dp_pool_open_first(struct dp_pool *pool, struct dp_pool_request *request,
		       enum dp_file_access access);
/* Find out what kind of memory pool->first has, and list the bad blocks of the whole
 * medium. They are assigned to segments later. */
int dp_pool_classify(struct dp_pool *pool);
/* The same, and lock it in between. */
int dp_pool_lock(struct dp_pool *pool, struct dp_pool_request *request,
		 enum dp_file_access access);
/* Open and lock the other segments of pool->geometry. */
int dp_pool_open_segments(struct dp_pool *pool, struct dp_pool_request *request,
			  bool create);
/*
 * Read segment 0's superblock before the geometry is known, as dp_super_read().
 * *ret_blank, which is set after errors too: the file is empty, or its first chunk is
 * blank (dp_remains_are_none()); other places may have remains of a pool.
 */
int dp_pool_peek(const struct dp_pool *pool, struct dp_super *ret_super,
		 bool *ret_blank, const struct dp_errmsg *errmsg);
/* True if nothing will be written and unreadable parts are accepted. */
static inline bool dp_pool_is_degraded_readonly(const struct dp_pool *pool)
{
	return pool->readonly && pool->degraded;
}
/* Wait for the RDMA of the owner in pool->super, or fail with a sentence about it. */
int dp_pool_await_owner(struct dp_pool *pool, struct dp_pool_request *request);
int dp_pool_resolve_granularity(struct dp_pool *pool, uint32_t wanted,
				const struct dp_errmsg *errmsg);
/*
 * Map all segments, which are open, of a medium of `size` bytes. create: give the files
 * their space. On a DAX filesystem it first passes the layout barrier if the pool was
 * not closed, or if a create found files that were not empty (D8). It changes no file
 * before that.
 */
int dp_pool_map(struct dp_pool *pool, struct dp_pool_request *request,
		uint64_t size, bool create);
/* Give blocks to what dp_blocks_lacking() counts, unless the pool is only read; on a
 * DAX filesystem after the barrier. */
int dp_pool_allocate_missing(struct dp_pool *pool, struct dp_wait_policy *policy,
			     const struct dp_errmsg *errmsg);
/* Undo everything except the changes on media. */
void dp_pool_tear_down(struct dp_pool *pool);

/* Validate the fields of segment 0's superblock, which is whole. -EUCLEAN. */
int dp_pool_check_super(const struct dp_pool *pool,
			const struct dp_super *super,
			const struct dp_errmsg *errmsg);
/* -ENXIO unless the pool has that uuid; zeroes match every pool. */
int dp_pool_check_uuid(const struct dp_pool *pool,
		       const struct dp_super *super, const uint8_t uuid[16],
		       const struct dp_errmsg *errmsg);
/* -EUCLEAN if the device has become smaller than the pool of that superblock. One that
 * has become larger has room for a grow. */
int dp_pool_check_device(const struct dp_pool *pool, const struct dp_super *super,
			 const struct dp_errmsg *errmsg);

#endif
