/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The superblocks of all segments: which open wrote them, whether they are of one,
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
	uint64_t highest;
	bool copied;
};

struct dp_epochs_rules {
	bool only_looks;		/* read what is there, whoever's it is */
	bool degraded;			/* go around segments of another time */
	bool adopt;			/* a copy of a pool that was not closed will do */
};

/*
 * Each segment must say itself which one it is, of the pool that segment 0's
 * superblock is of, how large, and that it is of the same open; all files must be
 * those that are recorded, or none. -EUCLEAN with a sentence. only_looks: a
 * superblock that is lost or unreadable is accepted if the other page is whole;
 * otherwise a read-only open refuses it.
 */
int dp_epochs_check(struct dp_epochs *epochs, struct dp_segments *segments,
		    const struct dp_super *first,
		    const struct dp_epochs_rules *rules,
		    const struct dp_errmsg *errmsg);
void dp_epochs_fini(struct dp_epochs *epochs);

/* Above that of every segment (D15). */
uint64_t dp_epochs_next(const struct dp_epochs *epochs);
/* Its file, as it is recorded from now on. */
struct dp_file_id dp_epochs_first_file(const struct dp_epochs *epochs);
/* No file is the one that is recorded: this open is the first of a copy. */
bool dp_epochs_are_copied(const struct dp_epochs *epochs);
/* Of another time: nothing in it is believed, and nothing written. */
bool dp_epochs_is_foreign(const struct dp_epochs *epochs, uint32_t index);

/*
 * Write the epoch of segment 0's superblock to all others, and whether they are
 * closed. Durable when it returns. Superblocks that were lost are whole again.
 */
int dp_epochs_write(struct dp_epochs *epochs, const struct dp_super *first,
		    bool closed);

/* The refusal of an open for reading: segment `index` has its copy alone. */
int dp_epochs_refuse_lost(const struct dp_source *source, uint32_t index,
			  const struct dp_errmsg *errmsg);

#endif
