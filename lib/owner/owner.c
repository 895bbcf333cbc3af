/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who had the pool, and whether its RDMA is over. The argument:
 *
 *  - A memory region ends with its verbs context, and a process's contexts
 *    with its descriptors and mappings of them, so with its last thread, if
 *    nobody else has them. A thread is a zombie only after it let go of its
 *    files.
 *  - Who else may have them: a forked child, whoever got the descriptor, or a
 *    teardown that hangs (RDMA 0.5). The context is listed as long, without a
 *    pid once its maker is reaped (rdma_netlink.c). So contexts without a pid
 *    count, whoever's they are, and contexts of other processes do not.
 *  - A device that is removed ends its contexts, before it leaves sysfs. Up to
 *    6.12 it waits until their processes close them; 7.3 destroys their objects
 *    at once, by the same function, and removes the device. Either way nothing
 *    lands once neither netlink lists the context nor sysfs the device: 0 bytes
 *    were late in the trials of docs/rdma.md.
 *  - A pid means something only in one boot and one pid namespace, a list of
 *    devices only in one net namespace. A reused pid has another start time.
 *  - The threads are looked at first, the contexts then: a context that shows
 *    the pid of a process that was gone by then belongs to the pid's next user.
 *
 * What cannot be told is -EBUSY.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include "os/os.h"
#include "owner/owner.h"
#include "owner/rdma_netlink.h"

#define STAT_SIZE	1024
#define PATH_SIZE	64

enum process {
	PROCESS_GONE,
	PROCESS_ZOMBIE,		/* no thread but zombies */
	PROCESS_ALIVE,		/* or it cannot be told */
};

/* What /proc/PID/stat tells, as far as it matters. */
struct stat_line {
	int pid;
	char state;
	uint64_t start_time;	/* clock ticks since boot */
};

/* ------------------------------------------------------------- this process */

/* 16 bytes from hexadecimal digits; the dashes between them are skipped. */
static int owner_read_boot_id(uint8_t boot_id[16])
{
	char text[64];
	unsigned int digits = 0;
	uint8_t *byte;
	int ret, digit;

	ret = dp_os_read_file("/proc/sys/kernel/random/boot_id", text,
			      sizeof(text));
	if (ret < 0)
		return ret;
	for (const char *c = text; *c && digits < 32; c++) {
		digit = dp_hex_digit(*c);
		if (digit < 0)
			continue;
		byte = &boot_id[digits++ / 2];
		*byte = (uint8_t)(*byte << 4 | digit);
	}
	return digits == 32 ? 0 : -EIO;
}

static int owner_read_namespace(const char *path, uint64_t *ret_inode)
{
	struct stat stat;
	int ret = dp_os_stat(AT_FDCWD, path, &stat);

	if (!ret)
		*ret_inode = stat.st_ino;
	return ret;
}

/* The name in between may hold anything, so the rest follows the last ')'. */
static int owner_read_stat(const char *path, struct stat_line *ret_line)
{
	char text[STAT_SIZE];
	const char *rest;
	struct stat_line line;
	int ret = dp_os_read_file(path, text, sizeof(text));

	if (ret < 0)
		return ret;
	rest = strrchr(text, ')');
	if (!rest || sscanf(text, "%d", &line.pid) != 1 ||
	    sscanf(rest + 1,
		   " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64,
		   &line.state, &line.start_time) != 2)
		return -EIO;
	*ret_line = line;
	return 0;
}

int dp_owner_self(struct dp_owner *owner)
{
	struct dp_owner self = { .pid = dp_os_pid() };
	struct stat_line line;
	int ret;

	ret = owner_read_boot_id(self.boot_id);
	if (!ret)
		ret = owner_read_namespace("/proc/self/ns/pid",
					   &self.pid_namespace);
	if (!ret)
		ret = owner_read_namespace("/proc/self/ns/net",
					   &self.net_namespace);
	if (!ret)
		ret = owner_read_stat("/proc/self/stat", &line);
	if (ret)
		return ret;
	self.start_time = line.start_time;
	*owner = self;
	return 0;
}

/* A name that the kernel gives to devices, and that is safe in a path. */
static bool owner_is_device_name(const char *name)
{
	size_t length = strnlen(name, DP_DEVICE_NAME_MAX);

	return length && length < DP_DEVICE_NAME_MAX && name[0] != '.' &&
	       !memchr(name, '/', length);
}

