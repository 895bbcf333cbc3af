/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread takes a free number on first use and gives it back by a key
 * destructor. Whoever takes it next continues the counters where they stand:
 * giving back is a release and taking an acquire of the same word.
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
	uintptr_t stripe = (uintptr_t)value - 1;

	assert(stripe < DP_THREAD_SLOTS);
	/* Destructors that run after this one share. */
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	atomic_fetch_and_explicit(&taken, ~(1ull << stripe),
				  memory_order_release);
}

static void thread_slot_make_key(void)
{
	have_key = !pthread_key_create(&key, thread_slot_give_back);
}

static unsigned int thread_slot_claim(void)
{
	uint64_t now = atomic_load_explicit(&taken, memory_order_relaxed);
	unsigned int stripe;

	pthread_once(&once, thread_slot_make_key);
	do {
		if (!have_key || !~now)
			return DP_THREAD_SLOT_SHARED;
		stripe = __builtin_ctzll(~now);
	} while (!atomic_compare_exchange_weak_explicit(&taken, &now,
						now | 1ull << stripe,
						memory_order_acquire,
						memory_order_relaxed));
	if (!pthread_setspecific(key, (void *)(uintptr_t)(stripe + 1)))
		return stripe;
	atomic_fetch_and_explicit(&taken, ~(1ull << stripe),
				  memory_order_release);
	return DP_THREAD_SLOT_SHARED;
}

unsigned int dp_thread_slot_take(void)
{
	assert(!dp_thread_slot_mine);
	dp_thread_slot_mine = thread_slot_claim() + 1;
	return dp_thread_slot_mine - 1;
}
