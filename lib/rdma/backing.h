/* SPDX-License-Identifier: BSD-3-Clause */
/* How a peer reaches an extent's memory: rdma_backing.c. For rdma.h. */
#ifndef RDMA_BACKING_H
#define RDMA_BACKING_H

#include <daxpin-rdma.h>
#include <stdatomic.h>
#include <stdbool.h>

struct dp_rdma_backing {
	enum daxpin_rdma_way way;
	struct daxpin_rdma_report report;
	_Atomic uint32_t bounced;	/* out now */
	_Atomic uint64_t bounced_bytes;
	_Atomic uint64_t bounce_errors;	/* since the attach, as the next two */
	_Atomic uint64_t prefetched;
	_Atomic uint64_t prefetch_refused;
};

/*
 * After the announcement, before any grant: find out what the device can do for
 * this pool. *ret_kept: it failed, and the device did not let go of the pool's
 * memory, so that the registration must stay.
 */
int dp_rdma_backing_choose(struct daxpin_rdma *rdma,
			   const struct daxpin_pool_info *info,
			   const struct daxpin_rdma_options *o, bool *ret_kept);
void dp_rdma_backing_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *info);

/*
 * Under the grant's hold, before its region: what the region is to be over, as
 * key.addr, which was the extent's own place, and the access flags to be added.
 */
int dp_rdma_backing_open(struct daxpin_grant *grant,
			 const struct daxpin_grant_options *o, int *ret_access);
/* The region is there. */
void dp_rdma_backing_ready(struct daxpin_grant *grant);
/* The region is gone, or never was; copy: bring home what the peer wrote. Under
 * the hold still. */
void dp_rdma_backing_close(struct daxpin_grant *grant, bool copy);

/* rdma_trust.c: is a finding good enough to build on? */
bool dp_rdma_trusts(const struct daxpin_rdma_finding *finding);

#endif
