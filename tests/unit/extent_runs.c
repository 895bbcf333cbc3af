/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of free runs by length, compared with a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "support/invariant.h"

#define BLOCKS	1024u
#define STEPS	40000u

struct pair {
	struct dp_bits bits;
	struct dp_runs runs;
	/* The array, and the length of each run that was taken. */
	bool free[BLOCKS];
	uint16_t taken[BLOCKS];
};

static uint64_t seed;

static uint32_t below(uint32_t limit)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % limit;
}

static void begin(struct pair *p, uint32_t blocks)
{
	memset(p, 0, sizeof(*p));
	for (uint32_t i = 0; i < BLOCKS; i++)
		p->free[i] = true;
	assert_int_equal(dp_bits_init(&p->bits, blocks), 0);
	assert_int_equal(dp_runs_init(&p->runs, &p->bits), 0);
}

static void end(struct pair *p)
{
	dp_runs_fini(&p->runs);
	dp_bits_fini(&p->bits);
}

static void take_at(struct pair *p, uint32_t block, uint32_t blocks)
{
	assert_true(dp_runs_take_at(&p->runs, block, blocks));
}

static uint32_t take(struct pair *p, uint32_t blocks)
{
	uint32_t block;

	assert_true(dp_runs_take(&p->runs, blocks, &block));
	return block;
}

/* -------------------------------------------------- against the plain array */

/* The length of the free run that contains the block. */
static uint32_t length_at(const struct pair *p, uint32_t block)
{
	uint32_t first = block, last = block;

	while (first && p->free[first - 1])
		first--;
	while (last + 1 < BLOCKS && p->free[last + 1])
		last++;
	return last - first + 1;
}

static uint32_t longest(const struct pair *p)
{
	uint32_t most = 0, length = 0;

	for (uint32_t i = 0; i < BLOCKS; i++) {
		length = p->free[i] ? length + 1 : 0;
		most = length > most ? length : most;
	}
	return most;
}

static void mark_taken(struct pair *p, uint32_t block, uint32_t blocks)
{
	assert_in_range(block + blocks, 1, BLOCKS);
	for (uint32_t i = block; i < block + blocks; i++) {
		assert_true(p->free[i]);
		p->free[i] = false;
	}
	p->taken[block] = blocks;
}

static void step_take(struct pair *p)
{
	uint32_t blocks = 1 + below(below(8) ? 20 : 300), block;
	bool found = dp_runs_take(&p->runs, blocks, &block);

	assert_int_equal(found, blocks <= longest(p));
	if (found)
		mark_taken(p, block, blocks);
}

static void step_take_at(struct pair *p)
{
	uint32_t block = below(BLOCKS), blocks = 1 + below(12);
	bool is_free = true;

	blocks = dp_min(blocks, BLOCKS - block);
	for (uint32_t i = block; i < block + blocks; i++)
		is_free = is_free && p->free[i];
	assert_int_equal(dp_runs_take_at(&p->runs, block, blocks), is_free);
	if (is_free)
		mark_taken(p, block, blocks);
}

static void step_add(struct pair *p)
{
	uint32_t block = below(BLOCKS), blocks = p->taken[block], got;

	if (!blocks)
		return;
	p->taken[block] = 0;
	for (uint32_t i = block; i < block + blocks; i++)
		p->free[i] = true;
	got = dp_runs_add(&p->runs, block, blocks);
	assert_int_equal(got, length_at(p, block));
}

static void compare(const struct pair *p)
{
	uint32_t most = longest(p), bound = dp_runs_longest(&p->runs);

	for (uint32_t i = 0; i < BLOCKS; i++)
		assert_int_equal(dp_bits_are_free(&p->bits, i, 1), p->free[i]);
	assert_in_range(bound, most, most + most / 8);
	dp_invariants_runs(&p->runs, bound);
}

