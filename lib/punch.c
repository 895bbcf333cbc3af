/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The deadline is a timeout linked to a cancellation, submitted together with
 * the requests: it is kept while nobody of us runs. (A LINK_TIMEOUT never fires
 * here, KERNEL 0.4.) A cancellation finds only a request that has begun, so one
 * that comes between two runs of a chain finds none: there are three of them.
 *
 * The owner lock is in the ring's file table from before the first request: it
 * lives as long as they do, also when this process is killed (KERNEL 0.9).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include "os.h"
#include "punch.h"

#define ENTRIES		(DP_PUNCH_ANSWERS / 2)	/* as the kernel has it */
#define WORKERS		32u
#define MS		1000000ull
#define TICK_NS		(10 * MS)

/* user_data: the attempt, and what of it. */
#define TO_BITS		2

int dp_punch_open(struct dp_punch *punch, int lock_fd, int event_fd)
{
	uint32_t workers[2] = { WORKERS, 0 };
	int ret;

	assert(!punch->open);
	ret = dp_ring_open(&punch->ring, ENTRIES);
	if (ret)
		return ret;
	ret = dp_os_ring_register(punch->ring.fd, IORING_REGISTER_FILES,
				  &lock_fd, 1);
	if (!ret)
		ret = dp_os_ring_register(punch->ring.fd,
					  IORING_REGISTER_EVENTFD, &event_fd,
					  1);
	if (ret) {
		dp_ring_close(&punch->ring);
		return ret;
	}
	/* One that waits for a pin keeps a worker. Refused: fewer at once. */
	dp_os_ring_register(punch->ring.fd, IORING_REGISTER_IOWQ_MAX_WORKERS,
			    workers, 2);
	punch->open = true;
	return 0;
}

void dp_punch_close(struct dp_punch *punch)
{
	if (punch->open)
		dp_ring_close(&punch->ring);
	punch->open = false;
}

/* --------------------------------------------------------------- requests */

static uint64_t user_data(uint64_t attempt, enum dp_answer_to to)
{
	return attempt << TO_BITS | to;
}

static struct io_uring_sqe *prepare(struct dp_punch *punch, unsigned int opcode,
				    uint64_t attempt, enum dp_answer_to to)
{
	struct io_uring_sqe *sqe = dp_ring_prepare(&punch->ring);

	assert(sqe);			/* all were taken at the last submit */
	sqe->opcode = opcode;
	sqe->fd = -1;
	sqe->user_data = user_data(attempt, to);
	return sqe;
}

/* What the kernel does not take now it is given when somebody looks. */
static void submit(struct dp_punch *punch)
{
	dp_ring_submit(&punch->ring);
}

/* The kernel copies the time while it is submitted. */
static struct io_uring_sqe *prepare_timeout(struct dp_punch *punch,
					    uint64_t attempt,
					    enum dp_answer_to to,
					    const struct __kernel_timespec *at,
					    uint32_t flags)
{
	struct io_uring_sqe *sqe = prepare(punch, IORING_OP_TIMEOUT, attempt,
					   to);

	sqe->addr = (uintptr_t)at;
	sqe->len = 1;
	sqe->timeout_flags = flags | IORING_TIMEOUT_ETIME_SUCCESS;
	return sqe;
}

static struct io_uring_sqe *prepare_cancel(struct dp_punch *punch,
					   uint64_t attempt)
{
	struct io_uring_sqe *sqe = prepare(punch, IORING_OP_ASYNC_CANCEL,
					   attempt, DP_ANSWER_ELSE);

	sqe->addr = user_data(attempt, DP_ANSWER_RUN);
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ALL;
	return sqe;
}

static int mode_of(enum dp_way way)
{
	return way == DP_WAY_RECLAIM ?
	       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : 0;
}

static uint64_t begin_of(struct dp_run run)
{
	return (uint64_t)run.chunk << DP_CHUNK_SHIFT;
}

static uint64_t size_of(struct dp_run run)
{
	return (uint64_t)run.chunks << DP_CHUNK_SHIFT;
}

static void prepare_runs(struct dp_punch *punch,
			 const struct dp_request *request)
{
	for (uint32_t i = 0; i < request->runs; i++) {
		struct io_uring_sqe *sqe = prepare(punch, IORING_OP_FALLOCATE,
						   request->attempt,
						   DP_ANSWER_RUN);

		sqe->fd = request->fd;
		sqe->off = begin_of(request->run[i]);
		sqe->addr = size_of(request->run[i]);
		sqe->len = mode_of(request->way);
		if (i + 1 < request->runs)
			sqe->flags = IOSQE_IO_LINK;
	}
}

static bool has_deadline(const struct dp_request *request)
{
	return request->cancel_ns <= INT64_MAX;
}

