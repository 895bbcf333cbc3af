/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Very many watches, registrations and jobs: an operation on one of them does not
 * search all others, and they can end in any order. The last tests use two pools of one
 * process, whose handles can be equal: neither pool accepts a hold or a watch of the
 * other.
 */
#include <time.h>
#include "core/handle.h"
#include "fixture.h"
#include "needs.h"
#include "support/invariant.h"

#define WATCHES		1000u
#define MANY		500u
#define LONGEST		12u		/* watches in a bucket; 6 or 7 by chance */

static uint32_t longest_bucket(const struct dp_events *events)
{
	uint32_t longest = 0, length;

	for (uint32_t i = 0; i < events->buckets; i++) {
		length = 0;
		for (struct daxpin_watch *at = events->waiting[i]; at; at = at->next)
			length++;
		if (length > longest)
			longest = length;
	}
	return longest;
}

/* The size is a power of two, so that the addresses have their low bits in common. */
static void watches_at(struct fixture *f, uint64_t size, uint32_t count)
{
	static struct daxpin_extent extent[WATCHES];
	static struct daxpin_watch watch[WATCHES];
	struct daxpin_event event;
	bool seen[WATCHES] = { false };
	uint32_t longest;

	memset(watch, 0, sizeof(watch));
	for (uint32_t i = 0; i < count; i++) {
		extent[i] = reserve(f, size);
		assert_int_equal(daxpin_hold(f->pool, extent[i], DAXPIN_HOLD_READ), 0);
		assert_int_equal(daxpin_watch(f->pool, extent[i], &seen[i],
					      &watch[i]), 0);
	}
	longest = longest_bucket(&f->pool->events);
	print_message("# %u watched extents of %u KiB: %u in a list\n", count,
		      (unsigned int)(size >> 10), longest);
	assert_true(longest <= LONGEST);
	/* Every third watch is cancelled. The others send their event. */
	for (uint32_t i = 0; i < count; i += 3)
		assert_int_equal(daxpin_unwatch(f->pool, &watch[i]), 1);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(daxpin_drop(f->pool, extent[i]), 0);
		assert_int_equal(daxpin_next_event(f->pool, &event), i % 3 ? 1 : 0);
		if (i % 3)
			assert_ptr_equal(event.watch, &watch[i]);
		assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
	}
	dp_invariants(f->pool);
}

static void watches_of_extents_at_any_distance_are_spread(void **state)
{
	struct fixture *f = *state;

	watches_at(f, 256 << 10, 200);
	watches_at(f, 4096, WATCHES);
	watches_at(f, 32 << 10, WATCHES);
	/* The number of buckets does not decrease. */
	watches_at(f, 4096, 10);
}

/* A watch whose event was not taken is not in use after the close. */
static void watches_in_many_buckets_end_with_the_pool(void **state)
{
	static struct daxpin_watch watch[WATCHES];
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	for (uint32_t i = 0; i < WATCHES; i++)
		assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch[i]), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(fixture_reopen(f), 0);
	for (uint32_t i = 0; i < WATCHES; i++)
		assert_int_equal(daxpin_unwatch(f->pool, &watch[i]), 0);
}

/* -------------------------------------------------------------- registrations */

static void count_registration(const struct daxpin_holder *holder, void *arg)
{
	uint32_t *seen = arg, i;

	assert_int_equal(sscanf(holder->label, "%u", &i), 1);
	seen[i]++;
}

/* Each registration that has not ended is listed once. */
static void check_registrations(struct fixture *f, const bool *ended)
{
	const struct daxpin_extent all = { 0, 0 };
	uint32_t seen[MANY] = { 0 };

	assert_int_equal(daxpin_holds(f->pool, all, count_registration, seen), 0);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(seen[i], !ended[i]);
}

static void registrations_end_in_any_order(void **state)
{
	char label[12];
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = label,
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
	};
	static struct daxpin_registration *registration[MANY];
	struct fixture *f = *state;
	struct daxpin_pool_info info = { .size = sizeof(info) };
	bool ended[MANY] = { false };

	for (uint32_t i = 0; i < MANY; i++) {
		snprintf(label, sizeof(label), "%u", i);
		assert_int_equal(daxpin_register(f->pool, DAXPIN_ALL_SEGMENTS,
						 &options, &registration[i]), 0);
	}
	/* 7 has no divisor in common with MANY. */
	for (uint32_t i = 0; i < MANY; i++) {
		assert_int_equal(daxpin_unregister(registration[i * 7 % MANY]), 0);
		ended[i * 7 % MANY] = true;
		assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
		assert_int_equal(info.registrations, MANY - 1 - i);
		if (i % 20 == 0)
			check_registrations(f, ended);
	}
}

/* ----------------------------------------------------------------------- jobs */

