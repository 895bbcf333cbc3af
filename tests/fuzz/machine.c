/* SPDX-License-Identifier: BSD-3-Clause */
/* The os seam: see machine.h. A call without a place here fails as ENOSYS. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "machine.h"
#include "mapping.h"
#include "os/os.h"

#define FIRST_FD	1000
#define HANDLES		32
#define EXTRA_FIRST	4000u
#define INODE_FIRST	100u

enum handle_kind { NOTHING, POOL_DIR, SEGMENT, EVENT, OTHER_DIR };

struct handle {
	enum handle_kind kind;
	uint32_t file;
	uint64_t count;			/* of an eventfd */
};

struct machine machine;
static struct handle handles[HANDLES];
static struct mapping mappings[MAPPINGS];

/* ------------------------------------------------------------------ disks */

static void *map_or_die(void *at, uint64_t size, int protection, int flags,
			int fd, uint64_t offset)
{
	void *base = mmap(at, size, protection, flags, fd, offset);

	expect(base != MAP_FAILED, "mmap of %llu bytes: %s",
	       (unsigned long long)size, strerror(errno));
	return base;
}

struct machine_disk *machine_disk_new(void)
{
	struct machine_disk *disk = calloc(1, sizeof(*disk));

	expect(disk, "no memory");
	for (uint32_t i = 0; i < MACHINE_FILES; i++) {
		struct machine_file *file = &disk->file[i];

		file->memfd = memfd_create("daxpin-fuzz", MFD_CLOEXEC);
		expect(file->memfd >= 0 &&
		       !ftruncate(file->memfd, MACHINE_FILE_MAX), "no memfd");
		file->memory = map_or_die(NULL, MACHINE_FILE_MAX,
					  PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_NORESERVE,
					  file->memfd, 0);
		file->saved_chunk = calloc(1, DP_CHUNK_SIZE);
		expect(file->saved_chunk, "no memory");
	}
	return disk;
}

void machine_disk_save(struct machine_disk *disk)
{
	for (uint32_t i = 0; i < MACHINE_FILES; i++) {
		struct machine_file *file = &disk->file[i];

		file->saved = file->now;
		memcpy(file->saved_chunk, file->memory, DP_CHUNK_SIZE);
		memset(file->dirty, 0, sizeof(file->dirty));
	}
}

static void restore(struct machine_file *file)
{
	file->now = file->saved;
	for (uint32_t page = 0; page < MACHINE_PAGES; page++) {
		if (file->dirty[page])
			memcpy(file->memory + page * DP_BLOCK_SIZE,
			       file->saved_chunk + page * DP_BLOCK_SIZE,
			       DP_BLOCK_SIZE);
		file->dirty[page] = false;
	}
}

void machine_reset(struct machine_disk *disk)
{
	machine = (struct machine) {
		.disk = disk, .kind = DP_SOURCE_SHMEM, .pid = 4242,
		.boot = 0x11, .now_ns = 1000000000, .random = 1,
	};
	memset(handles, 0, sizeof(handles));
	memset(mappings, 0, sizeof(mappings));
	for (uint32_t i = 0; i < MACHINE_FILES; i++)
		restore(&disk->file[i]);
}

void machine_write(uint32_t file, uint64_t offset, const void *from,
		   uint64_t size)
{
	struct machine_file *at = &machine.disk->file[file];

	expect(file < MACHINE_FILES && offset <= MACHINE_FILE_MAX &&
	       size <= MACHINE_FILE_MAX - offset, "past the file");
	for (uint64_t page = offset >> DP_BLOCK_SHIFT;
	     page < MACHINE_PAGES && page << DP_BLOCK_SHIFT < offset + size;
	     page++)
		at->dirty[page] = true;
	if (from)
		memmove(at->memory + offset, from, size);
	else if (offset >= DP_CHUNK_SIZE && size > (1 << 16))
		expect(!fallocate(at->memfd, FALLOC_FL_PUNCH_HOLE |
				  FALLOC_FL_KEEP_SIZE, offset, size), "punch");
	else
		memset(at->memory + offset, 0, size);
}

bool machine_is_poisoned(uint32_t file, uint64_t offset, uint64_t size)
{
	for (uint32_t i = 0; i < machine.poisons; i++) {
		const struct machine_poison *p = &machine.poison[i];

		if (p->file == file && offset < p->offset + p->size &&
		    p->offset < offset + size)
			return true;
	}
	return false;
}

