/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attaching rings, and their requests, on shmem and on each real backing that the
 * environment names (DAXPIN_TEST_DAX, DAXPIN_TEST_FSDAX). A read from an empty pipe
 * lands when the test writes to the pipe. A read from a disk that delays it lands when
 * the test decides, even after its process was killed.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "child.h"
#include "nobody.h"
#include "uring_fixture.h"
#include "../support/held_disk.h"

#define LENGTH 65536u

/* ------------------------------------------------------------------- tests */

static void info_reports_fixed_or_plain_segments(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_info info = { .size = sizeof(info) };

	need_fixed_buffers(w);
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	assert_int_equal(daxpin_uring_info(w->uring, &info), 0);
	assert_int_equal(info.in_flight, 0);
	if (target == FSDAX) {
		assert_int_equal(info.fixed_segments, 0);
		assert_int_equal(info.fallback, -EOPNOTSUPP);
	} else {
		assert_int_equal(info.plain_segments, 0);
		assert_true(info.registered_bytes > 0);
	}
}

static void an_attach_can_require_fixed_buffers(void **state)
{
	struct world *w = *state;
	int ret = attach(w, DAXPIN_URING_NEED_FIXED);

	need_fixed_buffers(w);
	if (target != FSDAX) {
		assert_int_equal(ret, 0);
		return;
	}
	assert_int_equal(ret, -EOPNOTSUPP);
	assert_non_null(strstr(w->f.errmsg, "fixed"));
	/* The failed attach left nothing in the ring: it can be attached. */
	assert_int_equal(attach(w, 0), 0);
}

/* Tests on one ring that an extent is not reused while a read into it is in flight. */
static void assert_no_reuse_during_read(struct world *w, uint32_t flags)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	uint64_t before;
	char *memory;

	assert_int_equal(attach(w, flags), 0);
	before = free_bytes(&w->f);
	extent = live(&w->f, 4096);
	memory = daxpin_ptr(w->f.pool, extent, 0);
	start_read(w, &io, extent);
	assert_int_equal(publish(&w->f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	assert_int_equal(free_bytes(&w->f), before - 4096);
	assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);

	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	assert_int_equal(finish(w, &io), 5);
	assert_string_equal(memory, "late");
	assert_int_equal(free_bytes(&w->f), before);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
}

static void a_retired_extent_is_not_reused_during_a_read(void **state)
{
	assert_no_reuse_during_read(*state, 0);
}

static void a_retired_extent_is_not_reused_during_a_plain_read(void **state)
{
	assert_no_reuse_during_read(*state, DAXPIN_URING_PLAIN);
}

static void a_cancelled_read_ends_its_hold_at_the_cqe(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, 4096);
	start_read(w, &io, extent);
	sqe = io_uring_get_sqe(&w->ring);
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY);
	sqe->user_data = 7;
	assert_int_equal(io_uring_submit(&w->ring), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
		if (cqe->user_data != 7) {
			assert_true(cqe->res < 0);
			assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
			assert_int_equal(daxpin_uring_done(&io, cqe), 1);
		}
		io_uring_cqe_seen(&w->ring, cqe);
	}
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
}

static void bytes_written_by_a_ring_are_read_back(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent from, to;
	char path[] = "/tmp/daxpin-file-XXXXXX";
	int fd = mkstemp(path);
	unsigned char *memory;

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(attach(w, 0), 0);
	from = live(&w->f, LENGTH);
	to = live(&w->f, LENGTH);
	memory = daxpin_ptr(w->f.pool, from, 0);
	for (uint32_t i = 0; i < LENGTH; i++)
		memory[i] = i * 7 >> 3;
	assert_int_equal(daxpin_uring_prep_write(w->uring, &io,
						 io_uring_get_sqe(&w->ring), fd,
						 from, 0, LENGTH, 0), 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(finish(w, &io), LENGTH);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &io,
						io_uring_get_sqe(&w->ring), fd,
						to, 0, LENGTH, 0), 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(finish(w, &io), LENGTH);
	assert_memory_equal(memory, daxpin_ptr(w->f.pool, to, 0), LENGTH);
	close(fd);
}

static void an_aborted_request_leaves_no_hold(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_uring_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, 4096);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &io,
						io_uring_get_sqe(&w->ring),
						w->pipe[0], extent, 0, 1, 0), 0);
	assert_int_equal(daxpin_holds(w->f.pool, extent, NULL, NULL), 1);
	assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	assert_int_equal(daxpin_uring_abort(&io, NULL), -EINVAL);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	assert_int_equal(daxpin_uring_info(w->uring, &info), 0);
	assert_int_equal(info.in_flight, 0);
}

