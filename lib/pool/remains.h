/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left of a pool whose first segment has no superblock any more. It must be
 * distinguished from a blank medium, and from the remains of an interrupted create.
 */
#ifndef DP_REMAINS_H
#define DP_REMAINS_H

#include "media/badblocks.h"
#include "owner/lock.h"
#include "pool/segment.h"
#include "pool/source.h"

/* Each is stronger evidence of a pool than those before it. */
enum dp_remains_kind {
	DP_REMAINS_NONE,
	DP_REMAINS_BYTES,	/* bytes that are not zero, of unknown origin */
	DP_REMAINS_LANES,	/* a pattern that only redo lanes have */
	DP_REMAINS_TABLE,	/* a pattern that only a descriptor table has */
	DP_REMAINS_SUPER,	/* a whole superblock of a later segment */
};

struct dp_remains {
	enum dp_remains_kind kind;
	uint32_t segment;	/* of a directory */
	uint64_t offset;	/* in the file of that segment, or of the device */
};

/* Where to look, under segment 0's lock. */
struct dp_remains_place {
	const struct dp_source *source;
	const struct dp_badblocks *badblocks;	/* of a device */
	int first;			/* descriptor of segment 0, or of the device */
	/* The segments that the caller has open, or NULL. Others are opened without
	 * a lock. */
	const struct dp_segments *segments;
	/* NULL: without progress reports and without a deadline. */
	struct dp_wait_policy *policy;
};

/*
 * True if the first chunk is blank, or has only what an interrupted create leaves.
 */
bool dp_remains_are_none(const struct dp_badblocks_view *view);
/*
 * Find the strongest evidence. It reads:
 *
 *  - of each file the first chunk, and then what is allocated, up to the size of the
 *    largest segment;
 *  - of a device all bytes up to the size of the largest segment; then the first block
 *    of each chunk, and each block that could be the superblock of a segment.
 *
 * Behind the space that metadata can take, the first evidence ends the search of a
 * file. On a device it ends all reads except those for superblocks. Bad blocks are
 * ignored, except in the first chunk. It fails as dp_wait_work() or, with a sentence,
 * if a part cannot be examined.
 */
int dp_remains_find(const struct dp_remains_place *place,
		    struct dp_remains *ret_remains,
		    const struct dp_errmsg *errmsg);
/* -EUCLEAN: there was a pool. -EMEDIUMTYPE: there was none, or that is unknown. */
int dp_remains_errno(const struct dp_remains *remains);
/* Write the sentence: what was found, and the cure that loses nothing; `also` is its
 * end. Returns error. */
int dp_remains_fail(const struct dp_source *source,
		    const struct dp_remains *remains, int error,
		    const char *also, const struct dp_errmsg *errmsg);

#endif
