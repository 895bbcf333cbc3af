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
	struct dp_pool pool;		/* found and locked, none of it mapped; its
					   geometry is there when a size is given */
	struct dp_wait_policy *policy;	/* for the locks of later segments */
	uint8_t uuid[16];		/* of the pool that is meant; 0: any */
	/* The loaded segment. */
	uint32_t index;
	struct dp_file own;		/* of a later segment */
	int segment_fd;			/* its, or the first's; -1: none */
	struct dp_map map;		/* the device, or the file's metadata */
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
 * Look at a segment. size 0: it is not known yet, and only the superblocks are
 * read, whether this is a pool or not. -ENOENT: its file is missing; -EUCLEAN: it is
 * too short; each with a sentence.
 */
int dp_image_segment(struct dp_image *image, uint32_t index, uint64_t size,
		     const struct dp_errmsg *errmsg);

/* The superblock's halves, of the copy. */
void dp_image_super(const struct dp_image *image,
		    struct dp_super_halves *ret_halves);

/* Is any page of that range of the metadata unreadable? */
bool dp_image_is_unreadable(const struct dp_image *image, uint64_t offset,
			    uint64_t size);

#endif
