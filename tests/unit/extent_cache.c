/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free runs that a thread keeps, and a thread that takes them all: where that makes the
 * fences of all threads, and where each makes its own.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "extent/cache.h"
#include "extent/thread_slot.h"

#define LIMIT	32u
/* Of mode, see cache.c. */
#define STEALING	1u
#define FENCED		2u

static struct dp_caches caches;
static struct dp_events events;

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

static struct dp_cache *inside;		/* who is in it when a thief comes */
static uint32_t sleeps, fences, busy_after_fence;
static bool fence_fails;
static uint64_t taken_slots;		/* by threads that there are not */

static int set_up(void **state)
{
	(void)state;
	given.count = 0;
	sleeps = fences = busy_after_fence = 0;
	inside = NULL;
	fence_fails = false;
	taken_slots = 0;
	memset(&caches, 0, sizeof(caches));
	if (dp_events_init(&events) || dp_caches_init(&caches, LIMIT, &events))
		return -1;
	caches.mode = 0;
	for (uint32_t i = 0; i < DP_THREAD_SLOTS; i++)
		caches.cache[i].fenced = false;
	return 0;
}

static int set_up_symmetric(void **state)
{
	if (set_up(state))
		return -1;
	caches.mode = FENCED;
	for (uint32_t i = 0; i < DP_THREAD_SLOTS; i++)
		caches.cache[i].fenced = true;
	taken_slots = UINT64_MAX;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dp_caches_fini(&caches);
	dp_events_fini(&events);
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

	assert_true(dp_cache_put(cache, block, blocks));
	dp_cache_leave(&caches, cache);
}

/* The run's first block, or UINT32_MAX. */
static uint32_t pop(uint32_t blocks)
{
	struct dp_cache *cache = enter();
	uint32_t block = UINT32_MAX;

	dp_cache_take(cache, blocks, &block);
	dp_cache_leave(&caches, cache);
	return block;
}

static uint32_t room(uint32_t blocks)
{
	struct dp_cache *cache = enter();
	uint32_t count = dp_cache_room(cache) / blocks;

	dp_cache_leave(&caches, cache);
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
	assert_int_equal(dp_caches_init(&none, 0, &events), 0);
	cache = dp_cache_enter(&none);
	assert_int_equal(dp_cache_room(cache), 0);
	dp_cache_shed(cache, give, &caches);
	dp_cache_leave(&none, cache);
	dp_caches_steal(&none, give, &caches);
	dp_caches_release(&none);
	assert_int_equal(given.count, 0);
	dp_caches_fini(&none);
}

/* Is it done by one call, without dp_cache_enter()? */
static bool usual_way(void)
{
	uint32_t block = 0;
	bool done = dp_cache_push(&caches, 40, 2);

	assert_int_equal(dp_cache_pop(&caches, 2, &block), done);
	assert_int_equal(block, done ? 40 : 0);
	/* Whoever steals does not wait for this thread. */
	assert_int_equal(caches.cache[dp_thread_slot()].busy, 0);
	return done;
}

static void the_usual_way_is_closed_while_a_thread_steals(void **state)
{
	(void)state;
	/* It has not begun. */
	assert_false(usual_way());
	push(1, 2);
	assert_true(usual_way());
	dp_caches_steal(&caches, give, &caches);
	assert_int_equal(given.count, 1);
	assert_false(usual_way());
	dp_caches_release(&caches);
	assert_true(usual_way());
}

static void there_is_none_where_each_makes_its_own_fence(void **state)
{
	(void)state;
	push(1, 2);
	assert_false(usual_way());
	assert_int_equal(pop(2), 1);
}

static void there_is_none_where_there_is_no_room(void **state)
{
	(void)state;
	push(0, 16);
	push(16, 14);
	assert_true(usual_way());
	push(30, 1);
	assert_false(usual_way());
}

/* ------------------------------------------------------------------------- shed */

