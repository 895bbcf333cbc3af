/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free space of one segment. See space.c for the protocol.
 */
#ifndef DP_SPACE_H
#define DP_SPACE_H

#include "extent/bits.h"
#include "extent/longest.h"
#include "extent/runs.h"
#include "util/util.h"

/* private to space.c */
struct dp_space {
	DP_ALIGNED _Atomic uint32_t lock;
	uint32_t number;		/* of the segment */
	struct dp_longest *longest;	/* not owned */
	struct dp_bits bits;
	struct dp_runs runs;
	/* By whoever found the lock taken. */
	DP_ALIGNED _Atomic uint64_t returned_groups;
	_Atomic uint64_t *returned;	/* a bitmap of blocks */
	uint32_t group_words;		/* of it, to a bit of returned_groups */
	_Atomic uint32_t *returns;	/* segments that have any; not owned */
};

/*
 * At open, by one thread: what is free is said to dp_space_bits(), and with
 * dp_space_open() it can be claimed. Both -ENOMEM.
 */
int dp_space_init(struct dp_space *space, uint32_t blocks);
int dp_space_open(struct dp_space *space, struct dp_longest *longest,
		  uint32_t number, _Atomic uint32_t *returns);
void dp_space_fini(struct dp_space *space);

/* To change before dp_space_open(), afterwards to look at. */
static inline struct dp_bits *dp_space_bits(struct dp_space *space)
{
	return &space->bits;
}

/* Claim a run; *ret_block is its first block. -ENOSPC: there is none. */
int dp_space_claim(struct dp_space *space, uint32_t blocks, uint32_t *ret_block);
/* Claim just this run: false where any of it is not free. */
bool dp_space_claim_at(struct dp_space *space, uint32_t block, uint32_t blocks);

/* Give a run back, never waiting: from the drop that ended its last life. What is in
 * quarantine of it stays taken. */
void dp_space_free(struct dp_space *space, uint32_t block, uint32_t blocks);

/* When it returns, what others gave back before the call can be claimed. */
void dp_space_settle(struct dp_space *space);

#endif
