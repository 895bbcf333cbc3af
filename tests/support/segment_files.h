/* SPDX-License-Identifier: BSD-3-Clause */
/* The files of a pool's segments, as another process sees them. */
#ifndef SEGMENT_FILES_H
#define SEGMENT_FILES_H

#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

/* Returns how many there are, or 0 if one cannot be examined. *ret_bytes: what they
 * take in the filesystem. */
static inline size_t segment_files(const char *path, uint64_t *ret_bytes)
{
	char pattern[200];
	struct stat st;
	glob_t files;
	size_t count = 0;

	*ret_bytes = 0;
	snprintf(pattern, sizeof(pattern), "%s/segment.*", path);
	if (glob(pattern, 0, NULL, &files))
		return 0;
	while (count < files.gl_pathc && !stat(files.gl_pathv[count], &st)) {
		*ret_bytes += st.st_blocks * UINT64_C(512);
		count++;
	}
	if (count < files.gl_pathc)
		count = 0;
	globfree(&files);
	return count;
}

#endif
