/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state of every extent: one 64-bit word each. Blocks are indexes in the
 * pool. See state.c for the protocol.
 */
#ifndef DP_STATE_H
#define DP_STATE_H

#include <limits.h>
#include "extent/event.h"
#include "extent/gate.h"
#include "extent/spaces.h"
#include "extent/state_word.h"
#include "util/probe.h"
#include "util/util.h"

/* private to state.c */
struct dp_extent_state {
	_Atomic uint64_t word;
	_Atomic uint32_t blocks;	/* valid while not FREE */
	_Atomic uint32_t roots;		/* that name it, or will after a publish */
};

/* private to state.c */
struct dp_states {
	_Atomic uint64_t *block_count;	/* see dp_states_blocks() */
	uint32_t block_shift;		/* log2 of blocks per segment */
	uint32_t most;			/* segments for which there are addresses */
	uint32_t mapped;		/* segments for which there is memory */
	struct dp_extent_state *state;
	struct dp_gates gates;
	struct dp_spaces *spaces;	/* not owned */
	struct dp_events *events;	/* not owned */
	/* Extents that were retired or cancelled while held: the blocks of those that
	 * are not free yet, and the number of all such extents since the open. */
	DP_ALIGNED _Atomic int64_t deferred_blocks;
	_Atomic uint64_t deferred;
};

/*
 * Private to state.c. Adjacent blocks may belong to different threads, so their states
 * are in different cache lines: the states of 32 blocks are distributed over eight
 * lines. Large extents begin at multiples of 2 MiB; their states are in different sets
 * of a cache.
 *
 * The caller has claimed the block, or has compared it with dp_states_blocks(), so a
 * hold and a drop do this only once.
 */
static inline struct dp_extent_state *
dp_state_at(const struct dp_states *states, uint64_t block)
{
	/* 32 in 8 lines */
	uint64_t index = block ^ (block & 3) << 3 ^ (block >> 9 & 15) << 5;

	return &states->state[index];
}

/* Extents that wait, or waited, for their last drop; a snapshot. */
struct dp_state_deferred {
	uint64_t blocks;		/* of those that still wait */
	uint64_t extents;		/* since the open */
};

/* A state, decoded. */
struct dp_state_view {
	enum dp_state state;
	uint32_t count;
	uint64_t generation;
	bool publishing;
	bool writers;
	bool exclusive;			/* held exclusively */
};

/* most: how many segments dp_states_grow() may set. */
int dp_states_init(struct dp_states *states, uint32_t segments, uint32_t most,
		   uint32_t segment_shift, struct dp_spaces *spaces,
		   struct dp_events *events);
void dp_states_fini(struct dp_states *states);
/* While the pool is in use: map memory for the states of more segments, -ENOMEM; then
 * let calls use them. */
int dp_states_prepare(struct dp_states *states, uint32_t segments);
void dp_states_grow(struct dp_states *states, uint32_t segments);

/*
 * The number of blocks of all segments, gaps included. In a child that was forked from
 * the process it is 0 (C2), so a call that compares a block with it needs no other test
 * for that.
 */
static inline uint64_t dp_states_blocks(const struct dp_states *states)
{
	return atomic_load_explicit(states->block_count, memory_order_acquire);
}

/* That number itself, for the objects. */
static inline const _Atomic uint64_t *
dp_states_block_count(const struct dp_states *states)
{
	return states->block_count;
}

/* log2 of the blocks per segment. */
static inline uint32_t dp_states_shift(const struct dp_states *states)
{
	return states->block_shift;
}

/* For an open, before other threads use the pool. */
void dp_state_restore(struct dp_states *states, uint64_t block, uint32_t blocks,
		      uint64_t generation, enum dp_state state);

static inline struct dp_state_view dp_state_read(struct dp_states *states,
						 uint64_t block)
{
	uint64_t word = atomic_load_explicit(&dp_state_at(states, block)->word,
					     memory_order_acquire);

	return (struct dp_state_view) {
		.state = dp_word_is_slab(word) ? DP_STATE_SLAB : dp_word_state(word),
		.count = dp_word_count(word),
		.generation = dp_word_generation(word),
		.publishing = word & DP_WORD_PUBLISHING,
		.writers = word & DP_WORD_WRITERS,
		.exclusive = word & DP_WORD_EXCLUSIVE,
	};
}

/* True if this state is one of an extent of that generation, which had not ended. */
static inline bool dp_state_view_is_current(struct dp_state_view view,
					    uint64_t generation)
{
	return view.generation == generation && view.state != DP_STATE_FREE;
}

/* True if the block is the first of an extent of that generation, which has not
 * ended. */
