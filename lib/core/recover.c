/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Builds a pool in memory from its media, and frees it.
 *
 *	NONE --> MEDIA --> BUILT --> OURS
 *
 *	NONE -> MEDIA		dp_pool_open() or dp_pool_create(): lock,
 *				superblock, map
 *	MEDIA -> BUILT		[recover_rebuild]: lanes are read, then the tables
 *				for free space and extent states, then roots.
 *				Everything is read as it will be when the last
 *				owner's committed lanes are applied
 *	BUILT -> OURS		[recover_allocate_missing, recover_take_over]: metadata
 *				and extents in holes get blocks, lanes are
 *				replayed and closed, and the next epoch begins
 *	any -> NONE		[dp_discard]. The media were closed before: by
 *				dp_pool_end() and dp_pool_tear_down() or, if the
 *				open failed, by dp_pool_give_up()
 *
 * Invariants:
 *	D8	an open stores nothing before BUILT, when everything has passed its
 *		checks
 *	D9	only blocks of backed chunks are free
 *	D11	no lane remains open or torn
 *	D15	an epoch is never used twice
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "core/recover.h"
#include "core/slabs.h"
#include "os/os.h"
#include "pool/create.h"
#include "pool/grow.h"
#include "pool/own.h"
#include "pool/shrink.h"

/* Take the blocks of metadata, and those of chunks that are not backed (D9). A chunk
 * with a word that a lane will change is WANTED, and is backed before the first store,
 * so its blocks are not taken here. */
static void recover_take_chunks(struct daxpin_pool *pool, uint32_t index)
{
	const struct dp_segments *segments = &pool->media.segments;
	uint32_t chunks = dp_geometry_chunks(&pool->media.geometry, index);
	uint32_t meta = dp_geometry_meta_chunks(&pool->media.geometry);

	for (uint32_t chunk = 0; chunk < chunks; chunk++) {
		uint8_t flags = dp_segment_chunk(segments, index, chunk);
		bool space = chunk >= meta;

		pool->unaligned_chunks += !(flags & DP_CHUNK_ALIGNED);
		pool->shared_chunks += !!(flags & DP_CHUNK_SHARED);
		pool->sparse_chunks += !(flags & DP_CHUNK_BACKED) &&
				       (!space || flags & DP_CHUNK_WANTED);
		if (space && flags & (DP_CHUNK_BACKED | DP_CHUNK_WANTED))
			continue;
		if (space)
			pool->jobs.holes.blocks += DP_CHUNK_BLOCKS;
		dp_bits_clear(dp_spaces_bits(&pool->spaces, index),
			      chunk * DP_CHUNK_BLOCKS, DP_CHUNK_BLOCKS);
	}
}

/*
 * W7: an extent in a hole is complete; its bytes are zeroes. Its chunks are backed
 * before the first store (recover_allocate_missing()), so this adds the blocks of these
 * chunks to the free blocks, from which the caller then takes those of the extent.
 */
static void recover_want_chunks(struct daxpin_pool *pool, uint32_t index,
				uint32_t block, uint32_t blocks)
{
	struct dp_segments *segments = &pool->media.segments;
	uint32_t last = (block + blocks - 1) / DP_CHUNK_BLOCKS;

	for (uint32_t chunk = block / DP_CHUNK_BLOCKS; chunk <= last; chunk++) {
		uint8_t flags = dp_segment_chunk(segments, index, chunk);

		if (flags & (DP_CHUNK_BACKED | DP_CHUNK_WANTED))
			continue;
		dp_segment_set_chunk(segments, index, chunk,
				     flags | DP_CHUNK_WANTED);
		dp_bits_set(dp_spaces_bits(&pool->spaces, index),
			    chunk * DP_CHUNK_BLOCKS, DP_CHUNK_BLOCKS);
		pool->jobs.holes.blocks -= DP_CHUNK_BLOCKS;
		pool->sparse_chunks++;
	}
}

