/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The extents of slabs. A slab is published when it is made, before an object of it is
 * reserved, and freed when it is empty:
 *
 *	blocks claimed, words without objects: durable (D22)
 *	descriptor word SLAB: durable; objects can be reserved
 *	...
 *	no object is reserved or live: CLOSING
 *	descriptor word FREE: durable; the slab is forgotten, the blocks are free
 *
 * A crash in between leaves a slab without live objects, whose space the next open uses
 * for objects of its class, or frees at its close.
 *
 * Invariants:
 *	D22	while a descriptor word is SLAB, each word of the slab's bits is valid
 */
#include <errno.h>
#include "core/allocate.h"
#include "core/medium.h"
#include "core/slabs.h"

static_assert(DP_OBJECT_CLASSES == DP_SLAB_CLASSES, "media and memory");
static_assert(DP_OBJECTS_PER_BITS == DP_SLAB_WORD_OBJECTS, "media and memory");
static_assert(DP_OBJECT_CLASSES <= 64, "see dp_objects_used()");

int dp_slabs_init(struct daxpin_pool *pool)
{
	struct dp_object_class class[DP_OBJECT_CLASSES];

	for (uint32_t i = 0; i < DP_OBJECT_CLASSES; i++) {
		struct dp_slab_shape shape = dp_slab_shape(i);

		class[i] = (struct dp_object_class) {
			shape.size, shape.objects, shape.first
		};
	}
	return dp_objects_init(&pool->objects, dp_states_block_count(&pool->states),
			       (uint64_t)pool->media.geometry.most <<
			       dp_states_shift(&pool->states),
			       DP_SLAB_BLOCKS, class);
}

/* ------------------------------------------------------------------ at an open */

static int slab_fail(const struct dp_slab_extent *extent,
		     const struct dp_slab_shape *shape, uint32_t word,
		     const struct dp_errmsg *errmsg)
{
	uint32_t first = word * DP_SLAB_WORD_OBJECTS;
	uint32_t last = dp_min(first + DP_SLAB_WORD_OBJECTS, shape->objects) - 1;

	return dp_fail(errmsg, -EUCLEAN,
		       "segment %u, slab at block %u, objects %u to %u of %u bytes: the word of their bits fails its check, and so it is unknown which of these objects are live" DP_UNTOUCHED,
		       extent->segment, extent->block, first, last, shape->size);
}

/* Copy the words of a slab, as they will be when the pending lanes are applied. */
static int slab_read(struct daxpin_pool *pool, const struct dp_slab_extent *extent,
		     uint64_t addr, uint64_t *words, uint32_t count,
		     const struct dp_errmsg *errmsg)
{
	const struct dp_badblocks_view *view =
		dp_segment_view(&pool->media.segments, extent->segment);
	uint64_t offset = (uint64_t)extent->block << DP_BLOCK_SHIFT;
	uint64_t size = count * sizeof(*words);
	char name[96];
	int ret = dp_badblocks_read(view, offset, words, size);

	if (!ret) {
		dp_lanes_patch(&pool->lanes, addr, size, (char *)words);
		return 0;
	}
	snprintf(name, sizeof(name),
		 "segment %u: which objects of %u bytes are live in the slab at block %u",
		 extent->segment, dp_slab_shape(extent->class).size, extent->block);
	return dp_badblocks_fail(view, ret, offset, size, name, errmsg);
}

static int slab_restore(struct daxpin_pool *pool, const struct dp_slab_extent *extent,
			const struct dp_slab_shape *shape, const uint64_t *words,
			struct dp_slab *slab, const struct dp_errmsg *errmsg)
{
	for (uint32_t i = 0; i < shape->words; i++) {
		uint64_t at = dp_slab_addr(slab) + dp_slab_word_offset(i), bits;

		if (!dp_slab_decode(pool->media.seed, at, words[i], &bits) ||
		    bits & ~dp_slab_word_mask(shape, i))
			return slab_fail(extent, shape, i, errmsg);
		dp_slab_restore(slab, i, bits);
	}
	return 0;
}

int dp_slab_load(struct daxpin_pool *pool, const struct dp_slab_extent *extent,
		 const struct dp_errmsg *errmsg)
{
	struct dp_slab_shape shape = dp_slab_shape(extent->class);
	uint64_t addr = dp_geometry_begin(&pool->media.geometry, extent->segment) +
			((uint64_t)extent->block << DP_BLOCK_SHIFT);
	uint64_t words[DP_SLAB_WORDS_MAX];
	struct dp_slab *slab;
	int ret = slab_read(pool, extent, addr, words, shape.words, errmsg);

	if (ret)
		return ret;
	slab = dp_slab_new(&pool->objects, extent->class, addr);
	if (!slab)
		return -ENOMEM;
	ret = slab_restore(pool, extent, &shape, words, slab, errmsg);
	if (ret)
		dp_slab_discard(&pool->objects, slab);
	else
		dp_slab_add(&pool->objects, slab);
	return ret;
}

