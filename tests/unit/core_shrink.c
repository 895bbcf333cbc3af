/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_pool_shrink(). The linker puts __wrap_dp_pool_set_segments() between the
 * library and the function that writes the superblock, to make it fail, or to end the
 * process before or after it.
 */
#include "support/fixture.h"
#include "support/resize.h"
#include "support/invariant.h"
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include "child.h"
#include "needs.h"
#include "core/handle.h"
#include "core/slabs.h"
#include "pool/own.h"

#define BLOCK		DAXPIN_BLOCK_SIZE
#define SEGMENT		((uint64_t)DAXPIN_SEGMENT_MIN)
#define SEGMENTS	4u
#define EXTENTS		64u

int __real_dp_pool_set_segments(struct dp_pool *pool, uint32_t segments);
int __wrap_dp_pool_set_segments(struct dp_pool *pool, uint32_t segments);

static struct fixture *pool_of_test;	/* for the wrapped function */
static struct {
	int error;
	bool exit_before, exit_after;
} seam;

int __wrap_dp_pool_set_segments(struct dp_pool *pool, uint32_t segments)
{
	int ret;

	if (seam.exit_before)
		_exit(0);
	/* The gates are closed, and nothing is held. */
	for (uint32_t i = segments; pool_of_test && i < SEGMENTS; i++) {
		struct dp_gates *gates = dp_state_gates(&pool_of_test->pool->states);

		assert_true(dp_gate_is_closed(gates, i));
		assert_int_equal(dp_gate_busy(gates, i), 0);
	}
	ret = seam.error ? seam.error : __real_dp_pool_set_segments(pool, segments);
	if (seam.exit_after)
		_exit(0);
	return ret;
}

static char errmsg[512];

/* What progress() reported, and what it does. */
static struct {
	uint32_t calls, reason[9];	/* how often each reason was reported */
	struct daxpin_shrink_wait last;
	char label[DAXPIN_LABEL_MAX];
	uint64_t limit;			/* extents at or above it are moved */
	uint32_t cancel_at;
	void (*then)(struct daxpin_pool *pool, void *arg);
	void *arg;
} seen;

static int set_up(void **state)
{
	int ret = fixture_setup_sized(state, SEGMENTS * SEGMENT);

	memset(&seam, 0, sizeof(seam));
	memset(&seen, 0, sizeof(seen));
	pool_of_test = *state;
	return ret;
}

static int progress(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		    void *arg)
{
	assert_ptr_equal(arg, &seen);
	assert_int_equal(wait->size, sizeof(*wait));
	assert_true(wait->reason && wait->reason < 9);
	seen.calls++;
	seen.reason[wait->reason]++;
	seen.last = *wait;
	seen.label[0] = '\0';
	if (wait->holder && wait->holder->label)
		snprintf(seen.label, sizeof(seen.label), "%s", wait->holder->label);
	if (seen.then)
		seen.then(pool, seen.arg);
	return seen.cancel_at && seen.calls >= seen.cancel_at;
}

static int shrink(struct fixture *f, uint64_t size, uint64_t deadline_ns)
{
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = deadline_ns,
		.progress = progress, .progress_arg = &seen,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	strcpy(errmsg, "of an earlier call");
	return daxpin_pool_shrink(f->pool, size, &options);
}

static void file_path(struct fixture *f, uint32_t index, char path[128])
{
	snprintf(path, 128, "%s/segment.%04u", f->path, index);
}

static bool file_exists(struct fixture *f, uint32_t index)
{
	char path[128];
	struct stat st;

	file_path(f, index, path);
	return !stat(path, &st);
}

/* The pool has so many segments, all of whose space is accounted for, and no file of
 * another is left. */
static void assert_segments(struct fixture *f, uint32_t segments)
{
	struct daxpin_pool_info info = pool_info(f);

	assert_int_equal(info.segments, segments);
	assert_int_equal(info.media_bytes, segments * SEGMENT);
	assert_int_equal(info.usable_bytes, segments * info.largest_extent);
	assert_int_equal(info.ignored_files, 0);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_int_equal(file_exists(f, i), i < segments);
	dp_invariants(f->pool);
}

/* All free space can be reserved, and none of it is behind the segments. */
static void assert_all_can_be_reserved(struct fixture *f, uint32_t segments)
{
	struct daxpin_extent extent[2 * SEGMENTS];
	uint64_t whole = pool_info(f).largest_extent;
	uint32_t count = 0;

	while (!daxpin_reserve(f->pool, whole, 0, &extent[count])) {
		assert_true(extent[count].addr < segments * SEGMENT);
		count++;
	}
	assert_int_equal(count, segments);
	while (count)
		assert_int_equal(daxpin_cancel(f->pool, extent[--count]), 0);
}

/* A live extent in each segment, the largest or not. */
static struct daxpin_extent live_in(struct fixture *f, uint32_t segment, uint64_t size)
{
	struct daxpin_extent extent[SEGMENTS], in = { 0, 0 };
	uint64_t whole = pool_info(f).largest_extent;
	uint32_t count = 0;

