/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request at a time, through a ring, because fallocate() itself cannot be ended at a
 * deadline. W12: a request that has not completed is cancelled and submitted again, at
 * growing intervals (util/again.h). On XFS and ext4 a cancel undoes nothing: it has an
 * effect only while the call waits, before it changes the file. On tmpfs it would undo
 * the allocation (kernel.md K20), so this file is not used there.
 */
#include <errno.h>
#include "os/os.h"
#include "pool/ask.h"
#include "util/again.h"

#define ENTRIES		2u		/* the request, and its cancellation */
#define CANCEL		1u		/* user_data; the request's is 0 */
#define STEP_NS		(10 * 1000000ull)

void dp_ask_open(struct dp_ask *ask)
{
	ask->open = !dp_ring_open(&ask->ring, ENTRIES, DP_RING_PLAIN);
}

void dp_ask_close(struct dp_ask *ask)
{
	if (ask->open)
		dp_ring_close(&ask->ring);
	ask->open = false;
}

static int ask_submit(struct dp_ask *ask, const struct dp_ask_call *call)
{
	struct io_uring_sqe *sqe = dp_ring_prepare(&ask->ring);

	assert(sqe);
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->fd = call->fd;
	sqe->off = call->offset;
	sqe->addr = call->size;
	sqe->len = call->mode;
	return dp_ring_submit(&ask->ring);
}

/* 1: the request has completed. */
static int ask_next(struct dp_ask *ask, int *ret_result)
{
	struct io_uring_cqe cqe;
	int ret = dp_ring_next(&ask->ring, STEP_NS, &cqe);

	if (ret > 0 && cqe.user_data == CANCEL)
		return 0;
	if (ret > 0)
		*ret_result = cqe.res;
	return ret;
}

/* Wait until the request has completed. *failed: what go_on() returned; after that the
 * request is cancelled and not submitted again. */
static int ask_await(struct dp_ask *ask, struct dp_again *again,
		     int (*go_on)(void *arg), void *arg, int *failed)
{
	int result = 0, ret;

	while (!(ret = ask_next(ask, &result))) {
		if (!*failed)
			*failed = go_on(arg);
		if (!*failed && dp_os_now_ns() < again->at_ns)
			continue;
		again->at_ns = dp_os_now_ns() + STEP_NS;
		ret = dp_ring_cancel_all(&ask->ring, CANCEL);
		if (ret)
			break;
	}
	return ret < 0 ? ret : result;
}

int dp_ask_fallocate(struct dp_ask *ask, struct dp_ask_call call,
		     int (*go_on)(void *arg), void *arg)
{
	struct dp_again again = dp_again_begin(dp_os_now_ns());
	int ret, failed = 0;

	if (!ask->open)
		return dp_os_fallocate(call.fd, call.mode, call.offset,
				       call.size);
	for (;;) {
		ret = ask_submit(ask, &call);
		if (!ret)
			ret = ask_await(ask, &again, go_on, arg, &failed);
		if (!dp_ring_was_interrupted(ret))
			return ret;
		if (failed)
			return failed;
		dp_again_next(&again, dp_os_now_ns(), ret == -ECANCELED);
	}
}
