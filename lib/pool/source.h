/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the memory comes from: a device-dax node or a directory of segment
 * files. Tells what it is and opens its files; reads and changes no content.
 */
#ifndef DP_SOURCE_H
#define DP_SOURCE_H

#include <sys/stat.h>
#include "media/layout.h"
#include "pool/judge.h"
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
	struct stat dir_stat;		/* of it, as it was opened */
	bool made_dir;
	bool no_dma;			/* the filesystem was insisted on */
	bool is_xfs;
	uint32_t flags;			/* DP_SOURCE_... */
	unsigned int mode;		/* of new files, less the umask */
	char *path;			/* a copy, for messages */
	char device[64];		/* "daxX.Y" */
	dev_t device_number;
	uint64_t device_size;
	uint64_t align;			/* of mappings */
};

/* DP_JUDGE_ANY_OWNER and _ANY_FILESYSTEM, and: */
#define DP_SOURCE_ANY_NODE	0x10u	/* a node outside devtmpfs is fine */
#define DP_SOURCE_MAKE_DIR	0x20u

/* mode: of the files and, with x for each r, the directory that are made. */
int dp_source_find(struct dp_source *source, const char *path, uint32_t flags,
		   unsigned int mode, const struct dp_errmsg *errmsg);
void dp_source_close(struct dp_source *source);
/* Take back the directory that dp_source_find() made, if it is empty. */
void dp_source_unmake(struct dp_source *source);

#define DP_SEGMENT_NAME_SIZE 24
void dp_source_segment_name(uint32_t index, char name[DP_SEGMENT_NAME_SIZE]);

/*
 * Open segment index (for a device: the node, index 0 only); open(2) flags. No
 * link is followed, nothing is waited for, and what was opened is not judged yet.
 * A negative errno of openat(); dp_source_cannot_open() has the sentence.
 */
int dp_source_open(const struct dp_source *source, uint32_t index, int flags);
/* error: of dp_source_open(). What it means here: another errno perhaps. */
int dp_source_cannot_open(const struct dp_source *source, uint32_t index,
			  int error, const struct dp_errmsg *errmsg);
/* May fd, which has stat open, be the file of segment index, or the device? */
int dp_source_judge(const struct dp_source *source, uint32_t index, int fd,
		    const struct stat *stat, bool to_be_made,
		    const struct dp_errmsg *errmsg);
/* What the name of segment index, or of the device, stands for now. */
int dp_source_look(const struct dp_source *source, uint32_t index,
		   struct stat *ret_stat);
/* Remove the name of segment index if it still is the file that fd has open. */
void dp_source_remove(const struct dp_source *source, uint32_t index, int fd);

/* Which file an open one is; nothing for a device. */
int dp_source_file_id(const struct dp_source *source, int fd,
		      struct dp_file_id *ret_id);

/* Tell fsdax from disk by a first open file; nothing to tell elsewhere. */
int dp_source_classify(struct dp_source *source, int fd);

/* How many segment files have an index not below `segments`; or -errno. */
int dp_source_extra_files(const struct dp_source *source, uint32_t segments);

#define DP_CHUNK_BACKED		0x1u
#define DP_CHUNK_ALIGNED	0x2u	/* physically, to 2 MiB */
#define DP_CHUNK_DOUBT		0x4u	/* not BACKED, perhaps not all a hole */
#define DP_CHUNK_WANTED		0x20u	/* not BACKED, but something stands there */
#define DP_CHUNK_SHARED		0x10u	/* another file has some of its blocks */

/* Flags of each chunk of a segment. */
int dp_source_chunks(const struct dp_source *source, int fd, uint64_t size,
		     uint8_t *chunk, const struct dp_errmsg *errmsg);

#endif
