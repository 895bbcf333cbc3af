/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device's memory windows are worth, found out on a loop. */
#ifndef RDMA_WINDOW_H
#define RDMA_WINDOW_H

#include <daxpin-rdma.h>
#include "rdma_loop.h"

/*
 * Try windows of one type on memory of its own. 0 and what was found, or the
 * device's -errno where it keeps something for good.
 */
int dp_window_try(struct loop *loop, enum ibv_mw_type type,
		  struct daxpin_rdma_finding *ret_finding);

#endif