/* Files lie one behind the other, every other chunk 4 KiB further on. */
static uint64_t physical_of(uint32_t file, uint64_t offset)
{
	return file * 2 * MACHINE_FILE_MAX + offset +
	       (offset & DP_CHUNK_SIZE ? 4096 : 0);
}

bool machine_is_bad(uint32_t file, uint64_t offset, uint64_t size)
{
	const uint64_t sectors_max = UINT64_MAX / 512;
	uint64_t first;

	for (uint64_t at = offset & ~4095ull; machine.bads && at < offset + size;
	     at += 4096) {
		if (machine.disk->file[file].now.hole[at >> DP_CHUNK_SHIFT])
			continue;
		first = physical_of(file, at) / 512;
		for (uint32_t i = 0; i < machine.bads; i++) {
			const struct machine_bad *b = &machine.bad[i];

			if (b->count && b->count <= sectors_max &&
			    b->sector <= sectors_max - b->count &&
			    b->sector < first + 8 &&
			    first < b->sector + b->count)
				return true;
		}
	}
	return false;
}

void machine_expect_quiet(void)
{
	expect(!machine.open, "%u descriptors left open", machine.open);
	expect(!machine.mapped, "%llu bytes left mapped",
	       (unsigned long long)machine.mapped);
	for (uint32_t i = 0; i < MAPPINGS; i++)
		expect(!mappings[i].size, "a mapping of a file left");
}

uint64_t machine_fingerprint(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < MACHINE_FILES; i++) {
		const struct machine_file *file = &machine.disk->file[i];

		sum = XXH3_64bits_withSeed(file->memory, DP_CHUNK_SIZE, sum);
		sum = XXH3_64bits_withSeed(&file->now, sizeof(file->now), sum);
	}
	return sum;
}

/* ------------------------------------------------------------ descriptors */

static int new_handle(enum handle_kind kind, uint32_t file)
{
	for (int i = 0; i < HANDLES; i++) {
		if (handles[i].kind)
			continue;
		handles[i] = (struct handle) { kind, file, 0 };
		machine.open++;
		return FIRST_FD + i;
	}
	return -EMFILE;
}

static struct handle *handle(int fd)
{
	expect(fd >= FIRST_FD && fd < FIRST_FD + HANDLES &&
	       handles[fd - FIRST_FD].kind, "descriptor %d is not open", fd);
	return &handles[fd - FIRST_FD];
}

uint64_t machine_event_count(int fd)
{
	uint64_t count = handle(fd)->count;

	handle(fd)->count = 0;
	return count;
}

static struct machine_attributes *attributes(const struct handle *handle)
{
	expect(handle->kind == SEGMENT, "not a segment file");
	return &machine.disk->file[handle->file].now;
}

/* The slot of a segment file's name, MACHINE_FILES for any other. */
static uint32_t slot_of(const char *name)
{
	char expected[DP_SEGMENT_NAME_SIZE];

	for (uint32_t i = 0; i < MACHINE_FILES; i++) {
		dp_source_segment_name(i, expected);
		if (!strcmp(name, expected))
			return i;
	}
	return MACHINE_FILES;
}

static int open_segment(const char *name, int flags)
{
	uint32_t slot = slot_of(name);
	struct machine_attributes *file;

	if (slot == MACHINE_FILES)
		return -ENOENT;
	file = &machine.disk->file[slot].now;
	if (file->there && flags & O_EXCL)
		return -EEXIST;
	if (!file->there && !(flags & O_CREAT))
		return -ENOENT;
	if (!file->there) {
		*file = (struct machine_attributes) { .there = true };
		machine_write(slot, 0, NULL, DP_CHUNK_SIZE);
		machine.changes++;
	}
	return new_handle(SEGMENT, slot);
}

int dp_os_open(int dir, const char *name, int flags, unsigned int mode)
{
	(void)mode;
	if (dir != AT_FDCWD && handle(dir)->kind == POOL_DIR)
		return open_segment(name, flags);
	if (!strcmp(name, MACHINE_POOL))
		return new_handle(POOL_DIR, 0);
	return -ENOENT;
}

void dp_os_close(int fd)
{
	if (fd < 0)
		return;
	handle(fd)->kind = NOTHING;
	machine.open--;
}

static int stat_segment(uint32_t slot, struct stat *ret_stat)
{
	const struct machine_attributes *file;

	if (slot == MACHINE_FILES || !machine.disk->file[slot].now.there)
		return -ENOENT;
	file = &machine.disk->file[slot].now;
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_mode = S_IFREG | 0666;
	ret_stat->st_dev = 7;
	ret_stat->st_ino = INODE_FIRST + slot;
	ret_stat->st_size = file->size;
	return 0;
}