struct seen {
	int read, write, ring;
	uint64_t begin_ns;		/* before the first hold */
};

/* The clock of the ages. */
static uint64_t coarse_ns(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC_COARSE, &now), 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void note_holder(const struct daxpin_holder *holder, void *arg)
{
	struct seen *seen = arg;

	if (!strcmp(holder->label, "test ring")) {
		assert_int_equal(holder->extent.gen, 0);
		assert_int_equal(holder->segment, DAXPIN_ALL_SEGMENTS);
		seen->ring++;
	} else if (!strcmp(holder->label, "read, test ring")) {
		assert_int_equal(holder->access, DAXPIN_HOLD_WRITE);
		seen->read++;
	} else {
		assert_string_equal(holder->label, "write, test ring");
		assert_int_equal(holder->access, DAXPIN_HOLD_READ);
		seen->write++;
	}
	assert_true(holder->age_ns > 0);
	assert_true(holder->age_ns <= daxpin_deadline_ms(0) - seen->begin_ns);
}

static void holders_of_requests_have_a_label_and_an_age(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io[2] = { { .uring = NULL } };
	struct seen seen = { .begin_ns = coarse_ns() };
	struct daxpin_extent extent;
	uint64_t now_ns;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, 4096);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &io[0],
						io_uring_get_sqe(&w->ring),
						w->pipe[0], extent, 0, 1, 0), 0);
	assert_int_equal(daxpin_uring_prep_write(w->uring, &io[1],
						 io_uring_get_sqe(&w->ring),
						 w->pipe[1], extent, 0, 1, 0), 0);
	now_ns = coarse_ns();
	while (coarse_ns() == now_ns)
		sched_yield();
	assert_int_equal(daxpin_holds(w->f.pool, (struct daxpin_extent) { 0, 0 },
				      note_holder, &seen), 2);
	assert_int_equal(seen.read, 1);
	assert_int_equal(seen.write, 1);
	assert_int_equal(seen.ring, 1);
	assert_int_equal(daxpin_uring_abort(&io[0], NULL), 0);
	assert_int_equal(daxpin_uring_abort(&io[1], NULL), 0);
}

static int try_read(struct world *w, struct daxpin_extent extent,
		    uint64_t offset, uint32_t length)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe sqe;
	int ret = daxpin_uring_prep_read(w->uring, &io, &sqe, w->pipe[0], extent,
					 offset, length, 0);

	if (ret)
		assert_int_equal(sqe.opcode, IORING_OP_NOP);
	else
		assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	return ret;
}

static void a_bad_request_is_refused_and_its_sqe_does_nothing(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, 8192);
	assert_int_equal(try_read(w, extent, 0, 8192), 0);
	assert_int_equal(try_read(w, extent, 1, 8192), -EINVAL);
	assert_int_equal(try_read(w, extent, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(try_read(w, extent, 0, 0), -EINVAL);
	assert_int_equal(daxpin_hold(w->f.pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(&w->f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(try_read(w, extent, 0, 1), -EALREADY);
	assert_int_equal(daxpin_drop(w->f.pool, extent), 0);
	assert_int_equal(try_read(w, extent, 0, 1), -ESTALE);
}

static void attach_to_a_ring_with_a_file_table_needs_a_file_slot(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	struct daxpin_uring_info info = { .size = sizeof(info) };
	int files[5] = { -1, w->pipe[0], -1, -1, -1 };

	assert_int_equal(io_uring_register_files(&w->ring, files, 5), 0);
	assert_int_equal(attach(w, 0), -EBUSY);
	assert_non_null(strstr(w->f.errmsg, "file_slot"));
	/* A table that is too short is left unchanged. */
	options.flags = DAXPIN_URING_FILE_SLOT;
	options.file_slot = 3;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), -EINVAL);
	assert_non_null(strstr(w->f.errmsg,
			       "3 slots from slot 3 on, 6 in all"));
	options.file_slot = 2;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), 0);
	assert_int_equal(daxpin_uring_info(w->uring, &info), 0);
	assert_int_equal(info.file_slot, 2);
}

