/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The os calls on the pool's directory and its files: names, sizes, and which chunks
 * are holes. A new file contains whatever bytes were there before. No filesystem does
 * that, but it shows whether the library relies on zeroes that it did not write.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"
#include "proc.h"

#define EXTRA_FIRST	4000u

static void name_of(uint32_t file, uint64_t there, char name[DP_SEGMENT_NAME_SIZE])
{
	dp_source_segment_name(file | (there == MACHINE_NEW ? DP_SOURCE_NEW : 0), name);
}

/* Returns the file with this name, whose `there` would be *ret_there, or the number of
 * files if there is none. */
static uint32_t file_of(const char *name, uint64_t *ret_there)
{
	char expected[DP_SEGMENT_NAME_SIZE];

	for (uint32_t i = 0; i < machine.disk->files; i++)
		for (uint64_t there = MACHINE_NAMED; there <= MACHINE_NEW; there++) {
			name_of(i, there, expected);
			*ret_there = there;
			if (!strcmp(name, expected))
				return i;
		}
	return machine.disk->files;
}

static bool has_name(uint32_t file, uint64_t there)
{
	return file < machine.disk->files && machine_inode(file)->there == there;
}

static bool is_there(uint32_t file)
{
	return file < machine.disk->files && machine_inode(file)->there;
}

/* ------------------------------------------------------------------- names */

static void make_file(uint32_t file, uint64_t there)
{
	struct machine_inode *inode = machine_inode(file);

	expect(!inode->there, "a file has two names");
	machine_set(&inode->there, there);
	machine_set(&inode->size, 0);
	machine_set(&inode->shared, 0);
	for (uint32_t i = 0; i < MACHINE_CHUNKS; i++)
		machine_set(&inode->hole[i], 0);
	machine.changes++;
}

static int open_segment(const char *name, int flags)
{
	uint64_t there;
	uint32_t file = file_of(name, &there);

	if (file == machine.disk->files)
		return -ENOENT;
	if (has_name(file, there) && flags & O_EXCL)
		return -EEXIST;
	if (!has_name(file, there) && !(flags & O_CREAT))
		return -ENOENT;
	if (!has_name(file, there))
		make_file(file, there);
	return machine_handle_new(MACHINE_HANDLE_SEGMENT, file);
}

int dp_os_open(int dir, const char *name, int flags, unsigned int mode)
{
	(void)mode;
	if (dir != AT_FDCWD && machine_handle(dir)->kind == MACHINE_HANDLE_POOL)
		return open_segment(name, flags);
	if (!strcmp(name, MACHINE_POOL))
		return machine_handle_new(MACHINE_HANDLE_POOL, 0);
	return -ENOENT;
}

/* Returns st_blocks in bytes. On tmpfs that is the size of the file's pages. */
static uint64_t backed_bytes(uint32_t file)
{
	const struct machine_inode *inode = machine_inode(file);
	uint64_t bytes = 0;

	for (uint64_t at = 0; at < inode->size; at += DP_CHUNK_SIZE)
		if (!inode->hole[at >> DP_CHUNK_SHIFT])
			bytes += dp_min(DP_CHUNK_SIZE, inode->size - at);
	return bytes;
}

static int stat_file(uint32_t file, struct stat *ret_stat)
{
	if (!is_there(file))
		return -ENOENT;
	memset(ret_stat, 0, sizeof(*ret_stat));
	ret_stat->st_mode = S_IFREG | 0600;
	ret_stat->st_nlink = 1;
	ret_stat->st_uid = MACHINE_USER;
	ret_stat->st_dev = MACHINE_DEVICE;
	ret_stat->st_ino = MACHINE_INODE_FIRST + file;
	ret_stat->st_size = machine_inode(file)->size;
	ret_stat->st_blocks = backed_bytes(file) / 512;
	return 0;
}

int dp_os_stat(const char *path, struct stat *ret_stat)
{
	return machine_proc_stat(path, ret_stat);
}

int dp_os_lstat(int dir, const char *name, struct stat *ret_stat)
{
	uint64_t there;
	uint32_t file = file_of(name, &there);

	machine_handle(dir);
	return has_name(file, there) ? stat_file(file, ret_stat) : -ENOENT;
}

