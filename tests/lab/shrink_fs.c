/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool shrinks on the DAX filesystem that DAXPIN_TEST_FSDAX names: under a pin that
 * the library does not know (a page in a pipe, which is pinned until the pipe is read),
 * and while threads read into its extents from the disk that DAXPIN_TEST_DISK names.
 */
#include "reclaim_fixture.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/vfs.h>
#include "core/handle.h"
#include "support/invariant.h"

#define READERS		3u
#define SLOTS		24u
#define READ_BYTES	65536u

static const char *directory;
static char errmsg[512];

static int setup(void **state)
{
	return reclaim_setup(state, directory);
}

static int teardown(void **state)
{
	int ret;

	unpin();
	ret = end_jobs();
	return fixture_teardown(state) | ret;
}

static uint64_t free_on_filesystem(void)
{
	struct statfs fs;

	assert_int_equal(statfs(directory, &fs), 0);
	return fs.f_bfree * fs.f_bsize;
}

static bool file_exists(struct fixture *f, uint32_t index)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/segment.%04u", f->path, index);
	return !stat(path, &st);
}

struct state {
	uint64_t limit;			/* extents at or above it are moved */
	uint32_t pinned;		/* reports of pinned memory */
	bool cancel;			/* at such a report */
	void (*move)(struct fixture *f, uint64_t limit);
	struct fixture *f;
};

static int progress(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		    void *arg)
{
	struct state *state = arg;

	(void)pool;
	state->pinned += wait->reason == DAXPIN_SHRINK_PINNED;
	if (wait->reason != DAXPIN_SHRINK_PINNED)
		state->move(state->f, state->limit);
	return state->cancel && state->pinned;
}

typedef void move_fn(struct fixture *f, uint64_t limit);

static int shrink(struct fixture *f, uint32_t segments, uint64_t deadline_ns,
		  bool cancel, move_fn *move, uint32_t *pinned)
{
	struct state state = { segments * SEGMENT, 0, cancel, move, f };
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = deadline_ns,
		.progress = progress, .progress_arg = &state,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = daxpin_pool_shrink(f->pool, segments * SEGMENT, &options);

	*pinned = state.pinned;
	return ret;
}

/* ------------------------------------------------------------------ a foreign pin */

static void move_live(struct fixture *f, uint64_t limit)
{
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		struct daxpin_op ops[] = {
			{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED },
			{ .type = DAXPIN_OP_RETIRE, .extent = live_extent[i] },
		};

		if (live_extent[i].addr < limit)
			continue;
		assert_int_equal(daxpin_copy(f->pool, live_extent[i], NULL,
					     &ops[0].extent), 0);
		assert_memory_equal(daxpin_ptr(f->pool, ops[0].extent, 0),
				    daxpin_ptr(f->pool, live_extent[i], 0), LIVE);
		assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, NULL), 0);
		live_extent[i] = ops[0].extent;
	}
}

/* The pin is on the extent that is moved; nothing that daxpin knows keeps the
 * segment. */
static void a_shrink_waits_for_a_page_in_a_pipe(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_on_filesystem(), room = free_bytes(f);
	int fd = open_file(f, B);
	uint32_t pinned;
	struct stat st;

	pin(f, B, live_extent[B].addr % SEGMENT);
	assert_int_equal(shrink(f, B, DAXPIN_NO_DEADLINE, true, move_live, &pinned),
			 -ECANCELED);
	assert_true(pinned);
	/* Now nothing else is in the way. */
	assert_int_equal(shrink(f, B, daxpin_deadline_ms(1), false, move_live, &pinned),
			 -EBUSY);
	print_message("# \"%s\"\n", errmsg);
	assert_non_null(strstr(errmsg, "pinned by I/O that daxpin does not know"));
	assert_true(file_exists(f, B));
	assert_int_equal(pool_info(f).segments, SEGMENTS);
	assert_int_equal(free_bytes(f), room);
	dp_invariants(f->pool);
	unpin();
	assert_int_equal(shrink(f, B, DAXPIN_NO_DEADLINE, false, move_live, &pinned),
			 0);
	assert_int_equal(pool_info(f).segments, B);
	assert_false(file_exists(f, B));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	assert_true(free_on_filesystem() >= before + SEGMENT - CHUNK);
	dp_invariants(f->pool);
	close(fd);
	f->options.pool_size = 0;
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).segments, B);
	assert_int_equal(pool_info(f).unclean, 0);
}

/* ------------------------------------------------------------------------- load */

