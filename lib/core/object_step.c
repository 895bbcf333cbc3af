/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of a publish that are about small objects. An OBJECT_KEEP or OBJECT_FREE
 * changes one bit of a word of its slab, a SET changes 8 bytes of an object, and a ROOT
 * names one. Each of them claims its object, so that no two publishes change one object
 * at the same time; steps of one batch share the claim.
 *
 * Several publishes may change objects whose bits are in one word. So the bits are
 * changed, in memory and on media, under the lock of the word, which a publish has
 * until its words are durable (D23).
 */
#include <errno.h>
#include "core/medium.h"
#include "core/object_step.h"
#include "core/slabs.h"

static bool step_is_in_object(struct dp_object object, uint64_t offset, uint64_t length)
{
	uint64_t size = dp_object_size(object);

	return offset <= size && length <= size - offset;
}

/* The step of this batch that has claimed the same object, or NULL. */
static const struct step *batch_claims(const struct batch *batch,
				       const struct step *step)
{
	for (size_t i = 0; i < batch->begun; i++) {
		const struct step *other = &batch->step[i];

		if (other != step && other->has & HAS_OBJECT &&
		    other->object.slab == step->object.slab &&
		    other->object.index == step->object.index)
			return other;
	}
	return NULL;
}

int dp_step_claim_object(struct batch *batch, struct step *step)
{
	const struct daxpin_op *op = step->op;
	bool keep = op->type == DAXPIN_OP_OBJECT_KEEP;
	int ret;

	if (keep && !step_is_in_object(step->object, op->offset, op->length))
		return -EINVAL;
	ret = dp_object_claim(step->object, keep ? DP_OBJECT_RESERVED : DP_OBJECT_LIVE);
	if (!ret)
		step->has = HAS_OBJECT;
	/* One object twice in a batch. */
	return ret && batch_claims(batch, step) ? -EINVAL : ret;
}

/* Claim a live object, or share the claim of a step that does not free it. */
static int step_share_object(struct batch *batch, struct step *step)
{
	const struct step *other;
	int ret;

	if (!dp_object_find(&batch->pool->objects, step->op->extent.addr,
			    &step->object))
		return -EINVAL;
	ret = dp_object_claim(step->object, DP_OBJECT_LIVE);
	if (!ret)
		step->has |= HAS_OBJECT;
	if (ret != -EBUSY)
		return ret;
	other = batch_claims(batch, step);
	if (!other)
		return -EBUSY;
	if (other->op->type == DAXPIN_OP_OBJECT_FREE)
		return -EINVAL;
	step->has |= HAS_SHARED;
	return 0;
}

int dp_step_claim_target(struct batch *batch, struct step *step)
{
	int ret = step_share_object(batch, step);

	if (ret)
		return ret;
	if (!step_is_in_object(step->object, step->op->offset, sizeof(step->op->value)))
		return -EINVAL;
	return dp_object_is_bad(batch->pool, step->object) ? -EIO : 0;
}

int dp_step_count_object(struct batch *batch, struct step *step)
{
	int ret = step_share_object(batch, step);

	if (ret)
		return ret;
	dp_slab_add_root(step->object.slab);
	step->has |= HAS_ROOT;
	return 0;
}

/*
 * The slab counts the roots that name its objects, so that this searches the roots only
 * if there is one. No other publish lets a root name the object now, because that takes
 * the claim of the object, which this batch has.
 */
int dp_step_check_object(struct batch *batch, const struct step *step)
{
	const struct dp_roots *roots = &batch->pool->roots;

	if (!dp_slab_roots(step->object.slab))
		return 0;
	for (uint32_t i = 0; i < DP_ROOTS; i++)
		if (dp_root_names(roots, i, dp_root_of_object(step->op->extent.addr)) &&
		    !dp_batch_has_slot(batch, i))
			return -EBUSY;
	return 0;
}

void dp_step_release_object(const struct step *step)
{
	assert(step->has & HAS_OBJECT);
	dp_object_settle(step->object, step->op->type == DAXPIN_OP_OBJECT_KEEP ?
				       DP_OBJECT_RESERVED : DP_OBJECT_LIVE);
}

int dp_step_persist_object(struct batch *batch, const struct step *step)
{
	struct dp_pool *media = &batch->pool->media;
	const struct daxpin_op *op = step->op;
	uint64_t length = op->length;

	if (op->flags & DAXPIN_OP_PERSISTED)
		return 0;
	if (!length)
		length = dp_object_size(step->object) - op->offset;
	if (dp_object_is_bad(batch->pool, step->object))
		return -EIO;
	return dp_persist_flush(&media->persist, media->geometry.base +
				op->extent.addr + op->offset, length);
}

void dp_batch_toggle_objects(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		if (TYPE(batch->step[i].op->type) & TYPES_OBJECT)
			dp_object_toggle(batch->step[i].object);
}

uint32_t dp_step_object_entry(struct batch *batch, const struct step *step,
			      struct dp_lane_entry *ret_entry)
{
	uint64_t addr = dp_object_bits_addr(step->object), bits;

	if (!dp_object_take_change(step->object, &bits))
		return 0;
	*ret_entry = (struct dp_lane_entry) {
		addr, dp_slab_encode(batch->pool->media.seed, addr, bits)
	};
	return 1;
}

void dp_step_settle_object(struct batch *batch, const struct step *step)
{
	if (step->op->type == DAXPIN_OP_OBJECT_FREE)
		dp_object_end(batch->pool, step->object);
	else if (step->op->type != DAXPIN_OP_OBJECT_KEEP)
		dp_object_settle(step->object, DP_OBJECT_LIVE);
}
