/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free space of a pool: its segments, the per-thread caches, and when a claim is
 * refused.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "extent/thread_slot.h"
#include "support/invariant.h"

#define ALL_MAX	8192u

static struct dp_spaces spaces;
static struct dp_events events;
static uint32_t all;			/* blocks in the pool */

static void begin(uint32_t segments, uint32_t shift)
{
	all = segments << shift;
	memset(&spaces, 0, sizeof(spaces));
	assert_int_equal(dp_spaces_init(&spaces, segments, segments, shift, &events),
			 0);
	for (uint32_t i = 0; i < segments; i++) {
		assert_int_equal(dp_spaces_add(&spaces, i, 1u << shift), 0);
		assert_int_equal(dp_spaces_open(&spaces, i), 0);
	}
}

static void end(void)
{
	free(dp_invariants_spaces(&spaces));
	dp_spaces_fini(&spaces);
}

static uint64_t claim(uint32_t blocks)
{
	uint64_t block;

	assert_int_equal(dp_spaces_claim(&spaces, blocks, &block), 0);
	assert_in_range(block + blocks, 1, all);
	return block;
}

static void refuse(uint32_t blocks)
{
	uint64_t block;

	assert_int_equal(dp_spaces_claim(&spaces, blocks, &block), -ENOSPC);
}

static void give(uint64_t block, uint32_t blocks)
{
	dp_spaces_free(&spaces, block, blocks);
}

static uint64_t kept(void)
{
	return dp_caches_blocks(&spaces.caches);
}

static void is_free(uint64_t blocks)
{
	assert_int_equal(dp_spaces_free_count(&spaces), blocks);
}

/* Continues as the thread of another slot. */
static unsigned int be(unsigned int slot)
{
	unsigned int was = dp_thread_slot();

	dp_thread_slot_mine = slot + 1;
	return was;
}

/*
 * The thread that is in its cache leaves it while the thief sleeps. cancel_state
 * records whether the thief had disabled cancellation.
 */
static struct dp_cache *inside;
static int cancel_state;

void __wrap_dp_os_sleep_ns(uint64_t ns);

void __wrap_dp_os_sleep_ns(uint64_t ns)
{
	(void)ns;
	if (!inside) {
		sched_yield();
		return;
	}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	pthread_setcancelstate(cancel_state, NULL);
	dp_cache_leave(&spaces.caches, inside);
	inside = NULL;
}

/* --------------------------------------------------------------- with a cache */

static void a_thread_gets_the_run_that_it_freed_last(void **state)
{
	(void)state;
	begin(1, 13);
	for (uint32_t blocks = 1; blocks <= 64; blocks *= 2) {
		uint64_t one = claim(blocks), two = claim(blocks);

		assert_true(one != two);
		give(two, blocks);
		give(one, blocks);
		assert_int_equal(claim(blocks), one);
		assert_int_equal(claim(blocks), two);
	}
	end();
}

static void cached_blocks_are_counted_as_free(void **state)
{
	uint64_t block;

	(void)state;
	begin(1, 12);
	is_free(4096);
	block = claim(1);
	assert_int_equal(kept(), 63);
	is_free(4095);
	give(block, 1);
	is_free(4096);
	block = claim(100);
	is_free(3996);
	give(block, 100);
	is_free(4096);
	end();
}

/* A cache is limited, so that one thread cannot cache much of a small pool. */
static void a_full_cache_gives_runs_back(void **state)
{
	uint64_t block[512];

	(void)state;
	begin(1, 12);
	for (uint32_t i = 0; i < 512; i++)
		block[i] = claim(1);
	for (uint32_t i = 0; i < 512; i++) {
		give(block[i], 1);
		assert_in_range(kept(), 1, 4096 / 16);
		is_free(4096 - 511 + i);
	}
	end();
}

static uint32_t limit_after_a_claim(unsigned int slot)
{
	unsigned int was = be(slot);

	claim(1);
	be(was);
	return spaces.caches.cache[slot].limit;
}

