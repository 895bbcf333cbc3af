/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim on the device-dax node that DAXPIN_TEST_DAX names. It has no holes, but free
 * chunks can be zeroed, and nothing else is.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <daxpin.h>

#define CHUNK	((uint64_t)DAXPIN_CHUNK_SIZE)
#define OLD	0x77

static struct daxpin_pool *pool;
static char errmsg[1024];

static struct daxpin_extent reserve_old(uint64_t size)
{
	struct daxpin_extent extent;

	assert_int_equal(daxpin_reserve(pool, size, 0, &extent), 0);
	memset(daxpin_ptr(pool, extent, 0), OLD, size);
	return extent;
}

static bool is_all(const void *at, unsigned char byte, uint64_t size)
{
	const unsigned char *p = at;

	return p[0] == byte && !memcmp(p, p + 1, size - 1);
}

static struct daxpin_job_summary run(uint32_t flags, uint64_t bytes)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .flags = flags, .bytes = bytes,
		.segment = DAXPIN_ALL_SEGMENTS, .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_event event;
	struct daxpin_job *job;
	int ret = daxpin_reclaim(pool, &options, &job);

	if (ret)
		fail_msg("reclaim: %d, %s", ret, errmsg);
	/* The job has ended when the call returns, and its event comes as usual. */
	assert_int_equal(daxpin_next_event(pool, &event), 1);
	assert_int_equal(event.type, DAXPIN_EVENT_JOB);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	return summary;
}

static void reclaim_without_zeroing_has_nothing_to_do(void **state)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_job *job;

	(void)state;
	assert_int_equal(daxpin_reclaim(pool, &options, &job), -EOPNOTSUPP);
	assert_non_null(strstr(errmsg, "DAXPIN_JOB_ZERO"));
	assert_int_equal(daxpin_refill(pool, &options, &job), -EOPNOTSUPP);
}

/* Live blocks, and free ones that share their chunk, keep their bytes. */
static void free_chunks_are_zeroed(void **state)
{
	struct daxpin_extent live = reserve_old(CHUNK + 4096);
	struct daxpin_extent gone = reserve_old(9 * CHUNK);
	const struct daxpin_op keep = {
		.type = DAXPIN_OP_KEEP,
		.extent = live,
	};
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_job_summary summary;
	char *at = daxpin_ptr(pool, gone, 0);
	uint64_t free_bytes;

	(void)state;
	assert_int_equal(daxpin_publish(pool, &keep, 1, NULL, NULL), 0);
	/* A retired extent that is held is not free, whatever is on media. */
	assert_int_equal(daxpin_hold(pool, gone, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_cancel(pool, gone), 0);
	run(DAXPIN_JOB_ZERO, 0);
	assert_true(is_all(at, OLD, 9 * CHUNK));
	assert_int_equal(daxpin_drop(pool, gone), 0);
	assert_int_equal(daxpin_pool_info(pool, &info), 0);
	free_bytes = info.free_bytes;
	summary = run(DAXPIN_JOB_ZERO, 0);
	assert_int_equal(summary.result, 0);
	assert_true(summary.done_bytes >= 8 * CHUNK);
	assert_int_equal(daxpin_pool_info(pool, &info), 0);
	assert_int_equal(info.free_bytes, free_bytes);
	assert_int_equal(info.hole_bytes, 0);
	assert_true(is_all(daxpin_ptr(pool, live, 0), OLD, CHUNK + 4096));
	/* It began in a chunk that shares a block with `live`. */
	assert_true(gone.addr % CHUNK);
	assert_true(is_all(at, OLD, CHUNK - gone.addr % CHUNK));
	at += CHUNK - gone.addr % CHUNK;
	assert_true(is_all(at, 0, 8 * CHUNK));
	assert_int_equal(daxpin_reserve(pool, 8 * CHUNK, 0, &gone), 0);
	assert_int_equal(daxpin_cancel(pool, gone), 0);
}

static int setup(void **state)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_OVERWRITE,
		.segment_size = 64 << 20, .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};

	(void)state;
	if (!daxpin_pool_create(getenv("DAXPIN_TEST_DAX"), &options, &pool))
		return 0;
	fprintf(stderr, "%s\n", errmsg);
	return -1;
}

static int teardown(void **state)
{
	(void)state;
	return daxpin_pool_close(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			reclaim_without_zeroing_has_nothing_to_do, setup,
			teardown),
		cmocka_unit_test_setup_teardown(free_chunks_are_zeroed, setup,
						teardown),
	};

	if (!getenv("DAXPIN_TEST_DAX")) {
		puts("# DAXPIN_TEST_DAX names no device-dax node");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