	while (!daxpin_reserve(f->pool, whole, 0, &extent[count]))
		count++;
	for (uint32_t i = 0; i < count; i++)
		if (extent[i].addr / SEGMENT == segment)
			assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
	in = live(f, size);
	assert_int_equal(in.addr / SEGMENT, segment);
	for (uint32_t i = 0; i < count; i++)
		if (extent[i].addr / SEGMENT != segment)
			assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
	return in;
}

/* The options of the fixture ask for a pool of the old size. */
static void reopen(struct fixture *f)
{
	f->options.pool_size = 0;
	assert_int_equal(fixture_reopen(f), 0);
}

static void an_empty_pool_shrinks_at_once(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;
	int fd;

	file_path(f, SEGMENTS - 1, path);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(shrink(f, 2 * SEGMENT, 0), 0);
	assert_string_equal(errmsg, "");
	/* The blocks are gone, even if something keeps the file open. */
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	close(fd);
	assert_int_equal(seen.calls, 0);
	assert_segments(f, 2);
	assert_all_can_be_reserved(f, 2);
	/* Once more in the same open, and to one segment. */
	assert_int_equal(daxpin_pool_shrink(f->pool, 1, NULL), 0);
	assert_segments(f, 1);
	assert_all_can_be_reserved(f, 1);
	reopen(f);
	assert_int_equal(pool_info(f).unclean, 0);
	assert_segments(f, 1);
	assert_all_can_be_reserved(f, 1);
}

static void a_size_is_rounded_up_to_segments(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(shrink(f, 0, 0), -EINVAL);
	assert_non_null(strstr(errmsg, "cannot shrink to 0"));
	assert_int_equal(shrink(f, SEGMENTS * SEGMENT + 1, 0), -EINVAL);
	assert_int_equal(shrink(f, UINT64_MAX, 0), -EINVAL);
	assert_int_equal(shrink(f, SEGMENTS * SEGMENT, 0), 0);
	assert_int_equal(shrink(f, (SEGMENTS - 1) * SEGMENT + 1, 0), 0);
	assert_segments(f, SEGMENTS);
	assert_int_equal(shrink(f, 2 * SEGMENT + 1, 0), 0);
	assert_segments(f, 3);
	assert_int_equal(shrink(f, 3 * SEGMENT + 1, 0), -EINVAL);
}

static int move(struct daxpin_pool *pool, struct daxpin_extent from, uint64_t size,
		void *arg)
{
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED },
		{ .type = DAXPIN_OP_SET, .extent = *(struct daxpin_extent *)arg },
		{ .type = DAXPIN_OP_RETIRE, .extent = from },
	};
	uint64_t *word = daxpin_ptr(pool, ops[1].extent, 0);

	(void)size;
	for (uint32_t i = 0; i < EXTENTS; i++)
		if (word[i] == from.addr)
			ops[1].offset = i * sizeof(*word);
	assert_int_equal(daxpin_copy(pool, from, NULL, &ops[0].extent), 0);
	assert_true(ops[0].extent.addr < seen.limit);
	ops[1].value = ops[0].extent.addr;
	assert_int_equal(daxpin_publish(pool, ops, 3, NULL, NULL), 0);
	return 0;
}

static void move_all(struct daxpin_pool *pool, void *index)
{
	assert_int_equal(daxpin_foreach_in(pool, seen.limit, 0, move, index), 0);
}

/* Reserves all free space. */
static struct daxpin_extent reserved[200];
static uint32_t reserved_count;

static void reserve_rest(struct fixture *f)
{
	uint64_t whole = pool_info(f).largest_extent;

	for (uint64_t size = whole / 2; size >= BLOCK; size /= 2)
		while (!daxpin_reserve(f->pool, size, 0, &reserved[reserved_count]))
			assert_true(++reserved_count < 200);
}

static void cancel_reserved(struct fixture *f)
{
	while (reserved_count)
		assert_int_equal(daxpin_cancel(f->pool, reserved[--reserved_count]), 0);
}

/* The extents, of many sizes, are everywhere; an index in segment 0 has their
 * addresses. */
static void extents_that_progress_moves_are_kept(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent index = live_in(f, 0, BLOCK), extent;
	uint64_t *word = daxpin_ptr(f->pool, index, 0), root = index.addr;
	struct daxpin_extent whole[SEGMENTS] = { { 0, 0 } };
	bool used[SEGMENTS] = { false };

	for (uint32_t i = 1; i < SEGMENTS; i++)
		whole[i] = reserve(f, pool_info(f).largest_extent);
	for (uint32_t i = 0; i < EXTENTS; i++) {
		if (i && i % (EXTENTS / SEGMENTS) == 0) {
			reserve_rest(f);
			assert_int_equal(daxpin_cancel(f->pool, whole[i * SEGMENTS /
								      EXTENTS]), 0);
		}
		extent = live(f, (1 + i * i % 70) * BLOCK);
		*(uint64_t *)daxpin_ptr(f->pool, extent, 8) = i;
		word[i] = extent.addr;
		used[extent.addr / SEGMENT] = true;
	}
	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_true(used[i]);
	cancel_reserved(f);
	assert_int_equal(daxpin_persist(f->pool, index, 0, 0), 0);
	seen.limit = SEGMENT;
	seen.then = move_all;
	seen.arg = &index;
	/* Deadline 0: one call of progress() moves everything. */
	assert_int_equal(shrink(f, SEGMENT, 0), 0);
	assert_int_equal(seen.calls, 1);
	assert_true(seen.reason[DAXPIN_SHRINK_LIVE]);
	assert_int_equal(pool_info(f).segments, 1);
	reopen(f);
	assert_segments(f, 1);
	assert_int_equal(daxpin_extent_at(f->pool, root, &index), 0);
	word = daxpin_ptr(f->pool, index, 0);
	for (uint32_t i = 0; i < EXTENTS; i++) {
		assert_int_equal(daxpin_extent_at(f->pool, word[i], &extent), 0);
		assert_int_equal(*(uint64_t *)daxpin_ptr(f->pool, extent, 8), i);
	}
}

