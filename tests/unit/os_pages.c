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

int __wrap_madvise(void *base, size_t size, int advice);
int __wrap_msync(void *base, size_t size, int flags);
long __wrap_sysconf(int name);

static long page;
static struct {
	uintptr_t base;
	size_t size;
	int flags;
} called;

/* As the kernel, which refuses an address that is not that of a page. */
static int note_call(void *base, size_t size, int flags)
{
	if ((uintptr_t)base % (uintptr_t)page) {
		errno = EINVAL;
		return -1;
	}
	called.base = (uintptr_t)base;
	called.size = size;
	called.flags = flags;
	return 0;
}

int __wrap_msync(void *base, size_t size, int flags)
{
	return note_call(base, size, flags);
}

int __wrap_madvise(void *base, size_t size, int advice)
{
	return note_call(base, size, advice);
}

long __wrap_sysconf(int name)
{
	assert_int_equal(name, _SC_PAGESIZE);
	return page;
}

static int write_back(void *from, uint64_t size)
{
	return dp_os_msync(from, size);
}

static int populate(void *from, uint64_t size)
{
	return dp_os_advise(from, size, MADV_POPULATE_WRITE);
}

/* fn() of a range is one call for these whole pages. */
static void expect(int (*fn)(void *from, uint64_t size), uintptr_t from, size_t size,
		   uintptr_t base, size_t whole)
{
	memset(&called, 0, sizeof(called));
	assert_int_equal(fn((void *)from, size), 0);
	assert_int_equal(called.base, base);
	assert_int_equal(called.size, whole);
	assert_int_equal(called.flags, fn == write_back ? MS_SYNC :
						    MADV_POPULATE_WRITE);
}

static void expect_whole_pages(int (*fn)(void *from, uint64_t size))
{
	const uintptr_t at = 32 << 20;

	page = 4096;
	expect(fn, at + 8, 8, at, 4096);
	expect(fn, at + 4096, 4096, at + 4096, 4096);
	expect(fn, at + 4095, 2, at, 8192);
	page = 64 << 10;
	expect(fn, at + 4096, 4096, at, 64 << 10);
	expect(fn, at + (60 << 10), 8192, at, 128 << 10);
}

static void a_range_is_written_in_whole_pages_of_the_kernel(void **state)
{
	(void)state;
	expect_whole_pages(write_back);
}

/* A signal can end the allocation of a file's blocks at any block, and the next step
 * begins there. */
static void a_range_is_populated_in_whole_pages_of_the_kernel(void **state)
{
	(void)state;
	expect_whole_pages(populate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_is_written_in_whole_pages_of_the_kernel),
		cmocka_unit_test(a_range_is_populated_in_whole_pages_of_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
