/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking grants back.
 *
 *  - A grant's hold is dropped only after ibv_dereg_mr() returned 0: the one
 *    DMA barrier there is (RDMA 0.2). A device that refuses leaves the hold
 *    where it is, and so the memory.
 */
#include "rdma.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "probe.h"

EXPORT int daxpin_rdma_revoke(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma;
	int err;

	if (!grant)
		return 0;
	rdma = grant->rdma;
	if (!rdma->pool)
		return -EOWNERDEAD;
	err = dp_rdma_deregister(grant->mr);
	DP_PROBE_REVOKE(rdma->pool, grant->key.extent.addr, grant->key.length,
			grant->hold.label, err);
	if (err) {
		if (!grant->quarantined)
			atomic_fetch_add(&rdma->quarantined, 1);
		grant->quarantined = true;
		return err;
	}
	/* From here on nothing that the peer sends can reach the extent. */
	err = daxpin_drop_labelled(rdma->pool, &grant->hold);
	assert(err == 0);
	if (grant->quarantined)
		atomic_fetch_sub(&rdma->quarantined, 1);
	atomic_fetch_sub(&rdma->grants, 1);
	free(grant);
	return 0;
}