static void each_cache_has_a_share_while_space_is_plenty(void **state)
{
	unsigned int mine = dp_thread_slot();

	(void)state;
	begin(4, 11);
	/* A single thread has half of 1/8 of the pool. */
	assert_int_equal(limit_after_a_claim(mine), 8192 / 8 / 2);
	assert_int_equal(limit_after_a_claim(20), 8192 / 8 / 2);
	assert_int_equal(limit_after_a_claim(21), 8192 / 8 / 3);
	end();
}

static void a_share_is_of_the_open_segments(void **state)
{
	unsigned int mine = dp_thread_slot();

	(void)state;
	begin(4, 11);
	dp_spaces_close(&spaces, 1, 4);
	assert_int_equal(limit_after_a_claim(mine), 2048 / 8 / 2);
	dp_spaces_reopen(&spaces, 1, 4);
	end();
}

/* Few claims would find a run in the segments if the cache had many blocks then. */
static void without_a_long_free_run_a_cache_has_few_blocks(void **state)
{
	(void)state;
	begin(1, 12);
	for (uint32_t i = 0; i < 4096; i += 16)
		claim(16);
	refuse(1);			/* from here on the bounds are exact */
	for (uint32_t i = 0; i < 4096; i += 32)
		give(i, 16);
	assert_in_range(kept(), 1, 64);
	is_free(2048);
	/* With neighbours they are long runs. */
	for (uint32_t i = 16; i < 4096; i += 32)
		give(i, 16);
	assert_in_range(kept(), 65, 4096 / 16);
	is_free(4096);
	end();
}

static void a_pool_of_64_blocks_caches_four(void **state)
{
	bool seen[64] = { false };

	(void)state;
	begin(1, 6);
	for (uint32_t i = 0; i < 64; i++) {
		uint64_t block = claim(1);

		assert_false(seen[block]);
		seen[block] = true;
	}
	refuse(1);
	for (uint32_t i = 0; i < 64; i++) {
		give(i, 1);
		assert_in_range(kept(), 0, 4);
	}
	is_free(64);
	/* No cache is large enough for a run of 5 blocks, not even an empty one. */
	assert_int_equal(claim(64), 0);
	give(0, 64);
	give(claim(5), 5);
	assert_int_equal(kept(), 0);
	end();
}

/* ------------------------------------------------------------- the segments */

static void a_thread_begins_in_its_own_segment(void **state)
{
	unsigned int was;

	(void)state;
	begin(4, 10);
	was = be(2);
	assert_int_equal(claim(1024) >> 10, 2);
	/*
	 * A claim that does not fit into that segment uses the next, and then the
	 * leftmost.
	 */
	assert_int_equal(claim(1000) >> 10, 3);
	assert_int_equal(claim(1000) >> 10, 0);
	assert_int_equal(claim(20) >> 10, 3);
	assert_int_equal(claim(1024) >> 10, 1);
	refuse(25);
	assert_int_equal(claim(24) >> 10, 0);
	be(was);
	is_free(4);
	end();
}

static void threads_begin_in_different_segments(void **state)
{
	unsigned int was = dp_thread_slot();

	(void)state;
	for (uint32_t segments = 1; segments <= 16; segments++) {
		uint32_t used = 0;

		begin(segments, 9);
		for (uint32_t slot = 0; slot < segments; slot++) {
			be(slot);
			used |= 1u << (claim(100) >> 9);
		}
		be(was);
		assert_int_equal(used, (1u << segments) - 1);
		end();
	}
}

static void a_run_lies_in_one_segment(void **state)
{
	uint64_t one, two;

	(void)state;
	begin(2, 6);
	one = claim(40);
	two = claim(40);
	assert_true(one >> 6 != two >> 6);
	/*
	 * 24 blocks are left of each segment, and the last of the first touch the
	 * second's.
	 */
	refuse(25);
	claim(24);
	claim(24);
	end();
}

/* ----------------------------------------------------------------- refusals */

