/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocates and unshares blocks of a pool's files, in steps. The files' contents do not
 * change.
 */
#ifndef DP_BLOCKS_H
#define DP_BLOCKS_H

#include "owner/lock.h"
#include "pool/falloc.h"
#include "pool/segment.h"

/* The work of a whole call, and its progress. */
struct dp_blocks {
	struct dp_wait_policy *policy;
	struct dp_falloc *falloc;	/* on a DAX filesystem; otherwise NULL */
	uint64_t done_bytes;
	uint64_t total_bytes;
};

/* A range of a file that is open for writing. */
struct dp_blocks_range {
	int fd;
	uint64_t offset;
	uint64_t size;
	/* tmpfs: the mapping of the range; otherwise NULL (kernel.md K19). */
	char *mapped;
};

/*
 * Allocate every block of the range, including holes; the file grows to its end. After
 * a failure the completed steps are kept. -ENOSPC, and the errors of dp_wait_work().
 */
int dp_blocks_allocate(struct dp_blocks *blocks, struct dp_blocks_range range);
/* Unshare every block of the range from other files, and allocate its holes. */
int dp_blocks_unshare(struct dp_blocks *blocks, struct dp_blocks_range range);
/* The same as dp_blocks_allocate() without progress reports or a deadline. */
int dp_blocks_allocate_here(struct dp_blocks_range range);

/* ------------------------------------------------------------- of a whole pool */

/* Give the files of a create, or of a grow those from the segment `first` on, which are
 * mapped, their size and all their blocks. What cannot fit is refused before the first
 * block is allocated. */
int dp_blocks_create(struct dp_segments *segments, uint32_t first,
		     struct dp_wait_policy *policy,
		     const struct dp_errmsg *errmsg);
/*
 * The bytes of chunks that an open for writing must process first: metadata and WANTED
 * chunks without all their blocks and, on a DAX filesystem, chunks that share blocks
 * with another file (A10).
 */
uint64_t dp_blocks_lacking(const struct dp_segments *segments);
/* Allocate and unshare these blocks, and list the chunks again. The contents do not
 * change (W7). */
int dp_blocks_allocate_missing(struct dp_segments *segments,
			       struct dp_wait_policy *policy,
			       const struct dp_errmsg *errmsg);

#endif
