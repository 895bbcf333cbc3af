/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocks that are returned to a segment while another thread has its lock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "support/invariant.h"

#define BLOCKS	8192u			/* two words to a bit of returned_groups */

static struct {
	struct dp_space space;
	struct dp_longest longest;
	_Atomic uint32_t returns;
} w;

static void begin(uint32_t blocks)
{
	w.returns = 0;
	assert_int_equal(dp_longest_init(&w.longest, 1), 0);
	assert_int_equal(dp_space_init(&w.space, blocks), 0);
}

static void open_it(void)
{
	assert_int_equal(dp_space_open(&w.space, &w.longest, 0, &w.returns), 0);
}

static void end(void)
{
	dp_space_fini(&w.space);
	dp_longest_fini(&w.longest);
}

static int set_up(void **state)
{
	(void)state;
	begin(BLOCKS);
	open_it();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	end();
	return 0;
}

/* Takes the lock as another thread would. */
static void lock(void)
{
	assert_int_equal(w.space.lock.state, 0);
	w.space.lock.state = 1;
}

static void unlock(void)
{
	assert_int_equal(w.space.lock.state, 1);
	w.space.lock.state = 0;
}

static uint32_t claim(uint32_t blocks)
{
	uint32_t block;

	assert_int_equal(dp_space_claim(&w.space, blocks, &block), 0);
	return block;
}

static bool is_free(uint32_t block, uint32_t blocks)
{
	return dp_bits_are_free(&w.space.bits, block, blocks);
}

static void check(void)
{
	assert_int_equal(w.space.lock.state, 0);
	assert_int_equal(w.space.returned_groups, 0);
	assert_int_equal(w.returns, 0);
	dp_invariants_runs(&w.space.runs, dp_longest_get(&w.longest, 0));
	for (uint32_t i = 0; i < w.space.bits.blocks / 64; i++)
		assert_int_equal(w.space.returned[i], 0);
}

/* ---------------------------------------------- what happens under the lock */

/* The run that another thread returns during a claim, while the claim has the lock. */
static uint32_t given_back, given_back_blocks;
static bool may_wait;

bool __real_dp_runs_take(struct dp_runs *runs, uint32_t blocks,
			 uint32_t *ret_block);
bool __wrap_dp_runs_take(struct dp_runs *runs, uint32_t blocks,
			 uint32_t *ret_block);
int __wrap_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns);

bool __wrap_dp_runs_take(struct dp_runs *runs, uint32_t blocks, uint32_t *ret_block)
{
	uint32_t back = given_back_blocks;

	given_back_blocks = 0;
	if (back) {
		dp_space_free(&w.space, given_back, back);
		assert_int_equal(w.returns, 1);
		assert_false(is_free(given_back, back));
	}
	return __real_dp_runs_take(runs, blocks, ret_block);
}

/* A thread waits for the lock here. The lock's owner releases it. */
int __wrap_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	assert_true(may_wait);
	assert_ptr_equal(word, &w.space.lock.state);
	assert_int_equal(value, w.space.lock.state);
	assert_true(deadline_ns == UINT64_MAX);
	w.space.lock.state = 0;
	return 0;
}

/* I33: the wrapper above fails the test if a free waits. */
static void a_free_waits_for_no_lock(void **state)
{
	uint32_t block = claim(100);

	(void)state;
	lock();
	dp_space_free(&w.space, block, 100);
	assert_false(is_free(block, 1));
	assert_int_equal(w.returns, 1);
	unlock();
	dp_space_settle(&w.space);
	assert_true(is_free(0, BLOCKS));
	check();
}

static void the_next_claim_takes_returned_blocks_into_account(void **state)
{
	(void)state;
	assert_int_equal(claim(BLOCKS), 0);
	lock();
	dp_space_free(&w.space, 1000, 200);
	dp_space_free(&w.space, 1200, 100);
	dp_space_free(&w.space, 900, 100);
	unlock();
	assert_int_equal(claim(400), 900);
	check();
}

static void a_claim_at_a_place_finds_returned_blocks_there(void **state)
{
	(void)state;
	assert_int_equal(claim(BLOCKS), 0);
	lock();
	dp_space_free(&w.space, 512, 512);
	unlock();
	assert_true(dp_space_claim_at(&w.space, 512, 512));
	assert_false(dp_space_claim_at(&w.space, 512, 1));
	check();
}

