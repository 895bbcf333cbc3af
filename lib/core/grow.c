/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adds segments to a pool that other threads use.
 *
 * No call takes a lock for that. Every array that has an entry for each segment, or for
 * each block, was made at the open with addresses for geometry.most segments, and does
 * not move: the mapping of the pool, the state words (extent/state.c), the gates, the
 * spaces and the bounds of their runs, the files, and the pins of registrations. Only
 * the numbers that say how much of them is used change, and they only grow. A grow
 *
 *	1. makes the files, maps them, formats them
 *	2. makes the entries in memory: state words, free space
 *	3. makes the segments a part of the pool on media
 *	4. stores the numbers, each with release
 *
 * A thread that reads a number before 4. does not find the new segments: it refuses
 * their addresses, which no caller has yet, or finds no space in them. One that reads
 * it after 4., with acquire, sees everything that 1. and 2. have stored. A thread may
 * see some of the numbers before and others after 4. The number by which space is
 * searched is stored last: whoever gets an address finds that all others accept it.
 *
 * Before 3. a failure undoes everything. A failure of 3. leaves on media what the next
 * open decides about (pool/grow.c), and the pool in memory is as before.
 *
 * Invariants:
 *	D21	no address in a new segment is given to anybody before the segment is a
 *		part of the pool on media
 */
#include <errno.h>
#include "core/grow.h"
#include "core/recover.h"
#include "pool/grow.h"

/* Undo the spaces of the segments below `end`. */
static void grow_forget(struct daxpin_pool *pool, uint32_t end)
{
	for (uint32_t i = pool->media.geometry.segments; i < end; i++)
		dp_spaces_remove(&pool->spaces, i);
}

static int grow_build(struct daxpin_pool *pool, uint32_t segments)
{
	uint32_t i = pool->media.geometry.segments;
	int ret = dp_states_prepare(&pool->states, segments);

	if (!ret)
		ret = dp_objects_prepare(&pool->objects, (uint64_t)segments <<
					 dp_states_shift(&pool->states));
	for (; !ret && i < segments; i++)
		ret = dp_recover_added(pool, i);
	if (ret)
		grow_forget(pool, i);
	return ret;
}

/* Chunks of new files are backed, but the filesystem may have placed them anywhere. */
static uint64_t grow_unaligned_chunks(const struct daxpin_pool *pool,
				      uint32_t segments)
{
	const struct dp_segments *all = &pool->media.segments;
	uint64_t chunks = 0;

	for (uint32_t i = pool->media.geometry.segments; i < segments; i++)
		for (uint32_t chunk = 0; chunk < dp_segment_table(all, i)->blocks /
						 DP_CHUNK_BLOCKS; chunk++)
			chunks += !(dp_segment_chunk(all, i, chunk) &
				    DP_CHUNK_ALIGNED);
	return chunks;
}

static void grow_publish(struct daxpin_pool *pool, uint32_t segments)
{
	struct dp_geometry *geometry = &pool->media.geometry;
	uint32_t added = segments - geometry->segments;
	uint64_t per_segment = geometry->segment_size >> DP_BLOCK_SHIFT;

	pool->unaligned_chunks += grow_unaligned_chunks(pool, segments);
	pool->data_blocks += added * (per_segment - pool->meta_blocks);
	geometry->segments = segments;
	atomic_store(&pool->media.in_set, segments);
	dp_states_grow(&pool->states, segments);
	pool->block_end = segments * per_segment;
	pool->extent_blocks_max = per_segment - pool->meta_blocks;
	dp_spaces_grow(&pool->spaces, segments);
	/* Reserves that were refused may succeed now. */
	dp_events_notify_refused(&pool->events);
}

static int grow_locked(struct daxpin_pool *pool, uint32_t segments,
		       struct dp_wait_policy *policy,
		       const struct dp_errmsg *errmsg)
{
	int ret = dp_pool_grow_prepare(&pool->media, segments, policy, errmsg);

	if (ret)
		return ret;
	ret = grow_build(pool, segments);
	if (ret) {
		dp_pool_grow_undo(&pool->media);
		return ret;
	}
	ret = dp_pool_grow_commit(&pool->media, errmsg);
	if (ret)
		grow_forget(pool, segments);
	else
		grow_publish(pool, segments);
	return ret;
}

int dp_grow(struct daxpin_pool *pool, uint64_t size, struct dp_wait_policy *policy,
	    uint32_t *ret_segments, const struct dp_errmsg *errmsg)
{
	int ret;

	if (atomic_exchange(&pool->resizing, true))
		return dp_fail(errmsg, -EBUSY,
			       "another call grows or shrinks %s, or closes it: try again when it has returned",
			       pool->media.source.path);
	ret = dp_pool_grow_check(&pool->media, size, ret_segments, errmsg);
	if (!ret)
		ret = grow_locked(pool, *ret_segments, policy, errmsg);
	atomic_store(&pool->resizing, false);
	return ret;
}