static void the_lists_match_a_plain_array(void **state)
{
	struct pair p;

	(void)state;
	for (seed = 1; seed < 5;) {
		uint64_t this_seed = seed;

		begin(&p, BLOCKS);
		for (uint32_t i = 0; i < STEPS; i++) {
			/* The pool fills and empties alternately. */
			uint32_t adds = i / 2000 % 2 ? 10 : 70;

			if (below(100) < adds)
				step_add(&p);
			else if (below(4))
				step_take(&p);
			else
				step_take_at(&p);
			if (i % 8 == 0)
				compare(&p);
		}
		end(&p);
		seed = this_seed + 1;
	}
}

/* --------------------------------------------------------------- one by one */

static void a_freed_run_is_joined_with_its_neighbours(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, 64);
	assert_int_equal(take(&p, 64), 0);
	assert_int_equal(dp_runs_add(&p.runs, 10, 5), 5);
	assert_int_equal(dp_runs_add(&p.runs, 20, 5), 5);
	/* Beside no other run, right of one, left of one, and between two. */
	assert_int_equal(dp_runs_add(&p.runs, 30, 2), 2);
	assert_int_equal(dp_runs_add(&p.runs, 15, 2), 7);
	assert_int_equal(dp_runs_add(&p.runs, 18, 2), 7);
	assert_int_equal(dp_runs_add(&p.runs, 17, 1), 15);
	dp_invariants_runs(&p.runs, 15);
	/* At both ends of the segment. */
	assert_int_equal(dp_runs_add(&p.runs, 0, 1), 1);
	assert_int_equal(dp_runs_add(&p.runs, 63, 1), 1);
	dp_invariants_runs(&p.runs, 15);
	end(&p);
}

static void a_run_is_taken_at_the_requested_place(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, 128);
	take_at(&p, 60, 10);
	dp_invariants_runs(&p.runs, 60);
	take_at(&p, 0, 3);
	take_at(&p, 127, 1);
	take_at(&p, 70, 57);
	dp_invariants_runs(&p.runs, 57);
	assert_int_equal(dp_bits_free_count(&p.bits), 57);
	/* The range begins, ends or lies in blocks that are taken. */
	assert_false(dp_runs_take_at(&p.runs, 2, 2));
	assert_false(dp_runs_take_at(&p.runs, 59, 2));
	assert_false(dp_runs_take_at(&p.runs, 64, 1));
	assert_int_equal(dp_bits_free_count(&p.bits), 57);
	take_at(&p, 3, 57);
	assert_int_equal(dp_runs_longest(&p.runs), 0);
	end(&p);
}

static void the_last_freed_run_is_taken_first(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, 64);
	take(&p, 64);
	for (uint32_t i = 0; i < 60; i += 6)
		dp_runs_add(&p.runs, i, 5);
	for (uint32_t i = 60; i; i -= 6)
		assert_int_equal(take(&p, 5), i - 6);
	end(&p);
}

static void a_short_run_is_taken_before_a_long_one_is_split(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, 256);
	take(&p, 256);
	dp_runs_add(&p.runs, 200, 5);
	dp_runs_add(&p.runs, 100, 50);
	dp_runs_add(&p.runs, 10, 20);
	assert_int_equal(take(&p, 5), 200);
	assert_int_equal(take(&p, 5), 10);
	assert_int_equal(take(&p, 40), 100);
	dp_invariants_runs(&p.runs, 15);
	end(&p);
}

/*
 * 16 and 17 are in one class, and 50 runs of 16 come before the run of 17 in its list.
 */
static void a_run_is_found_behind_many_shorter_ones_of_its_class(void **state)
{
	uint32_t block;
	struct pair p;

	(void)state;
	begin(&p, BLOCKS);
	take(&p, BLOCKS);
	dp_runs_add(&p.runs, 1000, 17);
	for (uint32_t i = 0; i < 50; i++)
		dp_runs_add(&p.runs, i * 20, 16);
	assert_int_equal(take(&p, 17), 1000);
	assert_false(dp_runs_take(&p.runs, 17, &block));
	dp_invariants_runs(&p.runs, 17);
	end(&p);
}