/* The kernel does not refuse to replace a file in its slot, so the attach must. */
static void an_attach_refuses_a_file_slot_in_use(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	int files[4] = { w->pipe[0], w->pipe[1], -1, -1 }, none = -1;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	assert_int_equal(io_uring_register_files(&w->ring, files, 4), 0);
	options.flags = DAXPIN_URING_FILE_SLOT;
	for (options.file_slot = 0; options.file_slot < 2; options.file_slot++) {
		assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring,
						     &options, &w->uring),
				 -EBUSY);
		assert_non_null(strstr(w->f.errmsg, "in use"));
	}
	/* The file is still in its slot. */
	sqe = io_uring_get_sqe(&w->ring);
	io_uring_prep_write(sqe, 1, "x", 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	assert_int_equal(cqe->res, 1);
	io_uring_cqe_seen(&w->ring, cqe);

	assert_int_equal(io_uring_register_files_update(&w->ring, 1, &none, 1),
			 1);
	options.file_slot = 1;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	/* A detach leaves the slot empty. */
	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, &options,
					    &w->uring), 0);
}

static void file_slot_needs_a_file_table(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);

	options.flags = DAXPIN_URING_FILE_SLOT;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), -ENXIO);
	assert_non_null(strstr(w->f.errmsg, "slot 0"));
	assert_int_equal(io_uring_register_files_sparse(&w->ring, 8), 0);
	options.file_slot = 5;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), 0);
}

/*
 * Attaches a ring with these setup flags and reads with it. The teardown detaches it.
 */
static void read_with_ring(struct world *w, unsigned int flags)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	int ret;

	io_uring_queue_exit(&w->ring);
	ret = io_uring_queue_init(8, &w->ring, flags);
	if (ret) {
		assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
		print_message("# skipped: ring flags 0x%x: %s\n", flags,
			      strerror(-ret));
		skip();
	}
	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, 4096);
	start_read(w, &io, extent);
	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	assert_int_equal(finish(w, &io), 5);
	assert_string_equal(daxpin_ptr(w->f.pool, extent, 0), "late");
}

static void a_ring_with_sqpoll_can_be_attached(void **state)
{
	read_with_ring(*state, IORING_SETUP_SQPOLL);
}

static void a_ring_with_defer_taskrun_can_be_attached(void **state)
{
	read_with_ring(*state, IORING_SETUP_DEFER_TASKRUN |
			       IORING_SETUP_SINGLE_ISSUER);
}

static void two_rings_share_a_pool(void **state)
{
	struct world *w = *state, second = { .f = w->f };
	struct daxpin_uring_io io[2] = { { .uring = NULL } };
	struct daxpin_extent extent;

	assert_int_equal(pipe(second.pipe), 0);
	assert_int_equal(io_uring_queue_init(8, &second.ring, 0), 0);
	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(attach(&second, 0), 0);
	extent = live(&w->f, 4096);
	start_read(w, &io[0], extent);
	start_read(&second, &io[1], extent);
	assert_int_equal(daxpin_holds(w->f.pool, extent, NULL, NULL), 2);
	assert_int_equal(write(w->pipe[1], "a", 1), 1);
	assert_int_equal(finish(w, &io[0]), 1);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	/* The detach of one ring does not affect the other. */
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
	assert_int_equal(write(second.pipe[1], "b", 1), 1);
	assert_int_equal(finish(&second, &io[1]), 1);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	assert_int_equal(daxpin_uring_detach(second.uring), 0);
	io_uring_queue_exit(&second.ring);
	close(second.pipe[0]);
	close(second.pipe[1]);
}

static void a_ring_with_a_buffer_table_can_only_be_attached_plain(void **state)
{
	struct world *w = *state;
	char buffer[4096];
	struct iovec iov = { buffer, sizeof(buffer) };

	if (target == FSDAX)
		return;			/* there an attach is always plain */
	assert_int_equal(io_uring_register_buffers(&w->ring, &iov, 1), 0);
	assert_int_equal(attach(w, 0), -EBUSY);
	assert_non_null(strstr(w->f.errmsg, "PLAIN"));
	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
}

static void a_detached_ring_can_be_attached_again(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(attach(w, 0), 0);
		assert_int_equal(daxpin_uring_detach(w->uring), 0);
		w->uring = NULL;
	}
	assert_int_equal(fixture_reopen(&w->f), 0);
}

static void ignore_tick(int signal)
{
	(void)signal;
}

/* Before the library blocked signals, a detach on Linux 6.1 was EINTR here (K38). */
static void a_ring_is_detached_while_a_timer_interrupts(void **state)
{
	const struct sigaction action = { .sa_handler = ignore_tick };
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct world *w = *state;
	int ret = 0;

	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	for (int i = 0; !ret && i < 10; i++) {
		assert_int_equal(attach(w, i % 2 ? DAXPIN_URING_EAGER : 0), 0);
		assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
		ret = daxpin_uring_detach(w->uring);
		assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	}
	/* A signal that is still pending is ignored. */
	signal(SIGALRM, SIG_IGN);
	if (!ret)
		w->uring = NULL;
	assert_int_equal(ret, 0);
}

