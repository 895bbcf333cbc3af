/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread takes a free slot on first use and releases it in a key destructor. The next
 * thread with that slot continues with its counters and caches as they are: the release
 * of a slot is a release of `taken`, and taking one is an acquire.
 *
 * A forked child has one thread: it keeps its slot, and the others are free (C2). A
 * child that was made without handlers of pthread_atfork() has fewer slots, and the
 * mutex as it was.
 */
#include <pthread.h>
#include "extent/thread_slot.h"
#include "util/util.h"

static _Atomic uint64_t taken;
static pthread_mutex_t ends_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct dp_thread_end *ends;
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
	pthread_mutex_lock(&ends_mutex);
	for (struct dp_thread_end *end = ends; end; end = end->next)
		end->fn(slot, end->arg);
	pthread_mutex_unlock(&ends_mutex);
}

/* In a child. The pools whose ends were watched are its parent's. */
static void thread_slot_after_fork(void)
{
	unsigned int mine = dp_thread_slot_mine;

	atomic_store(&taken, mine && mine <= DP_THREAD_SLOTS ? 1ull << (mine - 1) : 0);
	pthread_mutex_init(&ends_mutex, NULL);
	ends = NULL;
}

static void thread_slot_make_key(void)
{
	have_key = !pthread_key_create(&key, thread_slot_give_back) &&
		   !pthread_atfork(NULL, NULL, thread_slot_after_fork);
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

uint64_t dp_thread_slots_free(void)
{
	/* It writes, so that a thread which takes a slot later sees what this one did. */
	return ~atomic_fetch_or(&taken, 0);
}

void dp_thread_ends_watch(struct dp_thread_end *end)
{
	/* A fork from now on leaves no locked mutex in the child. */
	pthread_once(&once, thread_slot_make_key);
	pthread_mutex_lock(&ends_mutex);
	end->next = ends;
	ends = end;
	pthread_mutex_unlock(&ends_mutex);
}

void dp_thread_ends_unwatch(struct dp_thread_end *end)
{
	struct dp_thread_end **at = &ends;

	pthread_mutex_lock(&ends_mutex);
	while (*at && *at != end)
		at = &(*at)->next;
	if (*at)
		*at = end->next;
	pthread_mutex_unlock(&ends_mutex);
}