/* ------------------------------------------------------------------ classes */

/* Returns the only class that has a run. */
static uint32_t class_in_use(const struct dp_runs *runs)
{
	uint32_t class = DP_RUN_CLASSES;

	for (uint32_t i = 0; i < DP_RUN_CLASSES / 64; i++) {
		if (!runs->some[i])
			continue;
		assert_int_equal(class, DP_RUN_CLASSES);
		assert_int_equal(runs->some[i] & (runs->some[i] - 1), 0);
		class = i * 64 + __builtin_ctzll(runs->some[i]);
	}
	assert_in_range(class, 0, DP_RUN_CLASSES - 1);
	return class;
}

/* Takes the run at the first and last length of each class. */
static void check_length(struct pair *p, uint32_t blocks)
{
	uint32_t block;

	assert_false(dp_runs_take(&p->runs, blocks + 1, &block));
	assert_int_equal(take(p, blocks), 0);
	assert_int_equal(dp_runs_add(&p->runs, 0, blocks), blocks);
}

static void each_length_is_in_the_right_class(void **state)
{
	uint32_t all = 1u << 18, class = 0, last = 0;
	struct pair p;

	(void)state;
	begin(&p, all);
	take(&p, all);
	for (uint32_t blocks = 1; blocks <= all; blocks++) {
		uint32_t was = class;

		assert_int_equal(dp_runs_add(&p.runs, blocks - 1, 1), blocks);
		class = class_in_use(&p.runs);
		/* The next class begins right after the greatest length of this one. */
		assert_int_equal(class, was + (blocks > last));
		last = dp_runs_longest(&p.runs);
		assert_in_range(last, blocks, blocks + blocks / 8);
		if (class != was || blocks == last)
			check_length(&p, blocks);
	}
	end(&p);
}

/* -------------------------------------------------------------------- nodes */

static void freeing_every_other_block_uses_every_node(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, BLOCKS);
	for (uint32_t i = 1; i < BLOCKS; i += 2)
		take_at(&p, i, 1);
	assert_int_equal(p.runs.used, BLOCKS / 2);
	dp_invariants_runs(&p.runs, 1);
	for (uint32_t i = 1; i < BLOCKS; i += 2)
		dp_runs_add(&p.runs, i, 1);
	/* Unused nodes are used first. */
	take_at(&p, 0, 1);
	for (uint32_t i = 2; i < BLOCKS; i += 2)
		take_at(&p, i, 1);
	assert_int_equal(p.runs.used, BLOCKS / 2);
	dp_invariants_runs(&p.runs, 1);
	end(&p);
}

static void every_other_free_block_is_a_run_at_open(void **state)
{
	struct pair p;

	(void)state;
	begin(&p, BLOCKS);
	dp_runs_fini(&p.runs);
	for (uint32_t i = 0; i < BLOCKS; i += 2)
		dp_bits_clear(&p.bits, i, 1);
	assert_int_equal(dp_runs_init(&p.runs, &p.bits), 0);
	assert_int_equal(p.runs.used, BLOCKS / 2);
	dp_invariants_runs(&p.runs, 1);
	for (uint32_t i = 0; i < BLOCKS / 2; i++)
		take(&p, 1);
	assert_int_equal(dp_runs_longest(&p.runs), 0);
	end(&p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(the_lists_match_a_plain_array),
		TEST(a_freed_run_is_joined_with_its_neighbours),
		TEST(a_run_is_taken_at_the_requested_place),
		TEST(the_last_freed_run_is_taken_first),
		TEST(a_short_run_is_taken_before_a_long_one_is_split),
		TEST(a_run_is_found_behind_many_shorter_ones_of_its_class),
		TEST(each_length_is_in_the_right_class),
		TEST(freeing_every_other_block_uses_every_node),
		TEST(every_other_free_block_is_a_run_at_open),
	};

	return cmocka_run_group_tests_name("extent_runs", tests, NULL, NULL);
}
