/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of labelled holds: a table for each thread, and any thread drops. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "extent/labels.h"

#define HOLDS	200u

static struct dp_labels labels;
static struct daxpin_hold holds[HOLDS];
static bool no_memory;
static _Atomic uint64_t allocations;
static atomic_bool sleeping, over;
static _Atomic uint32_t sleepers;
static _Thread_local bool has_slept;

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	allocations++;
	return no_memory ? NULL : __real_aligned_alloc(alignment, size);
}

/* GCC makes a malloc() of a first realloc(). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
	return no_memory ? NULL : __real_realloc(memory, size);
}

void __real_dp_os_sleep_ns(uint64_t ns);
void __wrap_dp_os_sleep_ns(uint64_t ns);
void __wrap_dp_os_sleep_ns(uint64_t ns)
{
	atomic_store(&sleeping, true);
	sleepers += !has_slept;
	has_slept = true;
	__real_dp_os_sleep_ns(ns);
}

int __real_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns);
int __wrap_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns);
int __wrap_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	atomic_store(&sleeping, true);
	return __real_dp_os_futex_wait(word, value, deadline_ns);
}

static int set_up(void **state)
{
	(void)state;
	memset(holds, 0, sizeof(holds));
	no_memory = false;
	allocations = 0;
	atomic_store(&sleeping, false);
	atomic_store(&sleepers, 0);
	atomic_store(&over, false);
	dp_labels_init(&labels);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dp_labels_fini(&labels);
	return 0;
}

static int add_to(struct daxpin_hold *hold, uint64_t addr)
{
	hold->extent = (struct daxpin_extent) { addr, 1 };
	hold->access = DAXPIN_HOLD_READ;
	hold->label = "a label";
	return dp_label_add(&labels, hold);
}

static void add(struct daxpin_hold *hold, uint64_t addr)
{
	assert_int_equal(add_to(hold, addr), 0);
}

static void count(const struct daxpin_hold *hold, void *arg)
{
	assert_string_equal(hold->label, "a label");
	++*(uint32_t *)arg;
}

static uint32_t count_in(uint64_t begin, uint64_t end)
{
	uint32_t found = 0;

	dp_labels_each(&labels, begin, end, count, &found);
	return found;
}

static void in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, fn, arg), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void *remove_all(void *arg)
{
	uint32_t *removed = arg;

	for (uint32_t i = 0; i < HOLDS; i++)
		*removed += !dp_label_remove(&labels, &holds[i]);
	return NULL;
}

static void *add_all(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < HOLDS; i++)
		add(&holds[i], (uint64_t)i << 12);
	return NULL;
}

/* ------------------------------------------------------------------------ tests */

static void each_reports_the_holds_in_the_range(void **state)
{
	(void)state;
	add_all(NULL);
	assert_int_equal(count_in(0, UINT64_MAX), HOLDS);
	assert_int_equal(count_in(4096, 3 * 4096), 2);
	assert_int_equal(count_in(4097, 2 * 4096), 0);
	assert_int_equal(dp_label_remove(&labels, &holds[1]), 0);
	assert_int_equal(count_in(4096, 3 * 4096), 1);
	assert_int_equal(count_in(0, UINT64_MAX), HOLDS - 1);
}

static void a_list_has_the_holds_in_order_of_addresses(void **state)
{
	struct dp_label_list list;
	uint32_t found;

	(void)state;
	for (uint32_t i = 0; i < HOLDS; i++)
		add(&holds[i], (uint64_t)(i * 77 % (HOLDS / 2)) << 12);
	assert_int_equal(dp_labels_list(&labels, 2 * 4096, HOLDS * 4096, &list), 0);
	for (uint64_t i = 2; i < HOLDS / 2; i += 3) {
		found = 0;
		dp_label_list_at(&list, i << 12, count, &found);
		assert_int_equal(found, 2);
	}
	dp_label_list_free(&list);
}

