/* SPDX-License-Identifier: BSD-3-Clause */
/* Registrations of segments that the rings of this process have in common. */
#ifndef DP_URING_SHARE_H
#define DP_URING_SHARE_H

#include "uring/types.h"

/*
 * Copy the registration that all rings share into the slot with this number, and
 * register it first if no ring has it. false: this was impossible, and the ring may
 * register the segment for itself. Called in the ring's thread, like all of these.
 */
bool dp_uring_share_fill(struct daxpin_uring *uring, uint32_t segment,
			 uint32_t number);
/* Do the same, but only if another ring has the segment already, and without waiting
 * for the mutex of the share. Only a ring's first call may wait: it joins the share. */
bool dp_uring_share_fill_at_once(struct daxpin_uring *uring, uint32_t segment,
				 uint32_t number);
/* Call it when the ring does not use the segment any more: its slot was emptied, or the
 * kernel has freed the ring. */
void dp_uring_share_give(struct daxpin_uring *uring, uint32_t segment);

/*
 * For a ring without a table, which gets all segments in one step. Take each segment;
 * then dp_uring_share_copy_table() makes the ring's table, in which each slot has the
 * segment with its number. The copy also has segments that other rings have taken and
 * this one has not: empty their slots afterwards. -EBUSY: the ring has a table.
 */
int dp_uring_share_take(struct daxpin_uring *uring, uint32_t segment);
int dp_uring_share_copy_table(struct daxpin_uring *uring);

/* 0, or -errno: why the ring registers segments for itself. */
int dp_uring_share_error(const struct daxpin_uring *uring);
/* Call it when the ring has given all its segments back. */
void dp_uring_share_leave(struct daxpin_uring *uring);
/* In a child of fork(): close the inherited descriptor of the source ring. */
void dp_uring_share_close_inherited(struct daxpin_uring *uring);

#endif
