/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include "media/slab.h"
#include "support/invariant.h"

/* A segment, its counts, and pointers to what the check of each block needs. */
struct segment {
	struct daxpin_pool *pool;
	uint32_t index;
	uint64_t first;			/* its first block's number in the pool */
	uint32_t blocks;
	const struct dp_bits *bits;
	const struct dp_table *table;
	const struct dp_badblocks *badblocks;
	bool has_quarantine;
	bool has_pending;
	const uint8_t *kept;		/* by block of the pool: is it cached? */
	uint32_t chunk;			/* whose answer is_hole() remembers */
	bool chunk_is_hole;
	uint32_t page;			/* the same for is_page_used() */
	bool page_is_used;
	uint64_t held;
	uint32_t free;
};

static bool is_free(const struct segment *segment, uint32_t block)
{
	return dp_bits_is_free(segment->bits, block);
}

static bool is_quarantined(const struct segment *segment, uint32_t block)
{
	return segment->has_quarantine &&
	       dp_bits_is_quarantined(segment->bits, block);
}

/*
 * Is the block in a chunk without free blocks: metadata, claimed by a job, or a hole?
 * The answer of the last chunk is remembered, because most states of the simulator have
 * thousands of free blocks.
 */
static bool is_hole(struct segment *segment, uint32_t block)
{
	uint32_t chunk = block / DP_CHUNK_BLOCKS;
	uint8_t flags;

	if (chunk == segment->chunk)
		return segment->chunk_is_hole;
	flags = dp_segment_chunk(&segment->pool->media.segments, segment->index,
				 chunk);
	segment->chunk = chunk;
	segment->chunk_is_hole =
		!chunk || flags & DP_CHUNK_CLAIMED ||
		!(flags & (DP_CHUNK_BACKED | DP_CHUNK_WANTED));
	return segment->chunk_is_hole;
}

/* Is the page of the table that has its word in use? The last answer is remembered. */
static bool is_page_used(struct segment *segment, uint32_t block)
{
	uint32_t page = block / DP_PAGE_WORDS;

	if (page != segment->page)
		segment->page_is_used = dp_pages_is_used(segment->table->pages, page);
	segment->page = page;
	return segment->page_is_used;
}

/* Asserts that the run is free and touches no other free run. */
static void check_run(const struct dp_runs *runs, uint32_t node)
{
	uint32_t begin = runs->node[node].block;
	uint32_t end = begin + runs->node[node].blocks;

	assert(begin < end && end <= runs->bits->blocks);
	assert(dp_bits_are_free(runs->bits, begin, end - begin));
	assert(!begin || !dp_bits_is_free(runs->bits, begin - 1));
	assert(end == runs->bits->blocks || !dp_bits_is_free(runs->bits, end));
}

void dp_invariants_runs(const struct dp_runs *runs, uint32_t longest)
{
	uint32_t blocks = 0;

	for (uint32_t i = 0; i < DP_RUN_CLASSES; i++) {
		assert(!runs->list[i] == !(runs->some[i / 64] >> i % 64 & 1));
		for (uint32_t n = runs->list[i]; n; n = runs->node[n].next) {
			check_run(runs, n);
			blocks += runs->node[n].blocks;
			assert(runs->node[n].blocks <= longest);
		}
	}
	assert(blocks == dp_bits_free_count(runs->bits));
}

static void check_cached_run(struct dp_spaces *spaces, uint32_t block, uint32_t blocks,
			     uint8_t *kept)
{
	for (uint32_t end = block + blocks; block < end; block++) {
		uint32_t in = block & ((1u << spaces->shift) - 1);

		assert(!dp_bits_is_free(dp_spaces_bits(spaces, block >> spaces->shift),
					in));
		assert(!kept[block]++);
	}
}

/*
 * Asserts that the runs in a thread's cache are in no segment's lists and in no other
 * cache (I62), and that none of the cache's places for a run is lost.
 */
