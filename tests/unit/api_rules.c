/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules of docs/invariants.md that the tests of single calls do not show: a pin is not
 * a hold, what a closed gate allows, the fast path never sleeps, what the media may
 * look like, and what a caller's mistake does. A comment before each test names its
 * rules.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "child.h"
#include "fixture.h"
#include "forbid.h"
#include "support/invariant.h"
#include "os/os.h"

static struct daxpin_registration *pin(struct fixture *f)
{
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a pin",
	};
	struct daxpin_registration *registration;

	assert_int_equal(daxpin_register(f->pool, DAXPIN_ALL_SEGMENTS, &options,
					 &registration), 0);
	return registration;
}

static void hold(struct fixture *f, struct daxpin_extent extent)
{
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
}

static void drop(struct fixture *f, struct daxpin_extent extent)
{
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
}

/* ------------------------------------------------------------ what is idle */

/* I3, I5: reserving, publishing or registering an extent does not hold it. */
static void a_registration_does_not_count_as_a_hold(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration = pin(f);
	uint64_t before = free_bytes(f);
	struct daxpin_extent extent = live(f, 8192);

	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_wait_idle(f->pool, extent, 0), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(free_bytes(f), before);
	assert_int_equal(daxpin_unregister(registration), 0);
	dp_invariants(f->pool);
}

/* I40, I42: memory stays mapped while it is registered. */
static void a_pool_with_a_registration_does_not_close(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration = pin(f);
	struct daxpin_extent extent = live(f, 4096);

	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	hold(f, extent);
	drop(f, extent);
	assert_int_equal(daxpin_unregister(registration), 0);
}

/* I11: all kinds of hold use the same count. */
static void every_kind_of_hold_keeps_an_extent_busy(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_hold labelled = { .access = 0 };

	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "a reader", &labelled), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &labelled), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	hold(f, extent);
	drop(f, extent);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	drop(f, extent);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	dp_invariants(f->pool);
}

/* ------------------------------------------------------------- what is free */

#define ALL_OF_A_SEGMENT	(DAXPIN_SEGMENT_MIN - DAXPIN_CHUNK_SIZE)

/* I20: a short extent begins at the block where the longest one began and ended. */
static void the_next_generation_has_its_own_length(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, ALL_OF_A_SEGMENT), next;
	struct daxpin_extent other = reserve(f, ALL_OF_A_SEGMENT);
	uint64_t size;

	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	next = reserve(f, 4096);
	assert_int_equal(next.addr, extent.addr);
	assert_int_equal(daxpin_size(f->pool, next, &size), 0);
	assert_int_equal(size, 4096);
	assert_int_equal(daxpin_cancel(f->pool, next), 0);
	assert_int_equal(free_bytes(f), ALL_OF_A_SEGMENT);
	assert_int_equal(daxpin_cancel(f->pool, other), 0);
	dp_invariants(f->pool);
}

/* DAXPIN_RESERVE_ZERO zeroes extents of any size. */
static void the_next_generation_is_zeroed_on_request(void **state)
{
	static const uint64_t sizes[] = { 4096, 65536, 252 << 10, 256 << 10,
					  3 << 20 };
	struct fixture *f = *state;
	struct daxpin_extent all = reserve(f, ALL_OF_A_SEGMENT), next;
	struct daxpin_extent other = reserve(f, ALL_OF_A_SEGMENT);

	memset(daxpin_ptr(f->pool, all, 0), 0xee, ALL_OF_A_SEGMENT);
	memset(daxpin_ptr(f->pool, other, 0), 0xee, ALL_OF_A_SEGMENT);
	assert_int_equal(daxpin_cancel(f->pool, all), 0);
	assert_int_equal(daxpin_cancel(f->pool, other), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const char *at;

		for (uint32_t durable = 0; durable < 2; durable++) {
			uint32_t flags = DAXPIN_RESERVE_ZERO |
					 (durable ? DAXPIN_RESERVE_DURABLE : 0);

			assert_int_equal(daxpin_reserve(f->pool, sizes[i], flags,
							&next), 0);
			at = daxpin_ptr(f->pool, next, 0);
			assert_true(!*at && !memcmp(at, at + 1, sizes[i] - 1));
		}
	}
}

