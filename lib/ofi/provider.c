/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Only a driver can let a device access a process's memory, and a process reaches a
 * driver that bypasses the kernel through a device file: /dev/infiniband/uverbs0 for
 * verbs and EFA, others elsewhere. So in a process that has no such file open, nor
 * mapped, all copies are made by CPUs, in code or system calls of processes, and end
 * with these. That a process has one does not show that the provider uses it. What
 * cannot be examined counts as a device.
 *
 * A uverbs file is a verbs context, and memory is registered through a descriptor of
 * it. So if a process has one uverbs file of a device open, all that is registered
 * with this device from then on is registered in one context. One that was closed and
 * is only mapped registers no more.
 *
 * libfabric opens each RDMA device in fi_getinfo() of any provider, since its verbs
 * provider asks librdmacm, which keeps them open (1.17). So an open uverbs file alone
 * shows nothing, and daxpin_rdma_use() is asked what this process has in its contexts:
 * without a protection domain no memory is registered. A child that was forked may keep
 * a context open whose file this process has closed, so that is asked in any case.
 */
#include "ofi/provider.h"

#include <assert.h>
#include <daxpin-status.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "util/util.h"

/* Of the kernel's list (Documentation/admin-guide/devices.txt). */
#define MAJOR_MEMORY		1
#define MAJOR_CONSOLE		4
#define MAJOR_TERMINAL		5
#define MAJOR_PTS_FIRST		136
#define MAJOR_PTS_LAST		143

/* ---------------------------------------------------- what the provider says */

const char *dp_provider_rdma_device(const struct fi_info *info)
{
	const struct fi_device_attr *device = info->nic ? info->nic->device_attr : NULL;

	return device ? device->name : NULL;
}

enum daxpin_ofi_writer dp_provider_asked(const struct fi_info *info, char *what,
					 size_t size)
{
	const int mr_mode = info->domain_attr->mr_mode;
	const char *reason;

	if (dp_provider_rdma_device(info))
		return DAXPIN_OFI_WRITER_UNKNOWN;
	if (info->nic)
		reason = "it uses a device without a name, which info->nic describes";
	else if (mr_mode & FI_MR_ALLOCATED)
		reason = "its mr_mode has FI_MR_ALLOCATED, which only a device needs";
	else if (mr_mode & FI_MR_PROV_KEY)
		reason = "its mr_mode has FI_MR_PROV_KEY, which only a device needs";
	else
		return DAXPIN_OFI_WRITER_UNKNOWN;
	snprintf(what, size,
		 "%s: %s, and the device could go on writing after this process has died, while the pool does not know which one it is: "
		 DP_PROVIDER_CURE, info->fabric_attr->prov_name, reason);
	return DAXPIN_OFI_WRITER_DEVICE;
}

void dp_provider_describe_rdma(const struct fi_info *info, char *what, size_t size)
{
	snprintf(what, size,
		 "%s: the device %s stores a peer's bytes, and could go on after this process has died: so an attach records its verbs context in the pool, and the next open waits for the end of that",
		 info->fabric_attr->prov_name, dp_provider_rdma_device(info));
}

/* ------------------------------------------------------------- device files */

/* Of the calling thread: the first thread of the process may have ended. */
#define PROC		"/proc/thread-self"

/* Does this link of the device's directory in sysfs lead to that name? */
static bool provider_links_to(const struct statx *st, const char *link,
			      const char *wanted)
{
	char path[64], target[256], *name;
	struct statfs sysfs;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u%s", st->stx_rdev_major,
		 st->stx_rdev_minor, link);
	if (statfs("/sys/dev/char", &sysfs) || sysfs.f_type != SYSFS_MAGIC)
		return false;
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	return name && !strcmp(name + 1, wanted);
}

/* A device-dax node is memory, which has no engine of its own. */
static bool provider_is_dax(const struct statx *st)
{
	return provider_links_to(st, "/subsystem", "dax");
}

static bool provider_is_uverbs(const struct statx *st)
{
	return provider_links_to(st, "/subsystem", "infiniband_verbs");
}

/* /dev/infiniband/rdma_cm makes connections, and registers no memory. */
static bool provider_is_rdma(const struct statx *st)
{
	return provider_is_uverbs(st) || provider_links_to(st, "", "rdma_cm");
}

/* Not /dev/mem and /dev/port, which reach the registers of devices. */
static bool provider_is_plain_memory(unsigned int minor)
{
	return minor == 3 ||				/* null */
	       minor == 5 || minor == 7 ||		/* zero, full */
	       minor == 8 || minor == 9 ||		/* random, urandom */
	       minor == 11;				/* kmsg */
}