/* A shrink fails with that reason and words, and everything is as it was. */
static void assert_refused(struct fixture *f, uint32_t reason, const char *words)
{
	uint64_t free = free_bytes(f), usable = pool_info(f).usable_bytes;

	memset(seen.reason, 0, sizeof(seen.reason));
	assert_int_equal(shrink(f, SEGMENT, 0), -EBUSY);
	assert_true(seen.reason[reason]);
	if (!strstr(errmsg, words))
		fail_msg("\"%s\" has no \"%s\"", errmsg, words);
	assert_int_equal(free_bytes(f), free);
	assert_int_equal(pool_info(f).usable_bytes, usable);
	assert_segments(f, SEGMENTS);
}

static void what_is_in_the_way_is_named_and_everything_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live_in(f, 2, 3 * BLOCK);
	struct daxpin_hold hold = { .access = 0 };

	assert_refused(f, DAXPIN_SHRINK_LIVE, "daxpin_copy()");
	assert_int_equal(seen.last.extent.addr, extent.addr);
	assert_int_equal(seen.last.extent.gen, extent.gen);
	assert_int_equal(seen.last.bytes, 3 * BLOCK);
	assert_int_equal(seen.last.left_bytes, 3 * BLOCK);
	assert_int_equal(seen.last.segment, 2);
	assert_null(seen.last.holder);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "a reader", &hold), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_refused(f, DAXPIN_SHRINK_RETIRED, "held by a reader");
	assert_string_equal(seen.label, "a reader");
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
	assert_all_can_be_reserved(f, SEGMENTS);
	assert_int_equal(shrink(f, SEGMENT, 0), 0);
	assert_segments(f, 1);
}

static void a_reserved_extent_is_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent[SEGMENTS];
	uint64_t whole = pool_info(f).largest_extent;

	for (uint32_t i = 0; i < SEGMENTS; i++)
		extent[i] = reserve(f, whole);
	assert_refused(f, DAXPIN_SHRINK_RESERVED, "(reserved)");
	assert_int_equal(seen.last.bytes, whole);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
}

/* What is live cannot be retired any more, so a shrink would wait for it for ever. */
static void after_a_failure_of_the_medium_it_does_not_wait(void **state)
{
	struct fixture *f = *state;

	live_in(f, 3, BLOCK);
	f->pool->media.persist.error = -EIO;
	seen.cancel_at = 20;
	assert_int_equal(shrink(f, SEGMENT, DAXPIN_NO_DEADLINE), -EIO);
	seen.cancel_at = 0;
	assert_non_null(strstr(errmsg, "the medium has failed"));
	assert_non_null(strstr(errmsg, "cannot be removed in this open"));
	f->pool->media.persist.error = 0;
	assert_refused(f, DAXPIN_SHRINK_LIVE, "(live)");
}

static void cancel(struct daxpin_pool *pool, void *arg)
{
	(void)pool;
	(void)arg;
	seen.cancel_at = 3;
}

static void progress_cancels_it(void **state)
{
	struct fixture *f = *state;

	live_in(f, 3, BLOCK);
	seen.then = cancel;
	assert_int_equal(shrink(f, SEGMENT, DAXPIN_NO_DEADLINE), -ECANCELED);
	assert_int_equal(seen.calls, 3);
	assert_segments(f, SEGMENTS);
	assert_true(daxpin_pool_info(f->pool, &(struct daxpin_pool_info) {
			.size = sizeof(struct daxpin_pool_info) }) == 0);
}

/* ------------------------------------------------------ while it is under way */

static struct daxpin_extent freed[40];

/* Reserves and frees small extents, which go through this thread's cache, and a large
 * one. */
static void use_space(struct daxpin_pool *pool, void *arg)
{
	struct fixture *f = arg;
	struct daxpin_extent extent[200];
	uint64_t free = free_bytes(f), usable = pool_info(f).usable_bytes;

	assert_int_equal(usable, pool_info(f).largest_extent);
	assert_true(free <= usable);
	for (uint32_t i = 0; i < 40; i++)
		if (freed[i].gen)
			assert_int_equal(daxpin_cancel(pool, freed[i]), 0);
	memset(freed, 0, sizeof(freed));
	assert_int_equal(free_bytes(f), free);
	for (uint32_t i = 0; i < 200; i++) {
		extent[i] = reserve(f, (1 + i % 18) * BLOCK);
		assert_true(extent[i].addr < SEGMENT);
	}
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(daxpin_cancel(pool, extent[i]), 0);
	assert_int_equal(free_bytes(f), free);
	dp_invariants(pool);
}

