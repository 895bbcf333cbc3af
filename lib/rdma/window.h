/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory windows, and what a device's are worth. For the adapter's other files. */
#ifndef RDMA_WINDOW_H
#define RDMA_WINDOW_H

#include <daxpin-rdma.h>
#include "rdma/loopback.h"

/*
 * Try windows of one type on memory of its own. 0 and what was found, or the
 * device's -errno where it keeps something for good.
 */
int dp_window_try(struct loop *loop, enum ibv_mw_type type,
		  struct daxpin_rdma_finding *ret_finding);

int dp_window_make(struct ibv_pd *pd, enum ibv_mw_type type,
		   struct ibv_mw **ret_mw);
/* Type 2, for peers of this queue pair: 0 is that it was posted. A bind that fails
 * later puts the queue pair to error. mw->rkey is the key. */
int dp_window_bind_request(struct ibv_qp *qp, struct ibv_mw *mw,
			   const struct ibv_mw_bind_info *info, uint64_t wr_id);
/* Type 1, for all of the protection domain: 0, an ibv_wc_status, or -errno. */
int dp_window_bind_call(struct loop *loop, struct ibv_mw *mw,
			const struct ibv_mw_bind_info *info);
/* 0 is the device's word that nothing comes through it any more. */
int dp_window_free(struct ibv_mw *mw);

#endif
