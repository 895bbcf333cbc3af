/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that goes bad while the pool is open. The linker puts the functions called
 * __wrap_... between the library and the kernel, so that reading a block that a test
 * has called bad fails with EIO. The pool has one segment: a pool address is an offset
 * of its file. tests/lab/poison.c does the same with pages that are really bad.
 */
#include <pthread.h>
#include "support/fixture.h"
#include "support/invariant.h"
#include "core/handle.h"
#include "media/slab.h"
#include "os/os.h"

#define BLOCK	DP_BLOCK_SIZE
#define SIZE	(64ull << 20)

int __real_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done);
int __wrap_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done);
int __real_dp_bits_quarantine_taken(struct dp_bits *bits, uint32_t block);
int __wrap_dp_bits_quarantine_taken(struct dp_bits *bits, uint32_t block);
int __real_dp_persist_flush(struct dp_persist *persist, const void *from,
			    uint64_t size);
int __wrap_dp_persist_flush(struct dp_persist *persist, const void *from,
			    uint64_t size);
int __real_dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
				uint64_t size);
int __wrap_dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
				uint64_t size);
int __real_dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size);
int __wrap_dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

static struct {
	uint64_t begin, end;		/* what is bad, by pool addresses */
	_Atomic uint32_t touched;	/* how often it was read */
	bool no_memory, no_flush;
	/* Called by the thread that marks a block, before and after it is marked. */
	void (*before)(void);
	void (*after)(void);
} seam;

int __wrap_dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
			     uint64_t *ret_done)
{
	if (offset >= seam.end || offset + size <= seam.begin)
		return __real_dp_os_read_nowait(fd, offset, to, size, ret_done);
	seam.touched++;
	return -EIO;
}

int __wrap_dp_bits_quarantine_taken(struct dp_bits *bits, uint32_t block)
{
	int ret;

	if (seam.before)
		seam.before();
	ret = __real_dp_bits_quarantine_taken(bits, block);
	if (seam.after)
		seam.after();
	return ret;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return seam.no_memory ? NULL : __real_calloc(count, size);
}

/* Fails as an msync() that fails. */
int __wrap_dp_persist_flush(struct dp_persist *persist, const void *from,
			    uint64_t size)
{
	if (!seam.no_flush)
		return __real_dp_persist_flush(persist, from, size);
	persist->error = -EIO;
	return -EIO;
}

int __wrap_dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
				uint64_t size)
{
	return seam.no_flush ? -EIO :
	       __real_dp_persist_copy_past(persist, to, from, size);
}

int __wrap_dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size)
{
	if (!seam.no_flush)
		return __real_dp_persist_wipe(persist, to, size);
	persist->error = -EIO;
	return -EIO;
}

static struct fixture *pool_of_test;	/* for `before` and `after` */
static struct daxpin_extent extent_of_test;

static int set_up(void **state)
{
	int ret = fixture_setup_sized(state, SIZE);

	memset(&seam, 0, sizeof(seam));
	pool_of_test = *state;
	return ret;
}

/* Blocks [first, first + count) of the extent go bad. */
static void go_bad(struct daxpin_extent extent, uint64_t first, uint64_t count)
{
	seam.begin = extent.addr + first * BLOCK;
	seam.end = seam.begin + count * BLOCK;
}

static int read_all(struct fixture *f, struct daxpin_extent extent)
{
	static char bytes[256 * BLOCK];
	uint64_t size;

	assert_int_equal(daxpin_size(f->pool, extent, &size), 0);
	assert_true(size <= sizeof(bytes));
	return daxpin_read(f->pool, extent, 0, size, bytes);
}

/*
 * Reserves all free space, in single blocks, and asserts that no bad block is among
 * them.
 */
static void assert_never_reserved(struct fixture *f)
{
	uint64_t taken = 0, free = free_bytes(f);
	struct daxpin_extent extent;

	while (!daxpin_reserve(f->pool, BLOCK, 0, &extent)) {
		assert_false(extent.addr >= seam.begin && extent.addr < seam.end);
		taken += BLOCK;
	}
	assert_int_equal(taken, free);
	dp_invariants(f->pool);
}