static void close_is_ebusy_while_a_ring_is_guarded(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	struct daxpin_uring_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, &options,
					    &w->uring), 0);
	assert_int_equal(daxpin_uring_info(w->uring, &info), 0);
	assert_int_equal(info.fixed_segments, 0);
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
}

/* --------------------- buffers that a guarded ring's application registered */

struct seen_part {
	int result;
	bool is_held;			/* by a registration of all segments */
};

static void note_part(const struct daxpin_job_part *part, void *arg)
{
	struct seen_part *seen = arg;

	seen->result = part->result;
	seen->is_held = part->holder &&
			part->holder->segment == DAXPIN_ALL_SEGMENTS;
}

/* Runs one job. A reclaim that waits for a pin ends at its deadline of 50 ms. */
static struct daxpin_job_summary do_job(struct world *w, bool refill,
					struct seen_part *ret_part)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = 0,
		.deadline_ns = daxpin_deadline_ms(refill ? 600000 : 50),
	};
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;

	assert_int_equal((refill ? daxpin_refill : daxpin_reclaim)(
		w->f.pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(600000)), 0);
	assert_int_equal(daxpin_job_report(job, note_part, ret_part, &summary),
			 0);
	assert_int_equal(daxpin_job_end(job), 0);
	return summary;
}

/* Reads with the application's own buffer 0, which is the whole segment. */
static void read_by_own_buffer(struct world *w, struct daxpin_extent extent)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	char *memory = daxpin_ptr(w->f.pool, extent, 0);
	struct io_uring_cqe *cqe;

	memset(memory, 0x11, 5);
	assert_int_equal(daxpin_hold(w->f.pool, extent, DAXPIN_HOLD_WRITE), 0);
	io_uring_prep_read_fixed(sqe, w->pipe[0], memory, 5, 0, 0);
	submit_one(w);
	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	assert_int_equal(cqe->res, 5);
	io_uring_cqe_seen(&w->ring, cqe);
	assert_int_equal(daxpin_drop(w->f.pool, extent), 0);
	assert_string_equal(memory, "late");
}

static void a_guard_pins_all_segments_for_the_applications_buffers(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	struct seen_part part = { .result = 0 };
	struct daxpin_segment segment;
	struct iovec iov;

	need_reclaimable_buffers(w);
	assert_int_equal(daxpin_segment(w->f.pool, 0, &segment), 0);
	iov = (struct iovec) { segment.base, segment.size };
	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, &options,
					    &w->uring), 0);
	assert_int_equal(io_uring_register_buffers(&w->ring, &iov, 1), 0);
	assert_int_equal(do_job(w, false, &part).done_bytes, 0);
	assert_int_equal(part.result, -EBUSY);
	assert_true(part.is_held);
	do_job(w, true, &part);
	read_by_own_buffer(w, live(&w->f, 4096));
	assert_int_equal(io_uring_unregister_buffers(&w->ring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_true(do_job(w, false, &part).done_bytes > 0);
}

static void the_pin_of_guarded_rings_lasts_until_the_last_one_is_left(void **state)
{
	struct world *w = *state, second = { .f = w->f };
	struct daxpin_uring_options options = uring_options(w, 0);
	struct seen_part part = { .result = 0 };

	need_reclaimable_buffers(w);
	assert_int_equal(io_uring_queue_init(8, &second.ring, 0), 0);
	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, &options,
					    &w->uring), 0);
	assert_int_equal(daxpin_uring_guard(w->f.pool, &second.ring, &options,
					    &second.uring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	/* Buffers of an abandoned ring are pinned until the kernel frees it. */
	assert_int_equal(daxpin_uring_abandon(second.uring, 0), -ETIMEDOUT);
	assert_int_equal(do_job(w, false, &part).done_bytes, 0);
	assert_int_equal(part.result, -EBUSY);
	assert_true(part.is_held);
	io_uring_queue_exit(&second.ring);
	assert_int_equal(daxpin_uring_abandon(second.uring,
					      daxpin_deadline_ms(600000)), 0);
	assert_true(do_job(w, false, &part).done_bytes > 0);
}

/* The reclaim waits for a hold, and the ring is guarded only then. */
static void a_waiting_reclaim_finds_a_ring_that_is_guarded_meanwhile(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	struct daxpin_extent extent;
	struct daxpin_job *job;

	need_reclaimable_buffers(w);
	extent = reserve(&w->f, 4096);
	assert_int_equal(daxpin_hold(w->f.pool, extent, DAXPIN_HOLD_WRITE), 0);
	job = begin_reclaim(w, extent.addr / DAXPIN_SEGMENT_MIN);
	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, &options,
					    &w->uring), 0);
	assert_int_equal(daxpin_drop(w->f.pool, extent), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(10)),
				 -ETIMEDOUT);
	assert_int_equal(pool_info(&w->f).hole_bytes, 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	end_reclaim(job);
	assert_true(pool_info(&w->f).hole_bytes > 0);
}

