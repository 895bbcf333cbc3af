/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The per-thread caches of free runs, and a thread that steals all of them: with its
 * fence for all threads (membarrier), and with a fence in each thread.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include "extent/cache.h"
#include "extent/thread_slot.h"

#define LIMIT	32u
/* Bits of mode, as in cache.c. */
#define STEALING	1u
#define FENCED		2u

static struct dp_caches caches;
static struct dp_events events;

/* The runs that were given back, in order. */
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

static struct dp_cache *inside;		/* the cache in use when a thief arrives */
static uint32_t sleeps, fences, busy_after_fence;
static bool fence_fails;
static uint64_t taken_slots;		/* slots of threads that do not exist */

static int set_up(void **state)
{
	(void)state;
	given.count = 0;
	sleeps = fences = busy_after_fence = 0;
	inside = NULL;
	fence_fails = false;
	taken_slots = 0;
	memset(&caches, 0, sizeof(caches));
	if (dp_events_init(&events) || dp_caches_init(&caches, &events))
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
	/* At first, and after a steal. */
	if (!cache->limit)
		dp_cache_limit(cache, LIMIT);
	return cache;
}

static void push(uint32_t block, uint32_t blocks)
{
	struct dp_cache *cache = enter();

	assert_true(dp_cache_put(cache, block, blocks));
	dp_cache_leave(&caches, cache);
}

/* Returns the run's first block, or UINT32_MAX. */
static uint32_t pop(uint32_t blocks)
{
	struct dp_cache *cache = enter();
	uint32_t block = UINT32_MAX;

	dp_cache_take(cache, blocks, &block);
	dp_cache_leave(&caches, cache);
	return block;
}

/* Returns how many runs of this length can still be pushed. */
static uint32_t room(uint32_t blocks)
{
	struct dp_cache *cache = enter();
	uint32_t count = 0;

	while (dp_cache_has_room(cache, (count + 1) * blocks))
		count++;
	dp_cache_leave(&caches, cache);
	return count;
}

/* --------------------------------------------------------------- one thread */

static void a_cache_is_last_in_first_out(void **state)
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
	/* A longer run is not split. */
	assert_int_equal(pop(2), UINT32_MAX);
	assert_int_equal(pop(4), 20);
	assert_int_equal(dp_caches_blocks(&caches), 0);
}