static void a_bad_block_of_a_cancelled_extent_is_not_reserved_again(void **state)
{
	struct fixture *f = *state;
	uint64_t all = pool_info(f).usable_bytes;
	struct daxpin_extent extent = reserve(f, BLOCK);

	go_bad(extent, 0, 1);
	assert_int_equal(read_all(f, extent), -EIO);
	assert_int_equal(pool_info(f).bad_bytes, BLOCK);
	assert_int_equal(pool_info(f).usable_bytes, all - BLOCK);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(free_bytes(f), all - BLOCK);
	assert_never_reserved(f);
}

/*
 * The extents have all sizes, those that a thread caches included, and are retired
 * while held.
 */
static void bad_blocks_stay_behind_when_their_extent_ends(void **state)
{
	static const uint32_t sizes[] = { 2, 3, 16, 17, 64, 256 };
	struct fixture *f = *state;
	uint64_t bad = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct daxpin_extent extent = live(f, sizes[i] * BLOCK);
		uint64_t before = free_bytes(f), count = (sizes[i] + 1) / 2;

		go_bad(extent, i % 2, count);
		assert_int_equal(read_all(f, extent), -EIO);
		bad += count;
		assert_int_equal(pool_info(f).bad_bytes, bad * BLOCK);
		assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
		assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
		/* A retired extent can be read while it is held. */
		assert_int_equal(read_all(f, extent), -EIO);
		assert_int_equal(free_bytes(f), before);
		assert_int_equal(daxpin_drop(f->pool, extent), 0);
		assert_int_equal(free_bytes(f), before + (sizes[i] - count) * BLOCK);
		assert_int_equal(free_bytes(f), pool_info(f).usable_bytes);
		dp_invariants(f->pool);
	}
	assert_never_reserved(f);
}

static void a_retired_extent_that_is_still_held_is_quarantined_too(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 2 * BLOCK);

	assert_int_equal(daxpin_hold(f->pool, extent,
				     DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	go_bad(extent, 1, 1);
	assert_int_equal(read_all(f, extent), -EIO);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(pool_info(f).bad_bytes, BLOCK);
	assert_never_reserved(f);
}

/* The next open queries the kernel again. */
static void the_next_open_knows_nothing_of_it(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4 * BLOCK);

	go_bad(extent, 0, 4);
	assert_int_equal(read_all(f, extent), -EIO);
	assert_int_equal(pool_info(f).bad_bytes, 4 * BLOCK);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).bad_bytes, 0);
	dp_invariants(f->pool);
}

static void what_is_known_is_not_touched_again(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4 * BLOCK);
	char byte[8] = "";
	struct daxpin_op set = { .type = DAXPIN_OP_SET, .extent = extent,
				 .offset = 2 * BLOCK, .value = 1 };
	uint32_t touched;

	go_bad(extent, 2, 1);
	assert_int_equal(daxpin_read(f->pool, extent, 2 * BLOCK, 8, byte), -EIO);
	touched = seam.touched;
	assert_int_equal(daxpin_read(f->pool, extent, 2 * BLOCK, 8, byte), -EIO);
	assert_int_equal(daxpin_read(f->pool, extent, 2 * BLOCK - 8, 8, byte), 0);
	assert_int_equal(daxpin_read(f->pool, extent, 3 * BLOCK, 8, byte), 0);
	assert_int_equal(daxpin_persist(f->pool, extent, 0, 0), -EIO);
	assert_int_equal(daxpin_persist(f->pool, extent, 0, 2 * BLOCK), 0);
	assert_int_equal(daxpin_publish(f->pool, &set, 1, NULL, NULL), -EIO);
	set.offset = 3 * BLOCK;
	assert_int_equal(daxpin_publish(f->pool, &set, 1, NULL, NULL), 0);
	assert_int_equal(seam.touched, touched);
	dp_invariants(f->pool);
}

/* A KEEP that would have to write back a bad block fails, and claims nothing. */
static void a_reserved_extent_that_went_bad_is_not_kept(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4 * BLOCK);
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = reserve(f, BLOCK) },
		{ .type = DAXPIN_OP_KEEP, .extent = extent },
	};
	size_t failed = 9;

	go_bad(extent, 3, 1);
	assert_int_equal(read_all(f, extent), -EIO);
	assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, &failed), -EIO);
	assert_int_equal(failed, 1);
	dp_invariants(f->pool);
	/*
	 * The failed publish left no claim, and a KEEP of the intact blocks succeeds.
	 */
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, ops[0].extent), 0);
	ops[1].length = 3 * BLOCK;
	assert_int_equal(daxpin_publish(f->pool, &ops[1], 1, NULL, NULL), 0);
	dp_invariants(f->pool);
}