static void a_guard_without_buffers_does_not_prevent_reclaim(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options =
		uring_options(w, DAXPIN_URING_NO_BUFFERS);
	struct seen_part part = { .result = 0 };

	need_reclaimable_buffers(w);
	assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring, &options,
					    &w->uring), 0);
	assert_true(do_job(w, false, &part).done_bytes > 0);
	assert_int_equal(part.result, 0);
}

/* ----------------------------------------------------------------- options */

static int try_options(struct world *w, bool guard, uint32_t flags,
		       uint32_t file_slot)
{
	struct daxpin_uring_options options = uring_options(w, flags);
	int ret;

	options.file_slot = file_slot;
	ret = (guard ? daxpin_uring_guard : daxpin_uring_attach)(
		w->f.pool, &w->ring, &options, &w->uring);
	if (ret)
		return ret;
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	return 0;
}

static void bad_options_are_refused_with_an_errmsg(void **state)
{
	struct world *w = *state;
	const struct {
		bool guard;
		uint32_t flags, file_slot;
		const char *says;
	} bad[] = {
		{ false, 0x80000000u, 0, "0x80000000" },
		{ false, DAXPIN_URING_PLAIN | DAXPIN_URING_EAGER, 0, "flags" },
		{ false, DAXPIN_URING_NO_BUFFERS, 0, "daxpin_uring_guard" },
		{ false, 0, 3, "file_slot 3 is only used with DAXPIN_URING_FILE_SLOT" },
		{ true, 0, 1, "file_slot 1 is only used with DAXPIN_URING_FILE_SLOT" },
		{ true, DAXPIN_URING_EAGER, 0, "daxpin_uring_attach" },
		{ true, DAXPIN_URING_NEED_FIXED, 0, "daxpin_uring_attach" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(try_options(w, bad[i].guard, bad[i].flags,
					     bad[i].file_slot), -EINVAL);
		assert_non_null(strstr(w->f.errmsg, bad[i].says));
	}
	assert_int_equal(try_options(w, true, DAXPIN_URING_PLAIN, 0), 0);
}

/* Zeroed options mean the same as NULL. This ring has no file table. */
static void zeroed_options_are_valid(void **state)
{
	struct world *w = *state;
	const struct daxpin_uring_options options = {
		.size = sizeof(options),
	};

	for (int i = 0; i < 3; i++) {
		assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring,
						     i ? &options : NULL,
						     &w->uring), 0);
		assert_int_equal(info_of(w->uring).file_slot, 0);
		assert_int_equal(daxpin_uring_detach(w->uring), 0);
		assert_int_equal(daxpin_uring_guard(w->f.pool, &w->ring,
						    i ? &options : NULL,
						    &w->uring), 0);
		assert_int_equal(daxpin_uring_detach(w->uring), 0);
		w->uring = NULL;
	}
}

/* ------------------------------------------------------------ restrictions */

/* liburing 2.3 declares functions for these calls without defining them. */
static int register_with(struct world *w, unsigned int what, const void *argument,
			 unsigned int count)
{
	return syscall(__NR_io_uring_register, w->ring.ring_fd, what, argument,
		       count);
}

/*
 * The restrictions allow only one register call, which enables the ring, so that no
 * table can be changed.
 */
static void restrict_ring(struct world *w)
{
	struct io_uring_restriction enable = {
		.opcode = IORING_RESTRICTION_REGISTER_OP,
		.register_op = IORING_REGISTER_ENABLE_RINGS,
	};
	struct io_uring_restriction read = {
		.opcode = IORING_RESTRICTION_SQE_OP,
		.sqe_op = IORING_OP_READ,
	};
	struct io_uring_restriction both[] = { enable, read };

	assert_int_equal(register_with(w, IORING_REGISTER_RESTRICTIONS, both, 2),
			 0);
}

static void enable_ring(struct world *w)
{
	assert_int_equal(register_with(w, IORING_REGISTER_ENABLE_RINGS, NULL,
				       0), 0);
}

