/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin_pool_grow(3): what it adds, what it refuses, and what a crash leaves. */
#include <pthread.h>
#include <stdatomic.h>
#include "media.h"
#include "os/os.h"

#define SEGMENT		(32 * MIB)
#define THREADS		3
#define GROWS		12

/* The calls on the directory and its files that change something: the process ends
 * before one of them. */
static struct {
	uint32_t calls;
	uint32_t die_before;		/* 0: never */
	bool is_full;			/* fallocate() returns -ENOSPC */
	bool is_slow;			/* it takes longer than the interval of
					   progress() */
} disk;

int __real_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int __real_dp_os_fsync(int fd);
int __wrap_dp_os_fsync(int fd);
int __real_dp_os_rename(int dir, const char *from, const char *to);
int __wrap_dp_os_rename(int dir, const char *from, const char *to);
int __real_dp_os_unlink(int dir, const char *name);
int __wrap_dp_os_unlink(int dir, const char *name);
int __real_dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg);
int __wrap_dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg);

int __real_dp_os_send_descriptors(int socket, const int *fd, uint32_t count);
int __wrap_dp_os_send_descriptors(int socket, const int *fd, uint32_t count);

static void count_call(void)
{
	if (++disk.calls == disk.die_before)
		_exit(9);
}

int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	count_call();
	if (disk.is_slow)
		usleep(150000);
	return disk.is_full && offset ? -ENOSPC :
	       __real_dp_os_fallocate(fd, mode, offset, length);
}

int __wrap_dp_os_fsync(int fd)
{
	count_call();
	return __real_dp_os_fsync(fd);
}

int __wrap_dp_os_rename(int dir, const char *from, const char *to)
{
	count_call();
	return __real_dp_os_rename(dir, from, to);
}

int __wrap_dp_os_unlink(int dir, const char *name)
{
	count_call();
	return __real_dp_os_unlink(dir, name);
}

int __wrap_dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	count_call();
	return __real_dp_os_list(dir, fn, arg);
}

/* Descriptors that were put into the pool's anchor. */
static uint32_t anchored;

int __wrap_dp_os_send_descriptors(int socket, const int *fd, uint32_t count)
{
	anchored += count;
	return __real_dp_os_send_descriptors(socket, fd, count);
}

static int grow(struct fixture *f, uint32_t segments)
{
	return daxpin_pool_grow(f->pool, segments * SEGMENT, &f->options);
}

static struct daxpin_pool_options *grow_options(struct fixture *f)
{
	f->options.pool_size = 0;
	return &f->options;
}

static uint32_t segments(struct fixture *f)
{
	return pool_info(f).segments;
}

static void assert_refused(struct fixture *f, uint64_t size, int expected,
			   const char *text)
{
	uint32_t before = segments(f);

	assert_int_equal(daxpin_pool_grow(f->pool, size, &f->options), expected);
	if (!strstr(f->errmsg, text))
		fail_msg("\"%s\" is not in: %s", text, f->errmsg);
	assert_int_equal(segments(f), before);
	assert_int_equal(count_files(f->path), before);
}

/* Reserves in segment `index`, or returns false if there is no space left. */
static bool reserve_in(struct fixture *f, uint32_t index,
		       struct daxpin_extent *ret_extent)
{
	while (!daxpin_reserve(f->pool, 8 * MIB, 0, ret_extent))
		if (ret_extent->addr / SEGMENT == index)
			return true;
	return false;
}

/* ---------------------------------------------------------------- what it adds */

static void a_grow_adds_free_space(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info before = pool_info(f), after;

	assert_int_equal(grow(f, 5), 0);
	assert_string_equal(f->errmsg, "");
	after = pool_info(f);
	assert_int_equal(after.segments, 5);
	assert_int_equal(after.media_bytes, 5 * SEGMENT);
	assert_int_equal(after.free_bytes - before.free_bytes,
			 3 * (SEGMENT - DP_CHUNK_SIZE));
	assert_int_equal(after.usable_bytes - before.usable_bytes,
			 after.free_bytes - before.free_bytes);
	assert_int_equal(count_files(f->path), 5);
	/* Rounded up to whole segments. */
	assert_int_equal(daxpin_pool_grow(f->pool, 5 * SEGMENT + 1, NULL), 0);
	assert_int_equal(segments(f), 6);
}

