/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin_pool_grow(3): what it adds, what it refuses, and what a crash leaves. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include "media.h"
#include "os/os.h"
#include "pool/grow.h"
#include "resize.h"

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

/* Descriptors that were put into the pool's anchor, and the messages that took. */
static uint32_t anchored, anchor_messages;

int __wrap_dp_os_send_descriptors(int socket, const int *fd, uint32_t count)
{
	anchored += count;
	anchor_messages++;
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

	anchored = anchor_messages = 0;
	assert_int_equal(grow(f, 5), 0);
	assert_int_equal(anchored, 3);
	/* The socket has room for some hundred messages, of 253 files each. */
	assert_int_equal(anchor_messages, 1);
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

/* Only the geometry of a pool is looked at, so none with 16383 files is needed. */
static void the_most_is_16_tib_in_segments_of_1_gib(void **state)
{
	struct fixture *f = *state;
	const uint64_t gib = 1024 * MIB;
	const struct dp_errmsg errmsg = { f->errmsg, sizeof(f->errmsg) };
	struct dp_pool pool = {
		.geometry = {
			.segment_size = gib, .short_size = gib, .segments = 16383,
			.most = 16384,
		},
		.source.path = f->path, .in_set = 16384,
	};
	uint32_t count = 0;

	assert_int_equal(dp_pool_grow_check(&pool, 16384 * gib, &count, &errmsg), 0);
	assert_int_equal(count, 16384);
	assert_int_equal(dp_pool_grow_check(&pool, 16384 * gib + 1, &count, &errmsg),
			 -EINVAL);
	assert_non_null(strstr(f->errmsg, "at most 17592186044416"));
	assert_int_equal(dp_pool_grow_check(&pool, UINT64_MAX, &count, &errmsg),
			 -EINVAL);
	pool.geometry.segments = 16384;
	assert_int_equal(dp_pool_grow_check(&pool, 16384 * gib, &count, &errmsg),
			 -EINVAL);
	assert_non_null(strstr(f->errmsg, "must be larger"));
}

static void sizes_that_are_no_growth_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_refused(f, 0, -EINVAL, "must be larger");
	assert_refused(f, 64 * MIB, -EINVAL, "must be larger");
	assert_refused(f, 32 * MIB, -EINVAL, "must be larger");
	assert_refused(f, 16384 * SEGMENT + 1, -EINVAL, "at most 549755813888, 16384 segments of 33554432 bytes;");
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

/* ------------------------------------------------------------ a short segment */

/* A pool in place of the one of the setup, with segments of 2 * SEGMENT. */
static void create_short(struct fixture *f, uint64_t size)
{
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.segment_size = 2 * SEGMENT;
	f->options.pool_size = size;
	create_pool(f);
	f->options.flags = 0;
	grow_options(f);
}

static void assert_no_findings(struct fixture *f, uint64_t media_bytes)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };

	assert_int_equal(daxpin_check(f->path, NULL, NULL, NULL, &summary), 0);
	assert_int_equal(summary.damages, 0);
	assert_int_equal(summary.media_bytes, media_bytes);
}

static void assert_segment(struct fixture *f, uint32_t index, uint64_t size)
{
	struct daxpin_segment segment;

	assert_int_equal(daxpin_segment(f->pool, index, &segment), 0);
	assert_int_equal(segment.addr, index * 2 * SEGMENT);
	assert_int_equal(segment.size, size);
}

static int fail_visit(struct daxpin_pool *pool, struct daxpin_extent extent,
		      uint64_t size, void *arg)
{
	(void)pool;
	(void)size;
	(void)arg;
	fail_msg("there is an extent at 0x%llx", (unsigned long long)extent.addr);
	return 1;
}

static int count_visit(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	++*(uint32_t *)arg;
	return 0;
}

static int count_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
			void *arg)
{
	(void)pool;
	(void)addr;
	(void)size;
	++*(uint32_t *)arg;
	return 0;
}

