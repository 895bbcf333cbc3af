/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the benchmarks of the table share: their arguments, a pool that is removed
 * at exit, and the peers that have to be there before main() begins.
 *
 *	bench_NAME [OPTIONS] TEST PEER
 *
 *	--threads N		in a team, 1 by default
 *	--seconds S		to measure for, 2 by default
 *	--directory DIR		a tmpfs, or where pools are to be made: /dev/shm
 *	--once			tiny counts, one round: does it work at all
 *	--size BYTES		of an allocation: 4096, 64K, 2M
 *	--live N		allocations that a thread has at a time
 *	--untouched		leave the memory alone
 *
 * A program measures one test against one peer and prints one line of NAME=VALUE
 * words. It exits 77, with a sentence, where the peer is not there.
 */
#ifndef BENCH_H
#define BENCH_H

#include <daxpin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_SKIPPED	77
#define BENCH_SMALL	8	/* of --once, where others have thousands */

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
	uint64_t live;		/* 0: as the test has it */
};

/* Parse the arguments; a mistake ends the program with status 2. */
void bench_parse(struct bench *bench, int argc, char **argv);

/* Set up or measured wrong: the figures would mean nothing. */
void must(int ret, const char *what);
_Noreturn void bench_die(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
_Noreturn void bench_skip(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* A new name in the directory; what is made there is removed at exit. */
const char *bench_path(const struct bench *bench, const char *name);

/*
 * Make a pool with that many bytes of space, in segments of the default size. If it is
 * durable it is so by cache lines, as on a DAX medium, also where this is tmpfs.
 */
struct daxpin_pool *bench_pool(const struct bench *bench, uint64_t bytes);

/*
 * Make malloc() that of the peer, by running the program once more with the library
 * preloaded, and for pmemobj with cache line write-back on tmpfs. A process that uses
 * an allocator has it from the first instruction on. One that is loaded later
 * (dlopen) lies in dynamic TLS, or finds no room there, as jemalloc does, and is
 * reached by a pointer: that would be a measurement of something else.
 *
 * Returns whether the peer is a malloc.
 */
bool bench_become(const struct bench *bench, char **argv);

/* Built with a sanitizer, which suffers neither another malloc() nor valgrind. */
bool bench_is_sanitized(void);

/* A small generator, for thread-local use: never 0. */
static inline uint64_t bench_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* Below `bound`, without a division. */
static inline uint64_t bench_below(uint64_t *state, uint32_t bound)
{
	return (bench_random(state) >> 32) * bound >> 32;
}

#endif
