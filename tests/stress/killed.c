/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must be in the pool after the process that used it was killed. The shadow of
 * that process is in shared memory, so it has every call that had returned. A call that
 * had not returned was done or not; the shadow notes an end before the call that causes
 * it.
 */
#include <inttypes.h>
#include "killed.h"
#include "objects.h"
#include "segment_files.h"

#define BLOCKS	(STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE)

static struct {
	struct daxpin_extent extent[BLOCKS];	/* live ones, at their first block */
	uint32_t blocks[BLOCKS];		/* 0: none begins here */
	uint64_t bytes;
} found;

static int find_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	uint64_t block = extent.addr / DAXPIN_BLOCK_SIZE;
	struct named named;

	(void)pool;
	(void)arg;
	shadow_look(block, &named);
	if (!named.generation || named.blocks * DAXPIN_BLOCK_SIZE != size)
		shadow_fail("after a kill an extent of %" PRIu64 " bytes at 0x%" PRIx64
			    " is live, which nobody kept", size, extent.addr);
	named.extent = extent;
	check_stamps(named, 0);
	found.extent[block] = extent;
	found.blocks[block] = named.blocks;
	found.bytes += size;
	return 0;
}

/* Every byte belongs to an extent, to a slab, to the free space, or to a hole. */
static void check_space(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	if (daxpin_pool_info(world.pool, &info))
		shadow_fail("there is no information about the pool");
	if (info.free_bytes + info.hole_bytes + info.slab_bytes + found.bytes !=
	    info.usable_bytes)
		shadow_fail("after a kill %" PRIu64 " bytes are free, %" PRIu64
			    " in holes, %" PRIu64 " in slabs, %" PRIu64
			    " in extents, of %" PRIu64, info.free_bytes,
			    info.hole_bytes, info.slab_bytes, found.bytes,
			    info.usable_bytes);
}

/* The new process goes on with what is live, as generations of its own. */
static void adopt(void)
{
	shadow_reset();
	for (uint64_t b = 0; b < BLOCKS; b++) {
		struct named named;

		if (!found.blocks[b])
			continue;
		named = shadow_begin(found.extent[b], found.blocks[b]);
		shadow_kept(named);
		write_stamps(named);
	}
}

void killed_compare(struct killed *ret)
{
	found.bytes = 0;
	ret->extents = 0;
	if (daxpin_foreach(world.pool, find_extent, NULL))
		shadow_fail("the extents cannot be listed after a kill");
	for (uint64_t b = 0; b < BLOCKS; b++) {
		struct named named;

		if (shadow_look(b, &named) == SHADOW_LIVE && !found.blocks[b])
			shadow_fail("a kill has lost generation %" PRIu64 " of block %"
				    PRIu64, named.generation, b);
		ret->extents += found.blocks[b] != 0;
	}
	check_space();
	adopt();
	ret->objects = objects_survived();
}

void killed_check_files(const char *path)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t bytes;
	size_t files = segment_files(path, &bytes);

	if (!files || daxpin_pool_info(world.pool, &info))
		shadow_fail("the files of %s cannot be examined", path);
	if (files != info.segments || bytes != info.media_bytes || info.hole_bytes)
		shadow_fail("%zu files of %" PRIu64 " bytes for %u segments of %" PRIu64
			    ", %" PRIu64 " of them in holes", files, bytes,
			    info.segments, info.media_bytes, info.hole_bytes);
}
