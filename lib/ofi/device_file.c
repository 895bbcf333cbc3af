/* SPDX-License-Identifier: BSD-3-Clause */
/* What cannot be examined may be a device. */
#include "ofi/device_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the kernel's list (Documentation/admin-guide/devices.txt). */
#define MAJOR_MEMORY		1
#define MAJOR_CONSOLE		4
#define MAJOR_TERMINAL		5
#define MAJOR_PTS_FIRST		136
#define MAJOR_PTS_LAST		143

/* Does this link of the device's directory in sysfs lead to that name? */
static bool device_links_to(const struct statx *st, const char *link,
			    const char *wanted)
{
	char path[64], target[256], *name;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u%s", st->stx_rdev_major,
		 st->stx_rdev_minor, link);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	return name && !strcmp(name + 1, wanted);
}

/* Not /dev/mem and /dev/port, which reach the registers of devices. */
static bool device_is_plain_memory(unsigned int minor)
{
	return minor == 3 ||				/* null */
	       minor == 5 || minor == 7 ||		/* zero, full */
	       minor == 8 || minor == 9 ||		/* random, urandom */
	       minor == 11;				/* kmsg */
}

static bool device_is_terminal(unsigned int number)
{
	return number == MAJOR_CONSOLE || number == MAJOR_TERMINAL ||
	       (number >= MAJOR_PTS_FIRST && number <= MAJOR_PTS_LAST);
}

enum dp_device_kind dp_device_kind(const struct statx *st)
{
	if (!S_ISCHR(st->stx_mode) || device_is_terminal(st->stx_rdev_major))
		return DP_DEVICE_NONE;
	if (st->stx_rdev_major == MAJOR_MEMORY)
		return device_is_plain_memory(st->stx_rdev_minor) ? DP_DEVICE_NONE :
								    DP_DEVICE_OTHER;
	/* A device-dax node is memory, which has no engine of its own. */
	if (device_links_to(st, "/subsystem", "dax"))
		return DP_DEVICE_NONE;
	if (device_links_to(st, "/subsystem", "infiniband_verbs"))
		return DP_DEVICE_UVERBS;
	return device_links_to(st, "", "rdma_cm") ? DP_DEVICE_CONNECTS :
						    DP_DEVICE_OTHER;
}

bool dp_device_rdma_name(const struct statx *st, char name[DP_RDMA_NAME_MAX])
{
	char path[64];
	FILE *file;
	bool known;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/ibdev", st->stx_rdev_major,
		 st->stx_rdev_minor);
	file = fopen(path, "re");
	if (!file)
		return false;
	known = fgets(name, DP_RDMA_NAME_MAX, file);
	fclose(file);
	if (known)
		name[strcspn(name, "\n")] = '\0';
	return known;
}
