/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bad blocks under an extent: those known at the open, and those that a read has found
 * since.
 */
#ifndef DP_MEDIUM_H
#define DP_MEDIUM_H

#include "core/handle.h"

/*
 * True if a block of this range of an extent is known to be bad: a load, a store or the
 * write-back of a cache line may be SIGBUS. If a degraded open quarantined damaged
 * blocks, this knows only the blocks of the kernel's list, and not those that a read
 * has found bad since. Any thread.
 */
bool dp_is_bad(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	       uint64_t length);

/*
 * Copy a range, which must be inside the extent. Any thread.
 *
 * -EIO     a block is in quarantine or unreadable; those that are unreadable are in
 *          quarantine now, so no other extent gets them
 * -ENOMEM  unreadable, and there was no memory for the quarantine
 * -ESTALE  the extent's generation has ended meanwhile
 */
int dp_read(struct daxpin_pool *pool, struct dp_handle handle, uint64_t offset,
	    void *to, uint64_t length);

/* Make one word durable. A power cut leaves all of it or none, so it needs no lane. */
static inline int dp_write_word(struct daxpin_pool *pool, struct dp_lane_entry change)
{
	struct dp_persist *persist = &pool->media.persist;
	char *to = pool->media.geometry.base + change.addr;
	int ret;

	assert(change.addr % sizeof(change.value) == 0);
	dp_persist_store(persist, to, change.value);
	ret = dp_persist_flush(persist, to, sizeof(change.value));
	dp_persist_fence(persist);
	return ret;
}

/*
 * Call it if the page of the table that has the extent's descriptor word is unreadable
 * (-EIO). No extent whose first word is in that page can be kept, so this quarantines
 * the page's blocks that are in free runs or belong to this extent. Blocks in the
 * caches of threads, or of other extents, are quarantined when a KEEP of their extent
 * calls this.
 */
void dp_quarantine_page(struct daxpin_pool *pool, struct dp_handle handle);

#endif
