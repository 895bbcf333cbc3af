/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free space of one segment. See space.c for the protocol.
 */
#ifndef DP_SPACE_H
#define DP_SPACE_H

#include "extent/bits.h"
#include "extent/longest.h"
#include "extent/runs.h"
#include "os/short_lock.h"
#include "util/util.h"

/* private to space.c */
struct dp_space {
	DP_ALIGNED struct dp_short_lock lock;
	uint32_t number;		/* of the segment */
	struct dp_longest *longest;	/* not owned */
	struct dp_bits bits;
	struct dp_runs runs;
	bool closed;			/* its free runs cannot be claimed */
	/* Written by threads that freed blocks and found the lock taken. */
	DP_ALIGNED _Atomic uint64_t returned_groups;
	_Atomic uint64_t *returned;	/* a bitmap of blocks */
	uint32_t group_words;		/* words of `returned` in a group; each group
					   has one bit of returned_groups */
	_Atomic uint32_t *returns;	/* segments with returned blocks; not owned */
};

/*
 * At open, by one thread: after dp_space_init() the caller marks the taken blocks in
 * dp_space_bits(). After dp_space_open() the others can be claimed. Both -ENOMEM.
 */
int dp_space_init(struct dp_space *space, uint32_t blocks);
int dp_space_open(struct dp_space *space, struct dp_longest *longest,
		  uint32_t number, _Atomic uint32_t *returns);
void dp_space_fini(struct dp_space *space);

/* The caller may change the bits before dp_space_open(), and only read them later. */
static inline struct dp_bits *dp_space_bits(struct dp_space *space)
{
	return &space->bits;
}

/* Claim a run; *ret_block is its first block. -ENOSPC: there is none. */
int dp_space_claim(struct dp_space *space, uint32_t blocks, uint32_t *ret_block);
/* Claim exactly these blocks. false: one of them is not free, nothing was claimed. */
bool dp_space_claim_at(struct dp_space *space, uint32_t block, uint32_t blocks);

/* Free a run. Never waits, because a drop calls it. Blocks of the run that are in
 * quarantine remain taken. */
void dp_space_free(struct dp_space *space, uint32_t block, uint32_t blocks);

/*
 * Quarantine a block that is free, or that an extent owns; in the latter case the block
 * stays taken when the extent ends. If the block is taken, it is marked and then
 * is_owned() is called, which must return whether the extent still owns it. If it
 * returns true, all that was done before must be visible to the thread that ends the
 * extent later. If it returns false the mark is removed. May sleep.
 *
 * -EALREADY  the block is in quarantine
 * -ENOMEM
 * -ESTALE    is_owned() returned false: the extent has ended, or the block is in the
 *            cache of a thread; the block is as it was before
 */
typedef bool dp_space_owned_fn(void *arg);
int dp_space_quarantine(struct dp_space *space, uint32_t block,
			dp_space_owned_fn *is_owned, void *arg);

/* Refuse dp_space_claim(), or allow it again. Blocks that are freed meanwhile become
 * free runs, which nothing finds. May sleep. */
void dp_space_close(struct dp_space *space, bool closed);

/* Make all blocks that were freed before the call available to claims. May sleep. */
void dp_space_settle(struct dp_space *space);

#endif
