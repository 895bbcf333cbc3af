/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The seam `os`: a machine with one directory, /sim, on a DAX file system. Its
 * files are slices of the medium, where they stay: mapping one gives its place,
 * so that opening a pool costs no page fault. Everything else that the library
 * asks of a machine is answered as simply as can be.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "machine.h"
#include "media.h"
#include "os/os.h"
#include "schedule.h"

#define FD_DIRECTORY	1000
#define FD_FILE		1001
#define FD_OTHER	2000
#define PARKED_MAX	16u

static uint64_t boot = 1;
static uint64_t random_state = 1;
static uint64_t now_ns = 1000000;

/* Anonymous mappings that were given back, to be had again. */
static struct {
	void *base;
	uint64_t size;
} parked[PARKED_MAX];

void machine_reboot(void)
{
	boot++;
}

void machine_seed(uint64_t seed)
{
	random_state = seed;
}

uint64_t machine_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;	/* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* ------------------------------------------------------------------- files */

/* The index in a segment file's name, or -1. */
static int file_index(const char *name)
{
	unsigned int index;

	if (sscanf(name, "segment.%u", &index) != 1 || index >= MEDIA_SEGMENTS)
		return -1;
	return (int)index;
}

static void set_file_word(uint64_t *word, uint64_t value)
{
	if (*word != value)
		media_store(word, &value, sizeof(value));
}

int dp_os_open(int dir, const char *name, int flags, unsigned int mode)
{
	struct media_file *file;
	int index;

	(void)mode;
	if (dir != FD_DIRECTORY)
		return strcmp(name, MACHINE_PATH) ? -ENOENT : FD_DIRECTORY;
	index = file_index(name);
	if (index < 0)
		return -ENOENT;
	file = &media_files()[index];
	if (file->exists && flags & O_EXCL)
		return -EEXIST;
	if (!file->exists && !(flags & O_CREAT))
		return -ENOENT;
	set_file_word(&file->exists, 1);
	return FD_FILE + index;
}

void dp_os_close(int fd)
{
	(void)fd;
}

static void describe_file(uint32_t index, struct stat *ret_stat)
{
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_mode = S_IFREG | 0644;
	ret_stat->st_dev = 1;
	/* Another inode each boot: the library allows one open a process. */
	ret_stat->st_ino = boot * MEDIA_SEGMENTS + index;
	ret_stat->st_size = media_files()[index].size;
}

int dp_os_stat(int dir, const char *name, struct stat *ret_stat)
{
	int index = file_index(name);

	if (dir == FD_DIRECTORY) {
		if (index < 0 || !media_files()[index].exists)
			return -ENOENT;
		describe_file(index, ret_stat);
		return 0;
	}
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_ino = 4026531836;	/* namespaces */
	ret_stat->st_mode = strcmp(name, MACHINE_PATH) ? S_IFREG : S_IFDIR;
	return strncmp(name, "/sys", 4) ? 0 : -ENOENT;
}

int dp_os_fstat(int fd, struct stat *ret_stat)
{
	assert(fd >= FD_FILE && fd < FD_FILE + (int)MEDIA_SEGMENTS);
	describe_file(fd - FD_FILE, ret_stat);
	return 0;
}

int dp_os_mkdir(const char *path)
{
	(void)path;
	return -EEXIST;
}

int dp_os_rmdir(const char *path)
{
	(void)path;
	return -ENOTEMPTY;
}

int dp_os_unlink(int dir, const char *name)
{
	int index = file_index(name);

	assert(dir == FD_DIRECTORY && index >= 0);
	set_file_word(&media_files()[index].exists, 0);
	set_file_word(&media_files()[index].size, 0);
	return 0;
}

