/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which chunks are holes, and which a job has claimed to make or fill holes. A chunk
 * that is not BACKED has no free blocks, so that reserve cannot find it (D9). The
 * caller protects all of it with one mutex.
 */
#ifndef DP_HOLE_H
#define DP_HOLE_H

#include "extent/spaces.h"
#include "pool/pool.h"

/* A flag of a chunk besides those of source.h: a job has claimed it. */
#define DP_CHUNK_CLAIMED	0x8u

enum dp_job_kind {
	DP_JOB_RECLAIM,			/* backed and free -> hole */
	DP_JOB_REFILL,			/* hole -> backed and free */
};

enum dp_claim_end {
	DP_CLAIM_DONE,
	DP_CLAIM_UNCHANGED,		/* as it was before the claim */
	DP_CLAIM_PARTIAL,		/* failed: the chunk may be partly a hole, and
					   counts as one until a later job succeeds */
};

struct dp_run {
	uint32_t chunk;
	uint32_t chunks;
};

struct dp_holes {
	struct dp_pool *media;
	struct dp_spaces *spaces;
	_Atomic uint64_t blocks;	/* in chunks that are not BACKED */
	_Atomic uint64_t claimed;	/* chunks that jobs have claimed */
};

/* The number of chunks of a segment that a job of this kind could claim now. A reclaim
 * may claim free chunks only with `spare`. Without it, it claims only the chunks that a
 * failed job left PARTIAL, of which no block is free. */
uint32_t dp_holes_candidates(struct dp_holes *holes, uint32_t segment,
			     enum dp_job_kind kind, bool spare);
/* Claim at most `chunks` of them, of which at most `spare` are free ones, from the end
 * of the segment. Stores at most `runs` runs of chunks in `run`, and returns their
 * number. Claimed chunks cannot be reserved (I7) until dp_holes_end(). */
uint32_t dp_holes_claim(struct dp_holes *holes, uint32_t segment,
			enum dp_job_kind kind, uint32_t chunks, uint32_t spare,
			struct dp_run *run, uint32_t runs);
bool dp_holes_claim_one(struct dp_holes *holes, uint32_t segment,
			uint32_t chunk, enum dp_job_kind kind, bool spare);
void dp_holes_end(struct dp_holes *holes, uint32_t segment,
		  enum dp_job_kind kind, struct dp_run run,
		  enum dp_claim_end end);

bool dp_holes_any(const struct dp_holes *holes, uint32_t segment);

#endif
