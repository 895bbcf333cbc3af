/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The superblocks of all segments: which open wrote them, whether it is the same one,
 * and how the next open and a close write them.
 */
#ifndef DP_EPOCH_H
#define DP_EPOCH_H

#include "pool/segment.h"

struct dp_epoch;			/* epoch.c has the fields */

/* private to epoch.c */
struct dp_epochs {
	struct dp_segments *segments;
	struct dp_epoch *all;
	uint32_t count;
	uint32_t room;			/* of `all` */
	uint64_t highest;
	bool copied;
};

struct dp_epochs_rules {
	bool degraded_readonly;		/* only read, and accept a superblock's copy */
	bool degraded;			/* skip segments from another time */
	bool adopt;			/* accept a copy of a pool that was not
					   closed */
};

/*
 * Test the superblock of each segment: it must have the right index, pool, size and
 * open. Either all segments must be in the files that they record, or none; then the
 * pool is a copy. -EUCLEAN with a sentence. If degraded_readonly is set, the files are
 * not compared, and a superblock that is lost or unreadable is accepted if its copy is
 * whole; other read-only opens refuse it.
 */
int dp_epochs_check(struct dp_epochs *epochs, struct dp_segments *segments,
		    const struct dp_super *first,
		    const struct dp_epochs_rules *rules,
		    const struct dp_errmsg *errmsg);
void dp_epochs_fini(struct dp_epochs *epochs);

/* Store random bytes, which tell this open and its pool from all others. -ENOSYS with a
 * sentence: the kernel gives none. */
int dp_epochs_draw(const struct dp_source *source, void *to, size_t size,
		   const struct dp_errmsg *errmsg);

/* An epoch above that of every segment (D15). */
uint64_t dp_epochs_next(const struct dp_epochs *epochs);
/* The identity of segment 0's file as it is now, for the superblock. */
struct dp_file_id dp_epochs_first_file(const struct dp_epochs *epochs);
/* True if no file is the recorded one: this is the first open of a copy. */
bool dp_epochs_are_copied(const struct dp_epochs *epochs);
/* True for a segment from another time, which is neither read nor written. */
bool dp_epochs_is_foreign(const struct dp_epochs *epochs, uint32_t index);

/*
 * While the pool is open: make room for a segment whose superblock was written by this
 * open, with sequence 1, to that file; and set how many segments the pool has. A close
 * writes to those. -ENOMEM.
 */
int dp_epochs_prepare(struct dp_epochs *epochs, uint32_t index,
		      const struct dp_file_id *file);
void dp_epochs_set_count(struct dp_epochs *epochs, uint32_t count);

/*
 * Write the epoch of segment 0's superblock, and whether the pool is closed, to all
 * other segments. Durable when it returns. Lost superblocks are restored by this. Sets
 * the times of all files to now, because backup tools that copy only what changed
 * compare times, and a store through a mapping of shmem may change none (K37).
 */
int dp_epochs_write(struct dp_epochs *epochs, const struct dp_super *first,
		    bool closed);

/* The error of an open for reading if only the copy of a segment's superblock is
 * whole. */
int dp_epochs_refuse_lost(const struct dp_source *source, uint32_t index,
			  const struct dp_errmsg *errmsg);

#endif