struct rebuild {
	struct daxpin_pool *pool;
	uint32_t segment;
	const struct dp_errmsg *errmsg;
};

/* Quarantine a segment from another time: it is neither read nor written. */
static int recover_quarantine_segment(struct daxpin_pool *pool, uint32_t index)
{
	uint32_t blocks = dp_geometry_blocks(&pool->media.geometry, index);
	uint32_t meta = dp_geometry_meta_blocks(&pool->media.geometry);

	assert(pool->media.degraded);
	return dp_bits_quarantine(dp_spaces_bits(&pool->spaces, index), meta,
				  blocks - meta);
}

/* A slab whose words are damaged costs only its own objects in a degraded open: its
 * blocks are quarantined. */
static int recover_slab(struct rebuild *rebuild, uint32_t block, uint64_t in_pool,
			struct dp_word word)
{
	struct daxpin_pool *pool = rebuild->pool;
	const struct dp_slab_extent extent = { rebuild->segment, block, word.class };
	int ret = dp_slab_load(pool, &extent, rebuild->errmsg);

	if (pool->media.degraded && (ret == -EIO || ret == -EUCLEAN))
		return dp_bits_quarantine(dp_spaces_bits(&pool->spaces,
							 rebuild->segment),
					  block, word.blocks);
	if (!ret)
		dp_state_restore(&pool->states, in_pool, word.blocks, word.gen,
				 DP_STATE_SLAB);
	return ret;
}

static int recover_extent(void *arg, uint32_t block, struct dp_word word)
{
	struct rebuild *rebuild = arg;
	struct daxpin_pool *pool = rebuild->pool;
	uint64_t in_pool = block + ((uint64_t)rebuild->segment <<
				    dp_states_shift(&pool->states));
	struct dp_bits *bits = dp_spaces_bits(&pool->spaces, rebuild->segment);

	if (word.kind == DP_KIND_FREE) {
		dp_state_restore(&pool->states, in_pool, 0, word.gen,
				 DP_STATE_FREE);
		return 0;
	}
	recover_want_chunks(pool, rebuild->segment, block, word.blocks);
	/* The scan has refused or skipped extents that overlap, so all of these blocks
	 * should be free. If one of them is not, all are quarantined. */
	if (dp_bits_take(bits, block, word.blocks))
		return dp_bits_quarantine(bits, block, word.blocks);
	if (word.kind == DP_KIND_SLAB)
		return recover_slab(rebuild, block, in_pool, word);
	dp_state_restore(&pool->states, in_pool, word.blocks, word.gen,
			 DP_STATE_LIVE);
	return 0;
}

static int recover_quarantine_damage(void *arg,
				     const struct dp_table_damage *damage)
{
	struct rebuild *rebuild = arg;

	return dp_bits_quarantine(dp_spaces_bits(&rebuild->pool->spaces,
						 rebuild->segment),
				  damage->begin, damage->end - damage->begin);
}

/* A degraded open skips words that fail their check. */
static int recover_scan_segment(struct rebuild *rebuild)
{
	struct daxpin_pool *pool = rebuild->pool;
	const struct dp_table *table = dp_segment_table(&pool->media.segments,
							rebuild->segment);
	const struct dp_table_visitor visitor = {
		recover_extent, recover_quarantine_damage, rebuild
	};

	if (!pool->media.degraded)
		return dp_table_scan(table, &pool->lanes, recover_extent,
				     rebuild, rebuild->errmsg);
	return dp_table_scan_damaged(table, &pool->lanes, &visitor,
				     rebuild->errmsg);
}