/* Both go through all segments. */
static void assert_counts(struct fixture *f, uint32_t extents, uint32_t objects)
{
	uint32_t seen = 0;

	assert_int_equal(daxpin_foreach(f->pool, count_visit, &seen), 0);
	assert_int_equal(seen, extents);
	seen = 0;
	assert_int_equal(daxpin_foreach_object(f->pool, count_object, &seen), 0);
	assert_int_equal(seen, objects);
}

/* No extent can be between the end of the short segment and the next one. */
static void assert_nothing_behind(struct fixture *f, uint64_t addr, uint64_t end)
{
	struct daxpin_extent extent = reserve(f, DAXPIN_BLOCK_SIZE), none;

	for (uint64_t at = addr; at < end; at += DAXPIN_CHUNK_SIZE) {
		none = (struct daxpin_extent) { at, extent.gen };
		assert_int_equal(daxpin_hold(f->pool, none, DAXPIN_HOLD_READ), -ESTALE);
		assert_null(daxpin_ptr(f->pool, none, 0));
		assert_int_equal(daxpin_extent_at(f->pool, at, &none), -ENOENT);
	}
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_foreach_in(f->pool, addr, end - addr, fail_visit, NULL),
			 0);
}

static void keep_object(struct fixture *f)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_KEEP };

	assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, &op.extent.addr), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
}

static void other_segments_follow_a_short_one(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	close_pool(f);
	create_short(f, 3 * SEGMENT);
	assert_int_equal(pool_info(f).media_bytes, 3 * SEGMENT);
	/* Two segments would have 128 MiB, but one of them is short. */
	assert_int_equal(daxpin_pool_grow(f->pool, 4 * SEGMENT, &f->options), 0);
	assert_int_equal(pool_info(f).media_bytes, 5 * SEGMENT);
	assert_int_equal(f->options.max_size, 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(segments(f), 3);
		assert_segment(f, 0, 2 * SEGMENT);
		assert_segment(f, 1, SEGMENT);
		assert_segment(f, 2, 2 * SEGMENT);
		assert_nothing_behind(f, 3 * SEGMENT, 4 * SEGMENT);
		assert_int_equal(pool_info(f).usable_bytes,
				 5 * SEGMENT - 3 * DP_CHUNK_SIZE);
		if (!i)
			keep_object(f);
		assert_counts(f, i, 1);
		extent = reserve(f, 2 * SEGMENT - DP_CHUNK_SIZE - MIB * i);
		assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
		assert_counts(f, i + 1, 1);
		assert_int_equal(fixture_reopen(f), 0);
		assert_false(pool_info(f).unclean);
	}
	close_pool(f);
	assert_no_findings(f, 5 * SEGMENT);
	open_pool(f);
}

/* The only segment was short, so that a whole one can have a larger extent. */
static void a_whole_segment_has_room_for_a_larger_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t size = 2 * SEGMENT - DP_CHUNK_SIZE;
	char second[128];

	close_pool(f);
	segment_path(f, 1, second);
	assert_int_equal(unlink(second), 0);
	create_short(f, SEGMENT + DP_CHUNK_SIZE);
	assert_int_equal(pool_info(f).largest_extent, SEGMENT);
	assert_int_equal(daxpin_reserve(f->pool, size, 0, &extent), -EFBIG);
	assert_int_equal(daxpin_pool_grow(f->pool, 2 * SEGMENT, NULL), 0);
	assert_int_equal(segments(f), 2);
	assert_int_equal(pool_info(f).largest_extent, size);
	extent = reserve(f, size);
	assert_int_equal(extent.addr / SEGMENT, 2);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).largest_extent, size);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
}