/* This thread's cache has blocks of all segments before, and blocks of these segments
 * become free meanwhile. */
static void space_taken_out_is_never_reserved(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent[40], fill[SEGMENTS];
	uint64_t whole = pool_info(f).largest_extent;

	for (uint32_t s = 1; s < SEGMENTS; s++) {
		for (uint32_t i = 0; i < 40; i++)
			extent[i] = live_in(f, s, (1 + i % 3) * BLOCK);
		for (uint32_t i = 0; i < 40; i++)
			assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent[i]), 0);
	}
	for (uint32_t i = 0; i < SEGMENTS; i++)
		fill[i] = reserve(f, whole);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		if (fill[i].addr / SEGMENT != 2)
			continue;
		else
			assert_int_equal(daxpin_cancel(f->pool, fill[i]), 0);
	for (uint32_t i = 0; i < 40; i++) {
		freed[i] = reserve(f, (1 + i % 20) * BLOCK);
		assert_int_equal(freed[i].addr / SEGMENT, 2);
	}
	for (uint32_t i = 0; i < SEGMENTS; i++)
		if (fill[i].addr / SEGMENT != 2)
			assert_int_equal(daxpin_cancel(f->pool, fill[i]), 0);
	seen.then = use_space;
	seen.arg = f;
	assert_int_equal(shrink(f, SEGMENT, DAXPIN_NO_DEADLINE), 0);
	assert_true(seen.calls);
	assert_segments(f, 1);
	assert_all_can_be_reserved(f, 1);
}

static void shrink_and_close(struct daxpin_pool *pool, void *arg)
{
	uint32_t *wrong = arg;

	try_to_resize(pool, (SEGMENTS + 1) * SEGMENT, SEGMENT, wrong);
	*wrong += daxpin_pool_close(pool) != -EBUSY;
}

static void there_is_one_shrink_and_no_close_at_a_time(void **state)
{
	struct fixture *f = *state;
	uint32_t wrong = 0;

	live_in(f, 3, BLOCK);
	seen.then = shrink_and_close;
	seen.arg = &wrong;
	seen.cancel_at = 2;
	assert_int_equal(shrink(f, SEGMENT, DAXPIN_NO_DEADLINE), -ECANCELED);
	assert_int_equal(wrong, 0);
	assert_segments(f, SEGMENTS);
}

static void handles_of_what_was_removed_are_stale(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live_in(f, 3, 2 * BLOCK), other;
	struct daxpin_segment segment;
	struct daxpin_registration *registration;
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "late" };
	const struct daxpin_job_options job = { .size = sizeof(job), .segment = 3 };
	struct daxpin_job *begun;
	char bytes[8];

	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(shrink(f, 2 * SEGMENT, 0), 0);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -ESTALE);
	assert_int_equal(daxpin_read(f->pool, extent, 0, 8, bytes), -ESTALE);
	assert_int_equal(daxpin_copy(f->pool, extent, NULL, &other), -ESTALE);
	assert_int_equal(daxpin_persist(f->pool, extent, 0, 0), -ESTALE);
	assert_int_equal(daxpin_cancel(f->pool, extent), -ESTALE);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), -ESTALE);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &other), -ENOENT);
	assert_int_equal(daxpin_hold_at(f->pool, extent.addr, DAXPIN_HOLD_READ, &other),
			 -ENOENT);
	assert_null(daxpin_ptr(f->pool, extent, 0));
	assert_int_equal(daxpin_register(f->pool, 3, &options, &registration), -ENOENT);
	assert_int_equal(daxpin_reclaim(f->pool, &job, &begun), -ENOENT);
	assert_int_equal(daxpin_segment(f->pool, SEGMENTS, &segment), -ENOENT);
	reopen(f);
	assert_int_equal(daxpin_segment(f->pool, 2, &segment), -ENOENT);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &other), -EINVAL);
}

/* ------------------------------------------------------------- with other threads */

#define WORKERS		3u
#define SLOTS		64u

/* An extent, whose first and last word have the number. */
static struct slot {
	pthread_mutex_t mutex;
	struct daxpin_extent extent;
	uint64_t blocks, number;
} slot[SLOTS];
static struct fixture *of_workers;
static _Atomic bool stop_workers;
static _Atomic uint64_t numbers, moves;

static uint64_t *slot_word(const struct slot *s, bool last)
{
	uint64_t *word = daxpin_ptr(of_workers->pool, s->extent,
				    last ? s->blocks * BLOCK - 8 : 0);

	assert(word);
	return word;
}

static void slot_fill(struct slot *s, uint64_t blocks)
{
	struct daxpin_pool *pool = of_workers->pool;
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };

	if (daxpin_reserve(pool, blocks * BLOCK, 0, &op.extent))
		return;
	s->extent = op.extent;
	s->blocks = blocks;
	s->number = ++numbers;
	*slot_word(s, false) = *slot_word(s, true) = s->number;
	assert(!daxpin_publish(pool, &op, 1, NULL, NULL));
}