static void restart_disabled(struct world *w)
{
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &w->ring,
					     IORING_SETUP_R_DISABLED), 0);
}

static void a_restricted_ring_is_refused_with_an_errmsg(void **state)
{
	struct world *w = *state;

	restart_disabled(w);
	restrict_ring(w);
	enable_ring(w);
	assert_int_equal(attach(w, 0), -EACCES);
	assert_non_null(strstr(w->f.errmsg, "IORING_REGISTER_RESTRICTIONS"));
	assert_non_null(strstr(w->f.errmsg, "IORING_REGISTER_FILES"));
}

/* The restrictions forbid the detach, so the ring is freed and abandoned. */
static void a_ring_restricted_after_attach_can_be_abandoned(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };

	restart_disabled(w);
	restrict_ring(w);
	assert_int_equal(attach(w, DAXPIN_URING_PLAIN), 0);
	enable_ring(w);
	start_read(w, &io, live(&w->f, 4096));
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(finish(w, &io), 1);
	assert_int_equal(daxpin_uring_detach(w->uring), -EACCES);
	io_uring_queue_exit(&w->ring);
	assert_int_equal(daxpin_uring_abandon(w->uring,
					      daxpin_deadline_ms(600000)), 0);
	w->uring = NULL;
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
	assert_int_equal(fixture_reopen(&w->f), 0);
}

/* ----------------------------------------------- limits, as another user */

/*
 * In a child: makes a pool of its own as an unprivileged user with a small
 * RLIMIT_MEMLOCK.
 */
static int attach_with_little_memlock(void *arg)
{
	struct world w = { .uring = NULL };

	(void)arg;
	if (!drop_privileges(NOBODY, 1 << 20))
		return 2;
	target = SHMEM;
	if (create_pool(&w) || io_uring_queue_init(8, &w.ring, 0))
		return 3;
	if (attach(&w, DAXPIN_URING_NEED_FIXED) != -ENOMEM)
		return 4;
	if (!strstr(w.f.errmsg, "need 65536 KiB") ||
	    !strstr(w.f.errmsg, "RLIMIT_MEMLOCK is 1024 KiB") ||
	    !strstr(w.f.errmsg, "KiB pinned"))
		return 5;
	/* The failed attach left nothing in the ring, and a plain attach works. */
	if (attach(&w, DAXPIN_URING_PLAIN) || daxpin_uring_detach(w.uring))
		return 6;
	if (daxpin_pool_close(w.f.pool))
		return 7;
	remove_pool(&w.f);
	return 0;
}

static void too_little_memlock_is_reported_with_the_amount_needed(void **state)
{
	(void)state;
	assert_int_equal(run_child(attach_with_little_memlock, NULL), 0);
}

/* ---------------------------------------------------------- thread cancellation */

/* A cancellation is pending from the first call to the last. */
static void *use_a_ring(void *arg)
{
	struct world *w = arg;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent = reserve(&w->f, 4096);
	struct io_uring_cqe *cqe = NULL;

	pthread_cancel(pthread_self());
	assert_int_equal(attach(w, 0), 0);
	start_read(w, &io, extent);
	/* write() itself is a cancellation point. */
	assert_int_equal(syscall(SYS_write, w->pipe[1], "late", 5), 5);
	while (!cqe)
		io_uring_wait_cqe(&w->ring, &cqe);
	assert_int_equal(daxpin_uring_done(&io, cqe), 1);
	io_uring_cqe_seen(&w->ring, cqe);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(daxpin_cancel(w->f.pool, extent), 0);
	pthread_testcancel();
	return NULL;
}

static void no_call_on_a_ring_is_a_cancellation_point(void **state)
{
	struct world *w = *state;
	uint64_t before = free_bytes(&w->f);
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, use_a_ring, w), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	assert_null(w->uring);
	assert_int_equal(free_bytes(&w->f), before);
}

/* -------------------------------------------------------------------- fork */

#define LONG_MS		600000

/*
 * Ends the wait if the open reports that this process itself keeps the lock: it would
 * wait for its own end.
 */
static int sees_itself(const struct daxpin_wait *wait, void *arg)
{
	(void)arg;
	return wait->owner == DAXPIN_OWNER_KEPT && wait->pid == getpid();
}

/*
 * Runs in the process that daemon(3) leaves. Returns 0, or the number of the step that
 * failed.
 */
