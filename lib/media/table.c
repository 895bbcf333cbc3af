/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads descriptor words and says how they change; the only code that does.
 * Keeps D5 (the interior words of an extent are FREE) by never writing them:
 * they were FREE when the space was free, and a retire makes the head FREE
 * again.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/table.h"

int dp_table_format(const struct dp_table *table)
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

const char *dp_table_fault_text(enum dp_table_fault fault)
{
	switch (fault) {
	case DP_TABLE_WORD:
	case DP_TABLE_INNER_WORD:
		return "the word does not check out";
	case DP_TABLE_OVERLAP:
		return "two extents overlap";
	case DP_TABLE_PAST_END:
		break;
	}
	return "an extent past the segment's end";
}

struct scan {
	const struct dp_table *table;
	const char *copy;
	const struct dp_table_visitor *visitor;
};

static bool table_decode(const struct scan *scan, uint32_t block,
			 struct dp_word *ret_word)
{
	const struct dp_table *table = scan->table;
	uint64_t raw;

	memcpy(&raw, scan->copy + dp_word_offset(block), 8);
	return dp_word_decode(table->seed, table->first_block + block, raw,
			      ret_word);
}

/* The first block from there on at which an extent begins. */
static uint32_t table_next_head(const struct scan *scan, uint32_t block)
{
	struct dp_word word;

	while (block < scan->table->blocks &&
	       (!table_decode(scan, block, &word) || word.kind == DP_KIND_FREE))
		block++;
	return block;
}

static int table_report_word(const struct scan *scan, uint32_t block,
			     struct dp_word word)
{
	if (word.kind == DP_KIND_FREE && !word.gen)
		return 0;
	return scan->visitor->word(scan->visitor->arg, block, word);
}

static int table_tell_damage(const struct scan *scan, enum dp_table_fault fault,
			     uint32_t block, uint32_t begin, uint32_t end)
{
	struct dp_table_damage damage = { fault, block, begin, end };

	assert(begin <= block && block < end && end <= scan->table->blocks);
	return scan->visitor->damage(scan->visitor->arg, &damage);
}

/*
 * An extent, and all words inside it. Its head is told last: another extent
 * that begins among them makes liars of both.
 */
static int table_scan_extent(const struct scan *scan, uint32_t block,
			     struct dp_word head, uint32_t *ret_end)
{
	uint32_t end = block + head.blocks, overlap = 0;
	struct dp_word word;
	int ret = 0;

	for (uint32_t b = block + 1; !ret && b < end; b++) {
		if (!table_decode(scan, b, &word)) {
			ret = table_tell_damage(scan, DP_TABLE_INNER_WORD, b, b,
						b + 1);
		} else if (word.kind == DP_KIND_FREE) {
			ret = table_report_word(scan, b, word);
		} else {
			overlap = overlap ? overlap : b;
			word.blocks = dp_min(word.blocks,
					     scan->table->blocks - b);
			if (b + word.blocks > end)
				end = b + word.blocks;
		}
	}
	*ret_end = overlap ? table_next_head(scan, end) : end;
	if (ret)
		return ret;
	if (overlap)
		return table_tell_damage(scan, DP_TABLE_OVERLAP, overlap, block,
					 *ret_end);
	return table_report_word(scan, block, head);
}

/* One word that stands in no extent, or one extent. */
static int table_scan_one(const struct scan *scan, uint32_t block,
			  uint32_t *ret_end)
{
	enum dp_table_fault fault = DP_TABLE_PAST_END;
	struct dp_word word;

	*ret_end = block + 1;
	if (!table_decode(scan, block, &word))
		fault = DP_TABLE_WORD;
	else if (word.kind == DP_KIND_FREE)
		return table_report_word(scan, block, word);
	else if (word.blocks <= scan->table->blocks - block)
		return table_scan_extent(scan, block, word, ret_end);
	*ret_end = table_next_head(scan, block + 1);
	return table_tell_damage(scan, fault, block, block, *ret_end);
}