static void an_extent_in_a_new_segment_survives(void **state)
{
	struct fixture *f = *state;
	struct daxpin_segment last = { 0 };
	struct daxpin_extent extent;

	assert_int_equal(daxpin_segment(f->pool, 2, &last), -ENOENT);
	assert_int_equal(grow(f, 3), 0);
	assert_int_equal(daxpin_segment(f->pool, 2, &last), 0);
	assert_true(reserve_in(f, 2, &extent));
	assert_ptr_equal(daxpin_ptr(f->pool, extent, 0), last.base +
			 extent.addr % SEGMENT);
	strcpy(daxpin_ptr(f->pool, extent, 0), "new");
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	grow_options(f);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(segments(f), 3);
	assert_false(pool_info(f).unclean);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
	assert_string_equal(daxpin_ptr(f->pool, extent, 0), "new");
	assert_int_equal(daxpin_pool_grow(f->pool, 4 * SEGMENT, NULL), 0);
}

static void rings_keep_the_new_files_locked(void **state)
{
	struct fixture *f = *state;

	anchored = 0;
	assert_int_equal(grow(f, 5), 0);
	assert_int_equal(anchored, 3);
}

/* A reserve that failed is followed by an event. */
static void a_grow_ends_a_lack_of_space(void **state)
{
	struct fixture *f = *state;
	struct daxpin_event event = { 0 };
	struct daxpin_extent extent;

	while (!daxpin_reserve(f->pool, 4 * MIB, 0, &extent))
		;
	assert_int_equal(grow(f, 3), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(event.type, DAXPIN_EVENT_RETRY);
	reserve(f, 16 * MIB);
}

/* ------------------------------------------------------------- what it refuses */

static void sizes_that_are_no_growth_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_refused(f, 0, -EINVAL, "must be larger");
	assert_refused(f, 64 * MIB, -EINVAL, "must be larger");
	assert_refused(f, 32 * MIB, -EINVAL, "must be larger");
	assert_refused(f, 16384 * SEGMENT + 1, -EINVAL, "at most 549755813888");
	assert_refused(f, UINT64_MAX, -EINVAL, "must be larger");
	assert_int_equal(daxpin_pool_grow(NULL, SEGMENT, NULL), -EINVAL);
	f->options.flags = DAXPIN_POOL_CREATE;
	assert_int_equal(grow(f, 3), -EINVAL);
	f->options.flags = 0;
}

static void a_grow_past_the_addresses_names_the_option(void **state)
{
	struct fixture *f = *state;

	grow_options(f)->max_size = 4 * SEGMENT;
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).max_bytes, 4 * SEGMENT);
	assert_refused(f, 5 * SEGMENT, -ENOSPC, "max_size");
	assert_int_equal(grow(f, 4), 0);
	f->options.max_size = 5 * SEGMENT;
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(grow(f, 5), 0);
}

static void a_pool_that_is_only_read_or_degraded_does_not_grow(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	f->options.flags = 0;
	assert_refused(f, 3 * SEGMENT, -EROFS, "open for reading");
	close_pool(f);
	f->options.flags = DAXPIN_POOL_DEGRADED;
	open_pool(f);
	f->options.flags = 0;
	assert_refused(f, 3 * SEGMENT, -EUCLEAN, "DAXPIN_POOL_DEGRADED");
}

static void a_pool_with_a_short_last_segment_does_not_grow(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.segment_size = 2 * SEGMENT;
	f->options.pool_size = 3 * SEGMENT;
	create_pool(f);
	f->options.flags = 0;
	assert_int_equal(pool_info(f).max_bytes, 4 * SEGMENT);
	assert_refused(f, 8 * SEGMENT, -EOPNOTSUPP,
		       "33554432 bytes instead of 67108864");
}

static void a_file_in_the_way_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	segment_path(f, 3, path);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
	assert_int_equal(grow(f, 4), -EEXIST);
	assert_non_null(strstr(f->errmsg, "segment.0003 exists"));
	assert_int_equal(segments(f), 2);
	assert_int_equal(count_files(f->path), 3);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(grow(f, 4), 0);
}