static void cached_runs_are_joined_for_a_large_claim(void **state)
{
	(void)state;
	begin(1, 12);
	give(claim(1), 1);
	assert_int_equal(kept(), 64);
	assert_int_equal(claim(4096), 0);
	assert_int_equal(kept(), 0);
	refuse(1);
	end();
}

static void a_claim_gets_blocks_that_other_threads_cache(void **state)
{
	unsigned int was;

	(void)state;
	begin(1, 12);
	for (unsigned int i = 0; i < DP_THREAD_SLOTS; i++) {
		was = be(i);
		give(claim(1 + i % 16), 1 + i % 16);
		be(was);
	}
	assert_true(kept() > 1000);
	assert_int_equal(claim(4096), 0);
	end();
}

static void a_longer_run_in_another_cache_serves_a_claim(void **state)
{
	uint64_t block;
	unsigned int was;

	(void)state;
	begin(1, 12);
	assert_int_equal(claim(4096), 0);
	was = be(9);
	give(1000, 16);
	be(was);
	assert_int_equal(kept(), 16);
	block = claim(4);
	assert_in_range(block, 1000, 1012);
	is_free(12);
	assert_int_equal(claim(12), block == 1000 ? 1004 : 1000);
	refuse(1);
	end();
}

/* Three threads cache runs of 2, 1 and 1 blocks that touch each other. */
static void cached_pieces_of_several_threads_are_joined_for_a_claim(void **state)
{
	unsigned int was;

	(void)state;
	begin(1, 12);
	assert_int_equal(claim(4096), 0);
	was = be(9);
	give(20, 2);
	be(10);
	give(19, 1);
	/* This thread has no cache. */
	be(DP_THREAD_SLOT_SHARED);
	give(22, 1);
	assert_int_equal(kept(), 3);
	be(was);
	refuse(5);
	assert_int_equal(claim(4), 19);
	end();
}

/* The claim would not fit even if all cached runs were free. */
static void a_claim_that_cannot_fit_leaves_the_caches_alone(void **state)
{
	(void)state;
	begin(1, 12);
	assert_int_equal(claim(4096), 0);
	refuse(1);			/* from here on the bounds are exact */
	give(5, 3);
	refuse(1000);
	assert_int_equal(kept(), 3);
	refuse(4);
	end();
}

/* The thread's frees found the lock taken. */
static void a_thread_can_claim_what_it_gave_back(void **state)
{
	(void)state;
	begin(2, 12);
	claim(4096);
	claim(4096);
	/* After this refusal the library knows that no run is free. */
	refuse(1);
	spaces.space[1].lock.state = 1;
	give(4096 + 100, 600);
	give(4096 + 700, 600);
	spaces.space[1].lock.state = 0;
	assert_int_equal(spaces.returns, 1);
	assert_int_equal(claim(1200), 4096 + 100);
	assert_int_equal(spaces.returns, 0);
	refuse(1);
	end();
}

/* The general rule: a claim is refused only if no free run is long enough. */
static void a_claim_is_refused_only_if_no_run_is_long_enough(void **state)
{
	struct { uint64_t block; uint32_t blocks; } held[ALL_MAX];
	static bool taken[ALL_MAX];
	uint64_t seed = 7;
	uint32_t count = 0, refused = 0;
	unsigned int was = dp_thread_slot();

	(void)state;
	memset(taken, 0, sizeof(taken));
	begin(4, 10);
	for (uint32_t i = 0; i < 30000; i++) {
		uint32_t r, blocks;
		uint64_t block;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		r = seed >> 33;
		be(r % 7 ? r % 5 : DP_THREAD_SLOT_SHARED);
		blocks = r % 3 ? 1 + r / 64 % 20 : 1 + r / 64 % 200;
		if (count && r / 8 % 8 < 3) {
			uint32_t n = r / 64 % count;

			for (uint32_t b = 0; b < held[n].blocks; b++)
				taken[held[n].block + b] = false;
			give(held[n].block, held[n].blocks);
			held[n] = held[--count];
		} else if (!dp_spaces_claim(&spaces, blocks, &block)) {
			assert_int_equal(block >> 10, (block + blocks - 1) >> 10);
			for (uint32_t b = 0; b < blocks; b++) {
				assert_false(taken[block + b]);
				taken[block + b] = true;
			}
			held[count].block = block;
			held[count++].blocks = blocks;
		} else {
			uint32_t length = 0;

			for (uint32_t b = 0; b < all; b++) {
				length = taken[b] ? 0 : b % 1024 ? length + 1 : 1;
				assert_true(length < blocks);
			}
			refused++;
		}
	}
	assert_true(refused > 100);
	be(was);
	end();
}

