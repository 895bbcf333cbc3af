/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The space that reclaim and refill exchange with the DAX filesystem that
 * DAXPIN_TEST_FSDAX names, even when it is full; and what an open finds afterwards,
 * even after a crash. DAXPIN_TEST_FSTYPE is xfs or ext4.
 */
#include "reclaim_fixture.h"
#include <sys/statvfs.h>
#include "core/handle.h"
#include "support/invariant.h"
#include "../support/fake_clock.h"

#define REPORTS		5		/* reports of pins until the deadline */

static const char *directory, *fs_type;
static char filler[64];			/* a file that fills the filesystem */

static int setup(void **state)
{
	return reclaim_setup(state, directory);
}

static int teardown(void **state)
{
	int ret;

	unpin();
	if (filler[0])
		unlink(filler);
	filler[0] = '\0';
	ret = end_jobs();
	return fixture_teardown(state) | ret;
}

/* ------------------------------------------------------------ the filesystem */

static uint64_t fs_free(void)
{
	struct statvfs st;

	assert_int_equal(statvfs(directory, &st), 0);
	return (uint64_t)st.f_bfree * st.f_frsize;
}

static void assert_about(uint64_t a, uint64_t b)
{
	assert_true((a > b ? a - b : b - a) <= MIB / 4);
}

static void reclaim_returns_space_to_the_filesystem(void **state)
{
	struct fixture *f = *state;
	uint64_t before = fs_free();

	must_do(f, daxpin_reclaim, DAXPIN_ALL_SEGMENTS, 3 * FREE);
	assert_about(fs_free(), before + 3 * FREE);
	must_do(f, daxpin_refill, DAXPIN_ALL_SEGMENTS, 3 * FREE);
	assert_about(fs_free(), before);
}

/* Allocates as much as possible, if it can be to the last block. */
static void fill_filesystem(int fd)
{
	struct stat st;

	for (uint64_t step = 256 * MIB; step >= 4096; step /= 2)
		do
			assert_int_equal(fstat(fd, &st), 0);
		while (!fallocate(fd, 0, st.st_size, step));
	assert_int_equal(fsync(fd), 0);
}

static int start_filler(void)
{
	int fd;

	snprintf(filler, sizeof(filler), "%s/daxpin-filler-%d", directory,
		 getpid());
	fd = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	/*
	 * Twice, since recently freed space becomes available with the first fsync().
	 */
	fill_filesystem(fd);
	fill_filesystem(fd);
	return fd;
}

static void scribble(struct fixture *f, struct daxpin_extent extent,
		     uint64_t size)
{
	volatile char *byte = daxpin_ptr(f->pool, extent, 0);

	for (uint64_t at = 0; at < size; at += 4096)
		byte[at] = byte[at];
}

static void assert_refill_finds_no_space(struct fixture *f)
{
	struct daxpin_job_summary s = run(f, daxpin_refill,
					  DAXPIN_ALL_SEGMENTS);
	struct daxpin_extent extent;

	assert_int_equal(s.result, -ENOSPC);
	assert_int_equal(s.done_bytes + s.left_bytes, 3 * FREE - CHUNK);
	assert_int_equal(pool_info(f).hole_bytes, s.left_bytes);
	while (!daxpin_reserve(f->pool, CHUNK, 0, &extent))
		scribble(f, extent, CHUNK);
	assert_int_equal(daxpin_reserve(f->pool, 4096, 0, &extent), -ENOSPC);
}

/* Any SIGBUS ends the test. */
static void on_a_full_filesystem_no_store_is_a_sigbus(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent reserved = reserve(f, CHUNK), extent;
	uint64_t rest;
	struct stat st;
	int fd;

	must_do(f, daxpin_reclaim, DAXPIN_ALL_SEGMENTS, 3 * FREE - CHUNK);
	fd = start_filler();
	print_message("# full except for %llu bytes\n",
		      (unsigned long long)fs_free());
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent), -ENOSPC);
	assert_refill_finds_no_space(f);
	scribble(f, reserved, CHUNK);
	for (int i = 0; i < SEGMENTS; i++)
		scribble(f, live_extent[i], LIVE);
	assert_live_is_intact(f);

	/*
	 * The space is too little for one chunk. A refill that fails may have allocated
	 * some of it, which a reclaim must return.
	 */
	sync();
	rest = fs_free();
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size - 9 * MIB), 0);
	assert_int_equal(fsync(fd), 0);
	assert_refill_finds_no_space(f);
	run(f, daxpin_reclaim, DAXPIN_ALL_SEGMENTS);
	sync();
	assert_true(fs_free() >= rest + 8 * MIB);

	close(fd);
	assert_int_equal(unlink(filler), 0);
	sync();
	assert_int_equal(run(f, daxpin_refill, DAXPIN_ALL_SEGMENTS).result, 0);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	scribble(f, reserve(f, FREE), FREE);
	assert_live_is_intact(f);
}

