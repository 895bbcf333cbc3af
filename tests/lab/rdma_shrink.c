/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_shrink [shmem|devdax]: a pool that is attached to a protection domain of a real
 * verbs device loses a segment, while a peer has a grant in it.
 */
#include "rdma_fixture.h"

#define WHOLE_MAX	1024u		/* segments of a device */

/* An extent of the last segment, which is the only one with free space meanwhile. */
static struct daxpin_extent reserve_in_last(struct fixture *f, uint64_t last)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent whole[WHOLE_MAX], extent;
	uint32_t count = 0;

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	while (!daxpin_reserve(f->pool, info.largest_extent, 0, &whole[count]))
		assert_true(++count < WHOLE_MAX);
	for (uint32_t i = 0; i < count; i++)
		if (whole[i].addr >= last)
			assert_int_equal(daxpin_cancel(f->pool, whole[i]), 0);
	extent = reserve(f);
	assert_true(extent.addr >= last);
	for (uint32_t i = 0; i < count; i++)
		if (whole[i].addr < last)
			assert_int_equal(daxpin_cancel(f->pool, whole[i]), 0);
	return extent;
}

static struct {
	struct fixture *f;
	struct daxpin_extent extent;
	unsigned int calls;
} shrinking;

/* The peer writes while the shrink waits; then its grant is returned. */
static int end_the_grant(struct daxpin_pool *pool,
			 const struct daxpin_shrink_wait *wait, void *arg)
{
	struct fixture *f = shrinking.f;
	struct daxpin_grant_key key;

	(void)arg;
	if (shrinking.calls++)
		return 0;
	assert_int_equal(wait->reason, DAXPIN_SHRINK_RESERVED);
	assert_int_equal(wait->extent.addr, shrinking.extent.addr);
	assert_non_null(wait->holder);
	assert_string_equal(wait->holder->label, "test peer");
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	assert_int_equal(pattern_wrong(bytes(f, shrinking.extent), EXTENT_BYTES,
				       PEER_PATTERN), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_cancel(pool, shrinking.extent), 0);
	return 0;
}

/* Grants an extent of the last segment, and removes the segment. */
static struct daxpin_grant_key shrink_under_a_grant(struct fixture *f, uint64_t last)
{
	struct daxpin_shrink_options options = {
		.size = sizeof(options), .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_grant_key key;

	shrinking.f = f;
	shrinking.calls = 0;
	shrinking.extent = reserve_in_last(f, last);
	assert_int_equal(grant(f, 0, shrinking.extent, WRITE, 0), 0);
	key = key_of(f, 0);
	assert_int_equal(daxpin_pool_shrink(f->pool, last, &options), -EBUSY);
	print_message("# \"%s\"\n", f->errmsg);
	assert_non_null(strstr(f->errmsg, "held by test peer"));
	options.deadline_ns = DAXPIN_NO_DEADLINE;
	options.progress = end_the_grant;
	assert_int_equal(daxpin_pool_shrink(f->pool, last, &options), 0);
	assert_true(shrinking.calls);
	return key;
}

static void a_shrink_waits_for_a_grant(void **state)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct fixture *f = *state;
	struct daxpin_grant_key key;
	uint32_t segments;

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	segments = info.segments;
	key = shrink_under_a_grant(f, (segments - 1) * info.segment_size);
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(info.segments, segments - 1);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), IBV_WC_REM_ACCESS_ERR);
	/* The domain goes on with the rest. */
	shrinking.extent = reserve(f);
	allow_write(f, 0, shrinking.extent);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_cancel(f->pool, shrinking.extent), 0);
}

int main(int argc, char **argv)
{
	static struct place place = { .name = "shmem" };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate_setup_teardown(a_shrink_waits_for_a_grant,
							 setup, teardown, &place),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1 && !strcmp(argv[1], "devdax"))
		place.device = getenv("DAXPIN_TEST_DAX");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
