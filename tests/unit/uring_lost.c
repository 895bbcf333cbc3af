/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Abandoning rings of every kind with requests of every kind in flight. The thread that
 * made the ring ends. Another thread frees the ring and calls daxpin_uring_abandon().
 * The holds must end, no request may store later, and the pool can be closed.
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
	/* What else is special about the ring or its requests. */
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
	{ "SQPOLL, SINGLE_ISSUER", IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER, 0,
	  NOTHING },
	{ "DEFER_TASKRUN, linked",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IOSQE_IO_LINK,
	  NOTHING },
	{ "DEFER_TASKRUN, drained",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IOSQE_IO_DRAIN,
	  NOTHING },
	{ "DEFER_TASKRUN, by workers",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IOSQE_ASYNC,
	  NOTHING },
	{ "with a registered descriptor", 0, IOSQE_ASYNC, BY_INDEX },
	{ "with the workers of another ring", 0, IOSQE_ASYNC, SHARED_WORKERS },
	{ "never submitted", 0, 0, NOT_SUBMITTED },
	{ "SQPOLL, never submitted", IORING_SETUP_SQPOLL, 0, NOT_SUBMITTED },
	{ "never enabled", IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER, 0,
	  NOT_SUBMITTED },
	{ "enabled late", IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER, 0,
	  ENABLED_LATE },
	{ "fixed buffers", 0, IOSQE_ASYNC, FIXED },
	{ "fixed buffers, DEFER_TASKRUN",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0, FIXED },
	{ "vectors", 0, IOSQE_ASYNC, VECTORS },
};

struct lost_ring {
	struct world *w;
	const struct kind *kind;
	struct io_uring other;		/* with SHARED_WORKERS, its workers are used */
	bool is_supported;		/* this kernel has such rings */
	struct daxpin_extent extent[READS];
	struct daxpin_uring_io io[READS];
	struct daxpin_uring_vec vec[READS];
	struct iovec iov[READS];
};

/* cmocka's assertions work only in the first thread. */
#define thread_must(condition)						\
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "%s: %s\n", lost->kind->name,	\
				#condition);				\
			abort();					\
		}							\
	} while (0)

static void prepare_read(struct lost_ring *lost, unsigned int i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&lost->w->ring);
	int ret;

	lost->vec[i] = (struct daxpin_uring_vec) {
		.extent = lost->extent[i], .length = BYTES
	};
	ret = lost->kind->with == VECTORS ?
	      daxpin_uring_prep_readv(lost->w->uring, &lost->io[i], sqe,
				      lost->w->pipe[0], &lost->vec[i], &lost->iov[i], 1,
				      0) :
	      daxpin_uring_prep_read(lost->w->uring, &lost->io[i], sqe,
				     lost->w->pipe[0], lost->extent[i], 0, BYTES, 0);
	thread_must(!ret);
	sqe->flags |= lost->kind->request;
}

/* The thread: makes a ring, starts reads, and ends. */
static void *start_reads(void *arg)
{
	struct lost_ring *lost = arg;
	struct world *w = lost->w;
	struct io_uring_params params = { .flags = lost->kind->setup };

	if (lost->kind->with == SHARED_WORKERS) {
		params.flags |= IORING_SETUP_ATTACH_WQ;
		params.wq_fd = lost->other.ring_fd;
	}
	lost->is_supported = !io_uring_queue_init_params(8, &w->ring, &params);
	if (!lost->is_supported)
		return NULL;
	if (lost->kind->with == BY_INDEX)
		thread_must(io_uring_register_ring_fd(&w->ring) == 1);
	thread_must(!attach(w, lost->kind->with == FIXED ? DAXPIN_URING_EAGER : 0));
	if (lost->kind->with == ENABLED_LATE)
		thread_must(!syscall(__NR_io_uring_register, w->ring.ring_fd,
				     IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	for (unsigned int i = 0; i < READS; i++)
		prepare_read(lost, i);
	if (lost->kind->with != NOT_SUBMITTED)
		thread_must(io_uring_submit(&w->ring) >= 0);
	return NULL;
}

static void free_and_abandon(struct lost_ring *lost)
{
	struct world *w = lost->w;
	char late[BYTES];

	io_uring_queue_exit(&w->ring);
	assert_int_equal(daxpin_uring_abandon(w->uring, IN_TIME), 0);
	w->uring = NULL;
	memset(late, 'x', sizeof(late));
	assert_int_equal(write(w->pipe[1], late, sizeof(late)), sizeof(late));
	for (unsigned int i = 0; i < READS; i++) {
		assert_int_equal(daxpin_idle(w->f.pool, lost->extent[i]), 1);
		assert_true(has_colour(w, lost->extent[i], BYTES, 0));
	}
	assert_int_equal(read(w->pipe[0], late, sizeof(late)), sizeof(late));
	print_message("# %s\n", lost->kind->name);
}

/* Asserts that the other ring, whose workers may have been used, still works. */
static void assert_other_works(struct lost_ring *lost)
{
	struct io_uring_cqe *cqe;

	io_uring_prep_nop(io_uring_get_sqe(&lost->other));
	assert_int_equal(io_uring_submit(&lost->other), 1);
	assert_int_equal(io_uring_wait_cqe(&lost->other, &cqe), 0);
	io_uring_cqe_seen(&lost->other, cqe);
	io_uring_queue_exit(&lost->other);
}

static void test_kind(struct world *w, const struct kind *kind)
{
	struct lost_ring lost = { .w = w, .kind = kind };
	pthread_t thread;

	for (unsigned int i = 0; i < READS; i++)
		assert_int_equal(daxpin_reserve(w->f.pool, BYTES, DAXPIN_RESERVE_ZERO,
						&lost.extent[i]), 0);
	assert_int_equal(io_uring_queue_init(4, &lost.other, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, start_reads, &lost), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (lost.is_supported)
		free_and_abandon(&lost);
	else
		print_message("# skipped: this kernel has no such ring: %s\n",
			      kind->name);
	assert_other_works(&lost);
	for (unsigned int i = 0; i < READS; i++)
		assert_int_equal(daxpin_cancel(w->f.pool, lost.extent[i]), 0);
}

static void rings_of_every_kind_can_be_abandoned(void **state)
{
	struct world *w = *state;

	io_uring_queue_exit(&w->ring);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		test_kind(w, &kinds[i]);
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
