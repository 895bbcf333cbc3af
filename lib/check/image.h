/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool's metadata without opening the pool: segment by segment, as much of it as
 * is left, in private copies.
 */
#ifndef DP_IMAGE_H
#define DP_IMAGE_H

#include "media/badblocks.h"
#include "media/super.h"
#include "pool/pool.h"

#define DP_IMAGE_PAGES	(DP_META_SIZE_MAX / DP_BLOCK_SIZE)

struct dp_image {
	struct dp_pool pool;		/* found and locked, but not mapped; geometry
					   must be set before a size is given */
	struct dp_wait_policy *policy;	/* for the locks of later segments */
	uint8_t uuid[16];		/* of the pool that is meant; 0: any */
	/* The loaded segment. */
	uint32_t index;
	struct dp_file own;		/* of a later segment */
	int segment_fd;			/* of `own` or of the first file; -1: none */
	struct dp_map map;		/* the device, or the segment's file */
	char *base;			/* of the segment, mapped */
	char *copy;			/* the metadata; unreadable pages are zeroes */
	bool unreadable[DP_IMAGE_PAGES];
	struct dp_badblocks badblocks;	/* of the segment */
	struct dp_badblocks_view view;	/* for reading it */
	uint8_t chunk[DP_SEGMENT_SIZE_MAX / DP_CHUNK_SIZE];
};

/* Find it and take the owner lock: shared if the request is for reading. */
int dp_image_open(struct dp_image *image, struct dp_pool_request *request);
void dp_image_close(struct dp_image *image);

/*
 * Load a segment of `size` bytes. If the size is not known yet (0), only the superblock
 * of segment 0 and its copy are read, without testing whether there is a pool.
 *
 * -ENOENT   the segment's file is missing
 * -EUCLEAN  the file is too short
 * others    as dp_file_open() and dp_file_lock(), and of system calls
 */
int dp_image_segment(struct dp_image *image, uint32_t index, uint64_t size,
		     const struct dp_errmsg *errmsg);

/* Unmap the loaded segment, and close it unless it is segment 0. */
void dp_image_end_segment(struct dp_image *image);

/* All four halves of the superblock, from the private copy. */
void dp_image_super(const struct dp_image *image,
		    struct dp_super_halves *ret_halves);

/* Is any page of that range of the metadata unreadable? */
bool dp_image_is_unreadable(const struct dp_image *image, uint64_t offset,
			    uint64_t size);

#endif