static void each_length_has_room_for_the_limit(void **state)
{
	(void)state;
	for (uint32_t length = 1; length <= LIMIT; length++) {
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

/* At first, after a steal, and in a pool of less than 64 blocks. */
static void a_limit_of_0_caches_nothing(void **state)
{
	struct dp_cache *cache;
	struct dp_caches none = { 0 };

	(void)state;
	assert_int_equal(dp_caches_init(&none, &events), 0);
	cache = dp_cache_enter(&none);
	assert_false(dp_cache_has_room(cache, 1));
	dp_cache_shed(cache, 1, give, &caches);
	dp_cache_leave(&none, cache);
	dp_caches_steal(&none, give, &caches);
	dp_caches_release(&none);
	assert_int_equal(given.count, 0);
	dp_caches_fini(&none);
}

/* Do single calls work that skip dp_cache_enter()? */
static bool usual_way(void)
{
	uint32_t block = 0;
	bool done = dp_cache_push(&caches, 40, 2);

	assert_int_equal(dp_cache_pop(&caches, 2, &block), done);
	assert_int_equal(block, done ? 40 : 0);
	/* A thief does not wait for this thread. */
	assert_int_equal(caches.cache[dp_thread_slot()].busy, 0);
	return done;
}

static void the_fast_path_is_closed_while_a_thread_steals(void **state)
{
	(void)state;
	/* The cache was not used yet, so its fast path is closed. */
	assert_false(usual_way());
	push(1, 2);
	assert_true(usual_way());
	dp_caches_steal(&caches, give, &caches);
	assert_int_equal(given.count, 1);
	assert_false(usual_way());
	dp_caches_release(&caches);
	/* The limit is 0 after a steal. */
	assert_false(usual_way());
	push(1, 2);
	assert_true(usual_way());
}

static void there_is_no_fast_path_when_each_thread_makes_its_own_fence(void **state)
{
	(void)state;
	push(1, 2);
	assert_false(usual_way());
	assert_int_equal(pop(2), 1);
}

static void there_is_no_fast_path_into_a_full_cache(void **state)
{
	(void)state;
	push(0, 16);
	push(16, 14);
	assert_true(usual_way());
	push(30, 1);
	assert_false(usual_way());
}

/* --------------------------------------------------------------------- shed */

static void shed(uint32_t blocks)
{
	struct dp_cache *cache = enter();

	dp_cache_shed(cache, blocks, give, &caches);
	dp_cache_leave(&caches, cache);
}

static void shed_gives_back_the_older_half(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		push(10 * i, 4);
	push(100, 8);
	shed(8);
	/*
	 * The oldest runs, of the length that occupies the most blocks: 20 of 4 blocks,
	 * 8 of 8.
	 */
	assert_int_equal(given.count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(given.block[i], 10 * (2 - i));
		assert_int_equal(given.blocks[i], 4);
	}
	assert_int_equal(dp_caches_blocks(&caches), 16);
	assert_int_equal(pop(4), 40);
	assert_int_equal(pop(4), 30);
	assert_int_equal(pop(4), UINT32_MAX);
	assert_int_equal(pop(8), 100);
}

/* Nobody reserves or frees the other length any more. */
static void runs_of_a_length_that_is_not_used_are_shed_too(void **state)
{
	uint32_t calls = 0;

	(void)state;
	push(0, 30);
	while (!given.count) {
		shed(1);
		assert_in_range(++calls, 1, DP_CACHE_RUN);
	}
	assert_int_equal(given.block[0], 0);
	assert_int_equal(given.blocks[0], 30);
}

static void limit(uint32_t blocks)
{
	dp_cache_limit(&caches.cache[dp_thread_slot()], blocks);
}

static void a_cache_above_its_limit_has_no_room(void **state)
{
	(void)state;
	push(0, 20);
	limit(10);
	assert_int_equal(room(1), 0);
	assert_false(usual_way());
	assert_int_equal(pop(20), 0);
	assert_int_equal(room(1), 10);
}

static void a_shed_gives_back_few_runs(void **state)
{
	(void)state;
	push(0, 1);
	limit(2048);
	for (uint32_t i = 1; i < 1000; i++)
		push(i, 1);
	shed(1);
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 0);
	assert_int_equal(given.blocks[0], DP_CACHE_SHED);
}

static void a_cache_is_full_when_it_has_no_place_for_another_run(void **state)
{
	(void)state;
	push(0, 1);
	limit(DP_CACHE_RUNS + 1);
	for (uint32_t i = 1; i < DP_CACHE_RUNS; i++) {
		assert_int_equal(room(DP_CACHE_RUNS + 1 - i), 1);
		push(2 * i, 1);
	}
	assert_int_equal(room(1), 0);
	assert_false(usual_way());
	assert_int_equal(pop(1), 2 * (DP_CACHE_RUNS - 1));
	assert_int_equal(room(1), 2);
	while (pop(1) != UINT32_MAX)
		;
	assert_int_equal(dp_caches_blocks(&caches), 0);
}

static void assert_given(uint32_t i, uint32_t block, uint32_t blocks)
{
	assert_int_equal(given.block[i], block);
	assert_int_equal(given.blocks[i], blocks);
}

static void adjacent_runs_are_given_back_as_one(void **state)
{
	static const uint32_t run[] = { 20, 22, 18, 10, 8, 30, 6, 12 };

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		push(run[i], 2);
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	/*
	 * In the reverse of the order in which they were pushed: a run that touches the
	 * last one is merged with it.
	 */
	assert_int_equal(given.count, 6);
	assert_given(0, 12, 2);
	assert_given(1, 6, 2);
	assert_given(2, 30, 2);
	assert_given(3, 8, 4);
	assert_given(4, 18, 2);
	assert_given(5, 20, 4);
}

static void a_full_cache_has_room_after_shed(void **state)
{
	(void)state;
	push(0, 16);
	push(16, 16);
	assert_int_equal(room(16), 0);
	shed(16);
	assert_int_equal(given.count, 1);
	assert_int_equal(given.block[0], 0);
	assert_int_equal(room(16), 1);
}

/* -------------------------------------------------------------------- steal */

/* Pushes to the cache of the thread with this slot. */
static void push_as(uint32_t slot, uint32_t block, uint32_t blocks)
{
	unsigned int mine = dp_thread_slot();

	dp_thread_slot_mine = slot + 1;
	push(block, blocks);
	dp_thread_slot_mine = mine + 1;
}

void __wrap_dp_os_sleep_ns(uint64_t ns);
bool __wrap_dp_os_membarrier(void);
uint64_t __real_dp_thread_slots_free(void);
uint64_t __wrap_dp_thread_slots_free(void);

uint64_t __wrap_dp_thread_slots_free(void)
{
	/*
	 * Stealing frees the caches of slots without a thread, so these slots must look
	 * taken.
	 */
	return __real_dp_thread_slots_free() & ~taken_slots;
}

/* The thread that is in its cache leaves it while the thief sleeps. */
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

/* The fence makes another thread's store to `busy` visible. */
bool __wrap_dp_os_membarrier(void)
{
	fences++;
	/* A thread that does not see STEALING yet has set busy before the fence. */
	assert_true(caches.mode & STEALING);
	if (busy_after_fence) {
		inside = &caches.cache[busy_after_fence];
		inside->busy = 1;
	}
	return !fence_fails;
}

/* I63 */
static void a_thief_empties_every_cache(void **state)
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
static void no_thread_enters_its_cache_while_another_steals(void **state)
{
	(void)state;
	push_as(20, 5, 1);
	for (uint32_t i = 0; i < 2; i++) {
		dp_caches_steal(&caches, give, &caches);
		assert_null(dp_cache_enter(&caches));
		/* It does not look busy either, or the next thief would wait for it. */
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
	/*
	 * The thief has not reached one of these caches yet, and has emptied the other.
	 */
	dp_thread_slot_mine = DP_THREAD_SLOTS;
	assert_null(dp_cache_enter(&caches));
	dp_thread_slot_mine = 1;
	assert_null(dp_cache_enter(&caches));
	dp_thread_slot_mine = mine + 1;
}

static void no_thread_enters_any_cache_once_a_thief_has_begun(void **state)
{
	(void)state;
	push_as(20, 5, 1);
	dp_caches_steal(&caches, give_and_enter, &caches);
	dp_caches_release(&caches);
	assert_int_equal(given.count, 1);
}

/* I63 */
static void a_thief_waits_for_a_thread_that_is_in_its_cache(void **state)
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

/* I63: the fence makes the other thread's store to busy visible to the thief. */
static void a_thief_reads_busy_after_its_fence(void **state)
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

static void a_thief_makes_no_fence_if_all_runs_are_its_own(void **state)
{
	(void)state;
	assert_true(dp_caches_have_one_user(&caches));
	push(1, 1);
	assert_true(dp_caches_have_one_user(&caches));
	dp_caches_steal(&caches, give, &caches);
	dp_caches_release(&caches);
	assert_int_equal(given.count, 1);
	assert_int_equal(fences, 0);
	push_as(9, 50, 1);
	assert_false(dp_caches_have_one_user(&caches));
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
	dp_caches_note_fenced(&caches);
	dp_thread_slot_mine = mine + 1;
}

static bool take_retry(void)
{
	struct daxpin_event event;

	return dp_events_next(&events, &event) && event.type == DAXPIN_EVENT_RETRY;
}

/* Another thread's cache may change at this moment, so it is left alone. */
static void a_thief_whose_fence_fails_takes_only_its_own_cache(void **state)
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
	/* From now on each thread makes its own fences. */
	assert_int_equal(caches.mode, FENCED);
	assert_false(usual_way());
}

/* C4: the thief was refused what the other thread caches. */
static void a_thread_that_noticed_the_failed_fence_can_be_stolen_from(void **state)
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
	/* The event is sent once. */
	dp_events_refused(&events);
	look_as(9);
	assert_false(take_retry());
	look_as(10);
	assert_true(take_retry());
	steal();
	assert_int_equal(given.count, 2);
	assert_int_equal(fences, 1);
}

