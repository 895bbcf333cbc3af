/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the benchmarks of the table share: their arguments, a pool that is removed
 * at exit, and the peers that must be loaded before main() begins.
 *
 *	bench_NAME [OPTIONS] TEST PEER
 *
 *	--threads N		number of threads, 1 by default
 *	--seconds S		duration of the measurement, 2 by default
 *	--directory DIR		where pools are created, /dev/shm by default
 *	--once			tiny counts, one round: only tests that it works
 *	--size BYTES		of an allocation: 4096, 64K, 2M
 *	--live N		allocations that a thread has at a time
 *	--untouched		do not write to the memory
 *
 * A program measures one test against one peer and prints one line of NAME=VALUE
 * words. It exits 77, with a message, if the peer is not installed.
 */
#ifndef BENCH_H
#define BENCH_H

#include <daxpin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_SKIPPED	77
#define BENCH_SMALL	8	/* counts of --once; otherwise thousands */

struct bench {
	const char *test;
	const char *peer;
	const char *directory;
	double seconds;
	int threads;
	bool once;
	bool untouched;
	bool durable;		/* set by programs whose peers are durable */
	uint64_t size;
	uint64_t live;		/* 0: the test's default */
	uint32_t segments;	/* of the pool, at least; 0: one for each thread */
};

/* Parses the arguments. An error ends the program with status 2. */
void bench_parse(struct bench *bench, int argc, char **argv);

/* If something fails, the figures would be wrong: exit. */
void must(int ret, const char *what);
_Noreturn void bench_die(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
_Noreturn void bench_skip(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
/* Skips if there are no rings here: an emulator of user programs has none, and a
 * container's filter may forbid them. */
void bench_need_io_uring(void);

/*
 * Returns a path in the directory for a new file. What is created there is removed at
 * exit.
 */
const char *bench_path(const struct bench *bench, const char *name);

/*
 * Creates a pool with that many bytes of space, in segments of the default size. It has
 * at least a segment for each thread, or bench->segments: threads that share a segment
 * wait for each other. If bench->durable is set, its granularity is the cache line,
 * even on tmpfs.
 */
struct daxpin_pool *bench_pool(const struct bench *bench, uint64_t bytes);

/*
 * Makes malloc() that of the peer, by executing the program again with the library
 * preloaded; for pmemobj, with cache line write-back on tmpfs. A process that uses an
 * allocator loads it at its start, so the benchmark must do so, too: a library that is
 * loaded with dlopen() uses dynamic TLS, or has no room in static TLS (jemalloc), and
 * is called through a pointer, which would measure something else.
 *
 * Returns whether the peer is a malloc.
 */
bool bench_become(const struct bench *bench, char **argv);

/*
 * Is this built with a sanitizer? That works neither with another malloc() nor under
 * valgrind.
 */
bool bench_is_sanitized(void);

/* A small random number generator for thread-local use. The state is never 0. */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* Returns a number below `bound`, without a division. */
static inline uint64_t bench_below(uint64_t *state, uint32_t bound)
{
	return (bench_random(state) >> 32) * bound >> 32;
}

#endif