/* The gate of a segment can be closed only while it has no extent. */
static void slot_use(struct slot *s)
{
	struct daxpin_pool *pool = of_workers->pool;

	assert(!daxpin_hold(pool, s->extent, DAXPIN_HOLD_WRITE));
	assert(*slot_word(s, false) == s->number && *slot_word(s, true) == s->number);
	s->number = ++numbers;
	*slot_word(s, false) = *slot_word(s, true) = s->number;
	assert(daxpin_drop(pool, s->extent) == 0);
}

static void slot_retire(struct slot *s)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = s->extent };

	assert(!daxpin_publish(of_workers->pool, &op, 1, NULL, NULL));
	s->extent.gen = 0;
}

static void *work(void *arg)
{
	uint64_t random = (uintptr_t)arg + 1;

	while (!stop_workers) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		struct slot *s = &slot[random >> 40 & (SLOTS - 1)];

		pthread_mutex_lock(&s->mutex);
		if (!s->extent.gen)
			slot_fill(s, 1 + (random >> 50) % 40);
		else if (random >> 62)
			slot_use(s);
		else
			slot_retire(s);
		pthread_mutex_unlock(&s->mutex);
	}
	return NULL;
}

static void slot_move(struct slot *s)
{
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED },
		{ .type = DAXPIN_OP_RETIRE, .extent = s->extent },
	};

	if (daxpin_copy(of_workers->pool, s->extent, NULL, &ops[0].extent))
		return;
	assert(ops[0].extent.addr < seen.limit);
	assert(!daxpin_publish(of_workers->pool, ops, 2, NULL, NULL));
	s->extent = ops[0].extent;
	moves++;
}

static void move_slots(struct daxpin_pool *pool, void *arg)
{
	(void)pool;
	(void)arg;
	for (uint32_t i = 0; i < SLOTS; i++) {
		pthread_mutex_lock(&slot[i].mutex);
		if (slot[i].extent.gen && slot[i].extent.addr >= seen.limit)
			slot_move(&slot[i]);
		pthread_mutex_unlock(&slot[i].mutex);
	}
}

/* The space is taken out of use and given back while other threads reserve and free. */
static void fail_often(struct fixture *f, uint32_t segment)
{
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "in the way",
	};
	struct daxpin_registration *registration;

	assert_int_equal(daxpin_register(f->pool, segment, &options, &registration), 0);
	for (uint32_t i = 0; i < 30; i++) {
		assert_int_equal(shrink(f, segment * SEGMENT, 0), -EBUSY);
		sched_yield();
	}
	assert_int_equal(daxpin_unregister(registration), 0);
}

static void threads_work_while_it_shrinks(void **state)
{
	struct fixture *f = *state;
	pthread_t worker[WORKERS];

	of_workers = f;
	stop_workers = false;
	for (uint32_t i = 0; i < SLOTS; i++)
		slot[i] = (struct slot) { .mutex = PTHREAD_MUTEX_INITIALIZER };
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&worker[i], NULL, work, (void *)i), 0);
	seen.then = move_slots;
	for (uint32_t segments = SEGMENTS - 1; segments; segments--) {
		uint64_t begin = numbers;

		while (numbers < begin + 2000)
			sched_yield();
		seen.limit = segments * SEGMENT;
		fail_often(f, segments);
		assert_int_equal(shrink(f, seen.limit, DAXPIN_NO_DEADLINE), 0);
		assert_int_equal(pool_info(f).segments, segments);
	}
	stop_workers = true;
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(worker[i], NULL), 0);
	print_message("# %u reports, %u moves\n", seen.calls, (unsigned int)moves);
	assert_segments(f, 1);
	for (uint32_t i = 0; i < SLOTS; i++) {
		if (!slot[i].extent.gen)
			continue;
		assert_true(slot[i].extent.addr < SEGMENT);
		slot_use(&slot[i]);
	}
}

/* ------------------------------------------------------------------ small objects */

#define OBJECT		2048u
#define PER_SLAB	31u

static uint64_t object(struct fixture *f)
{
	uint64_t addr;

	assert_int_equal(daxpin_object_reserve(f->pool, OBJECT, 0, &addr), 0);
	return addr;
}

/* Objects in so many slabs of a segment; the last slab is this thread's current one. */
static void objects_in(struct fixture *f, uint32_t segment, uint64_t *addr,
		       uint32_t count)
{
	uint64_t whole = pool_info(f).largest_extent;
	struct daxpin_extent extent[SEGMENTS];
	uint32_t extents = 0;

	while (!daxpin_reserve(f->pool, whole, 0, &extent[extents]))
		extents++;
	for (uint32_t i = 0; i < extents; i++)
		if (extent[i].addr / SEGMENT == segment)
			assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
	for (uint32_t i = 0; i < count; i++) {
		addr[i] = object(f);
		assert_int_equal(addr[i] / SEGMENT, segment);
	}
	for (uint32_t i = 0; i < extents; i++)
		if (extent[i].addr / SEGMENT != segment)
			assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
}

static void cancel_objects(struct fixture *f, const uint64_t *addr, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(daxpin_object_cancel(f->pool, addr[i]), 0);
}

