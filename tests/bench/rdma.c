/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cost of grants and local keys compared with the bare verbs on the same range, in
 * the same round.
 *
 * bench_rdma [ROUNDS]
 *
 * It runs in the lab, on DAXPIN_TEST_DAX or else on shmem, with the device
 * DAXPIN_TEST_RDMA. A round measures each case a few times, alternating with its peer.
 * Printed are the medians of the times and of the rounds' ratios.
 */
#include <daxpin-rdma.h>

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "rdma_wire.h"
#include "remove_tree.h"

#define ROUNDS		15
#define ROUNDS_MAX	201
#define MANY		64
#define MANY_BYTES	(UINT64_C(64) << 10)
#define LOOKUPS		200000
#define ACCESS		(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)

static const struct {
	const char *name;
	uint64_t bytes;
	int times;
} sizes[] = {
	{ "4 KiB", UINT64_C(4) << 10, 32 },
	{ "64 KiB", UINT64_C(64) << 10, 32 },
	{ "2 MiB", UINT64_C(2) << 20, 8 },
	{ "32 MiB", UINT64_C(32) << 20, 2 },
};

#define SIZES	(sizeof(sizes) / sizeof(sizes[0]))

static struct daxpin_pool *pool;
static struct daxpin_rdma *rdma;
static struct nic nic;
static char path[64] = "/dev/shm/daxpin-bench-XXXXXX";

/* If something fails, the figures would be wrong: exit. */
static void must(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(ret < 0 ? -ret : ret));
	exit(1);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof(*values), by_size);
	return values[count / 2];
}

/* ---------------------------------------------------------- the operations */

static double bare(void *base, uint64_t bytes)
{
	double start = now_us();
	struct ibv_mr *mr = ibv_reg_mr(nic.pd, base, bytes,
				       ACCESS | IBV_ACCESS_LOCAL_WRITE);

	must(!mr, "ibv_reg_mr");
	must(ibv_dereg_mr(mr), "ibv_dereg_mr");
	return now_us() - start;
}

static struct daxpin_grant *grant_of(struct daxpin_extent extent)
{
	const struct daxpin_grant_options options = {
		.size = sizeof(options), .access = ACCESS,
		.flags = DAXPIN_GRANT_EXPOSE, .label = "bench",
	};
	struct daxpin_grant *grant;

	must(daxpin_rdma_grant(rdma, extent, &options, &grant), "grant");
	return grant;
}

static double ours(struct daxpin_extent extent)
{
	double start = now_us();

	must(daxpin_rdma_revoke(grant_of(extent)), "revoke");
	return now_us() - start;
}

/*
 * Both sides alternate, and each begins every second time, because what one leaves in
 * the kernel (above all memory to be freed) slows the next one.
 */
static void take_turns(struct daxpin_extent extent, uint64_t bytes, int times,
		       double *raw, double *own)
{
	void *base = daxpin_ptr(pool, extent, 0);

	*raw = *own = 0;
	for (int i = 0; i < times; i++) {
		if (i % 2)
			*raw += bare(base, bytes) / times;
		*own += ours(extent) / times;
		if (i % 2 == 0)
			*raw += bare(base, bytes) / times;
	}
}

static void compare(int rounds)
{
	double raw[ROUNDS_MAX], own[ROUNDS_MAX], ratio[ROUNDS_MAX];

	printf("register and deregister, us      bare    grant    ratio\n");
	for (size_t s = 0; s < SIZES; s++) {
		struct daxpin_extent extent;

		must(daxpin_reserve(pool, sizes[s].bytes, 0, &extent),
		     "reserve");
		memset(daxpin_ptr(pool, extent, 0), 0, sizes[s].bytes);
		for (int r = 0; r < rounds; r++) {
			take_turns(extent, sizes[s].bytes, sizes[s].times,
				   &raw[r], &own[r]);
			ratio[r] = own[r] / raw[r];
		}
		printf("%-26s %10.1f %8.1f %8.2f\n", sizes[s].name,
		       median(raw, rounds), median(own, rounds),
		       median(ratio, rounds));
		must(daxpin_cancel(pool, extent), "cancel");
	}
}

/* -------------------------------------------------------------- many at once */

struct share {
	struct daxpin_extent *extents;
	struct daxpin_grant **grants;
	int count;
};

static void *grant_share(void *arg)
{
	struct share *share = arg;

	for (int i = 0; i < share->count; i++)
		share->grants[i] = grant_of(share->extents[i]);
	return NULL;
}

static void *revoke_share(void *arg)
{
	struct share *share = arg;

	for (int i = 0; i < share->count; i++)
		must(daxpin_rdma_revoke(share->grants[i]), "revoke");
	return NULL;
}

