/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Turns: the same threads measure a peer and daxpin alternately, for a short time each.
 *
 * On a machine with other work no time means anything by itself. So both sides run in
 * one process and in alternate turns, as short as possible, in the orders ABBA and
 * BAAB: other work, and drift of the CPU's clock, then affect both sides alike. A round
 * gives one ratio. The median of the rounds' ratios is printed, with its 95 %
 * confidence interval, which depends only on the order of the ratios.
 *
 * A stopwatch measures the thread's processor time, which does not include time that it
 * lost to other processes. If the thread blocked, because another held a lock, the
 * stopwatch uses elapsed time instead: such a wait is a cost of the side that causes
 * it.
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

/* Runs operations until turn_is_over(), but at least one, and returns how many. */
typedef uint64_t turn_fn(struct worker *worker);

/* One side of a comparison: its operations, and how many threads execute them. */
struct side {
	turn_fn *turn;
	int threads;
};

/* See above. One thread starts and reads it. */
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

/* Returns how often the kernel preempted this thread. */
long turns_preemptions(void);

/* For a loop that waits for another thread. */
static inline void turns_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" : : : "memory");
#endif
}

/* Starts that many threads, each on its own CPU if there are enough. */
void turns_begin(int threads);
void turns_end(void);

/* Runs `turn` once in each thread, without measuring. */
void turns_each(turn_fn *turn);

/*
 * Compares both sides and prints the line. A side has at most the team's number of
 * threads.
 */
void turns_compare(const struct bench *bench, struct side peer,
		   struct side daxpin);

/* ----------------------------------- for what takes too long to be a turn */

#define ROUNDS_MAX	1000

/* The costs of both sides in each round. Their ratios are printed. */
struct rounds {
	double peer[ROUNDS_MAX], daxpin[ROUNDS_MAX], ratio[ROUNDS_MAX];
	int count;
};

/* Whether another round is to be run: at least `least` are, one with --once. */
bool turns_go_on(const struct bench *bench, const struct rounds *rounds, int least,
		 uint64_t begin_ns);
void turns_print(const struct bench *bench, const char *unit,
		 struct rounds *rounds);

/* Sorts the values and returns their median and its 95 % interval. */
struct middle {
	double low, median, high;
};

struct middle turns_middle(double *values, int count);

#endif