/*
 * I28: free runs that do not touch are not one run. 18 blocks are too many for a
 * thread's cache, so the first search for 19 finds both runs in the segment's lists.
 */
static void a_reserve_does_not_join_separate_free_blocks(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent, part[3];

	reserve(f, ALL_OF_A_SEGMENT);
	for (int i = 0; i < 3; i++)
		part[i] = reserve(f, 18 * 4096);
	reserve(f, ALL_OF_A_SEGMENT - 3 * 18 * 4096);
	assert_int_equal(daxpin_cancel(f->pool, part[0]), 0);
	assert_int_equal(daxpin_cancel(f->pool, part[2]), 0);
	assert_int_equal(daxpin_reserve(f->pool, 19 * 4096, 0, &extent), -ENOSPC);
	assert_int_equal(free_bytes(f), 2 * 18 * 4096);
	reserve(f, 18 * 4096);
	reserve(f, 18 * 4096);
	dp_invariants(f->pool);
}

/* ------------------------------------------------------------ a closed gate */

/*
 * I26: a closed gate refuses only new holds. A holder may clone its hold, and every
 * holder may drop.
 */
static void a_closed_gate_allows_clones_and_drops(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);

	hold(f, extent);
	dp_gate_close(dp_state_gates(&f->pool->states), extent.addr >> 25);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EAGAIN);
	assert_int_equal(daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_READ), 0);
	drop(f, extent);
	assert_int_equal(dp_gate_busy(dp_state_gates(&f->pool->states),
				      extent.addr >> 25), 1);
	drop(f, extent);
	assert_int_equal(dp_gate_busy(dp_state_gates(&f->pool->states),
				      extent.addr >> 25), 0);
	dp_gate_open(dp_state_gates(&f->pool->states), extent.addr >> 25);
	dp_invariants(f->pool);
}

/* D17: the gate is closed twice and must be opened twice. */
static void a_gate_that_was_closed_twice_opens_at_the_second_open(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);

	dp_gate_close(dp_state_gates(&f->pool->states), extent.addr >> 25);
	dp_gate_close(dp_state_gates(&f->pool->states), extent.addr >> 25);
	dp_gate_open(dp_state_gates(&f->pool->states), extent.addr >> 25);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EAGAIN);
	dp_gate_open(dp_state_gates(&f->pool->states), extent.addr >> 25);
	hold(f, extent);
	drop(f, extent);
}

/* ------------------------------------------------------------ what it costs */

/* Takes every lock that a hold or drop could take. */
static void lock_all(struct daxpin_pool *pool)
{
	pthread_mutex_lock(&pool->events.mutex);
	pthread_mutex_lock(&pool->holders.mutex);
	pthread_mutex_lock(&pool->roots.mutex);
	for (uint32_t i = 0; i < pool->media.geometry.segments; i++)
		pool->spaces.space[i].lock.state = 1;
	pool->spaces.caches.mode = 1;
}

/*
 * Every lock is taken, and any system call kills the process. Holds and drops still
 * work, the last drop of a retired extent included, and so does the lookup of a root.
 * Runs in a child with a pool of its own.
 */
static int hold_where_nothing_may_sleep(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_extent live_one, retired, found;
	struct daxpin_op name = { .type = DAXPIN_OP_ROOT, .name = "a name" };
	int failed = 0;

	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		_exit(2);
	live_one = live(f, 4096);
	retired = live(f, 4096);
	hold(f, retired);
	name.extent = live_one;
	if (publish(f, DAXPIN_OP_RETIRE, retired) ||
	    daxpin_publish(f->pool, &name, 1, NULL, NULL))
		_exit(2);
	lock_all(f->pool);
	if (forbid_all_but(SYS_exit_group))
		_exit(3);
	for (int i = 0; i < 1000; i++) {
		failed |= daxpin_hold(f->pool, live_one, DAXPIN_HOLD_READ);
		failed |= daxpin_hold_clone(f->pool, live_one, DAXPIN_HOLD_WRITE);
		failed |= daxpin_drop(f->pool, live_one);
		failed |= daxpin_drop(f->pool, live_one);
		failed |= daxpin_root(f->pool, "a name", &found);
	}
	failed |= daxpin_drop(f->pool, retired);
	failed |= daxpin_hold(f->pool, retired, DAXPIN_HOLD_READ) != -ESTALE;
	syscall(SYS_exit_group, failed ? 1 : 0);
	return 4;
}

