/* SPDX-License-Identifier: BSD-3-Clause */
/* io_uring, which is not there. */
#include <errno.h>
#include "os/os.h"

int dp_os_ring_setup(uint32_t entries, struct io_uring_params *params)
{
	(void)entries;
	(void)params;
	return -ENOSYS;
}

int dp_os_ring_map(int fd, uint64_t region, uint64_t size, void **ret_base)
{
	(void)fd;
	(void)region;
	(void)size;
	(void)ret_base;
	return -ENOSYS;
}

int dp_os_ring_register(int fd, uint32_t what, void *with, uint32_t count)
{
	(void)fd;
	(void)what;
	(void)with;
	(void)count;
	return -ENOSYS;
}

int dp_os_ring_enter(int fd, uint32_t submit, uint32_t flags, uint64_t wait_ns)
{
	(void)fd;
	(void)submit;
	(void)flags;
	(void)wait_ns;
	return -ENOSYS;
}
