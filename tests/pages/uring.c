/* SPDX-License-Identifier: BSD-3-Clause */
/* The examples of daxpin(7) and of libdaxpin-uring's pages; see core.c. */
#include "uring_fixture.h"

#define BLOCK	65536

/* ------------------------------------------------------------------- daxpin(7) */

int replace(struct daxpin_pool *pool, struct daxpin_uring *uring,
	    struct io_uring *ring, int fd, struct daxpin_extent *block);

#include "daxpin-1.inc"

static int file_of(unsigned char byte)
{
	unsigned char *bytes = malloc(BLOCK);
	int fd = scratch_file();

	assert_non_null(bytes);
	memset(bytes, byte, BLOCK);
	assert_int_equal(pwrite(fd, bytes, BLOCK, 0), BLOCK);
	free(bytes);
	return fd;
}

/* A reader keeps the old block's bytes until its drop, and no longer. */
static void a_block_is_replaced_under_its_readers(void **state)
{
	struct world *w = *state;
	struct daxpin_extent block, old;
	enum daxpin_state now;
	int fd = file_of(2);

	assert_int_equal(attach(w, 0), 0);
	block = old = live(&w->f, BLOCK);
	colour(w, old, BLOCK, 1);
	assert_int_equal(daxpin_hold(w->f.pool, old, DAXPIN_HOLD_READ), 0);
	assert_int_equal(replace(w->f.pool, w->uring, &w->ring, fd, &block), 0);
	assert_true(has_colour(w, old, BLOCK, 1));
	assert_true(has_colour(w, block, BLOCK, 2));
	assert_int_equal(daxpin_state(w->f.pool, old, &now), 0);
	assert_int_equal(now, DAXPIN_STATE_RETIRED);
	assert_int_equal(daxpin_drop(w->f.pool, old), 0);
	assert_int_equal(daxpin_state(w->f.pool, old, &now), -ESTALE);
	close(fd);
}

static void a_read_that_fails_changes_nothing(void **state)
{
	struct world *w = *state;
	struct daxpin_extent block, old;
	uint64_t before;

	assert_int_equal(attach(w, 0), 0);
	block = old = live(&w->f, BLOCK);
	before = free_bytes(&w->f);
	assert_true(replace(w->f.pool, w->uring, &w->ring, -1, &block) < 0);
	assert_int_equal(block.addr, old.addr);
	assert_int_equal(free_bytes(&w->f), before);
}

/* ------------------------------------------------------ daxpin_uring_attach(3) */

static int read_example(struct daxpin_uring *uring, struct io_uring *ring, int fd,
			struct daxpin_extent extent)
{
	struct io_uring_cqe *cqe;
	int ret, result = 0;

#include "daxpin_uring_attach-1.inc"
	return ret < 0 ? ret : result;
}

static void a_read_is_prepared_and_done(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent;
	int fd = file_of(3);

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BLOCK);
	assert_int_equal(read_example(w->uring, &w->ring, fd, extent), BLOCK);
	assert_true(has_colour(w, extent, BLOCK, 3));
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	close(fd);
}

/* ----------------------------------------------------- daxpin_uring_abandon(3) */

struct worker {
	struct io_uring ring;
	struct daxpin_uring *uring;
};

static int pipe_to_end = -1;

static void complain(const char *message)
{
	printf("# %s\n", message);
	if (pipe_to_end >= 0)
		assert_int_equal(write(pipe_to_end, "x", 1), 1);
	pipe_to_end = -1;
}

static int abandon_example(struct worker *worker)
{
	int ret;

#include "daxpin_uring_abandon-1.inc"
	return ret;
}

/* Its last request is a read that ends when complain() writes to the pipe. */
static void a_workers_ring_is_abandoned(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct worker worker;
	struct daxpin_extent extent;

	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
	extent = live(&w->f, BLOCK);
	start_read(w, &io, extent);
	worker = (struct worker) { .ring = w->ring, .uring = w->uring };
	pipe_to_end = w->pipe[1];
	assert_int_equal(abandon_example(&worker), 0);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	w->uring = NULL;
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_block_is_replaced_under_its_readers),
		TEST(a_read_that_fails_changes_nothing),
		TEST(a_read_is_prepared_and_done),
		TEST(a_workers_ring_is_abandoned),
	};

	if (!choose_target("shmem"))
		return 0;
	return cmocka_run_group_tests_name("pages_uring", tests, NULL, NULL);
}
