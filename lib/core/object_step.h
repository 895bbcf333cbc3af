/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps of a publish that are about small objects. */
#ifndef DP_OBJECT_STEP_H
#define DP_OBJECT_STEP_H

#include "core/batch.h"

/* Claim the object of an OBJECT_KEEP or OBJECT_FREE. */
int dp_step_claim_object(struct batch *batch, struct step *step);
/* Claim the object of a SET, unless another step of the batch has claimed it. */
int dp_step_claim_target(struct batch *batch, struct step *step);
/* The same for a ROOT; and add the root to the count of the object's slab. */
int dp_step_count_object(struct batch *batch, struct step *step);
/* An object that roots name is freed only if this batch changes all of them. */
int dp_step_check_object(struct batch *batch, const struct step *step);
/* End the claim and change nothing. */
void dp_step_release_object(const struct step *step);
/* Write back the payload of an OBJECT_KEEP. */
int dp_step_persist_object(struct batch *batch, const struct step *step);

/* Change the bits of the batch's objects in memory; then compute the entry for the word
 * that has the bit of an object. Returns 1, or 0 if another step's entry is the same
 * word's. The batch has the locks of its words. */
void dp_batch_toggle_objects(struct batch *batch);
uint32_t dp_step_object_entry(struct batch *batch, const struct step *step,
			      struct dp_lane_entry *ret_entry);

/* End the claim of an OBJECT_FREE, SET or ROOT after media was changed. */
void dp_step_settle_object(struct batch *batch, const struct step *step);

#endif
