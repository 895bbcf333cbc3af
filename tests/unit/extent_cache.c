/* SPDX-License-Identifier: BSD-3-Clause */
/* Free runs that a thread keeps, and a thread that takes them all. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "extent/cache.h"
#include "extent/thread_slot.h"

#define LIMIT	32u

static struct dp_caches caches;

/* What was given away: the first blocks, in their order. */
static struct {
	uint32_t count, block[128], blocks[128];
} given;

static void give(uint32_t block, uint32_t blocks, void *arg)
{
	assert_ptr_equal(arg, &caches);
	assert_in_range(given.count, 0, 127);
	given.block[given.count] = block;
	given.blocks[given.count++] = blocks;
}

static int set_up(void **state)
{
	(void)state;
	given.count = 0;
	return dp_caches_init(&caches, LIMIT);
}

static int tear_down(void **state)
{
	(void)state;
	dp_caches_fini(&caches);
	return 0;
}

static struct dp_cache *enter(void)
{
	struct dp_cache *cache = dp_cache_enter(&caches);

	assert_non_null(cache);
	return cache;
}

static void push(uint32_t block, uint32_t blocks)
{
	struct dp_cache *cache = enter();

	dp_cache_push(cache, block, blocks);
	dp_cache_leave(cache);
}

/* The run's first block, or UINT32_MAX. */
static uint32_t pop(uint32_t blocks)
{
	struct dp_cache *cache = enter();
	uint32_t block = UINT32_MAX;

	dp_cache_pop(cache, blocks, &block);
	dp_cache_leave(cache);
	return block;
}

static uint32_t room(uint32_t blocks)
{
	struct dp_cache *cache = enter();
	uint32_t count = dp_cache_room(cache, blocks);

	dp_cache_leave(cache);
	return count;
}

/* ----------------------------------------------------------------------- by one */

static void the_last_in_is_the_first_out(void **state)
{
	(void)state;
	push(10, 1);
	push(20, 4);
	push(11, 1);
	push(30, 4);
	assert_int_equal(dp_caches_blocks(&caches), 10);
	assert_int_equal(pop(4), 30);
	assert_int_equal(pop(1), 11);
	assert_int_equal(pop(1), 10);
	assert_int_equal(pop(1), UINT32_MAX);
	/* A longer run is not cut. */
	assert_int_equal(pop(2), UINT32_MAX);
	assert_int_equal(pop(4), 20);
	assert_int_equal(dp_caches_blocks(&caches), 0);
}

static void each_length_has_room_for_the_limit(void **state)
{
	(void)state;
	for (uint32_t length = 1; length <= DP_CACHE_RUN; length++) {
		uint32_t count = LIMIT / length;

		for (uint32_t i = 0; i < count; i++) {
			assert_int_equal(room(length), count - i);
			push(100 * length + i, length);
		}
		assert_int_equal(room(length), 0);
		assert_int_equal(dp_caches_blocks(&caches), count * length);
		while (count--)
			assert_int_equal(pop(length), 100 * length + count);
	}
}

static void runs_of_all_lengths_share_the_limit(void **state)
{
	(void)state;
	push(0, 16);
	push(16, 8);
	assert_int_equal(room(1), 8);
	assert_int_equal(room(3), 2);
	assert_int_equal(room(9), 0);
	push(24, 8);
	assert_int_equal(room(1), 0);
	assert_int_equal(dp_caches_blocks(&caches), LIMIT);
}

/* A pool so small that its part of 64 is no block. */
static void a_limit_of_nothing_keeps_nothing(void **state)
{
	struct dp_cache *cache;
	struct dp_caches none = { 0 };

	(void)state;
	assert_int_equal(dp_caches_init(&none, 0), 0);
	cache = dp_cache_enter(&none);
	for (uint32_t i = 1; i <= DP_CACHE_RUN; i++)
		assert_int_equal(dp_cache_room(cache, i), 0);
	dp_cache_shed(cache, give, &caches);
	dp_cache_leave(cache);
	dp_caches_steal(&none, give, &caches);
	dp_caches_release(&none);
	assert_int_equal(given.count, 0);
	assert_int_equal(dp_caches_most(&none), 0);
	dp_caches_fini(&none);
}

