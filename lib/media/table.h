/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor table of one segment: one word per block, and the word of an
 * extent's first block is the only record of the extent (docs/format.md). What stands
 * in pages that were never used (pages.h) is not read: their words are FREE.
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
	struct dp_pages *pages;		/* NULL: not known */
	uint64_t offset;		/* of the table in the segment, in bytes */
	uint64_t first_block;		/* index in the pool of its block 0 */
	uint32_t begin;			/* the first block that is not metadata */
	uint32_t blocks;
	uint32_t segment;
	uint64_t seed;
	struct dp_persist *persist;
};

/* Every word FREE, generation 0, with no page in use; durable after the next fence. */
int dp_table_format(const struct dp_table *table);

/* Pages of the table: those of the metadata's own blocks, too. */
static inline uint32_t dp_table_pages(const struct dp_table *table)
{
	return table->blocks / DP_PAGE_WORDS;
}

/* Where a block's word stands, by bytes of the segment. */
static inline uint64_t dp_table_word_offset(const struct dp_table *table,
					    uint32_t block)
{
	return table->offset + dp_word_offset(block);
}

/* And its pool address. */
static inline uint64_t dp_table_word_addr(const struct dp_table *table,
					  uint32_t block)
{
	return (table->first_block << DP_BLOCK_SHIFT) +
	       dp_table_word_offset(table, block);
}

/* Before a word of that block is stored: the page is used, durably. Any thread. */
int dp_table_use(const struct dp_table *table, uint32_t block);

/* The change of a block's word that makes it `word`. block: in the segment. Its page
 * is used. */
struct dp_lane_entry dp_table_change(const struct dp_table *table,
				     uint32_t block, struct dp_word word);

/* Is that offset in the segment one in the table? */
static inline bool dp_table_has(const struct dp_table *table, uint64_t offset)
{
	return offset >= table->offset &&
	       offset - table->offset < table->blocks * 8ull;
}

/* Would that value at that offset in the segment be a word of a page in use? */
bool dp_table_accepts(const struct dp_table *table, uint64_t offset,
		      uint64_t value);

/*
 * Read the page bitmap. Comes before every use of the table but its formatting.
 * -EUCLEAN, -EIO: it does not check out, or poison, which is named. tolerant: what
 * it does not say follows from the pages: dp_table_is_page(), and a page that cannot
 * be read counts as used.
 */
int dp_table_load_pages(const struct dp_table *table, bool tolerant,
			const struct dp_errmsg *errmsg);
/* Was a page with these 4096 bytes in use? Yes if one in eight of its words checks out:
 * by chance one in 65536 does. */
bool dp_table_is_page(const struct dp_table *table, uint32_t page,
		      const char *bytes);

/*
 * Read all pages in use once, as the table will be when the pending lanes are applied,
 * and call fn for each extent's head, and for each
 * FREE word that was used before (generation not 0). -EUCLEAN names what does
 * not check out; -EIO: poison.
 */
int dp_table_scan(const struct dp_table *table, const struct dp_lanes *lanes,
		  int (*fn)(void *arg, uint32_t block, struct dp_word word),
		  void *arg, const struct dp_errmsg *errmsg);

enum dp_table_fault {
	DP_TABLE_WORD,			/* does not check out, or unreadable */
	DP_TABLE_INNER_WORD,		/* the same, inside a good extent */
	DP_TABLE_OVERLAP,		/* an extent begins inside another */
	DP_TABLE_PAST_END,		/* an extent past the segment's end */
};

struct dp_table_damage {
	enum dp_table_fault fault;
	uint32_t block;			/* whose word it is */
	uint32_t begin, end;		/* blocks that it puts in doubt */
};

/* In words, for a message. */
const char *dp_table_fault_text(enum dp_table_fault fault);

struct dp_table_visitor {
	int (*word)(void *arg, uint32_t block, struct dp_word word);
	int (*damage)(void *arg, const struct dp_table_damage *damage);
	void *arg;
};

/*
 * The same where damage is no end: each is told, and then all goes on. A bad
 * word in free space may have been the head of an extent of any length, so
 * everything up to the next good head is in doubt; extents that overlap are all
 * in doubt, as far again; inside an extent that checks out a bad word puts only
 * its own block in doubt. `word` is not called for what is.
 */
int dp_table_scan_damaged(const struct dp_table *table,
			  const struct dp_lanes *lanes,
			  const struct dp_table_visitor *visitor,
			  const struct dp_errmsg *errmsg);

/* The same over a copy of the table, of blocks * 8 bytes; pages that are not in use are
 * not read. */
int dp_table_scan_copy(const struct dp_table *table, const char *copy,
		       const struct dp_table_visitor *visitor);

#endif