/* The next free gets the lock, and adds the blocks that others returned. */
static void the_next_free_adds_returned_blocks(void **state)
{
	(void)state;
	assert_int_equal(claim(BLOCKS), 0);
	lock();
	dp_space_free(&w.space, 0, 64);
	unlock();
	dp_space_free(&w.space, 64, 64);
	assert_true(is_free(0, 128));
	assert_int_equal(dp_runs_longest(&w.space.runs), 128 + 15);
	check();
}

static void returned_blocks_are_added_after_the_lock_is_released(void **state)
{
	uint32_t block;

	(void)state;
	given_back = claim(300);
	given_back_blocks = 300;
	claim(5);
	assert_int_equal(given_back_blocks, 0);
	assert_true(is_free(given_back, 300));
	check();

	/* The check is made even if the claim is refused. */
	block = claim(300);
	assert_int_equal(block, given_back);
	given_back_blocks = 300;
	assert_int_equal(dp_space_claim(&w.space, BLOCKS, &block), -ENOSPC);
	assert_true(is_free(given_back, 300));
	assert_in_range(dp_longest_get(&w.longest, 0), 300, BLOCKS);
	check();
}

static void a_claim_waits_for_the_lock(void **state)
{
	uint32_t block = claim(4);

	(void)state;
	lock();
	dp_space_free(&w.space, block, 4);
	may_wait = true;
	/*
	 * The wrapper releases the lock. The returned blocks are free before the claim
	 * searches.
	 */
	assert_int_equal(claim(BLOCKS), 0);
	may_wait = false;
	check();
}

/* --------------------------------------------------------- what is returned */

/* Runs that begin and end at any block are added completely, and once. */
static void try_pieces(uint32_t blocks, uint64_t seed)
{
	uint32_t *at = calloc(blocks + 1, sizeof(*at)), count = 0;

	assert_non_null(at);
	assert_int_equal(claim(blocks), 0);
	while (at[count] < blocks) {
		uint32_t length;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		length = 1 + (seed >> 33) % (seed >> 63 ? 5 : 200);
		at[count + 1] = dp_min(at[count] + length, blocks);
		count++;
	}
	/* Every second run, then the runs between them. */
	for (uint32_t turn = 0; turn < 2; turn++) {
		lock();
		for (uint32_t i = turn; i < count; i += 2)
			dp_space_free(&w.space, at[i], at[i + 1] - at[i]);
		assert_int_equal(w.returns, count > turn);
		unlock();
		dp_space_settle(&w.space);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(is_free(at[i], 1), i % 2 <= turn);
		check();
	}
	assert_true(is_free(0, blocks));
	free(at);
}

static void segments_of_all_sizes_get_all_returned_blocks(void **state)
{
	/*
	 * One word, one word a group, one word more than groups, and 64 words a group.
	 */
	static const uint32_t sizes[] = { 64, 4096, 4160, 8128, 262144 };

	(void)state;
	end();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		begin(sizes[i]);
		open_it();
		for (uint64_t seed = 1; seed < 6; seed++)
			try_pieces(sizes[i], seed);
		end();
	}
	begin(BLOCKS);
	open_it();
}

static void one_returned_block_of_each_word_is_added(void **state)
{
	(void)state;
	end();
	begin(262144);
	open_it();
	assert_int_equal(claim(262144), 0);
	for (uint32_t turn = 0; turn < 64; turn++) {
		lock();
		for (uint32_t i = 0; i < 262144; i += 64)
			dp_space_free(&w.space, i + (turn * 37 + i / 64) % 64, 1);
		assert_int_equal(w.space.returned_groups, UINT64_MAX);
		unlock();
		dp_space_settle(&w.space);
		assert_int_equal(dp_bits_free_count(&w.space.bits), (turn + 1) * 4096);
	}
	assert_true(is_free(0, 262144));
	check();
}

static void free_while_locked(uint32_t block, uint32_t blocks)
{
	lock();
	dp_space_free(&w.space, block, blocks);
	unlock();
	dp_space_settle(&w.space);
}

