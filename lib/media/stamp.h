/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compares the superblocks of a pool's segments. Each records the open that wrote to
 * the segment last, and the identity of the segment's file. If a file is from another
 * time, or from another copy of the pool, the open fails with a sentence that names it
 * (W4, W5).
 */
#ifndef DP_STAMP_H
#define DP_STAMP_H

#include "media/layout.h"

/* Of one segment. */
struct dp_stamp {
	uint64_t epoch;
	uint64_t open_id;
	bool closed;			/* that open ended with a clean close */
	bool seen;			/* the segment has a superblock */
	struct dp_file_id recorded;	/* in the superblock */
	struct dp_file_id found;	/* of the file now */
};

struct dp_stamp dp_stamp_of(const struct dp_super *super,
			    const struct dp_file_id *found);

enum dp_stamp_fit {
	DP_STAMP_FITS,
	DP_STAMP_OLDER,
	DP_STAMP_NEWER,
	DP_STAMP_OTHER,			/* of another copy, opened equally often */
	DP_STAMP_LEFT_OPEN,		/* of the same open, but from before its
					   close */
};

/* Compare a later segment with segment 0's superblock. */
enum dp_stamp_fit dp_stamp_fit(const struct dp_super *first,
			       const struct dp_stamp *later);

/* Counts over all later segments, to find the one that does not fit. Begins as
 * zeroes. */
struct dp_stamp_tally {
	uint32_t later;			/* how many were counted */
	uint32_t mismatches;
	uint32_t mismatch;		/* the first of them */
	bool differ;			/* later segments differ from each other */
	struct dp_stamp of_last;
	struct dp_stamp of_mismatch;
};

void dp_stamp_count(struct dp_stamp_tally *tally, const struct dp_super *first,
		    uint32_t index, const struct dp_stamp *later);
/* True if segment 0 is the one that does not fit, because all others agree. */
bool dp_stamp_first_differs(const struct dp_stamp_tally *tally,
			    const struct dp_super *first);
/*
 * 0 if all fit, otherwise -EUCLEAN with a sentence that names the segment. end: the end
 * of the sentence, after a semicolon, or "".
 */
int dp_stamp_refuse(const struct dp_stamp_tally *tally,
		    const struct dp_super *first, const char *path,
		    const char *end, const struct dp_errmsg *errmsg);

/* How many segments are in the files that they record. Begins as zeroes. */
struct dp_stamp_files {
	uint32_t as_recorded;
	uint32_t others;
	uint32_t original;		/* a segment of the former kind */
	uint32_t copy;			/* a segment of the latter kind */
};

/* Is it the recorded file? True for slices of a device. */
bool dp_file_id_is(const struct dp_file_id *recorded,
		   const struct dp_file_id *found);

void dp_stamp_count_file(struct dp_stamp_files *files,
			 const struct dp_super *first, uint32_t index,
			 const struct dp_stamp *stamp);
static inline bool dp_stamp_is_copy(const struct dp_stamp_files *files)
{
	return files->others && !files->as_recorded;
}
/* -EUCLEAN if some segments are in their recorded files and some are not. */
int dp_stamp_refuse_mixture(const struct dp_stamp_files *files,
			    const char *path, const char *end,
			    const struct dp_errmsg *errmsg);
/* -EUCLEAN, and the sentence for a copy of a pool that was open. */
int dp_stamp_refuse_copy(const char *path, const char *end,
			 const struct dp_errmsg *errmsg);

#endif
