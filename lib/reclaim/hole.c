/* SPDX-License-Identifier: BSD-3-Clause */
#include "reclaim/hole.h"

static uint32_t hole_chunks_of(const struct dp_holes *holes, uint32_t segment)
{
	return dp_geometry_chunks(&holes->media->geometry, segment);
}

/* The first chunk that is not metadata. */
static uint32_t hole_first_chunk(const struct dp_holes *holes)
{
	return dp_geometry_meta_chunks(&holes->media->geometry);
}

static uint8_t hole_flags_of(const struct dp_holes *holes, uint32_t segment,
			     uint32_t chunk)
{
	return dp_segment_chunk(&holes->media->segments, segment, chunk);
}

/* The index in the pool of a chunk's first block. */
static uint64_t hole_block(const struct dp_holes *holes, uint32_t segment,
			   uint32_t chunk)
{
	return (dp_geometry_begin(&holes->media->geometry, segment) >>
		DP_BLOCK_SHIFT) + (uint64_t)chunk * DP_CHUNK_BLOCKS;
}

static bool hole_is_all_free(struct dp_holes *holes, uint32_t segment,
			     uint32_t chunk)
{
	return dp_bits_are_free(dp_spaces_bits(holes->spaces, segment),
				chunk * DP_CHUNK_BLOCKS, DP_CHUNK_BLOCKS);
}

static bool hole_is_candidate(struct dp_holes *holes, uint32_t segment,
			      uint32_t chunk, enum dp_job_kind kind, bool spare)
{
	uint8_t flags = hole_flags_of(holes, segment, chunk);

	if (flags & DP_CHUNK_CLAIMED)
		return false;
	if (kind == DP_JOB_REFILL)
		return !(flags & DP_CHUNK_BACKED);
	if (flags & DP_CHUNK_PARTIAL)
		return true;
	return spare && flags & DP_CHUNK_BACKED &&
	       hole_is_all_free(holes, segment, chunk);
}

uint32_t dp_holes_candidates(struct dp_holes *holes, uint32_t segment,
			     enum dp_job_kind kind, bool spare)
{
	uint32_t count = 0;

	for (uint32_t i = hole_first_chunk(holes);
	     i < hole_chunks_of(holes, segment); i++)
		count += hole_is_candidate(holes, segment, i, kind, spare);
	return count;
}

/* A reserve may claim a block of the chunk after hole_is_candidate() has found all of
 * them free. So dp_spaces_claim_at() tests them again, under the lock of the space. */
bool dp_holes_claim_one(struct dp_holes *holes, uint32_t segment,
			uint32_t chunk, enum dp_job_kind kind, bool spare)
{
	uint8_t flags = hole_flags_of(holes, segment, chunk);

	if (!hole_is_candidate(holes, segment, chunk, kind, spare))
		return false;
	if (flags & DP_CHUNK_BACKED &&
	    !dp_spaces_claim_at(holes->spaces, hole_block(holes, segment, chunk),
				DP_CHUNK_BLOCKS))
		return false;
	dp_segment_set_chunk(&holes->media->segments, segment, chunk,
			     flags | DP_CHUNK_CLAIMED);
	atomic_fetch_add(&holes->claimed, 1);
	return true;
}

uint32_t dp_holes_claim(struct dp_holes *holes, uint32_t segment,
			enum dp_job_kind kind, uint32_t chunks, uint32_t spare,
			struct dp_run *run, uint32_t runs)
{
	uint32_t count = 0;

	for (uint32_t i = hole_chunks_of(holes, segment) - 1;
	     i >= hole_first_chunk(holes) && chunks; i--) {
		bool follows = count && run[count - 1].chunk == i + 1;

		if (!follows && count == runs)
			break;
		if (!dp_holes_claim_one(holes, segment, i, kind, spare))
			continue;
		if (!follows)
			run[count++] = (struct dp_run) { i + 1, 0 };
		run[count - 1].chunk--;
		run[count - 1].chunks++;
		chunks--;
		spare -= !!(hole_flags_of(holes, segment, i) & DP_CHUNK_BACKED);
	}
	return count;
}

/* The flags of a chunk after its claim has ended with `end`. */
static uint8_t hole_flags_after(uint8_t flags, bool backed,
				enum dp_claim_end end)
{
	flags &= ~(DP_CHUNK_BACKED | DP_CHUNK_CLAIMED);
	if (end != DP_CLAIM_UNCHANGED)
		flags &= ~DP_CHUNK_PARTIAL;
	if (end == DP_CLAIM_PARTIAL)
		flags |= DP_CHUNK_PARTIAL;
	return backed ? flags | DP_CHUNK_BACKED : flags;
}

static void hole_end_one(struct dp_holes *holes, uint32_t segment,
			 uint32_t chunk, enum dp_job_kind kind,
			 enum dp_claim_end end)
{
	uint8_t flags = hole_flags_of(holes, segment, chunk);
	bool was_backed = flags & DP_CHUNK_BACKED;
	bool backed = end == DP_CLAIM_UNCHANGED ? was_backed :
		      end == DP_CLAIM_DONE && kind == DP_JOB_REFILL;

	assert(flags & DP_CHUNK_CLAIMED);
	assert(!(was_backed && flags & DP_CHUNK_PARTIAL));
	flags = hole_flags_after(flags, backed, end);
	assert(!(backed && flags & DP_CHUNK_PARTIAL));
	dp_segment_set_chunk(&holes->media->segments, segment, chunk, flags);
	if (was_backed && !backed)
		atomic_fetch_add(&holes->blocks, DP_CHUNK_BLOCKS);
	if (!was_backed && backed)
		atomic_fetch_sub(&holes->blocks, DP_CHUNK_BLOCKS);
	if (!backed)
		return;
	dp_spaces_free_uncached(holes->spaces, hole_block(holes, segment, chunk),
				DP_CHUNK_BLOCKS);
}

void dp_holes_end(struct dp_holes *holes, uint32_t segment,
		  enum dp_job_kind kind, struct dp_run run,
		  enum dp_claim_end end)
{
	assert(run.chunks);
	for (uint32_t i = 0; i < run.chunks; i++)
		hole_end_one(holes, segment, run.chunk + i, kind, end);
	atomic_fetch_sub(&holes->claimed, run.chunks);
}

bool dp_holes_any(const struct dp_holes *holes, uint32_t segment)
{
	for (uint32_t i = hole_first_chunk(holes);
	     i < hole_chunks_of(holes, segment); i++)
		if (!(hole_flags_of(holes, segment, i) & DP_CHUNK_BACKED))
			return true;
	return false;
}