static void shed(void)
{
	struct dp_cache *cache = enter();

	dp_cache_shed(cache, give, &caches);
	dp_cache_leave(&caches, cache);
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

static void assert_given(uint32_t i, uint32_t block, uint32_t blocks)
{
	assert_int_equal(given.block[i], block);
	assert_int_equal(given.blocks[i], blocks);
}

static void neighbours_are_given_as_one(void **state)
{
	static const uint32_t run[] = { 20, 22, 18, 10, 8, 30, 6, 12 };

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		push(run[i], 2);
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	/* In the order in which they came: what the last run touches joins it. */
	assert_int_equal(given.count, 5);
	assert_given(0, 18, 6);
	assert_given(1, 8, 4);
	assert_given(2, 30, 2);
	assert_given(3, 6, 2);
	assert_given(4, 12, 2);
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

void __wrap_dp_os_sleep_ns(uint64_t ns);
bool __wrap_dp_os_fence_all(void);
uint64_t __real_dp_thread_slots_free(void);
uint64_t __wrap_dp_thread_slots_free(void);

uint64_t __wrap_dp_thread_slots_free(void)
{
	/* A thread that is no thread in order to steal would free it otherwise. */
	return __real_dp_thread_slots_free() & ~taken_slots;
}

/* Who is inside goes on when the thief sleeps. */
void __wrap_dp_os_sleep_ns(uint64_t ns)
{
	assert_true(ns > 0);
	assert_non_null(inside);
	if (++sleeps < 3)
		return;
	assert_true(dp_cache_put(inside, 77, 3));
	dp_cache_leave(&caches, inside);
	inside = NULL;
}

/* A thread whose busy was on its way is seen to be busy now. */
bool __wrap_dp_os_fence_all(void)
{
	fences++;
	/* Who does not see it yet, enters before the fence. */
	assert_true(caches.mode & STEALING);
	if (busy_after_fence) {
		inside = &caches.cache[busy_after_fence];
		inside->busy = 1;
	}
	return !fence_fails;
}

/* I63 */
static void who_steals_empties_every_cache(void **state)
{
	(void)state;
	push(7, 2);
	push_as(20, 100, 16);
	push_as(DP_THREAD_SLOTS - 1, 200, 1);
	push_as(DP_THREAD_SLOTS - 1, 300, 1);
	dp_caches_steal(&caches, give, &caches);
	assert_int_equal(given.count, 4);
	assert_int_equal(dp_caches_blocks(&caches), 0);
	dp_caches_release(&caches);
	assert_int_equal(pop(2), UINT32_MAX);
}

/* I63 */
static void nothing_enters_while_a_thread_steals(void **state)
{
	(void)state;
	push_as(20, 5, 1);
	for (uint32_t i = 0; i < 2; i++) {
		dp_caches_steal(&caches, give, &caches);
		assert_null(dp_cache_enter(&caches));
		/* Nor is it busy then, for which the next thief would wait. */
		assert_int_equal(caches.cache[dp_thread_slot()].busy, 0);
		dp_caches_release(&caches);
	}
	push(1, 1);
	assert_int_equal(pop(1), 1);
}

static void give_and_enter(uint32_t block, uint32_t blocks, void *arg)
{
	unsigned int mine = dp_thread_slot();

	give(block, blocks, arg);
	/* A cache that the thief has yet to come to, and one that it is done with. */
	dp_thread_slot_mine = DP_THREAD_SLOTS;
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

/* I63 */
static void a_thief_waits_for_who_is_inside(void **state)
{
	(void)state;
	inside = enter();
	dp_caches_steal(&caches, give, &caches);
	assert_int_equal(sleeps, 3);
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 77);
	assert_null(dp_cache_enter(&caches));
	dp_caches_release(&caches);
}

/* I63: its store of busy arrives by the thief's fence at the latest. */
static void a_thief_looks_who_is_inside_after_its_fence(void **state)
{
	(void)state;
	push_as(9, 50, 1);
	busy_after_fence = 9;
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(fences, 1);
	assert_int_equal(sleeps, 3);
	assert_int_equal(given.count, 2);
}

static void without_other_threads_there_is_no_fence(void **state)
{
	(void)state;
	assert_true(dp_caches_are_mine(&caches));
	push(1, 1);
	assert_true(dp_caches_are_mine(&caches));
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(given.count, 1);
	assert_int_equal(fences, 0);
	push_as(9, 50, 1);
	assert_false(dp_caches_are_mine(&caches));
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(fences, 1);
}

static void steal(void)
{
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
}

static void look_as(uint32_t slot)
{
	unsigned int mine = dp_thread_slot();

	dp_thread_slot_mine = slot + 1;
	dp_caches_look(&caches);
	dp_thread_slot_mine = mine + 1;
}

static bool take_retry(void)
{
	struct daxpin_event event;

	return dp_events_next(&events, &event) && event.type == DAXPIN_EVENT_RETRY;
}

/* What others keep may be changing at this moment. */
static void without_its_fence_a_thief_takes_its_own_alone(void **state)
{
	(void)state;
	fence_fails = true;
	taken_slots = 1ull << 9;
	push(1, 1);
	push_as(9, 50, 2);
	steal();
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 1);
	assert_int_equal(dp_caches_blocks(&caches), 2);
	/* From now on each thread makes its own. */
	assert_int_equal(caches.mode, FENCED);
	assert_false(usual_way());
}

/* C4: it was refused what the other thread keeps. */
static void a_thread_that_looked_can_be_stolen_from(void **state)
{
	(void)state;
	fence_fails = true;
	taken_slots = 1ull << 9 | 1ull << 10;
	push_as(9, 50, 2);
	push_as(10, 60, 3);
	dp_events_refused(&events);
	steal();
	assert_int_equal(given.count, 0);
	look_as(9);
	assert_true(take_retry());
	steal();
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 50);
	/* It says so once. */
	dp_events_refused(&events);
	look_as(9);
	assert_false(take_retry());
	look_as(10);
	assert_true(take_retry());
	steal();
	assert_int_equal(given.count, 2);
	assert_int_equal(fences, 1);
}

