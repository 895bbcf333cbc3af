/* SPDX-License-Identifier: BSD-3-Clause */
/* The states of grants, from dp_revoke_add() on. */
#ifndef DP_RDMA_REVOKE_H
#define DP_RDMA_REVOKE_H

#include "rdma/types.h"

void dp_revokes_init(struct daxpin_rdma *rdma,
		     const struct daxpin_rdma_options *o);
/* Free the memory that waiting grants need. Called when no grant exists and none will
 * be added; a second call does nothing. */
void dp_revokes_close(struct daxpin_rdma *rdma);
void dp_revokes_destroy(struct daxpin_rdma *rdma);
/* -EBUSY: there are grants that have not ended. */
int dp_revokes_check_none(struct daxpin_rdma *rdma);
/* The list of grants that are over and whose memory is kept. */
struct daxpin_grant *dp_revokes_over(struct daxpin_rdma *rdma);
void dp_revokes_free(struct daxpin_grant *first);
void dp_revokes_count(struct daxpin_rdma *rdma,
		      struct daxpin_rdma_info *ret_info);
/* End the grants that are due. Returns the first error. */
int dp_revokes_service(struct daxpin_rdma *rdma);

/* Reserve memory for one more grant, so that dp_revoke_add() cannot fail. 0 or -ENOMEM.
 * The memory is released when the grant is over; if the grant is not added, call
 * dp_revokes_unreserve(). */
int dp_revokes_reserve(struct daxpin_rdma *rdma);
void dp_revokes_unreserve(struct daxpin_rdma *rdma);

/* Add a new grant, in state OUT. Its callbacks are those of o. */
void dp_revoke_add(struct daxpin_grant *grant,
		   const struct daxpin_grant_options *o);
/* Add a grant whose opening failed, and whose window the device did not release. The
 * program never gets it. It is revoked repeatedly until the device releases it. */
void dp_revoke_add_lost(struct daxpin_grant *grant);
/* Any thread. */
bool dp_revoke_is_over(const struct daxpin_grant *grant);

#endif