/* The list has places; a place may be free by now, or have a hold of another extent. */
static void a_list_reports_what_its_places_have_now(void **state)
{
	struct dp_label_list list;
	uint32_t found = 0;

	(void)state;
	add(&holds[0], 4096);
	add(&holds[1], 2 * 4096);
	assert_int_equal(dp_labels_list(&labels, 0, UINT64_MAX, &list), 0);
	assert_int_equal(dp_label_remove(&labels, &holds[0]), 0);
	dp_label_list_at(&list, 4096, count, &found);
	assert_int_equal(found, 0);
	assert_int_equal(dp_label_remove(&labels, &holds[1]), 0);
	add(&holds[2], 3 * 4096);
	dp_label_list_at(&list, 2 * 4096, count, &found);
	assert_int_equal(found, 0);
	dp_label_list_free(&list);
}

static void a_place_is_used_again_after_a_drop_in_its_thread(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 100; round++) {
		add_all(NULL);
		for (uint32_t i = 0; i < HOLDS; i++)
			assert_int_equal(dp_label_remove(&labels, &holds[i]), 0);
	}
	assert_int_equal(count_in(0, UINT64_MAX), 0);
	/* 32, 64, 128, 256 places. */
	assert_int_equal(allocations, 4);
}

/* Here a table needs twice as many places, because it is swept when it is full. */
static void a_place_is_used_again_after_a_drop_in_another_thread(void **state)
{
	uint32_t removed = 0;

	(void)state;
	for (uint32_t round = 0; round < 100; round++) {
		add_all(NULL);
		in_thread(remove_all, &removed);
	}
	assert_int_equal(removed, 100 * HOLDS);
	assert_int_equal(count_in(0, UINT64_MAX), 0);
	assert_in_range(allocations, 4, 5);
}

/* The next thread with the slot uses the table that the last one left. */
static void holds_of_a_thread_that_ended_can_be_dropped(void **state)
{
	uint32_t removed = 0;

	(void)state;
	for (uint32_t round = 0; round < 100; round++) {
		in_thread(add_all, NULL);
		assert_int_equal(count_in(0, UINT64_MAX), HOLDS);
		if (round % 2)
			remove_all(&removed);
		else
			in_thread(remove_all, &removed);
	}
	assert_int_equal(removed, 100 * HOLDS);
	assert_in_range(allocations, 4, 5);
}

static pthread_barrier_t all_have_begun;

static void *use_own(void *arg)
{
	struct daxpin_hold *hold = arg;
	uintptr_t failed = 0;

	dp_thread_slot();
	pthread_barrier_wait(&all_have_begun);
	for (uint32_t i = 0; i < 1000; i++)
		failed |= add_to(hold, 4096) || dp_label_remove(&labels, hold);
	return (void *)failed;
}

/* More threads than slots: most of them share a table. */
static void threads_without_a_slot_share_a_table(void **state)
{
	uint32_t sharing = 0;
	pthread_t thread[HOLDS];
	void *failed;

	(void)state;
	assert_int_equal(pthread_barrier_init(&all_have_begun, NULL, HOLDS), 0);
	for (uint32_t i = 0; i < HOLDS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, use_own, &holds[i]),
				 0);
	for (uint32_t i = 0; i < HOLDS; i++) {
		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
		sharing += holds[i].slot == DP_THREAD_SLOT_SHARED;
	}
	pthread_barrier_destroy(&all_have_begun);
	assert_in_range(sharing, HOLDS - DP_THREAD_SLOTS, HOLDS);
	assert_int_equal(count_in(0, UINT64_MAX), 0);
}

static void *remove_one(void *arg)
{
	uintptr_t failed = dp_label_remove(&labels, arg) ? 1 : 0;

	atomic_store(&over, true);
	return (void *)failed;
}

static void drop_meanwhile(const struct daxpin_hold *hold, void *arg)
{
	pthread_t *thread = arg;

	assert_int_equal(pthread_create(thread, NULL, remove_one, &holds[0]), 0);
	while (!atomic_load(&sleeping) && !atomic_load(&over))
		sched_yield();
	/* The label may be freed after the drop. */
	assert_false(atomic_load(&over));
	assert_int_equal(hold->access, DAXPIN_HOLD_READ);
}

