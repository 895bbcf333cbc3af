/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock of one word, to be held for less time than it takes a thread to sleep and be
 * woken. Zeroed memory is an open lock, so the open of a pool need not initialise its
 * thousands of locks. All its operations are seq_cst: extent/space.c orders other words
 * by them.
 */
#ifndef DP_SHORT_LOCK_H
#define DP_SHORT_LOCK_H

#include <stdatomic.h>
#include "os/os.h"
#include "util/util.h"

#define DP_SHORT_LOCK_SPINS	200u

enum {
	DP_SHORT_LOCK_OPEN,
	DP_SHORT_LOCK_TAKEN,
	DP_SHORT_LOCK_WANTED,		/* taken, and a thread may sleep for it */
};

struct dp_short_lock {
	_Atomic uint32_t state;
};

static inline bool dp_short_lock_is_open(struct dp_short_lock *lock)
{
	return atomic_load(&lock->state) == DP_SHORT_LOCK_OPEN;
}

static inline bool dp_short_lock_try(struct dp_short_lock *lock)
{
	uint32_t was = DP_SHORT_LOCK_OPEN;

	return atomic_compare_exchange_strong(&lock->state, &was, DP_SHORT_LOCK_TAKEN);
}

/* Spin first, because the holder releases it soon unless it was preempted. */
static inline void dp_short_lock_take(struct dp_short_lock *lock)
{
	for (unsigned int i = 0; i < DP_SHORT_LOCK_SPINS; i++) {
		if (dp_short_lock_is_open(lock) && dp_short_lock_try(lock))
			return;
		dp_cpu_relax();
	}
	while (atomic_exchange(&lock->state, DP_SHORT_LOCK_WANTED) !=
	       DP_SHORT_LOCK_OPEN)
		dp_os_futex_wait((void *)&lock->state, DP_SHORT_LOCK_WANTED,
				 UINT64_MAX);
}

static inline void dp_short_lock_release(struct dp_short_lock *lock)
{
	uint32_t was = atomic_exchange(&lock->state, DP_SHORT_LOCK_OPEN);

	assert(was != DP_SHORT_LOCK_OPEN);
	if (was == DP_SHORT_LOCK_WANTED)
		dp_os_futex_wake((void *)&lock->state);
}

/*
 * The same with one locked operation instead of two: a release is a store, so it cannot
 * learn whether a thread sleeps for the lock. Such a thread therefore sleeps for
 * DP_POLLED_LOCK_NS and tries again. Take and release are acquire and release, and
 * order nothing else.
 */
#define DP_POLLED_LOCK_NS	50000u

struct dp_polled_lock {
	_Atomic uint32_t taken;
};

static inline bool dp_polled_lock_try(struct dp_polled_lock *lock)
{
	return !atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire);
}

__attribute__((cold, noinline, unused))
static void dp_polled_lock_wait(struct dp_polled_lock *lock)
{
	for (unsigned int i = 0;; i++) {
		if (!atomic_load_explicit(&lock->taken, memory_order_relaxed) &&
		    dp_polled_lock_try(lock))
			return;
		if (i < DP_SHORT_LOCK_SPINS)
			dp_cpu_relax();
		else
			dp_os_futex_wait((void *)&lock->taken, 1,
					 dp_os_now_ns() + DP_POLLED_LOCK_NS);
	}
}

static inline void dp_polled_lock_take(struct dp_polled_lock *lock)
{
	if (!dp_polled_lock_try(lock))
		dp_polled_lock_wait(lock);
}

static inline void dp_polled_lock_release(struct dp_polled_lock *lock)
{
	assert(atomic_load_explicit(&lock->taken, memory_order_relaxed));
	atomic_store_explicit(&lock->taken, 0, memory_order_release);
}

#endif
