/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The costs of very many grants, with a fake device that does nothing: an iteration of
 * an event loop in which no grant is due (daxpin_rdma_info() and
 * daxpin_rdma_service()), the end of one that is due, a peer's answer, and
 * daxpin_holds() of the pool. There are 10^2 to 10^5 grants whose revoke was started,
 * each with an extent and a deadline of its own.
 *
 * bench_grants [GRANTS]
 *
 * daxpin_holds() should be linear or better: the last column is its cost for each
 * grant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "verbs_fake.h"
#include "remove_tree.h"

#define MOST		100000u
#define TURNS		200
#define HOLDS_TURNS	20
#define FAR_MS		100000000

static struct daxpin_pool *pool;
static struct daxpin_rdma *rdma;
static char path[] = "/dev/shm/daxpin-bench-XXXXXX";

static void must(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-ret));
	exit(1);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static struct daxpin_grant *grant_one(void)
{
	const struct daxpin_grant_options options = {
		.size = sizeof(options), .access = IBV_ACCESS_REMOTE_WRITE,
		.label = "a peer",
	};
	struct daxpin_extent extent;
	struct daxpin_grant *grant;

	must(daxpin_reserve(pool, 4096, 0, &extent), "reserve");
	must(daxpin_rdma_grant(rdma, extent, &options, &grant), "grant");
	return grant;
}

/* The calls of an event loop that was woken by something else. */
static double measure_turn(void)
{
	struct daxpin_rdma_info info = { .size = sizeof(info) };
	double begin = now_us();

	for (int i = 0; i < TURNS; i++) {
		must(daxpin_rdma_info(rdma, &info), "info");
		must(daxpin_rdma_service(rdma), "service");
	}
	return (now_us() - begin) / TURNS;
}

/* The same, but one more grant is due in each iteration. */
static double measure_due(void)
{
	double begin, sum = 0;

	for (int i = 0; i < TURNS; i++) {
		must(daxpin_rdma_revoke_start(grant_one(), 0), "start");
		begin = now_us();
		must(daxpin_rdma_service(rdma), "service");
		sum += now_us() - begin;
	}
	return sum / TURNS;
}

static void count_holder(const struct daxpin_holder *holder, void *arg)
{
	*(uint32_t *)arg += holder->label != NULL && holder->extent.gen;
}

/*
 * Takes the minimum, because other work on the machine evicts the processor's caches.
 */
static double measure_holds(uint32_t count)
{
	const struct daxpin_extent all = { 0, 0 };
	double begin, took, least = 1e18;

	for (int i = 0; i < HOLDS_TURNS; i++) {
		uint32_t seen = 0;
		int holds;

		begin = now_us();
		holds = daxpin_holds(pool, all, count_holder, &seen);
		must(holds == (int)count && seen == count ? 0 : -EIO, "holds");
		took = now_us() - begin;
		least = took < least ? took : least;
	}
	return least;
}

static double measure_answers(struct daxpin_grant **grants, uint32_t count)
{
	double begin = now_us();
	struct daxpin_grant_key key;

	for (uint32_t i = 0; i < count; i++) {
		daxpin_grant_key(grants[i], &key);
		must(daxpin_rdma_returned(rdma, &key), "returned");
	}
	must(daxpin_rdma_service(rdma), "service");
	return (now_us() - begin) / count;
}

static void measure(uint32_t count)
{
	static struct daxpin_grant *grants[MOST];
	double turn, due, holds, answer;

	for (uint32_t i = 0; i < count; i++) {
		grants[i] = grant_one();
		must(daxpin_rdma_revoke_start(grants[i],
			daxpin_deadline_ms(FAR_MS + i * 7919u % count)),
		     "start");
	}
	turn = measure_turn();
	due = measure_due();
	holds = measure_holds(count);
	answer = measure_answers(grants, count);
	printf("%8u %12.2f %12.2f %12.2f %12.1f %12.3f\n", count, turn, due,
	       answer, holds, holds / count);
}

static void remove_pool(void)
{
	remove_tree(path);
}

/* Neither the pool nor the fake device is freed before the process ends. */
int main(int argc, char **argv)
{
	uint32_t most = argc > 1 ? (uint32_t)atoi(argv[1]) : MOST;
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = UINT64_C(512) << 20,
	};

	fake_reset();
	if (most > MOST || !mkdtemp(path))
		must(-EINVAL, "at most 100000 grants");
	atexit(remove_pool);
	must(daxpin_pool_create(path, &options, &pool), "create");
	must(daxpin_rdma_attach(pool, &fake_pd, NULL, &rdma), "attach");
	printf("%8s %12s %12s %12s %12s %12s\n", "grants", "idle turn",
	       "one due", "an answer", "holds", "a hold");
	for (uint32_t count = 100; count <= most; count *= 10)
		measure(count);
	return 0;
}
