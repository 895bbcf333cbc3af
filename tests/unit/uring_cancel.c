/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No call on a ring is a cancellation point. A thread makes each call with a
 * cancellation that is pending, and then once for each system call inside it, with a
 * cancellation that arrives during that system call. The call must return, and the
 * thread end only after it. Then the test uses another ring, and finally closes the
 * pool.
 */
#include "cancelled.h"
#include "invariant.h"
#include "needs.h"
#include "uring_fixture.h"

#define BYTES		4096u
#define IN_TIME		daxpin_deadline_ms(600000)

static struct world *w;
static struct daxpin_extent extent;
static struct daxpin_uring_io io;
static struct daxpin_job *job;

/* -------------------------------------------------------- attach and detach */

static int run_attach(void)
{
	return attach(w, 0);
}

static int run_guard(void)
{
	const struct daxpin_uring_options options = uring_options(w, 0);

	return daxpin_uring_guard(w->f.pool, &w->ring, &options, &w->uring);
}

static int run_detach(void)
{
	return daxpin_uring_detach(w->uring);
}

static void clear_ring(int ret)
{
	must(ret);
	w->uring = NULL;
}

static void attach_ring(void)
{
	must(run_attach());
}

static void guard_ring(void)
{
	must(run_guard());
}

static void detach_after(int ret)
{
	must(ret);
	clear_ring(run_detach());
}

/* ------------------------------------------------------------------- requests */

static void attach_and_reserve(void)
{
	attach_ring();
	extent = reserve(&w->f, BYTES);
	io = (struct daxpin_uring_io) { .uring = NULL };
}

static void cancel_and_detach(int ret)
{
	must(ret);
	must(daxpin_cancel(w->f.pool, extent));
	detach_after(0);
}

static int run_prepare(void)
{
	return daxpin_uring_prepare(w->uring, extent);
}

static int run_prep(void)
{
	return daxpin_uring_prep_read(w->uring, &io, io_uring_get_sqe(&w->ring),
				      w->pipe[0], extent, 0, BYTES, 0);
}

static int run_prep_write(void)
{
	return daxpin_uring_prep_write(w->uring, &io, io_uring_get_sqe(&w->ring),
				       w->pipe[1], extent, 0, BYTES, 0);
}

static struct daxpin_uring_vec vec[2];
static struct iovec iov[2];

static void set_pieces(void)
{
	for (unsigned int i = 0; i < 2; i++)
		vec[i] = (struct daxpin_uring_vec) {
			.extent = extent, .offset = i * BYTES / 2, .length = BYTES / 2,
		};
}

static int run_prep_readv(void)
{
	set_pieces();
	return daxpin_uring_prep_readv(w->uring, &io, io_uring_get_sqe(&w->ring),
				       w->pipe[0], vec, iov, 2, 0);
}

static int run_prep_writev(void)
{
	set_pieces();
	return daxpin_uring_prep_writev(w->uring, &io, io_uring_get_sqe(&w->ring),
					w->pipe[1], vec, iov, 2, 0);
}

static int run_prep_send(void)
{
	return daxpin_uring_prep_send(w->uring, &io, io_uring_get_sqe(&w->ring),
				      w->pipe[1], extent, 0, BYTES, 0, 0);
}

static int run_prep_cmd(void)
{
	void *at;

	return daxpin_uring_prep_cmd(w->uring, &io, io_uring_get_sqe(&w->ring),
				     w->pipe[0], 1, extent, 0, BYTES,
				     DAXPIN_HOLD_WRITE, &at);
}

/* The ring has an SQE of the aborted request, so it is freed without a submit. */
static void free_after_abort(int ret)
{
	must(ret);
	io_uring_queue_exit(&w->ring);
	must(daxpin_uring_abandon(w->uring, IN_TIME));
	w->uring = NULL;
	must(io_uring_queue_init(8, &w->ring, 0));
	must(daxpin_cancel(w->f.pool, extent));
}

static int run_abort(void)
{
	return daxpin_uring_abort(&io, NULL);
}

static void prep_read(void)
{
	attach_and_reserve();
	must(run_prep());
}

static void abort_after(int ret)
{
	must(ret);
	free_after_abort(daxpin_uring_abort(&io, NULL));
}

static struct daxpin_uring_io *find(const struct io_uring_cqe *cqe, void *arg)
{
	(void)cqe;
	return arg;
}

/* Completes a read, but does not call daxpin_uring_done(). */
static void complete_read(void)
{
	struct io_uring_cqe *cqe;

	attach_and_reserve();
	start_read(w, &io, extent);
	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	must(io_uring_wait_cqe(&w->ring, &cqe));
}

static int run_reap(void)
{
	return daxpin_uring_reap(w->uring, &w->ring, find, NULL, &io) != 1;
}

static int run_done(void)
{
	struct io_uring_cqe *cqe;
	int ret = io_uring_peek_cqe(&w->ring, &cqe);

	if (!ret)
		ret = daxpin_uring_done(&io, cqe) != 1;
	io_uring_cqe_seen(&w->ring, cqe);
	return ret;
}

