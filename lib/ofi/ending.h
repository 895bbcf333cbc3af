/* SPDX-License-Identifier: BSD-3-Clause */
/* The states of grants, and how the access of a peer ends. */
#ifndef DP_OFI_ENDING_H
#define DP_OFI_ENDING_H

#include "ofi/types.h"

void dp_ofi_endings_init(struct daxpin_ofi *ofi);
void dp_ofi_endings_destroy(struct daxpin_ofi *ofi);
/* The list of grants that are over and whose memory is kept. */
struct daxpin_ofi_grant *dp_ofi_endings_over(struct daxpin_ofi *ofi);
void dp_ofi_endings_free(struct daxpin_ofi_grant *first);
/* All but next_deadline_ns. */
void dp_ofi_endings_count(struct daxpin_ofi *ofi, struct daxpin_ofi_info *ret_info);
void dp_ofi_count_peers(struct daxpin_ofi *ofi, int change);
void dp_ofi_count_reply(struct daxpin_ofi *ofi, bool expired);

void dp_ofi_peer_unref(struct daxpin_ofi_peer *peer);
void dp_ofi_grant_ref(struct daxpin_ofi_grant *grant);
void dp_ofi_grant_unref(struct daxpin_ofi_grant *grant);

/* The next four are called with the peer's mutex. */

/* Add a new grant, whose region is open. */
void dp_ofi_add(struct daxpin_ofi_grant *grant);
/* Add a new grant whose region could neither be opened nor closed, so that the end of
 * the peer's endpoint tries again. */
void dp_ofi_add_quarantined(struct daxpin_ofi_grant *grant, int error);
void dp_ofi_set_state(struct daxpin_ofi_grant *grant, uint32_t state);
/*
 * End the grant and, if that needs the end of the endpoint, all others of the peer;
 * NULL: the endpoint and all grants. Grants that are over are added to *ended. 0, or
 * -errno: the grants are quarantined.
 */
int dp_ofi_end(struct daxpin_ofi_peer *peer, struct daxpin_ofi_grant *grant,
	       struct daxpin_ofi_grant **ended);
/* Called without locks, with what dp_ofi_end() has added: call done() of each, and
 * remember the grants. 0 or the first error of a hold. */
int dp_ofi_report_ended(struct daxpin_ofi_grant *ended);

#endif
