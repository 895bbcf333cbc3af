/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_uring_reap() handles all completions of a ring, including those that do not
 * fit into its queue and are still in the kernel. These tests also show what the
 * callback of a completion may do, and that reap gives back segments that a reclaim
 * requests.
 */
#include <pthread.h>
#include "uring_fixture.h"

#define BYTES		4096u
#define REQUESTS	32u
#define ENTRIES		4u

struct reaping {
	struct world *w;
	struct daxpin_uring_io io[REQUESTS];
	struct daxpin_extent extent[REQUESTS];
	uint32_t prepared, found, ended;
	uint32_t more;			/* requests that read_again() prepares */
	bool nested;			/* read_again() calls reap itself */
};

static struct daxpin_uring_io *find(const struct io_uring_cqe *cqe, void *arg)
{
	struct reaping *reaping = arg;

	if (cqe->user_data == REQUESTS)
		return NULL;
	assert_int_equal(daxpin_idle(reaping->w->f.pool,
				     reaping->extent[cqe->user_data]), 0);
	reaping->found++;
	return &reaping->io[cqe->user_data];
}

static void count_end(struct daxpin_uring_io *io,
		      const struct io_uring_cqe *cqe, void *arg)
{
	struct reaping *reaping = arg;

	assert_ptr_equal(io, &reaping->io[cqe->user_data]);
	assert_null(io->uring);
	assert_int_equal(cqe->res, 1);
	assert_int_equal(daxpin_idle(reaping->w->f.pool,
				     reaping->extent[cqe->user_data]), 1);
	reaping->ended++;
}

/* Prepares a read of one byte from the pipe. */
static void prepare(struct reaping *reaping, uint32_t i)
{
	struct world *w = reaping->w;
	struct io_uring_sqe *sqe;

	/* With SQPOLL the kernel's thread may not have taken the last entries yet. */
	while (!(sqe = io_uring_get_sqe(&w->ring)))
		assert_true(io_uring_sqring_wait(&w->ring) >= 0);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &reaping->io[i], sqe,
						w->pipe[0], reaping->extent[i],
						0, 1, 0), 0);
	io_uring_sqe_set_data64(sqe, i);
	submit_one(w);
	reaping->prepared++;
}

static void prepare_all(struct reaping *reaping, uint32_t count)
{
	for (uint32_t i = 0; i < REQUESTS; i++)
		reaping->extent[i] = reserve(&reaping->w->f, BYTES);
	for (uint32_t i = 0; i < count; i++)
		prepare(reaping, i);
}

static int reap(struct reaping *reaping,
		void (*ended)(struct daxpin_uring_io *io,
			      const struct io_uring_cqe *cqe, void *arg))
{
	return daxpin_uring_reap(reaping->w->uring, &reaping->w->ring, find,
				 ended, reaping);
}

/*
 * Repeats reap, which makes the kernel run the ring's task work, until so many requests
 * have ended. Linux 6.1 reads a pipe in a worker thread, so completions may come late.
 */
static void reap_until(struct reaping *reaping, uint32_t ended)
{
	for (int i = 0; i < 60000 && reaping->ended < ended; i++) {
		assert_true(reap(reaping, count_end) >= 0);
		usleep(1000);
	}
	assert_int_equal(reaping->ended, ended);
}

/* ------------------------------------ completions that are still in the kernel */

static const struct {
	const char *name;
	unsigned int flags;
} kinds[] = {
	{ "plain", 0 },
	{ "SINGLE_ISSUER, DEFER_TASKRUN",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN },
	{ "SINGLE_ISSUER, DEFER_TASKRUN, TASKRUN_FLAG",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
	  IORING_SETUP_TASKRUN_FLAG },
	{ "SQPOLL", IORING_SETUP_SQPOLL },
	{ "COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN },
	{ "COOP_TASKRUN, TASKRUN_FLAG",
	  IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG },
};

static bool use_ring(struct world *w, const char *name, unsigned int flags)
{
	struct io_uring_params params = {
		.flags = flags | IORING_SETUP_CQSIZE,
		.cq_entries = 2 * ENTRIES,
	};
	int ret;

	io_uring_queue_exit(&w->ring);
	ret = io_uring_queue_init_params(ENTRIES, &w->ring, &params);
	if (!ret)
		return true;
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
	print_message("# skipped: %s: %s\n", name, strerror(-ret));
	return false;
}

/* The completion queue has space for 8 of 32. The kernel keeps the others. */
static void reap_handles_all_completions(void **state)
{
	struct world *w = *state;
	const char bytes[REQUESTS] = { 0 };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct reaping reaping = { .w = w };

		if (!use_ring(w, kinds[i].name, kinds[i].flags))
			continue;
		print_message("# %s\n", kinds[i].name);
		assert_int_equal(attach(w, 0), 0);
		prepare_all(&reaping, REQUESTS);
		assert_int_equal(reap(&reaping, count_end), 0);
		assert_int_equal(write(w->pipe[1], bytes, REQUESTS), REQUESTS);
		reap_until(&reaping, REQUESTS);
		assert_int_equal(reaping.found, REQUESTS);
		assert_int_equal(info_of(w->uring).in_flight, 0);
		assert_int_equal(reap(&reaping, count_end), 0);
		assert_int_equal(daxpin_uring_detach(w->uring), 0);
		w->uring = NULL;
	}
}

