/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks, processes, and netlink, which is not there. Others have a lock only if
 * the test says so; the locks of this process are not kept.
 */
#include <errno.h>
#include "handle.h"
#include "machine.h"
#include "os/os.h"

int dp_os_flock(int fd, int operation)
{
	(void)operation;
	machine_handle_file(fd);
	return machine.locked_elsewhere ? -EWOULDBLOCK : 0;
}

int dp_os_byte_lock(int fd, bool write)
{
	(void)write;
	machine_handle(fd);
	return 0;
}

void dp_os_byte_unlock(int fd)
{
	machine_handle(fd);
}

int dp_os_byte_owner(int fd)
{
	machine_handle(fd);
	return machine.byte_owner;
}

int dp_os_pid(void)
{
	return machine.pid;
}

int dp_os_pid_exists(int pid)
{
	return pid == machine.pid;
}

int dp_os_thread(void)
{
	return machine.pid;
}

bool dp_os_is_own_thread(int thread)
{
	return thread == machine.pid;
}

int dp_os_netlink(int protocol)
{
	(void)protocol;
	return -EPROTONOSUPPORT;
}

int dp_os_netlink_send(int fd, const void *message, size_t size)
{
	(void)fd;
	(void)message;
	(void)size;
	return -ENOSYS;
}

int dp_os_netlink_receive(int fd, void *buffer, size_t size)
{
	(void)fd;
	(void)buffer;
	(void)size;
	return -ENOSYS;
}
