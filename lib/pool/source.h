/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the memory comes from: a device-dax node or a directory of segment files. Finds
 * out which, and opens the files; neither reads nor changes their contents.
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

/* What source.c has found. Any file may read it and none changes it. It is not copied,
 * because dp_source_close() closes `dir` and frees `path`. */
struct dp_source {
	enum dp_source_kind kind;
	int dir;			/* -1 for a device */
	struct stat dir_stat;		/* when it was opened */
	bool made_dir;
	bool no_dma;			/* a doubtful filesystem, allowed by a flag */
	bool is_xfs;
	uint32_t flags;			/* DP_SOURCE_... */
	unsigned int mode;		/* of new files, less the umask */
	char *path;			/* a copy, for messages */
	char device[64];		/* "daxX.Y" */
	dev_t device_number;
	uint64_t device_size;
	uint64_t align;			/* of mappings */
};

/* DP_JUDGE_ANY_OWNER, DP_JUDGE_ANY_FILESYSTEM, and: */
#define DP_SOURCE_ANY_NODE	0x10u	/* accept a node outside devtmpfs */
#define DP_SOURCE_MAKE_DIR	0x20u

/* mode: of new files and, with x added for each r, of a new directory. */
int dp_source_find(struct dp_source *source, const char *path, uint32_t flags,
		   unsigned int mode, const struct dp_errmsg *errmsg);
void dp_source_close(struct dp_source *source);
/* Remove the directory that dp_source_find() made, if it is empty. */
void dp_source_unmake(struct dp_source *source);

/*
 * Added to an index: the file of a segment that a grow has not added yet, which has a
 * name of its own. For functions that use the name alone.
 */
#define DP_SOURCE_NEW	0x80000000u

#define DP_SEGMENT_NAME_SIZE 24
void dp_source_segment_name(uint32_t index, char name[DP_SEGMENT_NAME_SIZE]);

/*
 * Open the file of a segment, or the node of a device (index 0). flags: of open(2). It
 * does not wait, does not judge the file, and follows a symbolic link only in the path
 * of a device. Returns a descriptor or the errno of openat(), for which
 * dp_source_cannot_open() writes the sentence.
 */
int dp_source_open(const struct dp_source *source, uint32_t index, int flags);
/* Write the sentence for an error of dp_source_open(), and return the errno of the
 * public call, which may be another one. */
int dp_source_cannot_open(const struct dp_source *source, uint32_t index,
			  int error, const struct dp_errmsg *errmsg);
/* May fd be the file of that segment, or the device? stat: of fd. to_be_made: the call
 * is a create, which refuses a file with hard links. */
int dp_source_judge(const struct dp_source *source, uint32_t index, int fd,
		    const struct stat *stat, bool to_be_made,
		    const struct dp_errmsg *errmsg);
/* stat() of the name of that segment, or of the device. */
int dp_source_stat_segment(const struct dp_source *source, uint32_t index,
			   struct stat *ret_stat);
/* Remove the name of that segment if it still is the file of fd. */
void dp_source_remove(const struct dp_source *source, uint32_t index, int fd);

/* The identity of an open file; zeroes for a device. */
int dp_source_file_id(const struct dp_source *source, int fd,
		      struct dp_file_id *ret_id);

/* Distinguish fsdax from a disk by the first open file. Does nothing for other
 * kinds. */
int dp_source_classify(struct dp_source *source, int fd);

/* Give the new file of a segment its final name, unless that exists: -EEXIST. */
int dp_source_rename(const struct dp_source *source, uint32_t index);

/* Call fn for each file of a segment that is new, with DP_SOURCE_NEW, and for each
 * other one whose index is not below `segments`. Ends when fn does not return 0. */
int dp_source_each_extra(const struct dp_source *source, uint32_t segments,
			 int (*fn)(uint32_t index, void *arg), void *arg);
/* The number of segment files whose index is not below `segments`, or -errno. */
int dp_source_extra_files(const struct dp_source *source, uint32_t segments);

#define DP_CHUNK_BACKED		0x1u
#define DP_CHUNK_ALIGNED	0x2u	/* physically, to 2 MiB */
#define DP_CHUNK_PARTIAL		0x4u	/* not BACKED, but a part of it is
						   listed */
#define DP_CHUNK_WANTED		0x20u	/* not BACKED; has an extent or a lane's word */
#define DP_CHUNK_SHARED		0x10u	/* another file has some of its blocks */

/* Get the flags of each chunk of a segment. */
int dp_source_chunks(const struct dp_source *source, int fd, uint64_t size,
		     uint8_t *chunk, const struct dp_errmsg *errmsg);

#endif
