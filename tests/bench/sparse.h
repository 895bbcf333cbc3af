/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps the files of a pool sparse without the library's knowledge, so that an open of
 * terabytes can be measured on a machine that has less memory. The library calls these
 * functions of the program instead of libc's. They do nothing unless sparse_files is
 * set. This is only for reading and clean opens: what is stored in an extent is kept,
 * but there may be no room for it.
 */
#ifndef BENCH_SPARSE_H
#define BENCH_SPARSE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#define SPARSE_EXPORT	__attribute__((visibility("default")))

static bool sparse_files;

SPARSE_EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
	struct stat st;

	if (!sparse_files || mode)
		return syscall(SYS_fallocate, fd, mode, offset, length);
	if (fstat(fd, &st))
		return -1;
	return st.st_size < offset + length ? ftruncate(fd, offset + length) : 0;
}

SPARSE_EXPORT int madvise(void *begin, size_t length, int advice)
{
	if (sparse_files && advice == MADV_POPULATE_WRITE)
		return 0;
	return syscall(SYS_madvise, begin, length, advice);
}

/* Reports a tmpfs without a size limit. */
SPARSE_EXPORT int fstatfs(int fd, struct statfs *st)
{
	int ret = syscall(SYS_fstatfs, fd, st);

	if (!ret && sparse_files)
		st->f_blocks = 0;
	return ret;
}

/* Reports no holes: everything up to the end is data. */
SPARSE_EXPORT off_t lseek(int fd, off_t offset, int whence)
{
	struct stat st;

	if (sparse_files && whence == SEEK_DATA)
		return offset;
	if (sparse_files && whence == SEEK_HOLE)
		return fstat(fd, &st) ? -1 : st.st_size;
	return syscall(SYS_lseek, fd, offset, whence);
}

#endif