/* Bad blocks are never allocated again; a live extent keeps those that it has. */
static int recover_quarantine_bad(struct daxpin_pool *pool, uint32_t index,
				  uint64_t *ret_blocks)
{
	const struct dp_badblocks *list =
		dp_segment_badblocks(&pool->media.segments, index);
	const struct dp_table *table = dp_segment_table(&pool->media.segments, index);
	uint64_t size = (uint64_t)table->blocks << DP_BLOCK_SHIFT;
	uint64_t at = dp_geometry_meta_size(&pool->media.geometry), bad = 0;
	struct dp_badblocks_run run;
	int ret = 0;

	while (!ret && dp_badblocks_find(list, at, size, &run)) {
		uint32_t blocks = (run.end - run.begin) >> DP_BLOCK_SHIFT;

		ret = dp_bits_quarantine(dp_spaces_bits(&pool->spaces, index),
					 run.begin >> DP_BLOCK_SHIFT, blocks);
		dp_slabs_bar(pool, (dp_geometry_begin(&pool->media.geometry, index) +
				    run.begin) >> DP_BLOCK_SHIFT, blocks);
		bad += blocks;
		at = run.end;
	}
	*ret_blocks = bad;
	return ret;
}

/* A block that is both damaged and bad counts once, as bad. */
static int recover_close_off(struct daxpin_pool *pool, uint32_t index)
{
	struct dp_bits *bits = dp_spaces_bits(&pool->spaces, index);
	uint64_t bad, all;
	int ret = recover_quarantine_bad(pool, index, &bad);

	if (ret)
		return ret;
	dp_bits_close_off(bits);
	all = dp_bits_quarantined_count(bits);
	assert(all >= bad);
	pool->quarantined_blocks += all - bad;
	return dp_spaces_open(&pool->spaces, index);
}

static int recover_segment(struct daxpin_pool *pool, uint32_t index,
			   const struct dp_errmsg *errmsg)
{
	uint32_t blocks = dp_geometry_blocks(&pool->media.geometry, index);
	struct rebuild rebuild = { pool, index, errmsg };
	int ret;

	ret = dp_spaces_add(&pool->spaces, index, blocks);
	if (ret)
		return ret;
	pool->data_blocks += blocks - pool->meta_blocks;
	recover_take_chunks(pool, index);
	return dp_epochs_is_foreign(&pool->media.epochs, index) ?
	       recover_quarantine_segment(pool, index) :
	       recover_scan_segment(&rebuild);
}

int dp_recover_added(struct daxpin_pool *pool, uint32_t index)
{
	uint32_t blocks = dp_segment_table(&pool->media.segments, index)->blocks;
	uint64_t bad;
	int ret = dp_spaces_add(&pool->spaces, index, blocks);

	if (ret)
		return ret;
	dp_bits_clear(dp_spaces_bits(&pool->spaces, index), 0, pool->meta_blocks);
	ret = recover_quarantine_bad(pool, index, &bad);
	if (ret)
		return ret;
	dp_bits_close_off(dp_spaces_bits(&pool->spaces, index));
	return dp_spaces_open(&pool->spaces, index);
}

/* Is it a word that a batch can change: a descriptor, a root, or data (by SET)? */
static bool recover_is_word(struct daxpin_pool *pool,
			    const struct dp_lane_entry *entry)
{
	uint64_t index = entry->addr / pool->media.geometry.segment_size;
	uint64_t offset = entry->addr % pool->media.geometry.segment_size;
	const struct dp_table *table;

	if (entry->addr % 8 || index >= pool->media.geometry.segments ||
	    dp_epochs_is_foreign(&pool->media.epochs, index))
		return false;
	table = dp_segment_table(&pool->media.segments, index);
	if (dp_table_has(table, offset))
		return dp_table_accepts(table, offset, entry->value);
	if (offset < dp_geometry_meta_size(&pool->media.geometry))
		return !index && dp_roots_accept(&pool->roots, offset,
						 entry->value);
	return offset < dp_geometry_size(&pool->media.geometry, index);
}

/* A word that a SET changes may be in a hole, because its extent may be (W7). Mark the
 * chunk, so that it is backed before the lane is replayed. */
