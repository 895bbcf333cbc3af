/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/info.h"
#include "core/slabs.h"
#include "pool/own.h"

/* Is it unknown which blocks are bad? That matters only on DAX. On other memory a load
 * never accesses a bad block of the medium: it is an error of the kernel's read into
 * the page cache. */
static bool info_is_bad_unknown(const struct dp_pool *media)
{
	bool unknown = false;

	if (media->source.kind != DP_SOURCE_DEVDAX &&
	    media->source.kind != DP_SOURCE_FSDAX)
		return false;
	for (uint32_t i = 0; i < media->geometry.segments; i++)
		unknown |= dp_segment_badblocks(&media->segments, i)->unknown;
	return unknown;
}

/* What is in segments that a shrink removes is not usable. */
static uint64_t info_data_blocks(const struct daxpin_pool *pool)
{
	uint64_t blocks = pool->data_blocks;

	for (uint32_t i = dp_spaces_open_count(&pool->spaces);
	     i < pool->media.geometry.segments; i++)
		blocks -= dp_geometry_blocks(&pool->media.geometry, i) -
			  pool->meta_blocks;
	return blocks;
}

struct daxpin_pool_info dp_info_now(struct daxpin_pool *pool)
{
	const struct dp_pool *media = &pool->media;
	struct dp_state_deferred deferred = dp_states_deferred(&pool->states);
	struct dp_object_counts objects = dp_objects_count(&pool->objects);
	uint64_t quarantined = dp_spaces_quarantined_count(&pool->spaces);

	struct daxpin_pool_info info = {
		.source = media->source.kind,
		.granularity = dp_persist_granularity(&media->persist),
		.segments = dp_pool_in_set(media),
		.flags = (media->readonly ? DAXPIN_POOL_READONLY : 0) |
			 (media->degraded ? DAXPIN_POOL_DEGRADED : 0),
		.segment_size = media->geometry.segment_size,
		.epoch = media->super.epoch,
		.media_bytes = dp_pool_size(&pool->media),
		.max_bytes = dp_geometry_bytes(&media->geometry, media->geometry.most),
		.usable_bytes = (info_data_blocks(pool) - quarantined) <<
				DP_BLOCK_SHIFT,
		.free_bytes = dp_spaces_free_count(&pool->spaces) << DP_BLOCK_SHIFT,
		.largest_extent = (uint64_t)pool->extent_blocks_max << DP_BLOCK_SHIFT,
		.hole_bytes = pool->jobs.holes.blocks << DP_BLOCK_SHIFT,
		.unaligned_chunks = pool->unaligned_chunks,
		.shared_bytes = pool->shared_chunks << DP_CHUNK_SHIFT,
		.sparse_bytes = pool->sparse_chunks << DP_CHUNK_SHIFT,
		.ignored_files = media->ignored_files,
		.registrations = dp_registration_count(&pool->holders),
		.unclean = media->was_unclean,
		.bad_bytes = (quarantined - pool->quarantined_blocks) << DP_BLOCK_SHIFT,
		.bad_unknown = info_is_bad_unknown(media),
		.retired_bytes = deferred.blocks << DP_BLOCK_SHIFT,
		.deferred_frees = deferred.extents,
		.publishes = dp_publishes(pool),
		.no_space = atomic_load_explicit(&pool->no_space,
						 memory_order_relaxed),
		.quarantined_bytes = pool->quarantined_blocks << DP_BLOCK_SHIFT,
		.movable = media->movable,
		.dirty_shutdown = media->flushed.dirty,
		.slab_bytes = objects.slabs * DP_SLAB_SIZE,
		.partial_slab_bytes = objects.partial * DP_SLAB_SIZE,
		.objects = objects.live, .object_bytes = objects.live_bytes,
		.status_error = pool->status_error,
	};

	memcpy(info.uuid, media->super.uuid, sizeof(info.uuid));
	return info;
}
