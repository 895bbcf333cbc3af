/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool in use: its parts, and handles taken apart. */
#ifndef DP_HANDLE_H
#define DP_HANDLE_H

#include <errno.h>
#include <daxpin.h>
#include "extent/event.h"
#include "extent/holders.h"
#include "extent/spaces.h"
#include "extent/state.h"
#include "extent/thread_slot.h"
#include "media/lane.h"
#include "media/root.h"
#include "os/short_lock.h"
#include "pool/pool.h"
#include "reclaim/job.h"

/*
 * For the words of SETs, by address: so many that two batches of 16 SETs have none in
 * common in 15 of 16 cases, though each keeps its own for the fences of a publish.
 */
#define DP_WORD_LOCKS	4096u

/* Each on a line of its own: a thread changes that of its slot. */
struct dp_published {
	DP_ALIGNED _Atomic uint64_t count;	/* publishes that succeeded */
};

struct daxpin_pool {
	struct dp_states states;	/* first: probes name a pool by its
					   address, and state.c knows this one */
	struct dp_pool media;
	struct dp_spaces spaces;
	struct dp_events events;
	struct dp_holders holders;
	struct dp_jobs jobs;
	struct dp_lanes lanes;
	struct dp_roots roots;
	struct dp_short_lock word_lock[DP_WORD_LOCKS];
	uint64_t epoch;			/* as in gen: low 24 bits */
	struct dp_log log;
	uint32_t *owner_page;		/* reads 0 in a forked child */
	uint64_t data_blocks;		/* all but metadata */
	uint64_t quarantined_blocks;	/* for damage; others are bad */
	uint64_t unaligned_chunks;
	uint64_t shared_chunks;
	uint64_t sparse_chunks;		/* with metadata or extents */
	/* For daxpin_pool_info(), since the open. */
	struct dp_published published[DP_THREAD_SLOT_SHARED + 1];
	_Atomic uint64_t no_space;	/* reserves that found none */
};

static_assert(DP_WORD_LOCKS % 64 == 0, "a bitmap of them");
static_assert(offsetof(struct daxpin_pool, states) == 0, "one name for probes");

/* Of the epoch, a handle has the low bits. */
#define DP_EPOCH_MASK ((1ull << (64 - DP_GENERATION_BITS)) - 1)

/* A handle that fits this pool and epoch. */
struct dp_handle {
	uint64_t block;			/* in the pool */
	uint64_t generation;
};

/* Where a block of the pool lies: its segment. */
static inline uint32_t dp_segment_of(const struct daxpin_pool *pool,
				     uint64_t block, uint32_t *ret_in_segment)
{
	uint32_t shift = dp_states_shift(&pool->states);

	*ret_in_segment = block & ((1ull << shift) - 1);
	return block >> shift;
}

/*
 * Take a handle apart: -EINVAL no block of this pool, -ESTALE another epoch.
 * Inline, as dp_enter() is, because each hold and drop calls both.
 */
static inline int dp_handle(const struct daxpin_pool *pool,
			    struct daxpin_extent extent,
			    struct dp_handle *ret_handle)
{
	uint64_t block = extent.addr >> DP_BLOCK_SHIFT;
	uint32_t shift = dp_states_shift(&pool->states);
	uint64_t in_segment = block & ((1ull << shift) - 1);

	if (extent.addr % DP_BLOCK_SIZE ||
	    block >= dp_states_blocks(&pool->states) ||
	    in_segment < dp_geometry_meta_blocks(&pool->media.geometry) ||
	    in_segment >=
		    dp_geometry_blocks(&pool->media.geometry, block >> shift))
		return -EINVAL;
	if (extent.gen >> DP_GENERATION_BITS != (pool->epoch & DP_EPOCH_MASK))
		return -ESTALE;
	ret_handle->block = block;
	ret_handle->generation = extent.gen & DP_GENERATION_MASK;
	return 0;
}

/* The same of a handle that dp_handle() took before, or of {0, 0}. */
static inline struct dp_handle dp_handle_of(const struct daxpin_pool *pool,
					    struct daxpin_extent extent)
{
	assert(extent.addr >> DP_BLOCK_SHIFT < dp_states_blocks(&pool->states));
	return (struct dp_handle) {
		extent.addr >> DP_BLOCK_SHIFT, extent.gen & DP_GENERATION_MASK
	};
}

/* As dp_find(), with the state. */
int dp_find_view(struct daxpin_pool *pool, struct daxpin_extent extent,
		 struct dp_handle *ret_handle, struct dp_state_view *ret_view);
/* Is the extent that a root names there? Then its state. */
bool dp_is_named(struct daxpin_pool *pool, struct dp_root_word word,
		 struct dp_state_view *ret_view);
/* Why a root cannot come to name an extent as it is now; 0: it can. */
int dp_refuse_name(struct dp_states *states, struct dp_handle handle);
static inline struct daxpin_extent
dp_extent(const struct daxpin_pool *pool, uint64_t block, uint64_t generation)
{
	assert(block < dp_states_blocks(&pool->states) &&
	       generation <= DP_GENERATION_MASK);
	return (struct daxpin_extent) {
		.addr = block << DP_BLOCK_SHIFT,
		.gen = (pool->epoch & DP_EPOCH_MASK) << DP_GENERATION_BITS |
		       generation,
	};
}

/*
 * -EINVAL: [offset, offset + *length) is not inside the extent. A length of 0
 * becomes what is left from offset to the end.
 */
int dp_range(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	     uint64_t *length);

/* How many publishes succeeded since the open. */
uint64_t dp_publishes(const struct daxpin_pool *pool);

/* 0, or what every call on this pool returns: -EINVAL, -EOWNERDEAD. */
static inline int dp_enter(const struct daxpin_pool *pool)
{
	if (!pool)
		return -EINVAL;
	return *(volatile uint32_t *)pool->owner_page ? 0 : -EOWNERDEAD;
}

/* As dp_enter(), then dp_handle(). */
static inline int dp_enter_with(struct daxpin_pool *pool, struct daxpin_extent extent,
				struct dp_handle *ret_handle)
{
	int ret = dp_enter(pool);

	return ret ? ret : dp_handle(pool, extent, ret_handle);
}

/* A handle taken apart, of a generation that goes on: as dp_enter_with(), -ESTALE. */
static inline int dp_find(struct daxpin_pool *pool, struct daxpin_extent extent,
			  struct dp_handle *ret_handle)
{
	int ret = dp_enter_with(pool, extent, ret_handle);

	if (ret)
		return ret;
	return dp_state_is_current(&pool->states, ret_handle->block,
				   ret_handle->generation) ?
		       0 :
		       -ESTALE;
}

#endif
