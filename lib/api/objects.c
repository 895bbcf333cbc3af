/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_object_reserve(3): small objects. The caller's mistakes are found here;
 * core/slabs.c makes the slabs, and core/publish.c keeps and frees objects.
 */
#include <errno.h>
#include "core/medium.h"
#include "core/slabs.h"
#include "util/cancel.h"

#define FETCH_AHEAD	8u	/* objects */

static_assert(DAXPIN_OBJECT_MAX == DP_OBJECT_UNITS * DP_OBJECT_UNIT, "the classes");

/* Not inlined, so that the fast path saves no registers. Its arguments are in the same
 * order for the same reason. */
__attribute__((noinline))
static int object_reserve_slowly(struct daxpin_pool *pool, uint64_t size,
				 uint32_t flags, uint64_t *ret_addr)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (size - 1 >= DAXPIN_OBJECT_MAX || flags & ~DAXPIN_RESERVE_ZERO || !ret_addr)
		return -EINVAL;
	if (pool->media.readonly)
		return -EROFS;
	return dp_object_allocate(pool, dp_objects_class(&pool->objects, size),
				  flags & DAXPIN_RESERVE_ZERO, ret_addr);
}

/*
 * Fetch the first cache line of an object that a later reserve probably returns. The
 * locked operation of each reserve seems to wait until the caller's stores to the
 * objects that it got before have reached the cache. A prefetch does not fault. If it
 * is behind the slab or in a bad block, it is in vain, and the platform may log it.
 */
static inline void object_fetch_next(const struct daxpin_pool *pool, uint64_t addr,
				     uint32_t class)
{
	uint64_t next = addr + FETCH_AHEAD * pool->objects.class[class].size;

	__builtin_prefetch((void *)((uintptr_t)pool->media.geometry.base + next), 1);
}

/* A close that failed makes the pool read-only, while threads have current slabs. */
DP_EXPORT int daxpin_object_reserve(struct daxpin_pool *pool, uint64_t size,
				    uint32_t flags, uint64_t *ret_addr)
{
	uint32_t class;

	if (dp_enter(pool) || size - 1 >= DAXPIN_OBJECT_MAX || flags || !ret_addr ||
	    pool->media.readonly)
		return object_reserve_slowly(pool, size, flags, ret_addr);
	class = dp_objects_class(&pool->objects, size);
	if (!dp_object_try(&pool->objects, class, ret_addr))
		return object_reserve_slowly(pool, size, 0, ret_addr);
	object_fetch_next(pool, *ret_addr, class);
	return 0;
}

/* A forked child finds no object (dp_states_blocks()): dp_enter() names the error. */
static inline int object_find(struct daxpin_pool *pool, uint64_t addr,
			      struct dp_object *ret_object)
{
	int ret;

	if (pool && dp_object_find(&pool->objects, addr, ret_object))
		return 0;
	ret = dp_enter(pool);
	return ret ? ret : -EINVAL;
}

DP_EXPORT int daxpin_object_cancel(struct daxpin_pool *pool, uint64_t addr)
{
	struct dp_object object;
	int ret = object_find(pool, addr, &object);
	uint64_t word;

	if (ret)
		return ret;
	if (!dp_object_try_cancel(object, &word))
		return dp_object_return(pool, object, false);
	return dp_object_is_settled(object, word) ? 0 :
	       dp_object_return(pool, object, true);
}

/* Find an object that is reserved or live. */
static int object_enter(struct daxpin_pool *pool, uint64_t addr,
			struct dp_object *ret_object)
{
	int ret = object_find(pool, addr, ret_object);

	if (ret)
		return ret;
	return dp_object_state(*ret_object) == DP_OBJECT_FREE ? -ESTALE : 0;
}

DP_EXPORT void *daxpin_object_ptr(struct daxpin_pool *pool, uint64_t addr)
{
	struct dp_object object;

	return object_enter(pool, addr, &object) ? NULL :
	       pool->media.geometry.base + addr;
}

DP_EXPORT int daxpin_object_size(struct daxpin_pool *pool, uint64_t addr,
				 uint64_t *ret_size)
{
	struct dp_object object;
	int ret = ret_size ? object_enter(pool, addr, &object) : -EINVAL;

	if (!ret)
		*ret_size = dp_object_size(object);
	return ret;
}

DP_EXPORT int daxpin_object_read(struct daxpin_pool *pool, uint64_t addr,
				 uint64_t offset, uint64_t length, void *to)
{
	DP_CANCEL_POINT();
	struct dp_object object;
	int ret = to ? object_enter(pool, addr, &object) : -EINVAL;

	if (ret || !length)
		return ret;
	if (offset > dp_object_size(object) ||
	    length > dp_object_size(object) - offset)
		return -EINVAL;
	ret = dp_object_copy(pool, object, offset, to, length);
	/* The copied bytes are the object's only if it was not freed meanwhile. */
	return object_enter(pool, addr, &object) ? -ESTALE : ret;
}

/* Visit the objects of a slab that are live on media. */
static int objects_visit_slab(struct daxpin_pool *pool, struct dp_slab *slab,
			      int (*fn)(struct daxpin_pool *pool, uint64_t addr,
					uint64_t size, void *arg), void *arg)
{
	struct dp_object object = { slab, 0 };
	int ret = 0;

	for (; !ret && object.index < dp_slab_objects(slab); object.index++)
		if (dp_object_is_on_media(object))
			ret = fn(pool, dp_object_addr(object), dp_object_size(object),
				 arg);
	return ret;
}

/* The length of the extent that begins at a block, or 1. */
static uint32_t objects_blocks_at(struct daxpin_pool *pool, uint64_t block)
{
	bool free = dp_state_read(&pool->states, block).state == DP_STATE_FREE;

	return free ? 1 : dp_state_blocks(&pool->states, block);
}

/* The next slab at or after a block of the pool. *ret_block is the first block behind
 * it. NULL: there is none. */
static struct dp_slab *objects_next_slab(struct daxpin_pool *pool, uint64_t block,
					 uint64_t *ret_block)
{
	while (block < pool->block_end) {
		uint32_t in_segment, segment = dp_segment_of(pool, block, &in_segment);
		uint32_t end = dp_geometry_blocks(&pool->media.geometry, segment);
		uint32_t next = dp_bits_find(dp_spaces_bits(&pool->spaces, segment),
					     dp_min(in_segment, end), end, false);
		struct dp_slab *slab;

		if (next == end) {
			block += pool->segment_mask + 1 - in_segment;
			continue;
		}
		block += next - in_segment;
		slab = dp_slab_at(&pool->objects, block);
		*ret_block = block + DP_SLAB_BLOCKS;
		if (slab && dp_slab_addr(slab) == block << DP_BLOCK_SHIFT)
			return slab;
		block += objects_blocks_at(pool, block);
	}
	return NULL;
}

DP_EXPORT int daxpin_foreach_object(struct daxpin_pool *pool,
				    int (*fn)(struct daxpin_pool *pool,
					      uint64_t addr, uint64_t size,
					      void *arg), void *arg)
{
	DP_CANCEL_POINT();
	struct dp_slab *slab;
	uint64_t block = 0;
	int ret = dp_enter(pool);

	if (ret || !fn)
		return ret ? ret : -EINVAL;
	while (!ret && (slab = objects_next_slab(pool, block, &block)))
		ret = objects_visit_slab(pool, slab, fn, arg);
	return ret;
}
