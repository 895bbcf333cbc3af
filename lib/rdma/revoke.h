/* SPDX-License-Identifier: BSD-3-Clause */
/* The states of grants, from the moment they are out. */
#ifndef DP_RDMA_REVOKE_H
#define DP_RDMA_REVOKE_H

#include "rdma/types.h"

void dp_revokes_init(struct daxpin_rdma *rdma,
		     const struct daxpin_rdma_options *o);
/* Free the memory that waiting grants need. Called when no grant is out and none will
 * be; a second call does nothing. */
void dp_revokes_close(struct daxpin_rdma *rdma);
void dp_revokes_destroy(struct daxpin_rdma *rdma);
/* -EBUSY: grants are out. */
int dp_revokes_check_none(struct daxpin_rdma *rdma);
/* The grants that are over, whose handles are remembered, as a list. */
struct daxpin_grant *dp_revokes_over(struct daxpin_rdma *rdma);
void dp_revokes_free(struct daxpin_grant *first);
void dp_revokes_count(struct daxpin_rdma *rdma,
		      struct daxpin_rdma_info *ret_info);
/* End the grants that are due. Returns the first error. */
int dp_revokes_service(struct daxpin_rdma *rdma);

/* Reserve memory for one more grant, so that nothing fails once it is out. 0 or
 * -ENOMEM. A grant that is added has it until it is over; otherwise call
 * dp_revokes_unreserve(). */
int dp_revokes_reserve(struct daxpin_rdma *rdma);
void dp_revokes_unreserve(struct daxpin_rdma *rdma);

/* The grant is out from now on. Its callbacks are taken from o. */
void dp_revoke_add(struct daxpin_grant *grant,
		   const struct daxpin_grant_options *o);
/* A grant that the caller never gets, because opening it failed and the device
 * did not release its window. It is revoked until the device does. */
void dp_revoke_add_lost(struct daxpin_grant *grant);
/* Any thread. */
bool dp_revoke_is_over(const struct daxpin_grant *grant);

#endif