void dp_slabs_bar(struct daxpin_pool *pool, uint64_t block, uint32_t blocks)
{
	for (uint64_t end = block + blocks; block < end; block++) {
		struct dp_slab *slab = dp_slab_at(&pool->objects, block);
		uint64_t offset;

		if (!slab)
			continue;
		offset = (block << DP_BLOCK_SHIFT) - dp_slab_addr(slab);
		dp_slab_bar(&pool->objects, slab, offset, offset + DP_BLOCK_SIZE);
	}
}

bool dp_object_is_bad(struct daxpin_pool *pool, struct dp_object object)
{
	uint64_t slab = dp_slab_addr(object.slab);

	return dp_slab_has_bad(object.slab) &&
	       dp_is_bad(pool, slab >> DP_BLOCK_SHIFT, dp_object_addr(object) - slab,
			 dp_object_size(object));
}

int dp_object_copy(struct daxpin_pool *pool, struct dp_object object, uint64_t offset,
		   void *to, uint64_t length)
{
	uint64_t slab = dp_slab_addr(object.slab), block = slab >> DP_BLOCK_SHIFT;
	uint64_t at = dp_object_addr(object) + offset - slab;
	struct dp_handle handle = {
		block, dp_state_read(&pool->states, block).generation
	};
	int ret = dp_read(pool, handle, at, to, length);

	if (ret == -EIO)
		dp_slab_bar(&pool->objects, object.slab,
			    at / DP_BLOCK_SIZE * DP_BLOCK_SIZE,
			    dp_round_up(at + length, DP_BLOCK_SIZE));
	return ret;
}

/* --------------------------------------------------------------- make and free */

/* The descriptor word of a slab's extent. */
static int slab_write_descriptor(struct daxpin_pool *pool, uint64_t block,
				 struct dp_word word)
{
	uint32_t in_segment, segment = dp_segment_of(pool, block, &in_segment);
	const struct dp_table *table = dp_segment_table(&pool->media.segments, segment);

	word.gen &= DP_WORD_GEN_MASK;
	return dp_write_word(pool, (struct dp_lane_entry) {
		dp_table_word_addr(table, in_segment),
		dp_table_value(table, in_segment, word)
	});
}

/* D19, as for a KEEP. */
static int slab_use_page(struct daxpin_pool *pool, struct dp_handle handle)
{
	uint32_t in_segment, segment = dp_segment_of(pool, handle.block, &in_segment);
	int ret = dp_table_use(dp_segment_table(&pool->media.segments, segment),
			       in_segment);

	if (ret == -EIO && !dp_persist_error(&pool->media.persist))
		dp_quarantine_page(pool, handle);
	return ret;
}

/* D22: the words of a slab without objects. */
static int slab_write_bits(struct daxpin_pool *pool, uint64_t addr, uint32_t class)
{
	struct dp_persist *persist = &pool->media.persist;
	char *base = pool->media.geometry.base + addr;
	uint32_t words = dp_slab_shape(class).words;
	int ret;

	for (uint32_t i = 0; i < words; i++)
		dp_persist_store(persist, base + dp_slab_word_offset(i),
				 dp_slab_encode(pool->media.seed,
						addr + dp_slab_word_offset(i), 0));
	ret = dp_persist_flush(persist, base, dp_slab_word_offset(words));
	dp_persist_fence(persist);
	return ret;
}

/* Everything but the descriptor word, so that a failure leaves free blocks. */
static int slab_prepare(struct daxpin_pool *pool, uint32_t class,
			struct dp_handle handle, struct dp_slab **ret_slab)
{
	uint64_t addr = handle.block << DP_BLOCK_SHIFT;
	int ret = slab_use_page(pool, handle);

	if (!ret)
		ret = slab_write_bits(pool, addr, class);
	if (ret)
		return ret;
	*ret_slab = dp_slab_new(&pool->objects, class, addr);
	return *ret_slab ? 0 : -ENOMEM;
}

/* Free the extent of a slab that is CLOSING. */
static void slab_free(struct daxpin_pool *pool, struct dp_slab *slab)
{
	struct dp_word word = { DP_KIND_FREE, 1, 0, 0 };
	uint64_t block = dp_slab_addr(slab) >> DP_BLOCK_SHIFT;

	word.gen = dp_state_read(&pool->states, block).generation + 1;
	/* If the medium has failed, the slab stays as it is until the close. */
	if (dp_persist_error(&pool->media.persist) ||
	    slab_write_descriptor(pool, block, word))
		return;
	/* Before the blocks are free: they may become another slab at once. */
	dp_slab_forget(&pool->objects, slab);
	dp_state_free_slab(&pool->states, block);
}

/* Make a slab, and make it the current one of this thread, unless a shrink has closed
 * its segment meanwhile. */
