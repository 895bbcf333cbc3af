/* SPDX-License-Identifier: BSD-3-Clause */
/* Tries what the memory windows of a device enforce. */
#ifndef DP_RDMA_WINDOW_PROBE_H
#define DP_RDMA_WINDOW_PROBE_H

#include <daxpin-rdma.h>
#include "rdma/loopback.h"

/*
 * Try windows of one type on memory of the probe's own. 0 and what was found, or
 * the device's -errno if it does not release something.
 */
int dp_window_probe(struct dp_loopback *loopback, enum ibv_mw_type type,
		    struct daxpin_rdma_finding *ret_finding);

#endif
