/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads descriptor words and says how they change; the only code that does.
 * Keeps D5 (the interior words of an extent are FREE) by never writing them:
 * they were FREE when the space was free, and a retire makes the head FREE
 * again.
 */
#include <errno.h>
#include <stdlib.h>
#include "os.h"
#include "table.h"

int dp_table_format(struct dp_table *table)
{
	struct dp_word word = { DP_KIND_FREE, 1, 0 };

	assert(table->blocks % DP_CHUNK_BLOCKS == 0);
	for (uint32_t b = DP_CHUNK_BLOCKS; b < table->blocks; b++)
		dp_persist_store(table->persist,
				 table->base + dp_word_offset(b),
				 dp_word_encode(table->seed,
						table->first_block + b, word));
	return dp_persist_flush(table->persist, table->base + DP_BLOCK_SIZE,
				table->blocks * 8ull - DP_BLOCK_SIZE);
}

struct dp_lane_entry dp_table_change(const struct dp_table *table,
				     uint32_t block, struct dp_word word)
{
	uint64_t in_pool = table->first_block + block;

	assert(block >= DP_CHUNK_BLOCKS);
	assert(block + word.blocks <= table->blocks);
	return (struct dp_lane_entry) {
		.addr = (table->first_block << DP_BLOCK_SHIFT) +
			dp_word_offset(block),
		.value = dp_word_encode(table->seed, in_pool, word),
	};
}

bool dp_table_accepts(const struct dp_table *table, uint64_t offset,
		      uint64_t value)
{
	uint64_t block = dp_word_block(offset);
	struct dp_word word;

	return block >= DP_CHUNK_BLOCKS && block < table->blocks &&
	       dp_word_decode(table->seed, table->first_block + block, value,
			      &word);
}

static int damaged(const struct dp_table *table, uint32_t block,
		   const char *what, const struct dp_why *why)
{
	return dp_fail(why, -EUCLEAN,
		       "segment %u, descriptor table, offset 0x%llx (block %u): %s; the pool was left untouched",
		       table->segment,
		       (unsigned long long)dp_word_offset(block), block, what);
}

struct scan {
	const struct dp_table *table;
	const char *copy;
	int (*fn)(void *arg, uint32_t block, struct dp_word word);
	void *arg;
	const struct dp_why *why;
};

static int decode(const struct scan *scan, uint32_t block,
		  struct dp_word *ret_word)
{
	const struct dp_table *table = scan->table;
	uint64_t raw;

	memcpy(&raw, scan->copy + dp_word_offset(block), 8);
	if (dp_word_decode(table->seed, table->first_block + block, raw,
			   ret_word))
		return 0;
	return damaged(table, block, "the word does not check out", scan->why);
}

/* Blocks [block, end) must be FREE: tell fn those that were used before. */
static int scan_free(const struct scan *scan, uint32_t block, uint32_t end)
{
	struct dp_word word;
	int ret = 0;

	for (; !ret && block < end; block++) {
		ret = decode(scan, block, &word);
		if (!ret && word.kind != DP_KIND_FREE)
			ret = damaged(scan->table, block, "two extents overlap",
				      scan->why);
		if (!ret && word.gen)
			ret = scan->fn(scan->arg, block, word);
	}
	return ret;
}

static int scan_extent(const struct scan *scan, uint32_t block,
		       struct dp_word word)
{
	int ret;

	if (word.blocks > scan->table->blocks - block)
		return damaged(scan->table, block,
			       "an extent past the segment's end", scan->why);
	ret = scan->fn(scan->arg, block, word);
	return ret ? ret : scan_free(scan, block + 1, block + word.blocks);
}

static int scan_copy(const struct scan *scan)
{
	uint32_t block = DP_CHUNK_BLOCKS;
	struct dp_word word;
	int ret = 0;

	for (; !ret && block < scan->table->blocks; block += word.blocks) {
		ret = decode(scan, block, &word);
		if (ret)
			break;
		if (word.kind == DP_KIND_FREE)
			ret = scan_free(scan, block, block + 1);
		else
			ret = scan_extent(scan, block, word);
	}
	return ret;
}

int dp_table_scan(const struct dp_table *table, const struct dp_lanes *lanes,
		  int (*fn)(void *arg, uint32_t block, struct dp_word word),
		  void *arg, const struct dp_why *why)
{
	uint64_t size = table->blocks * 8ull;
	char *copy = malloc(size);
	int ret;

	if (!copy)
		return -ENOMEM;
	ret = dp_os_copy_checked(copy, table->base, size);
	if (ret)
		ret = dp_fail(why, ret,
			      "segment %u, descriptor table: the medium cannot be read",
			      table->segment);
	if (!ret) {
		dp_lanes_patch(lanes, table->first_block << DP_BLOCK_SHIFT,
			       size, copy);
		ret = scan_copy(&(struct scan) { table, copy, fn, arg, why });
	}
	free(copy);
	return ret;
}
