/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes a batch of operations durable, all or none. Each operation changes one word on
 * media, and is a step of the batch.
 *
 *	batch:	OPEN --> CLAIMED --> DURABLE --> SETTLED
 *		  |         |    \
 *		  |         |     `-> FAILED
 *		  +---------+-------> RELEASED
 *
 *	OPEN -> CLAIMED		[batch_claim]: the batch has every word that it
 *				will change: the publishing bit of extents that
 *				are kept or retired, the slot of roots (D2, D18);
 *				no word occurs twice
 *	CLAIMED -> DURABLE	[batch_persist_first]: the payloads of KEEPs and
 *				the names of new roots, and their fence (D1);
 *				[dp_write_word]: one word: store, flush,
 *				fence; [batch_write]: more words: a redo lane,
 *				three fences
 *	DURABLE -> SETTLED	[batch_settle]: the states in memory change, and
 *				only then can blocks be reused (D3)
 *	OPEN -> RELEASED	[step_release]: a claim or a hold failed
 *	CLAIMED -> RELEASED	[step_release]: a payload or the name of a root could
 *				not be persisted; no word was stored yet
 *	CLAIMED -> FAILED	[step_drop_hold]: a flush failed, of this batch's
 *				words or before, so that it is unknown what is on
 *				media: the claims are kept until the close, and
 *				later publishes fail
 *
 * Claims never wait: if another batch has claimed a word, this one releases all that it
 * has and returns -EBUSY. A SET claims nothing, so that many threads can set words of
 * one index. It holds its extent, so that a retire meanwhile does not free the blocks
 * under an open lane, and waits for the lock of its word. These locks are hashed by
 * address and taken in ascending order, after all claims and before the lane. A thread
 * that has a lane waits for nothing. Consecutive SETs in one extent share the hold of
 * the first of them: all holds of a batch are dropped together.
 *
 * Steps remain in the caller's order, and up to STEPS_ON_STACK operations need no
 * allocation. A word that occurs twice is refused, because a lane's entries have no
 * order. The second step that changes it finds what the first has: the publishing bit,
 * the slot, or for a SET the lock. Only then does it search the batch for the first.
 *
 * The state of an extent counts the roots that name it. A ROOT adds to the count of its
 * extent before any word is written. batch_settle() removes the root from the count of
 * the extent that it named before. RETIRE claims, then reads that count; ROOT counts,
 * then tests for a claim: at least one of them detects the other (D14).
 * tests/model/root.pml searches the interleavings of roots and claims.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/batch.h"
#include "core/medium.h"
#include "core/object_step.h"
#include "core/publish.h"
#include "extent/thread_slot.h"
#include "util/probe.h"

#define STEPS_ON_STACK	16u

/* ------------------------------------------------------------ which words */

static const struct dp_table *publish_table(const struct daxpin_pool *pool,
					    uint64_t block, uint32_t *ret_block)
{
	return dp_segment_table(&pool->media.segments,
				dp_segment_of(pool, block, ret_block));
}

/* Compute the value of a descriptor word; block: in the table's segment. D19: a KEEP
 * marks the page of its word as used before the word is stored, or committed in a
 * lane. */
static int step_compute_word(struct daxpin_pool *pool, struct step *step,
			     const struct dp_table *table, uint32_t block)
{
	struct dp_word word = { DP_KIND_FREE, 1, 0, 0 };
	uint64_t gen = step->handle.generation + 1;
	int ret = 0;

	if (step->op->type == DAXPIN_OP_KEEP) {
		gen = step->handle.generation;
		word.kind = DP_KIND_DATA;
		word.blocks = dp_state_blocks(&pool->states,
					      step->handle.block);
		/* RESERVED, so its length is set and constant (I20). */
		assert(word.blocks);
		ret = dp_table_use(table, block);
		/* If no flush has failed, -EIO means that the page is unreadable. */
		if (ret == -EIO && !dp_persist_error(&pool->media.persist))
			dp_quarantine_page(pool, step->handle);
	}
	word.gen = gen & DP_WORD_GEN_MASK;
	if (!ret)
		step->change.value = dp_table_value(table, block, word);
	return ret;
}

static struct dp_root_word step_root_word(const struct step *step)
{
	if (dp_op_names_object(step->op))
		return dp_root_of_object(step->op->extent.addr);
	return (struct dp_root_word) {
		step->handle.block, step->handle.generation & DP_ROOT_GEN_MASK, 0
	};
}

/*
 * The step that has claimed an extent, or NULL. The search begins behind the step that
 * was found last, because SETs and ROOTs often name extents in the order of the KEEPs.
 */
static struct step *batch_claim_of(struct batch *batch, uint64_t block)
{
	for (size_t i = 0, at = batch->found; i < batch->begun; i++) {
		at = at + 1 < batch->begun ? at + 1 : 0;
		if (batch->step[at].handle.block == block &&
		    batch->step[at].has & HAS_CLAIM) {
			batch->found = at;
			return &batch->step[at];
		}
	}
	return NULL;
}

/* Begin to fetch the cache line of a word that will be stored, as dp_lane_fetch() does.
 * The address may be invalid: this never faults. */
static inline void batch_fetch(const struct batch *batch, uint64_t addr)
{
	__builtin_prefetch((void *)((uintptr_t)batch->pool->media.geometry.base + addr),
			   1);
}

/* ------------------------------------------------------------ claim, release */

static int step_claim_slot(struct batch *batch, struct step *step)
{
	struct dp_roots *roots = &batch->pool->roots;
	uint32_t slot;
	int ret = dp_root_claim(roots, step->op->name, step->handle.block,
				&slot);

	/* Two ROOTs with one name are an error. */
	if (ret == -EBUSY && dp_batch_has_slot(batch, slot))
		return -EINVAL;
	if (ret)
		return ret;
	step->slot = slot;
	step->has = HAS_SLOT;
	step->change = dp_root_change(roots, slot, step_root_word(step));
	batch->first |= dp_root_is_new(roots, slot);
	return 0;
}

/* Does a SET before the step that was begun last change this word? */
static bool batch_has_set(const struct batch *batch, uint64_t addr)
{
	for (size_t i = 0; i + 1 < batch->begun; i++)
		if (batch->step[i].op->type == DAXPIN_OP_SET &&
		    batch->step[i].change.addr == addr)
			return true;
	return false;
}

/*
 * The locks of a block's words follow each other, so each word of a block has another
 * one. Threads that change words of different blocks seldom write the same cache lines.
 */
static uint32_t publish_lock_of(uint64_t addr)
{
	uint64_t line = (addr >> DP_BLOCK_SHIFT) * 0x9e3779b97f4a7c15ull >> 56;

	static_assert(DP_WORD_LOCKS == 16u << (64 - 56), "16 locks fill a line");
	static_assert(DP_BLOCK_SIZE / 8 <= DP_WORD_LOCKS, "enough for a block");
	return (line * 16 + addr % DP_BLOCK_SIZE / 8) % DP_WORD_LOCKS;
}

/* Choose the lock of a word. -EINVAL: the batch changes the word already. */
static int batch_choose_lock(struct batch *batch, uint64_t addr)
{
	uint32_t lock = publish_lock_of(addr);
	uint64_t used = 1ull << lock / 64, bit = 1ull << lock % 64;

	if (!(batch->locks_used & used))
		batch->locks[lock / 64] = 0;
	else if (batch->locks[lock / 64] & bit && batch_has_set(batch, addr))
		return -EINVAL;
	batch->locks_used |= used;
	batch->locks[lock / 64] |= bit;
	return 0;
}

static int step_begin_object(struct batch *batch, struct step *step)
{
	const struct daxpin_op *op = step->op;
	int ret;

	if (!dp_object_find(&batch->pool->objects, op->extent.addr, &step->object))
		return -EINVAL;
	batch->first |= op->type == DAXPIN_OP_OBJECT_KEEP &&
			!(op->flags & DAXPIN_OP_PERSISTED);
	ret = batch_choose_lock(batch, dp_object_bits_addr(step->object));
	return ret ? ret : dp_step_claim_object(batch, step);
}

/* Claim the extent of a KEEP or RETIRE. */
static int step_claim_extent(struct batch *batch, struct step *step)
{
	struct daxpin_pool *pool = batch->pool;
	bool keep = step->op->type == DAXPIN_OP_KEEP;
	uint32_t block;
	const struct dp_table *table = publish_table(pool, step->handle.block, &block);
	int ret;

	step->change.addr = dp_table_word_addr(table, block);
	batch_fetch(batch, step->change.addr);
	ret = dp_state_claim(&pool->states, step->handle.block, step->handle.generation,
			     keep ? DP_STATE_RESERVED : DP_STATE_LIVE,
			     keep && !(step->op->flags & DAXPIN_OP_WRITERS));
	if (ret)
		return batch_claim_of(batch, step->handle.block) ? -EINVAL : ret;
	step->has = HAS_CLAIM;
	batch->first |= keep && !(step->op->flags & DAXPIN_OP_PERSISTED);
	return step_compute_word(pool, step, table, block);
}

/* Find the step's word, and claim what depends on no other step. */
static int step_begin(struct batch *batch, struct step *step)
{
	const struct daxpin_op *op = step->op;

	switch (op->type) {
	case DAXPIN_OP_ROOT:
		return step_claim_slot(batch, step);
	case DAXPIN_OP_SET:
		step->change = (struct dp_lane_entry) {
			op->extent.addr + op->offset, op->value
		};
		batch_fetch(batch, step->change.addr);
		return batch_choose_lock(batch, step->change.addr);
	case DAXPIN_OP_OBJECT_KEEP:
	case DAXPIN_OP_OBJECT_FREE:
		return step_begin_object(batch, step);
	default:
		return step_claim_extent(batch, step);
	}
}

/* Begin the steps. One that fails counts as begun: it may have something to release. */
static int batch_begin(struct batch *batch, const struct daxpin_op *ops)
{
	int ret = 0;

	while (!ret && batch->begun < batch->count) {
		const struct daxpin_op *op = &ops[batch->begun];
		struct step *step = &batch->step[batch->begun++];

		step->op = op;
		step->handle = dp_handle_of(batch->pool, op->extent);
		step->has = 0;
		batch->types |= TYPE(op->type);
		ret = step_begin(batch, step);
		if (ret)
			batch->failed = op;
	}
	return ret;
}

/* Returns 1 if this batch keeps the step's extent, 0 if the batch does not claim it,
 * and -EINVAL if the batch retires it. */
static int step_is_kept_here(struct batch *batch, const struct step *step)
{
	const struct step *other;

	/* Without a claim of any batch there is none of this one. */
	if (!(batch->types & TYPES_CLAIMED) ||
	    !dp_state_read(&batch->pool->states, step->handle.block).publishing)
		return 0;
	other = batch_claim_of(batch, step->handle.block);
	if (!other || other->handle.generation != step->handle.generation)
		return 0;
	return other->op->type == DAXPIN_OP_KEEP ? 1 : -EINVAL;
}

/* Hold the extent of a SET, unless this batch keeps it. */
static int step_take_target(struct batch *batch, struct step *step)
{
	struct dp_states *states = &batch->pool->states;
	struct dp_state_view view;
	int kept = step_is_kept_here(batch, step);
	int ret;

	if (kept < 0)
		return kept;
	step->has = HAS_SHARED;
	if (!kept) {
		ret = dp_jobs_hold(&batch->pool->jobs, step->handle.block,
				   step->handle.generation, 1, 0);
		step->has = ret ? 0 : HAS_HOLD;
		if (ret)
			return ret;
		view = dp_state_read(states, step->handle.block);
		if (view.state == DP_STATE_RESERVED)
			return -EINVAL;
	}
	batch->target.handle = step->handle;
	batch->target.bytes = (uint64_t)dp_state_blocks(states,
							step->handle.block) <<
			      DP_BLOCK_SHIFT;
	batch->target.has_bad = dp_is_bad(batch->pool, step->handle.block, 0,
					  batch->target.bytes);
	return 0;
}

static int step_hold_target(struct batch *batch, struct step *step)
{
	const struct target *target = &batch->target;
	int ret = 0;

	if (dp_op_names_object(step->op))
		return dp_step_claim_target(batch, step);
	if (step->handle.block == target->handle.block &&
	    step->handle.generation == target->handle.generation)
		step->has = HAS_SHARED;
	else
		ret = step_take_target(batch, step);
	if (ret)
		return ret;
	/* Extent and offset are aligned, so the 8 bytes are inside if the first is. */
	if (step->op->offset >= target->bytes)
		return -EINVAL;
	return target->has_bad &&
	       dp_is_bad(batch->pool, step->handle.block, step->op->offset,
			 sizeof(step->op->value)) ? -EIO : 0;
}

/* Test the handle before the root is counted, so that no other extent's count changes.
 * Test again afterwards, because a RETIRE may have claimed the extent meanwhile. */
static int step_count_target(struct batch *batch, struct step *step)
{
	struct dp_states *states = &batch->pool->states;
	int ret;

	if (!step->handle.block)
		return 0;
	if (dp_op_names_object(step->op))
		return dp_step_count_object(batch, step);
	ret = step_is_kept_here(batch, step);
	if (ret < 0)
		return ret;
	if (!ret)
		ret = dp_refuse_name(states, step->handle);
	if (ret < 0)
		return ret;
	dp_state_add_root(states, step->handle.block);
	step->has |= HAS_ROOT;
	return ret == 1 ? 0 : dp_refuse_name(states, step->handle);
}

/* An extent that roots name is retired only if this batch changes all of them. */
static int step_check_roots(struct batch *batch, const struct step *step)
{
	uint32_t left = dp_state_roots(&batch->pool->states,
				       step->handle.block);

	for (size_t i = 0; left && i < batch->count; i++) {
		struct dp_root_word word;

		if (!(batch->step[i].has & HAS_SLOT))
			continue;
		word = dp_root_counted(&batch->pool->roots, batch->step[i].slot);
		left -= word.block == step->handle.block && !word.object;
	}
	return left ? -EBUSY : 0;
}

/* Claim what depends on the other claims of the batch. */
static int step_claim_target(struct batch *batch, struct step *step)
{
	switch (step->op->type) {
	case DAXPIN_OP_SET:
		return step_hold_target(batch, step);
	case DAXPIN_OP_ROOT:
		return step_count_target(batch, step);
	case DAXPIN_OP_RETIRE:
		return step_check_roots(batch, step);
	case DAXPIN_OP_OBJECT_FREE:
		return dp_step_check_object(batch, step);
	default:
		return 0;
	}
}

static int batch_for_each(struct batch *batch,
			  int (*fn)(struct batch *batch, struct step *step))
{
	int ret = 0;

	for (size_t i = 0; !ret && i < batch->begun; i++) {
		ret = fn(batch, &batch->step[i]);
		if (ret)
			batch->failed = batch->step[i].op;
	}
	return ret;
}

static int batch_claim(struct batch *batch, const struct daxpin_op *ops)
{
	int ret = batch_begin(batch, ops);

	if (!ret && batch->types & ~TYPES_KEEP)
		ret = batch_for_each(batch, step_claim_target);
	return ret;
}

static int step_drop_hold(struct batch *batch, struct step *step)
{
	if (step->has & HAS_HOLD)
		dp_state_drop(&batch->pool->states, step->handle.block,
			      step->handle.generation, 1);
	return 0;
}

/* Remove a root from the count of what it named: nothing, an extent or an object. */
static void batch_remove_root(struct batch *batch, struct dp_root_word word)
{
	struct daxpin_pool *pool = batch->pool;

	if (word.object)
		dp_slab_remove_root(dp_slab_at(&pool->objects, word.block));
	else if (word.block)
		dp_state_remove_root(&pool->states, word.block);
}

static int step_release(struct batch *batch, struct step *step)
{
	struct dp_states *states = &batch->pool->states;

	step_drop_hold(batch, step);
	if (step->has & HAS_ROOT)
		batch_remove_root(batch, step_root_word(step));
	if (step->has & HAS_CLAIM)
		dp_state_unclaim(states, step->handle.block);
	if (step->has & HAS_SLOT)
		dp_root_unclaim(&batch->pool->roots, step->slot);
	if (step->has & HAS_OBJECT)
		dp_step_release_object(step);
	step->has = 0;
	return 0;
}

/* ------------------------------------------------------------ locks of words */

/* Call fn for each lock of the batch. */
static void batch_for_each_lock(struct batch *batch,
				void (*fn)(struct dp_polled_lock *))
{
	static_assert(DP_WORD_LOCKS / 64 <= 64, "a bit for each word");
	for (uint64_t used = batch->locks_used; used; used &= used - 1) {
		uint32_t i = __builtin_ctzll(used);

		for (uint64_t bits = batch->locks[i]; bits; bits &= bits - 1)
			fn(&batch->pool->word_lock[i * 64 +
						   __builtin_ctzll(bits)]);
	}
}

/* ------------------------------------------------------------------ to media */

static int step_persist_payload(struct batch *batch, const struct step *step)
{
	struct dp_pool *media = &batch->pool->media;
	uint64_t length = step->op->length;
	int ret = dp_range(batch->pool, step->handle.block, step->op->offset,
			   &length);

	if (!ret && dp_is_bad(batch->pool, step->handle.block, step->op->offset,
			      length))
		ret = -EIO;
	return ret ? ret :
	       dp_persist_flush(&media->persist, media->geometry.base +
				step->op->extent.addr + step->op->offset,
				length);
}

static int step_persist_first(struct batch *batch, struct step *step)
{
	struct dp_roots *roots = &batch->pool->roots;

	if (step->op->type == DAXPIN_OP_OBJECT_KEEP)
		return dp_step_persist_object(batch, step);
	if (step->op->type == DAXPIN_OP_KEEP &&
	    !(step->op->flags & DAXPIN_OP_PERSISTED))
		return step_persist_payload(batch, step);
	if (step->op->type == DAXPIN_OP_ROOT &&
	    dp_root_is_new(roots, step->slot))
		return dp_root_write_name(roots, step->slot);
	return 0;
}

/* Write what must be durable before any word, and fence. */
static int batch_persist_first(struct batch *batch)
{
	int ret;

	if (!batch->first)
		return 0;
	ret = batch_for_each(batch, step_persist_first);
	dp_persist_fence(&batch->pool->media.persist);
	return ret;
}

/*
 * D2, D18: the batch has claimed what each step's word depends on. A SET has no hold of
 * its own if the batch keeps its extent, or holds it for another SET.
 */
static void step_assert_claimed(const struct step *step)
{
	switch (step->op->type) {
	case DAXPIN_OP_KEEP:
	case DAXPIN_OP_RETIRE:
		assert(step->has == HAS_CLAIM);
		break;
	case DAXPIN_OP_OBJECT_KEEP:
	case DAXPIN_OP_OBJECT_FREE:
		assert(step->has == HAS_OBJECT);
		break;
	case DAXPIN_OP_SET:
		assert(step->has == HAS_HOLD || step->has == HAS_SHARED ||
		       step->has == HAS_OBJECT);
		break;
	default:
		assert((step->has & ~(uint32_t)(HAS_OBJECT | HAS_SHARED)) ==
		       (HAS_SLOT | (step->handle.block ? HAS_ROOT : 0u)));
	}
}

/* The words to write. Objects whose bits share a word have one entry. */
static uint32_t batch_entries(struct batch *batch, struct dp_lane_entry *entry)
{
	uint32_t count = 0;

	if (batch->types & TYPES_OBJECT)
		dp_batch_toggle_objects(batch);
	for (size_t i = 0; i < batch->count; i++) {
		const struct step *step = &batch->step[i];

		step_assert_claimed(step);
		if (TYPE(step->op->type) & TYPES_OBJECT)
			count += dp_step_object_entry(batch, step, &entry[count]);
		else
			entry[count++] = step->change;
		assert(!count || entry[count - 1].addr % sizeof(uint64_t) == 0);
	}
	return count;
}

static int batch_write(struct batch *batch)
{
	struct dp_lanes *lanes = &batch->pool->lanes;
	struct dp_lane_entry entry[DP_LANE_ENTRIES];
	uint32_t lane, count;
	int ret;

	if (batch->count == 1 && !(batch->types & TYPES_OBJECT)) {
		step_assert_claimed(&batch->step[0]);
		return dp_write_word(batch->pool, batch->step[0].change);
	}
	count = batch_entries(batch, entry);
	if (count == 1)
		return dp_write_word(batch->pool, entry[0]);
	lane = dp_lane_take(lanes, dp_thread_slot());
	/* If the last batch in this lane failed, the lane is open and must stay as
	 * it is. */
	ret = dp_persist_error(&batch->pool->media.persist);
	if (!ret)
		ret = dp_lane_run(lanes, lane, entry, count);
	dp_lane_release(lanes, lane);
	return ret;
}

/* -------------------------------------------------------------------- settle */

static int step_settle_kept(struct batch *batch, struct step *step)
{
	if (step->op->type == DAXPIN_OP_KEEP)
		dp_state_settle_kept(&batch->pool->states, step->handle.block);
	else if (step->op->type == DAXPIN_OP_OBJECT_KEEP)
		dp_object_settle(step->object, DP_OBJECT_LIVE);
	return 0;
}

static int step_settle_root(struct batch *batch, struct step *step)
{
	if (step->op->type == DAXPIN_OP_ROOT)
		batch_remove_root(batch, dp_root_settle(&batch->pool->roots, step->slot,
							step_root_word(step)));
	return 0;
}

static int step_settle_last(struct batch *batch, struct step *step)
{
	if (step->op->type == DAXPIN_OP_RETIRE)
		dp_state_settle_retired(&batch->pool->states,
					step->handle.block);
	else if (step->has & HAS_OBJECT)
		dp_step_settle_object(batch, step);
	return step_drop_hold(batch, step);
}

/* KEEPs settle first and RETIREs last, so that a root never names an extent that is not
 * LIVE. */
static void batch_settle(struct batch *batch)
{
	if (batch->types & TYPES_KEEP)
		batch_for_each(batch, step_settle_kept);
	if (batch->types & TYPE(DAXPIN_OP_ROOT))
		batch_for_each(batch, step_settle_root);
	if (batch->types & ~TYPES_KEEP)
		batch_for_each(batch, step_settle_last);
}

/* ----------------------------------------------------------------- the whole */

/* Write the words and settle; everything is claimed. If a word cannot be written, the
 * claims are kept until the close. If a payload or a name cannot, they are released. */
static int batch_write_and_settle(struct batch *batch)
{
	int ret;

	ret = batch_persist_first(batch);
	if (ret) {
		batch_for_each(batch, step_release);
		return ret;
	}
	batch_for_each_lock(batch, dp_polled_lock_take);
	ret = dp_persist_error(&batch->pool->media.persist);
	if (!ret)
		ret = batch_write(batch);
	batch_for_each_lock(batch, dp_polled_lock_release);
	/* After a failure, the kept error prevents later publishes from writing. */
	assert(!ret || dp_persist_error(&batch->pool->media.persist));
	if (ret)
		batch_for_each(batch, step_drop_hold);
	else
		batch_settle(batch);
	return ret;
}

static int batch_run(struct batch *batch, const struct daxpin_op *ops)
{
	int ret = dp_persist_error(&batch->pool->media.persist);

	if (ret)
		return ret;
	if (batch->count > 1)
		dp_lane_fetch(&batch->pool->lanes, dp_thread_slot(), batch->count);
	ret = batch_claim(batch, ops);
	if (ret) {
		batch_for_each(batch, step_release);
		return ret;
	}
	return batch_write_and_settle(batch);
}

/* Each field is set separately, because compilers clear a struct of this size with a
 * slow instruction. */
static void batch_init(struct batch *batch, struct daxpin_pool *pool,
		       size_t count)
{
	batch->pool = pool;
	batch->count = count;
	batch->begun = 0;
	batch->found = 0;
	batch->failed = NULL;
	batch->types = 0;
	batch->first = false;
	batch->target.handle.block = 0;
	batch->locks_used = 0;
}

static void publish_count(struct daxpin_pool *pool)
{
	uint32_t slot = dp_thread_slot();
	_Atomic uint64_t *count = &pool->published[slot].count;

	/* The last slot is shared; all others have one thread. */
	if (slot == DP_THREAD_SLOT_SHARED)
		atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
	else
		atomic_store_explicit(count, 1 + atomic_load_explicit(count,
				      memory_order_relaxed),
				      memory_order_relaxed);
}

int dp_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
	       size_t count, size_t *failed)
{
	struct step few[STEPS_ON_STACK];
	uint64_t locks[DP_WORD_LOCKS / 64];
	struct batch batch;
	int ret;

	assert(count && count <= DP_LANE_ENTRIES && !pool->media.readonly);
	batch_init(&batch, pool, count);
	batch.locks = locks;
	batch.step = few;
	if (count > STEPS_ON_STACK)
		batch.step = malloc(count * sizeof(*batch.step));
	DP_PROBE_PUBLISH_BEGIN(&pool->states, count, ops[0].extent.addr);
	ret = batch.step ? batch_run(&batch, ops) : -ENOMEM;
	DP_PROBE_PUBLISH(&pool->states, count, ret);
	if (ret)
		*failed = batch.failed ? (size_t)(batch.failed - ops) : count;
	else
		publish_count(pool);
	if (count > STEPS_ON_STACK)
		free(batch.step);
	return ret;
}
