/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads descriptor words and computes their changes; no other code does. Keeps D5: all
 * words of an extent except for the first are FREE. They were FREE when the space was
 * free, and an extent never writes them. A retire makes the first word FREE again.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/table.h"

static const struct dp_word word_free = { DP_KIND_FREE, 1, 0, 0 };

int dp_table_format(const struct dp_table *table)
{
	assert(table->blocks % DP_CHUNK_BLOCKS == 0);
	return dp_pages_format(table->pages);
}

/*
 * Make all words of a page FREE. dp_pages_begin() makes this durable before the page's
 * bit. The page is read first, because no open has read it: it may be bad without being
 * in the kernel's list, and then a store would be SIGBUS. So is the bitmap, which a
 * degraded open does without if it is bad.
 */
static int table_format_page(const void *arg, uint32_t page)
{
	const struct dp_table *table = arg;
	uint64_t at = table->offset + page * DP_BLOCK_SIZE;
	uint64_t first = table->first_block + page * DP_PAGE_WORDS;
	uint64_t bitmap[DP_PAGES_WORDS], words[DP_PAGE_WORDS];
	char *to = table->base + at;
	int ret = dp_badblocks_read(table->view, DP_PAGES_OFFSET, bitmap,
				    sizeof(bitmap));

	if (!ret)
		ret = dp_badblocks_read(table->view, at, words, sizeof(words));
	static_assert(sizeof(words) == DP_BLOCK_SIZE, "a page");
	if (ret)
		return ret;
	for (uint32_t i = 0; i < DP_PAGE_WORDS; i++)
		words[dp_word_offset(i) / sizeof(words[0])] =
			dp_word_encode(table->seed, first + i, word_free);
	dp_persist_copy(table->persist, to, words, sizeof(words));
	return dp_persist_flush(table->persist, to, sizeof(words));
}

int dp_table_begin_page(const struct dp_table *table, uint32_t page)
{
	return dp_pages_begin(table->pages, page, table_format_page, table);
}

bool dp_table_accepts(const struct dp_table *table, uint64_t offset,
		      uint64_t value)
{
	struct dp_word word;
	uint64_t block;

	if (!dp_table_has(table, offset))
		return false;
	block = dp_word_block(offset - table->offset);
	if (table->pages && !dp_pages_is_used(table->pages, block / DP_PAGE_WORDS))
		return false;
	return block >= table->begin &&
	       dp_word_decode(table->seed, table->first_block + block, value,
			      &word);
}

const char *dp_table_fault_text(enum dp_table_fault fault)
{
	switch (fault) {
	case DP_TABLE_WORD:
	case DP_TABLE_INNER_WORD:
		return "the word fails its check";
	case DP_TABLE_OVERLAP:
		return "two extents overlap";
	case DP_TABLE_PAST_END:
		break;
	}
	return "an extent past the segment's end";
}

/* Write the sentence for a part of the segment's metadata that cannot be read. */
static int table_fail_read(const struct dp_table *table, int error,
			   const char *what, uint64_t offset, uint64_t size,
			   const struct dp_errmsg *errmsg)
{
	char name[48];

	snprintf(name, sizeof(name), "segment %u: its %s", table->segment, what);
	return dp_badblocks_fail(table->view, error, offset, size, name,
				 errmsg);
}

