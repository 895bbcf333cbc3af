/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring is detached, abandoned and freed, and its pool closed, in every order and each
 * twice, for rings of several kinds, with and without a read in flight. What each call
 * returns depends only on the calls before it, and in the end the pool is closed.
 */
#include <pthread.h>
#include "needs.h"
#include "uring_fixture.h"

#define BYTES		4096u
#define IN_TIME		daxpin_deadline_ms(600000)

enum step { DETACH, ABANDON, FREE, CLOSE, STEPS };

static const char *const step_names[STEPS] = { "detach", "abandon", "free", "close" };

struct kind {
	const char *name;
	unsigned int setup;		/* IORING_SETUP_... */
	bool is_guarded;
	bool in_thread;			/* another thread made it, and has ended */
	bool reads;			/* a read is in flight */
};

static const struct kind kinds[] = {
	{ "ordinary", 0, false, false, false },
	{ "ordinary, reads", 0, false, false, true },
	{ "of an ended thread, reads", 0, false, true, true },
	{ "SQPOLL, reads", IORING_SETUP_SQPOLL, false, false, true },
	{ "SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER, false, false, false },
	{ "SINGLE_ISSUER, reads", IORING_SETUP_SINGLE_ISSUER, false, false, true },
	{ "SINGLE_ISSUER of an ended thread", IORING_SETUP_SINGLE_ISSUER, false, true,
	  false },
	{ "SINGLE_ISSUER of an ended thread, reads", IORING_SETUP_SINGLE_ISSUER, false,
	  true, true },
	{ "DEFER_TASKRUN of an ended thread, reads",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, false, true, true },
	{ "guarded", 0, true, false, false },
	{ "guarded, SINGLE_ISSUER of an ended thread", IORING_SETUP_SINGLE_ISSUER, true,
	  true, false },
};

/* A ring and what has happened to it. */
struct life {
	struct world *w;
	const struct kind *kind;
	struct daxpin_extent extent;
	struct daxpin_uring_io io;
	uint32_t turn;
	bool is_made, is_abandoned, is_freed, is_gone, is_closed;
};

/* Runs in the ring's thread. */
static void *make_ring(void *arg)
{
	struct life *life = arg;
	struct world *w = life->w;
	struct daxpin_uring_options options = uring_options(w, 0);

	if (io_uring_queue_init(8, &w->ring, life->kind->setup))
		return NULL;
	if ((life->kind->is_guarded ? daxpin_uring_guard : daxpin_uring_attach)(
		    w->f.pool, &w->ring, &options, &w->uring))
		abort();
	if (life->kind->reads)
		start_read(w, &life->io, life->extent);
	life->is_made = true;
	return NULL;
}

static void begin(struct life *life)
{
	pthread_t thread;

	life->extent = reserve(&life->w->f, BYTES);
	if (!life->kind->in_thread) {
		make_ring(life);
		return;
	}
	assert_int_equal(pthread_create(&thread, NULL, make_ring, life), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ----------------------------------------------------------------- the calls */

static int expect_detach(const struct life *life)
{
	const struct kind *kind = life->kind;

	if (life->is_gone)
		return -ESTALE;
	if (life->is_abandoned)
		return life->is_freed ? 0 : -ETIMEDOUT;
	if (kind->reads)
		return -EBUSY;
	return kind->in_thread && kind->setup & IORING_SETUP_SINGLE_ISSUER ?
	       -EEXIST : 0;
}

/* The kernel frees an abandoned ring some time after its last close. */
static int detach(struct life *life)
{
	int ret = daxpin_uring_detach(life->w->uring);

	for (int i = 0; life->is_freed && ret == -ETIMEDOUT && i < 60000; i++) {
		usleep(1000);
		ret = daxpin_uring_detach(life->w->uring);
	}
	return ret;
}

/* While the ring exists, each deadline has passed already. */
static int abandon(struct life *life)
{
	const uint64_t past[] = { 0, 1, daxpin_deadline_ms(0) };

	return daxpin_uring_abandon(life->w->uring, life->is_freed ? IN_TIME :
				    past[life->turn++ % 3]);
}

static void must_be(const struct life *life, enum step step, int ret, int expected)
{
	if (ret != expected)
		fail_msg("%s: %s returned %d instead of %d", life->kind->name,
			 step_names[step], ret, expected);
}

static void take_step(struct life *life, enum step step)
{
	int expected;

	switch (step) {
	case DETACH:
		expected = expect_detach(life);
		must_be(life, step, detach(life), expected);
		life->is_gone |= !expected;
		break;
	case ABANDON:
		expected = life->is_gone ? -ESTALE : life->is_freed ? 0 : -ETIMEDOUT;
		must_be(life, step, abandon(life), expected);
		life->is_abandoned = true;
		life->is_gone |= !expected;
		break;
	case FREE:
		if (!life->is_freed)
			io_uring_queue_exit(&life->w->ring);
		life->is_freed = true;
		break;
	default:
		if (life->is_closed)
			break;
		expected = life->is_gone ? 0 : -EBUSY;
		must_be(life, step, daxpin_pool_close(life->w->f.pool), expected);
		life->is_closed = !expected;
	}
	if (!life->is_closed)
		assert_int_equal(daxpin_idle(life->w->f.pool, life->extent),
				 !life->kind->reads || life->is_gone);
}

/* No request is left that reads from the pipe. */
static void assert_pipe_is_unused(struct world *w)
{
	char byte;

	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(read(w->pipe[0], &byte, 1), 1);
}

static void live_and_end(struct world *w, const struct kind *kind,
			 const enum step *order)
{
	struct life life = { .w = w, .kind = kind };

	begin(&life);
	if (!life.is_made) {
		print_message("# skipped: this kernel has no such ring: %s\n",
			      kind->name);
		assert_int_equal(daxpin_cancel(w->f.pool, life.extent), 0);
		return;
	}
	for (int i = 0; i < 2 * STEPS; i++)
		take_step(&life, order[i % STEPS]);
	assert_true(life.is_gone);
	take_step(&life, CLOSE);
	w->uring = NULL;
	assert_pipe_is_unused(w);
	w->f.options.flags = 0;
	assert_int_equal(daxpin_pool_open(w->f.path, &w->f.options, &w->f.pool), 0);
}

/* Stores the steps in the order with this number, from 0 to STEPS! - 1. */
static void order_of(unsigned int number, enum step *ret_order)
{
	enum step rest[STEPS] = { DETACH, ABANDON, FREE, CLOSE };

	for (unsigned int left = STEPS; left; left--) {
		unsigned int at = number % left;

		number /= left;
		ret_order[STEPS - left] = rest[at];
		rest[at] = rest[left - 1];
	}
}

static void a_ring_can_be_left_in_every_order(void **state)
{
	struct world *w = *state;
	enum step order[STEPS];

	io_uring_queue_exit(&w->ring);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (unsigned int number = 0; number < 24; number++) {
			order_of(number, order);
			live_and_end(w, &kinds[i], order);
		}
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_ring_can_be_left_in_every_order,
						setup, teardown),
	};

	if (skip_all_without_io_uring())
		return 0;
	return cmocka_run_group_tests_name("uring_orders", tests, NULL, NULL);
}