static void recover_want_word(struct daxpin_pool *pool,
			      const struct dp_lane_entry *entry)
{
	uint64_t index = entry->addr / pool->media.geometry.segment_size;
	uint64_t offset = entry->addr % pool->media.geometry.segment_size;
	uint32_t chunk = offset >> DP_CHUNK_SHIFT;
	uint8_t flags = dp_segment_chunk(&pool->media.segments, index, chunk);

	if (!(flags & DP_CHUNK_BACKED) &&
	    chunk >= dp_geometry_meta_chunks(&pool->media.geometry))
		dp_segment_set_chunk(&pool->media.segments, index, chunk,
				     flags | DP_CHUNK_WANTED);
}

static bool recover_keeps_word(void *arg, const struct dp_lane_entry *entry)
{
	return recover_is_word(arg, entry);
}

/* For a degraded open for reading: drop the pending entries that cannot be applied. */
static void recover_drop_impossible(struct daxpin_pool *pool)
{
	dp_lanes_filter(&pool->lanes, recover_keeps_word, pool);
}

/* Can this entry be replayed? A store to a bad block may be SIGBUS. */
static int recover_check_pending(struct daxpin_pool *pool,
				 const struct dp_lane_entry *entry,
				 const struct dp_errmsg *errmsg)
{
	uint64_t index = entry->addr / pool->media.geometry.segment_size;
	uint64_t offset = entry->addr % pool->media.geometry.segment_size;
	const struct dp_badblocks_view *view;
	char name[64];
	uint64_t was;
	int ret;

	if (!recover_is_word(pool, entry))
		return dp_fail(errmsg, -EUCLEAN,
			       "a redo lane has a store to the 8 bytes at 0x%llx, which are not a word that a batch can change" DP_UNTOUCHED,
			       (unsigned long long)entry->addr);
	view = dp_segment_view(&pool->media.segments, index);
	ret = dp_badblocks_read(view, offset, &was, sizeof(was));
	recover_want_word(pool, entry);
	if (!ret)
		return 0;
	snprintf(name, sizeof(name),
		 "segment %u: a word that a redo lane changes",
		 (unsigned int)index);
	return dp_badblocks_fail(view, ret, offset, sizeof(was), name, errmsg);
}

static int recover_load_lanes(struct daxpin_pool *pool,
			      const struct dp_errmsg *errmsg)
{
	struct dp_lanes *lanes = &pool->lanes;
	bool degraded_readonly = dp_pool_is_degraded_readonly(&pool->media);
	int ret = dp_lanes_load(lanes, degraded_readonly, errmsg);

	if (degraded_readonly) {
		recover_drop_impossible(pool);
		return ret;
	}
	for (size_t i = 0; !ret && i < dp_lanes_pending(lanes); i++)
		ret = recover_check_pending(pool, dp_lanes_pending_entry(lanes, i),
					    errmsg);
	if (!ret && pool->media.readonly && dp_lanes_pending(lanes))
		ret = dp_fail(errmsg, -EUCLEAN,
			      "%s has a batch that its last owner committed but did not complete: open it for writing once",
			      pool->media.source.path);
	return ret;
}

/*
 * Can only a repair show what the block belongs to? Then this open does not allocate
 * it. In a slab whose words are good, objects are allocated also in a block whose own
 * descriptor word is damaged. Blocks that the medium reports as bad have good words,
 * and are not in quarantine yet.
 */
static bool recover_is_in_doubt(struct daxpin_pool *pool, uint64_t block)
{
	uint32_t in_segment, segment = dp_segment_of(pool, block, &in_segment);
	const struct dp_geometry *geometry = &pool->media.geometry;

	return !dp_slab_at(&pool->objects, block) && segment < geometry->segments &&
	       in_segment < dp_geometry_blocks(geometry, segment) &&
	       dp_bits_is_quarantined(dp_spaces_bits(&pool->spaces, segment),
				      in_segment);
}

