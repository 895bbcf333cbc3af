/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The disk: opening it, what identifies it, and the lock that excludes a second cache.
 */
#include "engine.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR		512u
#define IDENTITY	256u
#define HANDLE_BYTES	100u

/* Reads the first line of a file that sysfs has of the device. False: there is none, or
 * it is empty. */
static bool read_sysfs(dev_t device, const char *name, char *to, size_t size)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(device),
		 minor(device), name);
	file = fopen(path, "re");
	if (!file || !fgets(to, size, file))
		*to = '\0';
	if (file)
		fclose(file);
	to[strcspn(to, "\n")] = '\0';
	return *to;
}

/* Reads the first of the device's files that identifies the medium. */
static void read_identity(dev_t device, char *to, size_t size)
{
	static const char *const files[] = {
		"wwid", "device/wwid", "serial", "device/serial", "dm/uuid",
		"loop/backing_file", "../wwid", "../device/wwid", "../serial",
		"../device/serial", "../loop/backing_file",
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (read_sysfs(device, files[i], to, size))
			return;
}

/* A partition is identified by its disk and by where it begins. */
static int identify_device(struct cache *cache, const struct cache_options *options,
			   dev_t device, uint64_t *ret_size, char *identity)
{
	char begin[32], id[160];
	int readonly;

	if (ioctl(cache->disk, BLKGETSIZE64, ret_size))
		return cache_fail(options, -errno, "%s: its size is unknown: %s",
				  options->disk, strerror(errno));
	/* The kernel lets root open it for writing, and refuses the writes. */
	if (!ioctl(cache->disk, BLKROGET, &readonly) && readonly)
		return cache_fail(options, -EROFS, "the disk %s is read-only, so nothing could be written back; allow writes (blockdev --setrw), or give another disk",
				  options->disk);
	read_identity(device, id, sizeof(id));
	snprintf(identity, IDENTITY, "device \"%s\" from sector %s", id,
		 read_sysfs(device, "start", begin, sizeof(begin)) ? begin : "0");
	return 0;
}

/*
 * A file is identified by its handle, which stays the same when the machine boots; the
 * number of its filesystem's device can change then. The kernel gives no handle on some
 * filesystems, such as 9p, and then the inode and the device must do.
 */
static void identify_file(struct cache *cache, const struct stat *st, char *identity)
{
	union {
		struct file_handle handle;
		unsigned char space[sizeof(struct file_handle) + HANDLE_BYTES];
	} file = { .handle.handle_bytes = HANDLE_BYTES };
	int mount, at;

	if (name_to_handle_at(cache->disk, "", &file.handle, &mount, AT_EMPTY_PATH)) {
		snprintf(identity, IDENTITY, "file %ju on device %u:%u",
			 (uintmax_t)st->st_ino, major(st->st_dev),
			 minor(st->st_dev));
		return;
	}
	at = snprintf(identity, IDENTITY, "file %d:", file.handle.handle_type);
	for (unsigned int i = 0; i < file.handle.handle_bytes; i++)
		at += snprintf(identity + at, IDENTITY - at, "%02x",
			       file.handle.f_handle[i]);
}

/* What offset and length of a request to the disk must be multiples of; 0: unknown. */
static uint32_t find_alignment(const struct cache *cache, const struct stat *st)
{
	int bytes;

	if (S_ISBLK(st->st_mode))
		return ioctl(cache->disk, BLKSSZGET, &bytes) ? 0 : bytes;
#ifdef STATX_DIOALIGN			/* Linux 6.1 */
	struct statx file = { 0 };

	if (fcntl(cache->disk, F_GETFL) & O_DIRECT &&
	    !statx(cache->disk, "", AT_EMPTY_PATH, STATX_DIOALIGN, &file) &&
	    file.stx_mask & STATX_DIOALIGN)
		return file.stx_dio_offset_align;
#endif
	return 0;
}

static int identify(struct cache *cache, const struct cache_options *options,
		    uint64_t *ret_size, char *identity)
{
	struct stat st;

	if (fstat(cache->disk, &st))
		return cache_fail(options, -errno, "%s: %s", options->disk,
				  strerror(errno));
	cache->align = find_alignment(cache, &st);
	if (S_ISBLK(st.st_mode))
		return identify_device(cache, options, st.st_rdev, ret_size,
				       identity);
	if (!S_ISREG(st.st_mode))
		return cache_fail(options, -ENOTBLK, "the disk %s is neither a block device nor a file; give one of these",
				  options->disk);
	*ret_size = st.st_size;
	identify_file(cache, &st, identity);
	return 0;
}

int disk_open(struct cache *cache, const struct cache_options *options,
	      uint64_t *ret_size, char identity[IDENTITY])
{
	const char *path = options->disk;
	int ret;

	cache->disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (cache->disk < 0 && errno == EINVAL) {
		cache_say(cache, "%s: O_DIRECT is refused, so it is read and written through the page cache",
			  path);
		cache->disk = open(path, O_RDWR | O_CLOEXEC);
	}
	if (cache->disk < 0)
		return cache_fail(options, -errno, "the disk %s cannot be opened: %s; it must be a block device or a file that this user can read and write",
				  path, strerror(errno));
	ret = identify(cache, options, ret_size, identity);
	if (!ret && (!*ret_size || *ret_size % SECTOR))
		return cache_fail(options, -EINVAL, "%s has %" PRIu64 " bytes; the size must be a multiple of %u, and not 0",
				  path, *ret_size, SECTOR);
	if (!ret && options->size && options->size != *ret_size)
		return cache_fail(options, -EINVAL, "size %" PRIu64 " is not that of %s, %" PRIu64 "; leave size out",
				  options->size, path, *ret_size);
	return ret;
}

/* Of a block device there is one exclusive open, which a mount is too. */
static int try_lock(struct cache *cache)
{
	char path[64];
	struct stat st;
	int fd;

	if (fstat(cache->disk, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode)) {
		if (!flock(cache->disk, LOCK_EX | LOCK_NB))
			return 0;
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", cache->disk);
	fd = open(path, O_RDWR | (fcntl(cache->disk, F_GETFL) & O_DIRECT) | O_EXCL |
		  O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(cache->disk);
	cache->disk = fd;
	return 0;
}

/* The lock is in the description that the rings' requests use, so it remains until a
 * dead server's last request has ended. */
int disk_lock(struct cache *cache, const struct cache_options *options,
	      uint64_t deadline_ns)
{
	int ret = try_lock(cache);

	while (ret == -EBUSY && daxpin_deadline_ms(0) < deadline_ns) {
		cache_nap();
		ret = try_lock(cache);
	}
	if (ret)
		cache_fail(options, ret, "%s cannot be locked: %s%s", options->disk,
			   strerror(-ret), ret == -EBUSY ?
			   "; another cache serves it, or it is mounted" : "");
	return ret;
}
