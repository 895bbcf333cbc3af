/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory windows by the verbs. */
#ifndef DP_RDMA_WINDOW_H
#define DP_RDMA_WINDOW_H

#include "rdma/loopback.h"

int dp_window_make(struct ibv_pd *pd, enum ibv_mw_type type,
		   struct ibv_mw **ret_mw);
/* Type 2, for peers of this queue pair: 0 if it was posted. A bind that fails
 * later puts the queue pair to error. mw->rkey is the key. */
int dp_window_bind_request(struct ibv_qp *qp, struct ibv_mw *mw,
			   const struct ibv_mw_bind_info *info, uint64_t wr_id);
/* Type 1, for all of the protection domain: 0, an ibv_wc_status, or -errno. */
int dp_window_bind_call(struct dp_loopback *loopback, struct ibv_mw *mw,
			const struct ibv_mw_bind_info *info);
/* 0: the device reports that nothing arrives through it any more. */
int dp_window_free(struct ibv_mw *mw);

#endif