static void check_cache(struct dp_spaces *spaces, const struct dp_cache *cache,
			uint8_t *kept)
{
	uint32_t blocks = 0, runs = 0;

	for (uint32_t i = 1; i <= DP_CACHE_RUN; i++) {
		uint32_t count = 0;

		for (uint32_t n = cache->list[i].newest; n; n = cache->run[n].next) {
			check_cached_run(spaces, cache->run[n].block, i, kept);
			count++;
		}
		assert(count == cache->list[i].count);
		blocks += count * i;
		runs += count;
	}
	for (uint32_t n = cache->spare; n; n = cache->run[n].next)
		runs++;
	assert(blocks == cache->blocks);
	assert(runs == (cache->begun ? DP_CACHE_RUNS : 0));
}

uint8_t *dp_invariants_spaces(struct dp_spaces *spaces)
{
	uint8_t *kept = calloc((size_t)spaces->segments << spaces->shift, 1);

	assert(kept && !spaces->returns && !(spaces->caches.mode & 1));
	for (uint32_t i = 0; i < spaces->segments; i++) {
		bool closed = i >= dp_spaces_open_count(spaces);
		uint32_t bound = dp_longest_get(&spaces->longest, i);

		assert(!spaces->space[i].returned_groups);
		assert(spaces->space[i].closed == closed && (!closed || !bound));
		dp_invariants_runs(&spaces->space[i].runs, closed ? UINT32_MAX : bound);
	}
	for (uint32_t i = 0; i < DP_THREAD_SLOTS; i++)
		check_cache(spaces, &spaces->caches.cache[i], kept);
	return kept;
}

/* Asserts that no block of the extent is free, and no other extent begins in it. */
static void check_extent(const struct segment *segment, uint32_t block,
			 uint32_t blocks)
{
	struct dp_states *states = &segment->pool->states;

	assert(blocks && block + blocks <= segment->blocks);
	for (uint32_t b = block; b < block + blocks; b++) {
		assert(!is_free(segment, b));
		assert(!segment->kept[segment->first + b]);	/* I62 */
		if (b > block)
			assert(dp_state_read(states, segment->first + b)
				       .state == DP_STATE_FREE);
	}
}

static bool is_bad(const struct segment *segment, uint32_t block)
{
	uint64_t begin = (uint64_t)block << DP_BLOCK_SHIFT;
	struct dp_badblocks_run run;

	return segment->badblocks->runs &&
	       dp_badblocks_find(segment->badblocks, begin,
				 begin + DP_BLOCK_SIZE, &run);
}

/*
 * Decodes the word as an open does: FREE in a page that is not in use (D19), and in a
 * read-only degraded open as it will be after the lanes are replayed.
 */
static bool read_word(const struct segment *segment, uint32_t block,
		      struct dp_word *ret_word)
{
	const struct dp_table *table = segment->table;
	uint64_t raw;

	*ret_word = (struct dp_word) { DP_KIND_FREE, 1, 0, 0 };
	if (!dp_pages_is_used(table->pages, block / DP_PAGE_WORDS))
		return true;
	memcpy(&raw, table->base + dp_table_word_offset(table, block), sizeof(raw));
	if (segment->has_pending)
		dp_lanes_patch(&segment->pool->lanes,
			       dp_table_word_addr(table, block), sizeof(raw),
			       (char *)&raw);
	return dp_word_decode(table->seed, table->first_block + block, raw,
			      ret_word);
}

/* Asserts that each bit on media is set exactly when the object is live (D22, D23). No
 * publish may be in progress. */