static void empty_slabs_are_given_back(void **state)
{
	struct fixture *f = *state;
	uint64_t addr[3 * PER_SLAB];

	objects_in(f, 2, addr, 3 * PER_SLAB);
	cancel_objects(f, addr, 3 * PER_SLAB);
	assert_true(pool_info(f).slab_bytes);
	assert_int_equal(shrink(f, SEGMENT, 0), 0);
	assert_int_equal(pool_info(f).slab_bytes, 0);
	assert_segments(f, 1);
}

/* One object in a full slab, one in a slab of the list, one in the current slab. */
static void objects_in_the_way_are_named_and_their_slabs_used_again(void **state)
{
	struct fixture *f = *state;
	uint64_t addr[2 * PER_SLAB + 1], bytes;

	objects_in(f, 2, addr, 2 * PER_SLAB + 1);
	cancel_objects(f, &addr[PER_SLAB], 2);
	bytes = pool_info(f).slab_bytes;
	assert_refused(f, DAXPIN_SHRINK_OBJECTS, "daxpin_foreach_object()");
	assert_int_equal(seen.last.segment, 2);
	assert_true(seen.last.extent.addr <= addr[0]);
	assert_true(addr[0] < seen.last.extent.addr + seen.last.bytes);
	assert_int_equal(seen.last.extent.gen, 0);
	assert_int_equal(seen.last.left_bytes, 3 * seen.last.bytes);
	/* No other slab is made, until these are full. */
	for (uint32_t i = 0; i < PER_SLAB + 1; i++)
		assert_int_equal(object(f) / SEGMENT, 2);
	assert_int_equal(pool_info(f).slab_bytes, bytes);
}

/* Objects in bad memory are never free, until the next open. */
static void a_slab_with_bad_memory_is_named(void **state)
{
	struct fixture *f = *state;
	uint64_t addr;

	objects_in(f, 2, &addr, 1);
	cancel_objects(f, &addr, 1);
	dp_slabs_bar(f->pool, addr / BLOCK, 1);
	assert_refused(f, DAXPIN_SHRINK_OBJECTS, "close the pool and open it again");
	reopen(f);
	assert_int_equal(shrink(f, SEGMENT, 0), 0);
	assert_segments(f, 1);
}

static uint64_t *in_the_way;
static uint32_t in_the_way_count;

/* What is reserved during the shrink is elsewhere, also after a free there. */
static void reserve_elsewhere_and_cancel(struct daxpin_pool *pool, void *arg)
{
	struct fixture *f = arg;

	(void)pool;
	for (uint32_t i = 0; i < PER_SLAB + 1; i++)
		assert_int_equal(object(f) / SEGMENT, 0);
	if (!in_the_way_count)
		return;
	in_the_way_count--;
	cancel_objects(f, &in_the_way[in_the_way_count], 1);
}

static void a_slab_of_a_closed_segment_hands_out_no_object(void **state)
{
	struct fixture *f = *state;
	uint64_t addr[2 * PER_SLAB + 1];

	objects_in(f, 2, addr, 2 * PER_SLAB + 1);
	cancel_objects(f, &addr[PER_SLAB], 2);
	/* Those that are left: in the full slab and the current one. */
	cancel_objects(f, &addr[PER_SLAB + 2], PER_SLAB - 2);
	in_the_way = addr;
	addr[PER_SLAB] = addr[2 * PER_SLAB];
	in_the_way_count = PER_SLAB + 1;
	seen.then = reserve_elsewhere_and_cancel;
	seen.arg = f;
	assert_int_equal(shrink(f, SEGMENT, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(in_the_way_count, 0);
	assert_segments(f, 1);
}

static _Atomic uint64_t objects_reserved;

/* Keeps up to 64 reserved objects of several sizes, and cancels them at random. */
static void *reserve_objects(void *arg)
{
	uint64_t random = (uintptr_t)arg + 1, addr[64] = { 0 };

	while (!stop_workers) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		uint64_t *a = &addr[random >> 40 & 63];

		if (*a)
			assert(!daxpin_object_cancel(of_workers->pool, *a));
		*a = 0;
		if (random >> 63)
			assert(!daxpin_object_reserve(of_workers->pool,
						      512 << (random >> 50 & 1), 0, a));
		objects_reserved++;
	}
	for (uint32_t i = 0; i < 64; i++)
		if (addr[i])
			assert(!daxpin_object_cancel(of_workers->pool, addr[i]));
	return NULL;
}

static void threads_reserve_objects_while_it_shrinks(void **state)
{
	struct fixture *f = *state;
	pthread_t worker[WORKERS];

	of_workers = f;
	stop_workers = false;
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&worker[i], NULL, reserve_objects,
						(void *)i), 0);
	for (uint32_t segments = SEGMENTS - 1; segments; segments--) {
		uint64_t begin = objects_reserved;

		while (objects_reserved < begin + 2000)
			sched_yield();
		fail_often(f, segments);
		assert_int_equal(shrink(f, segments * SEGMENT, DAXPIN_NO_DEADLINE), 0);
	}
	stop_workers = true;
	for (uint32_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(worker[i], NULL), 0);
	assert_segments(f, 1);
	assert_true(pool_info(f).slab_bytes);
}

