/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which parts of /proc, /sys and netlink this process can see. After a crash of an
 * owner that used RDMA, the next open needs them to find out whether the owner's RDMA
 * has ended (daxpin(7), CONTAINERS).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "doctor.h"

#define BOOT_ID	"/proc/sys/kernel/random/boot_id"

/* 0: the file is the kernel's own. -EXDEV: something is mounted over it. Other errors
 * are those of open(), fstatfs() and statx(). */
static int look_at(const char *path, long magic)
{
	struct statx attributes = { .stx_mask = 0 };
	struct statfs filesystem;
	int ret = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &filesystem) ||
	    statx(fd, "", AT_EMPTY_PATH, 0, &attributes))
		ret = -errno;
	else if (filesystem.f_type != magic ||
		 (attributes.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		ret = -EXDEV;
	close(fd);
	return ret;
}

/* The number of pid namespaces, from that of /proc down to this process's own, in which
 * this process has an id; 0: /proc does not show this process. */
static int count_ids(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[512];
	int count = 0;

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "NStgid:", 7))
			for (char *at = line; (at = strchr(at, '\t')); at++)
				count++;
	if (status)
		fclose(status);
	return count;
}

static void report_boot_id(struct doctor *doctor)
{
	int ret = look_at(BOOT_ID, PROC_SUPER_MAGIC);

	if (!ret) {
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_BOOT_ID, .verdict = VERDICT_YES,
			.needed = false,
		}, "it is the kernel's own, so a changed boot id proves a reboot");
		return;
	}
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_BOOT_ID,
		.verdict = ret == -EXDEV ? VERDICT_NO : VERDICT_UNKNOWN,
		.needed = false,
		.remedy = "after a power cut open the pool before the RDMA device, or give the container the host's /proc/sys/kernel/random/boot_id",
	}, "%s %s", BOOT_ID, ret == -EXDEV ? "is not the kernel's own: a file is mounted over it, as in containers" :
	   strerror(-ret));
}

static void report_proc(struct doctor *doctor)
{
	int count = count_ids();

	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_PROC,
		.verdict = count == 1 ? VERDICT_YES :
			   count ? VERDICT_NO : VERDICT_UNKNOWN,
		.needed = false,
		.remedy = count == 1 ? NULL : "mount /proc of the process's own pid namespace, without hiding other users' processes (hidepid)",
	}, count == 1 ? "/proc is of this pid namespace, so an open can distinguish other processes' verbs contexts from the last owner's" :
	   count ? "/proc is of another pid namespace than this process" :
		      "/proc does not show this process");
}

static void report_netlink(struct doctor *doctor)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA);
	int error = fd < 0 ? errno : 0;
	bool none = error == EPROTONOSUPPORT &&
		    !look_at("/sys/module", SYSFS_MAGIC) &&
		    access("/sys/module/ib_core", F_OK);

	if (fd >= 0)
		close(fd);
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_NETLINK,
		.verdict = !error ? VERDICT_YES :
			   none ? VERDICT_UNKNOWN : VERDICT_NO,
		.needed = doctor->rdma != NULL,
		.remedy = !error ? NULL :
			  none ? "load the device's driver" :
				 "allow socket(AF_NETLINK, SOCK_RAW, NETLINK_RDMA) to this process",
	}, !error ? "the kernel reports whether a verbs context exists, by its number" :
	   none ? "the kernel has no RDMA now" :
		  "a socket cannot be created (%s), so after a crash an open cannot find out whether the owner's verbs context is gone while any is open on the machine",
	   strerror(error));
}

/* The file's first character, or 0. */
static char read_first(const char *path)
{
	FILE *file = fopen(path, "re");
	int c = file ? fgetc(file) : EOF;

	if (file)
		fclose(file);
	return c == EOF ? 0 : (char)c;
}

static void report_network(struct doctor *doctor)
{
	char mode = read_first("/sys/module/ib_core/parameters/netns_mode");
	bool initial = !look_at("/proc/sys/net/core/netdev_budget",
				PROC_SUPER_MAGIC) &&
		       !look_at("/sys/class/net", SYSFS_MAGIC);

	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_NETWORK,
		.verdict = mode == 'N' ? VERDICT_NO :
			   mode == 'Y' && initial ? VERDICT_YES :
						    VERDICT_UNKNOWN,
		.needed = false,
		.remedy = mode == 'Y' && initial ? NULL :
			"this matters only if a device was removed after a crash: open the pool once on the host, or end every program that has an RDMA device open",
	}, mode == 'N' ? "network namespaces have RDMA devices of their own, so a device that is not listed here may still exist" :
	   mode != 'Y' ? "/sys does not show whether network namespaces share RDMA devices" :
	   initial ? "network namespaces share RDMA devices, and /sys shows a device that is being removed" :
		     "network namespaces share RDMA devices, but only /sys of the initial network namespace shows a device that is being removed");
}

void doctor_container(struct doctor *doctor)
{
	report_boot_id(doctor);
	report_proc(doctor);
	report_netlink(doctor);
	report_network(doctor);
}