/* I33, I34: no lock, no sleep, no system call, and no waiting for other threads. */
static void hold_and_drop_never_sleep(void **state)
{
	struct fixture *f = *state;
	int status;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	status = run_child(hold_where_nothing_may_sleep, f);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	if (status == 3) {
		print_message("# skipped: seccomp is unavailable here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

/* ------------------------------------------------------------------ the media */

static void copy_metadata(struct fixture *f, char *to)
{
	for (uint32_t i = 0; i < f->pool->media.geometry.segments; i++)
		memcpy(to + i * DAXPIN_CHUNK_SIZE,
		       dp_geometry_base(&f->pool->media.geometry, i),
		       DAXPIN_CHUNK_SIZE);
}

/* D7: a process that dies with a hold leaves nothing on media to clean up. */
static void holds_leave_no_mark_on_media(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096), other = reserve(f, 4096);
	struct daxpin_hold labelled = { .access = 0 };
	char *before = malloc(2 * DAXPIN_CHUNK_SIZE);
	char *after = malloc(2 * DAXPIN_CHUNK_SIZE);

	assert_non_null(before);
	assert_non_null(after);
	copy_metadata(f, before);
	hold(f, extent);
	hold(f, other);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "a reader", &labelled), 0);
	assert_int_equal(daxpin_cancel(f->pool, other), 0);
	copy_metadata(f, after);
	assert_memory_equal(before, after, 2 * DAXPIN_CHUNK_SIZE);
	assert_int_equal(daxpin_drop_labelled(f->pool, &labelled), 0);
	drop(f, other);
	drop(f, extent);
	copy_metadata(f, after);
	assert_memory_equal(before, after, 2 * DAXPIN_CHUNK_SIZE);
	free(before);
	free(after);
}

/* What FIEMAP returns for the file: --wrap replaces dp_os_fiemap(). */
static struct {
	struct dp_os_extent extent[2];
	int count;
} file;

int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg);

int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg)
{
	int ret = 0;

	(void)fd;
	for (int i = 0; !ret && i < file.count; i++)
		ret = fn(&file.extent[i], arg);
	return ret;
}

static int chunks_of_the_file(uint8_t chunk[3], struct dp_errmsg *errmsg)
{
	struct dp_source source = { .kind = DP_SOURCE_FSDAX };

	return dp_source_chunks(&source, -1, 3 * DAXPIN_CHUNK_SIZE, chunk,
				errmsg);
}

/* A10: DMA into a block that two files share would change both files. */
static void blocks_shared_with_another_file_are_detected(void **state)
{
	struct fixture *f = *state;
	struct dp_errmsg errmsg = { f->errmsg, sizeof(f->errmsg) };
	uint8_t chunk[3];

	file.count = 1;
	file.extent[0] = (struct dp_os_extent) {
		.offset = 0, .physical = 0, .length = 3 * DAXPIN_CHUNK_SIZE,
	};
	assert_int_equal(chunks_of_the_file(chunk, &errmsg), 0);
	assert_int_equal(chunk[1], DP_CHUNK_BACKED | DP_CHUNK_ALIGNED);
	file.count = 2;
	file.extent[0].length = DAXPIN_CHUNK_SIZE + DAXPIN_BLOCK_SIZE;
	file.extent[1] = (struct dp_os_extent) {
		.offset = DAXPIN_CHUNK_SIZE + DAXPIN_BLOCK_SIZE,
		.physical = DAXPIN_CHUNK_SIZE + DAXPIN_BLOCK_SIZE,
		.length = DAXPIN_CHUNK_SIZE - DAXPIN_BLOCK_SIZE,
		.shared = true,
	};
	assert_int_equal(chunks_of_the_file(chunk, &errmsg), 0);
	assert_false(chunk[0] & DP_CHUNK_SHARED);
	assert_int_equal(chunk[1], DP_CHUNK_BACKED | DP_CHUNK_SHARED);
	assert_false(chunk[2] & DP_CHUNK_SHARED);
}

