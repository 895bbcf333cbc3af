/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_copy() and daxpin_foreach_in(). core_medium.c has copies of extents that went
 * bad.
 */
#include "support/fixture.h"
#include "support/invariant.h"

#define BLOCK	DAXPIN_BLOCK_SIZE
#define SEGMENT	DAXPIN_SEGMENT_MIN
#define SEGMENTS 3u

static int set_up(void **state)
{
	return fixture_setup_sized(state, (uint64_t)SEGMENTS * SEGMENT);
}

static char errmsg[512];

static int copy(struct fixture *f, struct daxpin_extent from, struct daxpin_extent *to)
{
	const struct daxpin_copy_options options = {
		.size = sizeof(options),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	strcpy(errmsg, "of an earlier call");
	return daxpin_copy(f->pool, from, &options, to);
}

/* A copy fails, reserves nothing, and says why. */
static void assert_refused(struct fixture *f, struct daxpin_extent from, int error,
			   const char *words)
{
	struct daxpin_extent to = { 1, 2 };
	uint64_t before = free_bytes(f);

	assert_int_equal(copy(f, from, &to), error);
	assert_non_null(strstr(errmsg, words));
	assert_true(to.addr == 1 && to.gen == 2);
	assert_int_equal(free_bytes(f), before);
	dp_invariants(f->pool);
}

static void fill(struct fixture *f, struct daxpin_extent extent, uint64_t seed)
{
	uint64_t size, *word = daxpin_ptr(f->pool, extent, 0);

	assert_int_equal(daxpin_size(f->pool, extent, &size), 0);
	for (uint64_t i = 0; i < size / 8; i++)
		word[i] = (seed + i) * 0x9e3779b97f4a7c15ull;
}

static bool is_filled(struct fixture *f, struct daxpin_extent extent, uint64_t seed)
{
	uint64_t size, *word = daxpin_ptr(f->pool, extent, 0);

	assert_int_equal(daxpin_size(f->pool, extent, &size), 0);
	for (uint64_t i = 0; i < size / 8; i++)
		if (word[i] != (seed + i) * 0x9e3779b97f4a7c15ull)
			return false;
	return true;
}

/* The sizes are on both sides of what is copied at once. */
static void a_copy_has_the_same_bytes_and_survives_the_original(void **state)
{
	static const uint32_t blocks[] = { 1, 2, 16, 17, 63, 64, 65, 129, 2000 };
	struct fixture *f = *state;
	struct daxpin_extent at;

	for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++) {
		struct daxpin_extent from = live(f, blocks[i] * BLOCK), to;
		struct daxpin_op ops[] = {
			{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED },
			{ .type = DAXPIN_OP_RETIRE, .extent = from },
		};
		enum daxpin_state now;
		uint64_t size;

		fill(f, from, i);
		assert_int_equal(copy(f, from, &to), 0);
		assert_string_equal(errmsg, "");
		assert_int_equal(daxpin_state(f->pool, to, &now), 0);
		assert_int_equal(now, DAXPIN_STATE_RESERVED);
		assert_int_equal(daxpin_size(f->pool, to, &size), 0);
		assert_int_equal(size, blocks[i] * BLOCK);
		assert_true(is_filled(f, to, i));
		assert_int_equal(daxpin_idle(f->pool, from), 1);
		ops[0].extent = to;
		assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, NULL), 0);
		assert_int_equal(fixture_reopen(f), 0);
		assert_int_equal(daxpin_extent_at(f->pool, to.addr, &at), 0);
		assert_true(is_filled(f, at, i));
	}
	dp_invariants(f->pool);
}

static void a_reserved_extent_is_copied_too(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent from = reserve(f, 3 * BLOCK), to;

	fill(f, from, 5);
	assert_int_equal(daxpin_copy(f->pool, from, NULL, &to), 0);
	assert_int_equal(daxpin_cancel(f->pool, from), 0);
	assert_true(is_filled(f, to, 5));
	assert_int_equal(daxpin_cancel(f->pool, to), 0);
}

static void what_cannot_be_copied_is_refused_with_the_reason(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent from = live(f, BLOCK), none = { BLOCK / 2, from.gen };
	struct daxpin_copy_options options = { .size = sizeof(options), .flags = 1 };
	struct daxpin_extent to;

	assert_refused(f, none, -EINVAL, "not that of an extent");
	none = (struct daxpin_extent) { (uint64_t)SEGMENTS * SEGMENT, from.gen };
	assert_refused(f, none, -EINVAL, "not that of an extent");
	none = (struct daxpin_extent) { from.addr, from.gen + 1 };
	assert_refused(f, none, -ESTALE, "earlier open");
	assert_int_equal(daxpin_copy(f->pool, from, &options, &to), -EINVAL);
	assert_int_equal(daxpin_copy(f->pool, from, NULL, NULL), -EINVAL);
	assert_int_equal(daxpin_copy(NULL, from, NULL, &to), -EINVAL);
	assert_int_equal(daxpin_hold(f->pool, from,
				     DAXPIN_HOLD_READ | DAXPIN_HOLD_EXCLUSIVE), 0);
	assert_refused(f, from, -EBUSY, "exclusively");
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, from), 0);
	assert_refused(f, from, -EALREADY, "retired");
	assert_int_equal(daxpin_drop(f->pool, from), 0);
	assert_refused(f, from, -ESTALE, "freed");
}

static void without_a_free_run_of_the_size_nothing_is_reserved(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent from = live(f, 2 * BLOCK), extent, last = from;

	while (!daxpin_reserve(f->pool, BLOCK, 0, &extent))
		last = extent;
	assert_int_equal(daxpin_cancel(f->pool, last), 0);
	assert_refused(f, from, -ENOSPC, "8192 bytes");
	assert_int_equal(daxpin_idle(f->pool, from), 1);
}