static void no_limit_exceeds_that_of_all(void **state)
{
	struct dp_cache *cache;
	struct dp_caches huge = { 0 };

	(void)state;
	assert_int_equal(dp_caches_init(&huge, UINT32_MAX), 0);
	cache = dp_cache_enter(&huge);
	assert_int_equal(dp_cache_room(cache, 1), DP_CACHE_BLOCKS);
	for (uint32_t i = 0; i < DP_CACHE_BLOCKS / 16; i++)
		dp_cache_push(cache, 16 * i, 16);
	assert_int_equal(dp_cache_room(cache, 1), 0);
	dp_cache_leave(cache);
	dp_caches_fini(&huge);
}

/* ------------------------------------------------------------------------- shed */

static void shed(void)
{
	struct dp_cache *cache = enter();

	dp_cache_shed(cache, give, &caches);
	dp_cache_leave(cache);
}

static void the_older_half_is_given_back(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		push(10 * i, 4);
	push(100, 8);
	shed();
	/* Of the length that has most blocks: 20 of 4, 8 of 8. */
	assert_int_equal(given.count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(given.block[i], 10 * i);
		assert_int_equal(given.blocks[i], 4);
	}
	assert_int_equal(dp_caches_blocks(&caches), 16);
	assert_int_equal(pop(4), 40);
	assert_int_equal(pop(4), 30);
	assert_int_equal(pop(4), UINT32_MAX);
	assert_int_equal(pop(8), 100);
}

static void what_is_full_has_room_after_it_shed(void **state)
{
	(void)state;
	push(0, 16);
	push(16, 16);
	assert_int_equal(room(16), 0);
	shed();
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 0);
	assert_int_equal(room(16), 1);
}

/* ------------------------------------------------------------------------ steal */

/* As another thread's cache. */
static void push_as(uint32_t slot, uint32_t block, uint32_t blocks)
{
	unsigned int mine = dp_thread_slot();

	dp_thread_slot_mine = slot + 1;
	push(block, blocks);
	dp_thread_slot_mine = mine + 1;
}

/* I63 */
static void who_steals_empties_every_cache(void **state)
{
	(void)state;
	push(7, 2);
	push_as(20, 100, 16);
	push_as(DP_THREAD_SLOT_SHARED, 200, 1);
	push_as(DP_THREAD_SLOT_SHARED, 300, 1);
	dp_caches_steal(&caches, give, &caches);
	assert_int_equal(given.count, 4);
	assert_int_equal(dp_caches_blocks(&caches), 0);
	assert_int_equal(dp_caches_most(&caches), 0);
	dp_caches_release(&caches);
	assert_int_equal(pop(2), UINT32_MAX);
}

/* I63 */
static void nothing_enters_while_a_thread_steals(void **state)
{
	(void)state;
	dp_caches_steal(&caches, give, &caches);
	assert_null(dp_cache_enter(&caches));
	/* Of two thieves each has to release. */
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_null(dp_cache_enter(&caches));
	dp_caches_release(&caches);
	push(1, 1);
	assert_int_equal(pop(1), 1);
}

static void give_and_enter(uint32_t block, uint32_t blocks, void *arg)
{
	unsigned int mine = dp_thread_slot();

	give(block, blocks, arg);
	/* A cache that the thief has yet to come to, and one that it is done with. */
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	assert_null(dp_cache_enter(&caches));
	dp_thread_slot_mine = 1;
	assert_null(dp_cache_enter(&caches));
	dp_thread_slot_mine = mine + 1;
}

static void nothing_enters_once_a_thief_has_begun(void **state)
{
	(void)state;
	push_as(20, 5, 1);
	dp_caches_steal(&caches, give_and_enter, &caches);
	dp_caches_release(&caches);
	assert_int_equal(given.count, 1);
}

