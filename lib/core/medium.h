/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bad blocks under an extent: those that were known at the open, and those that a read
 * found since.
 */
#ifndef DP_MEDIUM_H
#define DP_MEDIUM_H

#include "core/handle.h"

/*
 * Is one of the blocks of this range of an extent known to be bad? A load or a store
 * there, also the write-back of a cache line, may be SIGBUS. Any thread.
 */
bool dp_is_bad(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	       uint64_t length);

/*
 * Copy a range of an extent, which is inside it. After -EIO the blocks that cannot be
 * read are in quarantine: no other extent gets them. -ENOMEM: the range cannot be read,
 * and there was no memory to note it. -ESTALE: the extent ended meanwhile. Any thread.
 */
int dp_read(struct daxpin_pool *pool, struct dp_handle handle, uint64_t offset,
	    void *to, uint64_t length);

/*
 * After -EIO: the page of the table that has the extent's descriptor word cannot be
 * read. Blocks whose words are there cannot be kept: those that are free or this
 * extent's are quarantined. Others are met by a later publish.
 */
void dp_quarantine_page(struct daxpin_pool *pool, struct dp_handle handle);

#endif
