/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread takes a free slot on first use and releases it in a key destructor. The next
 * thread with that slot continues with its counters and caches as they are: the release
 * of a slot is a release of `taken`, and taking one is an acquire.
 */
#include <pthread.h>
#include "extent/thread_slot.h"
#include "util/util.h"

static _Atomic uint64_t taken;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_key;
_Thread_local unsigned int dp_thread_slot_mine;

static void thread_slot_give_back(void *value)
{
	uintptr_t slot = (uintptr_t)value - 1;

	assert(slot < DP_THREAD_SLOTS);
	/* Destructors of the program that run after this one use the shared slot. */
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	atomic_fetch_and_explicit(&taken, ~(1ull << slot),
				  memory_order_release);
}

static void thread_slot_make_key(void)
{
	have_key = !pthread_key_create(&key, thread_slot_give_back);
}

static unsigned int thread_slot_claim(void)
{
	uint64_t now = atomic_load_explicit(&taken, memory_order_relaxed);
	unsigned int slot;

	pthread_once(&once, thread_slot_make_key);
	do {
		if (!have_key || !~now)
			return DP_THREAD_SLOT_SHARED;
		slot = __builtin_ctzll(~now);
	} while (!atomic_compare_exchange_weak_explicit(&taken, &now,
						now | 1ull << slot,
						memory_order_acquire,
						memory_order_relaxed));
	if (!pthread_setspecific(key, (void *)(uintptr_t)(slot + 1)))
		return slot;
	atomic_fetch_and_explicit(&taken, ~(1ull << slot),
				  memory_order_release);
	return DP_THREAD_SLOT_SHARED;
}

unsigned int dp_thread_slot_take(void)
{
	assert(!dp_thread_slot_mine);
	dp_thread_slot_mine = thread_slot_claim() + 1;
	return dp_thread_slot_mine - 1;
}