/* --------------------------------------------- fixed buffers and reclaims */

static int run_service(void)
{
	return daxpin_uring_service(w->uring);
}

/* Makes a segment a fixed buffer and starts a reclaim, which requests its pin. */
static void reclaim_fixed_segment(void)
{
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = IN_TIME, .bytes = DAXPIN_CHUNK_SIZE,
	};

	attach_and_reserve();
	must(run_prepare());
	must(daxpin_reclaim(w->f.pool, &options, &job));
}

static void prepare_segment(void)
{
	attach_and_reserve();
	must(run_prepare());
}

static void end_job_and_detach(int ret)
{
	must(ret);
	must(daxpin_job_wait(job, DAXPIN_NO_DEADLINE));
	must(daxpin_job_end(job));
	refill(w, DAXPIN_ALL_SEGMENTS);
	cancel_and_detach(0);
}

/* ------------------------------------------------------------------- abandon */

static void read_and_free_ring(void)
{
	attach_and_reserve();
	start_read(w, &io, extent);
	io_uring_queue_exit(&w->ring);
}

static int run_abandon(void)
{
	return daxpin_uring_abandon(w->uring, IN_TIME);
}

static void replace_freed_ring(int ret)
{
	clear_ring(ret);
	must(io_uring_queue_init(8, &w->ring, 0));
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	must(daxpin_cancel(w->f.pool, extent));
}

/* ----------------------------------------------------------------- the test */

static const struct uncancelled_call calls[] = {
	{ "attach", NULL, run_attach, detach_after },
	{ "guard", NULL, run_guard, detach_after },
	{ "detach", attach_ring, run_detach, clear_ring },
	{ "detach a guarded ring", guard_ring, run_detach, clear_ring },
	{ "reap", complete_read, run_reap, cancel_and_detach },
	{ "abandon", read_and_free_ring, run_abandon, replace_freed_ring },
};

/* These calls register a segment or end its registration. */
static const struct uncancelled_call buffer_calls[] = {
	{ "prepare", attach_and_reserve, run_prepare, cancel_and_detach },
	{ "service", reclaim_fixed_segment, run_service, end_job_and_detach },
};

/* These calls make no system call in which a cancellation could arrive. */
static const struct uncancelled_call calls_without_system_calls[] = {
	{ "prep_read", attach_and_reserve, run_prep, abort_after },
	{ "prep_write", attach_and_reserve, run_prep_write, abort_after },
	{ "prep_readv", attach_and_reserve, run_prep_readv, abort_after },
	{ "prep_writev", attach_and_reserve, run_prep_writev, abort_after },
	{ "prep_send", attach_and_reserve, run_prep_send, abort_after },
	{ "prep_cmd", attach_and_reserve, run_prep_cmd, abort_after },
	{ "abort", prep_read, run_abort, free_after_abort },
	{ "done", complete_read, run_done, cancel_and_detach },
};

static const struct uncancelled_call buffer_calls_without_system_calls[] = {
	{ "prep_read, fixed", prepare_segment, run_prep, abort_after },
	{ "prep_readv, fixed", prepare_segment, run_prep_readv, abort_after },
	{ "prep_send, fixed", prepare_segment, run_prep_send, abort_after },
};

#define CANCEL_EACH(calls) \
	cancel_each(calls, sizeof(calls) / sizeof(calls[0]), use_a_ring)

/* Uses a ring from attach to detach, and the same pool after a reopen. */
static void use_a_ring(void)
{
	struct io_uring_cqe *cqe;

	complete_read();
	must(io_uring_peek_cqe(&w->ring, &cqe));
	must(run_done());
	cancel_and_detach(0);
	dp_invariants(w->f.pool);
}

static void drain_and_reopen(void)
{
	must(daxpin_pool_drain(w->f.pool, IN_TIME));
	must(fixture_reopen(&w->f));
}

static void a_cancelled_thread_completes_its_call_on_a_ring(void **state)
{
	w = *state;
	CANCEL_EACH(calls);
	drain_and_reopen();
}

static void a_cancelled_thread_completes_its_call_on_fixed_buffers(void **state)
{
	w = *state;
	need_fixed_buffers(w);
	CANCEL_EACH(buffer_calls);
	assert_int_equal(CANCEL_EACH(buffer_calls_without_system_calls), 0);
	drain_and_reopen();
}

static void no_prep_function_makes_a_system_call(void **state)
{
	w = *state;
	assert_int_equal(CANCEL_EACH(calls_without_system_calls), 0);
	drain_and_reopen();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_cancelled_thread_completes_its_call_on_a_ring,
						setup, teardown),
		cmocka_unit_test_setup_teardown(no_prep_function_makes_a_system_call,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_cancelled_thread_completes_its_call_on_fixed_buffers,
						setup, teardown),
	};

	if (skip_all_without_io_uring())
		return 0;
	return cmocka_run_group_tests_name("uring_cancel", tests, NULL, NULL);
}
