/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small number for each thread, so that each can have counters and caches of its own.
 * At most DP_THREAD_SLOTS threads at a time have a slot of their own; the others share
 * the last.
 */
#ifndef DP_THREAD_SLOT_H
#define DP_THREAD_SLOT_H

#include <stdint.h>

#define DP_THREAD_SLOTS		64u
#define DP_THREAD_SLOT_SHARED	DP_THREAD_SLOTS

/* private to thread_slot.c, but for fn and arg */
struct dp_thread_end {
	void (*fn)(unsigned int slot, void *arg);
	void *arg;
	struct dp_thread_end *next;
};

/*
 * This thread's slot + 1, or 0 before its first use. Each hold and drop reads it, so
 * it is at a constant offset from the thread pointer.
 */
extern _Thread_local unsigned int dp_thread_slot_mine
	__attribute__((tls_model("initial-exec")));

/* As dp_thread_slot(), in a thread that has none yet. */
unsigned int dp_thread_slot_take(void);

/* The free slots, as bits. All stores of the threads that had them are visible. */
uint64_t dp_thread_slots_free(void);

/*
 * Call fn in each thread that ends, after its slot was released, under a mutex that
 * these two functions take. -ENOMEM. A forked child has no watches.
 */
int dp_thread_ends_watch(struct dp_thread_end *end);
void dp_thread_ends_unwatch(struct dp_thread_end *end);

/* This thread's slot: 0 to DP_THREAD_SLOTS - 1, or DP_THREAD_SLOT_SHARED. */
static inline unsigned int dp_thread_slot(void)
{
	return dp_thread_slot_mine ? dp_thread_slot_mine - 1 :
				     dp_thread_slot_take();
}

/* This thread's slot, if it has one of its own; otherwise DP_THREAD_SLOT_SHARED. */
static inline unsigned int dp_thread_slot_own(void)
{
	unsigned int slot = dp_thread_slot_mine - 1;

	return slot < DP_THREAD_SLOTS ? slot : DP_THREAD_SLOT_SHARED;
}

#endif