/* The copy reads the bad block, fails and gives its space back; without the block it is
 * copied. */
static void an_extent_that_went_bad_is_not_copied(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent to = { 0, 0 };

	for (uint64_t at = 0; at < 200; at += 199) {
		struct daxpin_extent extent = live(f, 200 * BLOCK);
		uint64_t before = free_bytes(f);

		go_bad(extent, at, 1);
		assert_int_equal(daxpin_copy(f->pool, extent, NULL, &to), -EIO);
		assert_int_equal(to.addr, 0);
		assert_int_equal(free_bytes(f), before);
		assert_int_equal(daxpin_idle(f->pool, extent), 1);
		dp_invariants(f->pool);
	}
	assert_int_equal(pool_info(f).bad_bytes, 2 * BLOCK);
}

static void a_copy_whose_msync_fails_reserves_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 200 * BLOCK), to = { 0, 0 };
	uint64_t before = free_bytes(f);

	seam.no_flush = true;
	assert_int_equal(daxpin_copy(f->pool, extent, NULL, &to), -EIO);
	seam.no_flush = false;
	assert_int_equal(to.addr, 0);
	assert_int_equal(free_bytes(f), before);
}

static void without_memory_a_read_says_so_and_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, BLOCK);

	go_bad(extent, 0, 1);
	seam.no_memory = true;
	assert_int_equal(read_all(f, extent), -ENOMEM);
	assert_int_equal(pool_info(f).bad_bytes, 0);
	seam.no_memory = false;
	assert_int_equal(read_all(f, extent), -EIO);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_never_reserved(f);
}

static void cancel_it(void)
{
	seam.before = seam.after = NULL;
	assert_int_equal(daxpin_cancel(pool_of_test->pool, extent_of_test), 0);
}

/* The extent's thread frees it into its cache or, after the mark, to its segment. */
static void an_extent_that_ends_meanwhile_is_not_quarantined(void **state)
{
	struct fixture *f = *state;
	uint64_t all = free_bytes(f);

	for (int after = 0; after < 2; after++) {
		extent_of_test = reserve(f, BLOCK);
		go_bad(extent_of_test, 0, 1);
		seam.before = after ? NULL : cancel_it;
		seam.after = after ? cancel_it : NULL;
		assert_int_equal(read_all(f, extent_of_test), -ESTALE);
		assert_null(seam.before);
		assert_null(seam.after);
		assert_int_equal(pool_info(f).bad_bytes, 0);
		assert_int_equal(free_bytes(f), all);
		dp_invariants(f->pool);
	}
}

/* ------------------------------------------------------- pages of the table */

/*
 * No extent uses the page yet, so the open did not read it. The next publishes use
 * blocks of the page that this thread caches.
 */
static void a_page_of_the_table_that_cannot_be_read_is_not_used(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, BLOCK);
	uint64_t page = extent.addr / BLOCK / DP_PAGE_WORDS, refused = 0;

	seam.begin = DP_TABLE_OFFSET + page * BLOCK;
	seam.end = seam.begin + BLOCK;
	while (publish(f, DAXPIN_OP_KEEP, extent)) {
		assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), -EIO);
		assert_int_equal(extent.addr / BLOCK / DP_PAGE_WORDS, page);
		assert_int_equal(daxpin_cancel(f->pool, extent), 0);
		dp_invariants(f->pool);
		extent = reserve(f, BLOCK);
		assert_true(++refused <= DP_PAGE_WORDS);
	}
	assert_true(refused);
	assert_int_equal(pool_info(f).bad_bytes, DP_PAGE_WORDS * BLOCK);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
}

/* After a failed flush the pool publishes nothing more, but no block is bad. */
static void a_flush_of_a_page_that_fails_quarantines_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, BLOCK);

	seam.no_flush = true;
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), -EIO);
	seam.no_flush = false;
	assert_int_equal(pool_info(f).bad_bytes, 0);
	f->pool->media.persist.error = 0;
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* A reserve that finds no space frees empty slabs. The first one cannot be freed on
 * media, and the other two keep their places. */