static inline bool dp_state_is_current(struct dp_states *states, uint64_t block,
				       uint64_t generation)
{
	return dp_state_view_is_current(dp_state_read(states, block), generation);
}

/* The same, and false for a slab. */
static inline bool dp_state_is_extent(struct dp_states *states, uint64_t block,
				      uint64_t generation)
{
	uint64_t word = atomic_load_explicit(&dp_state_at(states, block)->word,
					     memory_order_acquire);

	return dp_word_generation(word) == generation &&
	       (dp_word_is_usable(word) ||
		(dp_word_state(word) == DP_STATE_RETIRED && dp_word_count(word)));
}

static inline uint32_t dp_state_blocks(struct dp_states *states, uint64_t block)
{
	return atomic_load_explicit(&dp_state_at(states, block)->blocks,
				    memory_order_relaxed);
}
struct dp_state_deferred dp_states_deferred(struct dp_states *states);

/* private to state.c
 * seq_cst: it is one side of the two-sided races with the gate (gate.c), and of a claim
 * with the number of roots (dp_state_add_root()). */
static inline bool dp_state_swap(_Atomic uint64_t *at, uint64_t *word, uint64_t to)
{
	return atomic_compare_exchange_strong(at, word, to);
}

/* FREE -> RESERVED, for blocks that the caller has claimed. Returns the generation. */
static inline uint64_t dp_state_reserve(struct dp_states *states, uint64_t block,
					uint32_t blocks)
{
	struct dp_extent_state *state = dp_state_at(states, block);
	uint64_t word = atomic_load_explicit(&state->word, memory_order_acquire);
	uint64_t generation = word >> DP_WORD_GENERATION_SHIFT;

	/* Only the thread that claimed the blocks changes a free word (I16, I17), so a
	 * store is enough. Calls with a handle of an earlier generation read the
	 * word and fail. */
	assert(word == dp_word_idle(generation, DP_STATE_FREE));
	atomic_store_explicit(&state->blocks, blocks, memory_order_relaxed);
	atomic_store_explicit(&state->word,
			      dp_word_idle(generation, DP_STATE_RESERVED),
			      memory_order_release);
	return generation;
}

/* FREE -> SLAB, for blocks that the caller has claimed; and back, which frees them. */
uint64_t dp_state_reserve_slab(struct dp_states *states, uint64_t block,
			       uint32_t blocks);
void dp_state_free_slab(struct dp_states *states, uint64_t block);

/* private to state.c: the last step of a generation. */
static inline void dp_state_free_blocks(struct dp_states *states, uint64_t block)
{
	dp_spaces_free(states->spaces, block, dp_state_blocks(states, block));
	dp_events_notify_refused(states->events);
}

/* A single attempt, inline: RESERVED -> FREE, if there is no hold, no publish and no
 * waiter. False: nothing was done. */
static inline bool dp_state_try_cancel(struct dp_states *states, uint64_t block,
				       uint64_t generation)
{
	uint64_t word = dp_word_idle(generation, DP_STATE_RESERVED);

	/* Bits of another epoch are not in `word`. */
	if (generation > DP_GENERATION_MASK ||
	    !dp_state_swap(&dp_state_at(states, block)->word, &word,
			   dp_word_next_generation(word)))
		return false;
	DP_PROBE_RETIRE(states, block << 12, generation, 0);
	dp_state_free_blocks(states, block);
	return true;
}

/* RESERVED -> FREE or, while held, RETIRED. */
int dp_state_cancel(struct dp_states *states, uint64_t block,
		    uint64_t generation);

/*
 * Quarantine a bad block, so that it is never reserved again. May sleep.
 *
 * -ENOMEM
 * -ESTALE	the block is neither free nor of this extent, whose generation may have
 *		ended during the call; nothing was changed
 */
int dp_state_quarantine(struct dp_states *states, uint64_t block,
			uint64_t generation, uint64_t bad_block);

/* Claim an extent for a publish: its state must be `from`, and if no_writers is set
 * there must be no write hold. */
int dp_state_claim(struct dp_states *states, uint64_t block,
		   uint64_t generation, enum dp_state from, bool no_writers);
/* End the claim and change nothing. */
void dp_state_unclaim(struct dp_states *states, uint64_t block);
/* End the claim after media was changed: RESERVED -> LIVE */
void dp_state_settle_kept(struct dp_states *states, uint64_t block);
/* LIVE -> RETIRED or, if the extent is not held, FREE */
void dp_state_settle_retired(struct dp_states *states, uint64_t block);

/*
 * The number of roots that name an extent. A thread that adds one reads the state word
 * afterwards, and a thread that has claimed the extent for a retire reads the number
 * afterwards, so at least one of them sees the other (D14).
 */
