/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runs of a request are not linked. Since Linux 6.0 a failing fallocate() does not
 * end a chain, so the next run would be executed nevertheless. And in a chain a
 * cancellation finds only the run that has begun; it finds all separate requests. From
 * 6.12 on one worker executes the runs of a file one after the other; before, each
 * waits for the file in a separate worker.
 *
 * The deadline is a timeout linked to a cancellation of the requests on the file,
 * submitted together with the runs, so it works while no thread of the program runs.
 * (A LINK_TIMEOUT never fires here, kernel.md K8.) A worker that is about to begin a
 * run may lose the signal that cancels it, so there are three cancellations, one after
 * the other.
 *
 * The ring has a kernel thread (SQPOLL). Otherwise requests would belong to the thread
 * that submits them. When that thread exits, its deadlines have no effect any more, so
 * the exit would wait for the punches as long as memory is pinned.
 *
 * The first file and the anchor are in the ring's file table from before the first
 * request: the locks live as long as the requests, even if this process is killed
 * (kernel.md K24, W3).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include "os/os.h"
#include "pool/blocks.h"
#include "reclaim/punch.h"

/* The kernel makes the completion queue twice as long as the submission queue. */
#define ENTRIES		(DP_PUNCH_COMPLETIONS / 2)
#define WORKERS		512u	/* one for each run of DP_PARTS_MAX parts */
#define MS		1000000ull

/* user_data, from its top bits: the attempt, the index of the run, the completion
 * type. */
#define TYPE_BITS	2
#define RUN_BITS	6

static_assert(DP_PUNCH_RUNS <= 1 << RUN_BITS, "a run has its number");

static int punch_open_ring(struct dp_ring *ring, int lock_fd, int anchor_fd,
			   int event_fd)
{
	int files[] = { lock_fd, anchor_fd };
	uint32_t workers[2] = { WORKERS, 0 };
	int ret = dp_ring_open(ring, ENTRIES, DP_RING_OWN_THREAD);

	if (ret)
		return ret;
	ret = dp_os_ring_register(ring->fd, IORING_REGISTER_FILES, files, 2);
	if (!ret)
		ret = dp_os_ring_register(ring->fd, IORING_REGISTER_EVENTFD,
					  &event_fd, 1);
	if (ret) {
		dp_ring_close(ring);
		return ret;
	}
	/* A run that waits for a pin occupies a worker. If this call fails, fewer runs
	 * proceed at the same time, so its result is ignored. */
	dp_os_ring_register(ring->fd, IORING_REGISTER_IOWQ_MAX_WORKERS,
			    workers, 2);
	return 0;
}

/* Ticks have a ring of their own without a kernel thread, which they would keep
 * awake. */
static int punch_open_clock(struct dp_ring *clock, int event_fd)
{
	int ret = dp_ring_open(clock, DP_TICKS, DP_RING_PLAIN);

	if (ret)
		return ret;
	ret = dp_os_ring_register(clock->fd, IORING_REGISTER_EVENTFD,
				  &event_fd, 1);
	if (ret)
		dp_ring_close(clock);
	return ret;
}

int dp_punch_open(struct dp_punch *punch, int lock_fd, int anchor_fd,
		  int event_fd)
{
	int ret;

	assert(!punch->open);
	ret = punch_open_ring(&punch->ring, lock_fd, anchor_fd, event_fd);
	if (ret)
		return ret;
	ret = punch_open_clock(&punch->clock, event_fd);
	if (ret) {
		dp_ring_close(&punch->ring);
		return ret;
	}
	punch->open = true;
	return 0;
}

void dp_punch_close(struct dp_punch *punch)
{
	if (!punch->open)
		return;
	dp_ring_close(&punch->clock);
	dp_ring_close(&punch->ring);
	punch->open = false;
}

/* --------------------------------------------------------------- requests */

static uint64_t punch_user_data(uint64_t attempt, enum dp_completion_type type,
				uint32_t run)
{
	return (attempt << RUN_BITS | run) << TYPE_BITS | type;
}

static struct io_uring_sqe *punch_prepare(struct dp_punch *punch,
					  unsigned int opcode, uint64_t attempt,
					  enum dp_completion_type type)
{
	struct io_uring_sqe *sqe = dp_ring_prepare(&punch->ring);

	assert(sqe); /* punch_make_room() was called */
	sqe->opcode = opcode;
	sqe->fd = -1;
	sqe->user_data = punch_user_data(attempt, type, 0);
	return sqe;
}

/* Wait until all requests of one submit fit in the submission queue, so that no chain
 * of links is submitted in two pieces. This hardly ever waits, because the kernel
 * thread takes requests out of the queue at once. If that thread gets no CPU, or no
 * memory for a request, this waits as long as that lasts, without a limit of time. */
static void punch_make_room(struct dp_punch *punch, uint32_t requests)
{
	int ret = dp_ring_make_room(&punch->ring, requests);

	assert(!ret);			/* the kernel thread still exists */
}