/* A9, D9: a chunk counts as backed only if every block of it is backed. */
static void a_chunk_with_a_gap_is_a_hole(void **state)
{
	struct fixture *f = *state;
	struct dp_errmsg errmsg = { f->errmsg, sizeof(f->errmsg) };
	uint8_t chunk[3];

	file.count = 2;
	file.extent[0] = (struct dp_os_extent) {
		.offset = 0, .physical = 0, .length = DAXPIN_CHUNK_SIZE + 4096,
	};
	file.extent[1] = (struct dp_os_extent) {
		.offset = DAXPIN_CHUNK_SIZE + 8192,
		.physical = DAXPIN_CHUNK_SIZE + 8192,
		.length = 2 * DAXPIN_CHUNK_SIZE - 8192,
	};
	assert_int_equal(chunks_of_the_file(chunk, &errmsg), 0);
	assert_true(chunk[0] & DP_CHUNK_BACKED);
	assert_false(chunk[1] & DP_CHUNK_BACKED);
	assert_true(chunk[2] & DP_CHUNK_BACKED);
}

/*
 * A8: a punch that waits for a pin holds the file's lock, so a read must not wait for
 * that lock.
 */
static bool read_may_wait;
static int reads;

/* The symbol of preadv2() with 64-bit file offsets. */
ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset,
		       int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset,
		       int flags);

/* A read there takes no lock of the file, and RWF_NOWAIT is not supported. */
static bool is_on_tmpfs(int fd)
{
	uint64_t magic;

	assert_int_equal(dp_os_filesystem(fd, &magic), 0);
	return magic == TMPFS_MAGIC;
}

ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int count, off_t offset,
		       int flags)
{
	reads++;
	read_may_wait |= !(flags & RWF_NOWAIT) && !is_on_tmpfs(fd);
	return __real_preadv64v2(fd, iov, count, offset, flags);
}

static void a_read_never_waits_for_the_file(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 8192);
	/* This program's file: build directories are rarely on tmpfs. */
	int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint64_t done;
	char bytes[8192];

	reads = 0;
	read_may_wait = false;
	assert_int_equal(daxpin_read(f->pool, extent, 0, sizeof(bytes), bytes), 0);
	assert_int_equal(reads, 1);
	assert_int_equal(dp_os_read_nowait(program, 0, bytes, sizeof(bytes), &done), 0);
	assert_true(reads > 1);
	assert_false(read_may_wait);
	close(program);
}

/* ----------------------------------------------- mistakes with labelled holds */

static void label(struct fixture *f, struct daxpin_extent extent,
		  struct daxpin_hold *ret_hold)
{
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "reader", ret_hold), 0);
}

static void dropping_a_copy_of_a_labelled_hold_is_einval(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_hold one = { .access = 0 }, copy;

	label(f, extent, &one);
	copy = one;
	assert_int_equal(daxpin_drop_labelled(f->pool, &copy), -EINVAL);
	assert_int_equal(daxpin_holds(f->pool, extent, NULL, NULL), 1);
	assert_int_equal(daxpin_drop_labelled(f->pool, &one), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &copy), -EINVAL);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	dp_invariants(f->pool);
}

/* This is what the second of two threads does, if both read that the hold is taken. */
static void dropping_a_labelled_hold_twice_is_einval(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_hold one = { .access = 0 };

	hold(f, extent);
	label(f, extent, &one);
	assert_int_equal(daxpin_drop_labelled(f->pool, &one), 0);
	one.access = DAXPIN_HOLD_READ;
	assert_int_equal(daxpin_drop_labelled(f->pool, &one), -EINVAL);
	assert_int_equal(daxpin_holds(f->pool, extent, NULL, NULL), 1);
	drop(f, extent);
	dp_invariants(f->pool);
}

/* The caller did not zero the struct. */
static void dropping_a_hold_that_was_never_taken_is_einval(void **state)
{
	struct fixture *f = *state;
	struct daxpin_hold one;

	memset(&one, 0xa5, sizeof(one));
	assert_int_equal(daxpin_drop_labelled(f->pool, &one), -EINVAL);
}