/* Reap returns 0, not an error, for a ring that was not enabled yet. */
static void reap_of_a_disabled_ring_finds_nothing(void **state)
{
	struct world *w = *state;
	struct reaping reaping = { .w = w };

	if (!use_ring(w, "disabled", IORING_SETUP_R_DISABLED |
		      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN))
		skip();
	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(reap(&reaping, count_end), 0);
}

static void *reap_in_thread(void *arg)
{
	struct reaping *reaping = arg;
	int ret = reap(reaping, count_end);

	assert_int_equal(ret, -EEXIST);
	return NULL;
}

static void reap_in_another_thread_is_eexist(void **state)
{
	struct world *w = *state;
	struct reaping reaping = { .w = w };
	pthread_t thread;

	if (!use_ring(w, "deferring", IORING_SETUP_SINGLE_ISSUER |
		      IORING_SETUP_DEFER_TASKRUN))
		skip();
	assert_int_equal(attach(w, 0), 0);
	prepare_all(&reaping, 1);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(pthread_create(&thread, NULL, reap_in_thread,
					&reaping), 0);
	pthread_join(thread, NULL);
	reap_until(&reaping, 1);
}

/* ------------------------------------------------- callbacks, after the drop */

/* The read still holds the extent here, so it cannot be published. */
static struct daxpin_uring_io *find_unpublished(const struct io_uring_cqe *cqe,
						void *arg)
{
	struct reaping *reaping = arg;

	assert_int_equal(publish(&reaping->w->f, DAXPIN_OP_KEEP,
				 reaping->extent[cqe->user_data]), -EBUSY);
	return find(cqe, arg);
}

static void publish_extent(struct daxpin_uring_io *io,
			   const struct io_uring_cqe *cqe, void *arg)
{
	struct reaping *reaping = arg;

	count_end(io, cqe, arg);
	assert_int_equal(publish(&reaping->w->f, DAXPIN_OP_KEEP,
				 reaping->extent[cqe->user_data]), 0);
}

static void the_callback_can_publish_the_extent_of_a_read(void **state)
{
	struct world *w = *state;
	struct reaping reaping = { .w = w };
	enum daxpin_state is;

	assert_int_equal(attach(w, 0), 0);
	prepare_all(&reaping, 2);
	assert_int_equal(write(w->pipe[1], "ab", 2), 2);
	for (int i = 0; i < 60000 && reaping.ended < 2; i++) {
		assert_true(daxpin_uring_reap(w->uring, &w->ring,
					      find_unpublished, publish_extent,
					      &reaping) >= 0);
		usleep(1000);
	}
	assert_int_equal(reaping.ended, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(daxpin_state(w->f.pool, reaping.extent[i],
					      &is), 0);
		assert_int_equal(is, DAXPIN_STATE_LIVE);
	}
}

/* In the callback: prepares the same io again, submits, and may call reap. */
static void read_again(struct daxpin_uring_io *io,
		       const struct io_uring_cqe *cqe, void *arg)
{
	struct reaping *reaping = arg;
	uint32_t i = cqe->user_data;

	count_end(io, cqe, arg);
	if (!reaping->more)
		return;
	reaping->more--;
	prepare(reaping, i);
	assert_int_equal(write(reaping->w->pipe[1], "x", 1), 1);
	if (reaping->nested)
		assert_true(reap(reaping, read_again) >= 0);
}

