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

#endif
