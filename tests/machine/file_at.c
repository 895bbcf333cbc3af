/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine has no files besides those of the pool, so its pools have no status
 * page. */
#include <errno.h>
#include "os/file_at.h"

int64_t dp_os_read_at(int fd, void *to, uint64_t size, uint64_t offset)
{
	(void)fd;
	(void)to;
	(void)size;
	(void)offset;
	return -EBADF;
}

int dp_os_write_at(int fd, const void *from, uint64_t size, uint64_t offset)
{
	(void)fd;
	(void)from;
	(void)size;
	(void)offset;
	return -EBADF;
}

int dp_os_set_access(int fd, gid_t group, mode_t mode)
{
	(void)fd;
	(void)group;
	(void)mode;
	return -EBADF;
}

enum dp_tristate dp_os_has_handles(int fd)
{
	(void)fd;
	return DP_YES;
}