static void quarantined_blocks_of_a_returned_run_stay_taken(void **state)
{
	(void)state;
	end();
	begin(BLOCKS);
	/* An extent at blocks 100 to 399 over bad blocks. */
	assert_int_equal(dp_bits_take(&w.space.bits, 100, 300), 0);
	assert_int_equal(dp_bits_quarantine(&w.space.bits, 128, 64), 0);
	assert_int_equal(dp_bits_quarantine(&w.space.bits, 200, 1), 0);
	assert_int_equal(dp_bits_quarantine(&w.space.bits, 399, 2), 0);
	dp_bits_close_off(&w.space.bits);
	open_it();
	free_while_locked(100, 300);
	for (uint32_t i = 0; i < BLOCKS; i++)
		assert_int_equal(is_free(i, 1),
				 !dp_bits_is_quarantined(&w.space.bits, i));
	assert_int_equal(dp_bits_free_count(&w.space.bits), BLOCKS - 67);
	check();
}

/*
 * All blocks of the run are quarantined: nothing becomes free, and nothing stays
 * marked.
 */
static void a_returned_run_that_is_all_quarantined_adds_nothing(void **state)
{
	(void)state;
	end();
	begin(BLOCKS);
	assert_int_equal(dp_bits_take(&w.space.bits, 64, 64), 0);
	assert_int_equal(dp_bits_quarantine(&w.space.bits, 64, 64), 0);
	dp_bits_close_off(&w.space.bits);
	open_it();
	free_while_locked(64, 64);
	assert_int_equal(dp_bits_free_count(&w.space.bits), BLOCKS - 64);
	check();
}

/* ------------------------------------------------------------------- bounds */

static void a_failed_claim_lowers_the_bound_to_the_longest_free_run(void **state)
{
	uint32_t block;

	(void)state;
	assert_int_equal(dp_longest_get(&w.longest, 0), BLOCKS + BLOCKS / 8 - 1);
	claim(1);
	assert_in_range(dp_longest_get(&w.longest, 0), BLOCKS - 1, BLOCKS + BLOCKS / 8);
	assert_int_equal(dp_space_claim(&w.space, BLOCKS, &block), -ENOSPC);
	assert_int_equal(dp_longest_get(&w.longest, 0), BLOCKS - 1);
	claim(BLOCKS - 1);
	/* A claim that succeeds does not lower the bound. */
	assert_int_equal(dp_longest_get(&w.longest, 0), BLOCKS - 1);
	assert_int_equal(dp_space_claim(&w.space, 1, &block), -ENOSPC);
	assert_int_equal(dp_longest_get(&w.longest, 0), 0);
	dp_space_free(&w.space, 5, 10);
	assert_int_equal(dp_longest_get(&w.longest, 0), 10);
	dp_space_free(&w.space, 15, 3);
	assert_int_equal(dp_longest_get(&w.longest, 0), 13);
	check();
}

/* Counts the segments with returned blocks, not the blocks. */
static void segments_with_returned_blocks_are_counted(void **state)
{
	struct dp_space other;

	(void)state;
	assert_int_equal(claim(BLOCKS), 0);
	assert_int_equal(dp_space_init(&other, 64), 0);
	assert_int_equal(dp_space_open(&other, &w.longest, 0, &w.returns), 0);
	assert_true(dp_space_claim_at(&other, 0, 64));
	lock();
	other.lock.state = 1;
	dp_space_free(&w.space, 0, 1);
	dp_space_free(&w.space, 4000, 1);
	assert_int_equal(w.returns, 1);
	dp_space_free(&other, 0, 64);
	assert_int_equal(w.returns, 2);
	unlock();
	dp_space_settle(&w.space);
	assert_int_equal(w.returns, 1);
	other.lock.state = 0;
	dp_space_settle(&other);
	assert_int_equal(w.returns, 0);
	dp_space_fini(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_failed_claim_lowers_the_bound_to_the_longest_free_run),
		TEST(a_free_waits_for_no_lock),
		TEST(returned_blocks_are_added_after_the_lock_is_released),
		TEST(the_next_claim_takes_returned_blocks_into_account),
		TEST(a_claim_at_a_place_finds_returned_blocks_there),
		TEST(the_next_free_adds_returned_blocks),
		TEST(a_claim_waits_for_the_lock),
		TEST(segments_of_all_sizes_get_all_returned_blocks),
		TEST(one_returned_block_of_each_word_is_added),
		TEST(quarantined_blocks_of_a_returned_run_stay_taken),
		TEST(a_returned_run_that_is_all_quarantined_adds_nothing),
		TEST(segments_with_returned_blocks_are_counted),
	};

	return cmocka_run_group_tests_name("extent_space", tests, NULL, NULL);
}
