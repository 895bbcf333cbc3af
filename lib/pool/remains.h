/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left of a pool in a directory whose first segment has no superblock any
 * more: the superblocks of the others. To be told apart from a directory where no
 * pool ever was, and from a create that was cut short.
 */
#ifndef DP_REMAINS_H
#define DP_REMAINS_H

#include "media/badblocks.h"
#include "pool/source.h"

/*
 * Is there nothing in the first chunk, or no more than a create that was cut short
 * leaves?
 */
bool dp_remains_are_none(const struct dp_bad_view *view);
/* Has this open file a whole superblock of a later segment? */
bool dp_remains_in(int fd);
/*
 * The first segment from `index` on, which is none that is open here, with such a
 * superblock; 0: none, or none can be read. Of a device nothing is said. It takes
 * no lock: this is for messages and refusals.
 */
uint32_t dp_remains_find(const struct dp_source *source, uint32_t index);
/* The sentence: which cures lose nothing. Returns error. */
int dp_remains_fail(const struct dp_source *source, uint32_t index, int error,
		    const struct dp_errmsg *errmsg);

#endif
