/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bad blocks under an extent. Blocks that the kernel listed are quarantined at the open
 * (recover.c), and blocks that a read finds are quarantined here. The quarantine lasts
 * until the close; the next open reads the kernel's list again.
 *
 * Invariants:
 *	I64	a block that a read found bad is never given to another extent
 */
#include <errno.h>
#include "core/medium.h"
#include "util/cancel.h"

/* Does the kernel's list of bad blocks, as read at the open, contain one of these
 * bytes? */
static bool medium_is_listed(const struct daxpin_pool *pool, uint32_t segment,
			     uint64_t begin, uint64_t end)
{
	struct dp_badblocks_run run;

	return dp_badblocks_find(dp_segment_badblocks(&pool->media.segments, segment),
				 begin, end, &run);
}

/* After a degraded open, blocks whose descriptor words are damaged are in quarantine,
 * too. Their data can be read, so then only the kernel's list is searched. */
bool dp_is_bad(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	       uint64_t length)
{
	uint32_t in_segment, segment = dp_segment_of(pool, block, &in_segment);
	uint64_t begin = ((uint64_t)in_segment << DP_BLOCK_SHIFT) + offset;
	uint64_t end = begin + length;
	uint32_t last = dp_round_up(end, DP_BLOCK_SIZE) >> DP_BLOCK_SHIFT;

	assert(last <= dp_geometry_blocks(&pool->media.geometry, segment));
	if (!length)
		return false;
	if (pool->quarantined_blocks)
		return medium_is_listed(pool, segment, begin, end);
	return dp_bits_find_quarantined(dp_spaces_bits(&pool->spaces, segment),
					begin >> DP_BLOCK_SHIFT, last, true) < last;
}

/* Copy from a segment; -EIO where a load would be SIGBUS. */
static int medium_read(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
		       void *to, uint64_t length)
{
	uint32_t in_segment, segment = dp_segment_of(pool, block, &in_segment);

	return dp_badblocks_read(dp_segment_view(&pool->media.segments, segment),
				 ((uint64_t)in_segment << DP_BLOCK_SHIFT) + offset,
				 to, length);
}

/* Read each block of a range by itself, and quarantine those that cannot be read. */
static int medium_quarantine(struct daxpin_pool *pool, struct dp_handle handle,
			     uint64_t offset, uint64_t length)
{
	uint64_t end = handle.block + ((offset + length - 1) >> DP_BLOCK_SHIFT) + 1;
	char copy[DP_BLOCK_SIZE];
	int ret = 0;

	for (uint64_t block = handle.block + (offset >> DP_BLOCK_SHIFT);
	     !ret && block < end; block++)
		if (medium_read(pool, block, 0, copy, sizeof(copy)) == -EIO)
			ret = dp_state_quarantine(&pool->states, handle.block,
						  handle.generation, block);
	return ret;
}

int dp_read(struct daxpin_pool *pool, struct dp_handle handle, uint64_t offset,
	    void *to, uint64_t length)
{
	int ret;

	if (dp_is_bad(pool, handle.block, offset, length))
		return -EIO;
	ret = medium_read(pool, handle.block, offset, to, length);
	if (ret != -EIO)
		return ret;
	ret = medium_quarantine(pool, handle, offset, length);
	return ret ? ret : -EIO;
}

/* Errors are ignored: if there is no memory for the bitmap of quarantined blocks,
 * nothing changes, and the next KEEP with a word in this page fails with -EIO and tries
 * again. */
void dp_quarantine_page(struct daxpin_pool *pool, struct dp_handle handle)
{
	DP_UNCANCELLED();
	uint32_t meta = dp_geometry_meta_blocks(&pool->media.geometry);
	uint32_t in_segment, segment = dp_segment_of(pool, handle.block, &in_segment);
	uint32_t block = in_segment / DP_PAGE_WORDS * DP_PAGE_WORDS;
	uint32_t end = block + DP_PAGE_WORDS;

	assert(end <= dp_geometry_blocks(&pool->media.geometry, segment));
	for (block = block < meta ? meta : block; block < end; block++)
		dp_state_quarantine(&pool->states, handle.block, handle.generation,
				    handle.block - in_segment + block);
}
