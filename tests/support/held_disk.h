/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk whose reads land when the test decides, and not before. It is a dm-delay
 * target, with a delay of an hour, over the disk that DAXPIN_TEST_DISK names, which
 * reads 0xA5 everywhere. Suspending the target makes it pass on the reads that it has
 * delayed, and waits until they have completed.
 *
 * held_disk_reads() returns the number of reads that dm-delay has. Such a read cannot
 * be cancelled any more, not even by the death of its process. A read that no io_uring
 * worker has started can be cancelled.
 *
 * If a test is killed, its disk is left with the delayed reads; guest-suite completes
 * them and removes the disk. dmsetup suspend NAME && dmsetup remove NAME does the same.
 */
#ifndef HELD_DISK_H
#define HELD_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define HELD_DISK_BYTE		0xa5		/* the byte that it reads */
#define HELD_DISK_DELAY_MS	"3600000"
#define HELD_DISK_HANG_S	600		/* limit of a wait that must end */

struct held_disk {
	char name[64];
	char path[32];			/* name of the block device; "": none */
};

/* A request to device mapper, with space for one target and its text. */
struct held_disk_request {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char text[256];
};

/* Returns 0 or -errno. */
static inline int held_disk_ioctl(const struct held_disk *disk,
				  unsigned long command,
				  struct held_disk_request *request)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	request->head.version[0] = DM_VERSION_MAJOR;
	request->head.data_size = sizeof(*request);
	request->head.data_start = offsetof(struct held_disk_request, target);
	strcpy(request->head.name, disk->name);
	if (ioctl(fd, command, request))
		ret = -errno;
	close(fd);
	return ret;
}

static inline int held_disk_load(struct held_disk *disk, const char *below)
{
	struct held_disk_request request = { .head = { .target_count = 1 } };
	int fd = open(below, O_RDONLY | O_CLOEXEC), ret;
	uint64_t bytes;
	struct stat st;

	if (fd < 0)
		return -errno;
	ret = fstat(fd, &st) || ioctl(fd, BLKGETSIZE64, &bytes) ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	request.target.length = bytes / 512;
	strcpy(request.target.target_type, "delay");
	snprintf(request.text, sizeof(request.text),
		 "%u:%u 0 " HELD_DISK_DELAY_MS, major(st.st_rdev),
		 minor(st.st_rdev));
	return held_disk_ioctl(disk, DM_TABLE_LOAD, &request);
}

static inline int held_disk_suspend(const struct held_disk *disk)
{
	struct held_disk_request request = {
		.head = { .flags = DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG },
	};

	return held_disk_ioctl(disk, DM_DEV_SUSPEND, &request);
}

static inline int held_disk_resume(const struct held_disk *disk)
{
	struct held_disk_request request = { .head = { .flags = 0 } };

	return held_disk_ioctl(disk, DM_DEV_SUSPEND, &request);
}

/* All delayed reads have landed when this returns 0. Otherwise returns -errno. */
static inline int held_disk_land(const struct held_disk *disk)
{
	int ret = held_disk_suspend(disk);

	return ret ? ret : held_disk_resume(disk);
}

/* Call it after held_disk_land(), when all descriptors of the disk are closed. */
static inline int held_disk_remove(struct held_disk *disk)
{
	struct held_disk_request request;
	int ret;

	if (!disk->path[0])
		return 0;
	ret = held_disk_land(disk);
	/* A ring closes its files some time after the death of its process. */
	for (int ms = 0; !ret && ms < HELD_DISK_HANG_S * 1000; ms += 10) {
		memset(&request, 0, sizeof(request));
		ret = held_disk_ioctl(disk, DM_DEV_REMOVE, &request);
		if (ret != -EBUSY)
			break;
		ret = 0;
		usleep(10000);
	}
	disk->path[0] = '\0';
	return ret;
}

/* Returns 0 or -errno. */
static inline int held_disk_make(struct held_disk *disk)
{
	struct held_disk_request request = { .head = { .flags = 0 } };
	static int count;
	int ret;

	snprintf(disk->name, sizeof(disk->name), "daxpin-held-%d-%d", getpid(),
		 count++);
	ret = held_disk_ioctl(disk, DM_DEV_CREATE, &request);
	if (ret)
		return ret;
	snprintf(disk->path, sizeof(disk->path), "/dev/dm-%u",
		 minor(request.head.dev));
	ret = held_disk_load(disk, getenv("DAXPIN_TEST_DISK"));
	if (!ret)
		ret = held_disk_resume(disk);
	if (ret)
		held_disk_remove(disk);
	return ret;
}

static inline int held_disk_open(const struct held_disk *disk)
{
	return open(disk->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

/* Returns the number of delayed reads, or -errno. */
static inline int held_disk_reads(const struct held_disk *disk)
{
	struct held_disk_request request = {
		.head = { .flags = DM_NOFLUSH_FLAG },
	};
	int ret = held_disk_ioctl(disk, DM_TABLE_STATUS, &request);
	unsigned int reads;

	if (ret)
		return ret;
	if (sscanf(request.text, "%u", &reads) != 1)
		return -EPROTO;
	return reads;
}

/* Waits until this number of reads is delayed. Returns false if that takes too long. */
static inline bool held_disk_wait(const struct held_disk *disk, int reads)
{
	for (int ms = 0; ms < HELD_DISK_HANG_S * 1000; ms++) {
		if (held_disk_reads(disk) >= reads)
			return true;
		usleep(1000);
	}
	return false;
}

#endif