static void a_full_filesystem_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;

	disk.is_full = true;
	assert_refused(f, 4 * SEGMENT, -ENOSPC, "filesystem is full");
	disk.is_full = false;
	assert_int_equal(grow(f, 4), 0);
	grow_options(f);
	assert_int_equal(fixture_reopen(f), 0);
	assert_false(pool_info(f).unclean);
}

/* ------------------------------------------------------------- calls at once */

static int cancel_at_once(const struct daxpin_wait *wait, void *arg)
{
	(void)wait;
	(void)arg;
	return 1;
}

static void a_cancelled_grow_leaves_nothing_behind(void **state)
{
	struct fixture *f = *state;

	f->options.progress = cancel_at_once;
	disk.is_slow = true;
	assert_refused(f, 5 * SEGMENT, -ECANCELED, "gave up");
	f->options.progress = NULL;
	f->options.deadline_ns = daxpin_deadline_ms(1);
	assert_refused(f, 5 * SEGMENT, -ETIMEDOUT, "deadline");
	disk.is_slow = false;
	f->options.deadline_ns = 0;
	assert_int_equal(grow(f, 5), 0);
	assert_int_equal(count_files(f->path), 5);
}

static struct fixture *inner;
static uint32_t inner_calls;

static int grow_and_close(const struct daxpin_wait *wait, void *arg)
{
	(void)wait;
	(void)arg;
	inner_calls++;
	assert_int_equal(daxpin_pool_grow(inner->pool, 9 * SEGMENT, NULL), -EBUSY);
	assert_int_equal(daxpin_pool_close(inner->pool), -EBUSY);
	return 0;
}

static void a_second_grow_and_a_close_during_a_grow_are_busy(void **state)
{
	struct fixture *f = *state;

	inner = f;
	inner_calls = 0;
	f->options.progress = grow_and_close;
	disk.is_slow = true;
	assert_int_equal(grow(f, 4), 0);
	disk.is_slow = false;
	f->options.progress = NULL;
	assert_true(inner_calls);
	assert_int_equal(segments(f), 4);
}

struct worker {
	pthread_t thread;
	struct fixture *f;
	_Atomic bool *stop;
	uint64_t highest;
	uint64_t turns;
};

/* Reserves, holds, and frees, and remembers the highest address. */
static void *work(void *arg)
{
	struct worker *worker = arg;
	struct daxpin_extent extent[8];
	uint32_t count;

	while (!atomic_load(worker->stop)) {
		for (count = 0; count < 8; count++) {
			if (daxpin_reserve(worker->f->pool, 6 * MIB, 0,
					   &extent[count]))
				break;
			if (extent[count].addr > worker->highest)
				worker->highest = extent[count].addr;
			assert_int_equal(daxpin_hold(worker->f->pool, extent[count],
						     DAXPIN_HOLD_READ), 0);
			assert_non_null(daxpin_ptr(worker->f->pool, extent[count], 0));
			assert_int_equal(daxpin_drop(worker->f->pool, extent[count]),
					 0);
		}
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(daxpin_cancel(worker->f->pool, extent[i]), 0);
		worker->turns++;
	}
	return NULL;
}

static void threads_work_while_the_pool_grows(void **state)
{
	struct fixture *f = *state;
	struct worker worker[THREADS];
	_Atomic bool stop = false;
	uint64_t highest = 0;

	for (uint32_t i = 0; i < THREADS; i++) {
		worker[i] = (struct worker) { .f = f, .stop = &stop };
		assert_int_equal(pthread_create(&worker[i].thread, NULL, work,
						&worker[i]), 0);
	}
	for (uint32_t i = 0; i < GROWS; i++)
		assert_int_equal(grow(f, 3 + i), 0);
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
		assert_true(worker[i].turns);
		if (worker[i].highest > highest)
			highest = worker[i].highest;
	}
	assert_true(highest / SEGMENT < 2 + GROWS);
	assert_int_equal(pool_info(f).free_bytes, pool_info(f).usable_bytes);
}

/* ------------------------------------------------------------- after a crash */

static int die_in_a_grow(void *arg)
{
	struct fixture *f = arg;

	f->options.flags = 0;
	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 1;
	disk.calls = 0;
	if (grow(f, 4))
		return 2;
	return disk.calls < disk.die_before ? 0 : 3;
}