/* Of the directory: its names; of a file: its size. */
int dp_os_fsync(int fd)
{
	for (uint32_t i = 0; i < MEDIA_SEGMENTS; i++) {
		struct media_file *file = &media_files()[i];

		if (fd == FD_DIRECTORY)
			media_flush(&file->exists, 8);
		else if (fd == FD_FILE + (int)i)
			media_flush(&file->size, 8);
	}
	media_fence();
	return 0;
}

int dp_os_allocate(int fd, uint64_t size)
{
	uint32_t index = fd - FD_FILE;

	assert(index < MEDIA_SEGMENTS);
	if (size > MEDIA_SEGMENT_SIZE)
		return -ENOSPC;
	if (media_files()[index].size < size)
		set_file_word(&media_files()[index].size, size);
	return 0;
}

/* The layout barrier: to the size that it has, which changes nothing. */
int dp_os_truncate(int fd, uint64_t size)
{
	uint32_t index = fd - FD_FILE;

	assert(index < MEDIA_SEGMENTS && media_files()[index].size == size);
	return 0;
}

int dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)fd, (void)mode, (void)offset, (void)length;
	return -EOPNOTSUPP;
}

int dp_os_readlink(const char *path, char *buffer, size_t size)
{
	(void)path, (void)buffer, (void)size;
	return -ENOENT;
}

int dp_os_read_file(const char *path, char *buffer, size_t size)
{
	if (strstr(path, "boot_id"))
		return snprintf(buffer, size, "%032llx\n",
				(unsigned long long)boot);
	if (!strcmp(path, "/proc/self/stat"))
		return snprintf(buffer, size,
				"%d (sim) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77",
				dp_os_pid());
	return -ENOENT;
}

int dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	char name[32];
	int ret = 0;

	if (dir != FD_DIRECTORY)
		return -ENOENT;
	for (uint32_t i = 0; !ret && i < MEDIA_SEGMENTS; i++) {
		snprintf(name, sizeof(name), "segment.%04u", i);
		if (media_files()[i].exists)
			ret = fn(name, arg);
	}
	return ret;
}

int dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	(void)fd;
	*ret_magic = XFS_SUPER_MAGIC;
	return 0;
}

int dp_os_is_dax(int fd)
{
	(void)fd;
	return 1;
}

bool dp_os_is_realtime(int fd)
{
	(void)fd;
	return false;
}

int dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *extent, void *arg),
		 void *arg)
{
	uint32_t index = fd - FD_FILE;

	assert(index < MEDIA_SEGMENTS);
	return fn(&(struct dp_os_extent) {
		.length = media_files()[index].size,
		.physical = (index + 1) * MEDIA_SEGMENT_SIZE,
	}, arg);
}

int dp_os_seek_data(int fd, uint64_t size,
		    int (*fn)(const struct dp_os_extent *extent, void *arg),
		    void *arg)
{
	(void)fd, (void)size, (void)fn, (void)arg;
	return -EINVAL;
}

/* ------------------------------------------------------- locks, processes */

int dp_os_flock(int fd, int operation)
{
	(void)fd, (void)operation;
	return 0;		/* a power cut leaves no owner */
}

int dp_os_byte_lock(int fd, bool write)
{
	(void)fd, (void)write;
	return 0;
}

void dp_os_byte_unlock(int fd)
{
	(void)fd;
}

int dp_os_byte_owner(int fd)
{
	(void)fd;
	return 0;
}

int dp_os_pid(void)
{
	return 1 + (int)(boot & 0xffffff);
}

int dp_os_pid_exists(int pid)
{
	return pid == dp_os_pid();
}

int dp_os_write(int fd, const void *from, uint64_t size)
{
	(void)fd, (void)from, (void)size;
	return -EOPNOTSUPP;
}

int dp_os_netlink(int protocol)
{
	(void)protocol;
	return -EPROTONOSUPPORT;
}

int dp_os_netlink_send(int fd, const void *message, size_t size)
{
	(void)fd, (void)message, (void)size;
	return -EPROTONOSUPPORT;
}

