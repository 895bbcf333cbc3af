/* SPDX-License-Identifier: BSD-3-Clause */
/* Tries what the memory windows of a device enforce. */
#ifndef DP_RDMA_WINDOW_PROBE_H
#define DP_RDMA_WINDOW_PROBE_H

#include <daxpin-rdma.h>
#include "rdma/loopback.h"

/*
 * Try windows of one type on memory that the probe allocates. 0 and a finding; or
 * -errno if memory cannot be mapped, or if the device does not release the window or
 * the region.
 */
int dp_window_probe(struct dp_loopback *loopback, enum ibv_mw_type type,
		    struct daxpin_rdma_finding *ret_finding);

#endif
