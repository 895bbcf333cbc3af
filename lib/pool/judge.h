/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decides whether a pool may be where it is: from fstat() and fstatfs() of a descriptor
 * that remains open, never from a name, which others may change.
 */
#ifndef DP_JUDGE_H
#define DP_JUDGE_H

#include <sys/stat.h>
#include "util/util.h"

#define DP_JUDGE_ANY_OWNER	0x1u	/* other users may own or write it */
#define DP_JUDGE_ANY_FILESYSTEM	0x2u	/* even if its locks do not exclude others */
#define DP_JUDGE_ONE_NAME	0x4u	/* refuse hard links: it becomes a segment */

enum dp_filesystem {
	DP_FILESYSTEM_KNOWN = 1,	/* one lock for each inode, for all users */
	DP_FILESYSTEM_XFS,		/* the same, and its tools move blocks */
	DP_FILESYSTEM_TMPFS,
	DP_FILESYSTEM_UNSUPPORTED,	/* allowed by DP_JUDGE_ANY_FILESYSTEM */
};

/*
 * `path` and `name` are for sentences; name is NULL for the directory itself.
 * `flags` are DP_JUDGE_...
 *
 * -EOPNOTSUPP  the filesystem's locks do not exclude all users, or it is unknown
 * -EPERM       others could replace what is opened there, or reach it through another
 *              name
 * others       of the system call
 */
int dp_judge_directory(const char *path, const struct stat *stat,
		       uint32_t flags, const struct dp_errmsg *errmsg);
/* The same for a file, and -EMEDIUMTYPE if it is not a regular file. */
int dp_judge_file(const char *path, const char *name, const struct stat *stat,
		  const struct stat *directory, uint32_t flags,
		  const struct dp_errmsg *errmsg);
/* A file that is read but is not part of a pool, such as a backup. -EPERM; -EINVAL
 * if it is not a regular file. */
int dp_judge_other_file(const char *path, const struct stat *stat,
			uint32_t flags, const struct dp_errmsg *errmsg);
int dp_judge_filesystem(const char *path, const char *name, int fd,
			uint32_t flags, enum dp_filesystem *ret_filesystem,
			const struct dp_errmsg *errmsg);

#endif
