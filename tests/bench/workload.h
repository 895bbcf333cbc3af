/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Workloads that all allocators share: a program defines functions `take` and `give`
 * for each allocator, and WORKLOADS(name, take, give) defines a turn of each workload
 * with them. They are inlined, so that no allocator has the cost of an indirect call.
 *
 *	lifo	`live` allocations, freed from the last to the first
 *	pair	one at a time
 *	mixed	4 KiB to 1 MiB, log-uniform; a random one of `live` allocations is
 *		replaced
 *	passed	one thread allocates, another frees
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "turns.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ALWAYS_INLINE	static inline __attribute__((always_inline))

/* An allocation of either side. */
struct slot {
	union {
		void *memory;
		struct daxpin_extent extent;
		uint64_t word[2];
	};
};

/* What each thread of one side has. */
struct hand {
	_Alignas(LINE) struct slot *slots;
	uint64_t random;
};

#define RING		1024	/* allocations on their way to the other thread */
#define NO_LAST		UINT64_MAX

/* Allocations that worker 0 passes to worker 1. */
struct passage {
	_Alignas(LINE) _Atomic uint64_t put;
	_Alignas(LINE) _Atomic uint64_t got;
	_Alignas(LINE) _Atomic uint64_t last;	/* where the receiver ends its turn */
	struct slot slot[RING];
};

struct workload {
	struct bench bench;
	size_t live;			/* per thread */
	uint32_t sizes[1024];		/* for `mixed` */
	struct passage passage;
};

static struct workload work;

/* ------------------------------------------------------------------ set-up */

static inline void work_make_sizes(void)
{
	double pages = 1, step = 1.005435286921;	/* 256 after 1023 */

	for (int i = 0; i < 1024; i++, pages *= step)
		work.sizes[i] = DAXPIN_BLOCK_SIZE *
				(uint32_t)(pages > 255 ? 256 : pages + 0.999);
}

static inline void work_make_hands(struct hand *hands)
{
	for (int i = 0; i < work.bench.threads; i++) {
		hands[i].slots = calloc(work.live, sizeof(struct slot));
		hands[i].random = 88172645463325252 + i * 7919;
		if (!hands[i].slots)
			bench_die("no memory for %zu slots", work.live);
	}
}

/*
 * The bytes that are live at a time in all threads, with room for the gaps of `mixed`.
 */
static inline uint64_t work_bytes(void)
{
	uint64_t count = work.live * work.bench.threads;

	if (!strcmp(work.bench.test, "passed"))
		return RING * work.bench.size;
	return count * (strcmp(work.bench.test, "mixed") ? work.bench.size :
							   320 << 10);
}

ALWAYS_INLINE void work_touch(void *memory)
{
	if (!work.bench.untouched)
		*(volatile uint64_t *)memory = 1;
}

/* ------------------------------------------------------------- the workloads */

typedef void take_fn(struct slot *slot, size_t size);
typedef void give_fn(struct slot *slot);

ALWAYS_INLINE uint64_t work_lifo(struct worker *worker, struct hand *hand,
				 take_fn *take, give_fn *give)
{
	struct slot *slots = hand->slots;
	uint64_t count = 0;

	do {
		for (size_t i = 0; i < work.live; i++)
			take(&slots[i], work.bench.size);
		for (size_t i = work.live; i-- > 0;)
			give(&slots[i]);
		count += work.live;
	} while (!turn_is_over(worker));
	return count;
}

ALWAYS_INLINE uint64_t work_pair(struct worker *worker, struct hand *hand,
				 take_fn *take, give_fn *give)
{
	uint64_t count = 0;

	do {
		for (int i = 0; i < 64; i++) {
			take(hand->slots, work.bench.size);
			give(hand->slots);
		}
		count += 64;
	} while (!turn_is_over(worker));
	return count;
}

ALWAYS_INLINE size_t work_size(struct hand *hand)
{
	return work.sizes[bench_below(&hand->random, 1024)];
}

ALWAYS_INLINE void work_replace(struct hand *hand, size_t count, take_fn *take,
				give_fn *give)
{
	while (count--) {
		struct slot *slot = &hand->slots[bench_below(&hand->random,
							     work.live)];

		give(slot);
		take(slot, work_size(hand));
	}
}

