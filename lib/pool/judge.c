/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A user who can put another file into a pool's directory controls what is locked,
 * written and read there (W14). A second path to the same data, through a hard link or
 * a stacked filesystem, can have a lock of its own (W2). If a fact is unknown the pool
 * is refused, with a sentence that says so (W11).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include "os/file_at.h"
#include "os/os.h"
#include "pool/judge.h"

/* Missing in linux/magic.h, at least of some releases. */
#define ZFS_MAGIC		0x2fc12fc1
#define BCACHEFS_MAGIC		0xca451a4e
#define FUSE_MAGIC		0x65735546
#define CIFS_MAGIC		0xff534d42
#define SMB2_MAGIC		0xfe534d42
#define CEPH_MAGIC		0x00c36400
#define GFS2_MAGIC_NUMBER	0x01161970
#define OCFS2_MAGIC		0x7461636f
#define LUSTRE_MAGIC		0x0bd00bd0
#define AUFS_MAGIC		0x61756673
#define VBOXSF_MAGIC		0x786f4256

#define OVERFLOW_UID		65534u	/* the default of the sysctl */
#define EVERY_UID		4294967295u

/* ------------------------------------------------------------------ owners */

static uint32_t judge_overflow_uid(void)
{
	char text[32];
	unsigned int uid;

	if (dp_os_read_file("/proc/sys/kernel/overflowuid", text,
			    sizeof(text)) < 0 ||
	    sscanf(text, "%u", &uid) != 1)
		return OVERFLOW_UID;
	return uid;
}

/*
 * In a user namespace all users that are not mapped have the overflow uid, and a
 * process can run as that uid, too. 1: here each uid is one user. 0: not so. -errno:
 * unknown.
 */
static int judge_every_uid_is_one_user(void)
{
	char text[256];
	unsigned int first, outside, count;
	int ret = dp_os_read_file("/proc/self/uid_map", text, sizeof(text));

	if (ret < 0)
		return ret;
	return sscanf(text, "%u %u %u", &first, &outside, &count) == 3 &&
	       !first && count == EVERY_UID;
}

static int judge_owner(const char *what, const struct stat *stat,
		       const struct dp_errmsg *errmsg)
{
	uint32_t us = dp_os_user();
	int ret;

	if (stat->st_uid && stat->st_uid != us)
		return dp_fail(errmsg, -EPERM,
			       "%s belongs to user %u, and this process runs as user %u: use files of your own, or allow it with DAXPIN_POOL_ANY_OWNER",
			       what, stat->st_uid, us);
	if (!stat->st_uid || stat->st_uid != judge_overflow_uid())
		return 0;
	ret = judge_every_uid_is_one_user();
	if (ret > 0)
		return 0;
	if (ret == -EMFILE)
		return ret;		/* dp_options_end() has the sentence */
	if (ret < 0)
		return dp_fail(errmsg, -EPERM,
			       "%s belongs to user %u, which may be any user of another namespace, and /proc/self/uid_map, which shows whether it is, cannot be read: %s; run as another user, or allow it with DAXPIN_POOL_ANY_OWNER",
			       what, stat->st_uid, strerror(-ret));
	return dp_fail(errmsg, -EPERM,
		       "%s belongs to user %u, which is any user that this user namespace does not map: run as a user that it maps, or allow it with DAXPIN_POOL_ANY_OWNER",
		       what, stat->st_uid);
}

int dp_judge_directory(const char *path, const struct stat *stat,
		       uint32_t flags, const struct dp_errmsg *errmsg)
{
	int ret;

	if (flags & DP_JUDGE_ANY_OWNER)
		return 0;
	ret = judge_owner(path, stat, errmsg);
	if (!ret && stat->st_mode & (S_IWGRP | S_IWOTH))
		ret = dp_fail(errmsg, -EPERM,
			      "other users can write to the directory %s (mode %04o), and so replace the pool's files: chmod go-w it, or allow it with DAXPIN_POOL_ANY_OWNER",
			      path, stat->st_mode & 07777u);
	return ret;
}

/* ------------------------------------------------------------------- files */

static const char *judge_kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "something else";
	}
}

static int judge_links(const char *what, const struct stat *stat,
		       const struct dp_errmsg *errmsg)
{
	if (stat->st_nlink <= 1)
		return 0;		/* 0: removed, which dp_file_lock() reports */
	return dp_fail(errmsg, -EPERM,
		       "%s has %llu names (hard links), so another pool may have the same file: remove the other names",
		       what, (unsigned long long)stat->st_nlink);
}

/* Can other users change its contents? */
static int judge_writers(const char *what, const struct stat *stat,
			 uint32_t flags, const struct dp_errmsg *errmsg)
{
	int ret;

	if (flags & DP_JUDGE_ANY_OWNER)
		return 0;
	ret = judge_owner(what, stat, errmsg);
	if (!ret && stat->st_mode & S_IWOTH)
		ret = dp_fail(errmsg, -EPERM,
			      "every user can write to %s (mode %04o): chmod o-w it, or allow it with DAXPIN_POOL_ANY_OWNER",
			      what, stat->st_mode & 07777u);
	return ret;
}