int dp_os_stat(int dir, const char *name, struct stat *ret_stat)
{
	if (dir != AT_FDCWD)
		return stat_segment(slot_of(name), ret_stat);
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_mode = S_IFDIR | 0777;
	ret_stat->st_dev = 7;
	if (!strcmp(name, "/proc/self/ns/pid"))
		ret_stat->st_ino = MACHINE_PID_NAMESPACE;
	else if (!strcmp(name, "/proc/self/ns/net"))
		ret_stat->st_ino = MACHINE_NET_NAMESPACE;
	else if (strcmp(name, MACHINE_POOL) && strcmp(name, "/sys/module") &&
		 (!machine.has_rdma || strcmp(name, "/sys/module/ib_core")))
		return -ENOENT;
	return 0;
}

int dp_os_fstat(int fd, struct stat *ret_stat)
{
	return stat_segment(handle(fd)->file, ret_stat);
}

int dp_os_mkdir(const char *path)
{
	(void)path;
	return -EEXIST;
}

int dp_os_unlink(int dir, const char *name)
{
	uint32_t slot = slot_of(name);

	expect(handle(dir)->kind == POOL_DIR, "unlink elsewhere");
	if (slot == MACHINE_FILES || !machine.disk->file[slot].now.there)
		return -ENOENT;
	machine.disk->file[slot].now.there = false;
	machine.changes++;
	return 0;
}

int dp_os_rmdir(const char *path)
{
	(void)path;
	machine.changes++;
	return -ENOTEMPTY;
}

int dp_os_fsync(int fd)
{
	handle(fd);
	return 0;
}

int dp_os_allocate(int fd, uint64_t size)
{
	struct machine_attributes *file = attributes(handle(fd));

	if (size > MACHINE_FILE_MAX)
		return -ENOSPC;
	machine.changes++;
	if (file->size < size)
		file->size = size;
	memset(file->hole, 0, (size >> DP_CHUNK_SHIFT) * sizeof(bool));
	return 0;
}

/* A layout barrier truncates to the size that the file has. */
int dp_os_truncate(int fd, uint64_t size)
{
	expect(attributes(handle(fd))->size == size, "a file is truncated");
	return 0;
}

int dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)fd;
	(void)mode;
	(void)offset;
	(void)length;
	return -EOPNOTSUPP;
}

/* Only a repair's backup is written so. */
int dp_os_write(int fd, const void *from, uint64_t size)
{
	(void)fd;
	(void)from;
	(void)size;
	return -EOPNOTSUPP;
}

/* ------------------------------------------------------- names and /proc */

int dp_os_readlink(const char *path, char *buffer, size_t size)
{
	(void)path;
	(void)buffer;
	(void)size;
	return -ENOENT;
}

static int list_bad(char *buffer, size_t size)
{
	int length = 0;

	buffer[0] = '\0';
	for (uint32_t i = 0; i < machine.bads; i++)
		length += snprintf(buffer + length, size - length,
				   "%llu %llu\n",
				   (unsigned long long)machine.bad[i].sector,
				   (unsigned long long)machine.bad[i].count);
	return length;
}

int dp_os_read_file(const char *path, char *buffer, size_t size)
{
	int length = -ENOENT;

	if (!strcmp(path, "/proc/sys/kernel/random/boot_id")) {
		char byte[3];

		snprintf(byte, sizeof(byte), "%02x", machine.boot);
		length = 32;
		expect(size > 32, "a buffer too small for the boot id");
		for (int i = 0; i < 16; i++)
			memcpy(buffer + 2 * i, byte, 2);
		buffer[32] = '\0';
	} else if (!strcmp(path, "/proc/self/stat")) {
		length = snprintf(buffer, size,
				  "%d (a )fuzz) R 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0",
				  machine.pid, MACHINE_START_TIME);
	} else if (!strcmp(path, "/sys/dev/block/0:7/badblocks") &&
		   machine.kind != DP_SOURCE_SHMEM) {
		length = list_bad(buffer, size);
	}
	return length;
}

int dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	char name[DP_SEGMENT_NAME_SIZE];
	int ret = fn(".", arg);

	if (handle(dir)->kind != POOL_DIR)
		return 0;
	for (uint32_t i = 0; !ret && i < MACHINE_FILES; i++) {
		dp_source_segment_name(i, name);
		if (machine.disk->file[i].now.there)
			ret = fn(name, arg);
	}
	for (uint32_t i = 0; !ret && i < machine.extra_files; i++) {
		dp_source_segment_name(EXTRA_FIRST + i, name);
		ret = fn(name, arg);
	}
	return ret;
}

int dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	handle(fd);
	*ret_magic = machine.kind == DP_SOURCE_SHMEM ? TMPFS_MAGIC :
		     EXT4_SUPER_MAGIC;
	return 0;
}

int dp_os_is_dax(int fd)
{
	handle(fd);
	return machine.kind == DP_SOURCE_FSDAX;
}

bool dp_os_is_realtime(int fd)
{
	handle(fd);
	return false;
}

/* ---------------------------------------------------- where files have space */

static int list_backed(int fd,
		       int (*fn)(const struct dp_os_extent *extent, void *arg),
		       void *arg)
{
	const struct machine_attributes *file = attributes(handle(fd));
	uint64_t at = 0, next;
	int ret = 0;

	for (; !ret && at < file->size; at = next) {
		next = dp_min(at + DP_CHUNK_SIZE, file->size);
		if (file->hole[at >> DP_CHUNK_SHIFT])
			continue;
		ret = fn(&(struct dp_os_extent) {
			at, next - at, physical_of(handle(fd)->file, at),
			file->shared }, arg);
	}
	return ret;
}

int dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *extent, void *arg),
		 void *arg)
{
	expect(machine.kind != DP_SOURCE_SHMEM, "tmpfs has no FIEMAP");
	return list_backed(fd, fn, arg);
}

int dp_os_seek_data(int fd, uint64_t size,
		    int (*fn)(const struct dp_os_extent *extent, void *arg),
		    void *arg)
{
	(void)size;
	expect(machine.kind == DP_SOURCE_SHMEM, "SEEK_DATA is right on tmpfs alone");
	return list_backed(fd, fn, arg);
}

/* ------------------------------------------------------ locks and processes */

int dp_os_flock(int fd, int operation)
{
	(void)operation;
	attributes(handle(fd));
	return machine.locked_elsewhere ? -EWOULDBLOCK : 0;
}

int dp_os_byte_lock(int fd, bool write)
{
	(void)write;
	handle(fd);
	return 0;
}

void dp_os_byte_unlock(int fd)
{
	handle(fd);
}

int dp_os_byte_owner(int fd)
{
	handle(fd);
	return machine.byte_owner;
}

int dp_os_pid(void)
{
	return machine.pid;
}

int dp_os_pid_exists(int pid)
{
	return pid == machine.pid;
}

int dp_os_netlink(int protocol)
{
	(void)protocol;
	return -EPROTONOSUPPORT;
}

int dp_os_netlink_send(int fd, const void *message, size_t size)
{
	(void)fd;
	(void)message;
	(void)size;
	return -ENOSYS;
}

int dp_os_netlink_receive(int fd, void *buffer, size_t size)
{
	(void)fd;
	(void)buffer;
	(void)size;
	return -ENOSYS;
}

int dp_os_ring_setup(uint32_t entries, struct io_uring_params *params)
{
	(void)entries;
	(void)params;
	return -ENOSYS;
}

int dp_os_ring_map(int fd, uint64_t region, uint64_t size, void **ret_base)
{
	(void)fd;
	(void)region;
	(void)size;
	(void)ret_base;
	return -ENOSYS;
}

int dp_os_ring_register(int fd, uint32_t what, void *with, uint32_t count)
{
	(void)fd;
	(void)what;
	(void)with;
	(void)count;
	return -ENOSYS;
}

int dp_os_ring_enter(int fd, uint32_t submit, uint32_t flags, uint64_t wait_ns)
{
	(void)fd;
	(void)submit;
	(void)flags;
	(void)wait_ns;
	return -ENOSYS;
}

/* ----------------------------------------------------------------- memory */

static void remember(void *at, uint64_t size, int fd, bool writable)
{
	for (uint32_t i = 0; i < MAPPINGS; i++) {
		if (mappings[i].size)
			continue;
		mappings[i] = (struct mapping) { at, size, handle(fd)->file,
						 writable };
		return;
	}
	expect(false, "too many mappings of files");
}

/* A create maps its files before they have their size; nobody may touch that. */
static bool ends_before(const struct mapping *mapping, const char *end)
{
	const struct machine_file *file = &machine.disk->file[mapping->file];

	return end <= mapping->at + dp_min(mapping->size, file->now.size);
}