static void a_failure_of_the_medium_keeps_the_other_empty_slabs(void **state)
{
	enum { OBJECTS = 1021, SLABS = 3 };	/* of 64 bytes */
	static uint64_t addr[SLABS * OBJECTS];
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t other;

	for (uint32_t i = 0; i < SLABS * OBJECTS; i++)
		assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, &addr[i]), 0);
	while (!daxpin_reserve(f->pool, BLOCK, 0, &extent))
		;
	for (uint32_t i = 0; i < SLABS * OBJECTS; i++)
		assert_int_equal(daxpin_object_cancel(f->pool, addr[i]), 0);
	assert_int_equal(pool_info(f).slab_bytes, SLABS * DP_SLAB_SIZE);
	seam.no_flush = true;
	assert_int_equal(daxpin_object_reserve(f->pool, 2048, 0, &other), -EIO);
	for (uint32_t i = 0; i < (SLABS - 1) * OBJECTS; i++)
		assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, &addr[i]), 0);
	assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, &other), -EIO);
	for (uint32_t i = 0; i < (SLABS - 1) * OBJECTS; i++)
		assert_int_equal(daxpin_object_cancel(f->pool, addr[i]), 0);
	assert_int_equal(daxpin_pool_close(f->pool), -EIO);
	seam.no_flush = false;
}

static void a_reserve_whose_zeroes_are_not_durable_keeps_no_space(void **state)
{
	const uint32_t flags = DAXPIN_RESERVE_ZERO | DAXPIN_RESERVE_DURABLE;
	struct daxpin_extent extent = { 1, 2 };
	struct fixture *f = *state;
	uint64_t free = free_bytes(f);

	seam.no_flush = true;
	assert_int_equal(daxpin_reserve(f->pool, 3 * BLOCK, flags, &extent), -EIO);
	seam.no_flush = false;
	assert_true(extent.addr == 1 && extent.gen == 2);
	assert_int_equal(free_bytes(f), free);
	f->pool->media.persist.error = 0;
	assert_int_equal(daxpin_reserve(f->pool, 3 * BLOCK, flags, &extent), 0);
	assert_int_equal(free_bytes(f), free - 3 * BLOCK);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	dp_invariants(f->pool);
}

/* ------------------------------------------------------------------- threads */

#define ROUNDS	2000

static struct daxpin_extent shared[ROUNDS];
static _Atomic uint32_t turn;

/* Cancels each extent at about the time when the other thread reads it. */
static void *canceller(void *arg)
{
	struct fixture *f = arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		while (turn <= i)
			sched_yield();
		assert_int_equal(daxpin_cancel(f->pool, shared[i]), 0);
	}
	return NULL;
}

/*
 * Each read either fails with EIO and marks the block, or finds that the extent has
 * ended.
 */
static void reads_and_cancels_of_two_threads_lose_no_block(void **state)
{
	struct fixture *f = *state;
	uint64_t all = free_bytes(f), bad = 0;
	pthread_t thread;

	for (uint32_t i = 0; i < ROUNDS; i++)
		shared[i] = reserve(f, BLOCK);
	turn = 0;
	seam.begin = 0;
	seam.end = SIZE;
	assert_int_equal(pthread_create(&thread, NULL, canceller, f), 0);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		char byte;
		int ret;

		turn = i + 1;
		ret = daxpin_read(f->pool, shared[i], 0, 1, &byte);
		assert_true(ret == -EIO || ret == -ESTALE);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	bad = pool_info(f).bad_bytes;
	dp_invariants(f->pool);
	assert_int_equal(free_bytes(f), all - bad);
	seam.end = 0;
	assert_never_reserved(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_bad_block_of_a_cancelled_extent_is_not_reserved_again),
		TEST(bad_blocks_stay_behind_when_their_extent_ends),
		TEST(a_retired_extent_that_is_still_held_is_quarantined_too),
		TEST(the_next_open_knows_nothing_of_it),
		TEST(what_is_known_is_not_touched_again),
		TEST(a_reserved_extent_that_went_bad_is_not_kept),
		TEST(an_extent_that_went_bad_is_not_copied),
		TEST(a_copy_whose_msync_fails_reserves_nothing),
		TEST(without_memory_a_read_says_so_and_can_be_repeated),
		TEST(an_extent_that_ends_meanwhile_is_not_quarantined),
		TEST(a_page_of_the_table_that_cannot_be_read_is_not_used),
		TEST(a_flush_of_a_page_that_fails_quarantines_nothing),
		TEST(a_failure_of_the_medium_keeps_the_other_empty_slabs),
		TEST(a_reserve_whose_zeroes_are_not_durable_keeps_no_space),
		TEST(reads_and_cancels_of_two_threads_lose_no_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
