/* SPDX-License-Identifier: BSD-3-Clause */
/* The real operating system behind os.h. No policy here. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "os/os.h"
#include "util/size_signal.h"

/* The byte that means "owner alive": any place, as long as all processes agree. */
#define ALIVE_BYTE	0
/* What a pipe holds by default. A pipe of a user with very many pipes holds less. */
#define PIPE_BYTES	(64u << 10)
#define FIEMAP_BATCH	128

static int os_result(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

int dp_os_open(int dir, const char *name, int flags, unsigned int mode)
{
	return os_result(openat(dir, name, flags | O_CLOEXEC, mode));
}

void dp_os_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int dp_os_stat(const char *path, struct stat *ret_stat)
{
	return os_result(stat(path, ret_stat));
}

int dp_os_lstat(int dir, const char *name, struct stat *ret_stat)
{
	return os_result(fstatat(dir, name, ret_stat, AT_SYMLINK_NOFOLLOW));
}

int dp_os_fstat(int fd, struct stat *ret_stat)
{
	return os_result(fstat(fd, ret_stat));
}

/* FS_IOC_GETVERSION encodes the size of a long, but the kernel writes an int. */
int dp_os_file_id(int fd, struct dp_os_file_id *ret_id)
{
	struct dp_os_file_id id = { 0 };
	struct stat st;
	struct statx stx;
	long version = 0;

	if (fstat(fd, &st))
		return -errno;
	id.inode = st.st_ino;
	id.has_generation = !ioctl(fd, FS_IOC_GETVERSION, &version);
	id.generation = (uint32_t)version;
	id.has_birth = !statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) &&
		       stx.stx_mask & STATX_BTIME;
	if (id.has_birth) {
		id.birth_seconds = stx.stx_btime.tv_sec;
		id.birth_ns = stx.stx_btime.tv_nsec;
	}
	*ret_id = id;
	return 0;
}

int dp_os_mkdir(const char *path, unsigned int mode)
{
	return os_result(mkdir(path, mode));
}

int dp_os_unlink(int dir, const char *name)
{
	return os_result(unlinkat(dir, name, 0));
}

int dp_os_rename(int dir, const char *from, const char *to)
{
	return os_result(renameat(dir, from, dir, to));
}

int dp_os_rmdir(const char *path)
{
	return os_result(rmdir(path));
}

static ssize_t write_some(int fd, const void *from, uint64_t size)
{
	sigset_t before;
	bool was = size_signal_block(&before);

	return size_signal_restore(write(fd, from, size), &before, was);
}

int dp_os_write(int fd, const void *from, uint64_t size)
{
	const char *at = from;

	while (size) {
		ssize_t n = write_some(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += n;
		size -= n;
	}
	return 0;
}

int dp_os_fsync(int fd)
{
	return os_result(fsync(fd));
}

int dp_os_syncfs(int fd)
{
	return os_result(syncfs(fd));
}

int dp_os_truncate(int fd, uint64_t size)
{
	sigset_t before;
	bool was = size_signal_block(&before);

	return os_result(size_signal_restore(ftruncate(fd, size), &before, was));
}

int dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	sigset_t before;
	bool was = size_signal_block(&before);

	return os_result(size_signal_restore(fallocate(fd, mode, offset,
						       length), &before, was));
}

int dp_os_readlink(const char *path, char *buffer, size_t size)
{
	ssize_t length = readlink(path, buffer, size - 1);

	if (length < 0)
		return -errno;
	buffer[length] = '\0';
	return (int)length;
}

int dp_os_read_text(int fd, char *buffer, size_t size)
{
	size_t length = 0;
	ssize_t got = 1;

	while (got > 0 && length < size - 1) {
		got = read(fd, buffer + length, size - 1 - length);
		length += got > 0 ? got : 0;
	}
	buffer[length] = '\0';
	return got < 0 ? -EIO : (int)length;
}

int dp_os_read_file(const char *path, char *buffer, size_t size)
{
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	ret = dp_os_read_text(fd, buffer, size);
	close(fd);
	return ret;
}

int dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *stream;
	int ret = 0;

	if (fd < 0)
		return -errno;
	stream = fdopendir(fd);
	if (!stream) {
		close(fd);
		return -ENOMEM;
	}
	errno = 0;
	while (!ret && (entry = readdir(stream))) {
		ret = fn(entry->d_name, arg);
		errno = 0;
	}
	if (!ret)
		ret = -errno;
	closedir(stream);
	return ret;
}

int dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return -errno;
	*ret_magic = (uint64_t)fs.f_type;
	return 0;
}

int dp_os_is_genuine(const char *path, uint64_t magic)
{
	struct statx attributes = { .stx_mask = 0 };
	uint64_t is = 0;
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	ret = dp_os_filesystem(fd, &is);
	if (!ret)
		ret = os_result(statx(fd, "", AT_EMPTY_PATH, 0, &attributes));
	close(fd);
	if (ret)
		return ret;
	return is == magic &&
	       (attributes.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) &&
	       !(attributes.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Only root may use reserved blocks. A tmpfs without a limit reports 0 blocks. */
int dp_os_free_space(int fd, uint64_t *ret_bytes)
{
	struct statfs fs;
	uint64_t blocks;

	if (fstatfs(fd, &fs))
		return -errno;
	blocks = geteuid() ? fs.f_bavail : fs.f_bfree;
	*ret_bytes = fs.f_blocks ? blocks * (uint64_t)fs.f_frsize : UINT64_MAX;
	return 0;
}

int dp_os_is_dax(int fd)
{
	struct statx stx;

	return statx(fd, "", AT_EMPTY_PATH, 0, &stx) ? -errno :
	       !!(stx.stx_attributes & STATX_ATTR_DAX);
}

bool dp_os_is_realtime(int fd)
{
	struct fsxattr attributes;

	return !ioctl(fd, FS_IOC_FSGETXATTR, &attributes) &&
	       attributes.fsx_xflags & FS_XFLAG_REALTIME;
}

int dp_os_nodefrag(int fd)
{
	struct fsxattr attributes;

	return ioctl(fd, FS_IOC_FSGETXATTR, &attributes) ? -errno :
	       !!(attributes.fsx_xflags & FS_XFLAG_NODEFRAG);
}

int dp_os_set_nodefrag(int fd)
{
	struct fsxattr attributes;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -errno;
	attributes.fsx_xflags |= FS_XFLAG_NODEFRAG;
	return os_result(ioctl(fd, FS_IOC_FSSETXATTR, &attributes));
}

int dp_os_touch(int fd)
{
	return os_result(futimens(fd, NULL));
}

/* One batch from *offset on; *ret_more: another must follow. */
static int fiemap_batch(int fd, struct fiemap *map, uint64_t *offset,
			int (*fn)(const struct dp_os_extent *, void *),
			void *arg, bool *ret_more)
{
	int ret = 0;

	memset(map, 0, sizeof(*map));
	map->fm_start = *offset;
	map->fm_length = FIEMAP_MAX_OFFSET - *offset;
	map->fm_flags = FIEMAP_FLAG_SYNC;
	map->fm_extent_count = FIEMAP_BATCH;
	if (ioctl(fd, FS_IOC_FIEMAP, map))
		return -errno;
	*ret_more = map->fm_mapped_extents == FIEMAP_BATCH;
	for (uint32_t i = 0; !ret && i < map->fm_mapped_extents; i++) {
		const struct fiemap_extent *e = &map->fm_extents[i];
		struct dp_os_extent extent = {
			e->fe_logical, e->fe_length, e->fe_physical,
			!!(e->fe_flags & FIEMAP_EXTENT_SHARED)
		};

		ret = fn(&extent, arg);
		*offset = e->fe_logical + e->fe_length;
		if (e->fe_flags & FIEMAP_EXTENT_LAST)
			*ret_more = false;
	}
	return ret;
}

int dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *extent, void *arg),
		 void *arg)
{
	struct fiemap *map;
	uint64_t offset = 0;
	bool more = true;
	int ret = 0;

	map = malloc(sizeof(*map) + FIEMAP_BATCH * sizeof(map->fm_extents[0]));
	if (!map)
		return -ENOMEM;
	while (more && !ret)
		ret = fiemap_batch(fd, map, &offset, fn, arg, &more);
	free(map);
	return ret;
}