struct scan {
	const struct dp_table *table;
	const char *copy;
	const struct dp_table_visitor *visitor;
	/* A bit for each block: set if its word is not a valid FREE word with
	   generation 0. Clear for all blocks of unused pages. */
	uint64_t *other;
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

/* The first block at or after `block` whose bit in `other` is set, or the end. */
static uint32_t table_next(const struct scan *scan, uint32_t block)
{
	uint32_t end = scan->table->blocks, at = block / 64;
	uint64_t bits;

	if (block >= end)
		return end;
	bits = scan->other[at] & ~0ull << block % 64;
	while (!bits && ++at < end / 64)
		bits = scan->other[at];
	return bits ? at * 64 + __builtin_ctzll(bits) : end;
}

/* Compute `other`, in one pass over the used pages. */
static int table_begin_scan(struct scan *scan)
{
	const struct dp_table *table = scan->table;
	uint32_t page = table->begin / DP_PAGE_WORDS;

	assert(table->blocks % DP_PAGE_WORDS == 0);
	scan->other = calloc(table->blocks / 64, sizeof(*scan->other));
	if (!scan->other)
		return -ENOMEM;
	while ((page = dp_pages_next(table->pages, page)) < dp_table_pages(table)) {
		uint32_t block = page++ * DP_PAGE_WORDS;

		dp_words_find(table->seed, table->first_block + block,
			      (const uint64_t *)(scan->copy +
						 dp_word_offset(block)),
			      &scan->other[block / 64]);
	}
	return 0;
}

/* The first block at or after `block` at which an extent begins. */
static uint32_t table_next_head(const struct scan *scan, uint32_t block)
{
	struct dp_word word;

	block = table_next(scan, block);
	while (block < scan->table->blocks &&
	       (!table_decode(scan, block, &word) || word.kind == DP_KIND_FREE))
		block = table_next(scan, block + 1);
	return block;
}

static int table_report_word(const struct scan *scan, uint32_t block,
			     struct dp_word word)
{
	/* The words of blocks that were never used are skipped by table_next(). */
	assert(word.kind != DP_KIND_FREE || word.gen);
	return scan->visitor->word(scan->visitor->arg, block, word);
}

static int table_report_damage(const struct scan *scan, enum dp_table_fault fault,
			       uint32_t block, uint32_t begin, uint32_t end)
{
	struct dp_table_damage damage = { fault, block, begin, end };

	assert(begin <= block && block < end && end <= scan->table->blocks);
	return scan->visitor->damage(scan->visitor->arg, &damage);
}

/*
 * Scan an extent and all words inside it. Its first word is reported last, because if
 * another extent begins inside it both are in doubt.
 */
static int table_scan_extent(const struct scan *scan, uint32_t block,
			     struct dp_word head, uint32_t *ret_end)
{
	uint32_t end = block + head.blocks, overlap = 0;
	struct dp_word word;
	int ret = 0;