/*
 * An extent's count does not record which hold was dropped, so the later drop of the
 * labelled hold finds a count of 0.
 */
static void an_excess_drop_makes_the_last_labelled_drop_fail(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_hold one = { .access = 0 };

	label(f, extent, &one);
	drop(f, extent);
	assert_int_equal(daxpin_drop_labelled(f->pool, &one), -EINVAL);
	label(f, extent, &one);
	assert_int_equal(daxpin_drop_labelled(f->pool, &one), 0);
	dp_invariants(f->pool);
}

/* ------------------------------------------------------------- by an address */

static void hold_at_holds_the_live_extent_at_an_address(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 8192), held = { 0, 0 };
	struct daxpin_extent reserved = reserve(f, 4096);

	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, DAXPIN_HOLD_READ,
					&held), 0);
	assert_true(held.addr == extent.addr && held.gen == extent.gen);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	/* A retired extent that is still held is not found by its address. */
	held.addr = 1;
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, DAXPIN_HOLD_READ,
					&held), -ENOENT);
	assert_true(held.addr == 1);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr + 4096,
					DAXPIN_HOLD_READ, &held), -ENOENT);
	assert_int_equal(daxpin_hold_at(f->pool, reserved.addr,
					DAXPIN_HOLD_READ, &held), -ENOENT);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr + 1,
					DAXPIN_HOLD_READ, &held), -EINVAL);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, 0, &held),
			 -ENOENT);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, 1, NULL), -EINVAL);
	drop(f, extent);
	dp_invariants(f->pool);
}

/*
 * A writer replaces the extent that a word of the index names; readers hold the extent
 * that they read there.
 */
static struct {
	struct fixture *f;
	struct daxpin_extent index;
	_Atomic uint64_t *word;
	atomic_bool over;
} table;

static struct daxpin_extent filled_with_its_address(struct fixture *f)
{
	struct daxpin_extent extent;
	uint64_t *data;

	while (daxpin_reserve(f->pool, 4096, 0, &extent))
		;
	data = daxpin_ptr(f->pool, extent, 0);
	for (int i = 0; i < 512; i++)
		__atomic_store_n(&data[i], extent.addr ^ extent.gen,
				 __ATOMIC_RELAXED);
	return extent;
}

static void *replace_again_and_again(void *arg)
{
	struct daxpin_extent now = *(struct daxpin_extent *)arg, next;
	struct fixture *f = table.f;

	for (int i = 0; i < 3000; i++) {
		next = filled_with_its_address(f);
		struct daxpin_op ops[] = {
			{ .type = DAXPIN_OP_KEEP, .extent = next },
			{ .type = DAXPIN_OP_SET, .extent = table.index,
			  .value = next.addr },
			{ .type = DAXPIN_OP_RETIRE, .extent = now },
		};

		assert(!daxpin_publish(f->pool, ops, 3, NULL, NULL));
		now = next;
	}
	atomic_store(&table.over, true);
	return NULL;
}

/* This is the example of daxpin_hold(3). */
static struct daxpin_extent hold_what_the_index_names(void)
{
	struct daxpin_extent extent;
	uint64_t addr;
	int ret;

	do {
		addr = atomic_load(table.word);
		ret = daxpin_hold_at(table.f->pool, addr, DAXPIN_HOLD_READ,
				     &extent);
		if (!ret && atomic_load(table.word) != addr) {
			drop(table.f, extent);
			ret = -ENOENT;
		}
	} while (ret == -ENOENT);
	assert_int_equal(ret, 0);
	return extent;
}