static int slabs_make(struct daxpin_pool *pool, uint32_t class)
{
	struct dp_word word = { DP_KIND_SLAB, DP_SLAB_BLOCKS, 0, class };
	struct dp_handle handle;
	struct dp_slab *slab;
	int ret = dp_persist_error(&pool->media.persist);

	if (!ret)
		ret = dp_allocate_slab(pool, &handle);
	if (ret)
		return ret;
	ret = slab_prepare(pool, class, handle, &slab);
	if (ret) {
		dp_state_free_slab(&pool->states, handle.block);
		return ret;
	}
	word.gen = handle.generation;
	ret = slab_write_descriptor(pool, handle.block, word);
	/* After a failure it is unknown which word is on media, so the blocks stay
	 * claimed until the close. */
	if (ret)
		dp_slab_discard(&pool->objects, slab);
	else if (!dp_slab_own(&pool->objects, slab))
		slab_free(pool, slab);
	return ret;
}

/* If the medium fails, the other slabs stay as they are: objects can be reserved in
 * them until the close. */
bool dp_slabs_give_back(struct daxpin_pool *pool)
{
	struct dp_persist *persist = &pool->media.persist;
	uint64_t used = dp_objects_used(&pool->objects);
	bool any = false;

	for (; used; used &= used - 1) {
		uint32_t class = __builtin_ctzll(used);
		struct dp_slab *slab;

		while (!dp_persist_error(persist) &&
		       (slab = dp_slab_take_empty(&pool->objects, class))) {
			slab_free(pool, slab);
			any = true;
		}
	}
	return any;
}

int dp_slabs_allocate(struct daxpin_pool *pool, uint32_t blocks, uint32_t flags,
		      struct daxpin_extent *ret_extent)
{
	int ret = dp_allocate(pool, blocks, flags, ret_extent);

	if (ret == -ENOSPC && dp_slabs_give_back(pool))
		ret = dp_allocate(pool, blocks, flags, ret_extent);
	return ret;
}

void dp_slabs_withdraw(struct daxpin_pool *pool, uint32_t segment)
{
	struct dp_slab *slab = NULL;

	dp_objects_withdraw_from(&pool->objects,
			     dp_geometry_begin(&pool->media.geometry, segment));
	/* After a failure the shrink ends, and empty slabs stay in use. */
	while (!dp_persist_error(&pool->media.persist) &&
	       (slab = dp_slab_withdraw(&pool->objects, slab)))
		slab_free(pool, slab);
}

void dp_slabs_close(struct daxpin_pool *pool)
{
	struct dp_slab *slab = NULL;

	/* The close will fail, and the program can still read its objects. */
	if (dp_persist_error(&pool->media.persist))
		return;
	while ((slab = dp_slab_take_unused(&pool->objects, slab)))
		slab_free(pool, slab);
}

/* --------------------------------------------------------------------- objects */

/* In a slab that is not the current one. */
static int object_allocate_elsewhere(struct daxpin_pool *pool, uint32_t class,
				  uint64_t *ret_addr)
{
	int ret = 0;

	while (!ret && !dp_object_reserve(&pool->objects, class, ret_addr)) {
		ret = slabs_make(pool, class);
		if (ret == -ENOSPC && dp_slabs_give_back(pool))
			ret = slabs_make(pool, class);
		if ((ret == -ENOSPC || ret == -EAGAIN) &&
		    dp_object_steal(&pool->objects, class, ret_addr))
			return 0;
	}
	return ret;
}

int dp_object_allocate(struct daxpin_pool *pool, uint32_t class, bool zero,
		       uint64_t *ret_addr)
{
	int ret = 0;

	if (!dp_object_try_all(&pool->objects, class, ret_addr))
		ret = object_allocate_elsewhere(pool, class, ret_addr);
	if (!ret && zero)
		dp_persist_zero(&pool->media.persist,
				pool->media.geometry.base + *ret_addr,
				dp_slab_class_size(class));
	return ret;
}

/*
 * A read may have found the object's block bad just before it was freed. The free comes
 * before this load of has_bad, and dp_slab_bar() stores has_bad before it reads the
 * states: at least one of the two threads bars the object.
 */
static void object_bar_late(struct daxpin_pool *pool, struct dp_object object)
{
	uint64_t at = dp_object_addr(object) - dp_slab_addr(object.slab);

	if (dp_object_is_bad(pool, object))
		dp_slab_bar(&pool->objects, object.slab, at, at + 1);
}

int dp_object_return(struct daxpin_pool *pool, struct dp_object object, bool cancelled)
{
	struct dp_slab *closing = NULL;
	int ret = 0;

	/* It stays claimed, so that it is not reserved again. */
	if (!cancelled && dp_object_is_bad(pool, object))
		return dp_object_claim(object, DP_OBJECT_RESERVED);
	if (cancelled)
		dp_object_freed(&pool->objects, object, &closing);
	else
		ret = dp_object_cancel(&pool->objects, object, &closing);
	object_bar_late(pool, object);
	if (closing)
		slab_free(pool, closing);
	return ret;
}

void dp_object_end(struct daxpin_pool *pool, struct dp_object object)
{
	struct dp_slab *closing = NULL;

	if (dp_object_is_bad(pool, object))
		return;
	dp_object_settle_freed(&pool->objects, object, &closing);
	object_bar_late(pool, object);
	if (closing)
		slab_free(pool, closing);
}
