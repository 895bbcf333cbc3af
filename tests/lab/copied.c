/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * copied create|verify|reclaim DIRECTORY: a closed pool for tests/lab/copies.
 *
 * create makes a pool of three files with extents in all of them; what is in an
 * extent follows from its address: zeroes, a pattern, or one and then the other.
 * verify opens it and compares every byte. reclaim retires half of them, GROUP in a
 * row, and gives the free space back to the filesystem, so that the files have holes.
 * The extents' addresses are in an extent of their own, named by a root.
 */
#include <daxpin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB		(UINT64_C(1) << 20)
#define EXTENTS		70u
#define STEP		(MIB + 4096)
#define PIECE		512u		/* bytes with one value */
#define GROUP		5u		/* so many extents contain a whole chunk */
#define POOL_SIZE	(96 * MIB)
#define SEGMENT_SIZE	(32 * MIB)

struct index {
	uint64_t addr[EXTENTS];		/* 0: retired */
};

static char errmsg[512];

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	printf("%s: %s: %s\n", what, strerror(-ret), errmsg);
	exit(1);
}

static struct daxpin_pool_options options = {
	.size = sizeof(options),
	.pool_size = POOL_SIZE,
	.segment_size = SEGMENT_SIZE,
	.errmsg = errmsg,
	.errmsg_size = sizeof(errmsg),
};

static unsigned char value_at(uint64_t addr, uint64_t offset)
{
	uint64_t kind = addr / 4096 % 3;

	if (kind == 0 || (kind == 1 && offset < STEP / 2))
		return 0;
	return (unsigned char)(addr / 4096 * 31 + offset / PIECE * 7 + 1);
}

static void fill(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	unsigned char *byte = daxpin_ptr(pool, extent, 0);

	for (uint64_t i = 0; i < STEP; i += PIECE)
		memset(byte + i, value_at(extent.addr, i), PIECE);
}

static void create(const char *path)
{
	struct daxpin_op ops[EXTENTS + 2] = { 0 };
	struct daxpin_extent extent;
	struct daxpin_pool *pool;
	struct index *index;

	check(daxpin_pool_create(path, &options, &pool), "create");
	check(daxpin_reserve(pool, sizeof(*index), 0, &extent), "reserve");
	index = daxpin_ptr(pool, extent, 0);
	ops[EXTENTS].extent = extent;
	ops[EXTENTS + 1] = (struct daxpin_op) {
		.type = DAXPIN_OP_ROOT, .extent = extent, .name = "index",
	};
	for (uint32_t i = 0; i < EXTENTS; i++) {
		check(daxpin_reserve(pool, STEP, 0, &extent), "reserve");
		fill(pool, extent);
		index->addr[i] = extent.addr;
		ops[i].extent = extent;
	}
	for (uint32_t i = 0; i <= EXTENTS; i++)
		ops[i].type = DAXPIN_OP_KEEP;
	check(daxpin_publish(pool, ops, EXTENTS + 2, NULL, NULL), "publish");
	check(daxpin_pool_close(pool), "close");
}

static struct daxpin_pool *open_pool(const char *path,
				     struct daxpin_extent *ret_extent,
				     struct index **ret_index)
{
	struct daxpin_pool *pool;

	check(daxpin_pool_open(path, &options, &pool), "open");
	check(daxpin_root(pool, "index", ret_extent), "index");
	*ret_index = daxpin_ptr(pool, *ret_extent, 0);
	return pool;
}

static int count_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	++*(uint32_t *)arg;
	return 0;
}

static void verify_extent(struct daxpin_pool *pool, uint64_t addr)
{
	struct daxpin_extent extent;
	const unsigned char *byte;

	check(daxpin_extent_at(pool, addr, &extent), "an extent");
	byte = daxpin_ptr(pool, extent, 0);
	for (uint64_t i = 0; i < STEP; i += PIECE)
		if (byte[i] != value_at(addr, i) ||
		    memcmp(byte + i, byte + i + 1, PIECE - 1)) {
			printf("bytes at %llu of the extent at %llu are wrong\n",
			       (unsigned long long)i, (unsigned long long)addr);
			exit(1);
		}
}

static void verify(const char *path)
{
	uint32_t found = 0, wanted = 1;
	struct daxpin_extent extent;
	struct daxpin_pool *pool;
	struct index *index;

	pool = open_pool(path, &extent, &index);
	for (uint32_t i = 0; i < EXTENTS; i++)
		if (index->addr[i]) {
			verify_extent(pool, index->addr[i]);
			wanted++;
		}
	check(daxpin_foreach(pool, count_extent, &found), "foreach");
	if (found != wanted) {
		printf("%u extents, not %u\n", found, wanted);
		exit(1);
	}
	check(daxpin_pool_close(pool), "close");
}

static void give_back(struct daxpin_pool *pool)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job_options job_options = {
		.size = sizeof(job_options),
		.deadline_ns = daxpin_deadline_ms(600000),
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_job *job;

	check(daxpin_reclaim(pool, &job_options, &job), "reclaim");
	check(daxpin_job_wait(job, UINT64_MAX), "wait");
	check(daxpin_job_report(job, NULL, NULL, &summary), "report");
	check(daxpin_job_end(job), "end");
	if (!summary.done_bytes) {
		printf("nothing was reclaimed\n");
		exit(1);
	}
}

static void reclaim(const char *path)
{
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_RETIRE },
		{ .type = DAXPIN_OP_SET },
	};
	struct daxpin_pool *pool;
	struct index *index;

	pool = open_pool(path, &ops[1].extent, &index);
	for (uint32_t i = 0; i < EXTENTS; i++) {
		if (i / GROUP % 2)
			continue;
		check(daxpin_extent_at(pool, index->addr[i], &ops[0].extent),
		      "an extent");
		ops[1].offset = i * sizeof(index->addr[0]);
		check(daxpin_publish(pool, ops, 2, NULL, NULL), "publish");
	}
	give_back(pool);
	check(daxpin_pool_close(pool), "close");
}

int main(int argc, char **argv)
{
	const char *what = argc == 3 ? argv[1] : "";

	if (!strcmp(what, "create"))
		create(argv[2]);
	else if (!strcmp(what, "verify"))
		verify(argv[2]);
	else if (!strcmp(what, "reclaim"))
		reclaim(argv[2]);
	else
		return fprintf(stderr, "copied create|verify|reclaim DIRECTORY\n"), 2;
	return 0;
}
