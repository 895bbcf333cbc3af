/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory windows by the verbs. */
#ifndef DP_RDMA_WINDOW_H
#define DP_RDMA_WINDOW_H

#include "rdma/loopback.h"

int dp_window_make(struct ibv_pd *pd, enum ibv_mw_type type,
		   struct ibv_mw **ret_mw);
/* Post a bind of a type 2 window, for the peer of this queue pair. 0: it was posted. If
 * the bind fails later, the queue pair goes to the error state. mw->rkey is the key. */
int dp_window_bind_request(struct ibv_qp *qp, struct ibv_mw *mw,
			   const struct ibv_mw_bind_info *info, uint64_t wr_id);
/* Bind a type 1 window, for all queue pairs of the protection domain, and wait: 0, an
 * ibv_wc_status, or -errno. */
int dp_window_bind_call(struct dp_loopback *loopback, struct ibv_mw *mw,
			const struct ibv_mw_bind_info *info);
/* 0: the device reports that nothing arrives through it any more. */
int dp_window_free(struct ibv_mw *mw);

#endif
