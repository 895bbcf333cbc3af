/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool's files on their filesystem: whether xfs_fsr may move their blocks, whether
 * other files can share these, and whether they have holes. Trials use scratch files.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include "doctor.h"

/* ---------------------------------------------------------- defragmentation */

static int marked(int fd)
{
	struct fsxattr attributes;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -errno;
	return !!(attributes.fsx_xflags & FS_XFLAG_NODEFRAG);
}

/* 1: the file can be marked, and the mark can be read back. */
static int takes_mark(int fd)
{
	struct fsxattr attributes;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -errno;
	attributes.fsx_xflags |= FS_XFLAG_NODEFRAG;
	if (ioctl(fd, FS_IOC_FSSETXATTR, &attributes))
		return -errno;
	return marked(fd);
}

static void report_pool_defrag(struct doctor *doctor, struct answer answer)
{
	switch (doctor->place.info.movable) {
	case DAXPIN_NO:
		answer.verdict = VERDICT_YES;
		doctor_report(doctor, answer,
			      "xfs_fsr leaves the pool's files alone: each is marked");
		break;
	case DAXPIN_YES:
		answer.verdict = VERDICT_NO;
		answer.remedy = "open the pool for writing once, as the owner of its files or root, or mark them: xfs_io -c 'chattr +f'";
		doctor_report(doctor, answer,
			      "xfs_fsr may move blocks of the pool while hardware writes there, and such writes are lost");
		break;
	default:
		answer.verdict = VERDICT_UNKNOWN;
		answer.remedy = "do not run xfs_fsr on this filesystem while the pool is open";
		doctor_report(doctor, answer,
			      "whether the pool's files are marked so that xfs_fsr leaves them alone could not be read");
	}
}

static void try_mark(struct doctor *doctor, struct answer answer)
{
	int ret = takes_mark(doctor->testbed.fd);

	answer.verdict = ret > 0 ? VERDICT_YES : VERDICT_NO;
	if (ret > 0) {
		doctor_report(doctor, answer,
			      "a new file can be marked so that xfs_fsr leaves it alone; each open for writing marks the pool's files%s",
			      doctor->place.in_use ? "; those of this pool were not examined, because it is in use" : "");
		return;
	}
	answer.remedy = "do not run xfs_fsr on this filesystem while a pool is open";
	doctor_report(doctor, answer,
		      "a new file cannot be marked so that xfs_fsr leaves it alone%s%s",
		      ret ? ": " : "", ret ? strerror(-ret) : "");
}

static void report_defrag(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	struct answer answer = {
		.subject = SUBJECT_DEFRAG,
		.needed = place->source == DAXPIN_SOURCE_FSDAX,
	};

	if (strcmp(place->filesystem, "XFS") != 0) {
		answer.needed = false;
		answer.verdict = VERDICT_UNKNOWN;
		doctor_report(doctor, answer,
			      "daxpin cannot check whether a tool moves blocks on %s: run no such tool on the files of an open pool",
			      place->filesystem);
	} else if (place->opened) {
		report_pool_defrag(doctor, answer);
	} else if (doctor->testbed.fd < 0) {
		doctor_report_no_testbed(doctor, SUBJECT_DEFRAG, answer.needed);
	} else {
		try_mark(doctor, answer);
	}
}

/* ----------------------------------------------------------------- reflinks */

/* 1: two files can have the same blocks; 0: they cannot; or -errno. */
static int try_reflink(const struct place *place)
{
	struct testbed from, to;
	int ret = -EACCES;

	testbed_open(&from, place);
	testbed_open(&to, place);
	if (from.fd >= 0 && to.fd >= 0) {
		struct file_clone_range range = {
			.src_fd = from.fd, .src_length = PAGE,
		};

		ret = ioctl(to.fd, FICLONERANGE, &range) ? -errno : 1;
		if (ret == -EOPNOTSUPP || ret == -ENOTTY || ret == -EINVAL)
			ret = 0;
	}
	testbed_close(&to);
	testbed_close(&from);
	return ret;
}

static uint64_t room(const struct place *place)
{
	struct statvfs fs;

	if (fstatvfs(place->fd, &fs))
		return 0;
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static void report_reflinks(struct doctor *doctor)
{
	const struct place *place = &doctor->place;
	int can = try_reflink(place);
	struct answer answer = {
		.subject = SUBJECT_REFLINKS,
		.needed = place->source == DAXPIN_SOURCE_FSDAX,
		.verdict = can < 0 ? VERDICT_UNKNOWN : VERDICT_YES,
	};

	if (can <= 0) {
		answer.remedy = can ? "run this as a user who has permission to write to the path" :
				      NULL;
		doctor_report(doctor, answer, can ?
			      "whether files can share blocks could not be tried: %s" :
			      "no file can share a pool's blocks, so a copy of the pool never causes stores to the pool to need new space",
			      strerror(-can));
		return;
	}
	if (room(place) < place->media_bytes)
		answer.verdict = VERDICT_NO;
	answer.remedy = "create the filesystem with mkfs.xfs -m reflink=0; or keep the files at mode 0600, copy them with cp --reflink=never, and keep as much space free as the pool has";
	doctor_report(doctor, answer,
		      "cp shares blocks by default, and then a store to a mapped pool needs new space and is a SIGBUS if there is none: %" PRIu64 " MiB are free, %s %" PRIu64 " MiB",
		      room(place) / MIB, place->media_bytes ? "the pool has" :
		      "and there is no pool yet:", place->media_bytes / MIB);
}

/* ------------------------------------------------------------------- blocks */

/* How much the next open for writing will allocate, as an open for reading reports. */
static void report_blocks(struct doctor *doctor)
{
	const struct daxpin_pool_info *info = &doctor->place.info;
	bool fsdax = doctor->place.source == DAXPIN_SOURCE_FSDAX;
	uint64_t need = info->sparse_bytes + (fsdax ? info->shared_bytes : 0);
	bool fits = need <= room(&doctor->place);
	struct answer answer = {
		.subject = SUBJECT_BLOCKS, .needed = true,
		.verdict = fits ? VERDICT_YES : VERDICT_NO,
		.remedy = fits ? NULL : "free some space before the pool is opened for writing",
	};

	if (!doctor->place.opened)
		return;
	if (!info->sparse_bytes && !info->shared_bytes)
		doctor_report(doctor, answer,
			      "none of the pool's blocks is shared with another file, or missing");
	else
		doctor_report(doctor, answer,
			      "%" PRIu64 " MiB of the pool share blocks with other files, %" PRIu64 " MiB in use are holes: no data is lost; the next open for writing allocates %" PRIu64 " MiB, and %" PRIu64 " MiB are free",
			      info->shared_bytes / MIB, info->sparse_bytes / MIB,
			      need / MIB, room(&doctor->place) / MIB);
}

void doctor_files(struct doctor *doctor)
{
	if (doctor->place.source != DAXPIN_SOURCE_FSDAX &&
	    doctor->place.source != DAXPIN_SOURCE_DISK)
		return;
	report_defrag(doctor);
	report_reflinks(doctor);
	report_blocks(doctor);
}