static void check_slab(const struct segment *segment, uint32_t block, uint32_t class)
{
	uint64_t in_pool = segment->first + block, addr = in_pool << DP_BLOCK_SHIFT;
	struct dp_slab *slab = dp_slab_at(&segment->pool->objects, in_pool);
	struct dp_slab_shape shape = dp_slab_shape(class);
	uint64_t words[DP_SLAB_WORDS_MAX], bits = 0;

	assert(slab && dp_slab_addr(slab) == addr && dp_slab_class_of(slab) == class);
	assert(!dp_badblocks_read(segment->table->view,
				  (uint64_t)block << DP_BLOCK_SHIFT, words,
				  shape.words * sizeof(words[0])));
	for (uint32_t i = 0; i < shape.objects; i++) {
		struct dp_object object = { slab, i };
		enum dp_object_state state = dp_object_state(object);
		uint32_t word = i / DP_SLAB_WORD_OBJECTS;

		if (i % DP_SLAB_WORD_OBJECTS == 0)
			assert(dp_slab_decode(segment->table->seed, addr + word * 8,
					      words[word], &bits));
		assert((bits >> i % DP_SLAB_WORD_OBJECTS & 1) ==
		       (state == DP_OBJECT_LIVE) || state == DP_OBJECT_CLAIMED);
		/* After a publish that failed it is unknown what is on media. */
		assert(dp_object_is_on_media(object) ==
		       (bits >> i % DP_SLAB_WORD_OBJECTS & 1) ||
		       (state == DP_OBJECT_CLAIMED &&
			dp_persist_error(&segment->pool->media.persist)));
	}
}

/* Asserts that the word on media is LIVE exactly when the state is (D3, D5). */
static void check_word(const struct segment *segment, uint32_t block,
		       const struct dp_state_view *view, uint32_t blocks)
{
	struct dp_word word;
	bool whole = read_word(segment, block, &word);

	if (is_quarantined(segment, block)) {
		assert(!is_free(segment, block));
		if (view->state == DP_STATE_FREE)
			return;
		/*
		 * No extent has a block that is quarantined for damage. An open that
		 * found no damage quarantines only bad blocks, and a read may have
		 * found more of them.
		 */
		assert(!segment->pool->quarantined_blocks || is_bad(segment, block));
	}
	assert(whole);
	if (view->publishing)
		return;
	assert((word.kind == DP_KIND_DATA) == (view->state == DP_STATE_LIVE));
	assert((word.kind == DP_KIND_SLAB) == (view->state == DP_STATE_SLAB));
	if (view->state == DP_STATE_SLAB)
		check_slab(segment, block, word.class);
	if (view->state != DP_STATE_LIVE)
		return;
	assert(word.blocks == blocks);
	assert(word.gen == (view->generation & DP_WORD_GEN_MASK));
}

/*
 * Asserts that a free block's state word has its only value, and that the block is in
 * exactly one place, so that none is lost (I13-I15): free, cached, quarantined or in a
 * hole.
 */
static void check_free_block(struct segment *segment, uint32_t block,
			     const struct dp_state_view *view)
{
	bool free = is_free(segment, block);

	assert(!view->count && !view->publishing && !view->writers);
	assert(!view->exclusive);
	segment->free += free;
	assert(free + segment->kept[segment->first + block] +
	       (is_hole(segment, block) || is_quarantined(segment, block)) == 1);
	assert(!free || !is_bad(segment, block));
}

static uint32_t check_block(struct segment *segment, uint32_t block)
{
	const struct dp_state_view interior = { .state = DP_STATE_FREE };
	uint64_t in_pool = segment->first + block;
	struct dp_states *states = &segment->pool->states;
	struct dp_state_view view = dp_state_read(states, in_pool);
	uint32_t blocks = 1;

	if (view.state == DP_STATE_FREE) {
		check_free_block(segment, block, &view);
	} else {
		blocks = dp_state_blocks(states, in_pool);
		check_extent(segment, block, blocks);
	}
	assert(view.state != DP_STATE_RETIRED || view.count);
	assert(!view.exclusive || view.count == 1);	/* C7 */
	segment->held += view.count > 0;
	/* In a page that is not in use every word is FREE (D19). */
	if (view.state == DP_STATE_FREE && !segment->has_quarantine &&
	    !is_page_used(segment, block))
		return blocks;
	check_word(segment, block, &view, blocks);
	for (uint32_t b = block + 1; b < block + blocks; b++)
		check_word(segment, b, &interior, blocks);
	return blocks;
}

