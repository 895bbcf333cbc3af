/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * May a pool be where it is? By what fstat() and fstatfs() say of a descriptor
 * that is kept; never by a name, which others may change.
 */
#ifndef DP_JUDGE_H
#define DP_JUDGE_H

#include <sys/stat.h>
#include "util/util.h"

#define DP_JUDGE_ANY_OWNER	0x1u	/* other users may own or write it */
#define DP_JUDGE_ANY_FILESYSTEM	0x2u	/* whose lock may not keep others out */
#define DP_JUDGE_ONE_NAME	0x4u	/* no hard links: it is made a segment */

enum dp_filesystem {
	DP_FILESYSTEM_KNOWN = 1,	/* one lock an inode, for everybody */
	DP_FILESYSTEM_XFS,		/* the same, and its tools move blocks */
	DP_FILESYSTEM_TMPFS,
	DP_FILESYSTEM_DOUBTFUL,		/* insisted on */
};

/*
 * `path` and `name` are for sentences; name is NULL for the directory itself.
 * `flags` are DP_JUDGE_...
 *
 * -EPERM       others could change what is opened there, or reach it another way
 * -EOPNOTSUPP  the filesystem's locks do not keep everybody out, or it is unknown
 * other        of the system call
 */
int dp_judge_directory(const char *path, const struct stat *stat,
		       uint32_t flags, const struct dp_errmsg *errmsg);
/* Also -EMEDIUMTYPE: it is not a regular file. */
int dp_judge_file(const char *path, const char *name, const struct stat *stat,
		  const struct stat *directory, uint32_t flags,
		  const struct dp_errmsg *errmsg);
/* A file that is no pool's, and is read for one: -EPERM, or -EINVAL if it is none. */
int dp_judge_other_file(const char *path, const struct stat *stat,
			uint32_t flags, const struct dp_errmsg *errmsg);
int dp_judge_filesystem(const char *path, const char *name, int fd,
			uint32_t flags, enum dp_filesystem *ret_filesystem,
			const struct dp_errmsg *errmsg);

#endif