int dp_judge_file(const char *path, const char *name, const struct stat *stat,
		  const struct stat *directory, uint32_t flags,
		  const struct dp_errmsg *errmsg)
{
	char what[300];
	int ret;

	snprintf(what, sizeof(what), "%s/%s", path, name);
	if (!S_ISREG(stat->st_mode))
		return dp_fail(errmsg, -EMEDIUMTYPE,
			       "%s is %s, not a regular file: remove it, or put the pool's file there",
			       what, judge_kind(stat->st_mode));
	if (stat->st_dev != directory->st_dev)
		return dp_fail(errmsg, -EPERM,
			       "%s is on another filesystem than its directory: all files of a pool must be on the same one",
			       what);
	ret = flags & DP_JUDGE_ONE_NAME ? judge_links(what, stat, errmsg) : 0;
	return ret ? ret : judge_writers(what, stat, flags, errmsg);
}

int dp_judge_other_file(const char *path, const struct stat *stat,
			uint32_t flags, const struct dp_errmsg *errmsg)
{
	if (!S_ISREG(stat->st_mode))
		return dp_fail(errmsg, -EINVAL, "%s is %s, not a regular file",
			       path, judge_kind(stat->st_mode));
	return judge_writers(path, stat, flags, errmsg);
}

/* -------------------------------------------------------------- filesystems */

static const struct {
	uint32_t magic;
	enum dp_filesystem is;
	const char *name;		/* of a doubtful one, with the reason */
} filesystems[] = {
	{ XFS_SUPER_MAGIC, DP_FILESYSTEM_XFS, NULL },
	{ EXT4_SUPER_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ BTRFS_SUPER_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ F2FS_SUPER_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ BCACHEFS_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ ZFS_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ TMPFS_MAGIC, DP_FILESYSTEM_TMPFS, NULL },
	{ OVERLAYFS_SUPER_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "overlayfs, whose files can be reached through its upper directory" },
	{ AUFS_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "aufs, whose files can be reached through its branches" },
	{ ECRYPTFS_SUPER_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "eCryptfs, whose files can be reached through its lower directory" },
	{ V9FS_MAGIC, DP_FILESYSTEM_UNSUPPORTED, "9p, which other machines share" },
	{ FUSE_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "FUSE or virtiofs, whose files others can reach behind it" },
	{ VBOXSF_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "a folder that other machines share" },
	{ NFS_SUPER_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "NFS, which other machines share" },
	{ SMB_SUPER_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "SMB, which other machines share" },
	{ CIFS_MAGIC, DP_FILESYSTEM_UNSUPPORTED, "SMB, which other machines share" },
	{ SMB2_MAGIC, DP_FILESYSTEM_UNSUPPORTED, "SMB, which other machines share" },
	{ CEPH_MAGIC, DP_FILESYSTEM_UNSUPPORTED, "Ceph, which other machines share" },
	{ AFS_FS_MAGIC, DP_FILESYSTEM_UNSUPPORTED, "AFS, which other machines share" },
	{ GFS2_MAGIC_NUMBER, DP_FILESYSTEM_UNSUPPORTED,
	  "GFS2, which other machines share" },
	{ OCFS2_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "OCFS2, which other machines share" },
	{ LUSTRE_MAGIC, DP_FILESYSTEM_UNSUPPORTED,
	  "Lustre, which other machines share" },
};

static int judge_refuse_filesystem(const char *path, const char *name,
				   uint32_t magic, const char *described,
				   const struct dp_errmsg *errmsg)
{
	const char *slash = name ? "/" : "";

	if (described)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s%s%s is on %s, without the owner lock: use XFS, ext4, btrfs or tmpfs, or allow it with DAXPIN_POOL_ANY_FILESYSTEM, which excludes DMA",
			       path, slash, name ? name : "", described);
	return dp_fail(errmsg, -EOPNOTSUPP,
		       "%s%s%s is on a filesystem of type 0x%x, and it is unknown whether its locks exclude all other users: use XFS, ext4, btrfs or tmpfs, or allow it with DAXPIN_POOL_ANY_FILESYSTEM, which excludes DMA",
		       path, slash, name ? name : "", magic);
}

int dp_judge_filesystem(const char *path, const char *name, int fd,
			uint32_t flags, enum dp_filesystem *ret_filesystem,
			const struct dp_errmsg *errmsg)
{
	const char *described = NULL;
	uint64_t magic;
	int ret = dp_os_filesystem(fd, &magic);

	if (ret)
		return dp_fail(errmsg, ret,
			       "the filesystem of %s is unknown: %s",
			       path, strerror(-ret));
	*ret_filesystem = DP_FILESYSTEM_UNSUPPORTED;
	for (size_t i = 0; i < sizeof(filesystems) / sizeof(filesystems[0]); i++)
		if (filesystems[i].magic == (uint32_t)magic) {
			*ret_filesystem = filesystems[i].is;
			described = filesystems[i].name;
		}
	if (*ret_filesystem != DP_FILESYSTEM_UNSUPPORTED &&
	    dp_os_has_handles(fd) == DP_NO) {
		*ret_filesystem = DP_FILESYSTEM_UNSUPPORTED;
		described = "9p, which other machines share and which reports the type of its server's filesystem";
	}
	if (*ret_filesystem != DP_FILESYSTEM_UNSUPPORTED ||
	    flags & DP_JUDGE_ANY_FILESYSTEM)
		return 0;
	return judge_refuse_filesystem(path, name, magic, described, errmsg);
}