int dp_table_scan_copy(const struct dp_table *table, const char *copy,
		       const struct dp_table_visitor *visitor)
{
	const struct scan scan = { table, copy, visitor };
	uint32_t block = DP_CHUNK_BLOCKS, end;
	int ret = 0;

	while (!ret && block < table->blocks) {
		ret = table_scan_one(&scan, block, &end);
		/* Each block is in one step, whatever the medium says. */
		assert(end > block && end <= table->blocks);
		block = end;
	}
	return ret;
}

/* ---------------------------------------------------------------- reading */

/* A page that cannot be read is shown as zeroes: no word of it checks out. */
static int table_read_pages(const struct dp_table *table, char *copy)
{
	int ret;

	for (uint64_t at = 0; at < table->blocks * 8ull; at += DP_BLOCK_SIZE) {
		ret = dp_bad_read(table->view, DP_TABLE_OFFSET + at, copy + at,
				  DP_BLOCK_SIZE);
		if (ret && ret != -EIO)
			return ret;
		if (ret)
			memset(copy + at, 0, DP_BLOCK_SIZE);
	}
	return 0;
}

static int read_table(const struct dp_table *table, bool tolerant, char *copy,
		      const struct dp_errmsg *errmsg)
{
	uint64_t size = table->blocks * 8ull;
	char name[48];
	int ret = dp_bad_read(table->view, DP_TABLE_OFFSET, copy, size);

	if (ret == -EIO && tolerant)
		ret = table_read_pages(table, copy);
	if (!ret)
		return 0;
	snprintf(name, sizeof(name), "segment %u: its descriptor table",
		 table->segment);
	return dp_bad_fail(table->view, ret, DP_TABLE_OFFSET, size, name,
			   errmsg);
}

static int scan_table(const struct dp_table *table,
		      const struct dp_lanes *lanes, bool tolerant,
		      const struct dp_table_visitor *visitor,
		      const struct dp_errmsg *errmsg)
{
	char *copy = malloc(table->blocks * 8ull);
	int ret;

	if (!copy)
		return -ENOMEM;
	ret = read_table(table, tolerant, copy, errmsg);
	if (!ret) {
		dp_lanes_patch(lanes, table->first_block << DP_BLOCK_SHIFT,
			       table->blocks * 8ull, copy);
		ret = dp_table_scan_copy(table, copy, visitor);
	}
	free(copy);
	return ret;
}

int dp_table_scan_damaged(const struct dp_table *table,
			  const struct dp_lanes *lanes,
			  const struct dp_table_visitor *visitor,
			  const struct dp_errmsg *errmsg)
{
	return scan_table(table, lanes, true, visitor, errmsg);
}

/* The visitor of a scan that ends with the first damage. */
struct strict {
	const struct dp_table *table;
	int (*fn)(void *arg, uint32_t block, struct dp_word word);
	void *arg;
	const struct dp_errmsg *errmsg;
};

static int table_strict_word(void *arg, uint32_t block, struct dp_word word)
{
	const struct strict *strict = arg;

	return strict->fn(strict->arg, block, word);
}

static int table_strict_damage(void *arg, const struct dp_table_damage *damage)
{
	const struct strict *strict = arg;

	return dp_fail(strict->errmsg, -EUCLEAN,
		       "segment %u, descriptor table, offset 0x%llx (block %u): %s; the pool was left untouched",
		       strict->table->segment,
		       (unsigned long long)dp_word_offset(damage->block),
		       damage->block, dp_table_fault_text(damage->fault));
}

int dp_table_scan(const struct dp_table *table, const struct dp_lanes *lanes,
		  int (*fn)(void *arg, uint32_t block, struct dp_word word),
		  void *arg, const struct dp_errmsg *errmsg)
{
	struct strict strict = { table, fn, arg, errmsg };
	struct dp_table_visitor visitor = { table_strict_word,
					    table_strict_damage, &strict };

	return scan_table(table, lanes, false, &visitor, errmsg);
}