int dp_owner_add_device(struct dp_owner *owner, const char *device)
{
	assert(owner->rdma_devices <= DP_RDMA_DEVICES_MAX);
	if (!device || !owner_is_device_name(device))
		return -EINVAL;
	for (uint32_t i = 0; i < owner->rdma_devices; i++)
		if (!strcmp(owner->rdma_device[i], device))
			return 0;
	if (owner->rdma_devices == DP_RDMA_DEVICES_MAX)
		return -ENOSPC;
	/* The rest of the name is media too: zeroes, not what stood there. */
	strncpy(owner->rdma_device[owner->rdma_devices++], device,
		DP_DEVICE_NAME_MAX);
	return 1;
}

/* -------------------------------------------------------- the one before us */

static int owner_thread_lives(const char *name, void *arg)
{
	const struct dp_owner *owner = arg;
	struct stat_line line;
	char path[PATH_SIZE];
	int ret;

	if (name[0] == '.')
		return 0;
	snprintf(path, sizeof(path), "/proc/%u/task/%.16s/stat", owner->pid,
		 name);
	ret = owner_read_stat(path, &line);
	if (ret)
		return ret != -ENOENT;
	return line.state != 'Z' && line.state != 'X';
}

/* A process that hides from us (hidepid) lives, as far as we can tell. */
static enum process owner_look_at_process(const struct dp_owner *owner)
{
	struct stat_line line;
	char path[PATH_SIZE];
	int dir, ret;

	snprintf(path, sizeof(path), "/proc/%u/stat", owner->pid);
	if (owner_read_stat(path, &line))
		return dp_os_pid_exists(owner->pid) ? PROCESS_ALIVE :
						      PROCESS_GONE;
	if (line.start_time != owner->start_time)
		return PROCESS_GONE;
	snprintf(path, sizeof(path), "/proc/%u/task", owner->pid);
	dir = dp_os_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return PROCESS_ALIVE;
	ret = dp_os_list(dir, owner_thread_lives, (void *)owner);
	dp_os_close(dir);
	return ret ? PROCESS_ALIVE : PROCESS_ZOMBIE;
}

struct suspect {
	const struct dp_owner *owner;
	enum process process;
};

/* Whether a context may be the owner's. Contexts carry a thread's id. */
static bool may_be_owners(uint32_t pid, void *arg)
{
	const struct suspect *suspect = arg;
	char path[PATH_SIZE];
	struct stat stat;

	/* Reaped since the kernel wrote it down: the next look will tell. */
	if (!pid || !dp_os_pid_exists(pid))
		return true;
	if (suspect->process == PROCESS_GONE)
		return false;
	snprintf(path, sizeof(path), "/proc/%u/task/%u", suspect->owner->pid,
		 pid);
	return pid == suspect->owner->pid ||
	       !dp_os_stat(AT_FDCWD, path, &stat);
}

/* As may_be_owners() will see it when we are dead. */
static bool owner_may_be_ours(uint32_t pid, void *arg)
{
	char path[PATH_SIZE];
	struct stat stat;

	(void)arg;
	if (!pid || !dp_os_pid_exists(pid))
		return true;
	snprintf(path, sizeof(path), "/proc/self/task/%u", pid);
	return !dp_os_stat(AT_FDCWD, path, &stat);
}

int dp_owner_has_context(const char *device)
{
	char name[1][DP_DEVICE_NAME_MAX] = { "" };

	if (!owner_is_device_name(device))
		return 1;		/* adding it says what is wrong */
	strncpy(name[0], device, DP_DEVICE_NAME_MAX - 1);
	return dp_verbs_count(name, 1, owner_may_be_ours, NULL, NULL) != 0;
}

/* What is left of the owner: 0 nothing, else how many contexts, or threads. */
static int owner_look_for_rest(const struct dp_owner *owner,
			       enum process *ret_process,
			       const struct dp_why *why)
{
	struct suspect suspect = { owner, owner_look_at_process(owner) };

	*ret_process = suspect.process;
	if (suspect.process == PROCESS_ALIVE)
		return 1;
	return dp_verbs_count(owner->rdma_device, owner->rdma_devices,
			      may_be_owners, &suspect, why);
}

/* -------------------------------------------------------------- the verdict */

static bool owner_is_record(const struct dp_owner *owner)
{
	if (owner->rdma_devices > DP_RDMA_DEVICES_MAX || !owner->pid ||
	    owner->pid > INT32_MAX)
		return false;
	for (uint32_t i = 0; i < owner->rdma_devices; i++)
		if (!owner_is_device_name(owner->rdma_device[i]))
			return false;
	return true;
}

