/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: the cache lines and fences of what daxpin makes durable, without any other
 * work. No allocator can be faster and as durable.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "turns.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* lib/media/persist.c uses the same instruction on this CPU. */
static inline bool floor_has_clwb(void)
{
	unsigned int a, b = 0, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 24 & 1;
}

static inline void floor_write_back(void *line)
{
	__asm__ volatile("clwb %0" : "+m"(*(volatile char *)line));
}

static inline void floor_fence(void)
{
	__asm__ volatile("sfence" : : : "memory");
}

/* Zeroes lines past the caches. A CPU with clwb has these stores. */
__attribute__((target("avx2")))
static inline void floor_zero(void *line, uint64_t size)
{
	for (uint64_t at = 0; at < size; at += sizeof(__m256i))
		_mm256_stream_si256((__m256i *)((char *)line + at),
				    _mm256_setzero_si256());
}
#else
static inline void floor_zero(void *line, uint64_t size)
{
	memset(line, 0, size);
}

static inline bool floor_has_clwb(void)
{
	return false;
}

static inline void floor_write_back(void *line)
{
	(void)line;
}

static inline void floor_fence(void)
{
}
#endif

#define FLOOR_PAGE	4096
#define FLOOR_WORDS	(1u << 15)	/* per thread, one for each extent */
#define FLOOR_BYTES	(FLOOR_WORDS * 8 + 2 * FLOOR_PAGE)
#define LANE_LINES	5		/* a batch of 16 in a redo lane */
#define FLOOR_BATCH	16

static char *floor_memory;		/* FLOOR_BYTES for each thread, and a payload */
static uint64_t floor_payload;		/* its bytes */

static inline void floor_begin(int threads, uint64_t payload)
{
	size_t bytes = (size_t)FLOOR_BYTES * threads + payload;

	if (!floor_has_clwb())
		bench_skip("the floor is of clwb and sfence, which this CPU lacks");
	floor_payload = payload;
	floor_memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (floor_memory == MAP_FAILED)
		bench_die("no memory for the floor");
}

static inline void floor_store(void *word, uint64_t value)
{
	*(volatile uint64_t *)word = value;
	floor_write_back(word);
}

/*
 * The same order as that of extents' words in a page: two in a row are never in one
 * line.
 */
static inline void *floor_word(const struct worker *worker, uint64_t block)
{
	uint64_t page = block % FLOOR_WORDS / 512, in = block % 512;

	return floor_memory + (size_t)FLOOR_BYTES * worker->index +
	       page * FLOOR_PAGE + ((in & 63) * 8 + (in >> 6)) * 8;
}

/* For each extent, one word at KEEP and again at RETIRE. */
static uint64_t floor_lifo(struct worker *worker)
{
	static uint64_t next[WORKERS_MAX];
	uint64_t count = 0, begin = next[worker->index];

	do {
		for (uint64_t i = 0; i < 1000; i++) {
			floor_store(floor_word(worker, begin + i), i);
			floor_fence();
		}
		for (uint64_t i = 1000; i-- > 0;) {
			floor_store(floor_word(worker, begin + i), i);
			floor_fence();
		}
		count += 1000;
		begin += 1000;
	} while (!turn_is_over(worker));
	next[worker->index] = begin;
	return count;
}

/* Write the lane, fence; write the words, fence; mark the lane done, fence. */
static inline void floor_one_batch(const struct worker *worker, uint64_t begin)
{
	char *lane = (char *)floor_word(worker, 0) + FLOOR_WORDS * 8;

	for (int i = 0; i < LANE_LINES; i++)
		floor_store(lane + i * LINE, begin);
	floor_fence();
	for (int i = 0; i < FLOOR_BATCH; i++)
		floor_store(floor_word(worker, begin + i), begin);
	floor_fence();
	floor_store(lane + 8 * LINE, begin);
	floor_fence();
}

static uint64_t floor_batch(struct worker *worker)
{
	uint64_t count = 0, begin = 0;

	do {
		floor_one_batch(worker, begin);
		floor_one_batch(worker, begin);
		begin += FLOOR_BATCH;
		count++;
	} while (!turn_is_over(worker));
	return count;
}

/* One locked operation for each extent of a batch. */
static inline void floor_lock_batch(void)
{
	static struct { _Alignas(LINE) _Atomic uint64_t word; } state[FLOOR_BATCH];

	for (int i = 0; i < FLOOR_BATCH; i++)
		atomic_fetch_add(&state[i].word, 1);
}

/* The same with what a claim and its end cost: a hold by another thread can change the
 * state of an extent at any time, so each takes a locked operation. */
static uint64_t floor_batch_locked(struct worker *worker)
{
	uint64_t count = 0, begin = 0;

	do {
		for (int i = 0; i < 2; i++) {
			floor_lock_batch();
			floor_one_batch(worker, begin);
			floor_lock_batch();
		}
		begin += FLOOR_BATCH;
		count++;
	} while (!turn_is_over(worker));
	return count;
}

/* Zeroes a payload and writes all of its lines back, because any of them may have been
 * written meanwhile; one word at KEEP and again at RETIRE. One thread. */
static uint64_t floor_zeroed(struct worker *worker)
{
	char *payload = floor_memory + FLOOR_BYTES;
	uint64_t count = 0;

	do {
		floor_zero(payload, floor_payload);
		floor_fence();
		floor_store(floor_word(worker, count), count);
		floor_fence();
		floor_store(floor_word(worker, count), 0);
		floor_fence();
		count++;
	} while (!turn_is_over(worker));
	return count;
}

/* Writes one word at a time, at random positions in a page. */
static uint64_t floor_set(struct worker *worker)
{
	uint64_t count = 0, random = 99 + worker->index;

	do {
		for (int i = 0; i < 16; i++) {
			floor_store(floor_word(worker,
					       bench_below(&random, 512)),
				    count);
			floor_fence();
		}
		count += 16;
	} while (!turn_is_over(worker));
	return count;
}

#endif