/* C1: the thief holds a mutex until it is done, and every cache is closed. */
static void a_thief_that_waits_for_a_cache_is_not_cancelled(void **state)
{
	unsigned int was;

	(void)state;
	begin(1, 12);
	was = be(9);
	give(claim(1), 1);
	inside = dp_cache_enter(&spaces.caches);
	be(was);
	claim(4096);
	assert_null(inside);
	assert_int_equal(cancel_state, PTHREAD_CANCEL_DISABLE);
	end();
}

/* --------------------------------------------------------- giving runs back */

static void cached_blocks_can_be_claimed_at_a_place_after_gather(void **state)
{
	(void)state;
	begin(1, 12);
	give(claim(1), 1);
	assert_false(dp_spaces_claim_at(&spaces, 0, 4096));
	dp_spaces_gather(&spaces);
	assert_int_equal(kept(), 0);
	assert_true(dp_spaces_claim_at(&spaces, 0, 4096));
	give(0, 4096);
	/* The threads' caches are in use again. */
	give(claim(1), 1);
	assert_int_equal(kept(), 64);
	end();
}

static void gather_adds_returned_blocks(void **state)
{
	(void)state;
	begin(2, 12);
	assert_true(dp_spaces_claim_at(&spaces, 4096, 4096));
	spaces.space[1].lock.state = 1;
	give(4096, 4096);
	spaces.space[1].lock.state = 0;
	dp_spaces_gather(&spaces);
	assert_true(dp_spaces_claim_at(&spaces, 4096, 4096));
	end();
}

/* ---------------------------------------------------------- several threads */

#define WORKERS		4u
#define HELD		12u
#define STEPS		40000u
#define GATHERS		2000u
#define TINY		512u

static _Atomic uint32_t owner[TINY];
static uint32_t content[TINY];		/* written only by the block's owner */

struct worker {
	pthread_t thread;
	uint32_t number;
	uint64_t seed;
	uint32_t count, refused;
	struct { uint64_t block; uint32_t blocks; } held[HELD];
};

static uint32_t below(struct worker *worker, uint32_t limit)
{
	worker->seed = worker->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (worker->seed >> 33) % limit;
}

/* assert(), since cmocka's assertions work only in the thread that runs the test. */
static void own(struct worker *worker, uint64_t block, uint32_t blocks)
{
	for (uint64_t i = block; i < block + blocks; i++) {
		uint32_t was = atomic_exchange_explicit(&owner[i], worker->number,
							memory_order_relaxed);

		assert(!was);
		/* I14: the previous owner no longer uses the block. */
		content[i] = worker->number;
	}
	worker->held[worker->count].block = block;
	worker->held[worker->count++].blocks = blocks;
}

static void disown(struct worker *worker, uint32_t index)
{
	uint64_t block = worker->held[index].block;
	uint32_t blocks = worker->held[index].blocks;

	for (uint64_t i = block; i < block + blocks; i++) {
		uint32_t was = atomic_exchange_explicit(&owner[i], 0,
							memory_order_relaxed);

		assert(was == worker->number && content[i] == worker->number);
	}
	worker->held[index] = worker->held[--worker->count];
	dp_spaces_free(&spaces, block, blocks);
}

/*
 * All of them hold at most 4 * 12 runs of 8 blocks, and the thief 60 blocks, so some of
 * the 512 are always free and a claim of one block is never refused.
 */