/*
 * Count a root if the extent or object that it names exists. Otherwise (after a repair,
 * or in a degraded open) its name remains, and daxpin_root() returns -ESTALE for it
 * (D14).
 */
static enum dp_root_found recover_count_root(void *arg, struct dp_root_word word)
{
	struct daxpin_pool *pool = arg;
	struct dp_state_view view;
	struct dp_object object;

	if (word.object && dp_object_is_named(pool, word, &object))
		dp_slab_add_root(object.slab);
	else if (!word.object && dp_is_named(pool, word, &view))
		dp_state_add_root(&pool->states, word.block);
	else
		return recover_is_in_doubt(pool, word.block) ? DP_ROOT_IN_DOUBT :
							       DP_ROOT_LOST;
	return DP_ROOT_FOUND;
}

static int recover_init_directories(struct daxpin_pool *pool)
{
	const struct dp_badblocks_view *view =
		dp_segment_view(&pool->media.segments, 0);
	char *base = pool->media.geometry.base;

	dp_lanes_init(&pool->lanes, base, view, pool->media.seed,
		      &pool->media.persist);
	return dp_roots_init(&pool->roots, base, view, pool->media.seed,
			     &pool->media.persist);
}

/* Called before the lanes are checked: their words must be in used pages. */
static int recover_load_pages(struct daxpin_pool *pool,
			      const struct dp_errmsg *errmsg)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < pool->media.geometry.segments; i++)
		if (!dp_epochs_is_foreign(&pool->media.epochs, i))
			ret = dp_table_load_pages(
				dp_segment_table(&pool->media.segments, i),
				pool->media.degraded, errmsg);
	return ret;
}

static void recover_derive(struct daxpin_pool *pool)
{
	const struct dp_geometry *geometry = &pool->media.geometry;
	uint32_t largest = !geometry->short_index && geometry->segments > 1;

	pool->block_end = dp_geometry_end(geometry) >> DP_BLOCK_SHIFT;
	pool->segment_mask = (geometry->segment_size >> DP_BLOCK_SHIFT) - 1;
	pool->meta_blocks = dp_geometry_meta_blocks(geometry);
	pool->extent_blocks_max = dp_geometry_blocks(geometry, largest) -
				  pool->meta_blocks;
}

/* Build everything in memory from the media, without changing them. */
static int recover_rebuild(struct daxpin_pool *pool,
			   const struct dp_errmsg *errmsg)
{
	uint32_t segments = pool->media.geometry.segments;
	uint64_t per_segment = pool->media.geometry.segment_size >> DP_BLOCK_SHIFT;
	uint32_t shift = __builtin_ctzll(per_segment);
	uint32_t most = pool->media.geometry.most;
	int ret = dp_spaces_init(&pool->spaces, segments, most, shift, &pool->events);

	recover_derive(pool);
	if (ret)
		return ret;
	dp_jobs_init(&pool->jobs, &pool->media, &pool->spaces, &pool->states,
		     &pool->events, &pool->holders);
	ret = dp_states_init(&pool->states, segments, most, shift, &pool->spaces,
			     &pool->events);
	if (!ret)
		ret = dp_slabs_init(pool);
	if (!ret)
		ret = recover_init_directories(pool);
	if (!ret)
		ret = recover_load_pages(pool, errmsg);
	if (!ret)
		ret = recover_load_lanes(pool, errmsg);
	for (uint32_t i = 0; !ret && i < segments; i++)
		ret = recover_segment(pool, i, errmsg);
	return ret ? ret :
		     dp_roots_load(&pool->roots, &pool->lanes,
				   pool->media.degraded, recover_count_root,
				   pool, errmsg);
}

/*
 * Everything has passed its checks, so missing blocks are allocated, before the first
 * store and the first reserve. Bad blocks are quarantined afterwards, because only then
 * all blocks are in their final place.
 */
