/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free runs of a segment (two-level segregated fit).
 *
 * Each run has a node in the list of its class of lengths. Each length below 16 has a
 * class of its own; from 16 on, the lengths from each power of two to the next are in
 * eight classes. `some` is a bitmap of the classes whose list is not empty, so that the
 * next longer class is found by a few instructions.
 * A list is last in, first out: the run that was freed last is the most likely to be
 * in the processor's caches.
 *
 * A run that becomes free is joined with adjacent free runs immediately. Two blocks
 * have one tag: if both are free, they are in the same run. The tag of a free run's
 * first and of its last block is the number of the run's node; all other tags are
 * stale. So a tag is read only if the bitmap shows that its block is free.
 *
 *	bits	1 1 1 1 1 0 0 1 1 0 1 0
 *	tag	 a   -   a   b   b   c
 *
 * Invariants, between any two calls:
 *	a block's bit is set if and only if it is in a run that has a node in a list
 *	no two runs touch each other
 *	I28	a run that is taken was free from end to end
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/runs.h"

#define EXACT_CLASSES	16u		/* lengths 1 to 15 */
#define EXACT_SHIFT	4u		/* its log2 */
#define STEP_SHIFT	3u		/* log2 of classes an octave */
/* The number of runs of a length's own class to try before the next class. */
#define NEAR_RUNS	8u

#define TAG_BLOCKS	2u		/* that have one tag */
#define LINE_TAGS	16u		/* in a cache line */
#define CHUNK_LINES	16u
#define CHUNK_TAGS	(LINE_TAGS * CHUNK_LINES)	/* of 2 MiB */

static uint32_t runs_class(uint32_t blocks)
{
	uint32_t octave = 31 - __builtin_clz(blocks);

	assert(blocks);
	if (blocks < EXACT_CLASSES)
		return blocks;
	return EXACT_CLASSES + ((octave - EXACT_SHIFT) << STEP_SHIFT) +
	       (blocks >> (octave - STEP_SHIFT)) - (1u << STEP_SHIFT);
}

/* The greatest length of a class. */
static uint32_t runs_class_last(uint32_t class)
{
	uint32_t step = (class - EXACT_CLASSES) & ((1u << STEP_SHIFT) - 1);
	uint32_t octave = (class - EXACT_CLASSES) >> STEP_SHIFT;

	if (class < EXACT_CLASSES)
		return class;
	/* Computed in 64 bits, because the last class ends at 2^32 - 1. */
	return (((uint64_t)(1u << STEP_SHIFT) + step + 1)
		<< (octave + EXACT_SHIFT - STEP_SHIFT)) - 1;
}

/* The first class at or after `class` whose list is not empty, or DP_RUN_CLASSES. */
static uint32_t runs_class_from(const struct dp_runs *runs, uint32_t class)
{
	uint32_t word = class / 64;
	uint64_t some;

	if (class >= DP_RUN_CLASSES)
		return DP_RUN_CLASSES;
	some = runs->some[word] >> class % 64 << class % 64;
	while (!some && ++word < DP_RUN_CLASSES / 64)
		some = runs->some[word];
	return some ? word * 64 + __builtin_ctzll(some) : DP_RUN_CLASSES;
}

/*
 * The tag of a block. Large extents begin at multiples of 2 MiB. If tag[] were indexed
 * by the number of the pair, the tags of all of them would share few sets of a cache,
 * so the index is permuted within each chunk.
 */
static uint32_t *runs_tag(const struct dp_runs *runs, uint32_t block)
{
	uint32_t pair = block / TAG_BLOCKS;

	return &runs->tag[pair ^ (pair / CHUNK_TAGS % CHUNK_LINES * LINE_TAGS)];
}

/* ------------------------------------------------------- nodes and their lists */

static uint32_t runs_new_node(struct dp_runs *runs)
{
	uint32_t node = runs->spare;

	if (!node)
		return ++runs->used;
	runs->spare = runs->node[node].next;
	return node;
}

static void runs_drop_node(struct dp_runs *runs, uint32_t node)
{
	runs->node[node].next = runs->spare;
	runs->spare = node;
}

static void runs_tag_ends(struct dp_runs *runs, uint32_t node, uint32_t block,
			  uint32_t blocks)
{
	*runs_tag(runs, block) = node;
	*runs_tag(runs, block + blocks - 1) = node;
}

/* Make the node describe this run, and add it to its list. */
static void runs_link(struct dp_runs *runs, uint32_t node, uint32_t block,
		      uint32_t blocks)
{
	uint32_t class = runs_class(blocks), head = runs->list[class];

	runs->node[node] = (struct run_node) { block, blocks, head, 0 };
	runs->node[head].prev = node;
	runs->list[class] = node;
	runs->some[class / 64] |= 1ull << class % 64;
	runs_tag_ends(runs, node, block, blocks);
}

static void runs_unlink(struct dp_runs *runs, uint32_t node)
{
	struct run_node run = runs->node[node];
	uint32_t class = runs_class(run.blocks);

	assert(*runs_tag(runs, run.block) == node);
	assert(*runs_tag(runs, run.block + run.blocks - 1) == node);
	runs->node[run.next].prev = run.prev;
	if (run.prev) {
		runs->node[run.prev].next = run.next;
		return;
	}
	assert(runs->list[class] == node);
	runs->list[class] = run.next;
	if (!run.next)
		runs->some[class / 64] &= ~(1ull << class % 64);
}

static void runs_remove(struct dp_runs *runs, uint32_t node)
{
	runs_unlink(runs, node);
	runs_drop_node(runs, node);
}