static uint32_t listed_jobs(const struct daxpin_pool *pool)
{
	uint32_t count = 0;

	for (const struct daxpin_job *job = pool->jobs.first; job; job = job->next)
		count++;
	return count;
}

static void jobs_that_are_over_leave_the_list(void **state)
{
	static struct daxpin_job *job[MANY];
	struct fixture *f = *state;
	struct daxpin_event event;

	need_io_uring();
	for (uint32_t i = 0; i < MANY; i++) {
		assert_int_equal(daxpin_refill(f->pool, NULL, &job[i]), 0);
		assert_int_equal(daxpin_job_wait(job[i], DAXPIN_NO_DEADLINE), 0);
		assert_true(listed_jobs(f->pool) <= 1);
	}
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	/* Some jobs are ended after their event was taken, and the others before. */
	for (uint32_t i = 0; i < MANY / 5; i++) {
		assert_int_equal(daxpin_next_event(f->pool, &event), 1);
		assert_ptr_equal(event.job, job[i]);
	}
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(daxpin_job_end(job[i * 7 % MANY]), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
	assert_int_equal(listed_jobs(f->pool), 0);
}

/* ------------------------------------------------------------------ two pools */

/* Reserves an extent of the other pool whose handle equals that of `extent`. */
static struct daxpin_extent twin_of(struct fixture *other, struct daxpin_extent extent)
{
	struct daxpin_extent twin;

	do {
		twin = reserve(other, DAXPIN_BLOCK_SIZE);
		assert_int_equal(daxpin_cancel(other->pool, twin), 0);
	} while (twin.gen + 1 < extent.gen);
	twin = reserve(other, DAXPIN_BLOCK_SIZE);
	assert_int_equal(twin.addr, extent.addr);
	assert_int_equal(twin.gen, extent.gen);
	return twin;
}

/* An extent in the second generation of its block. */
static struct daxpin_extent reserve_twice(struct fixture *f)
{
	struct daxpin_extent extent = reserve(f, DAXPIN_BLOCK_SIZE);

	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	return reserve(f, DAXPIN_BLOCK_SIZE);
}

static void a_labelled_hold_is_dropped_only_in_its_own_pool(void **state)
{
	struct daxpin_hold hold = { .access = 0 }, theirs = { .access = 0 };
	struct fixture *f = *state, *other;
	struct daxpin_extent extent = reserve_twice(f), twin;

	assert_int_equal(fixture_setup((void **)&other), 0);
	twin = twin_of(other, extent);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ, "here",
					      &hold), 0);
	/* It has the same place in the tables of the other pool. */
	assert_int_equal(daxpin_hold_labelled(other->pool, twin, DAXPIN_HOLD_READ,
					      "theirs", &theirs), 0);
	assert_int_equal(daxpin_drop_labelled(other->pool, &hold), -EINVAL);
	assert_int_equal(daxpin_idle(other->pool, twin), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
	assert_int_equal(daxpin_drop_labelled(other->pool, &theirs), 0);
	/* The struct can be used again, in the other pool. */
	assert_int_equal(daxpin_hold_labelled(other->pool, twin, DAXPIN_HOLD_READ,
					      "there", &hold), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), -EINVAL);
	assert_int_equal(daxpin_drop_labelled(other->pool, &hold), 0);
	assert_int_equal(fixture_teardown((void **)&other), 0);
}

static void a_watch_is_taken_back_only_in_its_own_pool(void **state)
{
	struct daxpin_watch watch = { .arg = NULL };
	struct fixture *f = *state, *other;
	struct daxpin_extent extent = reserve(f, DAXPIN_BLOCK_SIZE);
	struct daxpin_event event;

	assert_int_equal(fixture_setup((void **)&other), 0);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch), 0);
	assert_int_equal(daxpin_unwatch(other->pool, &watch), -EINVAL);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	/*
	 * Another pool refuses the watch while it waits, and while its event is queued.
	 */
	assert_int_equal(daxpin_unwatch(other->pool, &watch), -EINVAL);
	assert_int_equal(daxpin_next_event(other->pool, &event), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_ptr_equal(event.watch, &watch);
	assert_int_equal(daxpin_unwatch(other->pool, &watch), 0);
	assert_int_equal(fixture_teardown((void **)&other), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(watches_of_extents_at_any_distance_are_spread),
		TEST(watches_in_many_buckets_end_with_the_pool),
		TEST(registrations_end_in_any_order),
		TEST(jobs_that_are_over_leave_the_list),
		TEST(a_labelled_hold_is_dropped_only_in_its_own_pool),
		TEST(a_watch_is_taken_back_only_in_its_own_pool),
	};

	return cmocka_run_group_tests_name("api_many", tests, NULL, NULL);
}
