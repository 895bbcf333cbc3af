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
/* Give one segment whose requests were plain a slot, if possible. */
void dp_uring_table_fill_on_demand(struct daxpin_uring *uring);
/* Register the segment, or all there is room for, in the ring's thread. */
int dp_uring_table_prepare(struct daxpin_uring *uring, uint32_t segment);
int dp_uring_table_prepare_all(struct daxpin_uring *uring);
/* In a child of fork(): close what is open for the table. */
void dp_uring_table_close_inherited(struct daxpin_uring *uring);
void dp_uring_table_info(const struct daxpin_uring *uring,
			 struct daxpin_uring_info *info);
/* A request was plain because its segment has no slot: the segment may ask for one. */
void dp_uring_slot_missed(struct daxpin_uring *uring, uint32_t segment);
/* The last request that named a slot which a reclaim needs has ended. */
void dp_uring_slot_idle(struct daxpin_uring *uring, uint32_t segment);
/* A request was plain for another reason. */
void dp_uring_slot_refused(struct daxpin_uring *uring);

/* These are in the header because each request asks, at its prep and at its end. */

/* The slot number that a request may name, which then counts as its user; or -1. */
static inline int dp_uring_slot_use(struct daxpin_uring *uring, uint32_t segment)
{
	struct dp_uring_table *table = &uring->table;
	const struct dp_uring_segment *state = &table->segment_of[segment];
	struct dp_uring_slot *slot;

	assert(segment < uring->segments);
	if (state->slot_index < 0 || state->is_leaving) {
		dp_uring_slot_missed(uring, segment);
		return -1;
	}
	slot = &table->slot_of[state->slot_index];
	assert(slot->segment_index == segment);
	slot->users++;
	slot->last_use = ++table->use_clock;
	return table->first_number + state->slot_index;
}

static inline void dp_uring_slot_release(struct daxpin_uring *uring, int number)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_slot *slot =
		&table->slot_of[number - table->first_number];

	assert(slot->users);
	if (!--slot->users && table->segment_of[slot->segment_index].is_leaving)
		dp_uring_slot_idle(uring, slot->segment_index);
}

/* Where a segment is mapped. */
static inline char *dp_uring_segment_base(const struct daxpin_uring *uring,
					  uint32_t segment)
{
	assert(segment < uring->segments);
	return uring->table.segment_of[segment].mapped_base;
}

#endif