/* On XFS a refill breaks the layout too, on ext4 it does not (kernel.md K13). */
static void a_refill_waits_for_pins_on_xfs_only(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct daxpin_job_summary s;
	struct daxpin_job *job;
	struct shape before;

	reserve_others(f);
	must_do(f, daxpin_reclaim, A, FREE);
	before = shape_of(f, A);
	pin(f, A, live_extent[A].addr % SEGMENT);
	job = begin(f, daxpin_refill, A, WAIT_LIMIT_MS);
	if (!strcmp(fs_type, "xfs")) {
		assert_kernel_waits(job);
		advance_clock(2 * WAIT_LIMIT_MS);
	}
	s = finish(f, job);
	if (!strcmp(fs_type, "xfs")) {
		assert_int_equal(s.result, -ETIMEDOUT);
		assert_int_equal(s.done_bytes, 0);
		assert_same_shape(f, A, &before);
		assert_int_equal(pool_info(f).hole_bytes, FREE);
		assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent),
				 -ENOSPC);
		unpin();
		s = run(f, daxpin_refill, A);
	}
	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, FREE);
	scribble(f, reserve(f, FREE), FREE);
	assert_live_is_intact(f);
}

/* ---------------------------------------------------------------- open, crash */

static void open_finds_the_holes_of_a_reclaim(void **state)
{
	struct fixture *f = *state;

	must_do(f, daxpin_reclaim, A, FREE);
	close_pool(f);
	reopen(f);
	assert_int_equal(pool_info(f).hole_bytes, FREE);
	assert_live_is_intact(f);
	must_do(f, daxpin_refill, DAXPIN_ALL_SEGMENTS, FREE);
	close_pool(f);
	/* The chunks were refilled, and have not been written since. */
	reopen(f);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	print_message("# of %llu chunks that were refilled %llu cannot be huge pages\n",
		      FREE / CHUNK,
		      (unsigned long long)pool_info(f).unaligned_chunks);
	for (int i = 0; i < SEGMENTS; i++)
		scribble(f, reserve(f, FREE), FREE);
	assert_live_is_intact(f);
}

/* In the child. Returns 0 when the kernel waits in the job's request. */
static int begins_and_waits(struct fixture *f)
{
	struct daxpin_job_options options = job_options(A, 3600000);
	struct daxpin_job *job;
	int ret = child_opens(f);

	if (!ret)
		ret = daxpin_reclaim(f->pool, &options, &job);
	if (!ret && !kernel_stack_wait(getpid(), WAITS_FOR_PINS))
		ret = -ETIME;
	return ret;
}

/* The open's deadline passes after this number of reports of pins. */
static int count_pins(const struct daxpin_wait *wait, void *arg)
{
	int *reports = arg;

	if (wait->owner == DAXPIN_OWNER_PINNED && ++*reports == REPORTS)
		advance_clock(2 * WAIT_LIMIT_MS);
	return 0;
}

/*
 * The dead owner's punch keeps its lock until it ends. After that the open meets the
 * pin.
 */
static int open_under_pin(struct fixture *f)
{
	int reports = 0, ret;

	f->options.deadline_ns = daxpin_deadline_ms(WAIT_LIMIT_MS);
	f->options.progress = count_pins;
	f->options.progress_arg = &reports;
	ret = daxpin_pool_open(f->path, &f->options, &f->pool);
	f->options.progress = NULL;
	return ret;
}

static void assert_clean(struct fixture *f)
{
	struct daxpin_check_summary s = { .size = sizeof(s) };

	assert_int_equal(daxpin_check(f->path, &f->options, NULL, NULL, &s), 0);
	assert_int_equal(s.damages, 0);
}

static void a_pool_opens_after_its_owner_was_killed_during_a_punch(void **state)
{
	struct fixture *f = *state;
	struct shape before;
	struct child child;
	int ret;

	close_pool(f);
	before = shape_of(f, A);
	pin(f, A, free_at(A));
	child = start_child(f, begins_and_waits, NULL);
	kill_child(&child);
	assert_int_equal(child.result, 0);
	ret = open_under_pin(f);
	unpin();
	assert_int_equal(ret, -EBUSY);
	assert_null(f->pool);
	assert_says(f, "segment 1");
	assert_same_shape(f, A, &before);
	reopen(f);
	assert_int_equal(pool_info(f).unclean, 1);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_live_is_intact(f);
	must_do(f, daxpin_reclaim, A, FREE);
	assert_reclaimed(f, &before);
	close_pool(f);
	assert_clean(f);
	reopen(f);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(reclaim_returns_space_to_the_filesystem),
		TEST(on_a_full_filesystem_no_store_is_a_sigbus),
		TEST(a_refill_waits_for_pins_on_xfs_only),
		TEST(open_finds_the_holes_of_a_reclaim),
		TEST(a_pool_opens_after_its_owner_was_killed_during_a_punch),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	fs_type = getenv("DAXPIN_TEST_FSTYPE");
	if (!directory || !fs_type) {
		printf("DAXPIN_TEST_FSDAX and DAXPIN_TEST_FSTYPE are not both set\n");
		return 77;
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	check_pool = dp_invariants;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