int dp_os_seek_data(int fd, uint64_t size,
		    int (*fn)(const struct dp_os_extent *extent, void *arg),
		    void *arg)
{
	off_t data = 0, hole;
	int ret = 0;

	while (!ret && (uint64_t)data < size) {
		data = lseek(fd, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		ret = fn(&(struct dp_os_extent) {
			.offset = data, .length = hole - data,
			.physical = data,	/* unavailable */
		}, arg);
		data = hole;
	}
	return ret;
}

int dp_os_flock(int fd, int operation)
{
	return os_result(flock(fd, operation));
}

static struct flock alive_byte(short type)
{
	return (struct flock) {
		.l_type = type, .l_whence = SEEK_SET,
		.l_start = ALIVE_BYTE, .l_len = 1,
	};
}

int dp_os_byte_lock(int fd, bool write)
{
	struct flock lock = alive_byte(write ? F_WRLCK : F_RDLCK);

	return os_result(fcntl(fd, F_SETLK, &lock));
}

void dp_os_byte_unlock(int fd)
{
	struct flock lock = alive_byte(F_UNLCK);

	fcntl(fd, F_SETLK, &lock);
}

int dp_os_byte_owner(int fd)
{
	struct flock lock = alive_byte(F_WRLCK);

	if (fcntl(fd, F_GETLK, &lock))
		return -errno;
	if (lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid > 0 ? lock.l_pid : -1;
}

int dp_os_socketpair(int ret_fd[2])
{
	return os_result(socketpair(AF_UNIX,
				    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, ret_fd));
}

int dp_os_send_descriptors(int socket, const int *fd, uint32_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control;
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *header = &control.align;
	ssize_t n;

	assert(count && count <= 253);
	memset(&control, 0, sizeof(control));
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), fd, count * sizeof(int));
	do
		n = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int dp_os_pid(void)
{
	return getpid();
}

uint32_t dp_os_user(void)
{
	return geteuid();
}

uint64_t dp_os_descriptor_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) ? 0 : limit.rlim_cur;
}

uint64_t dp_os_limit(enum dp_limit which)
{
	static const int resource[] = { RLIMIT_FSIZE, RLIMIT_MEMLOCK, RLIMIT_AS };
	struct rlimit limit;

	return getrlimit(resource[which], &limit) || limit.rlim_cur == RLIM_INFINITY ?
	       UINT64_MAX : limit.rlim_cur;
}

int dp_os_netlink(int protocol)
{
	struct timeval second = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second,
			   sizeof(second));
	return os_result(fd);
}

int dp_os_netlink_send(int fd, const void *message, size_t size)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	do
		n = sendto(fd, message, size, 0,
			   (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int dp_os_netlink_receive(int fd, void *buffer, size_t size)
{
	struct sockaddr_nl from;
	socklen_t length;
	ssize_t n;

	/* Only the kernel is port 0: whatever others send is not an answer. */
	do {
		length = sizeof(from);
		n = recvfrom(fd, buffer, size, MSG_TRUNC,
			     (struct sockaddr *)&from, &length);
	} while ((n < 0 && errno == EINTR) || (n >= 0 && from.nl_pid));
	if (n < 0)
		return -errno;
	return (size_t)n > size ? -EMSGSIZE : (int)n;
}

int dp_os_ring_setup(uint32_t entries, struct io_uring_params *params)
{
	return os_result(syscall(SYS_io_uring_setup, entries, params));
}

int dp_os_ring_map(int fd, uint64_t region, uint64_t size, void **ret_base)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, fd, region);

	if (base == MAP_FAILED)
		return -errno;
	*ret_base = base;
	return 0;
}

int dp_os_ring_register(int fd, uint32_t what, void *with, uint32_t count)
{
	return os_result(syscall(SYS_io_uring_register, fd, what, with, count));
}

int dp_os_ring_enter(int fd, uint32_t submit, uint32_t flags, uint64_t wait_ns)
{
	struct __kernel_timespec wait = {
		wait_ns / 1000000000, wait_ns % 1000000000
	};
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&wait };

	if (!wait_ns)
		return os_result(syscall(SYS_io_uring_enter, fd, submit, 0,
					 flags,
					 NULL, 0));
	flags |= IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	return os_result(syscall(SYS_io_uring_enter, fd, submit, 1, flags, &arg,
				 sizeof(arg)));
}

int dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
	      void **ret_base)
{
	void *base = mmap(at, size, protection, flags, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	*ret_base = base;
	return 0;
}

void dp_os_unmap(void *base, uint64_t size)
{
	munmap(base, size);
}

int dp_os_map_for_process(uint64_t size, void **ret_base)
{
	int ret = dp_os_map(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, ret_base);

	if (ret)
		return ret;
	ret = dp_os_advise(*ret_base, size, MADV_WIPEONFORK);
	if (ret)
		dp_os_unmap(*ret_base, size);
	return ret;
}

/* The whole pages that a range is in: returns their address. A page has 4096 bytes on
 * x86, and 16 or 64 KiB on some kernels of arm64. */
static void *os_pages_of(const void *from, uint64_t *size)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t begin = (uintptr_t)from / page * page;

	*size = dp_round_up((uintptr_t)from + *size, page) - begin;
	return (void *)begin;
}