/* If the thread cannot be woken now, a later call does it. */
static void punch_submit(struct dp_punch *punch)
{
	dp_ring_submit(&punch->ring);
}

static void punch_fill_timeout(struct io_uring_sqe *sqe,
			       const struct __kernel_timespec *at,
			       uint32_t flags)
{
	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->fd = -1;
	sqe->addr = (uintptr_t)at;
	sqe->len = 1;
	sqe->timeout_flags = flags | IORING_TIMEOUT_ETIME_SUCCESS;
}

static struct io_uring_sqe *
punch_prepare_timeout(struct dp_punch *punch, uint64_t attempt,
		      const struct __kernel_timespec *at, uint32_t flags)
{
	struct io_uring_sqe *sqe =
		punch_prepare(punch, IORING_OP_TIMEOUT, attempt, DP_COMPLETION_TIMER);

	punch_fill_timeout(sqe, at, flags);
	return sqe;
}

static struct io_uring_sqe *
punch_prepare_cancel(struct dp_punch *punch, const struct dp_request *request)
{
	struct io_uring_sqe *sqe = punch_prepare(punch, IORING_OP_ASYNC_CANCEL,
						 request->attempt,
						 DP_COMPLETION_OTHER);

	sqe->fd = request->fd;
	sqe->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
	return sqe;
}

static int punch_mode_of(enum dp_job_kind kind)
{
	return kind == DP_JOB_RECLAIM ?
	       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
}

static uint64_t punch_begin_of(struct dp_run run)
{
	return (uint64_t)run.chunk << DP_CHUNK_SHIFT;
}

static uint64_t punch_size_of(struct dp_run run)
{
	return (uint64_t)run.chunks << DP_CHUNK_SHIFT;
}

static void punch_prepare_runs(struct dp_punch *punch,
			       const struct dp_request *request)
{
	for (uint32_t i = 0; i < request->runs; i++) {
		struct io_uring_sqe *sqe =
			punch_prepare(punch, IORING_OP_FALLOCATE,
				      request->attempt, DP_COMPLETION_RUN);

		sqe->fd = request->fd;
		sqe->off = punch_begin_of(request->run[i]);
		sqe->addr = punch_size_of(request->run[i]);
		sqe->len = punch_mode_of(request->kind);
		sqe->user_data =
			punch_user_data(request->attempt, DP_COMPLETION_RUN, i);
	}
}

#define LATER		2		/* cancellations after the first */
#define DEADLINE_REQUESTS	(2 * (LATER + 1))

static bool punch_has_deadline(const struct dp_request *request)
{
	return request->cancel_ns <= INT64_MAX;
}

/* Timeout, cancel, timeout, cancel, ...: a cancel that finds nothing does not end the
 * chain, but dp_punch_forget() does, by cancelling a timeout. The kernel thread may
 * read the time after the submit has returned, but does so before it begins the first
 * run. So the time can be in the request, which exists until all runs have
 * completed. */
static void punch_prepare_deadline(struct dp_punch *punch,
				   struct dp_request *request)
{
	static const struct __kernel_timespec later[LATER] = {
		{ 0, 20 * MS }, { 0, 200 * MS }
	};
	struct io_uring_sqe *sqe;

	request->at = (struct __kernel_timespec) {
		request->cancel_ns / (1000 * MS),
		request->cancel_ns % (1000 * MS)
	};
	sqe = punch_prepare_timeout(punch, request->attempt, &request->at,
				    IORING_TIMEOUT_ABS);
	for (uint32_t i = 0; i < LATER; i++) {
		sqe->flags = IOSQE_IO_LINK;
		sqe = punch_prepare_cancel(punch, request);
		sqe->flags = IOSQE_IO_HARDLINK;
		sqe = punch_prepare_timeout(punch, request->attempt, &later[i], 0);
	}
	sqe->flags = IOSQE_IO_LINK;
	punch_prepare_cancel(punch, request);
}

void dp_punch_request(struct dp_punch *punch, struct dp_request *request)
{
	assert(punch->open && request->attempt && request->runs);
	assert(request->runs <= DP_PUNCH_RUNS);
	punch_make_room(punch, request->runs + DEADLINE_REQUESTS);
	if (punch_has_deadline(request))
		punch_prepare_deadline(punch, request);
	punch_prepare_runs(punch, request);
	punch_submit(punch);
}

/* Cancel whichever of the request's timeouts is running: the cancellation behind it
 * would hit a later request on the same file. */
void dp_punch_forget(struct dp_punch *punch, const struct dp_request *request)
{
	struct io_uring_sqe *sqe;

	if (!punch_has_deadline(request))
		return;
	punch_make_room(punch, 1);
	sqe = punch_prepare(punch, IORING_OP_ASYNC_CANCEL, request->attempt,
			    DP_COMPLETION_OTHER);
	sqe->addr = punch_user_data(request->attempt, DP_COMPLETION_TIMER, 0);
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL;
	punch_submit(punch);
}

