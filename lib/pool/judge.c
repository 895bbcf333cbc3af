/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whoever can put another file into a pool's directory decides what is locked,
 * written and read there (W14), and a second way to an inode, by a hard link or
 * another filesystem on top, has a lock of its own (W2). What cannot be told is a
 * refusal with its own sentence (W11).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include "os/os.h"
#include "pool/judge.h"

/* Not in linux/magic.h, or not in that of every release. */
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

#define OVERFLOW_UID		65534u	/* unless the sysctl says otherwise */
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
 * In a user namespace every user that it does not know is shown as the overflow
 * uid, also to one who runs as that. 1: here each uid is one user; 0: not here;
 * or -errno, it cannot be told.
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
			       "%s belongs to user %u, and this process runs as user %u: use files of your own, or insist with DAXPIN_POOL_ANY_OWNER",
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
			       "%s belongs to user %u, which may stand for any user of another namespace, and /proc/self/uid_map, which says whether it does, cannot be read: %s; run as another user, or insist with DAXPIN_POOL_ANY_OWNER",
			       what, stat->st_uid, strerror(-ret));
	return dp_fail(errmsg, -EPERM,
		       "%s belongs to user %u, which stands for every user that this user namespace does not know: run as a user that it maps, or insist with DAXPIN_POOL_ANY_OWNER",
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
			      "other users can write to the directory %s (mode %04o), and so put other files in the place of the pool's: chmod go-w it, or insist with DAXPIN_POOL_ANY_OWNER",
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
		return 0;		/* 0: removed, which is told under the lock */
	return dp_fail(errmsg, -EPERM,
		       "%s has %llu names (hard links), so another pool may have the same file: remove the other names",
		       what, (unsigned long long)stat->st_nlink);
}

/* Who can change what is in it? */
static int judge_writers(const char *what, const struct stat *stat,
			 uint32_t flags, const struct dp_errmsg *errmsg)
{
	int ret;

	if (flags & DP_JUDGE_ANY_OWNER)
		return 0;
	ret = judge_owner(what, stat, errmsg);
	if (!ret && stat->st_mode & S_IWOTH)
		ret = dp_fail(errmsg, -EPERM,
			      "every user can write to %s (mode %04o): chmod o-w it, or insist with DAXPIN_POOL_ANY_OWNER",
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
			       "%s is %s and no regular file: remove it, or put the pool's file there",
			       what, judge_kind(stat->st_mode));
	if (stat->st_dev != directory->st_dev)
		return dp_fail(errmsg, -EPERM,
			       "%s is on another filesystem than its directory: all files of a pool are on one",
			       what);
	ret = flags & DP_JUDGE_ONE_NAME ? judge_links(what, stat, errmsg) : 0;
	return ret ? ret : judge_writers(what, stat, flags, errmsg);
}

int dp_judge_other_file(const char *path, const struct stat *stat,
			uint32_t flags, const struct dp_errmsg *errmsg)
{
	if (!S_ISREG(stat->st_mode))
		return dp_fail(errmsg, -EINVAL, "%s is %s and no regular file",
			       path, judge_kind(stat->st_mode));
	return judge_writers(path, stat, flags, errmsg);
}

/* -------------------------------------------------------------- filesystems */

static const struct {
	uint32_t magic;
	enum dp_filesystem is;
	const char *name;		/* of a doubtful one, and why it is */
} filesystems[] = {
	{ XFS_SUPER_MAGIC, DP_FILESYSTEM_XFS, NULL },
	{ EXT4_SUPER_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ BTRFS_SUPER_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ F2FS_SUPER_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ BCACHEFS_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ ZFS_MAGIC, DP_FILESYSTEM_KNOWN, NULL },
	{ TMPFS_MAGIC, DP_FILESYSTEM_TMPFS, NULL },
	{ OVERLAYFS_SUPER_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "overlayfs, whose upper directory is a second way to its files" },
	{ AUFS_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "aufs, whose branches are a second way to its files" },
	{ ECRYPTFS_SUPER_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "eCryptfs, whose lower directory is a second way to its files" },
	{ V9FS_MAGIC, DP_FILESYSTEM_DOUBTFUL, "9p, which other machines share" },
	{ FUSE_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "FUSE or virtiofs, whose files others can reach behind it" },
	{ VBOXSF_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "a folder that other machines share" },
	{ NFS_SUPER_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "NFS, which other machines share" },
	{ SMB_SUPER_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "SMB, which other machines share" },
	{ CIFS_MAGIC, DP_FILESYSTEM_DOUBTFUL, "SMB, which other machines share" },
	{ SMB2_MAGIC, DP_FILESYSTEM_DOUBTFUL, "SMB, which other machines share" },
	{ CEPH_MAGIC, DP_FILESYSTEM_DOUBTFUL, "Ceph, which other machines share" },
	{ AFS_FS_MAGIC, DP_FILESYSTEM_DOUBTFUL, "AFS, which other machines share" },
	{ GFS2_MAGIC_NUMBER, DP_FILESYSTEM_DOUBTFUL,
	  "GFS2, which other machines share" },
	{ OCFS2_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "OCFS2, which other machines share" },
	{ LUSTRE_MAGIC, DP_FILESYSTEM_DOUBTFUL,
	  "Lustre, which other machines share" },
};

static int judge_doubt(const char *path, const char *name, uint32_t magic,
		       const char *described, const struct dp_errmsg *errmsg)
{
	const char *slash = name ? "/" : "";

	if (described)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s%s%s is on %s, past the owner lock: use XFS, ext4, btrfs or tmpfs, or insist with DAXPIN_POOL_ANY_FILESYSTEM, which allows no DMA",
			       path, slash, name ? name : "", described);
	return dp_fail(errmsg, -EOPNOTSUPP,
		       "%s%s%s is on a filesystem of type 0x%x, of which daxpin does not know whether its locks keep everybody out: use XFS, ext4, btrfs or tmpfs, or insist with DAXPIN_POOL_ANY_FILESYSTEM, which allows no DMA",
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
			       "what filesystem %s is on cannot be told: %s",
			       path, strerror(-ret));
	*ret_filesystem = DP_FILESYSTEM_DOUBTFUL;
	for (size_t i = 0; i < sizeof(filesystems) / sizeof(filesystems[0]); i++)
		if (filesystems[i].magic == (uint32_t)magic) {
			*ret_filesystem = filesystems[i].is;
			described = filesystems[i].name;
		}
	if (*ret_filesystem != DP_FILESYSTEM_DOUBTFUL ||
	    flags & DP_JUDGE_ANY_FILESYSTEM)
		return 0;
	return judge_doubt(path, name, magic, described, errmsg);
}
