/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A page of tmpfs becomes bad while the pool is open, by MADV_HWPOISON. The kernel does
 * not use that page again before the next boot, so the test runs only if
 * DAXPIN_TEST_POISON is set.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "fixture.h"

#define PAGE	4096

static int set_up(void **state)
{
	return fixture_setup_sized(state, 64 << 20);
}

static void ignore(int signal)
{
	(void)signal;
}

/* The kernel also sends SIGBUS to a process that has the page mapped and dirty. */
static bool make_bad(struct fixture *f, struct daxpin_extent extent, uint64_t offset)
{
	char *at = daxpin_ptr(f->pool, extent, offset);
	int ret;

	memset(at, 1, PAGE);
	signal(SIGBUS, ignore);
	ret = madvise(at, PAGE, MADV_HWPOISON);
	signal(SIGBUS, SIG_DFL);
	if (ret)
		print_message("# skipped: MADV_HWPOISON: %s\n", strerror(errno));
	return !ret;
}

/* A store to a bad page would end the test by SIGBUS. */
static void reserve_and_fill_all(struct fixture *f)
{
	struct daxpin_extent extent;
	uint64_t filled = 0, free = free_bytes(f);

	for (; !daxpin_reserve(f->pool, PAGE, 0, &extent); filled += PAGE)
		memset(daxpin_ptr(f->pool, extent, 0), 2, PAGE);
	assert_int_equal(filled, free);
}

static void a_bad_page_is_an_error_and_is_never_reserved_again(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent small = reserve(f, PAGE), large = live(f, 64 * PAGE);
	static char bytes[64 * PAGE];

	if (!make_bad(f, small, 0))
		skip();
	assert_true(make_bad(f, large, 17 * PAGE));
	assert_int_equal(daxpin_read(f->pool, small, 0, PAGE, bytes), -EIO);
	assert_int_equal(daxpin_read(f->pool, large, 0, sizeof(bytes), bytes), -EIO);
	assert_int_equal(daxpin_read(f->pool, large, 0, 17 * PAGE, bytes), 0);
	assert_int_equal(daxpin_read(f->pool, large, 18 * PAGE, 46 * PAGE, bytes), 0);
	assert_int_equal(pool_info(f).bad_bytes, 2 * PAGE);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, small), -EIO);
	assert_int_equal(daxpin_cancel(f->pool, small), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, large), 0);
	reserve_and_fill_all(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_bad_page_is_an_error_and_is_never_reserved_again, set_up,
			fixture_teardown),
	};

	if (!getenv("DAXPIN_TEST_POISON")) {
		printf("DAXPIN_TEST_POISON is not set, so this must not mark pages as bad\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
