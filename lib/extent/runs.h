/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free runs of a segment, found by their length. A run is a maximal sequence of
 * free blocks. One thread at a time.
 */
#ifndef DP_RUNS_H
#define DP_RUNS_H

#include "extent/bits.h"

#define DP_RUN_CLASSES	256u

/* private to runs.c */
struct run_node {
	uint32_t block;
	uint32_t blocks;
	uint32_t next;			/* in its list, or in the list of unused
					   nodes */
	uint32_t prev;
};

/* private to runs.c */
struct dp_runs {
	struct dp_bits *bits;		/* not owned */
	struct run_node *node;		/* [0] is none */
	uint32_t *tag;			/* by pairs of blocks: see runs.c */
	uint32_t used;			/* nodes that were ever in use */
	uint32_t spare;			/* the first of the unused nodes */
	uint64_t some[DP_RUN_CLASSES / 64];
	uint32_t list[DP_RUN_CLASSES];
};

/* Build the runs of the blocks that are free now. Afterwards only these functions
 * change bits. -ENOMEM. */
int dp_runs_init(struct dp_runs *runs, struct dp_bits *bits);
void dp_runs_fini(struct dp_runs *runs);

/* Take that many contiguous blocks. False: no run is long enough. */
bool dp_runs_take(struct dp_runs *runs, uint32_t blocks, uint32_t *ret_block);
/* Take exactly these blocks. False: not all of them are free. */
bool dp_runs_take_at(struct dp_runs *runs, uint32_t block, uint32_t blocks);
/* Free these blocks. Returns the length of the run that contains them now. */
uint32_t dp_runs_add(struct dp_runs *runs, uint32_t block, uint32_t blocks);

/* An upper bound of all runs' lengths: the longest has at least 8/9 of it. 0: no block
 * is free. */
uint32_t dp_runs_longest(const struct dp_runs *runs);

#endif