/* 1: the owner's boot, seen from where the owner was. 0: another boot. */
static int owner_compare_places(const struct dp_owner *owner,
				const struct dp_why *why)
{
	struct dp_owner self;
	struct stat_line line;
	int ret = dp_owner_self(&self);

	if (ret)
		return dp_fail(why, -EBUSY,
			       "whether process %u, which had the pool, can still write to it by RDMA cannot be told without /proc (%s): mount it",
			       owner->pid, strerror(-ret));
	if (memcmp(self.boot_id, owner->boot_id, sizeof(self.boot_id)))
		return 0;
	if (self.pid_namespace != owner->pid_namespace)
		return dp_fail(why, -EBUSY,
			       "process %u, which had the pool, was in another pid namespace, so whether it can still write to it by RDMA cannot be told: open the pool there once, or reboot",
			       owner->pid);
	if (self.net_namespace != owner->net_namespace)
		return dp_fail(why, -EBUSY,
			       "process %u, which had the pool, was in another net namespace, so whether it can still write to it by RDMA cannot be told: open the pool there once, or reboot",
			       owner->pid);
	if (owner_read_stat("/proc/self/stat", &line) ||
	    line.pid != dp_os_pid())
		return dp_fail(why, -EBUSY,
			       "/proc shows another pid namespace than this process is in, so whether process %u, which had the pool, can still write to it by RDMA cannot be told: mount /proc anew",
			       owner->pid);
	if (self.pid == owner->pid && self.start_time == owner->start_time)
		return dp_fail(why, -EBUSY,
			       "this process had the pool with RDMA and did not close it: open it from another one when this has ended");
	return 1;
}

static int owner_still_there(const struct dp_owner *owner, enum process process,
			     int contexts, const struct dp_why *why)
{
	char names[DP_RDMA_DEVICES_MAX * (DP_DEVICE_NAME_MAX + 2)] = "";
	size_t at = 0;

	for (uint32_t i = 0; i < owner->rdma_devices; i++)
		at += snprintf(names + at, sizeof(names) - at, "%s%s",
			       i ? ", " : "", owner->rdma_device[i]);
	if (process == PROCESS_ALIVE)
		return dp_fail(why, -EBUSY,
			       "process %u, which had the pool with RDMA on %s, lives on: end it, or wait with a longer deadline",
			       owner->pid, names);
	return dp_fail(why, -EBUSY,
		       "process %u is dead, but %d verbs context(s) that may be its own live on (it used %s): end its forked children, or whoever else `rdma resource show ctx` lists without a pid (so does a context opened by a thread that has ended, or in another pid namespace; what uses a device that is being removed is not listed there, but `grep -l uverbs /proc/[0-9]*/maps` finds it), wait with a longer deadline, or reboot",
		       owner->pid, contexts, names);
}

int dp_owner_await(const struct dp_owner *owner, struct dp_patience *patience,
		   const struct dp_why *why)
{
	enum process process;
	int ret, left;

	if (!owner->rdma_devices)
		return 0;
	if (!owner_is_record(owner))
		return dp_fail(why, -EUCLEAN,
			       "the record of the pool's last owner makes no sense; the pool was left untouched");
	ret = owner_compare_places(owner, why);
	if (ret <= 0)
		return ret;
	while ((left = owner_look_for_rest(owner, &process, why)) > 0) {
		ret = dp_patience_wait(patience, DP_OWNER_RDMA, owner->pid);
		if (ret == -ETIMEDOUT)
			return owner_still_there(owner, process, left, why);
		if (ret)
			return dp_fail(why, ret, "gave up waiting for the RDMA of the pool's owner");
	}
	return left;
}

int dp_owner_await_unknown(struct dp_patience *patience,
			   const struct dp_why *why)
{
	int ret, left;

	while ((left = dp_verbs_count_all(why)) > 0) {
		ret = dp_patience_wait(patience, DP_OWNER_RDMA, 0);
		if (ret == -ETIMEDOUT)
			return dp_fail(why, -EBUSY,
				       "the record of the pool's last owner was lost with a damaged superblock, and any of the %d verbs context(s) on this machine may be its own: end the programs that `rdma resource show ctx` lists (for a device that is being removed `grep -l uverbs /proc/[0-9]*/maps`), wait with a longer deadline, or reboot",
				       left);
		if (ret)
			return dp_fail(why, ret, "gave up waiting for the RDMA of the pool's owner");
	}
	return left;
}