/* -------------------------------------------------------------- registrations */

static struct daxpin_registration *pin(struct fixture *f, uint32_t flags,
				       uint32_t segment)
{
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .flags = flags, .label = "a device",
	};
	struct daxpin_registration *registration;

	assert_int_equal(daxpin_register(f->pool, segment, &options, &registration), 0);
	return registration;
}

static void give_pins_back(struct daxpin_pool *pool, void *arg)
{
	struct daxpin_registration *registration = arg;
	struct daxpin_event event;
	uint32_t segment = 0;

	assert_int_equal(daxpin_registration_pin(registration, 3), -EALREADY);
	while (daxpin_next_event(pool, &event) == 1)
		if (event.type == DAXPIN_EVENT_REVOKE)
			assert_ptr_equal(event.registration, registration);
	while (daxpin_registration_wanted(registration, &segment)) {
		assert_true(segment >= 1);
		assert_int_equal(daxpin_registration_revoked(registration, segment), 0);
	}
}

static void pins_are_asked_back(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration =
		pin(f, DAXPIN_REGISTRATION_BY_SEGMENT, DAXPIN_ALL_SEGMENTS);
	uint32_t none = 0;

	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_int_equal(daxpin_registration_pin(registration, i), 0);
	assert_refused(f, DAXPIN_SHRINK_REGISTRATION, "\"a device\"");
	assert_string_equal(seen.label, "a device");
	/* After a failure they are not wanted any more. */
	assert_int_equal(daxpin_registration_wanted(registration, &none), 0);
	seen.then = give_pins_back;
	seen.arg = registration;
	assert_int_equal(shrink(f, SEGMENT, DAXPIN_NO_DEADLINE), 0);
	assert_segments(f, 1);
	assert_int_equal(daxpin_registration_pin(registration, 3), -ENOSPC);
	assert_int_equal(daxpin_registration_pin(registration, 0), -EALREADY);
	assert_int_equal(daxpin_unregister(registration), 0);
}

static void a_registration_of_whole_segments_must_end(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration = pin(f, 0, DAXPIN_ALL_SEGMENTS);

	assert_refused(f, DAXPIN_SHRINK_REGISTRATION, "end it");
	assert_int_equal(daxpin_unregister(registration), 0);
	registration = pin(f, 0, 0);
	assert_int_equal(shrink(f, SEGMENT, 0), 0);
	assert_int_equal(daxpin_unregister(registration), 0);
}

/* ------------------------------------------------------------------------ jobs */

static void reclaim(struct fixture *f)
{
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.flags = DAXPIN_JOB_BLOCKING,
	};
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

static void a_segment_of_holes_is_removed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job *job;
	uint64_t whole = pool_info(f).largest_extent;

	need_io_uring();
	reclaim(f);
	assert_int_equal(pool_info(f).hole_bytes, SEGMENTS * whole);
	assert_int_equal(shrink(f, 2 * SEGMENT, 0), 0);
	assert_int_equal(pool_info(f).hole_bytes, 2 * whole);
	assert_int_equal(daxpin_refill(f->pool, NULL, &job), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_segments(f, 2);
	assert_all_can_be_reserved(f, 2);
}

static void a_job_that_waits_is_in_the_way(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live_in(f, 2, BLOCK);
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = 3,
		.deadline_ns = DAXPIN_NO_DEADLINE,
	};
	struct daxpin_registration *registration;
	struct daxpin_job *job;

	need_io_uring();
	registration = pin(f, 0, 3);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_refused(f, DAXPIN_SHRINK_JOB, "cancel it");
	assert_int_equal(daxpin_unregister(registration), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	assert_int_equal(shrink(f, SEGMENT, 0), 0);
}

/* ----------------------------------------------------------------- other pools */

static void pools_that_are_only_read_or_damaged_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(shrink(f, SEGMENT, 0), -EROFS);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags = DAXPIN_POOL_DEGRADED;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(shrink(f, SEGMENT, 0), -EUCLEAN);
	assert_non_null(strstr(errmsg, "repair it first"));
	assert_int_equal(daxpin_pool_shrink(NULL, SEGMENT, NULL), -EINVAL);
}

/* The number on media is unknown, so the segments stay out of use. */
static void a_superblock_that_cannot_be_written_takes_them_out_of_use(void **state)
{
	struct fixture *f = *state;

	seam.error = -EIO;
	assert_int_equal(shrink(f, SEGMENT, 0), -EIO);
	seam.error = 0;
	assert_non_null(strstr(errmsg, "the next open finds out"));
	assert_int_equal(pool_info(f).segments, SEGMENTS);
	assert_all_can_be_reserved(f, 1);
	assert_int_equal(shrink(f, SEGMENT, 0), -EIO);
	assert_non_null(strstr(errmsg, "earlier shrink"));
	assert_int_equal(fixture_reopen(f), 0);
	assert_segments(f, SEGMENTS);
	assert_all_can_be_reserved(f, SEGMENTS);
}

/* ----------------------------------------------------------------------- crashes */

