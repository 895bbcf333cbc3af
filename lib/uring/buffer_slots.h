/* SPDX-License-Identifier: BSD-3-Clause */
/* Which segments are fixed buffers of the ring, and by which slot. */
#ifndef DP_URING_BUFFER_SLOTS_H
#define DP_URING_BUFFER_SLOTS_H

#include "uring/types.h"

#define DP_URING_EMPTY	UINT32_MAX

/* A slot of our range of the ring's buffer table. */
/* private to buffer_slots.c */
struct dp_uring_slot {
	uint32_t segment_index;		/* or DP_URING_EMPTY */
	bool is_shared;			/* a copy of what other rings may have, too */
	uint32_t users;			/* requests in flight that name it */
	uint64_t last_use;		/* the table's clock at the last of them */
};

/* private to buffer_slots.c */
struct dp_uring_segment {
	char *mapped_base;
	int slot_index;			/* in our range, or -1 */
	bool is_leaving;		/* requests take the slot no more */
	uint32_t misses;		/* requests that went without a slot, since
					   one was last tried */
	uint32_t miss_threshold;	/* so many before one is tried again */
};

int dp_uring_table_open(struct daxpin_uring *uring, bool can_be_fixed,
			const struct daxpin_uring_options *options);
/* No request is in flight. After an error it can be called again. */
int dp_uring_table_close(struct daxpin_uring *uring);
/* The kernel has freed the ring, and its buffers with it. */
void dp_uring_table_forget(struct daxpin_uring *uring);
void dp_uring_table_free(struct daxpin_uring *uring);
int dp_uring_table_service(struct daxpin_uring *uring);
/* One segment whose requests were plain gets a slot, where that is possible. */
void dp_uring_table_fill_on_demand(struct daxpin_uring *uring);
/* Register the segment, or all there is room for, in the ring's thread. */
int dp_uring_table_prepare(struct daxpin_uring *uring, uint32_t segment);
int dp_uring_table_prepare_all(struct daxpin_uring *uring);
/* In a child of fork(): close what is open for the table. */
void dp_uring_table_close_inherited(struct daxpin_uring *uring);
void dp_uring_table_info(const struct daxpin_uring *uring,
			 struct daxpin_uring_info *info);
/* The slot number that a request may name, which then counts as its user; or -1. */
int dp_uring_slot_use(struct daxpin_uring *uring, uint32_t segment);
void dp_uring_slot_release(struct daxpin_uring *uring, int number);
/* A request went plain for another reason. */
void dp_uring_slot_refused(struct daxpin_uring *uring);

/* Where a segment is mapped. In the header because each prep asks. */
static inline char *dp_uring_segment_base(const struct daxpin_uring *uring,
					  uint32_t segment)
{
	assert(segment < uring->segments);
	return uring->table.segment_of[segment].mapped_base;
}

#endif