static int detach_and_reopen(struct world *w, pid_t parent)
{
	w->f.options.flags = 0;
	w->f.options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	w->f.options.progress = sees_itself;
	if (daxpin_uring_detach(w->uring))
		return 1;
	if (daxpin_uring_detach(w->uring) != -ESTALE)
		return 2;
	io_uring_queue_exit(&w->ring);
	if (daxpin_pool_close(w->f.pool))
		return 3;
	while (getppid() == parent)
		usleep(1000);
	if (daxpin_pool_open(w->f.path, &w->f.options, &w->f.pool))
		return 4;
	return daxpin_pool_close(w->f.pool) ? 5 : 0;
}

/* In a child: an owner with a ring forks and exits, as daemon(3) does. */
static int become_a_daemon(void *arg, int fd)
{
	struct world *w = arg;
	pid_t parent = getpid();
	unsigned char step;

	if (daxpin_pool_open(w->f.path, NULL, &w->f.pool) ||
	    io_uring_queue_init(8, &w->ring, 0) || attach(w, 0))
		return 1;
	if (!fork()) {
		step = detach_and_reopen(w, parent);
		send_message(fd, &step, sizeof(step));
	}
	_exit(0);
}

static void a_ring_can_be_detached_in_the_process_that_daemon_leaves(void **state)
{
	struct world *w = *state;
	unsigned char step = 255;
	struct child child;

	assert_int_equal(daxpin_pool_close(w->f.pool), 0);
	w->f.pool = NULL;
	child = fork_child(become_a_daemon, w);
	assert_true(receive_message(child.fd, &step, sizeof(step)));
	assert_int_equal(end_child(&child), 0);
	assert_int_equal(step, 0);
	w->f.options.flags = 0;
	w->f.options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	assert_int_equal(daxpin_pool_open(w->f.path, &w->f.options, &w->f.pool),
			 0);
}

/* ------------------------------------------------- the death of the owner */

#define REPORTS		3		/* reports of the wait, before the read lands */

static struct held_disk disk;

struct reader {
	const char *path;
	uint64_t addr;
};

/* In a child: starts a read and waits until it is killed. */
static int open_and_read(void *arg, int parent)
{
	const struct reader *reader = arg;
	struct world w = { .uring = NULL };
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	int fd = held_disk_open(&disk);

	if (fd < 0 || daxpin_pool_open(reader->path, NULL, &w.f.pool) ||
	    daxpin_extent_at(w.f.pool, reader->addr, &extent) ||
	    io_uring_queue_init(8, &w.ring, 0) || attach(&w, 0) ||
	    daxpin_uring_prep_read(w.uring, &io, io_uring_get_sqe(&w.ring), fd,
				   extent, 0, LENGTH, 0) ||
	    io_uring_submit(&w.ring) != 1 || !send_step(parent))
		return 1;
	pause();
	return 1;
}

struct draining {
	int pid;
	int reports;
};

/* Lets the read land at the third report, so the open must wait until then. */
static int saw_draining(const struct daxpin_wait *wait, void *arg)
{
	struct draining *draining = arg;

	if (wait->owner != DAXPIN_OWNER_DRAINING)
		return 0;
	draining->pid = wait->pid;
	return ++draining->reports == REPORTS ? held_disk_land(&disk) : 0;
}

/* Kills the pool's owner and reaps it, while a read of its ring continues. */
static pid_t kill_owner_during_read(struct world *w, uint64_t addr)
{
	struct reader reader = { w->f.path, addr };
	struct child child = fork_child(open_and_read, &reader);

	assert_true(await_step(child.fd));
	assert_true(held_disk_wait(&disk, 1));
	kill_child(&child);
	return child.pid;
}

/*
 * Kills the owner during a read, and opens the pool or creates another in its place.
 * The call must return only after the read has landed.
 */
static void take_over(struct world *w, bool create)
{
	struct daxpin_extent extent = live(&w->f, LENGTH), ours;
	unsigned char *memory;
	struct draining draining = { .pid = 0 };
	pid_t pid;
	int ret;

	assert_int_equal(daxpin_pool_close(w->f.pool), 0);
	w->f.pool = NULL;
	pid = kill_owner_during_read(w, extent.addr);
	w->f.options.deadline_ns = daxpin_deadline_ms(600000);
	w->f.options.flags = create ? DAXPIN_POOL_OVERWRITE : 0;
	w->f.options.progress = saw_draining;
	w->f.options.progress_arg = &draining;
	ret = create ? daxpin_pool_create(w->f.path, &w->f.options, &w->f.pool) :
		       daxpin_pool_open(w->f.path, &w->f.options, &w->f.pool);
	assert_int_equal(ret, 0);
	assert_int_equal(draining.pid, pid);
	assert_true(draining.reports >= REPORTS);
	if (create)
		assert_int_equal(daxpin_reserve(w->f.pool, LENGTH, 0, &ours), 0);
	else
		assert_int_equal(daxpin_extent_at(w->f.pool, extent.addr,
						  &ours), 0);
	assert_int_equal(ours.addr, extent.addr);
	memory = daxpin_ptr(w->f.pool, ours, 0);
	memset(memory, 0x3c, LENGTH);
	/* If the call had returned too early, the read would land now. */
	assert_int_equal(held_disk_land(&disk), 0);
	assert_true(has_colour(w, ours, LENGTH, 0x3c));
}

