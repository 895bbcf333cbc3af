/* SPDX-License-Identifier: BSD-3-Clause */
/* An open pool: its parts, and the decoding of handles. */
#ifndef DP_HANDLE_H
#define DP_HANDLE_H

#include <errno.h>
#include <daxpin.h>
#include "extent/event.h"
#include "extent/holders.h"
#include "extent/objects.h"
#include "extent/spaces.h"
#include "extent/state.h"
#include "extent/thread_slot.h"
#include "media/lane.h"
#include "media/root.h"
#include "os/short_lock.h"
#include "pool/pool.h"
#include "pool/status.h"
#include "reclaim/job.h"

/*
 * The number of locks for the words of SETs, hashed by address. Each batch holds its
 * locks during the fences of a publish; with this number, two batches of 16 SETs have
 * no lock in common in 15 of 16 cases.
 */
#define DP_WORD_LOCKS	4096u

/* A counter for each thread slot, each in a cache line of its own. */
struct dp_published {
	DP_ALIGNED _Atomic uint64_t count;	/* publishes that succeeded */
};

struct daxpin_pool {
	struct dp_states states;	/* the first member: probes report its address
					   as the pool's, and state.c has no other */
	struct dp_pool media;
	struct dp_spaces spaces;
	struct dp_objects objects;
	struct dp_events events;
	struct dp_holders holders;
	struct dp_jobs jobs;
	struct dp_lanes lanes;
	struct dp_roots roots;
	struct dp_polled_lock word_lock[DP_WORD_LOCKS];
	uint64_t epoch;			/* all of it; gen has the low 24 bits */
	uint64_t gen_epoch;		/* these bits, where gen has them */
	struct dp_log log;
	/* Computed from the geometry once, because each call reads them. */
	_Atomic uint64_t block_end;	/* the end of the last segment */
	uint64_t segment_mask;		/* of a block's index in its segment */
	uint32_t meta_blocks;		/* at the beginning of each segment */
	_Atomic uint32_t extent_blocks_max;	/* of one extent */
	_Atomic uint64_t data_blocks;	/* without metadata */
	uint64_t quarantined_blocks;	/* damaged, or of a segment from another time;
					   without bad blocks */
	_Atomic uint64_t unaligned_chunks;
	uint64_t shared_chunks;
	uint64_t sparse_chunks;		/* chunks in use that have holes */
	/* Counts for daxpin_pool_info(), since the open. */
	struct dp_published published[DP_THREAD_SLOT_SHARED + 1];
	_Atomic uint64_t no_space;	/* reserves that found no space */
	_Atomic bool resizing;		/* a call adds or removes segments, or a close
					   has begun */
	/* See core/snapshot.c. */
	struct dp_status status;
	pthread_mutex_t status_mutex;
	_Atomic uint64_t status_due_ns;	/* when the next snapshot may be written */
	uint64_t status_opened_ns;	/* 0: not begun */
	_Atomic int status_error;	/* of daxpin_pool_info() */
};

static_assert(DP_WORD_LOCKS % 64 == 0, "a bitmap of them");
static_assert(offsetof(struct daxpin_pool, states) == 0, "one name for probes");

/* The bits of the epoch that a handle contains. */
#define DP_EPOCH_MASK ((1ull << (64 - DP_GENERATION_BITS)) - 1)

/* A decoded handle of this pool and epoch. */
struct dp_handle {
	uint64_t block;			/* in the pool */
	uint64_t generation;
};

/* The segment of a block of the pool, and its index there. */
static inline uint32_t dp_segment_of(const struct daxpin_pool *pool,
				     uint64_t block, uint32_t *ret_in_segment)
{
	uint32_t shift = dp_states_shift(&pool->states);

	*ret_in_segment = block & ((1ull << shift) - 1);
	return block >> shift;
}

/*
 * Decode a handle. Inline like dp_enter(), because most calls begin with both.
 *
 * -EINVAL  its address is not that of a data block of this pool; or its gen is 0, which
 *          no extent has, so the address may be that of an object
 * -ESTALE  it is of another epoch
 */
static inline int dp_handle(const struct daxpin_pool *pool,
			    struct daxpin_extent extent,
			    struct dp_handle *ret_handle)
{
	uint64_t block = extent.addr >> DP_BLOCK_SHIFT;
	uint64_t in_segment = block & pool->segment_mask;

	/* Behind a short segment there are blocks that are always FREE, see
	 * dp_handle_decode(). */
	if (extent.addr % DP_BLOCK_SIZE ||
	    block >= atomic_load_explicit(&pool->block_end, memory_order_acquire) ||
	    in_segment < pool->meta_blocks)
		return -EINVAL;
	ret_handle->block = block;
	ret_handle->generation = extent.gen ^ pool->gen_epoch;
	if (!(ret_handle->generation >> DP_GENERATION_BITS))
		return 0;
	return extent.gen ? -ESTALE : -EINVAL;
}

