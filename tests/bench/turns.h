/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Turns: a peer and daxpin, measured in short turns by the same threads.
 *
 * On a machine with other work no time means anything by itself. So both sides run
 * in one process and by turns, as short as can be, ABBA and then BAAB: what else goes
 * on, and how the clock of the CPU drifts, meets both. A round gives one ratio, and
 * what is printed is the median of the rounds' ratios, with the interval that the
 * median is in with 95 % by their order alone.
 *
 * A stopwatch counts the thread's own processor time, so that what it lost to other
 * processes is not counted. If the thread went to sleep meanwhile, for a lock that
 * another has, it counts the clock's time instead: waiting is a cost of the side that
 * makes it wait.
 */
#ifndef BENCH_TURNS_H
#define BENCH_TURNS_H

#include "bench.h"

#include <time.h>

#define WORKERS_MAX	64
#define LINE		64	/* bytes of a cache line */

/* A thread of the team. */
struct worker {
	int index;
	uint64_t end_ns;	/* of this turn, CLOCK_MONOTONIC */
};

/* Runs operations until turn_is_over(), at least one, and returns how many. */
typedef uint64_t turn_fn(struct worker *worker);

/* What is compared: operations, and how many threads make them. */
struct side {
	turn_fn *turn;
	int threads;
};

/* See above. Started and read by one thread. */
struct stopwatch {
	long sleeps;
	uint64_t clock_ns, processor_ns;
};

struct stopwatch stopwatch_start(void);
uint64_t stopwatch_ns(const struct stopwatch *watch);

static inline uint64_t turns_clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static inline bool turn_is_over(const struct worker *worker)
{
	return turns_clock_ns(CLOCK_MONOTONIC) >= worker->end_ns;
}

/* How often another process had this thread's CPU instead. */
long turns_preemptions(void);

/* In a loop that waits for another thread. */
static inline void turns_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" : : : "memory");
#endif
}

/* Start so many threads, each on a CPU of its own as far as there are any. */
void turns_begin(int threads);
void turns_end(void);

/* Each thread makes one call, without a time. */
void turns_each(turn_fn *turn);

/* Compare, and print the line. A side has at most the team's number of threads. */
void turns_compare(const struct bench *bench, struct side peer,
		   struct side daxpin);

/* ----------------------------------- for what takes too long to be a turn */

#define ROUNDS_MAX	1000

/* The costs of both sides in each round; the ratios are what is printed. */
struct rounds {
	double peer[ROUNDS_MAX], daxpin[ROUNDS_MAX], ratio[ROUNDS_MAX];
	int count;
};

/* Whether one more round is to be made: at least so many, one with --once. */
bool turns_go_on(const struct bench *bench, const struct rounds *rounds, int least,
		 uint64_t begin_ns);
void turns_print(const struct bench *bench, const char *unit,
		 struct rounds *rounds);

/* The median of `count` values, which are sorted, and where it is with 95 %. */
struct middle {
	double low, median, high;
};

struct middle turns_middle(double *values, int count);

#endif
