/* SPDX-License-Identifier: BSD-3-Clause */
/* What the library reads from /proc and /sys. No other files exist there. */
#include <errno.h>
#include <stdio.h>
#include "expect.h"
#include "machine.h"
#include "os/os.h"
#include "proc.h"

int machine_proc_stat(const char *path, struct stat *ret_stat)
{
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_mode = S_IFDIR | 0700;
	ret_stat->st_uid = MACHINE_USER;
	ret_stat->st_dev = MACHINE_DEVICE;
	if (!strcmp(path, "/proc/self/ns/pid"))
		ret_stat->st_ino = MACHINE_PID_NAMESPACE;
	else if (!strcmp(path, "/proc/self/ns/time"))
		ret_stat->st_ino = MACHINE_TIME_NAMESPACE;
	else if (strcmp(path, MACHINE_POOL) && strcmp(path, "/sys/module") &&
		 (!machine.has_rdma || strcmp(path, "/sys/module/ib_core")))
		return -ENOENT;
	return 0;
}

/* No other filesystem is mounted over a file of /proc or /sys. */
int dp_os_is_genuine(const char *path, uint64_t magic)
{
	struct stat stat;

	(void)magic;
	return !strcmp(path, "/proc/sys/kernel/random/boot_id") ||
	       !strcmp(path, "/proc/self/stat") ||
	       !machine_proc_stat(path, &stat) ? 1 : -ENOENT;
}

int dp_os_readlink(const char *path, char *buffer, size_t size)
{
	(void)path;
	(void)buffer;
	(void)size;
	return -ENOENT;
}

static int print_bad(char *buffer, size_t size)
{
	int length = 0;

	buffer[0] = '\0';
	for (uint32_t i = 0; i < machine.bads; i++)
		length += snprintf(buffer + length, size - length,
				   "%llu %llu\n",
				   (unsigned long long)machine.bad[i].sector,
				   (unsigned long long)machine.bad[i].count);
	return length;
}

static int print_boot_id(char *buffer, size_t size)
{
	const unsigned int bytes = sizeof(machine.boot_id);

	expect(size > 2 * bytes, "a buffer too small for the boot id");
	for (unsigned int i = 0; i < bytes; i++)
		snprintf(buffer + 2 * i, 3, "%02x", machine.boot_id[i]);
	return 2 * bytes;
}

/* The name of the process is hard to parse: it contains " ) R". */
static int print_stat(char *buffer, size_t size)
{
	return snprintf(buffer, size,
			"%d (a )fuzz) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0",
			machine.pid, MACHINE_START_TIME);
}

int dp_os_read_file(const char *path, char *buffer, size_t size)
{
	if (!strcmp(path, "/proc/sys/kernel/random/boot_id"))
		return print_boot_id(buffer, size);
	if (!strcmp(path, "/proc/self/stat"))
		return print_stat(buffer, size);
	if (!strcmp(path, "/sys/dev/block/0:7/badblocks") &&
	    machine.kind != DP_SOURCE_SHMEM)
		return print_bad(buffer, size);
	return -ENOENT;
}