/* An empty slab is the only free space. */
static void an_empty_slab_makes_room_for_a_copy(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent from = live(f, 2 * BLOCK), extent, to;
	uint64_t object;

	assert_int_equal(daxpin_object_reserve(f->pool, 16, 0, &object), 0);
	while (!daxpin_reserve(f->pool, BLOCK, 0, &extent))
		;
	assert_int_equal(daxpin_object_cancel(f->pool, object), 0);
	fill(f, from, 1);
	assert_int_equal(copy(f, from, &to), 0);
	assert_true(is_filled(f, to, 1));
	assert_int_equal(pool_info(f).slab_bytes, 0);
}

static void a_pool_that_is_only_read_is_not_copied_in(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent from = live(f, BLOCK);

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(daxpin_extent_at(f->pool, from.addr, &from), 0);
	assert_refused(f, from, -EROFS, "open for reading");
}

static void a_closed_gate_refuses_a_copy(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent from = live(f, BLOCK);

	assert_int_equal(daxpin_pool_drain(f->pool, 0), 0);
	assert_refused(f, from, -EAGAIN, "gate");
}

/* ------------------------------------------------------------------ foreach_in */

struct found {
	uint64_t addr[16];
	uint32_t count;
};

static int find(struct daxpin_pool *pool, struct daxpin_extent extent, uint64_t size,
		void *arg)
{
	struct found *found = arg;
	uint64_t known;

	assert_int_equal(daxpin_size(pool, extent, &known), 0);
	assert_int_equal(known, size);
	assert_true(found->count < 16);
	found->addr[found->count++] = extent.addr;
	return 0;
}

static void assert_found(struct fixture *f, uint64_t addr, uint64_t length,
			 const struct daxpin_extent *extents, uint32_t count)
{
	struct found found = { .count = 0 };

	assert_int_equal(daxpin_foreach_in(f->pool, addr, length, find, &found), 0);
	assert_int_equal(found.count, count);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(found.addr[i], extents[i].addr);
}

/* Each segment has one extent that fills it; the last has several. */
static void extents_of_one_segment_are_visited(void **state)
{
	struct fixture *f = *state;
	uint64_t whole = pool_info(f).largest_extent;
	struct daxpin_extent all[SEGMENTS + 2], spare, swap;
	struct daxpin_segment segment;

	for (uint32_t i = 0; i < SEGMENTS; i++)
		all[i] = live(f, whole);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		for (uint32_t j = i + 1; j < SEGMENTS; j++)
			if (all[j].addr < all[i].addr) {
				swap = all[i];
				all[i] = all[j];
				all[j] = swap;
			}
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, all[SEGMENTS - 1]), 0);
	all[SEGMENTS - 1] = live(f, 20 * BLOCK);
	all[SEGMENTS] = live(f, 30 * BLOCK);
	spare = reserve(f, 40 * BLOCK);		/* is not reported */
	all[SEGMENTS + 1] = live(f, 50 * BLOCK);
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		assert_int_equal(daxpin_segment(f->pool, i, &segment), 0);
		assert_found(f, segment.addr, segment.size, all + i,
			     i < SEGMENTS - 1 ? 1 : 3);
		assert_found(f, segment.addr, 0, all + i, SEGMENTS + 2 - i);
	}
	assert_found(f, 0, 0, all, SEGMENTS + 2);
	/* Only extents that begin in the range, which need not be of whole blocks. */
	assert_found(f, all[3].addr, BLOCK, all + 3, 1);
	assert_found(f, all[3].addr, 1, all + 3, 1);
	assert_found(f, all[3].addr + 1, 30 * BLOCK - 1, all + 3, 0);
	assert_found(f, all[3].addr - 1, 2, all + 3, 1);
	assert_found(f, all[3].addr + BLOCK, 0, all + 4, 1);
	assert_int_equal(daxpin_cancel(f->pool, spare), 0);
}

static int stop(struct daxpin_pool *pool, struct daxpin_extent extent, uint64_t size,
		void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	return *(int *)arg;
}

static void a_range_outside_the_pool_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t end = (uint64_t)SEGMENTS * SEGMENT;
	int result = -7;

	live(f, BLOCK);
	assert_int_equal(daxpin_foreach_in(f->pool, 0, end, stop, &result), -7);
	result = 3;
	assert_int_equal(daxpin_foreach_in(f->pool, 0, 0, stop, &result), 3);
	assert_int_equal(daxpin_foreach_in(f->pool, 0, end + 1, stop, &result),
			 -EINVAL);
	assert_int_equal(daxpin_foreach_in(f->pool, end, 0, stop, &result), -EINVAL);
	assert_int_equal(daxpin_foreach_in(f->pool, BLOCK, UINT64_MAX, stop, &result),
			 -EINVAL);
	assert_int_equal(daxpin_foreach_in(f->pool, UINT64_MAX, 1, stop, &result),
			 -EINVAL);
	assert_int_equal(daxpin_foreach_in(f->pool, 0, 0, NULL, NULL), -EINVAL);
	assert_int_equal(daxpin_foreach_in(NULL, 0, 0, stop, &result), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_copy_has_the_same_bytes_and_survives_the_original),
		TEST(a_reserved_extent_is_copied_too),
		TEST(what_cannot_be_copied_is_refused_with_the_reason),
		TEST(without_a_free_run_of_the_size_nothing_is_reserved),
		TEST(an_empty_slab_makes_room_for_a_copy),
		TEST(a_pool_that_is_only_read_is_not_copied_in),
		TEST(a_closed_gate_refuses_a_copy),
		TEST(extents_of_one_segment_are_visited),
		TEST(a_range_outside_the_pool_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
