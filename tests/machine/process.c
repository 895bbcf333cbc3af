/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks, processes, and netlink, which is unavailable. Other processes have a lock only
 * if the test sets `locked_elsewhere`. This process locks a file through one descriptor
 * at most, since it never opens a file twice (lib/owner/claim.c).
 */
#include <errno.h>
#include <sys/file.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"
#include "os/process.h"

int dp_os_flock(int fd, int operation)
{
	uint32_t file = machine_handle_file(fd);
	struct machine_handle *handle = machine_handle(fd);

	if (operation & LOCK_UN) {
		expect(handle->locked, "a file is unlocked that is not locked");
		handle->locked = false;
		return 0;
	}
	if (machine.locked_elsewhere)
		return -EWOULDBLOCK;
	expect(!machine_handle_locks(file), "a file is locked twice");
	handle->locked = true;
	return 0;
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

int dp_os_pipe(int ret_fd[2])
{
	return dp_os_socketpair(ret_fd);
}

int dp_os_socketpair(int ret_fd[2])
{
	int fd = machine_handle_new(MACHINE_HANDLE_SOCKET, 0);

	if (fd < 0)
		return fd;
	ret_fd[1] = machine_handle_new(MACHINE_HANDLE_SOCKET, 0);
	if (ret_fd[1] < 0) {
		dp_os_close(fd);
		return -EMFILE;
	}
	ret_fd[0] = fd;
	return 0;
}

int dp_os_send_descriptors(int socket, const int *fd, uint32_t count)
{
	expect(machine_handle(socket)->kind == MACHINE_HANDLE_SOCKET &&
	       count && count <= 253, "no socket, or too many descriptors");
	for (uint32_t i = 0; i < count; i++)
		expect(machine_handle(fd[i])->locked,
		       "a file is put into the anchor without its lock");
	return 0;
}

int dp_os_pid(void)
{
	return machine.pid;
}

uint32_t dp_os_user(void)
{
	return MACHINE_USER;
}

uint64_t dp_os_descriptor_limit(void)
{
	return MACHINE_HANDLES;
}

uint64_t dp_os_limit(enum dp_limit which)
{
	/* So that an open reserves no addresses beyond the pool, unless asked. */
	return which == DP_LIMIT_MAPPED ? 1ull << 46 : UINT64_MAX;
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

enum dp_tristate dp_os_has_thread(int thread)
{
	return thread == machine.pid ? DP_YES : DP_NO;
}

enum dp_tristate dp_os_share_files(int thread, int other)
{
	return thread == other ? DP_YES : DP_NO;
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
