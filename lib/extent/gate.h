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
struct dp_gate_slot {		/* one thread's, or shared by the others */
	_Atomic uint64_t inc;
	_Atomic uint64_t dec;
} DP_ALIGNED;

/* private to gate.c */
struct dp_gate {
	struct dp_gate_slot slot[DP_THREAD_SLOTS + 1];
	_Atomic uint32_t closed DP_ALIGNED;	/* by so many */
};

/* private to gate.c */
struct dp_gates {
	uint32_t gate_count;		/* one per segment */
	struct dp_gate *gate;
};

/* All open, and nothing held. -ENOMEM. */
int dp_gates_init(struct dp_gates *gates, uint32_t segments);
void dp_gates_fini(struct dp_gates *gates);

/* Close and reclaim may overlap, so a gate counts who closed it (D17). */
void dp_gate_close(struct dp_gates *gates, uint32_t segment);
void dp_gate_open(struct dp_gates *gates, uint32_t segment);
/*
 * Held extents of a segment. Exact only while the gate is closed, and then 0
 * stays 0 until it opens (D16).
 */
uint64_t dp_gate_busy(struct dp_gates *gates, uint32_t segment);

/* What a hold and a drop do is inline. */

/* A word with one writer goes up by a plain store; the shared one is locked. */
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

/* Before the CAS that takes an extent's count from 0. */
static inline void dp_gate_raise_inc(struct dp_gates *gates, uint32_t segment)
{
	unsigned int slot = dp_thread_slot();

	dp_gate_go_up(&gates->gate[segment].slot[slot].inc, slot);
}

/* After the CAS that took it to 0, and after everything else in the pool. */
static inline void dp_gate_raise_dec(struct dp_gates *gates, uint32_t segment)
{
	unsigned int slot = dp_thread_slot();

	dp_gate_go_up(&gates->gate[segment].slot[slot].dec, slot);
}

/* After the CAS of a hold and dp_fence_after_rmw(). */
static inline bool dp_gate_is_closed(struct dp_gates *gates, uint32_t segment)
{
	return atomic_load(&gates->gate[segment].closed);
}

#endif