int dp_os_advise(void *from, uint64_t size, int advice)
{
	void *base = os_pages_of(from, &size);

	return os_result(madvise(base, size, advice));
}

int dp_os_msync(const void *from, uint64_t size)
{
	void *base = os_pages_of(from, &size);

	return os_result(msync(base, size, MS_SYNC));
}

/* The pipe is empty before each write, so that no write waits. */
int dp_os_copy_by_pipe(const int fd[2], void *to, const void *from, uint64_t size)
{
	ssize_t in, out;

	for (uint64_t done = 0; done < size; ) {
		in = write(fd[1], (const char *)from + done,
			   dp_min(size - done, PIPE_BYTES));
		if (in <= 0)
			return in && errno != EFAULT ? -errno : -EIO;
		for (; in; in -= out, done += out) {
			out = read(fd[0], (char *)to + done, in);
			if (out <= 0)
				return out ? -errno : -EIO;
		}
	}
	return 0;
}

/*
 * The kernel does the load: at poison that it knows, write() from the mapping fails
 * with EFAULT, and there is no SIGBUS (kernel.md K22). The write is to a pipe, because
 * a sysctl can forbid a memfd, and a write to /dev/null reads nothing.
 */
int dp_os_copy_checked(void *to, const void *from, uint64_t size)
{
	int fd[2], ret = dp_os_pipe(fd);

	if (ret)
		return ret;
	ret = dp_os_copy_by_pipe(fd, to, from, size);
	close(fd[0]);
	close(fd[1]);
	return ret;
}

/* While a pipe is empty, a write of up to a page to it never has to wait. */
int dp_os_pipe(int ret_fd[2])
{
	return os_result(pipe2(ret_fd, O_CLOEXEC | O_NONBLOCK));
}

/* tmpfs refuses RWF_NOWAIT, but a read there takes no lock of the file. Unlike a load
 * from a mapping it allocates no page for a hole. */
static int nowait_flag(int fd)
{
	uint64_t magic = 0;

	return !dp_os_filesystem(fd, &magic) && magic == TMPFS_MAGIC ? 0 : RWF_NOWAIT;
}

int dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
		      uint64_t *ret_done)
{
	int flag = nowait_flag(fd);
	uint64_t done = 0;
	ssize_t n = 1;

	while (n > 0 && done < size) {
		struct iovec rest = { (char *)to + done, size - done };

		n = preadv2(fd, &rest, 1, offset + done, flag);
		done += n > 0 ? n : 0;
	}
	if (n < 0 && errno == EIO)
		return -EIO;
	*ret_done = done;
	return 0;
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

uint64_t dp_os_now_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

uint64_t dp_os_now_coarse_ns(void)
{
	return now_ns(CLOCK_MONOTONIC_COARSE);
}

void dp_os_sleep_ns(uint64_t ns)
{
	struct timespec t = { ns / 1000000000, ns % 1000000000 };

	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL);
}

int dp_os_random(void *to, size_t size)
{
	return getrandom(to, size, 0) == (ssize_t)size ? 0 : -errno;
}

bool dp_os_has_membarrier(void)
{
#ifdef __SANITIZE_THREAD__
	return false;			/* TSan does not know these fences */
#else
	return !syscall(SYS_membarrier,
			MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
#endif
}

bool dp_os_membarrier(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

int dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	struct timespec t = {
		deadline_ns / 1000000000, deadline_ns % 1000000000
	};
	bool forever = deadline_ns > INT64_MAX;

	/* FUTEX_WAIT_BITSET takes an absolute deadline. */
	return os_result(syscall(SYS_futex, word,
				 FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value,
				 forever ? NULL : &t, NULL,
				 FUTEX_BITSET_MATCH_ANY));
}

void dp_os_futex_wake(const void *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX,
		NULL, NULL, 0);
}

int dp_os_eventfd(void)
{
	return os_result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void dp_os_eventfd_signal(int fd)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so the fd is readable all the same. */
	if (write(fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}
