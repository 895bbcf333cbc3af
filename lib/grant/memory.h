/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of a grant: a range of an extent, and what a peer may read of it. */
#ifndef DP_GRANT_MEMORY_H
#define DP_GRANT_MEMORY_H

#include <daxpin.h>
#include "util/util.h"

/* The error message if the grant's own hold is gone. */
#define DP_HOLD_LOST	"the hold of this grant was dropped by a daxpin_drop() that had no hold of its own: drop each hold once"

struct dp_grant_memory {
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	uint64_t offset, length;	/* in the extent */
};

/* Check that the range is inside the extent, and replace length 0 by what follows the
 * offset. 0 or -errno with a sentence, as from the next two. */
int dp_grant_fill_range(struct dp_grant_memory *memory,
			const struct dp_errmsg *errmsg);
/* Zero the range of a reserved extent that nobody else holds. */
int dp_grant_zero(const struct dp_grant_memory *memory,
		  const struct dp_errmsg *errmsg);
/*
 * Called under the grant's hold, if the peer can read. -EPERM if it could read bytes of
 * the previous owner and the caller did not allow it.
 */
int dp_grant_check_old_bytes(const struct dp_grant_memory *memory, bool allowed,
			     const struct dp_errmsg *errmsg);
/* The number of a new grant. */
uint64_t dp_grant_next_id(void);

#endif