/* The same for a handle that dp_handle() has accepted before, or {0, 0}. */
static inline struct dp_handle dp_handle_of(const struct daxpin_pool *pool,
					    struct daxpin_extent extent)
{
	assert(extent.addr >> DP_BLOCK_SHIFT < dp_states_blocks(&pool->states));
	return (struct dp_handle) {
		extent.addr >> DP_BLOCK_SHIFT, extent.gen & DP_GENERATION_MASK
	};
}

/* Do what dp_find() does, and store the state. */
int dp_find_view(struct daxpin_pool *pool, struct daxpin_extent extent,
		 struct dp_handle *ret_handle, struct dp_state_view *ret_view);
/* True if the extent that a root names is LIVE and has the root's generation. *ret_view
 * is then its state. */
static inline bool dp_is_named(struct daxpin_pool *pool, struct dp_root_word word,
			       struct dp_state_view *ret_view)
{
	if (word.object || word.block >= dp_states_blocks(&pool->states))
		return false;
	*ret_view = dp_state_read(&pool->states, word.block);
	return ret_view->state == DP_STATE_LIVE &&
	       (ret_view->generation & DP_ROOT_GEN_MASK) == word.gen;
}

/* The same for a root that names an object. It can be claimed by a publish. */
static inline bool dp_object_is_named(struct daxpin_pool *pool,
				      struct dp_root_word word,
				      struct dp_object *ret_object)
{
	return word.object && dp_object_find(&pool->objects, word.object, ret_object) &&
	       dp_object_state(*ret_object) >= DP_OBJECT_LIVE &&
	       dp_object_is_on_media(*ret_object);
}

/* 0 if a ROOT can name this extent in its present state, otherwise the errno of the
 * call. */
int dp_refuse_name(struct dp_states *states, struct dp_handle handle);
static inline struct daxpin_extent
dp_extent(const struct daxpin_pool *pool, uint64_t block, uint64_t generation)
{
	assert(generation <= DP_GENERATION_MASK);
	return (struct daxpin_extent) {
		.addr = block << DP_BLOCK_SHIFT,
		.gen = pool->gen_epoch | generation,
	};
}

/*
 * -EINVAL if [offset, offset + *length) is not inside the extent. A length of 0 is
 * replaced by the length from offset to the end.
 */
int dp_range(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	     uint64_t *length);

/* The number of publishes that succeeded since the open. */
uint64_t dp_publishes(const struct daxpin_pool *pool);

/*
 * What every call on a pool tests first.
 *
 * -EINVAL      pool is NULL
 * -EOWNERDEAD  this is a forked child of the process that opened the pool
 */
static inline int dp_enter(const struct daxpin_pool *pool)
{
	if (!pool)
		return -EINVAL;
	return dp_states_blocks(&pool->states) ? 0 : -EOWNERDEAD;
}

/*
 * Decode a handle without a test, and encode it again. If dp_handle_is_usual() is true,
 * a comparison with the state word finds out the rest, because none matches an invalid
 * handle: the words of blocks that are not data are always FREE, and no word has a
 * generation in which bits of the epoch are left.
 */
static inline struct dp_handle dp_handle_decode(const struct daxpin_pool *pool,
						struct daxpin_extent extent)
{
	/* Rotated, so that the bits of an offset inside a block make it too large. */
	return (struct dp_handle) {
		extent.addr >> DP_BLOCK_SHIFT | extent.addr << (64 - DP_BLOCK_SHIFT),
		extent.gen ^ pool->gen_epoch,
	};
}

static inline struct daxpin_extent dp_handle_encode(const struct daxpin_pool *pool,
						    struct dp_handle handle)
{
	return (struct daxpin_extent) {
		handle.block << DP_BLOCK_SHIFT | handle.block >> (64 - DP_BLOCK_SHIFT),
		handle.generation ^ pool->gen_epoch,
	};
}

static inline bool dp_handle_is_usual(const struct daxpin_pool *pool,
				      struct dp_handle handle)
{
	/* False in a forked child, too. */
	return handle.block < dp_states_blocks(&pool->states);
}

/* Call dp_enter(), then dp_handle(). */
static inline int dp_enter_with(struct daxpin_pool *pool, struct daxpin_extent extent,
				struct dp_handle *ret_handle)
{
	int ret = dp_enter(pool);

	return ret ? ret : dp_handle(pool, extent, ret_handle);
}

/* Do what dp_enter_with() does; -ESTALE if the handle's generation has ended. */
static inline int dp_find(struct daxpin_pool *pool, struct daxpin_extent extent,
			  struct dp_handle *ret_handle)
{
	int ret = dp_enter_with(pool, extent, ret_handle);

	if (ret)
		return ret;
	if (!dp_state_is_current(&pool->states, ret_handle->block,
				 ret_handle->generation))
		return -ESTALE;
	return dp_state_read(&pool->states, ret_handle->block).state ==
	       DP_STATE_SLAB ? -EINVAL : 0;
}

#endif
