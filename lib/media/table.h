/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor table of one segment: one word per block, and the word of an
 * extent's first block is the only record of the extent (docs/format.md). Pages that
 * were never used (pages.h) are not read: all their words are FREE.
 */
#ifndef DP_TABLE_H
#define DP_TABLE_H

#include "media/badblocks.h"
#include "media/lane.h"
#include "media/layout.h"
#include "media/pages.h"
#include "media/persist.h"

struct dp_table {
	char *base;			/* of the segment */
	const struct dp_badblocks_view *view;	/* of the segment, for reading it */
	struct dp_pages *pages;		/* NULL: unknown */
	uint64_t offset;		/* of the table in the segment, in bytes */
	uint64_t first_block;		/* index in the pool of its block 0 */
	uint32_t begin;			/* the first block that is not metadata */
	uint32_t blocks;
	uint32_t segment;
	uint64_t seed;
	struct dp_persist *persist;
};

/* Make every word FREE with generation 0, by an empty page bitmap; durable after the
 * next fence. */
int dp_table_format(const struct dp_table *table);

/* The number of pages of the table, including those for the metadata's own blocks. */
static inline uint32_t dp_table_pages(const struct dp_table *table)
{
	return table->blocks / DP_PAGE_WORDS;
}

/* The byte offset of a block's word in the segment. */
static inline uint64_t dp_table_word_offset(const struct dp_table *table,
					    uint32_t block)
{
	return table->offset + dp_word_offset(block);
}

/* The pool address of a block's word. */
static inline uint64_t dp_table_word_addr(const struct dp_table *table,
					  uint32_t block)
{
	return (table->first_block << DP_BLOCK_SHIFT) +
	       dp_table_word_offset(table, block);
}

/* For dp_table_use(). */
int dp_table_begin_page(const struct dp_table *table, uint32_t page);

/* Mark the page of a block's word as used, durably. Must be called before the word is
 * stored. Any thread. */
static inline int dp_table_use(const struct dp_table *table, uint32_t block)
{
	uint32_t page = block / DP_PAGE_WORDS;

	return dp_pages_is_used(table->pages, page) ? 0 :
	       dp_table_begin_page(table, page);
}

/* The value of a block's word. block: in the segment; its page must be used. */
static inline uint64_t dp_table_value(const struct dp_table *table, uint32_t block,
				      struct dp_word word)
{
	assert(block >= table->begin && block + word.blocks <= table->blocks);
	assert(dp_pages_is_used(table->pages, block / DP_PAGE_WORDS));
	return dp_word_encode(table->seed, table->first_block + block, word);
}

/* Is that offset in the segment inside the table? */
static inline bool dp_table_has(const struct dp_table *table, uint64_t offset)
{
	return offset >= table->offset &&
	       offset - table->offset < table->blocks * 8ull;
}

/* Is that value, at that offset in the segment, a valid word of a used page? */
bool dp_table_accepts(const struct dp_table *table, uint64_t offset,
		      uint64_t value);

/*
 * Read the page bitmap. Must be called before the table is used, except for formatting
 * it. If tolerant, the bits of a damaged word of the bitmap are derived from the pages
 * with dp_table_is_page(), and an unreadable page counts as used.
 *
 * -EIO		the bitmap is unreadable
 * -EUCLEAN	the check of a word of the bitmap fails
 */
int dp_table_load_pages(const struct dp_table *table, bool tolerant,
			const struct dp_errmsg *errmsg);
/* Was a page with these 4096 bytes used? True if the check of one in eight of its words
 * is right: in random bytes it is right for one in 65536. */
bool dp_table_is_page(const struct dp_table *table, uint32_t page,
		      const char *bytes);

/*
 * Read each used page once, as the table will be when the pending lanes are applied,
 * and call fn for the word of each extent's first block and for each FREE word that was
 * used before (its generation is not 0).
 *
 * -EIO		a page is unreadable
 * -EUCLEAN	the check of a word fails, or extents contradict each other
 */
int dp_table_scan(const struct dp_table *table, const struct dp_lanes *lanes,
		  int (*fn)(void *arg, uint32_t block, struct dp_word word),
		  void *arg, const struct dp_errmsg *errmsg);

enum dp_table_fault {
	DP_TABLE_WORD,			/* its check fails, or it is unreadable */
	DP_TABLE_INNER_WORD,		/* the same, inside an undamaged extent */
	DP_TABLE_OVERLAP,		/* an extent begins inside another */
	DP_TABLE_PAST_END,		/* an extent past the segment's end */
};

struct dp_table_damage {
	enum dp_table_fault fault;
	uint32_t block;			/* the one that has the word */
	uint32_t begin, end;		/* the blocks that are in doubt */
};

/* The text for a message. */
const char *dp_table_fault_text(enum dp_table_fault fault);

struct dp_table_visitor {
	int (*word)(void *arg, uint32_t block, struct dp_word word);
	int (*damage)(void *arg, const struct dp_table_damage *damage);
	void *arg;
};

/*
 * The same, but damage does not end it: the visitor's damage() is called, and the scan
 * continues. A damaged word in free space may have been the first word of an extent of
 * any length, so all blocks up to the next valid first word are in doubt. Extents that
 * overlap are in doubt, and the blocks behind them up to the next valid first word.
 * Inside a valid extent a damaged word puts only its own block in doubt. word() is not
 * called for words in doubt.
 */
int dp_table_scan_damaged(const struct dp_table *table,
			  const struct dp_lanes *lanes,
			  const struct dp_table_visitor *visitor,
			  const struct dp_errmsg *errmsg);

/* The same for a copy of the table, of blocks * 8 bytes. Unused pages are not read. */
int dp_table_scan_copy(const struct dp_table *table, const char *copy,
		       const struct dp_table_visitor *visitor);

#endif
