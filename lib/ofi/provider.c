/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Only a driver can let a device access a process's memory, and a process reaches a
 * driver that bypasses the kernel through a device file: /dev/infiniband/uverbs0 for
 * verbs and EFA, others elsewhere. So in a process that has no such file open, nor
 * mapped, all copies are made by CPUs, in code or system calls of processes, and end
 * with these. That a process has one does not show that the provider uses it. What
 * cannot be examined counts as a device.
 */
#include "ofi/provider.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the kernel's list (Documentation/admin-guide/devices.txt). */
#define MAJOR_MEMORY		1
#define MAJOR_CONSOLE		4
#define MAJOR_TERMINAL		5
#define MAJOR_PTS_FIRST		136
#define MAJOR_PTS_LAST		143

/* ---------------------------------------------------- what the provider says */

bool dp_provider_names_device(const struct fi_info *info, char *what, size_t size)
{
	const int mr_mode = info->domain_attr->mr_mode;
	const struct fi_device_attr *device;
	const char *reason, *name = "";

	if (info->nic) {
		device = info->nic->device_attr;
		reason = "it uses the device ";
		name = device && device->name ? device->name :
						"that info->nic describes";
	} else if (mr_mode & FI_MR_ALLOCATED) {
		reason = "its mr_mode has FI_MR_ALLOCATED, which only a device needs";
	} else if (mr_mode & FI_MR_PROV_KEY) {
		reason = "its mr_mode has FI_MR_PROV_KEY, which only a device needs";
	} else {
		return false;
	}
	snprintf(what, size,
		 "%s: %s%s, and the device could go on writing after this process has died: "
		 DP_PROVIDER_CURE, info->fabric_attr->prov_name, reason, name);
	return true;
}

/* ------------------------------------------------------------- device files */

/* A device-dax node is memory, which has no engine of its own. */
static bool provider_is_dax(const struct statx *st)
{
	char path[64], target[256], *name;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem",
		 st->stx_rdev_major, st->stx_rdev_minor);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	return name && !strcmp(name, "/dax");
}

/* Not /dev/mem and /dev/port, which reach the registers of devices. */
static bool provider_is_plain_memory(unsigned int minor)
{
	return minor == 3 ||				/* null */
	       minor == 5 || minor == 7 ||		/* zero, full */
	       minor == 8 || minor == 9 ||		/* random, urandom */
	       minor == 11;				/* kmsg */
}

static bool provider_is_harmless(const struct statx *st)
{
	const unsigned int number = st->stx_rdev_major;

	if (!S_ISCHR(st->stx_mode))
		return true;
	if (number == MAJOR_MEMORY)
		return provider_is_plain_memory(st->stx_rdev_minor);
	if (number == MAJOR_CONSOLE || number == MAJOR_TERMINAL ||
	    (number >= MAJOR_PTS_FIRST && number <= MAJOR_PTS_LAST))
		return true;
	return provider_is_dax(st);
}

/* Does not wait for the server of a network filesystem. */
static int provider_stat(int directory, const char *path, struct statx *st)
{
	return statx(directory, path, AT_STATX_DONT_SYNC, STATX_TYPE, st);
}

/* Another thread may have closed it meanwhile: -ENOENT. */
static bool provider_is_open_device(int directory, const char *number)
{
	struct statx st;

	if (provider_stat(directory, number, &st))
		return errno != ENOENT;
	return !provider_is_harmless(&st);
}

static int provider_find_open(char *name, size_t size)
{
	DIR *files = opendir("/proc/self/fd");
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
		if (!provider_is_open_device(dirfd(files), entry->d_name))
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
static bool provider_is_mapped_device(char *line)
{
	const char *path = strchr(line, '/');
	struct statx st;

	line[strcspn(line, "\n")] = '\0';
	if (!path)
		return false;
	if (provider_stat(AT_FDCWD, path, &st))
		return !provider_is_harmless_path(path, errno);
	return !provider_is_harmless(&st);
}

int dp_provider_find_mapped(FILE *maps, char *name, size_t size)
{
	size_t room = 0;
	char *line = NULL;
	int found = 0;

	while (!found && getline(&line, &room, maps) >= 0) {
		if (!provider_is_mapped_device(line))
			continue;
		snprintf(name, size, "%s", strchr(line, '/'));
		found = 1;
	}
	if (!found && !feof(maps))
		found = -EIO;
	free(line);
	return found;
}

int dp_provider_find_device(char *name, size_t size)
{
	int ret = provider_find_open(name, size);
	FILE *maps;

	if (ret)
		return ret;
	maps = fopen("/proc/self/maps", "re");
	if (!maps)
		return -errno;
	ret = dp_provider_find_mapped(maps, name, size);
	fclose(maps);
	return ret;
}
