/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages of the kernel may be larger than blocks of the pool: those of arm64 have up to
 * 64 KiB. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "os/os.h"

int __wrap_msync(void *base, size_t size, int flags);
long __wrap_sysconf(int name);

static long page;
static struct {
	uintptr_t base;
	size_t size;
	int flags;
} written;

/* As the kernel, which refuses an address that is not that of a page. */
int __wrap_msync(void *base, size_t size, int flags)
{
	if ((uintptr_t)base % (uintptr_t)page) {
		errno = EINVAL;
		return -1;
	}
	written.base = (uintptr_t)base;
	written.size = size;
	written.flags = flags;
	return 0;
}

long __wrap_sysconf(int name)
{
	assert_int_equal(name, _SC_PAGESIZE);
	return page;
}

static void expect_written(uintptr_t from, size_t size, uintptr_t base, size_t whole)
{
	memset(&written, 0, sizeof(written));
	assert_int_equal(dp_os_msync((void *)from, size), 0);
	assert_int_equal(written.base, base);
	assert_int_equal(written.size, whole);
	assert_int_equal(written.flags, MS_SYNC);
}

static void a_range_is_written_in_whole_pages_of_the_kernel(void **state)
{
	const uintptr_t at = 32 << 20;

	(void)state;
	page = 4096;
	expect_written(at + 8, 8, at, 4096);
	expect_written(at + 4096, 4096, at + 4096, 4096);
	expect_written(at + 4095, 2, at, 8192);
	page = 64 << 10;
	expect_written(at + 4096, 4096, at, 64 << 10);
	expect_written(at + (60 << 10), 8192, at, 128 << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_is_written_in_whole_pages_of_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