static void no_retry_is_sent_while_the_fence_works(void **state)
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

static void the_thief_makes_no_fence_when_each_thread_makes_its_own(void **state)
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

/* ------------------------------------------------------------------ threads */

static void a_thread_without_a_slot_has_no_cache(void **state)
{
	unsigned int mine = dp_thread_slot();

	(void)state;
	push(1, 1);
	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	assert_null(dp_cache_enter(&caches));
	assert_false(usual_way());
	assert_false(dp_caches_have_one_user(&caches));
	/* It can still steal. */
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

static void a_thread_adopts_the_cache_of_an_ended_thread(void **state)
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
	/* The cache of this thread is unchanged. */
	assert_int_equal(pop(5), 1);
}

static void the_cache_of_an_ended_thread_can_be_stolen(void **state)
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

/* C4: the other thread never notices that it must make its own fences. */
static void after_a_failed_fence_a_threads_end_sends_retry(void **state)
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
	/* If all caches could be stolen already, the end of a thread sends no event. */
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
		TEST(a_cache_is_last_in_first_out),
		TEST(each_length_has_room_for_the_limit),
		TEST(runs_of_all_lengths_share_the_limit),
		TEST(a_limit_of_0_caches_nothing),
		TEST(the_fast_path_is_closed_while_a_thread_steals),
		TEST_SYMMETRIC(
			there_is_no_fast_path_when_each_thread_makes_its_own_fence),
		TEST(there_is_no_fast_path_into_a_full_cache),
		TEST(shed_gives_back_the_older_half),
		TEST(runs_of_a_length_that_is_not_used_are_shed_too),
		TEST(a_cache_above_its_limit_has_no_room),
		TEST(a_shed_gives_back_few_runs),
		TEST(a_cache_is_full_when_it_has_no_place_for_another_run),
		TEST(adjacent_runs_are_given_back_as_one),
		TEST(a_full_cache_has_room_after_shed),
		TEST(a_thief_empties_every_cache),
		TEST(no_thread_enters_its_cache_while_another_steals),
		TEST(no_thread_enters_any_cache_once_a_thief_has_begun),
		TEST(a_thief_waits_for_a_thread_that_is_in_its_cache),
		TEST_SYMMETRIC(a_cache_is_last_in_first_out),
		TEST_SYMMETRIC(a_thief_empties_every_cache),
		TEST_SYMMETRIC(no_thread_enters_its_cache_while_another_steals),
		TEST_SYMMETRIC(no_thread_enters_any_cache_once_a_thief_has_begun),
		TEST_SYMMETRIC(a_thief_waits_for_a_thread_that_is_in_its_cache),
		TEST(a_thief_reads_busy_after_its_fence),
		TEST(a_thief_makes_no_fence_if_all_runs_are_its_own),
		TEST(a_thief_whose_fence_fails_takes_only_its_own_cache),
		TEST(a_thread_that_noticed_the_failed_fence_can_be_stolen_from),
		TEST(no_retry_is_sent_while_the_fence_works),
		TEST(after_a_failed_fence_a_threads_end_sends_retry),
		TEST_SYMMETRIC(the_thief_makes_no_fence_when_each_thread_makes_its_own),
		TEST(a_thread_without_a_slot_has_no_cache),
		TEST(a_thread_adopts_the_cache_of_an_ended_thread),
		TEST(the_cache_of_an_ended_thread_can_be_stolen),
	};

	return cmocka_run_group_tests_name("extent_cache", tests, NULL, NULL);
}