const struct mapping *mapping_at(const void *at, uint64_t size)
{
	const char *byte = at;

	for (uint32_t i = 0; i < MAPPINGS; i++)
		if (mappings[i].size && byte >= mappings[i].at &&
		    ends_before(&mappings[i], byte + size))
			return &mappings[i];
	return NULL;
}

/* Chunk 0 is read-only whatever was asked for: stores go through persist.h. */
static void *map_file(void *at, uint64_t size, int protection, int flags, int fd)
{
	const struct machine_file *file = &machine.disk->file[handle(fd)->file];
	uint64_t first = dp_min(size, DP_CHUNK_SIZE);
	char *base;

	flags = MAP_SHARED | (flags & MAP_FIXED);
	base = map_or_die(at, size, protection, flags, file->memfd, 0);
	if (protection & PROT_WRITE)
		map_or_die(base, first, PROT_READ, MAP_SHARED | MAP_FIXED,
			   file->memfd, 0);
	remember(base, size, fd, protection & PROT_WRITE);
	return base;
}

int dp_os_map(void *at, uint64_t size, int protection, int flags, int fd,
	      void **ret_base)
{
	if (fd >= 0) {
		*ret_base = map_file(at, size, protection, flags, fd);
	} else {
		*ret_base = mmap(at, size, protection, flags, -1, 0);
		if (*ret_base == MAP_FAILED)
			return -ENOMEM;
	}
	/* MAP_FIXED replaces what was counted before. */
	machine.mapped += flags & MAP_FIXED ? 0 : size;
	return 0;
}

void dp_os_unmap(void *base, uint64_t size)
{
	char *from = base;

	for (uint32_t i = 0; i < MAPPINGS; i++)
		if (mappings[i].at >= from && mappings[i].at < from + size)
			mappings[i].size = 0;
	expect(machine.mapped >= size, "unmapped twice");
	machine.mapped -= size;
	expect(!munmap(base, size), "munmap: %s", strerror(errno));
}

int dp_os_advise(void *base, uint64_t size, int advice)
{
	(void)base;
	(void)size;
	(void)advice;
	return 0;
}

int dp_os_msync(void *base, uint64_t size)
{
	(void)base;
	(void)size;
	return -ENOSYS;
}

int dp_os_copy_checked(void *to, const void *from, uint64_t size)
{
	const struct mapping *mapping = mapping_at(from, size);

	/* Or from a copy in memory, as a check has them. */
	if (mapping &&
	    machine_is_poisoned(mapping->file, (const char *)from - mapping->at,
				size))
		return -EIO;
	memcpy(to, from, size);
	return 0;
}

/* The kernel reads; of every other range only a part, now. */
int dp_os_read_now(int fd, uint64_t offset, void *to, uint64_t size,
		   uint64_t *ret_done)
{
	const struct machine_file *file = &machine.disk->file[handle(fd)->file];

	expect(offset + size <= file->now.size, "a read past the file's end");
	if (machine_is_poisoned(handle(fd)->file, offset, size))
		return -EIO;
	*ret_done = offset & 4096 ? size / 3 : size;
	memcpy(to, file->memory + offset, *ret_done);
	return 0;
}

/* -------------------------------------------------- time, chance, threads */

uint64_t dp_os_now_ns(void)
{
	return machine.now_ns += 1000;
}

uint64_t dp_os_now_coarse_ns(void)
{
	return machine.now_ns;
}

void dp_os_sleep_ns(uint64_t ns)
{
	machine.now_ns += ns;
}

int dp_os_random(void *to, size_t size)
{
	unsigned char *byte = to;

	for (size_t i = 0; i < size; i++) {
		machine.random = machine.random * 6364136223846793005u + 1;
		byte[i] = machine.random >> 56;
	}
	return 0;
}

/* Nobody is there to wake us. */
int dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	expect(deadline_ns != UINT64_MAX, "waits for ever");
	if (*(const volatile uint32_t *)word != value)
		return -EAGAIN;
	if (machine.now_ns < deadline_ns)
		machine.now_ns = deadline_ns;
	return -ETIMEDOUT;
}

void dp_os_futex_wake(const void *word)
{
	(void)word;
}

int dp_os_eventfd(void)
{
	return new_handle(EVENT, 0);
}

void dp_os_eventfd_signal(int fd)
{
	expect(handle(fd)->kind == EVENT, "not an eventfd");
	handle(fd)->count++;
}