/* Distributes the work over the threads and returns us for each grant. */
static double spread(void *(*fn)(void *), struct share all, int threads)
{
	struct share shares[2];
	pthread_t thread[2];
	double start = now_us();

	for (int i = 0; i < threads; i++) {
		shares[i] = (struct share) {
			all.extents + i * all.count / threads,
			all.grants + i * all.count / threads,
			all.count / threads,
		};
		must(pthread_create(&thread[i], NULL, fn, &shares[i]),
		     "pthread_create");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	return (now_us() - start) / all.count;
}

/* The most that a batch of grants could save: one region over all of them. */
static void batch(int rounds)
{
	struct daxpin_extent extents[MANY];
	struct daxpin_grant *grants[MANY];
	struct share all = { extents, grants, MANY };
	double g1[ROUNDS_MAX], r1[ROUNDS_MAX], g2[ROUNDS_MAX], r2[ROUNDS_MAX];
	double one[ROUNDS_MAX];

	for (int i = 0; i < MANY; i++)
		must(daxpin_reserve(pool, MANY_BYTES, 0, &extents[i]),
		     "reserve");
	assert(extents[MANY - 1].addr ==
	       extents[0].addr + (MANY - 1) * MANY_BYTES);
	for (int r = 0; r < rounds; r++) {
		one[r] = bare(daxpin_ptr(pool, extents[0], 0),
			      MANY * MANY_BYTES) / MANY;
		g1[r] = spread(grant_share, all, 1);
		r1[r] = spread(revoke_share, all, 1);
		g2[r] = spread(grant_share, all, 2);
		r2[r] = spread(revoke_share, all, 2);
	}
	printf("\n%d of 64 KiB, us for each       grant   revoke\n", MANY);
	printf("%-26s %10.1f %8.1f\n", "one thread", median(g1, rounds),
	       median(r1, rounds));
	printf("%-26s %10.1f %8.1f\n", "two threads", median(g2, rounds),
	       median(r2, rounds));
	printf("%-26s %10.1f  both\n", "one bare region over all",
	       median(one, rounds));
	for (int i = 0; i < MANY; i++)
		must(daxpin_cancel(pool, extents[i]), "cancel");
}

/* ------------------------------------------------------------------- lookups */

static void look_up(int rounds)
{
	double key_ns[ROUNDS_MAX], sge_ns[ROUNDS_MAX], start;
	struct daxpin_extent extent;
	struct ibv_sge sge;
	uint32_t key;

	must(daxpin_reserve(pool, 1 << 20, 0, &extent), "reserve");
	must(daxpin_hold(pool, extent, DAXPIN_HOLD_READ), "hold");
	must(daxpin_rdma_lkey(rdma, extent.addr, &key), "lkey");
	for (int r = 0; r < rounds; r++) {
		start = now_us();
		for (int i = 0; i < LOOKUPS; i++)
			must(daxpin_rdma_lkey(rdma, extent.addr, &key), "lkey");
		key_ns[r] = (now_us() - start) * 1e3 / LOOKUPS;
		start = now_us();
		for (int i = 0; i < LOOKUPS; i++)
			must(daxpin_rdma_sge(rdma, extent, (uint64_t)i, 4096,
					     &sge), "sge");
		sge_ns[r] = (now_us() - start) * 1e3 / LOOKUPS;
	}
	printf("\nlocal key %.1f ns, with the range checked %.1f ns\n",
	       median(key_ns, rounds), median(sge_ns, rounds));
	must(daxpin_drop(pool, extent), "drop");
	must(daxpin_cancel(pool, extent), "cancel");
}

static void make_pool(const char *device)
{
	const struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_OVERWRITE,
		.pool_size = device ? 0 : UINT64_C(128) << 20,
		.segment_size = UINT64_C(64) << 20,
		.deadline_ns = daxpin_deadline_ms(5000),
	};

	if (device)
		snprintf(path, sizeof(path), "%s", device);
	else
		must(!mkdtemp(path), "mkdtemp");
	must(daxpin_pool_create(path, &options, &pool), path);
}

int main(int argc, char **argv)
{
	const char *name = getenv("DAXPIN_TEST_RDMA");
	const char *device = getenv("DAXPIN_TEST_DAX");
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;

	if (!name) {
		printf("# skipped: DAXPIN_TEST_RDMA names no RDMA device: run it in the lab (./dev lab)\n");
		return 77;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX)
		rounds = ROUNDS;
	make_pool(device);
	must(nic_open(&nic, name), name);
	must(daxpin_rdma_attach(pool, nic.pd, NULL, &rdma), "attach");
	compare(rounds);
	batch(rounds);
	look_up(rounds);
	must(daxpin_rdma_detach(rdma), "detach");
	must(nic_close(&nic), "nic_close");
	must(daxpin_pool_close(pool), "close");
	if (!device)
		remove_tree(path);
	return 0;
}
