/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests what a device does with regions and windows. */
#ifndef DP_RDMA_PROBE_H
#define DP_RDMA_PROBE_H

#include <daxpin-rdma.h>
#include <stdbool.h>

/* What daxpin_rdma_probe() does. *ret_kept: the device did not release `memory`. */
int dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
		  struct daxpin_rdma_report *report, bool *ret_kept);
/* A report in which nothing was tried yet. */
void dp_rdma_report_init(struct daxpin_rdma_report *report);

#endif