static void a_drop_waits_for_a_report_of_its_hold(void **state)
{
	pthread_t thread;
	void *failed;

	(void)state;
	add(&holds[0], 4096);
	dp_labels_each(&labels, 0, UINT64_MAX, drop_meanwhile, &thread);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_int_equal(count_in(0, UINT64_MAX), 0);
}

static void drop_twice_meanwhile(const struct daxpin_hold *hold, void *arg)
{
	pthread_t *thread = arg;

	(void)hold;
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, remove_one,
						&holds[0]), 0);
	while (atomic_load(&sleepers) < 2 && !atomic_load(&over))
		sched_yield();
	assert_false(atomic_load(&over));
}

/* Both find the hold in its place, and wait for the report. */
static void of_two_drops_at_the_same_time_one_succeeds(void **state)
{
	uint32_t refused = 0;
	pthread_t thread[2];
	void *failed;

	(void)state;
	add(&holds[0], 4096);
	dp_labels_each(&labels, 0, UINT64_MAX, drop_twice_meanwhile, thread);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(thread[i], &failed), 0);
		refused += failed != NULL;
	}
	assert_int_equal(refused, 1);
	assert_int_equal(count_in(0, UINT64_MAX), 0);
}

/* Only the thread of a table changes its list of free places. */
static void a_drop_in_another_thread_leaves_the_list_as_it_is(void **state)
{
	struct dp_label_table *table;
	uint32_t removed = 0;
	uint64_t free;

	(void)state;
	add(&holds[0], 4096);
	table = &labels.table[holds[0].slot];
	free = table->free;
	in_thread(remove_all, &removed);
	assert_int_equal(removed, 1);
	assert_int_equal(table->free, free);
	assert_int_equal(table->part[0][holds[0].place].content, 0);
}

static void *add_without_a_slot(void *arg)
{
	uintptr_t failed;

	dp_thread_slot_mine = DP_THREAD_SLOT_SHARED + 1;
	failed = add_to(arg, 4096) ? 1 : 0;
	atomic_store(&over, true);
	return (void *)failed;
}

static void an_add_to_the_shared_table_waits_for_its_lock(void **state)
{
	struct dp_polled_lock *lock = &labels.table[DP_THREAD_SLOT_SHARED].lock;
	pthread_t thread;
	void *failed;

	(void)state;
	dp_polled_lock_take(lock);
	assert_int_equal(pthread_create(&thread, NULL, add_without_a_slot, &holds[0]),
			 0);
	while (!atomic_load(&sleeping) && !atomic_load(&over))
		sched_yield();
	assert_false(atomic_load(&over));
	dp_polled_lock_release(lock);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_int_equal(holds[0].slot, DP_THREAD_SLOT_SHARED);
	assert_int_equal(dp_label_remove(&labels, &holds[0]), 0);
}

/* A copy is not followed: the places that it could name are compared with it. */
static void a_struct_with_a_place_that_does_not_exist_is_einval(void **state)
{
	struct daxpin_hold wrong;

	(void)state;
	add(&holds[0], 4096);
	for (uint32_t i = 4; i < 64; i++) {
		wrong = holds[0];
		wrong.place = 1ull << i;
		assert_int_equal(dp_label_remove(&labels, &wrong), -EINVAL);
	}
	wrong = holds[0];
	wrong.place = UINT64_MAX;
	assert_int_equal(dp_label_remove(&labels, &wrong), -EINVAL);
	for (uint32_t i = 0; i < 2 * DP_THREAD_SLOTS; i++) {
		wrong = holds[0];
		wrong.slot = i;
		assert_int_equal(dp_label_remove(&labels, &wrong), -EINVAL);
	}
	assert_int_equal(dp_label_remove(&labels, &holds[0]), 0);
}

