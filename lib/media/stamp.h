/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which open wrote to a segment last, and to which file: what the superblocks of a
 * pool's segments say of it, compared. A file of another time, or of another copy
 * of the pool, is named (W4, W5).
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
	struct dp_file_id recorded;	/* as the superblock says */
	struct dp_file_id found;	/* as its file has it now */
};

struct dp_stamp dp_stamp_of(const struct dp_super *super,
			    const struct dp_file_id *found);

enum dp_stamp_fit {
	DP_STAMP_FITS,
	DP_STAMP_OLDER,
	DP_STAMP_NEWER,
	DP_STAMP_OTHER,			/* another copy, of as many opens */
	DP_STAMP_LEFT_OPEN,		/* of the same open, but from before its close */
};

/* Is a later segment of the time that segment 0's superblock says? */
enum dp_stamp_fit dp_stamp_fit(const struct dp_super *first,
			       const struct dp_stamp *later);

/* All later segments together: which one is the odd one out? Begin with zeroes. */
struct dp_stamp_tally {
	uint32_t later;			/* how many were counted */
	uint32_t misfits;
	uint32_t misfit;		/* the first of them */
	bool differ;			/* among each other */
	struct dp_stamp of_last;
	struct dp_stamp of_misfit;
};

void dp_stamp_count(struct dp_stamp_tally *tally, const struct dp_super *first,
		    uint32_t index, const struct dp_stamp *later);
/* If all others agree it is segment 0 that does not belong. */
bool dp_stamp_first_is_odd(const struct dp_stamp_tally *tally,
			   const struct dp_super *first);
/*
 * -EUCLEAN with a sentence that names the segment; 0 when all fit. `end` of the
 * sentence, after a semicolon, or "".
 */
int dp_stamp_refuse(const struct dp_stamp_tally *tally,
		    const struct dp_super *first, const char *path,
		    const char *end, const struct dp_errmsg *errmsg);

/* Whose files they are. Begin with zeroes. */
struct dp_stamp_files {
	uint32_t as_recorded;
	uint32_t others;
	uint32_t original;		/* one of those */
	uint32_t copy;			/* and of these */
};

/* Is it the file that is recorded? Of a slice of a device: yes. */
bool dp_file_id_is(const struct dp_file_id *recorded,
		   const struct dp_file_id *found);

void dp_stamp_count_file(struct dp_stamp_files *files,
			 const struct dp_super *first, uint32_t index,
			 const struct dp_stamp *stamp);
static inline bool dp_stamp_is_copy(const struct dp_stamp_files *files)
{
	return files->others && !files->as_recorded;
}
/* -EUCLEAN: some are as recorded, and some are not. */
int dp_stamp_refuse_mixture(const struct dp_stamp_files *files,
			    const char *path, const char *end,
			    const struct dp_errmsg *errmsg);
/* -EUCLEAN: a copy of a pool that was open. */
int dp_stamp_refuse_copy(const char *path, const char *end,
			 const struct dp_errmsg *errmsg);

#endif