static void nothing_is_to_be_seen_while_the_fence_works(void **state)
{
	(void)state;
	push_as(9, 50, 2);
	dp_events_refused(&events);
	look_as(9);
	assert_false(take_retry());
	steal();
	assert_int_equal(given.count, 1);
	assert_int_equal(fences, 1);
}

static void where_each_makes_its_own_the_thief_makes_none(void **state)
{
	(void)state;
	fence_fails = true;
	push(1, 1);
	push_as(9, 50, 2);
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(fences, 0);
	assert_int_equal(given.count, 2);
}

/* --------------------------------------------------------------------- threads */

static void a_thread_beyond_the_slots_has_none(void **state)
{
	unsigned int mine = dp_thread_slot();

	(void)state;
	push(1, 1);
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	assert_null(dp_cache_enter(&caches));
	assert_false(usual_way());
	assert_false(dp_caches_are_mine(&caches));
	/* But it can steal. */
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(given.count, 1);
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

static pthread_barrier_t barrier;

static void *push_and_wait(void *arg)
{
	(void)arg;
	push(50, 5);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

/* C4: it never comes to see that it must make its own fences. */
static void without_a_fence_a_threads_end_is_awaited(void **state)
{
	pthread_t thread;

	(void)state;
	fence_fails = true;
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, push_and_wait, NULL), 0);
	pthread_barrier_wait(&barrier);
	dp_events_refused(&events);
	steal();
	assert_int_equal(given.count, 0);
	assert_false(take_retry());
	pthread_barrier_wait(&barrier);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(take_retry());
	steal();
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 50);
	pthread_barrier_destroy(&barrier);
	/* Of a thread whose cache was open to all, the end says nothing new. */
	dp_events_refused(&events);
	for (uint32_t i = 0; i < DP_THREAD_SLOTS; i++)
		caches.cache[i].fenced = true;
	assert_int_equal(pthread_create(&thread, NULL, push_and_end, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(take_retry());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_SYMMETRIC(name) \
	{ #name "_symmetric", name, set_up_symmetric, tear_down, NULL }
	const struct CMUnitTest tests[] = {
		TEST(the_last_in_is_the_first_out),
		TEST(each_length_has_room_for_the_limit),
		TEST(runs_of_all_lengths_share_the_limit),
		TEST(a_limit_of_nothing_keeps_nothing),
		TEST(the_usual_way_is_closed_while_a_thread_steals),
		TEST_SYMMETRIC(there_is_none_where_each_makes_its_own_fence),
		TEST(there_is_none_where_there_is_no_room),
		TEST(the_older_half_is_given_back),
		TEST(neighbours_are_given_as_one),
		TEST(what_is_full_has_room_after_it_shed),
		TEST(who_steals_empties_every_cache),
		TEST(nothing_enters_while_a_thread_steals),
		TEST(nothing_enters_once_a_thief_has_begun),
		TEST(a_thief_waits_for_who_is_inside),
		TEST_SYMMETRIC(the_last_in_is_the_first_out),
		TEST_SYMMETRIC(who_steals_empties_every_cache),
		TEST_SYMMETRIC(nothing_enters_while_a_thread_steals),
		TEST_SYMMETRIC(nothing_enters_once_a_thief_has_begun),
		TEST_SYMMETRIC(a_thief_waits_for_who_is_inside),
		TEST(a_thief_looks_who_is_inside_after_its_fence),
		TEST(without_other_threads_there_is_no_fence),
		TEST(without_its_fence_a_thief_takes_its_own_alone),
		TEST(a_thread_that_looked_can_be_stolen_from),
		TEST(nothing_is_to_be_seen_while_the_fence_works),
		TEST(without_a_fence_a_threads_end_is_awaited),
		TEST_SYMMETRIC(where_each_makes_its_own_the_thief_makes_none),
		TEST(a_thread_beyond_the_slots_has_none),
		TEST(the_next_thread_adopts_what_one_left),
		TEST(what_a_thread_left_can_be_stolen),
	};

	return cmocka_run_group_tests_name("extent_cache", tests, NULL, NULL);
}