int dp_os_fstat(int fd, struct stat *ret_stat)
{
	if (machine_handle(fd)->kind == MACHINE_HANDLE_POOL)
		return machine_proc_stat(MACHINE_POOL, ret_stat);
	return stat_file(machine_handle(fd)->file, ret_stat);
}

/* A copy can have the inode number of the original, but has another time of birth. */
int dp_os_file_id(int fd, struct dp_os_file_id *ret_id)
{
	uint32_t file = machine_handle_file(fd);

	*ret_id = (struct dp_os_file_id) {
		.inode = MACHINE_INODE_FIRST + file,
		.has_generation = machine.kind != DP_SOURCE_SHMEM,
		.has_birth = true,
		.birth_seconds = MACHINE_BIRTH_SECONDS,
		.birth_ns = machine_inode(file)->copies,
	};
	if (ret_id->has_generation)
		ret_id->generation = MACHINE_GENERATION + file;
	return 0;
}

int dp_os_mkdir(const char *path, unsigned int mode)
{
	(void)path;
	(void)mode;
	return -EEXIST;
}

int dp_os_unlink(int dir, const char *name)
{
	uint64_t there;
	uint32_t file = file_of(name, &there);

	expect(machine_handle(dir)->kind == MACHINE_HANDLE_POOL, "unlink elsewhere");
	if (!has_name(file, there))
		return -ENOENT;
	expect(machine_handle_locks(file), "a name is removed without its lock");
	machine_set(&machine_inode(file)->there, 0);
	machine_set(&machine_inode(file)->size, 0);
	machine.changes++;
	return 0;
}

int dp_os_rename(int dir, const char *from, const char *to)
{
	uint64_t there, after;
	uint32_t file = file_of(from, &there);

	expect(machine_handle(dir)->kind == MACHINE_HANDLE_POOL, "rename elsewhere");
	expect(file_of(to, &after) == file, "a file is renamed to another segment");
	if (!has_name(file, there))
		return -ENOENT;
	expect(machine_handle_locks(file), "a file is renamed without its lock");
	machine_set(&machine_inode(file)->there, after);
	machine.changes++;
	return 0;
}

int dp_os_rmdir(const char *path)
{
	(void)path;
	machine.changes++;
	return -ENOTEMPTY;
}

