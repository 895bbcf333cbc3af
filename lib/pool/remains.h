/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left where the first segment has no superblock any more. To be told apart
 * from a medium that is blank, and from what a create left that was cut short.
 */
#ifndef DP_REMAINS_H
#define DP_REMAINS_H

#include "media/badblocks.h"
#include "owner/lock.h"
#include "pool/segment.h"
#include "pool/source.h"

/* Each says more than those before it. */
enum dp_remains_kind {
	DP_REMAINS_NONE,
	DP_REMAINS_BYTES,	/* not zero: whose they are cannot be told */
	DP_REMAINS_LANES,	/* what only redo lanes look like */
	DP_REMAINS_TABLE,	/* what only a descriptor table looks like */
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
	/* Those that the caller has open, or NULL; others are opened, and not locked. */
	const struct dp_segments *segments;
	/* NULL: nobody is told while it lasts. */
	struct dp_wait_policy *policy;
};

/*
 * Is there nothing in the first chunk, or no more than a create that was cut short
 * leaves?
 */
bool dp_remains_are_none(const struct dp_badblocks_view *view);
/*
 * What says most of all that is left. Each byte of every file is looked at, and of a
 * device each of the largest segment; past that its superblocks and the first block of
 * each chunk. Blocks that are bad say nothing, except in the first chunk. A failure,
 * with a sentence: there is something that cannot be looked at, or as
 * dp_wait_work().
 */
int dp_remains_look(const struct dp_remains_place *place,
		    struct dp_remains *ret_remains,
		    const struct dp_errmsg *errmsg);
/* -EUCLEAN: there was a pool. -EMEDIUMTYPE: there is none. */
int dp_remains_errno(const struct dp_remains *remains);
/* The sentence: what was found, and what loses nothing; `also` ends it. Returns error. */
int dp_remains_fail(const struct dp_source *source,
		    const struct dp_remains *remains, int error,
		    const char *also, const struct dp_errmsg *errmsg);

#endif