static void check_segment(struct daxpin_pool *pool, uint32_t index,
			  const uint8_t *kept)
{
	const struct dp_bits *bits = dp_spaces_bits(&pool->spaces, index);
	struct segment segment = {
		.pool = pool, .index = index,
		.first = (uint64_t)index << dp_states_shift(&pool->states),
		.blocks = dp_geometry_blocks(&pool->media.geometry, index),
		.bits = bits,
		.table = dp_segment_table(&pool->media.segments, index),
		.badblocks = dp_segment_badblocks(&pool->media.segments, index),
		.has_quarantine = dp_bits_quarantined_count(bits),
		.has_pending = dp_lanes_pending(&pool->lanes),
		.kept = kept,
		.chunk = UINT32_MAX,
		.page = UINT32_MAX,
	};
	uint32_t block = dp_geometry_meta_blocks(&pool->media.geometry);

	while (block < segment.blocks)
		block += check_block(&segment, block);
	/* I29: the counter is the sum over the held extents. */
	assert(segment.held ==
	       dp_gate_busy(dp_state_gates(&pool->states), index));
	assert(segment.free == dp_bits_free_count(bits));
}

/* Asserts that a root which an extent counts names a LIVE extent (D14). */
static void check_root(struct daxpin_pool *pool, uint32_t index)
{
	struct dp_root_view slot = dp_root_view(&pool->roots, index);
	struct dp_state_view view;
	struct dp_object object;
	struct dp_root_word word;
	uint64_t raw;
	bool whole;

	if (slot.damaged && !slot.counted)
		return;
	memcpy(&raw, &pool->roots.media[index].word, sizeof(raw));
	/* As read_word() does: with the change that an open lane contains. */
	dp_lanes_patch(&pool->lanes, DP_ROOTS_OFFSET +
		       index * sizeof(struct dp_root) +
		       offsetof(struct dp_root, word), sizeof(raw),
		       (char *)&raw);
	whole = dp_root_decode(pool->media.seed, index, raw, &word);
	assert(whole);
	if (slot.claimed)
		return;
	/* Otherwise an open has written that the root is gone. */
	if (slot.word.block == DP_ROOT_GONE && (pool->media.readonly || slot.in_doubt))
		return;
	assert(word.block == slot.word.block && word.gen == slot.word.gen);
	assert(word.object == slot.word.object);
	if (!slot.counted)
		return;
	if (word.object) {
		assert(dp_object_is_named(pool, word, &object));
		return;
	}
	view = dp_state_read(&pool->states, slot.word.block);
	assert(view.state == DP_STATE_LIVE);
	assert((view.generation & DP_ROOT_GEN_MASK) == slot.word.gen);
}

static void check_roots(struct daxpin_pool *pool)
{
	uint64_t counted = 0, states = 0;

	for (uint32_t i = 0; i < DP_ROOTS; i++) {
		check_root(pool, i);
		counted += dp_root_view(&pool->roots, i).counted;
	}
	for (uint64_t b = 0; b < dp_states_blocks(&pool->states); b++) {
		struct dp_slab *slab = dp_slab_at(&pool->objects, b);

		states += dp_state_roots(&pool->states, b);
		if (slab && dp_slab_addr(slab) == b << DP_BLOCK_SHIFT)
			states += dp_slab_roots(slab);
	}
	assert(counted == states);
}

/*
 * Asserts that every lane of a pool open for writing is closed between publishes (D4).
 */
static void check_lane(struct daxpin_pool *pool, uint32_t index)
{
	const struct dp_lane *lane = (const struct dp_lane *)
		(pool->media.geometry.base + DP_LANES_OFFSET) + index;

	assert(lane->done == pool->lanes.lane[index].done);
	assert(dp_lane_judge(pool->media.seed, index, lane) == DP_LANE_CLOSED);
}

void dp_invariants(struct daxpin_pool *pool)
{
	uint8_t *kept = dp_invariants_spaces(&pool->spaces);

	for (uint32_t i = 0; i < dp_pool_in_set(&pool->media); i++)
		check_segment(pool, i, kept);
	free(kept);
	/*
	 * After a failed write, publishes keep their claims, and roots and lanes cannot
	 * be checked.
	 */
	if (dp_persist_error(&pool->media.persist))
		return;
	check_roots(pool);
	for (uint32_t i = 0; i < DP_LANES && !pool->media.readonly; i++)
		check_lane(pool, i);
}