void dp_punch_cancel(struct dp_punch *punch, const struct dp_request *request)
{
	punch_make_room(punch, 1);
	punch_prepare_cancel(punch, request);
	punch_submit(punch);
}

static void punch_prepare_settle(struct dp_punch *punch,
				 const struct dp_request *request, uint32_t run,
				 bool shmem)
{
	struct io_uring_sqe *sqe = punch_prepare(
		punch, shmem ? IORING_OP_MADVISE : IORING_OP_FSYNC,
		request->attempt, DP_COMPLETION_SETTLE);

	sqe->user_data =
		punch_user_data(request->attempt, DP_COMPLETION_SETTLE, run);
	if (!shmem) {
		sqe->fd = request->fd;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		return;
	}
	sqe->addr =
		(uintptr_t)request->base + punch_begin_of(request->run[run]);
	sqe->len = punch_size_of(request->run[run]);
	sqe->fadvise_advice = MADV_POPULATE_WRITE;
}

/*
 * On tmpfs this creates the pages of the chunks that were allocated: without them the
 * next open would find holes there (kernel.md K19). On other filesystems this makes the
 * allocation durable, because a publish makes data in these chunks durable at once, and
 * after a power failure that data must not be in a hole.
 */
uint32_t dp_punch_settle(struct dp_punch *punch,
			 const struct dp_request *request, const int *result,
			 bool shmem)
{
	uint32_t completions = 0;

	punch_make_room(punch, request->runs);
	for (uint32_t i = 0; i < request->runs; i++) {
		if (!result[i] && (shmem || !completions)) {
			punch_prepare_settle(punch, request, i, shmem);
			completions++;
		}
	}
	assert(completions);
	punch_submit(punch);
	return completions;
}

int dp_punch_here(const struct dp_request *request, uint32_t run)
{
	uint64_t begin = punch_begin_of(request->run[run]);
	uint64_t size = punch_size_of(request->run[run]);
	int ret;

	assert(run < request->runs);
	if (request->kind == DP_JOB_REFILL)
		return dp_blocks_allocate_here((struct dp_blocks_range) {
			.fd = request->fd, .offset = begin, .size = size,
		});
	/* A signal interrupts only the wait for pins, before the punch has changed
	 * anything (A7), so the call is repeated. */
	do
		ret = dp_os_fallocate(request->fd, punch_mode_of(request->kind),
				      begin, size);
	while (ret == -EINTR);
	return ret;
}

int dp_punch_settle_here(const struct dp_request *request, uint32_t run,
			 bool shmem)
{
	int ret;

	if (!shmem)
		return dp_os_fsync(request->fd);
	/* The pages that exist when a signal interrupts the call remain, so that the
	 * repeated call makes progress (W13). */
	do
		ret = dp_os_advise(request->base +
				   punch_begin_of(request->run[run]),
				   punch_size_of(request->run[run]),
				   MADV_POPULATE_WRITE);
	while (ret == -EINTR);
	return ret;
}

/* ---------------------------------------------------------------- completions */

void dp_punch_tick(struct dp_punch *punch, enum dp_tick tick)
{
	static const struct __kernel_timespec at[DP_TICKS] = {
		[DP_TICK_SHORT] = { 0, 10 * MS },
		[DP_TICK_LONG] = { 0, 100 * MS },
	};
	struct io_uring_sqe *sqe;

	if (punch->ticking[tick])
		return;
	punch->ticking[tick] = true;
	sqe = dp_ring_prepare(&punch->clock);
	assert(sqe);			/* one of each at a time */
	punch_fill_timeout(sqe, &at[tick], 0);
	sqe->user_data = tick;
	dp_ring_submit(&punch->clock);
}

/* Process the ticks that have ended. If the kernel had no memory to take a tick when it
 * was submitted, this submits it again. */
static void punch_look_at_clock(struct dp_punch *punch)
{
	struct io_uring_cqe cqe;

	if (!punch->ticking[DP_TICK_SHORT] && !punch->ticking[DP_TICK_LONG])
		return;
	while (!dp_ring_submit(&punch->clock) &&
	       dp_ring_next(&punch->clock, 0, &cqe) > 0)
		punch->ticking[cqe.user_data] = false;
}

bool dp_punch_take(struct dp_punch *punch, struct dp_completion *ret_completion)
{
	struct io_uring_cqe cqe;

	if (!punch->open || dp_ring_next(&punch->ring, 0, &cqe) <= 0)
		return false;
	*ret_completion = (struct dp_completion) {
		.attempt = cqe.user_data >> (TYPE_BITS + RUN_BITS),
		.type = cqe.user_data & ((1 << TYPE_BITS) - 1),
		.run = cqe.user_data >> TYPE_BITS & ((1 << RUN_BITS) - 1),
		.result = cqe.res,
	};
	return true;
}

bool dp_punch_next(struct dp_punch *punch, struct dp_completion *ret_completion)
{
	if (!punch->open)
		return false;
	punch_look_at_clock(punch);
	return !dp_ring_submit(&punch->ring) &&
	       dp_punch_take(punch, ret_completion);
}
