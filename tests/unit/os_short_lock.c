/* SPDX-License-Identifier: BSD-3-Clause */
/* The polled lock: it excludes, and no wait for it depends on a wake-up. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "os/short_lock.h"

#define THREADS		4
#define ROUNDS		100000u

int __wrap_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns);
int __real_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns);

static struct dp_polled_lock lock;
static uint32_t count;			/* under the lock */
static _Atomic bool release_in_wait;
static _Atomic uint32_t waits;

/* No thread waits without an end, because a release wakes none. */
int __wrap_dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	if (deadline_ns == UINT64_MAX)
		abort();
	waits++;
	if (!release_in_wait)
		return __real_dp_os_futex_wait(word, value, deadline_ns);
	if (waits == 3)
		dp_polled_lock_release(&lock);
	return 0;
}

static void a_thread_that_sleeps_for_the_lock_takes_it_after_the_release(void **state)
{
	(void)state;
	waits = 0;
	release_in_wait = true;
	dp_polled_lock_take(&lock);
	dp_polled_lock_take(&lock);
	release_in_wait = false;
	assert_int_equal(waits, 3);
	assert_false(dp_polled_lock_try(&lock));
	dp_polled_lock_release(&lock);
	assert_true(dp_polled_lock_try(&lock));
	dp_polled_lock_release(&lock);
}

static void *count_up(void *arg)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		dp_polled_lock_take(&lock);
		*(volatile uint32_t *)&count = *(volatile uint32_t *)&count + 1;
		dp_polled_lock_release(&lock);
	}
	return arg;
}

static void threads_that_count_under_the_lock_lose_nothing(void **state)
{
	pthread_t thread[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, count_up, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(count, THREADS * ROUNDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_thread_that_sleeps_for_the_lock_takes_it_after_the_release),
		cmocka_unit_test(threads_that_count_under_the_lock_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