/* Before the first turn: makes the live allocations and replaces each twice. */
ALWAYS_INLINE uint64_t work_fill(struct hand *hand, take_fn *take, give_fn *give)
{
	for (size_t i = 0; i < work.live; i++)
		take(&hand->slots[i], work_size(hand));
	work_replace(hand, 2 * work.live, take, give);
	return 1;
}

ALWAYS_INLINE uint64_t work_mixed(struct worker *worker, struct hand *hand,
				  take_fn *take, give_fn *give)
{
	uint64_t count = 0;

	do {
		work_replace(hand, 64, take, give);
		count += 64;
	} while (!turn_is_over(worker));
	return count;
}

/* ----------------------------------------------- freed by another thread */

static inline void work_wait(_Atomic uint64_t *word, uint64_t value)
{
	while (atomic_load_explicit(word, memory_order_acquire) == value)
		turns_pause();
}

ALWAYS_INLINE uint64_t work_pass(struct worker *worker, take_fn *take)
{
	struct passage *passage = &work.passage;
	uint64_t begin = atomic_load(&passage->put), put = begin;

	do {
		for (int i = 0; i < 64; i++, put++) {
			/* If the ring is full, wait for the other thread. */
			work_wait(&passage->got, put - RING);
			take(&passage->slot[put % RING], work.bench.size);
			atomic_store_explicit(&passage->put, put + 1,
					      memory_order_release);
		}
	} while (!turn_is_over(worker));
	atomic_store(&passage->last, put);
	work_wait(&passage->last, put);
	return put - begin;
}

/*
 * Waits for the next allocation. Returns false after the last one of a turn, and lets
 * the other thread continue.
 */
static inline bool work_is_coming(struct passage *passage, uint64_t got)
{
	while (atomic_load_explicit(&passage->put, memory_order_acquire) == got) {
		if (atomic_load(&passage->last) == got) {
			atomic_store(&passage->last, NO_LAST);
			return false;
		}
		turns_pause();
	}
	return true;
}

/* Returns 0, because an operation is counted only where it begins. */
ALWAYS_INLINE uint64_t work_receive(give_fn *give)
{
	struct passage *passage = &work.passage;
	uint64_t got = atomic_load(&passage->got);

	for (; work_is_coming(passage, got); got++) {
		give(&passage->slot[got % RING]);
		atomic_store_explicit(&passage->got, got + 1,
				      memory_order_release);
	}
	return 0;
}

ALWAYS_INLINE uint64_t work_passed(struct worker *worker, take_fn *take,
				   give_fn *give)
{
	return worker->index ? work_receive(give) : work_pass(worker, take);
}

/* ------------------------------------------------------------- the turns */

#define WORKLOADS(name, take, give)                                           \
	static struct hand name##_hands[WORKERS_MAX];                         \
	static uint64_t name##_lifo(struct worker *worker)                    \
	{                                                                     \
		return work_lifo(worker, &name##_hands[worker->index], take,  \
				 give);                                       \
	}                                                                     \
	static uint64_t name##_pair(struct worker *worker)                    \
	{                                                                     \
		return work_pair(worker, &name##_hands[worker->index], take,  \
				 give);                                       \
	}                                                                     \
	static uint64_t name##_mixed(struct worker *worker)                   \
	{                                                                     \
		return work_mixed(worker, &name##_hands[worker->index], take, \
				  give);                                      \
	}                                                                     \
	static uint64_t name##_fill(struct worker *worker)                    \
	{                                                                     \
		return work_fill(&name##_hands[worker->index], take, give);   \
	}                                                                     \
	static uint64_t name##_passed(struct worker *worker)                  \
	{                                                                     \
		return work_passed(worker, take, give);                       \
	}                                                                     \
	static const struct allocator name = { name##_hands, name##_lifo,     \
					       name##_pair,  name##_mixed,    \
					       name##_fill,  name##_passed }

/* The turn functions of one allocator. */
struct allocator {
	struct hand *hands;
	turn_fn *lifo, *pair, *mixed, *fill, *passed;
};

#endif