bool dp_provider_is_harmless(const struct statx *st, enum dp_ignored ignored)
{
	const unsigned int number = st->stx_rdev_major;

	if (!S_ISCHR(st->stx_mode))
		return true;
	if (number == MAJOR_MEMORY)
		return provider_is_plain_memory(st->stx_rdev_minor);
	if (number == MAJOR_CONSOLE || number == MAJOR_TERMINAL ||
	    (number >= MAJOR_PTS_FIRST && number <= MAJOR_PTS_LAST))
		return true;
	return provider_is_dax(st) ||
	       (ignored == DP_IGNORE_RDMA && provider_is_rdma(st));
}

/* Does not wait for the server of a network filesystem. */
static int provider_stat(int directory, const char *path, struct statx *st)
{
	return statx(directory, path, AT_STATX_DONT_SYNC, STATX_TYPE, st);
}

/* Another thread may have closed it meanwhile: -ENOENT. */
static bool provider_is_open_device(int directory, const char *number,
				    enum dp_ignored ignored)
{
	struct statx st;

	if (provider_stat(directory, number, &st))
		return errno != ENOENT;
	return !dp_provider_is_harmless(&st, ignored);
}

static int provider_find_open(enum dp_ignored ignored, char *name, size_t size)
{
	DIR *files = opendir(PROC "/fd");
	const struct dirent *entry;
	ssize_t length = 0;
	int ret = 0;

	if (!files)
		return -errno;
	while (!ret) {
		errno = 0;
		entry = readdir(files);
		if (!entry)
			break;
		if (!provider_is_open_device(dirfd(files), entry->d_name, ignored))
			continue;
		length = readlinkat(dirfd(files), entry->d_name, name, size - 1);
		name[length > 0 ? length : 0] = '\0';
		ret = 1;
	}
	if (!ret)
		ret = -errno;
	closedir(files);
	return ret;
}

/* A path that cannot be examined, with " (deleted)" behind it if it was removed: the
 * kernel shows shared memory without a name so, too. */
static bool provider_is_harmless_path(const char *path, int error)
{
	static const char deleted[] = " (deleted)";
	const size_t length = strlen(path), tail = sizeof(deleted) - 1;

	if (error != ENOENT || length < tail || strcmp(path + length - tail, deleted))
		return false;
	return strncmp(path, "/dev/", 5) || !strncmp(path, "/dev/shm/", 9) ||
	       !strcmp(path, "/dev/zero (deleted)");
}

/* A file that was closed may still be mapped. The path begins at the first '/'. */
static bool provider_is_mapped_device(char *line, enum dp_ignored ignored)
{
	const char *path = strchr(line, '/');
	struct statx st;

	line[strcspn(line, "\n")] = '\0';
	if (!path)
		return false;
	if (provider_stat(AT_FDCWD, path, &st))
		return !provider_is_harmless_path(path, errno);
	return !dp_provider_is_harmless(&st, ignored);
}

static int provider_find_mapped(FILE *maps, enum dp_ignored ignored, char *name,
				size_t size)
{
	size_t room = 0;
	char *line = NULL;
	int found = 0;

	while (!found && getline(&line, &room, maps) >= 0) {
		if (!provider_is_mapped_device(line, ignored))
			continue;
		snprintf(name, size, "%s", strchr(line, '/'));
		found = 1;
	}
	if (!found && !feof(maps))
		found = -EIO;
	free(line);
	return found;
}

int dp_provider_find_mapped(FILE *maps, char *name, size_t size)
{
	return provider_find_mapped(maps, DP_IGNORE_HARMLESS, name, size);
}

static int provider_find(enum dp_ignored ignored, char *name, size_t size)
{
	int ret = provider_find_open(ignored, name, size);
	FILE *maps;

	if (ret)
		return ret;
	maps = fopen(PROC "/maps", "re");
	if (!maps)
		return -errno;
	ret = provider_find_mapped(maps, ignored, name, size);
	fclose(maps);
	return ret;
}

/* ------------------------------------------------------------- RDMA contexts */

/* Is it a verbs context of this device, or of any if it is NULL? One that sysfs does
 * not describe may be. */
static bool provider_is_context(int directory, const char *number, const char *device)
{
	char path[64], name[64] = "";
	struct statx st;
	FILE *file;
	bool known;

	if (provider_stat(directory, number, &st))
		return errno != ENOENT;
	if (!S_ISCHR(st.stx_mode) || !provider_is_uverbs(&st))
		return false;
	if (!device)
		return true;
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/ibdev",
		 st.stx_rdev_major, st.stx_rdev_minor);
	file = fopen(path, "re");
	if (!file)
		return true;
	known = fgets(name, sizeof(name), file);
	fclose(file);
	name[strcspn(name, "\n")] = '\0';
	return !known || !strcmp(name, device);
}