static void the_callback_can_prepare_the_request_again(void **state)
{
	struct world *w = *state;

	assert_int_equal(attach(w, 0), 0);
	for (int nested = 0; nested < 2; nested++) {
		struct reaping reaping = {
			.w = w, .more = REQUESTS, .nested = nested
		};

		prepare_all(&reaping, 2);
		assert_int_equal(write(w->pipe[1], "ab", 2), 2);
		for (int i = 0; i < 60000 && reaping.ended < REQUESTS + 2; i++) {
			assert_true(reap(&reaping, read_again) >= 0);
			usleep(1000);
		}
		/* Each completion was accounted for once. */
		assert_int_equal(reaping.prepared, REQUESTS + 2);
		assert_int_equal(reaping.found, REQUESTS + 2);
		assert_int_equal(reaping.ended, REQUESTS + 2);
		assert_int_equal(info_of(w->uring).in_flight, 0);
	}
}

static void count_only(struct daxpin_uring_io *io,
		       const struct io_uring_cqe *cqe, void *arg)
{
	(void)io;
	(void)cqe;
	++*(uint32_t *)arg;
}

static struct daxpin_uring_io *find_none(const struct io_uring_cqe *cqe,
					 void *arg)
{
	static struct daxpin_uring_io unused;

	(void)arg;
	return cqe->user_data ? &unused : NULL;
}

static void reap_reports_only_requests_that_it_ended(void **state)
{
	struct world *w = *state;
	struct io_uring_sqe *sqe;
	uint32_t ended = 0;

	assert_int_equal(attach(w, 0), 0);
	for (uint32_t i = 0; i < 2; i++) {
		sqe = io_uring_get_sqe(&w->ring);
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, i);
	}
	assert_int_equal(io_uring_submit_and_wait(&w->ring, 2), 2);
	/*
	 * find_none() returns NULL for the first completion, and for the second a
	 * daxpin_uring_io that is not in use.
	 */
	assert_int_equal(daxpin_uring_reap(w->uring, &w->ring, find_none,
					   count_only, &ended), -EINVAL);
	assert_int_equal(ended, 0);
	assert_int_equal(io_uring_cq_ready(&w->ring), 0);
}

/* -------------------------------------------- segments that a reclaim wants */

/* Returns the next event of the type, or type 0 if none comes. */
static struct daxpin_event next_event(struct world *w, uint32_t type)
{
	struct daxpin_event event = { .type = 0 };

	for (int i = 0; i < 60000; i++) {
		while (daxpin_next_event(w->f.pool, &event) > 0)
			if (event.type == type)
				return event;
		usleep(1000);
	}
	return (struct daxpin_event) { .type = 0 };
}

static void reap_gives_back_a_segment_that_a_reclaim_requests(void **state)
{
	struct world *w = *state;
	struct reaping reaping = { .w = w };
	struct daxpin_event event;
	struct daxpin_job *job;

	need_reclaimable_buffers(w);
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	assert_int_equal(info_of(w->uring).fixed_segments, 2);
	job = begin_reclaim(w, 0);
	event = next_event(w, DAXPIN_EVENT_REVOKE);
	assert_int_equal(event.type, DAXPIN_EVENT_REVOKE);
	assert_ptr_equal(daxpin_uring_of(&event), w->uring);
	/* There are no completions. */
	assert_int_equal(reap(&reaping, count_end), 0);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
	end_reclaim(job);
}

static void daxpin_uring_of_other_events_is_null(void **state)
{
	struct world *w = *state;
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "mine",
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT, .maker = &options,
		.maker_arg = w,
	};
	struct daxpin_event event = { .type = DAXPIN_EVENT_REVOKE };

	assert_null(daxpin_uring_of(NULL));
	assert_int_equal(daxpin_register(w->f.pool, DAXPIN_ALL_SEGMENTS,
					 &options, &event.registration), 0);
	assert_null(daxpin_uring_of(&event));
	assert_ptr_equal(daxpin_registration_arg(event.registration, &options),
			 w);
	assert_null(daxpin_registration_arg(event.registration, NULL));
	assert_null(daxpin_registration_arg(NULL, &options));
	assert_int_equal(daxpin_unregister(event.registration), 0);
	event.registration = NULL;
	assert_null(daxpin_uring_of(&event));
	event.type = DAXPIN_EVENT_RETRY;
	assert_null(daxpin_uring_of(&event));
}

/* -------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* uring_reap shmem|devdax|fsdax */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(reap_handles_all_completions),
		TEST(reap_of_a_disabled_ring_finds_nothing),
		TEST(reap_in_another_thread_is_eexist),
		TEST(the_callback_can_publish_the_extent_of_a_read),
		TEST(the_callback_can_prepare_the_request_again),
		TEST(reap_reports_only_requests_that_it_ended),
		TEST(reap_gives_back_a_segment_that_a_reclaim_requests),
		TEST(daxpin_uring_of_other_events_is_null),
	};

	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	return cmocka_run_group_tests_name("uring_reap", tests, NULL, NULL);
}