	for (uint32_t b = table_next(scan, block + 1); !ret && b < end;
	     b = table_next(scan, b + 1)) {
		if (!table_decode(scan, b, &word)) {
			ret = table_report_damage(scan, DP_TABLE_INNER_WORD, b, b,
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
		return table_report_damage(scan, DP_TABLE_OVERLAP, overlap, block,
					   *ret_end);
	return table_report_word(scan, block, head);
}

/* Scan one word that is not in an extent, or one extent. */
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
	return table_report_damage(scan, fault, block, block, *ret_end);
}

int dp_table_scan_copy(const struct dp_table *table, const char *copy,
		       const struct dp_table_visitor *visitor)
{
	struct scan scan = { table, copy, visitor, NULL };
	int ret = table_begin_scan(&scan);
	uint32_t block, end;

	if (ret)
		return ret;
	block = table_next(&scan, table->begin);
	while (!ret && block < table->blocks) {
		ret = table_scan_one(&scan, block, &end);
		/* Each step advances, whatever is on the medium. */
		assert(end > block && end <= table->blocks);
		block = table_next(&scan, end);
	}
	free(scan.other);
	return ret;
}

/* ---------------------------------------------------------------- reading */

bool dp_table_is_page(const struct dp_table *table, uint32_t page,
		      const char *bytes)
{
	uint64_t first = table->first_block + page * DP_PAGE_WORDS, raw;
	struct dp_word word;
	uint32_t found = 0;

	for (uint32_t i = 0; i < DP_PAGE_WORDS; i++) {
		memcpy(&raw, bytes + dp_word_offset(i), sizeof(raw));
		found += dp_word_decode(table->seed, first + i, raw, &word);
	}
	return found >= DP_PAGE_WORDS / 8;
}

/* Derive the bits of word `index` of the bitmap, whose check fails, from the pages. */
static int table_derive_pages(const struct dp_table *table, uint32_t index)
{
	uint32_t page = index * DP_PAGES_WORD_BITS;
	uint32_t end = dp_min(page + DP_PAGES_WORD_BITS, dp_table_pages(table));
	char bytes[DP_BLOCK_SIZE];
	int ret;

	for (; page < end; page++) {
		ret = dp_badblocks_read(table->view,
					table->offset + page * DP_BLOCK_SIZE,
					bytes, sizeof(bytes));
		if (ret && ret != -EIO)
			return ret;
		if (ret || dp_table_is_page(table, page, bytes))
			dp_pages_assume(table->pages, page);
	}
	return 0;
}

/* A page in a bad block may have the words of extents. If tolerant, it counts as used,
 * so that its words are reported as damaged. */
static int table_find_bad_pages(const struct dp_table *table, bool tolerant,
				const struct dp_errmsg *errmsg)
{
	uint64_t begin = table->offset +
			 table->begin / DP_PAGE_WORDS * DP_BLOCK_SIZE;
	uint64_t end = table->offset + table->blocks * 8ull;
	struct dp_badblocks_run run;

	for (; dp_badblocks_find(table->view->badblocks, begin, end, &run);
	     begin = run.end) {
		if (!tolerant)
			return table_fail_read(table, -EIO, "descriptor table",
					       begin, end - begin, errmsg);
		for (uint64_t at = run.begin; at < run.end; at += DP_BLOCK_SIZE)
			dp_pages_assume(table->pages, (at - table->offset) /
							      DP_BLOCK_SIZE);
	}
	return 0;
}

/* An unreadable bitmap is taken for zeroes, so that the check of each word fails. */
static int table_read_bitmap(const struct dp_table *table, bool tolerant,
			     uint64_t raw[DP_PAGES_WORDS],
			     const struct dp_errmsg *errmsg)
{
	const uint64_t size = DP_PAGES_WORDS * sizeof(raw[0]);
	int ret = dp_badblocks_read(table->view, DP_PAGES_OFFSET, raw, size);

	if (!ret)
		return 0;
	if (ret == -EIO && tolerant) {
		memset(raw, 0, size);
		return 0;
	}
	return table_fail_read(table, ret, "page bitmap", DP_PAGES_OFFSET, size,
			       errmsg);
}

int dp_table_load_pages(const struct dp_table *table, bool tolerant,
			const struct dp_errmsg *errmsg)
{
	uint64_t raw[DP_PAGES_WORDS];
	int ret = table_read_bitmap(table, tolerant, raw, errmsg);

	for (uint32_t i = 0; !ret && i < DP_PAGES_WORDS; i++) {
		if (dp_pages_take(table->pages, i, raw[i]))
			continue;
		if (!tolerant)
			return dp_fail(errmsg, -EUCLEAN,
				       "segment %u, page bitmap, offset 0x%llx: the word fails its check" DP_UNTOUCHED,
				       table->segment,
				       DP_PAGES_OFFSET + i * 8ull);
		ret = table_derive_pages(table, i);
	}
	return ret ? ret : table_find_bad_pages(table, tolerant, errmsg);
}

/* An unreadable page is copied as zeroes, so that the check of each word fails. */
static int table_read_page(const struct dp_table *table, uint32_t page,
			   char *copy)
{
	uint64_t at = page * DP_BLOCK_SIZE;
	int ret = dp_badblocks_read(table->view, table->offset + at, copy + at,
				    DP_BLOCK_SIZE);

	if (ret != -EIO)
		return ret;
	memset(copy + at, 0, DP_BLOCK_SIZE);
	return 0;
}

/* Read the used pages [page, end): with one read and, if that fails and tolerant is
 * set, each by itself. */
static int table_read_run(const struct dp_table *table, bool tolerant,
			  uint32_t page, uint32_t end, char *copy)
{
	uint64_t at = page * DP_BLOCK_SIZE;
	int ret = dp_badblocks_read(table->view, table->offset + at, copy + at,
				    (end - page) * DP_BLOCK_SIZE);

	if (ret != -EIO || !tolerant)
		return ret;
	for (ret = 0; !ret && page < end; page++)
		ret = table_read_page(table, page, copy);
	return ret;
}

static int table_read_pages(const struct dp_table *table, bool tolerant,
			    char *copy)
{
	uint32_t page, end = 0;
	int ret = 0;

	while (!ret && (page = dp_pages_next(table->pages, end)) <
			       dp_table_pages(table)) {
		end = page + 1;
		while (end < dp_table_pages(table) &&
		       dp_pages_is_used(table->pages, end))
			end++;
		ret = table_read_run(table, tolerant, page, end, copy);
	}
	return ret;
}

static int read_table(const struct dp_table *table, bool tolerant, char *copy,
		      const struct dp_errmsg *errmsg)
{
	int ret = table_read_pages(table, tolerant, copy);

	return ret ? table_fail_read(table, ret, "descriptor table",
				     table->offset, table->blocks * 8ull,
				     errmsg) : 0;
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
		dp_lanes_patch(lanes, (table->first_block << DP_BLOCK_SHIFT) +
				      table->offset,
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

/* The visitor of a scan that ends at the first damage. */
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
		       "segment %u, descriptor table, offset 0x%llx (block %u): %s" DP_UNTOUCHED,
		       strict->table->segment,
		       (unsigned long long)dp_table_word_offset(strict->table,
								damage->block),
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
