/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A trial of on-demand regions overwrites 64 KiB of the DAX filesystem. If the pool is
 * full, the trial is made on a file without a name in the pool's directory, which is on
 * the same filesystem and has the same kind of pages.
 */
#include "rdma/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <daxpin-rdma.h>
#include "util/size_signal.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX	0x00200000
#endif

/* The directory of the pool's first file, from the file's name in /proc. */
static int scratch_find_directory(int fd, char path[PATH_MAX])
{
	char link[64], *slash;
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_MAX - 1);
	if (length < 0)
		return -errno;
	path[length] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -ENOENT;
	slash[slash == path] = '\0';
	return 0;
}

static int scratch_is_like(int fd, int pool_fd)
{
	struct statx ours, pools;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &ours) ||
	    statx(pool_fd, "", AT_EMPTY_PATH, STATX_TYPE, &pools))
		return -errno;
	if (ours.stx_dev_major != pools.stx_dev_major ||
	    ours.stx_dev_minor != pools.stx_dev_minor ||
	    !(ours.stx_attributes & STATX_ATTR_DAX))
		return -EOPNOTSUPP;
	return 0;
}

/* Allocate the file. Blocks SIGXFSZ, which RLIMIT_FSIZE can cause (size_signal.h). */
static int scratch_allocate(int fd, uint64_t bytes)
{
	sigset_t before;
	bool was = size_signal_block(&before);
	int ret = posix_fallocate(fd, 0, (off_t)bytes);

	errno = ret;
	return (int)size_signal_restore(-ret, &before, was);
}

static int scratch_fill(int fd, int pool_fd, uint64_t bytes, void **ret_memory)
{
	void *memory;
	int ret = scratch_is_like(fd, pool_fd);

	if (ret)
		return ret;
	ret = scratch_allocate(fd, bytes);
	if (ret)
		return ret;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*ret_memory = memory;
	return 0;
}

int dp_scratch_map(struct daxpin_pool *pool, uint64_t bytes, void **ret_memory)
{
	int pool_fd = daxpin_lock_fd(pool), fd, ret;
	char path[PATH_MAX];

	if (pool_fd < 0)
		return pool_fd;
	ret = scratch_find_directory(pool_fd, path);
	if (ret)
		return ret;
	fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ret = scratch_fill(fd, pool_fd, bytes, ret_memory);
	close(fd);
	return ret;
}