/* How many contexts of this device, or of all if it is NULL, the process has, or
 * -errno. A descriptor and its duplicate count twice. */
static int provider_count_contexts(const char *device)
{
	DIR *files = opendir(PROC "/fd");
	const struct dirent *entry;
	int count = 0;

	if (!files)
		return -errno;
	for (;;) {
		errno = 0;
		entry = readdir(files);
		if (!entry)
			break;
		count += provider_is_context(dirfd(files), entry->d_name, device);
	}
	if (errno)
		count = -errno;
	closedir(files);
	return count;
}

/* In a process that has no file of an RDMA device: a context that it has closed counts
 * if the kernel shows that it is in use. A kernel without RDMA is not made to load
 * it. */
static int provider_ask_closed(struct dp_device_found *found)
{
	const size_t size = sizeof(found->reason);
	struct daxpin_rdma_use use = { .size = sizeof(use) };
	int ret = access("/sys/class/infiniband", F_OK) ?
		  0 : daxpin_rdma_use(found->reason, size, &use);

	if (ret)
		return ret == -EOPNOTSUPP ? 0 : ret;
	if (use.domains)
		snprintf(found->reason, size,
			 "memory may be registered there (protection domains: %u; `rdma resource show pd`): end the process that keeps it open",
			 use.domains);
	return use.domains != 0;
}

/* In a process that has one open or mapped. 1: memory may be registered there, and
 * found->reason says why. 0: none is. */
static int provider_ask_open(struct dp_device_found *found)
{
	const size_t size = sizeof(found->reason);
	struct daxpin_rdma_use use = { .size = sizeof(use) };
	/* Before the contexts: one that is opened in between is not missing there. */
	const int files = provider_count_contexts(NULL);
	int ret = files < 0 ? files : daxpin_rdma_use(found->reason, size, &use);

	if (ret)
		return ret == -EOPNOTSUPP ? 1 : ret;
	if (use.domains)
		snprintf(found->reason, size,
			 "memory may be registered (protection domains: %u; `rdma resource show pd`): attach before the program registers memory",
			 use.domains);
	else if (use.unknown)
		snprintf(found->reason, size,
			 "protection domains in use (%u) may be its own, since the kernel names no thread: end other programs that use RDMA (`rdma resource show ctx`)",
			 use.unknown);
	else if (use.contexts < (uint32_t)files)
		snprintf(found->reason, size,
			 "it has %d uverbs files, and its living threads opened %u contexts: call fi_getinfo() in a thread that does not end, and close inherited files",
			 files, use.contexts);
	else
		return 0;
	return 1;
}

int dp_provider_find_device(struct dp_device_found *ret_found)
{
	struct dp_device_found found = { 0 };
	int ret = provider_find(DP_IGNORE_RDMA, found.name, sizeof(found.name));

	if (!ret) {
		ret = provider_find(DP_IGNORE_HARMLESS, found.name,
				    sizeof(found.name));
		if (ret >= 0)
			ret = ret ? provider_ask_open(&found) :
				    provider_ask_closed(&found);
	}
	*ret_found = found;
	return ret;
}

int dp_provider_check_context(const struct fi_info *info,
			      const struct dp_errmsg *errmsg)
{
	const char *provider = info->fabric_attr->prov_name, *name;
	char other[64];
	int ret;

	name = dp_provider_rdma_device(info);
	assert(name);
	ret = provider_find(DP_IGNORE_RDMA, other, sizeof(other));
	if (ret > 0)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s: this process has %s open or mapped besides %s, so it is unknown whether that stores a peer's bytes, too, and the pool could not record it: use a process without it, or "
			       DP_PROVIDER_CURE, provider, other, name);
	if (!ret)
		ret = provider_count_contexts(name);
	if (ret < 0)
		return dp_fail(errmsg, ret,
			       "%s: which devices this process has open cannot be read in /proc/PID/fd and /proc/PID/maps: %s",
			       provider, strerror(-ret));
	if (ret == 1)
		return 0;
	if (!ret)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s: it uses the device %s, of which this process has no verbs context open, so the pool cannot record what could write after this process has died: "
			       DP_PROVIDER_CURE, provider, name);
	return dp_fail(errmsg, -EOPNOTSUPP,
		       "%s: this process has %d verbs contexts of %s open (`ls -l /proc/PID/fd` shows them as uverbs files), but the pool can record that of the provider only if there is exactly one: use a process without others, or "
		       DP_PROVIDER_CURE, provider, ret, name);
}
