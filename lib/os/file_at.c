/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "os/file_at.h"
#include "util/size_signal.h"

int64_t dp_os_read_at(int fd, void *to, uint64_t size, uint64_t offset)
{
	uint64_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)to + done, size - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += n;
	}
	return (int64_t)done;
}

static ssize_t write_some_at(int fd, const void *from, uint64_t size, uint64_t offset)
{
	sigset_t before;
	bool was = size_signal_block(&before);

	return size_signal_restore(pwrite(fd, from, size, (off_t)offset), &before,
				   was);
}

int dp_os_write_at(int fd, const void *from, uint64_t size, uint64_t offset)
{
	const char *at = from;

	while (size) {
		ssize_t n = write_some_at(fd, at, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int dp_os_set_access(int fd, gid_t group, mode_t mode)
{
	struct stat stat;

	if (fstat(fd, &stat))
		return -errno;
	if (stat.st_gid != group && fchown(fd, (uid_t)-1, group))
		mode &= ~(mode_t)S_IRWXG;
	return fchmod(fd, mode) ? -errno : 0;
}

/* The handle has no room, so the kernel returns its size, or that there is none. */
enum dp_tristate dp_os_has_handles(int fd)
{
	struct file_handle handle = { .handle_bytes = 0 };
	int mount;

	if (!name_to_handle_at(fd, "", &handle, &mount, AT_EMPTY_PATH) ||
	    errno == EOVERFLOW)
		return DP_YES;
	return errno == EOPNOTSUPP ? DP_NO : DP_UNKNOWN;
}