static void worker_step(struct worker *worker)
{
	uint32_t blocks = below(worker, 3) ? 1 : 1 + below(worker, 8);
	uint64_t block;

	if (worker->count == HELD || (worker->count && below(worker, 2))) {
		disown(worker, below(worker, worker->count));
		return;
	}
	if (!dp_spaces_claim(&spaces, blocks, &block)) {
		own(worker, block, blocks);
		return;
	}
	/*
	 * If there are several segments, a block may become free in one that was
	 * searched already.
	 */
	assert(blocks > 1 || spaces.segments > 1);
	worker->refused++;
}

static void *work(void *arg)
{
	struct worker *worker = arg;

	/* One of the threads has no cache. */
	if (worker->number == WORKERS)
		dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	for (uint32_t i = 0; i < STEPS; i++)
		worker_step(worker);
	while (worker->count)
		disown(worker, 0);
	return NULL;
}

/* Steals from the others, for their claims and for a long claim of its own. */
static void *gather(void *arg)
{
	uint64_t block;

	(void)arg;
	for (uint32_t i = 0; i < GATHERS; i++) {
		dp_spaces_gather(&spaces);
		if (!dp_spaces_claim(&spaces, 60, &block))
			dp_spaces_free(&spaces, block, 60);
	}
	return NULL;
}

static void run_threads(uint32_t segments, uint32_t shift)
{
	struct worker worker[WORKERS];
	pthread_t thief;

	begin(segments, shift);
	for (uint32_t i = 0; i < WORKERS; i++) {
		worker[i] = (struct worker) { .number = i + 1, .seed = i };
		assert_int_equal(pthread_create(&worker[i].thread, NULL, work,
						&worker[i]), 0);
	}
	assert_int_equal(pthread_create(&thief, NULL, gather, NULL), 0);
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
	assert_int_equal(pthread_join(thief, NULL), 0);

	is_free(all);
	dp_spaces_gather(&spaces);
	for (uint32_t i = 0; i < segments; i++)
		assert_true(dp_spaces_claim_at(&spaces, (uint64_t)i << shift,
					       1u << shift));
	is_free(0);
	end();
}

static void threads_share_a_segment_and_lose_nothing(void **state)
{
	(void)state;
	run_threads(1, 9);
}

static void threads_share_segments_and_lose_nothing(void **state)
{
	(void)state;
	run_threads(4, 7);
}

int main(void)
{
#define TEST(name) cmocka_unit_test(name)
	const struct CMUnitTest tests[] = {
		TEST(a_thread_gets_the_run_that_it_freed_last),
		TEST(cached_blocks_are_counted_as_free),
		TEST(a_full_cache_gives_runs_back),
		TEST(each_cache_has_a_share_while_space_is_plenty),
		TEST(a_share_is_of_the_open_segments),
		TEST(without_a_long_free_run_a_cache_has_few_blocks),
		TEST(a_pool_of_64_blocks_caches_four),
		TEST(a_thread_begins_in_its_own_segment),
		TEST(threads_begin_in_different_segments),
		TEST(a_run_lies_in_one_segment),
		TEST(cached_runs_are_joined_for_a_large_claim),
		TEST(a_claim_gets_blocks_that_other_threads_cache),
		TEST(a_longer_run_in_another_cache_serves_a_claim),
		TEST(cached_pieces_of_several_threads_are_joined_for_a_claim),
		TEST(a_claim_that_cannot_fit_leaves_the_caches_alone),
		TEST(a_thread_can_claim_what_it_gave_back),
		TEST(a_claim_is_refused_only_if_no_run_is_long_enough),
		TEST(a_thief_that_waits_for_a_cache_is_not_cancelled),
		TEST(cached_blocks_can_be_claimed_at_a_place_after_gather),
		TEST(gather_adds_returned_blocks),
		TEST(threads_share_a_segment_and_lose_nothing),
		TEST(threads_share_segments_and_lose_nothing),
	};

	return cmocka_run_group_tests_name("extent_spaces", tests, NULL, NULL);
}
