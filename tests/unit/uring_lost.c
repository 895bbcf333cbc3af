/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rings of every kind that are lost with requests of every kind in flight: the thread that
 * made the ring ends, the ring is freed, and it is abandoned. The holds end, nothing that
 * arrives later is stored, and the pool is closed.
 */
#include <pthread.h>
#include <sys/syscall.h>
#include "uring_fixture.h"

#define READS		4u
#define BYTES		4096u
#define IN_TIME		daxpin_deadline_ms(600000)

struct kind {
	const char *name;
	unsigned int setup;		/* IORING_SETUP_... */
	unsigned int request;		/* IOSQE_... */
	/* What is special. */
	enum { NOTHING, BY_INDEX, SHARED_WORKERS, NOT_SUBMITTED, ENABLED_LATE,
	       FIXED, VECTORS } with;
};

static const struct kind kinds[] = {
	{ "linked", 0, IOSQE_IO_LINK, NOTHING },
	{ "hard-linked", 0, IOSQE_IO_HARDLINK, NOTHING },
	{ "drained", 0, IOSQE_IO_DRAIN, NOTHING },
	{ "by workers", 0, IOSQE_ASYNC, NOTHING },
	{ "linked, by workers", 0, IOSQE_ASYNC | IOSQE_IO_LINK, NOTHING },
	{ "linked, without completions", 0, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK,
	  NOTHING },
	{ "SQPOLL, linked", IORING_SETUP_SQPOLL, IOSQE_IO_LINK, NOTHING },
	{ "SQPOLL, by workers", IORING_SETUP_SQPOLL, IOSQE_ASYNC, NOTHING },
	{ "SQPOLL, one issuer", IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER, 0,
	  NOTHING },
	{ "deferring, linked", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	  IOSQE_IO_LINK, NOTHING },
	{ "deferring, drained", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	  IOSQE_IO_DRAIN, NOTHING },
	{ "deferring, by workers",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IOSQE_ASYNC, NOTHING },
	{ "with a registered descriptor", 0, IOSQE_ASYNC, BY_INDEX },
	{ "with the workers of another ring", 0, IOSQE_ASYNC, SHARED_WORKERS },
	{ "never submitted", 0, 0, NOT_SUBMITTED },
	{ "SQPOLL, never submitted", IORING_SETUP_SQPOLL, 0, NOT_SUBMITTED },
	{ "never enabled", IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER, 0,
	  NOT_SUBMITTED },
	{ "enabled late", IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER, 0,
	  ENABLED_LATE },
	{ "fixed buffers", 0, IOSQE_ASYNC, FIXED },
	{ "fixed buffers, deferring",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0, FIXED },
	{ "vectors", 0, IOSQE_ASYNC, VECTORS },
};

struct loss {
	struct world *w;
	const struct kind *kind;
	struct io_uring other;		/* whose workers are used */
	bool is_here;			/* this kernel has such rings */
	struct daxpin_extent extent[READS];
	struct daxpin_uring_io io[READS];
	struct daxpin_uring_vec vec[READS];
	struct iovec iov[READS];
};

/* cmocka's assertions work only in the first thread. */
#define lost_must(condition)						\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s: %s\n", loss->kind->name,	\
				#condition);				\
			abort();					\
		}							\
	} while (0)

static void prepare_read(struct loss *loss, unsigned int i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loss->w->ring);
	int ret;

	loss->vec[i] = (struct daxpin_uring_vec) {
		.extent = loss->extent[i], .length = BYTES
	};
	ret = loss->kind->with == VECTORS ?
	      daxpin_uring_prep_readv(loss->w->uring, &loss->io[i], sqe,
				      loss->w->pipe[0], &loss->vec[i], &loss->iov[i], 1,
				      0) :
	      daxpin_uring_prep_read(loss->w->uring, &loss->io[i], sqe,
				     loss->w->pipe[0], loss->extent[i], 0, BYTES, 0);
	lost_must(!ret);
	sqe->flags |= loss->kind->request;
}

