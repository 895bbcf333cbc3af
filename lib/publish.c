/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order between payload, media and memory:
 *
 *	claim	  nobody else publishes or cancels the extent	(D2)
 *	persist	  the payload, where asked; its fence first	(D1)
 *	write	  the word: one store, one flush, one fence
 *	settle	  only now does the lease say LIVE or RETIRED,
 *		  and so only now can the blocks be reused	(D3)
 *
 * Holds and drops go on meanwhile: they touch the lease alone (D7). When the
 * medium fails at the write, nobody can tell what it holds: the claim is kept
 * for good, and the pool takes no more publishes.
 */
#include <errno.h>
#include "publish.h"

int dp_range(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	     uint64_t *length)
{
	uint64_t size = (uint64_t)dp_lease_blocks(&pool->leases, block) <<
			DP_BLOCK_SHIFT;

	if (offset > size || *length > size - offset)
		return -EINVAL;
	if (!*length)
		*length = size - offset;
	return 0;
}

static struct dp_table *table_of(struct daxpin_pool *pool, uint64_t block,
				 uint32_t *ret_in_segment)
{
	uint32_t shift = pool->leases.segment_shift;

	*ret_in_segment = block & ((1ull << shift) - 1);
	return &pool->media.segment[block >> shift].table;
}

static int persist_payload(struct daxpin_pool *pool, uint64_t block,
			   const struct daxpin_op *op)
{
	uint64_t length = op->length;
	int ret = dp_range(pool, block, op->offset, &length);

	if (ret)
		return ret;
	ret = dp_persist_flush(&pool->media.persist,
			       pool->media.map.base +
			       (block << DP_BLOCK_SHIFT) + op->offset, length);
	dp_persist_fence(&pool->media.persist);
	return ret;
}

static int write_word(struct daxpin_pool *pool, struct dp_handle handle,
		      enum dp_kind kind)
{
	uint32_t in_segment;
	struct dp_table *table = table_of(pool, handle.block, &in_segment);
	struct dp_word word = { kind, 1, handle.life };

	if (kind == DP_KIND_FREE)
		word.gen = handle.life + 1;
	else
		word.blocks = dp_lease_blocks(&pool->leases, handle.block);
	word.gen &= DP_WORD_GEN_MASK;
	return dp_table_write(table, in_segment, word);
}

static int keep(struct daxpin_pool *pool, struct dp_handle handle,
		const struct daxpin_op *op)
{
	int ret = dp_lease_claim(&pool->leases, handle.block, handle.life,
				 DP_STATE_RESERVED,
				 !(op->flags & DAXPIN_OP_WRITERS));

	if (ret)
		return ret;
	if (op->flags & DAXPIN_OP_PERSIST)
		ret = persist_payload(pool, handle.block, op);
	if (ret) {
		dp_lease_unclaim(&pool->leases, handle.block);
		return ret;
	}
	ret = write_word(pool, handle, DP_KIND_DATA);
	if (!ret)
		dp_lease_settle(&pool->leases, handle.block, DP_STATE_LIVE);
	return ret;
}

static int retire(struct daxpin_pool *pool, struct dp_handle handle)
{
	int ret = dp_lease_claim(&pool->leases, handle.block, handle.life,
				 DP_STATE_LIVE, false);

	if (ret)
		return ret;
	ret = write_word(pool, handle, DP_KIND_FREE);
	if (!ret)
		dp_lease_settle(&pool->leases, handle.block, DP_STATE_RETIRED);
	return ret;
}

static int check_op(const struct daxpin_op *op)
{
	uint32_t known = DAXPIN_OP_PERSIST | DAXPIN_OP_WRITERS;

	if (op->value || op->name)
		return -EINVAL;
	if (op->type == DAXPIN_OP_KEEP)
		return op->flags & ~known ? -EINVAL : 0;
	if (op->type == DAXPIN_OP_RETIRE)
		return op->flags || op->offset || op->length ? -EINVAL : 0;
	return -EINVAL;
}

int dp_publish_one(struct daxpin_pool *pool, const struct daxpin_op *op)
{
	struct dp_handle handle;
	int ret = check_op(op);

	if (!ret)
		ret = dp_handle(pool, op->extent, &handle);
	if (!ret)
		ret = dp_persist_error(&pool->media.persist);
	if (ret)
		return ret;
	if (op->type == DAXPIN_OP_KEEP)
		return keep(pool, handle, op);
	return retire(pool, handle);
}
