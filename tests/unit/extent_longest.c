/* SPDX-License-Identifier: BSD-3-Clause */
/* Upper bounds of the longest free run, by segment and by group of 64 segments. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "extent/longest.h"

#define SEGMENTS	200u		/* three groups and a part */
#define RAISES		500000u

static struct dp_longest longest;
/* A test puts the words of the groups on a page that it can protect. */
static void *page, *usual_groups;

static int set_up(void **state)
{
	(void)state;
	return dp_longest_init(&longest, SEGMENTS);
}

static int tear_down(void **state)
{
	(void)state;
	if (page) {
		longest.group = usual_groups;
		munmap(page, 4096);
		page = NULL;
	}
	dp_longest_fini(&longest);
	return 0;
}

static uint32_t find(uint32_t from, uint32_t to, uint32_t blocks)
{
	return dp_longest_find(&longest, from, to, blocks);
}

static void a_search_finds_the_first_segment_that_may_have_the_run(void **state)
{
	(void)state;
	assert_int_equal(find(0, SEGMENTS, 1), SEGMENTS);
	dp_longest_set(&longest, 199, 9);
	dp_longest_set(&longest, 64, 5);
	dp_longest_set(&longest, 63, 3);
	assert_int_equal(find(0, SEGMENTS, 1), 63);
	assert_int_equal(find(0, SEGMENTS, 4), 64);
	assert_int_equal(find(0, SEGMENTS, 5), 64);
	assert_int_equal(find(0, SEGMENTS, 6), 199);
	assert_int_equal(find(0, SEGMENTS, 10), SEGMENTS);
	assert_int_equal(find(65, SEGMENTS, 1), 199);
	assert_int_equal(dp_longest_of_all(&longest), 9);
}

static void a_bound_that_is_lowered_lowers_that_of_all(void **state)
{
	(void)state;
	dp_longest_set(&longest, 70, 9);
	dp_longest_set(&longest, 71, 4);
	dp_longest_lower(&longest, 70, 2);
	assert_int_equal(dp_longest_get(&longest, 70), 2);
	assert_int_equal(dp_longest_of_all(&longest), 4);
	dp_longest_set(&longest, 70, 6);
	assert_int_equal(dp_longest_of_all(&longest), 6);
}

/* A thread whose search begins in segment 100 makes these two searches. */
static void a_search_in_two_parts_covers_all_segments(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		uint32_t found;

		dp_longest_set(&longest, i, 7);
		found = find(100, SEGMENTS, 7);
		if (found == SEGMENTS)
			found = find(0, 100, 7);
		assert_int_equal(found, i);
		dp_longest_set(&longest, i, 0);
	}
	assert_int_equal(find(50, 50, 1), 50);
	dp_longest_set(&longest, 100, 7);
	assert_int_equal(find(0, 100, 7), 100);		/* none before it */
	assert_int_equal(find(50, 101, 7), 100);
}

static void a_search_without_a_result_lowers_the_groups_bound(void **state)
{
	(void)state;
	dp_longest_set(&longest, 70, 50);
	dp_longest_set(&longest, 71, 20);
	dp_longest_set(&longest, 70, 10);
	/* Only a search computes the bound. */
	assert_int_equal(dp_longest_of_all(&longest), 50);
	assert_int_equal(find(70, SEGMENTS, 30), SEGMENTS);
	assert_int_equal(dp_longest_of_all(&longest), 50);
	assert_int_equal(find(0, SEGMENTS, 30), SEGMENTS);
	assert_int_equal(dp_longest_of_all(&longest), 20);
	assert_int_equal(find(0, SEGMENTS, 20), 71);
}

/* The searched range ends inside a group whose later segments have longer runs. */
static void a_groups_bound_is_lowered_to_the_longest_of_all_its_segments(void **state)
{
	(void)state;
	dp_longest_set(&longest, 10, 90);
	dp_longest_set(&longest, 60, 80);
	dp_longest_set(&longest, 10, 0);
	assert_int_equal(find(0, 30, 85), 30);
	assert_int_equal(find(0, SEGMENTS, 80), 60);
	assert_int_equal(find(0, 30, 1), 30);
	assert_int_equal(find(0, SEGMENTS, 80), 60);
}

static void raising_a_segment_raises_its_group(void **state)
{
	(void)state;
	dp_longest_set(&longest, 3, 9);
	dp_longest_set(&longest, 3, 2);
	assert_int_equal(find(0, SEGMENTS, 9), SEGMENTS);
	assert_int_equal(dp_longest_of_all(&longest), 2);
	dp_longest_set(&longest, 3, 8);
	assert_int_equal(find(0, SEGMENTS, 8), 3);
	assert_int_equal(dp_longest_get(&longest, 3), 8);
}

/* ------------------------------------------------------ raises are not lost */

/* The search stores its result: another thread raises the segment just before. */
static void raise_now(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_addr != page || mprotect(page, 4096, PROT_READ | PROT_WRITE))
		abort();
	dp_longest_set(&longest, 63, 9);
}

static void search_meanwhile(void)
{
	const struct sigaction raise = {
		.sa_sigaction = raise_now, .sa_flags = SA_SIGINFO,
	};
	struct sigaction before;

	assert_int_equal(sigaction(SIGSEGV, &raise, &before), 0);
	assert_int_equal(mprotect(page, 4096, PROT_READ), 0);
	assert_int_equal(find(0, 64, 9), 64);
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
}

/*
 * I61. The words of the groups are on a page that cannot be written, so the search is
 * interrupted between its last load and its CAS. The raise in between is to the value
 * that the word had.
 */
static void a_raise_in_the_middle_of_a_search_is_not_lost(void **state)
{
	(void)state;
	usual_groups = (void *)longest.group;
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	assert_true(page != MAP_FAILED);
	longest.group = page;
	dp_longest_set(&longest, 63, 9);
	dp_longest_set(&longest, 63, 2);
	search_meanwhile();
	assert_int_equal(dp_longest_get(&longest, 63), 9);
	assert_int_equal(find(0, 64, 9), 63);
}

static _Atomic bool over;

static void *search(void *arg)
{
	(void)arg;
	while (!atomic_load(&over))
		find(0, 64, 9);
	return NULL;
}

/*
 * I61. One thread raises and lowers the last segment of the group, while others search
 * it and lower the group's bound in between.
 */
static void a_thread_finds_the_segment_that_it_raised(void **state)
{
	pthread_t thread[2];
	uint32_t lost = 0;

	(void)state;
	atomic_store(&over, false);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, search, NULL), 0);
	for (uint32_t i = 0; i < RAISES; i++) {
		dp_longest_set(&longest, 63, 9);
		lost += find(0, SEGMENTS, 9) != 63;
		lost += dp_longest_of_all(&longest) < 9;
		dp_longest_set(&longest, 63, 2);
	}
	atomic_store(&over, true);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(lost, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_search_finds_the_first_segment_that_may_have_the_run),
		TEST(a_bound_that_is_lowered_lowers_that_of_all),
		TEST(a_search_in_two_parts_covers_all_segments),
		TEST(a_search_without_a_result_lowers_the_groups_bound),
		TEST(a_groups_bound_is_lowered_to_the_longest_of_all_its_segments),
		TEST(raising_a_segment_raises_its_group),
		TEST(a_raise_in_the_middle_of_a_search_is_not_lost),
		TEST(a_thread_finds_the_segment_that_it_raised),
	};

	return cmocka_run_group_tests_name("extent_longest", tests, NULL, NULL);
}