/* Who is inside when a thief comes; it goes on when the thief sleeps. */
static struct dp_cache *inside;
static uint32_t sleeps;

void __wrap_dp_os_sleep_ns(uint64_t ns);

void __wrap_dp_os_sleep_ns(uint64_t ns)
{
	assert_true(ns > 0);
	assert_non_null(inside);
	if (++sleeps < 3)
		return;
	dp_cache_push(inside, 77, 3);
	dp_cache_leave(inside);
	inside = NULL;
}

/* I63 */
static void a_thief_waits_for_who_is_inside(void **state)
{
	(void)state;
	sleeps = 0;
	inside = enter();
	dp_caches_steal(&caches, give, &caches);
	assert_int_equal(sleeps, 3);
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 77);
	assert_null(dp_cache_enter(&caches));
	dp_caches_release(&caches);
}

/* --------------------------------------------------------------------- threads */

static void who_is_inside_may_have_the_limit(void **state)
{
	struct dp_cache *cache;

	(void)state;
	push(3, 2);
	assert_int_equal(dp_caches_most(&caches), 2);
	cache = enter();
	/* Before it counts what it pushes. */
	assert_in_range(dp_caches_most(&caches), LIMIT, 2 * LIMIT);
	assert_int_equal(dp_caches_blocks(&caches), 2);
	dp_cache_leave(cache);
	assert_int_equal(dp_caches_most(&caches), 2);
}

static void who_finds_the_shared_cache_busy_does_without(void **state)
{
	unsigned int mine = dp_thread_slot();
	struct dp_cache *cache;

	(void)state;
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	cache = enter();
	assert_null(dp_cache_enter(&caches));
	dp_cache_leave(cache);
	cache = enter();
	dp_cache_leave(cache);
	dp_thread_slot_mine = mine + 1;
}

static void *push_and_end(void *arg)
{
	(void)arg;
	push(50, 5);
	return (void *)(uintptr_t)dp_thread_slot();
}

static void *pop_and_end(void *arg)
{
	*(uint32_t *)arg = pop(5);
	return (void *)(uintptr_t)dp_thread_slot();
}

static void the_next_thread_adopts_what_one_left(void **state)
{
	uint32_t block = 0;
	void *first, *next;
	pthread_t thread;

	(void)state;
	push(1, 5);
	assert_int_equal(pthread_create(&thread, NULL, push_and_end, NULL), 0);
	assert_int_equal(pthread_join(thread, &first), 0);
	assert_int_equal(dp_caches_blocks(&caches), 10);
	assert_int_equal(pthread_create(&thread, NULL, pop_and_end, &block), 0);
	assert_int_equal(pthread_join(thread, &next), 0);
	assert_ptr_equal(first, next);
	assert_int_equal(block, 50);
	/* What this thread has is its own. */
	assert_int_equal(pop(5), 1);
}

static void what_a_thread_left_can_be_stolen(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, push_and_end, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 50);
	assert_int_equal(given.blocks[0], 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_last_in_is_the_first_out),
		TEST(each_length_has_room_for_the_limit),
		TEST(runs_of_all_lengths_share_the_limit),
		TEST(a_limit_of_nothing_keeps_nothing),
		TEST(no_limit_exceeds_that_of_all),
		TEST(the_older_half_is_given_back),
		TEST(what_is_full_has_room_after_it_shed),
		TEST(who_steals_empties_every_cache),
		TEST(nothing_enters_while_a_thread_steals),
		TEST(nothing_enters_once_a_thief_has_begun),
		TEST(a_thief_waits_for_who_is_inside),
		TEST(who_is_inside_may_have_the_limit),
		TEST(who_finds_the_shared_cache_busy_does_without),
		TEST(the_next_thread_adopts_what_one_left),
		TEST(what_a_thread_left_can_be_stolen),
	};

	return cmocka_run_group_tests_name("extent_cache", tests, NULL, NULL);
}