void dp_state_add_root(struct dp_states *states, uint64_t block);
void dp_state_remove_root(struct dp_states *states, uint64_t block);
uint32_t dp_state_roots(struct dp_states *states, uint64_t block);

int dp_state_clone(struct dp_states *states, uint64_t block,
		   uint64_t generation, bool write);

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

/* ---------------------------------------------------------- hold and drop */

/* Take `count` holds, all or none. flags: DP_HOLD_... */
int dp_state_hold(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint32_t count, uint64_t flags);
/* Drop `count` holds, or as many as there are. Returns their number or -errno. */
int dp_state_drop(struct dp_states *states, uint64_t block, uint64_t generation,
		  uint32_t count);

/*
 * Single attempts, inline and without calls, because they are made for each transfer.
 * They may return these values besides those of dp_state_hold() and dp_state_drop().
 */
enum {
	/* Another thread has changed the word meanwhile: nothing was done. */
	DP_STATE_UNDECIDED = INT_MIN,
	/* The same, but inc was incremented. */
	DP_STATE_RAISED,
	/* The holds were taken, but the gate is closed. */
	DP_STATE_GATE_CLOSED,
};

/* Finish a hold: `result` is that of dp_state_try_hold(). */
int dp_state_finish_hold(struct dp_states *states, uint64_t block,
			 uint64_t generation, uint32_t count, uint64_t flags,
			 int result);
/* The actions of the thread that made the CAS from `was` to `now`: free the blocks if
 * the generation has ended, wake waiters, increment dec if the count is 0 now. */
void dp_state_after_swap(struct dp_states *states, uint64_t block, uint64_t was,
			 uint64_t now);

/* The last of them. */
DP_INLINE void dp_state_now_idle(struct dp_states *states, uint64_t block,
				 uint64_t was, unsigned int slot)
{
	DP_PROBE_IDLE(states, block << 12, dp_word_generation(was));
	dp_gate_raise_dec(&states->gates, block >> states->block_shift, slot);
}

/* slot: this thread's. */
DP_INLINE int dp_state_try_hold(struct dp_states *states, uint64_t block,
				uint64_t generation, uint32_t count,
				uint64_t flags, unsigned int slot)
{
	_Atomic uint64_t *at = &dp_state_at(states, block)->word;
	uint64_t word = atomic_load_explicit(at, memory_order_acquire);
	uint64_t segment = block >> states->block_shift;
	bool had = word & DP_WORD_COUNT;
	int ret = dp_word_refuses_hold(word, generation, count, flags);

	if (ret)
		return ret;
	/* I25: before the CAS that takes the count from 0. */
	if (!had)
		dp_gate_raise_inc(&states->gates, segment, slot);
	if (!dp_state_swap(at, &word, dp_word_with_holds(word, count, flags)))
		return had ? DP_STATE_UNDECIDED : DP_STATE_RAISED;
	DP_PROBE_HOLD(states, block << 12, generation, count,
		      dp_word_count(word) + count, flags / DP_HOLD_WRITE & 1);
	dp_fence_after_rmw();
	return dp_gate_is_closed(&states->gates, segment) ? DP_STATE_GATE_CLOSED : 0;
}

/* usual: undecided if the drop must end the generation or wake waiters. */
DP_INLINE int dp_state_try_drop(struct dp_states *states, uint64_t block,
				uint64_t generation, uint32_t count,
				unsigned int slot, bool usual)
{
	_Atomic uint64_t *at = &dp_state_at(states, block)->word;
	uint64_t word = atomic_load_explicit(at, memory_order_acquire), to;
	bool unusual = dp_word_state(word) == DP_STATE_RETIRED ||
		       word & DP_WORD_WAITERS;
	uint32_t dropped;

	if (dp_word_generation(word) != generation)
		return -ESTALE;
	if (!dp_word_count(word))
		return -EINVAL;
	if (usual && unusual)
		return DP_STATE_UNDECIDED;
	dropped = dp_min(count, dp_word_count(word));
	to = dp_word_without_holds(word, dropped);
	if (!dp_state_swap(at, &word, to))
		return DP_STATE_UNDECIDED;
	DP_PROBE_DROP(states, block << 12, generation, dropped, dp_word_count(to));
	/* If holds are left, another thread may drop the last one and close the pool
	 * now, so no memory of the pool is read. If none is left, a close waits for
	 * dec. */
	if (dp_word_count(to))
		return dropped;
	if (unusual)
		dp_state_after_swap(states, block, word, to);
	else
		dp_state_now_idle(states, block, word, slot);
	return dropped;
}

#endif
