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
/* The same of what another ring has registered, without waiting for anything. */
bool dp_uring_share_fill_at_once(struct daxpin_uring *uring, uint32_t segment,
				 uint32_t number);
/* The ring has the segment no more: its slot is empty, or the ring is gone. */
void dp_uring_share_give(struct daxpin_uring *uring, uint32_t segment);

/*
 * All at once, for a ring without a table: take each segment, then make the table of
 * copies, each in the slot with its segment's number. A slot may have a segment that
 * other rings have and this one has not taken. -EBUSY: the ring has a table.
 */
int dp_uring_share_take(struct daxpin_uring *uring, uint32_t segment);
int dp_uring_share_copy_table(struct daxpin_uring *uring);

/* 0, or -errno: why the ring registers segments for itself. */
int dp_uring_share_error(const struct daxpin_uring *uring);
/* The ring has given everything back. */
void dp_uring_share_leave(struct daxpin_uring *uring);
/* In a child of fork(): close what is open. */
void dp_uring_share_close_inherited(struct daxpin_uring *uring);

#endif