/* The child dies before its n-th call on the disk, for all n. */
static void a_grow_that_dies_leaves_the_old_size_or_the_new(void **state)
{
	struct fixture *f = *state;
	uint32_t before, old = 0, new = 0;
	int status = 9;

	close_pool(f);
	grow_options(f);
	for (uint32_t call = 1; status == 9; call++) {
		/* The calls of the child's open do not count. */
		disk.calls = 1u << 30;
		disk.die_before = call;
		status = run_child(die_in_a_grow, f);
		disk.die_before = 0;
		if (status && status != 9)
			fail_msg("call %u: status %d", call, status);
		open_pool(f);
		before = segments(f);
		assert_true(pool_info(f).unclean);
		assert_true(before == 2 || before == 4);
		assert_int_equal(count_files(f->path), before);
		assert_int_equal(pool_info(f).ignored_files, 0);
		old += before == 2;
		new += before == 4;
		close_pool(f);
		if (before == 4) {
			f->options.flags = DAXPIN_POOL_OVERWRITE;
			f->options.pool_size = 2 * SEGMENT;
			for (uint32_t i = 2; i < 4; i++) {
				char path[128];

				segment_path(f, i, path);
				assert_int_equal(unlink(path), 0);
			}
			create_pool(f);
			f->options.flags = 0;
			f->options.pool_size = 0;
			close_pool(f);
		}
	}
	assert_true(old > 6 && new);
	open_pool(f);
}

static void copy_bytes(const char *from, const char *to)
{
	char command[400];

	snprintf(command, sizeof(command), "cat %s > %s", from, to);
	assert_int_equal(system(command), 0);
}

/* The bytes of segment 0 are saved after the open and put back later, as by somebody
 * who restores a part of a backup. */
static int grow_keep_and_die(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_extent extent;
	char first[128], saved[128];

	segment_path(f, 0, first);
	file_name(f, "saved", saved);
	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 1;
	copy_bytes(first, saved);
	if (grow(f, 3) || !reserve_in(f, 2, &extent))
		return 2;
	return -publish(f, DAXPIN_OP_KEEP, extent);
}

static void an_open_removes_no_file_that_may_be_a_backup(void **state)
{
	struct fixture *f = *state;
	char first[128], saved[128], third[128], other[128], fresh[128];

	grow_options(f);
	close_pool(f);
	assert_int_equal(run_child(grow_keep_and_die, f), 0);
	segment_path(f, 0, first);
	segment_path(f, 2, third);
	file_name(f, "saved", saved);
	copy_bytes(saved, first);
	/* Another segment's bytes under the name of a later segment, and an unfinished
	 * file, which is removed. */
	segment_path(f, 7, other);
	copy_bytes(third, other);
	file_name(f, "segment.0008.new", fresh);
	copy_bytes(third, fresh);
	assert_int_equal(chmod(other, 0600) | chmod(fresh, 0600), 0);
	open_pool(f);
	assert_int_equal(segments(f), 2);
	assert_int_equal(access(third, F_OK), 0);
	assert_int_equal(access(other, F_OK), 0);
	assert_int_equal(access(fresh, F_OK), -1);
	assert_int_equal(pool_info(f).ignored_files, 2);
	assert_int_equal(grow(f, 3), -EEXIST);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_grow_adds_free_space),
		TEST(an_extent_in_a_new_segment_survives),
		TEST(rings_keep_the_new_files_locked),
		TEST(a_grow_ends_a_lack_of_space),
		TEST(sizes_that_are_no_growth_are_refused),
		TEST(a_grow_past_the_addresses_names_the_option),
		TEST(a_pool_that_is_only_read_or_degraded_does_not_grow),
		TEST(a_pool_with_a_short_last_segment_does_not_grow),
		TEST(a_file_in_the_way_is_left_alone),
		TEST(a_full_filesystem_leaves_nothing_behind),
		TEST(a_cancelled_grow_leaves_nothing_behind),
		TEST(a_second_grow_and_a_close_during_a_grow_are_busy),
		TEST(threads_work_while_the_pool_grows),
		TEST(a_grow_that_dies_leaves_the_old_size_or_the_new),
		TEST(an_open_removes_no_file_that_may_be_a_backup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