/* It is the last one again, and then is removed too. */
static void a_shrink_reaches_and_removes_a_short_segment(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	create_short(f, 3 * SEGMENT);
	assert_int_equal(daxpin_pool_grow(f->pool, 9 * SEGMENT, &f->options), 0);
	assert_int_equal(segments(f), 5);
	assert_int_equal(pool_info(f).media_bytes, 9 * SEGMENT);
	assert_int_equal(daxpin_pool_shrink(f->pool, 2 * SEGMENT + 1, NULL), 0);
	assert_refused(f, 9 * SEGMENT, -EBUSY, "close it and open it again");
	assert_int_equal(segments(f), 2);
	assert_int_equal(fixture_reopen(f), 0);
	assert_segment(f, 1, SEGMENT);
	assert_int_equal(pool_info(f).media_bytes, 3 * SEGMENT);
	assert_int_equal(daxpin_pool_shrink(f->pool, 2 * SEGMENT, NULL), 0);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(segments(f), 1);
	assert_int_equal(pool_info(f).media_bytes, 2 * SEGMENT);
	assert_int_equal(daxpin_pool_grow(f->pool, 4 * SEGMENT, &f->options), 0);
	assert_segment(f, 1, 2 * SEGMENT);
	close_pool(f);
	assert_no_findings(f, 4 * SEGMENT);
	open_pool(f);
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
static uint32_t inner_calls, inner_wrong;

static int grow_and_close(const struct daxpin_wait *wait, void *arg)
{
	(void)wait;
	(void)arg;
	inner_calls++;
	try_to_resize(inner->pool, 9 * SEGMENT, SEGMENT, &inner_wrong);
	inner_wrong += daxpin_pool_close(inner->pool) != -EBUSY;
	return inner_wrong;
}

static void a_second_grow_and_a_close_during_a_grow_are_busy(void **state)
{
	struct fixture *f = *state;

	inner = f;
	inner_calls = inner_wrong = 0;
	f->options.progress = grow_and_close;
	disk.is_slow = true;
	assert_int_equal(grow(f, 4), 0);
	disk.is_slow = false;
	f->options.progress = NULL;
	assert_true(inner_calls && !inner_wrong);
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

static uint64_t dies_at_size;

static int die_in_a_grow(void *arg)
{
	struct fixture *f = arg;

	f->options.flags = 0;
	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 1;
	disk.calls = 0;
	if (daxpin_pool_grow(f->pool, dies_at_size, &f->options))
		return 2;
	return disk.calls < disk.die_before ? 0 : 3;
}

/* Replace the pool of four segments by one of two. */
static void create_again(struct fixture *f, uint64_t size)
{
	char path[128];

	for (uint32_t i = 2; i < 4; i++) {
		segment_path(f, i, path);
		assert_int_equal(unlink(path), 0);
	}
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = size;
	create_pool(f);
	f->options.flags = 0;
	f->options.pool_size = 0;
	close_pool(f);
}

/* The pool is closed and has two segments. The child, which adds two, dies before its
 * n-th call on the disk, for all n. */
static void die_before_each_call(struct fixture *f, uint64_t size, uint64_t larger)
{
	uint32_t old = 0, new = 0;
	struct daxpin_pool_info info;
	int status = 9;

	dies_at_size = larger;
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
		info = pool_info(f);
		assert_true(info.unclean);
		assert_true(info.segments == 2 || info.segments == 4);
		assert_int_equal(info.media_bytes, info.segments == 2 ? size : larger);
		assert_int_equal(count_files(f->path), info.segments);
		assert_int_equal(info.ignored_files, 0);
		old += info.segments == 2;
		new += info.segments == 4;
		close_pool(f);
		if (info.segments == 4)
			create_again(f, size);
	}
	assert_true(old > 6 && new);
}

static void a_grow_that_dies_leaves_the_old_size_or_the_new(void **state)
{
	struct fixture *f = *state;

	close_pool(f);
	die_before_each_call(f, 2 * SEGMENT, 4 * SEGMENT);
	create_short(f, 3 * SEGMENT);
	close_pool(f);
	die_before_each_call(f, 3 * SEGMENT, 7 * SEGMENT);
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

/* ------------------------------------------------- what a crash left of a grow */

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SEGMENT), 0);
	close(fd);
}

