/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks for ranges of a pool's files: allocated, or made this file's alone, in
 * steps. Changes no byte of what the files say.
 */
#ifndef DP_BLOCKS_H
#define DP_BLOCKS_H

#include "owner/lock.h"
#include "pool/ask.h"
#include "pool/segment.h"

/* What is to be done, all of it together, and how far that is. */
struct dp_blocks {
	struct dp_wait_policy *policy;
	struct dp_ask *ask;		/* on a DAX filesystem; else NULL */
	uint64_t done_bytes;
	uint64_t total_bytes;
};

/* A range of a file that is open for writing. */
struct dp_blocks_range {
	int fd;
	uint64_t offset;
	uint64_t size;
	/* tmpfs: where the range is mapped; else NULL (kernel.md K19). */
	char *mapped;
};

/*
 * Every block of the range is there, holes included; the file grows to its end.
 * What was done before a failure is kept. -ENOSPC; -ECANCELED, -ETIMEDOUT: as
 * dp_wait_work().
 */
int dp_blocks_allocate(struct dp_blocks *blocks, struct dp_blocks_range range);
/* No block of the range is another file's too; its holes are allocated. */
int dp_blocks_unshare(struct dp_blocks *blocks, struct dp_blocks_range range);
/* As dp_blocks_allocate(), without anybody to ask: to the end. */
int dp_blocks_allocate_here(struct dp_blocks_range range);

/* ------------------------------------------------------------- of a whole pool */

/* The files of a create, which are mapped, get their size and all their blocks. What
 * cannot fit is refused before the first is allocated. */
int dp_blocks_create(struct dp_segments *segments,
		     struct dp_wait_policy *policy,
		     const struct dp_errmsg *errmsg);
/*
 * Of chunks that an open for writing must have and that lack blocks, the bytes: of
 * metadata and WANTED ones that are not all there; on a DAX filesystem of those with
 * blocks that another file has, too (A10).
 */
uint64_t dp_blocks_lacking(const struct dp_segments *segments);
/* They get them, and are listed anew. Bytes that are read stay as they are (W7). */
int dp_blocks_give(struct dp_segments *segments, struct dp_wait_policy *policy,
		   const struct dp_errmsg *errmsg);

#endif
