/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library allocates the blocks of a pool in steps, so that it makes progress even
 * if signals interrupt fallocate() again and again (W13). A create for which the
 * filesystem has too little space allocates nothing. The wrapped fallocate() loses its
 * work when it is interrupted, as on tmpfs with Linux 6.1.
 */
#include <linux/magic.h>
#include <sys/mman.h>
#include "fake_clock.h"
#include "fixture.h"
#include "media.h"
#include "os/os.h"
#include "pool/blocks.h"

#define FILE_SIZE	(24 * MIB)

/* The bytes that a call can allocate before a signal interrupts it. 0: no signals. */
static uint64_t uninterrupted;
static uint32_t calls, interrupted;
static uint64_t free_space = UINT64_MAX;	/* UINT64_MAX: that of the filesystem */

int __real_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int __real_dp_os_free_space(int fd, uint64_t *ret_bytes);
int __wrap_dp_os_free_space(int fd, uint64_t *ret_bytes);

int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	calls++;
	if (uninterrupted && length > uninterrupted) {
		interrupted++;
		return -EINTR;
	}
	return __real_dp_os_fallocate(fd, mode, offset, length);
}

/* How XFS frees removed files. 0: it is not XFS. */
static uint32_t pauses_until_free, pauses;

int __real_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg);
void __real_dp_os_sleep_ns(uint64_t ns);
void __wrap_dp_os_sleep_ns(uint64_t ns);

int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	int ret = __real_dp_os_filesystem(fd, ret_magic);

	if (pauses_until_free)
		*ret_magic = XFS_SUPER_MAGIC;
	return ret;
}

/* shmem has no fiemap. */
int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg)
{
	return dp_os_seek_data(fd, 32 * MIB, fn, arg);
}

void __wrap_dp_os_sleep_ns(uint64_t ns)
{
	if (pauses_until_free)
		pauses++;
	else
		__real_dp_os_sleep_ns(ns);
}

int __wrap_dp_os_free_space(int fd, uint64_t *ret_bytes)
{
	if (pauses_until_free) {
		*ret_bytes = pauses < pauses_until_free ? MIB : 64 * MIB;
		return 0;
	}
	if (free_space == UINT64_MAX)
		return __real_dp_os_free_space(fd, ret_bytes);
	*ret_bytes = free_space;
	return 0;
}

static int empty_file(void)
{
	int fd = memfd_create("pool_blocks", MFD_CLOEXEC);

	assert_true(fd >= 0);
	calls = interrupted = 0;
	return fd;
}

static uint64_t allocated(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_blocks * 512ull;
}

static int allocate(int fd, struct dp_wait_policy *policy, uint64_t *ret_done)
{
	struct dp_blocks blocks = {
		.policy = policy, .total_bytes = FILE_SIZE,
	};
	int ret;

	dp_wait_begin(policy);
	ret = dp_blocks_allocate(&blocks, (struct dp_blocks_range) {
				 .fd = fd, .size = FILE_SIZE });
	*ret_done = blocks.done_bytes;
	return ret;
}

static void interrupted_steps_get_shorter_and_finished_steps_are_kept(void **state)
{
	static const uint64_t between_signals[] = { 3 * MIB, 65536, 5000, 4096 };
	uint64_t done;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct dp_wait_policy policy = { .deadline_ns = 0 };
		int fd = empty_file();

		uninterrupted = between_signals[i];
		assert_int_equal(allocate(fd, &policy, &done), 0);
		assert_int_equal(done, FILE_SIZE);
		assert_int_equal(allocated(fd), FILE_SIZE);
		/* After the first 13, at most every second call is interrupted. */
		assert_in_range(interrupted, 1, 13 + calls / 2);
		close(fd);
	}
	uninterrupted = 0;
}

static void an_interrupted_refill_without_a_ring_makes_progress(void **state)
{
	int fd = empty_file();

	(void)state;
	uninterrupted = MIB;
	assert_int_equal(dp_blocks_allocate_here((struct dp_blocks_range) {
			 .fd = fd, .size = FILE_SIZE }), 0);
	assert_int_equal(allocated(fd), FILE_SIZE);
	uninterrupted = 0;
	close(fd);
}

/* Passes the deadline at the first progress report. */
static int pass_deadline(const struct dp_wait *wait, void *arg)
{
	*(uint64_t *)arg = wait->done_bytes;
	advance_clock(100000);
	return 0;
}

/* What was allocated before the deadline passed is kept. */
static void a_deadline_ends_an_allocation_between_two_steps(void **state)
{
	uint64_t reported = 1, done;
	struct dp_wait_policy policy = {
		.deadline_ns = daxpin_deadline_ms(90000),
		.progress = pass_deadline, .arg = &reported,
	};
	int fd = empty_file();

	(void)state;
	assert_int_equal(allocate(fd, &policy, &done), -ETIMEDOUT);
	assert_int_equal(calls, 1);
	assert_int_equal(reported, 0);
	assert_int_equal(done, 16 * MIB);
	assert_int_equal(allocated(fd), 16 * MIB);
	close(fd);
}

static void a_create_that_exceeds_the_free_space_allocates_nothing(void **state)
{
	struct fixture *f = *state;

	free_space = 64 * MIB - 1;
	calls = 0;
	assert_create_fails(f, -ENOSPC, "67108863 left");
	assert_int_equal(calls, 0);
	assert_int_equal(count_files(f->path), 0);
	free_space = 64 * MIB;
	create_pool(f);
	close_pool(f);
	/* Blocks that the files have already are not counted again. */
	free_space = 0;
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
	close_pool(f);
	free_space = UINT64_MAX;
}

static void a_create_on_xfs_waits_for_the_space_of_removed_files(void **state)
{
	struct fixture *f = *state;

	f->options.granularity = DAXPIN_GRANULARITY_AUTO;
	pauses = 0;
	pauses_until_free = 5;
	create_pool(f);
	assert_int_equal(pauses, 5);
	close_pool(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = 192 * MIB;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool), -ENOSPC);
	assert_in_range(pauses, 6, 100);
}

static int teardown_xfs(void **state)
{
	pauses_until_free = 0;
	return fixture_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			interrupted_steps_get_shorter_and_finished_steps_are_kept),
		cmocka_unit_test(an_interrupted_refill_without_a_ring_makes_progress),
		cmocka_unit_test(a_deadline_ends_an_allocation_between_two_steps),
		cmocka_unit_test_setup_teardown(
			a_create_that_exceeds_the_free_space_allocates_nothing,
			empty_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_create_on_xfs_waits_for_the_space_of_removed_files,
			empty_setup, teardown_xfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
