/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the memory comes from: a device-dax node or a directory of segment
 * files. Tells what it is and opens its files; reads and changes no content.
 */
#ifndef DP_SOURCE_H
#define DP_SOURCE_H

#include <sys/types.h>
#include "util/util.h"

enum dp_source_kind {		/* as enum daxpin_source */
	DP_SOURCE_DEVDAX = 1,
	DP_SOURCE_FSDAX,
	DP_SOURCE_SHMEM,
	DP_SOURCE_DISK,
};

struct dp_source {
	enum dp_source_kind kind;
	int dir;			/* -1 for a device */
	bool made_dir;
	char *path;			/* a copy, for messages */
	char device[64];		/* "daxX.Y" */
	uint64_t device_size;
	uint64_t align;			/* of mappings */
};

#define DP_SOURCE_ANY_NODE	0x1u	/* a node outside devtmpfs is fine */
#define DP_SOURCE_MAKE_DIR	0x2u

int dp_source_find(struct dp_source *source, const char *path, uint32_t flags,
		   const struct dp_why *why);
void dp_source_close(struct dp_source *source);
/* Take back the directory that dp_source_find() made, if it is empty. */
void dp_source_unmake(struct dp_source *source);

/* Who segment 0 is, without opening it. -ENOENT: there is none. */
int dp_source_identity(const struct dp_source *source, dev_t *ret_dev,
		       ino_t *ret_ino);

#define DP_SEGMENT_NAME_SIZE 24
void dp_source_segment_name(uint32_t index, char name[DP_SEGMENT_NAME_SIZE]);

/* Open segment index (for a device: the node, index 0 only); open(2) flags. */
int dp_source_open(struct dp_source *source, uint32_t index, int flags,
		   const struct dp_why *why);

/* Tell fsdax from disk by a first open file; nothing to tell elsewhere. */
int dp_source_classify(struct dp_source *source, int fd);

/* Segment files whose index is not below `segments`. */
int dp_source_extra_files(const struct dp_source *source, uint32_t segments);

#define DP_CHUNK_BACKED		0x1u
#define DP_CHUNK_ALIGNED	0x2u	/* physically, to 2 MiB */
#define DP_CHUNK_DOUBT		0x4u	/* not BACKED, perhaps not all a hole */

/* Flags of each chunk of a segment. Reflinked files: -EOPNOTSUPP (A10). */
int dp_source_chunks(const struct dp_source *source, int fd, uint64_t size,
		     uint8_t *chunk, const struct dp_why *why);

#endif
