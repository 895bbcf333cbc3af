/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory windows by the verbs: allocate, bind, deallocate.
 *
 * Only ibv_dealloc_mw() ends a binding here. An invalidate would not: it does not wait
 * for writes that are still arriving (rdma.md R3), its completion would go to the owner
 * of the queue pair, and on soft-RoCE the second invalidate of a window panics the
 * kernel (rdma.md R5).
 */
#include "rdma/window.h"

#include <assert.h>
#include <errno.h>
#include "grant/retry.h"

int dp_window_bind_request(struct ibv_qp *qp, struct ibv_mw *mw,
			   const struct ibv_mw_bind_info *info, uint64_t wr_id)
{
	struct ibv_send_wr wr = {
		.wr_id = wr_id,
		.opcode = IBV_WR_BIND_MW,
		.send_flags = IBV_SEND_SIGNALED,
		.bind_mw = {
			.mw = mw, .rkey = ibv_inc_rkey(mw->rkey),
			.bind_info = *info,
		},
	};
	struct ibv_send_wr *bad;
	int ret = ibv_post_send(qp, &wr, &bad);

	if (!ret)
		mw->rkey = wr.bind_mw.rkey;
	return -ret;
}

int dp_window_bind_call(struct dp_loopback *loopback, struct ibv_mw *mw,
			const struct ibv_mw_bind_info *info)
{
	struct ibv_mw_bind bind = {
		.send_flags = IBV_SEND_SIGNALED,
		.bind_info = *info,
	};
	int ret = ibv_bind_mw(dp_loopback_far(loopback), mw, &bind);

	return ret ? -ret : dp_loopback_far_wait(loopback);
}

int dp_window_make(struct ibv_pd *pd, enum ibv_mw_type type,
		   struct ibv_mw **ret_mw)
{
	struct dp_retry retry = { 0 };
	struct ibv_mw *mw;
	int ret;

	do {
		errno = 0;
		mw = ibv_alloc_mw(pd, type);
		ret = mw ? 0 : errno ? -errno : -ENOMEM;
	} while (dp_retry(&retry, ret));
	if (!ret)
		*ret_mw = mw;
	return ret;
}

int dp_window_free(struct ibv_mw *mw)
{
	return -ibv_dealloc_mw(mw);
}