static void open_waits_for_the_read_of_a_killed_owner(void **state)
{
	take_over(*state, false);
}

/* On fsdax `owner_lock_holder crash` tests this, with every kind of ring. */
static void create_waits_for_the_read_of_a_killed_owner(void **state)
{
	if (target == DEVDAX)
		take_over(*state, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		TEST(info_reports_fixed_or_plain_segments),
		TEST(an_attach_can_require_fixed_buffers),
		TEST(a_retired_extent_is_not_reused_during_a_read),
		TEST(a_retired_extent_is_not_reused_during_a_plain_read),
		TEST(a_cancelled_read_ends_its_hold_at_the_cqe),
		TEST(bytes_written_by_a_ring_are_read_back),
		TEST(an_aborted_request_leaves_no_hold),
		TEST(holders_of_requests_have_a_label_and_an_age),
		TEST(a_bad_request_is_refused_and_its_sqe_does_nothing),
		TEST(attach_to_a_ring_with_a_file_table_needs_a_file_slot),
		TEST(an_attach_refuses_a_file_slot_in_use),
		TEST(file_slot_needs_a_file_table),
		TEST(a_ring_with_sqpoll_can_be_attached),
		TEST(a_ring_with_defer_taskrun_can_be_attached),
		TEST(two_rings_share_a_pool),
		TEST(a_ring_with_a_buffer_table_can_only_be_attached_plain),
		TEST(a_detached_ring_can_be_attached_again),
		TEST(a_ring_is_detached_while_a_timer_interrupts),
		TEST(close_is_ebusy_while_a_ring_is_guarded),
		TEST(no_call_on_a_ring_is_a_cancellation_point),
		TEST(a_ring_can_be_detached_in_the_process_that_daemon_leaves),
		TEST(a_guard_pins_all_segments_for_the_applications_buffers),
		TEST(the_pin_of_guarded_rings_lasts_until_the_last_one_is_left),
		TEST(a_waiting_reclaim_finds_a_ring_that_is_guarded_meanwhile),
		TEST(a_guard_without_buffers_does_not_prevent_reclaim),
		TEST(bad_options_are_refused_with_an_errmsg),
		TEST(zeroed_options_are_valid),
		TEST(a_restricted_ring_is_refused_with_an_errmsg),
		TEST(a_ring_restricted_after_attach_can_be_abandoned),
	};

	return cmocka_run_group_tests_name("uring_attach", tests, NULL, NULL);
}

static int crash_setup(void **state)
{
	return held_disk_make(&disk) || setup(state) ? -1 : 0;
}

static int crash_teardown(void **state)
{
	/*
	 * The reads must land first: removing the files would wait for reads in flight.
	 */
	int ret = held_disk_land(&disk);

	return teardown(state) | held_disk_remove(&disk) | ret;
}

static int run_crash(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, crash_setup, \
						    crash_teardown)
	const struct CMUnitTest tests[] = {
		CASE(open_waits_for_the_read_of_a_killed_owner),
		CASE(create_waits_for_the_read_of_a_killed_owner),
	};

	return cmocka_run_group_tests_name("uring_attach crash", tests, NULL, NULL);
}

static int run_limits(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(too_little_memlock_is_reported_with_the_amount_needed),
	};

	return cmocka_run_group_tests_name("uring_attach limits", tests, NULL, NULL);
}

/* uring_attach shmem|devdax|fsdax [crash|limits] */
int main(int argc, char **argv)
{
	const char *which = argc > 1 ? argv[1] : "shmem";
	const char *what = argc > 2 ? argv[2] : "";

	if (!choose_target(which))
		return 0;
	if (!strcmp(what, "crash")) {
		if (!getenv("DAXPIN_TEST_DISK"))
			return skip_all("needs DAXPIN_TEST_DISK, a disk that reads 0xA5 (./dev lab has one)");
		return run_crash();
	}
	if (!strcmp(what, "limits")) {
		if (geteuid())
			return skip_all("needs root, to become another user");
		return run_limits();
	}
	return run_all();
}