static int shrink_in_child(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_extent extent;

	if (daxpin_pool_open(f->path, NULL, &f->pool))
		return 1;
	/* So that pages of the tables are in use. */
	for (uint32_t i = 0; i < SEGMENTS; i++)
		if (daxpin_reserve(f->pool, pool_info(f).largest_extent, 0, &extent) ||
		    publish(f, DAXPIN_OP_KEEP, extent) ||
		    publish(f, DAXPIN_OP_RETIRE, extent))
			return 2;
	return daxpin_pool_shrink(f->pool, SEGMENT, NULL) ? 3 : 4;
}

static void crash_in_shrink(struct fixture *f)
{
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	f->options.pool_size = 0;
	assert_int_equal(run_child(shrink_in_child, f), 0);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_true(file_exists(f, i));
}

static void open_again(struct fixture *f, uint32_t flags)
{
	f->options.flags = flags;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

static void a_crash_before_the_superblock_leaves_the_old_size(void **state)
{
	struct fixture *f = *state;

	seam.exit_before = true;
	crash_in_shrink(f);
	open_again(f, 0);
	assert_int_equal(pool_info(f).unclean, 1);
	assert_segments(f, SEGMENTS);
	assert_all_can_be_reserved(f, SEGMENTS);
}

/* A degraded open and one for reading leave the files alone. */
static void after_it_the_next_open_for_writing_removes_the_files(void **state)
{
	struct fixture *f = *state;

	seam.exit_after = true;
	crash_in_shrink(f);
	open_again(f, DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED);
	assert_int_equal(pool_info(f).segments, 1);
	assert_int_equal(pool_info(f).ignored_files, SEGMENTS - 1);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		assert_true(file_exists(f, i));
	open_again(f, 0);
	assert_segments(f, 1);
	assert_all_can_be_reserved(f, 1);
}

static void empty_file(struct fixture *f, uint32_t index)
{
	char path[128];

	file_path(f, index, path);
	assert_int_equal(truncate(path, 0), 0);
}

static void rename_file(struct fixture *f, uint32_t from, uint32_t to)
{
	char from_path[128], to_path[128];

	file_path(f, from, from_path);
	file_path(f, to, to_path);
	assert_int_equal(rename(from_path, to_path), 0);
}

/* One of the files was truncated already, one has the name of another segment. */
static void only_files_of_the_shrink_are_removed(void **state)
{
	struct fixture *f = *state;

	seam.exit_after = true;
	crash_in_shrink(f);
	empty_file(f, 1);
	rename_file(f, 3, 7);
	open_again(f, 0);
	assert_int_equal(pool_info(f).segments, 1);
	assert_int_equal(pool_info(f).ignored_files, 1);
	assert_false(file_exists(f, 1));
	assert_false(file_exists(f, 2));
	/* Now it has its name again, but is not of the last open any more. */
	rename_file(f, 7, 3);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).ignored_files, 1);
	assert_true(file_exists(f, 3));
}

/* The superblock of segment 0 may be a lie: a file with an extent is never removed. */
static int keep_and_lose_a_segment(void *arg)
{
	struct fixture *f = arg;

	if (daxpin_pool_open(f->path, NULL, &f->pool))
		return 1;
	live_in(f, 2, BLOCK);
	__real_dp_pool_set_segments(&f->pool->media, 1);
	_exit(0);
}

static void a_file_that_has_an_extent_is_not_removed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	f->options.pool_size = 0;
	assert_int_equal(run_child(keep_and_lose_a_segment, f), 0);
	open_again(f, 0);
	assert_int_equal(pool_info(f).segments, 1);
	assert_int_equal(pool_info(f).ignored_files, 1);
	assert_true(file_exists(f, 2));
	assert_false(file_exists(f, 1));
	assert_false(file_exists(f, 3));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_pool_shrinks_at_once),
		TEST(a_size_is_rounded_up_to_segments),
		TEST(extents_that_progress_moves_are_kept),
		TEST(what_is_in_the_way_is_named_and_everything_is_given_back),
		TEST(a_reserved_extent_is_in_the_way),
		TEST(after_a_failure_of_the_medium_it_does_not_wait),
		TEST(progress_cancels_it),
		TEST(space_taken_out_is_never_reserved),
		TEST(there_is_one_shrink_and_no_close_at_a_time),
		TEST(threads_work_while_it_shrinks),
		TEST(handles_of_what_was_removed_are_stale),
		TEST(empty_slabs_are_given_back),
		TEST(objects_in_the_way_are_named_and_their_slabs_used_again),
		TEST(a_slab_of_a_closed_segment_hands_out_no_object),
		TEST(a_slab_with_bad_memory_is_named),
		TEST(threads_reserve_objects_while_it_shrinks),
		TEST(pins_are_asked_back),
		TEST(a_registration_of_whole_segments_must_end),
		TEST(a_segment_of_holes_is_removed),
		TEST(a_job_that_waits_is_in_the_way),
		TEST(pools_that_are_only_read_or_damaged_are_refused),
		TEST(a_superblock_that_cannot_be_written_takes_them_out_of_use),
		TEST(a_crash_before_the_superblock_leaves_the_old_size),
		TEST(after_it_the_next_open_for_writing_removes_the_files),
		TEST(only_files_of_the_shrink_are_removed),
		TEST(a_file_that_has_an_extent_is_not_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