/* Makes a ring with reads in flight, and ends its thread. */
static void *lose(void *arg)
{
	struct loss *loss = arg;
	struct world *w = loss->w;
	struct io_uring_params params = { .flags = loss->kind->setup };

	if (loss->kind->with == SHARED_WORKERS) {
		params.flags |= IORING_SETUP_ATTACH_WQ;
		params.wq_fd = loss->other.ring_fd;
	}
	loss->is_here = !io_uring_queue_init_params(8, &w->ring, &params);
	if (!loss->is_here)
		return NULL;
	if (loss->kind->with == BY_INDEX)
		lost_must(io_uring_register_ring_fd(&w->ring) == 1);
	lost_must(!attach(w, loss->kind->with == FIXED ? DAXPIN_URING_EAGER : 0));
	if (loss->kind->with == ENABLED_LATE)
		lost_must(!syscall(__NR_io_uring_register, w->ring.ring_fd,
				   IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	for (unsigned int i = 0; i < READS; i++)
		prepare_read(loss, i);
	if (loss->kind->with != NOT_SUBMITTED)
		lost_must(io_uring_submit(&w->ring) >= 0);
	return NULL;
}

static void abandon_it(struct loss *loss)
{
	struct world *w = loss->w;
	char late[BYTES];

	io_uring_queue_exit(&w->ring);
	assert_int_equal(daxpin_uring_abandon(w->uring, IN_TIME), 0);
	w->uring = NULL;
	memset(late, 'x', sizeof(late));
	assert_int_equal(write(w->pipe[1], late, sizeof(late)), sizeof(late));
	for (unsigned int i = 0; i < READS; i++) {
		assert_int_equal(daxpin_idle(w->f.pool, loss->extent[i]), 1);
		assert_true(has_colour(w, loss->extent[i], BYTES, 0));
	}
	assert_int_equal(read(w->pipe[0], late, sizeof(late)), sizeof(late));
	print_message("# %s\n", loss->kind->name);
}

/* The ring whose workers were used is as it was. */
static void use_the_other(struct loss *loss)
{
	struct io_uring_cqe *cqe;

	io_uring_prep_nop(io_uring_get_sqe(&loss->other));
	assert_int_equal(io_uring_submit(&loss->other), 1);
	assert_int_equal(io_uring_wait_cqe(&loss->other, &cqe), 0);
	io_uring_cqe_seen(&loss->other, cqe);
	io_uring_queue_exit(&loss->other);
}

static void lose_one(struct world *w, const struct kind *kind)
{
	struct loss loss = { .w = w, .kind = kind };
	pthread_t thread;

	for (unsigned int i = 0; i < READS; i++)
		assert_int_equal(daxpin_reserve(w->f.pool, BYTES, DAXPIN_RESERVE_ZERO,
						&loss.extent[i]), 0);
	assert_int_equal(io_uring_queue_init(4, &loss.other, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, lose, &loss), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (loss.is_here)
		abandon_it(&loss);
	else
		print_message("# skipped: this kernel has no such ring: %s\n",
			      kind->name);
	use_the_other(&loss);
	for (unsigned int i = 0; i < READS; i++)
		assert_int_equal(daxpin_cancel(w->f.pool, loss.extent[i]), 0);
}

static void rings_of_every_kind_can_be_abandoned(void **state)
{
	struct world *w = *state;

	io_uring_queue_exit(&w->ring);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		lose_one(w, &kinds[i]);
	assert_int_equal(daxpin_pool_drain(w->f.pool, IN_TIME), 0);
	assert_int_equal(fixture_reopen(&w->f), 0);
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rings_of_every_kind_can_be_abandoned,
						setup, teardown),
	};

	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	return cmocka_run_group_tests_name("uring_lost", tests, NULL, NULL);
}
