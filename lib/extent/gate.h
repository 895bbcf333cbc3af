/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many extents of each segment are held, and the gate of each segment,
 * which refuses new holds while it is closed. See gate.c for the protocol.
 */
#ifndef DP_GATE_H
#define DP_GATE_H

#include "extent/thread_slot.h"
#include "util/util.h"

/* private to gate.c */
struct dp_gate_counter {	/* of one thread slot and one segment */
	_Atomic uint64_t inc;
	_Atomic uint64_t dec;
};

/* private to gate.c */
struct dp_gates {
	uint32_t gate_count;		/* one per segment */
	uint64_t slot_counters;		/* those of a slot fill whole cache lines */
	struct dp_gate_counter *counter;	/* by slot, then by segment */
	_Atomic uint32_t *closed;	/* by segment: the number of closers */
};

/* All gates are open, and nothing is held. -ENOMEM. */
int dp_gates_init(struct dp_gates *gates, uint32_t segments);
void dp_gates_fini(struct dp_gates *gates);

/* A close and a reclaim may overlap, so a gate counts its closers (D17). */
void dp_gate_close(struct dp_gates *gates, uint32_t segment);
void dp_gate_open(struct dp_gates *gates, uint32_t segment);
/* The gates of all segments, and of those that a grow adds before they are opened. */
void dp_gates_close(struct dp_gates *gates);
void dp_gates_open(struct dp_gates *gates);
/*
 * The number of held extents of a segment. While the gate is closed it is never too
 * low, but it can be too high, if a hold is backing out or an extent was dropped during
 * the call. So 0 means idle, and the segment then stays idle until the gate opens
 * (D16).
 */
uint64_t dp_gate_busy(struct dp_gates *gates, uint32_t segment);

/* The steps of a hold and of a drop are inline. */

/* private to gate.c */
static inline struct dp_gate_counter *
dp_gate_counter(const struct dp_gates *gates, uint64_t segment, unsigned int slot)
{
	return &gates->counter[slot * gates->slot_counters + segment];
}

/* A word with one writer is incremented by a plain store, the shared one atomically. */
static inline void dp_gate_go_up(_Atomic uint64_t *word, unsigned int slot)
{
	uint64_t now;

	if (slot == DP_THREAD_SLOT_SHARED) {
		atomic_fetch_add(word, 1);
		return;
	}
	now = atomic_load_explicit(word, memory_order_relaxed);
	atomic_store_explicit(word, now + 1, memory_order_release);
}

/* Call it before the CAS that takes an extent's count from 0. slot: this thread's. */
static inline void dp_gate_raise_inc(struct dp_gates *gates, uint64_t segment,
				     unsigned int slot)
{
	dp_gate_go_up(&dp_gate_counter(gates, segment, slot)->inc, slot);
}

/* Call it after the CAS that took the count to 0, and after the last other access to
 * the pool. */
static inline void dp_gate_raise_dec(struct dp_gates *gates, uint64_t segment,
				     unsigned int slot)
{
	dp_gate_go_up(&dp_gate_counter(gates, segment, slot)->dec, slot);
}

/* Call it after the CAS of a hold and dp_fence_after_rmw(). */
static inline bool dp_gate_is_closed(struct dp_gates *gates, uint64_t segment)
{
	return atomic_load(&gates->closed[segment]);
}

#endif