/* A live extent, into which a thread reads under a hold. */
static struct slot {
	pthread_mutex_t mutex;
	struct daxpin_extent extent;
} slot[SLOTS];
static struct fixture *of_readers;
static _Atomic bool stop_readers;
static _Atomic uint64_t reads, moves;
static int disk;
static char expected[READ_BYTES];

static void *keep_reading(void *arg)
{
	uint64_t random = (uintptr_t)arg + 1;

	while (!stop_readers) {
		struct slot *s;
		void *to;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		s = &slot[(random >> 40) % SLOTS];
		pthread_mutex_lock(&s->mutex);
		assert(!daxpin_hold(of_readers->pool, s->extent, DAXPIN_HOLD_WRITE));
		to = daxpin_ptr(of_readers->pool, s->extent, 0);
		assert(pread(disk, to, READ_BYTES, 0) == READ_BYTES);
		assert(!memcmp(to, expected, READ_BYTES));
		assert(!daxpin_drop(of_readers->pool, s->extent));
		pthread_mutex_unlock(&s->mutex);
		reads++;
	}
	return NULL;
}

static void move_slots(struct fixture *f, uint64_t limit)
{
	move_live(f, limit);
	for (uint32_t i = 0; i < SLOTS; i++) {
		struct daxpin_op ops[] = {
			{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED },
			{ .type = DAXPIN_OP_RETIRE },
		};

		pthread_mutex_lock(&slot[i].mutex);
		ops[1].extent = slot[i].extent;
		if (slot[i].extent.addr >= limit &&
		    !daxpin_copy(f->pool, slot[i].extent, NULL, &ops[0].extent)) {
			assert(ops[0].extent.addr < limit);
			assert(!daxpin_publish(f->pool, ops, 2, NULL, NULL));
			slot[i].extent = ops[0].extent;
			moves++;
		}
		pthread_mutex_unlock(&slot[i].mutex);
	}
}

/* Two of the three segments go, one after the other. Before the second, the large live
 * extents are retired, since segment 0 has no room for them. */
static void threads_read_by_dma_while_it_shrinks(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_on_filesystem(), begin;
	struct daxpin_extent fill[SEGMENTS];
	pthread_t reader[READERS];
	uint32_t pinned;

	disk = open(getenv("DAXPIN_TEST_DISK"), O_RDONLY | O_DIRECT);
	assert_true(disk >= 0);
	of_readers = f;
	stop_readers = false;
	/* 1 MiB of each segment is left for the slots. */
	for (uint32_t i = 0; i < SEGMENTS; i++)
		fill[i] = reserve(f, FREE - SLOTS / SEGMENTS * 2 * READ_BYTES);
	for (uint32_t i = 0; i < SLOTS; i++)
		slot[i] = (struct slot) { PTHREAD_MUTEX_INITIALIZER,
					  live(f, 2 * READ_BYTES) };
	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_int_equal(daxpin_cancel(f->pool, fill[i]), 0);
	assert_int_equal(pread(disk, daxpin_ptr(f->pool, slot[0].extent, 0), READ_BYTES,
			       0), READ_BYTES);
	memcpy(expected, daxpin_ptr(f->pool, slot[0].extent, 0), READ_BYTES);
	for (uintptr_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&reader[i], NULL, keep_reading,
						(void *)i), 0);
	for (uint32_t segments = SEGMENTS - 1; segments; segments--) {
		for (begin = reads; reads < begin + 100;)
			sched_yield();
		for (uint32_t i = segments; segments == 1 && i < SEGMENTS; i++)
			assert_int_equal(publish(f, DAXPIN_OP_RETIRE,
						 live_extent[i]), 0);
		for (uint32_t i = segments; segments == 1 && i < SEGMENTS; i++)
			live_extent[i].addr = 0;
		assert_int_equal(shrink(f, segments, DAXPIN_NO_DEADLINE, false,
					move_slots, &pinned), 0);
		assert_int_equal(pool_info(f).segments, segments);
		assert_false(file_exists(f, segments));
	}
	for (begin = reads; reads < begin + 100;)
		sched_yield();
	stop_readers = true;
	for (uint32_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(reader[i], NULL), 0);
	print_message("# %u reads, %u moves\n", (unsigned int)reads,
		      (unsigned int)moves);
	assert_true(moves >= SLOTS / SEGMENTS);
	dp_invariants(f->pool);
	assert_true(free_on_filesystem() >= before + 2 * SEGMENT - CHUNK);
	close(disk);
	f->options.pool_size = 0;
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).segments, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_shrink_waits_for_a_page_in_a_pipe),
		TEST(threads_read_by_dma_while_it_shrinks),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!directory || !getenv("DAXPIN_TEST_DISK")) {
		puts("1..0 # SKIP no DAX filesystem or no disk");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