/* Timeout, cancel, timeout, cancel, ...: a cancel that finds nothing does not
 * end the chain, the removal of its first timeout does. The kernel may take it
 * only later, so the time is the request's, not this function's. */
static void prepare_deadline(struct dp_punch *punch,
			     struct dp_request *request)
{
	static const struct __kernel_timespec later[] = {
		{ 0, 20 * MS }, { 0, 200 * MS }
	};
	struct io_uring_sqe *sqe;

	request->at = (struct __kernel_timespec) {
		request->cancel_ns / (1000 * MS),
		request->cancel_ns % (1000 * MS)
	};
	sqe = prepare_timeout(punch, request->attempt, DP_ANSWER_TIMER,
			      &request->at, IORING_TIMEOUT_ABS);
	for (uint32_t i = 0; i < 2; i++) {
		sqe->flags = IOSQE_IO_LINK;
		sqe = prepare_cancel(punch, request->attempt);
		sqe->flags = IOSQE_IO_HARDLINK;
		sqe = prepare_timeout(punch, request->attempt, DP_ANSWER_ELSE,
				      &later[i], 0);
	}
	sqe->flags = IOSQE_IO_LINK;
	prepare_cancel(punch, request->attempt);
}

void dp_punch_ask(struct dp_punch *punch, struct dp_request *request)
{
	assert(punch->open && request->attempt && request->runs);
	prepare_runs(punch, request);
	if (has_deadline(request))
		prepare_deadline(punch, request);
	submit(punch);
}

void dp_punch_forget(struct dp_punch *punch, const struct dp_request *request)
{
	struct io_uring_sqe *sqe;

	if (!has_deadline(request))
		return;
	sqe = prepare(punch, IORING_OP_TIMEOUT_REMOVE, request->attempt,
		      DP_ANSWER_ELSE);
	sqe->addr = user_data(request->attempt, DP_ANSWER_TIMER);
	submit(punch);
}

void dp_punch_cancel(struct dp_punch *punch, uint64_t attempt)
{
	prepare_cancel(punch, attempt);
	submit(punch);
}

/*
 * On tmpfs a hole that was allocated is data only when its pages are there
 * (KERNEL 0.17). Elsewhere its extents become durable: what is published in
 * them is so at once, and must not lie in a hole after a power cut.
 */
uint32_t dp_punch_settle(struct dp_punch *punch,
			 const struct dp_request *request, uint32_t runs,
			 bool shmem)
{
	uint32_t answers = shmem ? runs : 1;

	assert(runs && runs <= request->runs);
	for (uint32_t i = 0; i < answers; i++) {
		struct io_uring_sqe *sqe = prepare(punch, shmem ?
						   IORING_OP_MADVISE :
						   IORING_OP_FSYNC,
						   request->attempt,
						   DP_ANSWER_SETTLE);

		if (!shmem) {
			sqe->fd = request->fd;
			sqe->fsync_flags = IORING_FSYNC_DATASYNC;
			continue;
		}
		sqe->addr = (uintptr_t)request->base + begin_of(request->run[i]);
		sqe->len = size_of(request->run[i]);
		sqe->fadvise_advice = MADV_POPULATE_WRITE;
	}
	submit(punch);
	return answers;
}

int dp_punch_here(const struct dp_request *request, uint32_t run)
{
	assert(run < request->runs);
	return dp_os_fallocate(request->fd, mode_of(request->way),
			       begin_of(request->run[run]),
			       size_of(request->run[run]));
}

int dp_punch_settle_here(const struct dp_request *request, uint32_t run,
			 bool shmem)
{
	if (!shmem)
		return dp_os_fsync(request->fd);
	return dp_os_advise(request->base + begin_of(request->run[run]),
			    size_of(request->run[run]), MADV_POPULATE_WRITE);
}

/* ---------------------------------------------------------------- answers */

/* Attempt 0 is nobody's. */
void dp_punch_tick(struct dp_punch *punch)
{
	static const struct __kernel_timespec at = { 0, TICK_NS };

	if (punch->ticking)
		return;
	punch->ticking = true;
	prepare_timeout(punch, 0, DP_ANSWER_ELSE, &at, 0);
	submit(punch);
}

bool dp_punch_next(struct dp_punch *punch, struct dp_answer *ret_answer)
{
	struct io_uring_cqe cqe;

	if (!punch->open || dp_ring_submit(&punch->ring) ||
	    dp_ring_next(&punch->ring, 0, &cqe) <= 0)
		return false;
	*ret_answer = (struct dp_answer) {
		.attempt = cqe.user_data >> TO_BITS,
		.to = cqe.user_data & ((1 << TO_BITS) - 1),
		.result = cqe.res,
	};
	if (!ret_answer->attempt)
		punch->ticking = false;
	return true;
}
