/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of every extent: one 64-bit word each. Blocks are indexes in the
 * pool. See state.c for the protocol.
 */
#ifndef DP_STATE_H
#define DP_STATE_H

#include "extent/event.h"
#include "extent/gate.h"
#include "extent/spaces.h"
#include "util/util.h"

#define DP_GENERATION_BITS	40
#define DP_GENERATION_MASK	((1ull << DP_GENERATION_BITS) - 1)
#define DP_COUNT_MAX	((1u << 18) - 1)

enum dp_state {			/* as enum daxpin_state */
	DP_STATE_FREE,		/* a page of zeroes is a page of free states */
	DP_STATE_RESERVED,
	DP_STATE_LIVE,
	DP_STATE_RETIRED,
};

/* private to state.c */
struct dp_extent_state {
	_Atomic uint64_t word;
	_Atomic uint32_t blocks;	/* set while not FREE */
	_Atomic uint32_t roots;		/* that name it, or are about to */
};

/* private to state.c */
struct dp_states {
	uint64_t block_count;		/* in all segments, gaps included */
	uint32_t block_shift;		/* log2 of blocks per segment */
	struct dp_extent_state *state;
	struct dp_gates gates;
	struct dp_spaces *spaces;	/* not owned */
	struct dp_events *events;	/* not owned */
	/* Of extents that were retired or cancelled while held. */
	DP_ALIGNED _Atomic int64_t deferred_blocks;	/* not free yet */
	_Atomic uint64_t deferred;	/* how many there ever were */
};

/*
 * Private to state.c. Neighbouring blocks may belong to different threads, so their
 * states are placed in different cache lines: those of 32 blocks go round eight lines.
 * Large extents begin 2 MiB apart; their states are placed in different sets of a
 * cache.
 */
static inline struct dp_extent_state *
dp_state_at(const struct dp_states *states, uint64_t block)
{
	uint64_t turns = block % 8 * 4 + block / 8 % 4;		/* 32 in 8 lines */
	uint64_t index = (block - block % 32 + turns) ^ (block >> 9 & 15) << 5;

	assert(block < states->block_count);
	return &states->state[index];
}

/* Extents that wait, or waited, for their last drop; a snapshot. */
struct dp_state_deferred {
	uint64_t blocks;		/* of those that still wait */
	uint64_t extents;		/* since the open */
};

/* A state taken apart. */
struct dp_state_view {
	enum dp_state state;
	uint32_t count;
	uint64_t generation;
	bool publishing;
	bool writers;
	bool alone;			/* held by one who excludes others */
};

int dp_states_init(struct dp_states *states, uint32_t segments,
		   uint32_t segment_shift, struct dp_spaces *spaces,
		   struct dp_events *events);
void dp_states_fini(struct dp_states *states);

/* Blocks in all segments, gaps included, and log2 of those of one. Inline, because
 * each hold and drop asks. */
static inline uint64_t dp_states_blocks(const struct dp_states *states)
{
	return states->block_count;
}

static inline uint32_t dp_states_shift(const struct dp_states *states)
{
	return states->block_shift;
}

/* At open, before anybody else. */
void dp_state_restore(struct dp_states *states, uint64_t block, uint32_t blocks,
		      uint64_t generation, enum dp_state state);

/* Is it an extent's, and has that generation not ended? */
bool dp_state_is_current(struct dp_states *states, uint64_t block,
			 uint64_t generation);
struct dp_state_view dp_state_read(struct dp_states *states, uint64_t block);
uint32_t dp_state_blocks(struct dp_states *states, uint64_t block);
struct dp_state_deferred dp_states_deferred(struct dp_states *states);

/* The caller claimed the blocks from space: FREE -> RESERVED. Its generation. */
uint64_t dp_state_reserve(struct dp_states *states, uint64_t block,
			  uint32_t blocks);
/* RESERVED -> FREE or, while held, RETIRED. */
int dp_state_cancel(struct dp_states *states, uint64_t block,
		    uint64_t generation);

/*
 * A block is bad: it is never reserved again. -ESTALE: it is neither free nor a block of
 * this extent, whose generation has perhaps ended during the call; nothing was changed.
 * -ENOMEM. May sleep.
 */
int dp_state_quarantine(struct dp_states *states, uint64_t block,
			uint64_t generation, uint64_t bad_block);

/* Claim for a publish: state must be `from`; no write hold if no_writers. */
int dp_state_claim(struct dp_states *states, uint64_t block,
		   uint64_t generation, enum dp_state from, bool no_writers);
/* The claim ends and nothing happened. */
void dp_state_unclaim(struct dp_states *states, uint64_t block);
/* The claim ends and media says LIVE, or RETIRED (FREE when not held). */
void dp_state_settle(struct dp_states *states, uint64_t block,
		     enum dp_state to);

/*
 * Root names. Whoever adds one looks at the word afterwards, and whoever
 * claims for a retire looks at the count afterwards: not both miss (D14).
 */
void dp_state_add_root(struct dp_states *states, uint64_t block);
void dp_state_remove_root(struct dp_states *states, uint64_t block);
uint32_t dp_state_roots(struct dp_states *states, uint64_t block);

#define DP_HOLD_WRITE	1u
#define DP_HOLD_ALONE	2u	/* exclusive: -EBUSY if it is held or claimed */

/* `count` holds at once, all or none; 0 or why not. Flags are DP_STATE_... */
int dp_state_hold(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint32_t count, unsigned int flags);
int dp_state_clone(struct dp_states *states, uint64_t block,
		   uint64_t generation, bool write);
/* Drop `count` holds at once, or as many as there are: how many, or why none. */
int dp_state_drop(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint32_t count);

int dp_state_wait(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint64_t deadline_ns);
/* As dp_events_watch(). */
int dp_state_watch(struct dp_states *states, uint64_t block,
		   uint64_t generation, struct daxpin_watch *watch,
		   const struct daxpin_watch *wanted);

/* The gates of the segments, and how many extents of each are held. */
static inline struct dp_gates *dp_state_gates(struct dp_states *states)
{
	return &states->gates;
}

#endif
