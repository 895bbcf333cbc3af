/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor table of one segment: one word per block, and the word of an
 * extent's first block is the truth about the extent (DESIGN 5).
 */
#ifndef DP_TABLE_H
#define DP_TABLE_H

#include "lane.h"
#include "layout.h"
#include "persist.h"

struct dp_table {
	char *base;			/* of the segment */
	uint64_t first_block;		/* index in the pool of its block 0 */
	uint32_t blocks;
	uint32_t segment;
	uint64_t seed;
	struct dp_persist *persist;
};

/* Every word FREE, generation 0; durable after the next fence. */
int dp_table_format(struct dp_table *table);

/* The change of a block's word that makes it `word`. block: in the segment. */
struct dp_lane_entry dp_table_change(const struct dp_table *table,
				     uint32_t block, struct dp_word word);

/* Would that value at that offset in the segment be a word of the table? */
bool dp_table_accepts(const struct dp_table *table, uint64_t offset,
		      uint64_t value);

/*
 * Read the whole table once, as it will be when the pending lanes are applied,
 * and call fn for each extent's head, and for each
 * FREE word that was used before (generation not 0). -EUCLEAN names what does
 * not check out; -EIO: poison.
 */
int dp_table_scan(const struct dp_table *table, const struct dp_lanes *lanes,
		  int (*fn)(void *arg, uint32_t block, struct dp_word word),
		  void *arg, const struct dp_why *why);

#endif