/* The DMA of the dead owner had it locked at the open, and has ended since. */
static void a_grow_removes_what_a_crashed_one_has_left(void **state)
{
	struct fixture *f = *state;
	char left[128], later[128], foreign[128];
	int fd;

	file_name(f, "segment.0002.new", left);
	file_name(f, "segment.0007.new", later);
	file_name(f, "segment.0008.new2", foreign);
	make_file(left);
	make_file(later);
	make_file(foreign);
	fd = open(left, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(grow(f, 3), -EEXIST);
	assert_non_null(strstr(f->errmsg, "segment.0002.new is left from a grow"));
	assert_int_equal(segments(f), 2);
	assert_int_equal(access(left, F_OK), 0);
	assert_int_equal(access(later, F_OK), -1);
	close(fd);
	assert_int_equal(grow(f, 3), 0);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(foreign, F_OK), 0);
	assert_int_equal(unlink(foreign), 0);
	assert_int_equal(count_files(f->path), 3);
}

static struct {
	uint32_t calls, segment, severity;
	char what[300];
} found;

static int find(const struct daxpin_finding *finding, void *arg)
{
	(void)arg;
	if (finding->structure != DAXPIN_STRUCTURE_FILE)
		return 0;
	found.calls++;
	found.segment = finding->segment;
	found.severity = finding->severity;
	snprintf(found.what, sizeof(found.what), "%s", finding->what);
	return 0;
}

/* A check and an open for reading leave it, and an open for writing removes it. */
static void a_check_says_what_a_crashed_grow_has_left(void **state)
{
	struct fixture *f = *state;
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	char left[128], later[128];

	close_pool(f);
	file_name(f, "segment.0003.new", left);
	file_name(f, "segment.0004.new", later);
	make_file(later);
	make_file(left);
	memset(&found, 0, sizeof(found));
	assert_int_equal(daxpin_check(f->path, NULL, find, NULL, &summary), 0);
	assert_int_equal(summary.damages, 0);
	assert_int_equal(summary.ignored_files, 0);
	assert_int_equal(found.calls, 1);
	assert_int_equal(found.segment, 3);
	assert_int_equal(found.severity, DAXPIN_SEVERITY_NOTE);
	assert_non_null(strstr(found.what, "2 file(s), the first of which is segment.0003.new"));
	grow_options(f)->flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_int_equal(pool_info(f).ignored_files, 0);
	close_pool(f);
	assert_int_equal(access(left, F_OK), 0);
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(access(left, F_OK), -1);
	assert_int_equal(access(later, F_OK), -1);
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
		TEST(the_most_is_16_tib_in_segments_of_1_gib),
		TEST(sizes_that_are_no_growth_are_refused),
		TEST(a_grow_past_the_addresses_names_the_option),
		TEST(a_pool_that_is_only_read_or_degraded_does_not_grow),
		TEST(a_file_in_the_way_is_left_alone),
		TEST(a_full_filesystem_leaves_nothing_behind),
		TEST(a_cancelled_grow_leaves_nothing_behind),
		TEST(other_segments_follow_a_short_one),
		TEST(a_whole_segment_has_room_for_a_larger_extent),
		TEST(a_shrink_reaches_and_removes_a_short_segment),
		TEST(a_second_grow_and_a_close_during_a_grow_are_busy),
		TEST(threads_work_while_the_pool_grows),
		TEST(a_grow_that_dies_leaves_the_old_size_or_the_new),
		TEST(an_open_removes_no_file_that_may_be_a_backup),
		TEST(a_grow_removes_what_a_crashed_one_has_left),
		TEST(a_check_says_what_a_crashed_grow_has_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
