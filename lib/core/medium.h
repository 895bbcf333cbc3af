/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bad blocks under an extent: those known at the open, and those that a read has found
 * since.
 */
#ifndef DP_MEDIUM_H
#define DP_MEDIUM_H

#include "core/handle.h"

/*
 * True if a block of this range of an extent is known to be bad. A load, a store or the
 * write-back of a cache line there may be SIGBUS. Any thread.
 */
bool dp_is_bad(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	       uint64_t length);

/*
 * Copy a range, which must be inside the extent. Any thread.
 *
 * -EIO     unreadable; the bad blocks are in quarantine, so no other extent gets them
 * -ENOMEM  unreadable, and there was no memory for the quarantine
 * -ESTALE  the extent's generation has ended meanwhile
 */
int dp_read(struct daxpin_pool *pool, struct dp_handle handle, uint64_t offset,
	    void *to, uint64_t length);

/*
 * Call it if the page of the table that has the extent's descriptor word is unreadable
 * (-EIO). No block whose word is in that page can be kept, so those that are free or
 * belong to this extent are quarantined. Blocks of other extents are quarantined when
 * these are published.
 */
void dp_quarantine_page(struct daxpin_pool *pool, struct dp_handle handle);

#endif