/* The node's run becomes this one, which may be longer or shorter. A run that stays in
 * its class keeps its place in the list. */
static void runs_resize(struct dp_runs *runs, uint32_t node, uint32_t block,
			uint32_t blocks)
{
	struct run_node *run = &runs->node[node];

	if (runs_class(run->blocks) == runs_class(blocks)) {
		run->block = block;
		run->blocks = blocks;
		runs_tag_ends(runs, node, block, blocks);
		return;
	}
	runs_unlink(runs, node);
	runs_link(runs, node, block, blocks);
}

int dp_runs_init(struct dp_runs *runs, struct dp_bits *bits)
{
	uint32_t begin, end = 0, blocks = bits->blocks;

	*runs = (struct dp_runs) { .bits = bits };
	/* Two runs have at least one block between them, so there are at most half as
	 * many runs as blocks. Neither array is zeroed, so pages that are never used
	 * take no memory. */
	runs->node = malloc((blocks / 2 + 2) * sizeof(*runs->node));
	runs->tag = malloc(dp_round_up(blocks / TAG_BLOCKS, CHUNK_TAGS) *
			   sizeof(*runs->tag));
	if (!runs->node || !runs->tag) {
		dp_runs_fini(runs);
		return -ENOMEM;
	}
	while ((begin = dp_bits_find(bits, end, blocks, true)) < blocks) {
		end = dp_bits_find(bits, begin, blocks, false);
		runs_link(runs, runs_new_node(runs), begin, end - begin);
	}
	return 0;
}

void dp_runs_fini(struct dp_runs *runs)
{
	free(runs->node);
	free(runs->tag);
	runs->node = NULL;
	runs->tag = NULL;
}

/* ------------------------------------------------------------------ to take */

/* A node whose run is long enough, from the first `most` nodes of a list; 0: none. */
static uint32_t runs_find_in(const struct dp_runs *runs, uint32_t class,
			     uint32_t blocks, uint32_t most)
{
	uint32_t node = runs->list[class];

	while (node && most-- && runs->node[node].blocks < blocks)
		node = runs->node[node].next;
	return node && runs->node[node].blocks >= blocks ? node : 0;
}

/*
 * Nearly the best fit. Try the first NEAR_RUNS runs in the length's own class. If none
 * is long enough, take a run of the next class that is not empty, in which each is long
 * enough. If there is no such class, try all runs of the length's own class.
 */
static uint32_t runs_find(const struct dp_runs *runs, uint32_t blocks)
{
	uint32_t class = runs_class(blocks), next;
	uint32_t node = runs_find_in(runs, class, blocks, NEAR_RUNS);

	if (node)
		return node;
	next = runs_class_from(runs, class + 1);
	if (next < DP_RUN_CLASSES)
		return runs->list[next];
	return runs_find_in(runs, class, blocks, UINT32_MAX);
}

/* Take [block, block + blocks) from the node's run; the rest remains free. */
static void runs_cut(struct dp_runs *runs, uint32_t node, uint32_t block,
		     uint32_t blocks)
{
	uint32_t begin = runs->node[node].block, end = begin + runs->node[node].blocks;
	uint32_t after = block + blocks;

	assert(block >= begin && after <= end);
	dp_bits_clear(runs->bits, block, blocks);
	if (block > begin)
		runs_resize(runs, node, begin, block - begin);
	else if (after < end)
		runs_resize(runs, node, after, end - after);
	else
		runs_remove(runs, node);
	if (block > begin && after < end)
		runs_link(runs, runs_new_node(runs), after, end - after);
}

bool dp_runs_take(struct dp_runs *runs, uint32_t blocks, uint32_t *ret_block)
{
	uint32_t node = runs_find(runs, blocks);

	if (!node)
		return false;
	*ret_block = runs->node[node].block;
	runs_cut(runs, node, *ret_block, blocks);
	return true;
}

bool dp_runs_take_at(struct dp_runs *runs, uint32_t block, uint32_t blocks)
{
	if (!dp_bits_are_free(runs->bits, block, blocks))
		return false;
	runs_cut(runs, *runs_tag(runs, dp_bits_begin(runs->bits, block)), block,
		 blocks);
	return true;
}

/* ------------------------------------------------------------------- to add */

/* The node of the free run that begins or ends at this block; 0: it is not free. */
static uint32_t runs_node_at(const struct dp_runs *runs, uint32_t block)
{
	return dp_bits_is_free(runs->bits, block) ? *runs_tag(runs, block) : 0;
}

uint32_t dp_runs_add(struct dp_runs *runs, uint32_t block, uint32_t blocks)
{
	uint32_t begin = block, end = block + blocks;
	uint32_t before = begin ? runs_node_at(runs, begin - 1) : 0;
	uint32_t after = end < runs->bits->blocks ? runs_node_at(runs, end) : 0;

	dp_bits_set(runs->bits, block, blocks);
	if (before)
		begin = runs->node[before].block;
	if (after)
		end += runs->node[after].blocks;
	if (before && after)
		runs_remove(runs, after);
	if (before || after)
		runs_resize(runs, before ? before : after, begin, end - begin);
	else
		runs_link(runs, runs_new_node(runs), begin, end - begin);
	return end - begin;
}

uint32_t dp_runs_longest(const struct dp_runs *runs)
{
	for (uint32_t word = DP_RUN_CLASSES / 64; word--;)
		if (runs->some[word])
			return runs_class_last(word * 64 + 63 -
					       __builtin_clzll(runs->some[word]));
	return 0;
}
