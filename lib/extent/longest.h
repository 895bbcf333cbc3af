/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounds for finding a run of a wanted length: for each segment of a pool an upper
 * bound of its free runs, and for each group of segments an upper bound of theirs.
 */
#ifndef DP_LONGEST_H
#define DP_LONGEST_H

#include "util/util.h"

/* private to longest.c */
struct dp_longest {
	uint32_t segments;
	_Atomic uint32_t *segment;
	_Atomic uint64_t *group;
};

/* All bounds are 0. -ENOMEM. */
int dp_longest_init(struct dp_longest *longest, uint32_t segments);
void dp_longest_fini(struct dp_longest *longest);

/* Set the bound of a segment. The caller has its lock. */
void dp_longest_set(struct dp_longest *longest, uint32_t segment, uint32_t blocks);
/* The same for a bound that is not higher than before; the bound of all segments is
 * lowered too, as far as the others allow. */
void dp_longest_lower(struct dp_longest *longest, uint32_t segment, uint32_t blocks);
uint32_t dp_longest_get(const struct dp_longest *longest, uint32_t segment);

/* First segment in [from, to) whose bound is at least `blocks`; `to` if none has. */
uint32_t dp_longest_find(struct dp_longest *longest, uint32_t from, uint32_t to,
			 uint32_t blocks);
/* An upper bound of the free runs of all segments. */
uint32_t dp_longest_of_all(const struct dp_longest *longest);

#endif
