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
_Thread_local unsigned int dp_stripe_mine;

static void give_back(void *value)
{
	uintptr_t stripe = (uintptr_t)value - 1;

	assert(stripe < DP_STRIPES);
	/* Destructors that run after this one share. */
	dp_stripe_mine = DP_STRIPE_SHARED + 1;
	atomic_fetch_and_explicit(&taken, ~(1ull << stripe),
				  memory_order_release);
}

static void make_key(void)
{
	have_key = !pthread_key_create(&key, give_back);
}

static unsigned int take(void)
{
	uint64_t now = atomic_load_explicit(&taken, memory_order_relaxed);
	unsigned int stripe;

	pthread_once(&once, make_key);
	do {
		if (!have_key || !~now)
			return DP_STRIPE_SHARED;
		stripe = __builtin_ctzll(~now);
	} while (!atomic_compare_exchange_weak_explicit(&taken, &now,
						now | 1ull << stripe,
						memory_order_acquire,
						memory_order_relaxed));
	if (!pthread_setspecific(key, (void *)(uintptr_t)(stripe + 1)))
		return stripe;
	atomic_fetch_and_explicit(&taken, ~(1ull << stripe),
				  memory_order_release);
	return DP_STRIPE_SHARED;
}

unsigned int dp_stripe_take(void)
{
	assert(!dp_stripe_mine);
	dp_stripe_mine = take() + 1;
	return dp_stripe_mine - 1;
}
