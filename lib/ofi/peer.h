/* SPDX-License-Identifier: BSD-3-Clause */
/* The peers of an attachment. */
#ifndef DP_OFI_PEER_H
#define DP_OFI_PEER_H

#include "ofi/types.h"

/* Make progress, and end what is due. Returns the first error. */
int dp_ofi_peers_service(struct daxpin_ofi *ofi);
/* When a grant is due; 0: none waits. */
uint64_t dp_ofi_peers_due(struct daxpin_ofi *ofi);
/*
 * The grant that key names: with its peer's mutex locked, which the caller unlocks.
 * NULL: there is none.
 */
struct daxpin_ofi_grant *dp_ofi_peers_find(struct daxpin_ofi *ofi,
					   const struct daxpin_ofi_key *key);
/* Close the endpoints that daxpin_ofi_peer_open() could neither open nor close. 0: no
 * peer is left. -EBUSY: the program has peers. */
int dp_ofi_peers_close_left(struct daxpin_ofi *ofi);

#endif