static int recover_allocate_missing(struct daxpin_pool *pool,
				    struct dp_pool_request *request)
{
	int ret = 0;

	if (!pool->media.readonly) {
		ret = dp_pool_allocate_missing(&pool->media, &request->policy,
					       request->errmsg);
		pool->sparse_chunks = 0;
		if (pool->media.source.kind == DP_SOURCE_FSDAX)
			pool->shared_chunks = 0;
	}
	for (uint32_t i = 0; !ret && i < pool->media.geometry.segments; i++)
		ret = recover_close_off(pool, i);
	return ret;
}

/* The first stores: the last owner's committed entries, roots whose extents are gone,
 * then the next epoch. */
static int recover_take_over(struct daxpin_pool *pool,
			     const struct dp_errmsg *errmsg)
{
	uint64_t epoch = dp_epochs_next(&pool->media.epochs);
	int ret = 0;

	if (!pool->media.readonly)
		ret = dp_lanes_recover(&pool->lanes, epoch);
	if (!ret && !pool->media.readonly)
		ret = dp_roots_write_gone(&pool->roots);
	if (!ret && !pool->media.readonly && !pool->media.degraded)
		dp_pool_remove_left(&pool->media);
	if (!ret && !pool->media.readonly)
		ret = dp_pool_remove_unfinished(&pool->media, errmsg);
	return ret ? ret : dp_pool_own(&pool->media, errmsg);
}

static void recover_fini_directories(struct daxpin_pool *pool)
{
	if (!dp_lanes_are_there(&pool->lanes))
		return;
	dp_roots_fini(&pool->roots);
	dp_lanes_fini(&pool->lanes);
}

void dp_discard(struct daxpin_pool *pool)
{
	dp_status_close(&pool->status);
	dp_jobs_fini(&pool->jobs);
	recover_fini_directories(pool);
	dp_objects_fini(&pool->objects);
	dp_states_fini(&pool->states);
	dp_spaces_fini(&pool->spaces);
	dp_holders_fini(&pool->holders);
	dp_events_fini(&pool->events);
	free(pool);
}

/*
 * The parent's threads do not exist in the child. A mutex that one of them held remains
 * locked, and data that it was changing is inconsistent. So no mutex is taken and no
 * list is followed, and the memory that they refer to is not freed.
 */
void dp_close_inherited(struct daxpin_pool *pool)
{
	dp_status_close(&pool->status);
	dp_jobs_close_inherited(&pool->jobs);
	dp_events_close_inherited(&pool->events);
	dp_objects_close_inherited(&pool->objects);
	dp_states_fini(&pool->states);
	dp_pool_tear_down(&pool->media);
	free(pool);
}

int dp_recover(struct dp_pool_request *request,
		  int (*media)(struct dp_pool *, struct dp_pool_request *),
		  struct daxpin_pool **ret_pool)
{
	struct daxpin_pool *pool = aligned_alloc(DP_CACHE_LINE, sizeof(*pool));
	int ret;

	if (!pool)
		return -ENOMEM;
	memset(pool, 0, sizeof(*pool));
	ret = dp_events_init(&pool->events);
	if (ret) {
		free(pool);
		return ret;
	}
	dp_holders_init(&pool->holders);
	ret = media(&pool->media, request);
	if (ret) {
		pool->media.geometry.segments = 0;
		dp_discard(pool);
		return ret;
	}
	ret = recover_rebuild(pool, request->errmsg);
	if (!ret)
		ret = recover_allocate_missing(pool, request);
	if (!ret)
		ret = recover_take_over(pool, request->errmsg);
	if (ret) {
		dp_pool_give_up(&pool->media);
		dp_discard(pool);
		return ret;
	}
	pool->epoch = pool->media.super.epoch;
	pool->gen_epoch = pool->epoch << DP_GENERATION_BITS;
	*ret_pool = pool;
	return 0;
}
