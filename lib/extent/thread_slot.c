/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread takes a free slot on first use and gives it back in a key destructor. The
 * next thread with that slot continues with its counters and caches as they are: giving
 * a slot back clears its bit in `taken` with release, and taking it sets the bit with
 * acquire.
 *
 * A forked child has one thread: it keeps its slot, and the others are free (C2). A
 * child that was made without handlers of pthread_atfork() has fewer slots, because
 * those of the parent's threads stay taken. In both, the list of watched ends and its
 * mutex are in memory that the kernel zeroes at the fork, because another thread of the
 * parent may have held the mutex.
 */
#include <pthread.h>
#include "extent/thread_slot.h"
#include "os/os.h"
#include "util/util.h"

struct thread_ends {
	pthread_mutex_t mutex;		/* zeroes are a valid initializer */
	struct dp_thread_end *first;
};

static _Atomic uint64_t taken;
static struct thread_ends *_Atomic ends_there;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_key;
_Thread_local unsigned int dp_thread_slot_mine;

static void thread_slot_report_end(unsigned int slot)
{
	struct thread_ends *ends = atomic_load(&ends_there);

	if (!ends)
		return;
	pthread_mutex_lock(&ends->mutex);
	for (struct dp_thread_end *end = ends->first; end; end = end->next)
		end->fn(slot, end->arg);
	pthread_mutex_unlock(&ends->mutex);
}

static void thread_slot_release(void *value)
{
	uintptr_t slot = (uintptr_t)value - 1;

	assert(slot < DP_THREAD_SLOTS);
	/* Destructors of the program that run after this one use the shared slot. */
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	atomic_fetch_and_explicit(&taken, ~(1ull << slot),
				  memory_order_release);
	thread_slot_report_end(slot);
}

/* Runs in a forked child. */
static void thread_slot_after_fork(void)
{
	unsigned int mine = dp_thread_slot_mine;

	atomic_store(&taken, mine && mine <= DP_THREAD_SLOTS ? 1ull << (mine - 1) : 0);
}

static void thread_slot_make_key(void)
{
	have_key = !pthread_key_create(&key, thread_slot_release) &&
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
	/* A write, so that a thread that takes a slot later sees this thread's
	 * stores. */
	return ~atomic_fetch_or(&taken, 0);
}

static int thread_slot_make_ends(void)
{
	struct thread_ends *ends = NULL;
	void *made;
	int ret;

	if (atomic_load(&ends_there))
		return 0;
	ret = dp_os_map_for_process(sizeof(*ends), &made);
	if (!ret && !atomic_compare_exchange_strong(&ends_there, &ends, made))
		dp_os_unmap(made, sizeof(*ends));	/* another thread was first */
	return ret;
}

int dp_thread_ends_watch(struct dp_thread_end *end)
{
	struct thread_ends *ends;
	int ret = thread_slot_make_ends();

	if (ret)
		return ret;
	ends = atomic_load(&ends_there);
	pthread_mutex_lock(&ends->mutex);
	end->next = ends->first;
	ends->first = end;
	pthread_mutex_unlock(&ends->mutex);
	return 0;
}

void dp_thread_ends_unwatch(struct dp_thread_end *end)
{
	struct thread_ends *ends = atomic_load(&ends_there);
	struct dp_thread_end **at = &ends->first;

	pthread_mutex_lock(&ends->mutex);
	while (*at && *at != end)
		at = &(*at)->next;
	if (*at)
		*at = end->next;
	pthread_mutex_unlock(&ends->mutex);
}
