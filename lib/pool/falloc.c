/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request at a time, through a ring, because fallocate() itself cannot be ended at
 * a deadline. W12: a request that has not completed is cancelled and submitted again,
 * at growing intervals (util/backoff.h). On XFS and ext4 a cancel undoes nothing: it
 * has an effect only while the call waits, before it changes the file. On tmpfs it
 * would undo the allocation (kernel.md K20), so this file is not used there.
 */
#include <errno.h>
#include "os/os.h"
#include "pool/falloc.h"
#include "util/backoff.h"

#define ENTRIES		2u		/* the request, and its cancellation */
#define CANCEL		1u		/* user_data; the request's is 0 */
#define STEP_NS		(10 * 1000000ull)

void dp_falloc_open(struct dp_falloc *falloc)
{
	falloc->open = !dp_ring_open(&falloc->ring, ENTRIES, DP_RING_PLAIN);
}

void dp_falloc_close(struct dp_falloc *falloc)
{
	if (falloc->open)
		dp_ring_close(&falloc->ring);
	falloc->open = false;
}

static int falloc_submit(struct dp_falloc *falloc, const struct dp_falloc_args *call)
{
	struct io_uring_sqe *sqe = dp_ring_prepare(&falloc->ring);

	assert(sqe);
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->fd = call->fd;
	sqe->off = call->offset;
	sqe->addr = call->size;
	sqe->len = call->mode;
	return dp_ring_submit(&falloc->ring);
}

/* 1: the request has completed. */
static int falloc_next(struct dp_falloc *falloc, int *ret_result)
{
	struct io_uring_cqe cqe;
	int ret = dp_ring_next(&falloc->ring, STEP_NS, &cqe);

	if (ret > 0 && cqe.user_data == CANCEL)
		return 0;
	if (ret > 0)
		*ret_result = cqe.res;
	return ret;
}

/* Wait until the request has completed. *failed: what go_on() returned; after that the
 * request is cancelled and not submitted again. */
static int falloc_await(struct dp_falloc *falloc, struct dp_backoff *backoff,
			int (*go_on)(void *arg), void *arg, int *failed)
{
	int result = 0, ret;

	while (!(ret = falloc_next(falloc, &result))) {
		if (!*failed)
			*failed = go_on(arg);
		if (!*failed && dp_os_now_ns() < backoff->at_ns)
			continue;
		backoff->at_ns = dp_os_now_ns() + STEP_NS;
		ret = dp_ring_cancel_all(&falloc->ring, CANCEL);
		if (ret)
			break;
	}
	return ret < 0 ? ret : result;
}

int dp_falloc_run(struct dp_falloc *falloc, struct dp_falloc_args call,
		  int (*go_on)(void *arg), void *arg)
{
	struct dp_backoff backoff = dp_backoff_begin(dp_os_now_ns());
	int ret, failed = 0;

	if (!falloc->open)
		return dp_os_fallocate(call.fd, call.mode, call.offset,
				       call.size);
	for (;;) {
		ret = falloc_submit(falloc, &call);
		if (!ret)
			ret = falloc_await(falloc, &backoff, go_on, arg, &failed);
		if (!dp_ring_was_interrupted(ret))
			return ret;
		if (failed)
			return failed;
		dp_backoff_next(&backoff, dp_os_now_ns(), ret == -ECANCELED);
	}
}