static void without_memory_an_add_is_refused_and_no_hold_is_lost(void **state)
{
	struct dp_label_list list;
	uint32_t added = 0;

	(void)state;
	no_memory = true;
	assert_int_equal(add_to(&holds[0], 4096), -ENOMEM);
	assert_int_equal(dp_label_remove(&labels, &holds[0]), -EINVAL);
	no_memory = false;
	add(&holds[0], 4096);
	no_memory = true;
	while (!add_to(&holds[added + 1], 4096))
		added++;
	assert_int_equal(added + 1, DP_LABELS_FIRST);
	assert_int_equal(count_in(0, UINT64_MAX), added + 1);
	assert_int_equal(dp_labels_list(&labels, 0, UINT64_MAX, &list), -ENOMEM);
	assert_int_equal(dp_label_remove(&labels, &holds[3]), 0);
	add(&holds[3], 4096);
}

/* ------------------------------------------------------------------------- races */

#define WORKERS	4u

struct slot {
	struct daxpin_hold *_Atomic hold;
};

/* Holds that are taken by one thread and dropped by any, which frees their memory. */
static struct slot bag[8];

static void drop_out_of(struct slot *slot, struct daxpin_hold *next)
{
	struct daxpin_hold *hold = atomic_exchange(&slot->hold, next);
	char *label;

	if (!hold)
		return;
	label = (char *)hold->label;
	assert_int_equal(dp_label_remove(&labels, hold), 0);
	label[0] = 'x';
	free(label);
	free(hold);
}

static void *work(void *arg)
{
	uint32_t seed = (uintptr_t)arg;

	for (uint32_t i = 0; i < 5000; i++) {
		struct daxpin_hold *hold = calloc(1, sizeof(*hold));
		char *label = malloc(8);

		assert_true(hold && label);
		memcpy(label, "a label", 8);
		hold->extent.addr = 4096;
		hold->access = DAXPIN_HOLD_READ;
		hold->label = label;
		assert_int_equal(dp_label_add(&labels, hold), 0);
		seed = seed * 1103515245 + 12345;
		drop_out_of(&bag[seed >> 16 & 7], hold);
	}
	return NULL;
}

static void *report(void *arg)
{
	struct dp_label_list list;
	uint32_t found = 0;

	(void)arg;
	while (!atomic_load(&over)) {
		count_in(0, UINT64_MAX);
		assert_int_equal(dp_labels_list(&labels, 0, UINT64_MAX, &list), 0);
		dp_label_list_at(&list, 4096, count, &found);
		dp_label_list_free(&list);
	}
	return NULL;
}

/* A report compares each label, whose memory is changed and freed after the drop. */
static void drops_in_all_threads_race_with_reports(void **state)
{
	pthread_t worker[WORKERS], reader[2];

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&reader[i], NULL, report, NULL), 0);
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&worker[i], NULL, work, (void *)i), 0);
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(worker[i], NULL), 0);
	atomic_store(&over, true);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(pthread_join(reader[i], NULL), 0);
	for (uint32_t i = 0; i < 8; i++)
		drop_out_of(&bag[i], NULL);
	assert_int_equal(count_in(0, UINT64_MAX), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_reports_the_holds_in_the_range),
		TEST(a_list_has_the_holds_in_order_of_addresses),
		TEST(a_list_reports_what_its_places_have_now),
		TEST(a_place_is_used_again_after_a_drop_in_its_thread),
		TEST(a_place_is_used_again_after_a_drop_in_another_thread),
		TEST(holds_of_a_thread_that_ended_can_be_dropped),
		TEST(a_drop_waits_for_a_report_of_its_hold),
		TEST(of_two_drops_at_the_same_time_one_succeeds),
		TEST(a_drop_in_another_thread_leaves_the_list_as_it_is),
		TEST(an_add_to_the_shared_table_waits_for_its_lock),
		TEST(threads_without_a_slot_share_a_table),
		TEST(a_struct_with_a_place_that_does_not_exist_is_einval),
		TEST(without_memory_an_add_is_refused_and_no_hold_is_lost),
		TEST(drops_in_all_threads_race_with_reports),
	};

	return cmocka_run_group_tests_name("extent_labels", tests, NULL, NULL);
}
