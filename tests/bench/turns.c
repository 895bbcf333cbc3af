/* SPDX-License-Identifier: BSD-3-Clause */
/* A team of threads, turns, medians and intervals: see turns.h. */
#include "turns.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define TURN_NS		UINT64_C(10000000)	/* one thread */
#define TEAM_TURN_NS	UINT64_C(25000000)	/* they start one by one */
#define ROUNDS_MIN	7

struct member {
	pthread_t thread;
	struct worker worker;
	uint64_t operations, ns;	/* of its last turn */
};

/* Shared by all threads; it changes only between two barriers. */
static struct {
	int members, playing;
	turn_fn *turn;			/* NULL: the thread ends */
	uint64_t turn_ns;
	pthread_barrier_t begin, over;
	struct member member[WORKERS_MAX];
} team;

/* ---------------------------------------------------------------- stopwatch */

static struct rusage turns_usage(void)
{
	struct rusage usage;

	must(getrusage(RUSAGE_THREAD, &usage) ? -errno : 0, "getrusage");
	return usage;
}

/* How often this thread has blocked. */
static long stopwatch_sleeps(void)
{
	return turns_usage().ru_nvcsw;
}

long turns_preemptions(void)
{
	return turns_usage().ru_nivcsw;
}

struct stopwatch stopwatch_start(void)
{
	return (struct stopwatch) {
		.sleeps = stopwatch_sleeps(),
		.processor_ns = turns_clock_ns(CLOCK_THREAD_CPUTIME_ID),
		.clock_ns = turns_clock_ns(CLOCK_MONOTONIC),
	};
}

uint64_t stopwatch_ns(const struct stopwatch *watch)
{
	uint64_t clock_ns = turns_clock_ns(CLOCK_MONOTONIC);
	uint64_t processor_ns = turns_clock_ns(CLOCK_THREAD_CPUTIME_ID);

	if (stopwatch_sleeps() == watch->sleeps)
		return processor_ns - watch->processor_ns;
	return clock_ns - watch->clock_ns;
}

/* --------------------------------------------------------------------- team */

static void team_pin(int index)
{
	cpu_set_t mine, one;
	int at = 0;

	must(-sched_getaffinity(0, sizeof(mine), &mine), "the CPUs");
	index %= CPU_COUNT(&mine);
	while (!CPU_ISSET(at, &mine) || index--)
		at++;
	CPU_ZERO(&one);
	CPU_SET(at, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void team_play(struct member *member)
{
	struct stopwatch watch = stopwatch_start();

	member->worker.end_ns = watch.clock_ns + team.turn_ns;
	member->operations = team.turn(&member->worker);
	member->ns = stopwatch_ns(&watch);
}

static void *team_member(void *arg)
{
	struct member *member = arg;

	team_pin(member->worker.index);
	for (;;) {
		pthread_barrier_wait(&team.begin);
		if (!team.turn)
			return NULL;
		if (member->worker.index < team.playing)
			team_play(member);
		pthread_barrier_wait(&team.over);
	}
}

static void team_run(turn_fn *turn, int playing, uint64_t turn_ns)
{
	team.turn = turn;
	team.playing = playing;
	team.turn_ns = turn_ns;
	pthread_barrier_wait(&team.begin);
	if (turn)
		pthread_barrier_wait(&team.over);
}

void turns_begin(int threads)
{
	if (threads > WORKERS_MAX)
		bench_die("%d threads: %d at most", threads, WORKERS_MAX);
	team.members = threads;
	pthread_barrier_init(&team.begin, NULL, threads + 1);
	pthread_barrier_init(&team.over, NULL, threads + 1);
	for (int i = 0; i < threads; i++) {
		team.member[i].worker.index = i;
		must(-pthread_create(&team.member[i].thread, NULL, team_member,
				     &team.member[i]), "a thread");
	}
}

void turns_end(void)
{
	team_run(NULL, 0, 0);
	for (int i = 0; i < team.members; i++)
		pthread_join(team.member[i].thread, NULL);
	pthread_barrier_destroy(&team.begin);
	pthread_barrier_destroy(&team.over);
}

void turns_each(turn_fn *turn)
{
	team_run(turn, team.members, 0);
}

/* -------------------------------------------------------------------- turns */

/* Returns the ns for one operation of the whole team. */
static double turn_of(struct side side, uint64_t turn_ns)
{
	double rate = 0;

	team_run(side.turn, side.threads, turn_ns);
	for (int i = 0; i < side.threads; i++)
		rate += (double)team.member[i].operations / team.member[i].ns;
	return 1 / rate;
}

/* Two turns of each side, in the order ABBA. If `flip` is set, daxpin is A. */
static void turns_round(struct side peer, struct side daxpin, uint64_t turn_ns,
			bool flip, double *ret_peer, double *ret_daxpin)
{
	struct side outer = flip ? daxpin : peer, inner = flip ? peer : daxpin;
	double first = turn_of(outer, turn_ns);
	double second = turn_of(inner, turn_ns);
	double third = turn_of(inner, turn_ns);
	double fourth = turn_of(outer, turn_ns);

	*(flip ? ret_daxpin : ret_peer) = (first + fourth) / 2;
	*(flip ? ret_peer : ret_daxpin) = (second + third) / 2;
}

/* ------------------------------------------------------------------ figures */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The number of values below the median is binomial, with mean count / 2 and a standard
 * deviation of half of count's root. 1.96 of those are 0.98 of count's root.
 */
struct middle turns_middle(double *values, int count)
{
	int reach = ceil(0.98 * sqrt(count));
	int low = count / 2 - reach, high = count / 2 + reach;

	qsort(values, count, sizeof(values[0]), by_size);
	return (struct middle) {
		.low = values[low < 0 ? 0 : low],
		.median = values[count / 2],
		.high = values[high >= count ? count - 1 : high],
	};
}

void turns_print(const struct bench *bench, const char *unit,
		 struct rounds *rounds)
{
	int count = rounds->count;
	struct middle ratio;

	for (int i = 0; i < count; i++)
		rounds->ratio[i] = rounds->daxpin[i] / rounds->peer[i];
	ratio = turns_middle(rounds->ratio, count);
	printf("%s threads=%d peer=%s unit=%s peer_is=%.1f daxpin_is=%.1f ratio=%.3f low=%.3f high=%.3f rounds=%d\n",
	       bench->test, bench->threads, bench->peer, unit,
	       turns_middle(rounds->peer, count).median,
	       turns_middle(rounds->daxpin, count).median, ratio.median,
	       ratio.low, ratio.high, count);
}

bool turns_go_on(const struct bench *bench, const struct rounds *rounds, int least,
		 uint64_t begin_ns)
{
	if (bench->once)
		return rounds->count < 1;
	return rounds->count < ROUNDS_MAX &&
	       (rounds->count < least ||
		turns_clock_ns(CLOCK_MONOTONIC) - begin_ns <
			bench->seconds * 1e9);
}

void turns_compare(const struct bench *bench, struct side peer,
		   struct side daxpin)
{
	static struct rounds rounds;
	uint64_t turn_ns = bench->once ? 0 :
			   bench->threads > 1 ? TEAM_TURN_NS : TURN_NS;
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);

	/* The first turns run with cold caches and do not count. */
	turns_round(peer, daxpin, turn_ns, false, rounds.peer, rounds.daxpin);
	while (turns_go_on(bench, &rounds, ROUNDS_MIN, begin_ns)) {
		int i = rounds.count++;

		turns_round(peer, daxpin, turn_ns, i % 2, &rounds.peer[i],
			    &rounds.daxpin[i]);
	}
	turns_print(bench, "ns", &rounds);
}