int dp_os_list(int dir, int (*fn)(const char *name, void *arg), void *arg)
{
	char name[DP_SEGMENT_NAME_SIZE];
	int ret = fn(".", arg);

	if (machine_handle(dir)->kind != MACHINE_HANDLE_POOL)
		return 0;
	for (uint32_t i = 0; !ret && i < machine.disk->files; i++) {
		name_of(i, machine_inode(i)->there, name);
		if (is_there(i))
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
	machine_handle(fd);
	*ret_magic = machine.kind == DP_SOURCE_SHMEM ? TMPFS_MAGIC :
		     EXT4_SUPER_MAGIC;
	return 0;
}

int dp_os_is_dax(int fd)
{
	machine_handle(fd);
	return machine.kind == DP_SOURCE_FSDAX;
}

bool dp_os_is_realtime(int fd)
{
	machine_handle(fd);
	return false;
}

/* Only XFS has this flag, and the machine has no XFS. */
int dp_os_nodefrag(int fd)
{
	machine_handle(fd);
	return -ENOTTY;
}

int dp_os_set_nodefrag(int fd)
{
	machine_handle(fd);
	return -ENOTTY;
}

/* Files of the machine have no times. */
int dp_os_touch(int fd)
{
	machine_handle(fd);
	return 0;
}

/* ------------------------------------------------------------- durability */

static void sync_names(const struct machine_observer *observer)
{
	for (uint32_t i = 0; i < machine.disk->files; i++)
		observer->flush(&machine_inode(i)->there, 8);
	observer->fence();
}

/* Does nothing: flushes make stores durable (persist.c). */
int dp_os_syncfs(int fd)
{
	machine_handle(fd);
	return 0;
}

int dp_os_fsync(int fd)
{
	if (machine_handle(fd)->kind != MACHINE_HANDLE_POOL)
		machine_sync_inode(machine_handle_file(fd));
	else if (machine.observer)
		sync_names(machine.observer);
	return 0;
}

/* ------------------------------------------------------------------- space */

/* A file can always grow. `room` limits only the allocation of holes. */
static int grow(uint32_t file, uint64_t size)
{
	struct machine_inode *inode = machine_inode(file);

	if (size > machine.disk->file_max)
		return -ENOSPC;
	if (inode->size >= size)
		return 0;
	machine.changes++;
	for (uint64_t i = inode->size >> DP_CHUNK_SHIFT;
	     i < size >> DP_CHUNK_SHIFT; i++)
		machine_set(&inode->hole[i], 0);
	machine_set(&inode->size, size);
	return 0;
}

int dp_os_free_space(int fd, uint64_t *ret_bytes)
{
	machine_handle(fd);
	*ret_bytes = UINT64_MAX;
	return 0;
}

static void wait_for_pins(uint32_t file)
{
	for (; machine_is_pinned(file); machine_pins_look())
		machine.now_ns += 1000000;
}

/*
 * A layout barrier truncates to the size that the file has. A create that failed
 * restores a file's size while it has the lock.
 */
int dp_os_truncate(int fd, uint64_t size)
{
	uint32_t file = machine_handle_file(fd);
	struct machine_inode *inode = machine_inode(file);

	expect(inode->size >= size, "a file grows by a truncation");
	expect(inode->size == size || machine_handle(fd)->locked,
	       "a file is truncated without its lock");
	wait_for_pins(file);
	if (inode->size != size) {
		machine_set(&inode->size, size);
		machine.changes++;
	}
	return 0;
}

int dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	uint32_t file = machine_handle_file(fd);
	uint32_t chunk = offset >> DP_CHUNK_SHIFT;
	uint32_t end = (offset + length) >> DP_CHUNK_SHIFT;
	int ret = 0;

	if (mode & FALLOC_FL_PUNCH_HOLE)
		wait_for_pins(file);
	else
		ret = grow(file, offset + length);
	if (!ret && mode & FALLOC_FL_UNSHARE_RANGE)
		machine_set(&machine_inode(file)->shared, 0);
	for (; !ret && chunk < end; chunk++)
		if (mode & FALLOC_FL_PUNCH_HOLE)
			machine_punch_chunk(file, chunk);
		else
			ret = machine_refill_chunk(file, chunk);
	return ret;
}

static int list_backed(uint32_t file,
		       int (*fn)(const struct dp_os_extent *extent, void *arg),
		       void *arg)
{
	const struct machine_inode *inode = machine_inode(file);
	uint64_t at = 0, next;
	int ret = 0;

	for (; !ret && at < inode->size; at = next) {
		next = dp_min(at + DP_CHUNK_SIZE, inode->size);
		if (inode->hole[at >> DP_CHUNK_SHIFT])
			continue;
		ret = fn(&(struct dp_os_extent) {
			at, next - at, machine_physical(file, at),
			inode->shared }, arg);
	}
	return ret;
}

int dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *extent, void *arg),
		 void *arg)
{
	expect(machine.kind != DP_SOURCE_SHMEM, "tmpfs has no FIEMAP");
	return list_backed(machine_handle_file(fd), fn, arg);
}

int dp_os_seek_data(int fd, uint64_t size,
		    int (*fn)(const struct dp_os_extent *extent, void *arg),
		    void *arg)
{
	(void)size;
	return list_backed(machine_handle_file(fd), fn, arg);
}

/* ------------------------------------------------------------------- bytes */

/* Only the backup of a repair is written with this call. */
int dp_os_write(int fd, const void *from, uint64_t size)
{
	(void)fd;
	(void)from;
	(void)size;
	return -EOPNOTSUPP;
}

int dp_os_read_text(int fd, char *buffer, size_t size)
{
	(void)fd;
	(void)buffer;
	(void)size;
	return -EOPNOTSUPP;
}

/*
 * Reads as the kernel does. If the range begins in an odd block, only its first third
 * can be read without waiting.
 */
int dp_os_read_nowait(int fd, uint64_t offset, void *to, uint64_t size,
		      uint64_t *ret_done)
{
	uint32_t file = machine_handle_file(fd);

	expect(offset + size <= machine_inode(file)->size,
	       "a read past the file's end");
	if (machine_is_poisoned(file, offset, size))
		return -EIO;
	*ret_done = offset & 4096 ? size / 3 : size;
	machine_read(file, offset, to, *ret_done);
	return 0;
}
