/* SPDX-License-Identifier: BSD-3-Clause */
/* Making the device release the memory of one grant. */
#ifndef DP_RDMA_ESCALATE_H
#define DP_RDMA_ESCALATE_H

#include "rdma/types.h"

void dp_escalations_init(struct daxpin_rdma *rdma);
void dp_escalations_destroy(struct daxpin_rdma *rdma);
void dp_escalations_count(struct daxpin_rdma *rdma,
			  struct daxpin_rdma_info *info);

/* Set the peer's queue pair, or NULL. Called before dp_revoke_add(). */
void dp_escalation_set_peer(struct daxpin_grant *grant, struct ibv_qp *qp);
/* End the access, with all steps that are necessary. Blocks; one thread at a time for a
 * grant. 0: the peer has no access any more. -errno: the grant is quarantined. */
int dp_escalate(struct daxpin_grant *grant);
bool dp_escalation_is_quarantined(const struct daxpin_grant *grant);
/* Fill in escalation, refusals, device_error and qp_error. */
void dp_escalation_report(struct daxpin_grant *grant,
			  struct daxpin_grant_info *info);

#endif
