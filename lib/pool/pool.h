/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool as a thing on media: its lock, its mapped segments, its superblock.
 * Who uses the space in it is the business of the modules above.
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
	struct dp_anchor anchor;	/* keeps all files; not of a disk: no DMA */
	struct dp_persist persist;
	bool readonly;
	bool degraded;			/* what checks out is used */
	bool was_unclean;
	bool created;			/* by the create that is still under way */
	bool passed_barrier;		/* at this open */
	enum dp_tristate movable;	/* see pool/defrag.h */
	int mark_error;			/* why a file could not be marked, or 0 */
	struct dp_flushed flushed;
	struct dp_geometry geometry;
	uint32_t ignored_files;
	bool restored;			/* the first superblock, from its copy */
	uint64_t seed;
	struct dp_segments segments;
	struct dp_epochs epochs;
	pthread_mutex_t super_mutex;
	bool has_pipe;
	int pipe[2];			/* under super_mutex: a close must read the
					   superblocks when no descriptor is left */
	struct dp_super super;		/* segment 0's, as on media */
	/* Under super_mutex, as is the record in super. */
	struct dp_rdma_use rdma_use[DP_RDMA_CONTEXTS_MAX];
	uint32_t rdma_unknown;		/* registrations without a number */
};

struct dp_pool_request {
	const char *path;
	bool readonly;
	bool degraded;
	bool create;			/* where there is none */
	bool overwrite;
	bool any_node;
	bool despite_rdma;		/* a person took the risk */
	bool any_owner;
	bool any_filesystem;
	uint32_t mode;			/* of new files */
	bool adopt;			/* a copy of a pool that was not closed */
	bool need_flushed;
	uint8_t uuid[16];		/* of the pool that is meant; 0: any */
	uint32_t granularity;		/* enum dp_granularity, 0 automatic */
	uint64_t pool_size;
	uint64_t segment_size;
	uint32_t segments;		/* set when they are known, for messages */
	struct dp_wait_policy policy;
	const struct dp_errmsg *errmsg;
};

/*
 * Lock, check and map an existing pool; nothing on it is changed before
 * dp_pool_own(). What the tables say is not looked at.
 */
int dp_pool_open(struct dp_pool *pool, struct dp_pool_request *request);

/*
 * The tables checked out: the files are marked against defragmenters (W6), and the
 * next epoch, dp_epochs_next(), begins, on media too (D15).
 */
int dp_pool_own(struct dp_pool *pool);

/*
 * This verbs context may outlive the lock: on media before it returns. NULL: one
 * whose number cannot be learnt. -ENOSPC: DP_RDMA_CONTEXTS_MAX are on record.
 */
int dp_pool_record_rdma(struct dp_pool *pool,
			const struct dp_rdma_context *context);
/* Undo one record; with the last of a context it is taken from media. */
void dp_pool_forget_rdma(struct dp_pool *pool,
			 const struct dp_rdma_context *context);

/*
 * Nothing of ours can reach the pool any more: mark it as closed. The pool can
 * only be read afterwards, whatever is returned; a second call returns 0.
 *
 * -EIO     the medium failed, now or before
 * -ESTALE  the pool is another open's by now, and was left alone
 */
int dp_pool_end(struct dp_pool *pool);

/* ------------------------------------------- the steps, for create.c as well */

/* Find the path; flags as dp_source_find(). */
int dp_pool_begin(struct dp_pool *pool, struct dp_pool_request *request,
		  uint32_t flags);
/* Open, claim and lock segment 0 or the device, as pool->first. */
int dp_pool_lock(struct dp_pool *pool, struct dp_pool_request *request,
		 enum dp_file_access access);
/* Open and lock the others, by pool->geometry. */
int dp_pool_open_segments(struct dp_pool *pool, struct dp_pool_request *request,
			  bool create);
/*
 * Segment 0's superblock, before the geometry is known; as dp_super_read().
 * *ret_blank is set in any case: nothing was ever finished here.
 */
int dp_pool_peek(const struct dp_pool *pool, struct dp_super *ret_super,
		 bool *ret_blank, const struct dp_errmsg *errmsg);
/* Nothing is written, and what can be read is good enough. */
static inline bool dp_pool_only_looks(const struct dp_pool *pool)
{
	return pool->readonly && pool->degraded;
}
/* Wait for whoever pool->super says had it, or say who is in the way. */
int dp_pool_await_owner(struct dp_pool *pool, struct dp_pool_request *request);
int dp_pool_resolve_granularity(struct dp_pool *pool, uint32_t wanted,
				const struct dp_errmsg *errmsg);
/*
 * Map all segments, which are open, of a medium of `size` bytes; create: give the
 * files their space. On a DAX
 * filesystem returns only when no DMA into old files goes on (D8), and before
 * that nothing in them is changed.
 */
int dp_pool_map(struct dp_pool *pool, struct dp_pool_request *request,
		uint64_t size, bool create);
/* What dp_blocks_lacking() counts gets its blocks, if this may change anything;
 * on a DAX filesystem behind the barrier. */
int dp_pool_give_blocks(struct dp_pool *pool, struct dp_wait_policy *policy,
			const struct dp_errmsg *errmsg);
/* Undo everything but what is on media. */
void dp_pool_tear_down(struct dp_pool *pool);

/* Does what a whole superblock of segment 0 says make sense? -EUCLEAN. */
int dp_pool_check_super(const struct dp_pool *pool,
			const struct dp_super *super,
			const struct dp_errmsg *errmsg);
/* Is it the pool with that uuid? Zeroes ask for none. -ENXIO. */
int dp_pool_check_uuid(const struct dp_pool *pool,
		       const struct dp_super *super, const uint8_t uuid[16],
		       const struct dp_errmsg *errmsg);
/* Was the pool of pool->super made on a device of this size? -EUCLEAN. */
int dp_pool_check_device(const struct dp_pool *pool,
			 const struct dp_errmsg *errmsg);

#endif