static void a_reader_without_a_lock_sees_whole_extents(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent first, extent;
	unsigned int looks = 0;
	pthread_t writer;
	uint64_t *data;

	table.f = f;
	table.index = live(f, 4096);
	table.word = daxpin_ptr(f->pool, table.index, 0);
	first = filled_with_its_address(f);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, first), 0);
	atomic_store(table.word, first.addr);
	atomic_store(&table.over, false);
	assert_int_equal(pthread_create(&writer, NULL, replace_again_and_again,
					&first), 0);
	for (; !atomic_load(&table.over); looks++) {
		extent = hold_what_the_index_names();
		data = daxpin_ptr(f->pool, extent, 0);
		for (int i = 0; i < 512; i++)
			assert_true(__atomic_load_n(&data[i], __ATOMIC_RELAXED)
				    == (extent.addr ^ extent.gen));
		drop(f, extent);
	}
	pthread_join(writer, NULL);
	print_message("# %u looks\n", looks);
	dp_invariants(f->pool);
}

static struct daxpin_pool_info counted(struct fixture *f)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	return info;
}

static void pool_info_counts_publishes_and_deferred_frees(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info before = counted(f), now;
	struct daxpin_extent a = live(f, 8192), b = reserve(f, 4096), none;

	hold(f, a);
	hold(f, b);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, a), 0);
	assert_int_equal(daxpin_cancel(f->pool, b), 0);
	now = counted(f);
	assert_int_equal(now.retired_bytes, 3 * 4096);
	assert_int_equal(now.deferred_frees, before.deferred_frees + 2);
	assert_int_equal(now.publishes, before.publishes + 2);
	drop(f, a);
	assert_int_equal(counted(f).retired_bytes, 4096);
	drop(f, b);
	assert_int_equal(counted(f).retired_bytes, 0);
	assert_int_equal(counted(f).no_space, before.no_space);
	while (!daxpin_reserve(f->pool, 1 << 20, 0, &none))
		;
	assert_int_equal(counted(f).no_space, before.no_space + 1);
	assert_int_equal(counted(f).publishes, before.publishes + 2);
}

/* ------------------------------------------------------- what an error means */

static void every_errno_has_a_sentence(void **state)
{
	const int ours[] = { E2BIG, EAGAIN, EINVAL, ESTALE, EUCLEAN };

	(void)state;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		assert_string_not_equal(daxpin_strerror(-ours[i]),
					strerror(ours[i]));
	assert_string_equal(daxpin_strerror(-EXDEV), strerror(EXDEV));
	assert_string_equal(daxpin_strerror(0), "no error");
	assert_string_equal(daxpin_strerror(3), "no error");
	for (int error = -4096; error < 0; error++)
		assert_true(daxpin_strerror(error)[0]);
}

static void version_string_and_version_number_agree(void **state)
{
	char text[32];

	(void)state;
	snprintf(text, sizeof(text), "%u.%u.%u", DAXPIN_VERSION_NUM >> 16,
		 DAXPIN_VERSION_NUM >> 8 & 0xff, DAXPIN_VERSION_NUM & 0xff);
	assert_string_equal(daxpin_version(), text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(hold_at_holds_the_live_extent_at_an_address),
		TEST(a_reader_without_a_lock_sees_whole_extents),
		TEST(pool_info_counts_publishes_and_deferred_frees),
		TEST(every_errno_has_a_sentence),
		TEST(version_string_and_version_number_agree),
		TEST(a_registration_does_not_count_as_a_hold),
		TEST(a_pool_with_a_registration_does_not_close),
		TEST(every_kind_of_hold_keeps_an_extent_busy),
		TEST(the_next_generation_has_its_own_length),
		TEST(the_next_generation_is_zeroed_on_request),
		TEST(a_reserve_does_not_join_separate_free_blocks),
		TEST(a_closed_gate_allows_clones_and_drops),
		TEST(a_gate_that_was_closed_twice_opens_at_the_second_open),
		TEST(hold_and_drop_never_sleep),
		TEST(holds_leave_no_mark_on_media),
		TEST(blocks_shared_with_another_file_are_detected),
		TEST(a_chunk_with_a_gap_is_a_hole),
		TEST(a_read_never_waits_for_the_file),
		TEST(dropping_a_copy_of_a_labelled_hold_is_einval),
		TEST(dropping_a_labelled_hold_twice_is_einval),
		TEST(dropping_a_hold_that_was_never_taken_is_einval),
		TEST(an_excess_drop_makes_the_last_labelled_drop_fail),
	};

	return cmocka_run_group_tests_name("api_rules", tests, NULL, NULL);
}