int dp_os_netlink_receive(int fd, void *buffer, size_t size)
{
	(void)fd, (void)buffer, (void)size;
	return -EPROTONOSUPPORT;
}

int dp_os_ring_setup(uint32_t entries, struct io_uring_params *params)
{
	(void)entries, (void)params;
	return -ENOSYS;		/* nothing is in flight after a power cut */
}

int dp_os_ring_map(int fd, uint64_t region, uint64_t size, void **ret_base)
{
	(void)fd, (void)region, (void)size, (void)ret_base;
	return -ENOSYS;
}

int dp_os_ring_register(int fd, uint32_t what, void *with, uint32_t count)
{
	(void)fd, (void)what, (void)with, (void)count;
	return -ENOSYS;
}

int dp_os_ring_enter(int fd, uint32_t submit, uint32_t flags, uint64_t wait_ns)
{
	(void)fd, (void)submit, (void)flags, (void)wait_ns;
	return -ENOSYS;
}

/* ------------------------------------------------------------------ memory */

static int map_anonymous(uint64_t size, int protection, int flags,
			 void **ret_base)
{
	if (protection == PROT_NONE) {	/* addresses for a pool */
		assert(size <= MEDIA_SIZE + 2 * (2u << 20));
		*ret_base = media_base();
		return 0;
	}
	for (uint32_t i = 0; i < PARKED_MAX; i++) {
		if (!parked[i].base || parked[i].size != size)
			continue;
		*ret_base = parked[i].base;
		parked[i].base = NULL;
		memset(*ret_base, 0, size);
		return 0;
	}
	*ret_base = mmap(NULL, size, protection, flags, -1, 0);
	return *ret_base == MAP_FAILED ? -ENOMEM : 0;
}

int dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
	      void **ret_base)
{
	char *place;

	if (fd < 0)
		return map_anonymous(size, protection, flags, ret_base);
	assert(fd >= FD_FILE && fd < FD_FILE + (int)MEDIA_SEGMENTS);
	place = media_base() + (fd - FD_FILE) * MEDIA_SEGMENT_SIZE;
	assert(size <= MEDIA_SEGMENT_SIZE && (!at || at == place));
	*ret_base = place;
	return 0;
}

void dp_os_unmap(void *base, uint64_t size)
{
	if (media_has(base))
		return;
	for (uint32_t i = 0; i < PARKED_MAX; i++)
		if (!parked[i].base) {
			parked[i].base = base;
			parked[i].size = size;
			return;
		}
	munmap(base, size);
}

int dp_os_advise(void *base, uint64_t size, int advice)
{
	(void)base, (void)size, (void)advice;
	return 0;
}

int dp_os_msync(void *base, uint64_t size)
{
	(void)base, (void)size;
	return -EINVAL;
}

int dp_os_read_now(int fd, uint64_t offset, void *to, uint64_t size,
		   uint64_t *ret_done)
{
	(void)fd;
	(void)offset;
	(void)to;
	(void)size;
	*ret_done = 0;
	return 0;
}

int dp_os_copy_checked(void *to, const void *from, uint64_t size)
{
	memcpy(to, from, size);
	return 0;
}

/* -------------------------------------------- time, randomness, sleeping */

uint64_t dp_os_now_ns(void)
{
	return now_ns++;
}

uint64_t dp_os_now_coarse_ns(void)
{
	return now_ns;
}

void dp_os_sleep_ns(uint64_t ns)
{
	now_ns += ns;
	schedule_wait();
}

int dp_os_random(void *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = machine_random(&random_state);
	return 0;
}

int dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	(void)word, (void)value, (void)deadline_ns;
	schedule_wait();
	return 0;
}

void dp_os_futex_wake(const void *word)
{
	(void)word;
}

int dp_os_eventfd(void)
{
	return FD_OTHER;
}

void dp_os_eventfd_signal(int fd)
{
	(void)fd;
}
