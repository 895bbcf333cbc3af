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
	bool is_shared;			/* a copy of the source's, see share.c */
	uint32_t users;			/* requests in flight that name it */
	uint64_t last_use;		/* the table's clock at the last of them */
};

/* private to buffer_slots.c */
struct dp_uring_segment {
	char *mapped_base;
	int slot_index;			/* in our range, or -1 */
	bool is_bad;			/* a page of it could not be pinned */
	bool is_leaving;		/* new requests must not name the slot */
	uint32_t misses;		/* plain requests since the adapter last tried
					   to register the segment */
	uint32_t miss_threshold;	/* it tries again after this many */
};

int dp_uring_table_open(struct daxpin_uring *uring, bool can_be_fixed,
			const struct daxpin_uring_options *options);
/* No request is in flight. After an error it can be called again. */
int dp_uring_table_close(struct daxpin_uring *uring);
/* The kernel has freed the ring, and its buffers with it. */
void dp_uring_table_forget(struct daxpin_uring *uring);
void dp_uring_table_free(struct daxpin_uring *uring);
int dp_uring_table_service(struct daxpin_uring *uring);
/* If requests of a segment were plain for lack of a slot, try to fill a slot with it.
 * At most one segment in each call. */
void dp_uring_table_fill_on_demand(struct daxpin_uring *uring);
/* Register the segment, or all there is room for, in the ring's thread. */
int dp_uring_table_prepare(struct daxpin_uring *uring, uint32_t segment);
int dp_uring_table_prepare_all(struct daxpin_uring *uring);
/* In a child of fork(): close the inherited descriptor of the source, see share.c. */
void dp_uring_table_close_inherited(struct daxpin_uring *uring);
void dp_uring_table_info(const struct daxpin_uring *uring,
			 struct daxpin_uring_info *info);
/* Count a request that is plain because its segment has no slot. After the first, the
 * next reap or service call copies another ring's registration of the segment, if there
 * is one. After enough of them it tries to register the segment. */
void dp_uring_slot_missed(struct daxpin_uring *uring, uint32_t segment);
/* Call it when the last request that named a leaving slot has ended: this empties
 * it. */
void dp_uring_slot_idle(struct daxpin_uring *uring, uint32_t segment);
/* Count a request that is plain for another reason. */
void dp_uring_slot_refused(struct daxpin_uring *uring);

/* These are inline because each request calls them, at its prep and at its end. */

/* Returns the number of the segment's slot, and counts the request as a user of it. -1:
 * the request must be plain. */
static inline int dp_uring_slot_use(struct daxpin_uring *uring, uint32_t segment)
{
	struct dp_uring_table *table = &uring->table;
	const struct dp_uring_segment *state = &table->segment_of[segment];
	struct dp_uring_slot *slot;

	assert(segment < uring->most);
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
	assert(segment < uring->most);
	return uring->table.segment_of[segment].mapped_base;
}

#endif
