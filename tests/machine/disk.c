/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "expect.h"
#include "machine.h"

struct machine_saved {
	struct machine_inode inode[MACHINE_FILES];
	char *metadata[MACHINE_FILES];	/* the first DP_META_SIZE_MAX bytes */
	bool dirty[MACHINE_FILES][MACHINE_PAGES];
};

static void *map_or_die(uint64_t size, int flags, int fd)
{
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  flags | MAP_NORESERVE, fd, 0);

	expect(base != MAP_FAILED, "mmap of %llu bytes: %s",
	       (unsigned long long)size, strerror(errno));
	return base;
}

static uint64_t inodes_size(uint32_t files)
{
	return dp_round_up(files * sizeof(struct machine_inode), 4096);
}

static struct machine_disk *make(uint32_t files, uint64_t file_max)
{
	struct machine_disk *disk = calloc(1, sizeof(*disk));

	expect(disk && files <= MACHINE_FILES, "no memory");
	disk->files = files;
	disk->file_max = file_max;
	disk->memfd = -1;
	return disk;
}

struct machine_disk *machine_disk_new(void)
{
	struct machine_disk *disk = make(MACHINE_FILES, MACHINE_FILE_MAX);
	uint64_t files_size = disk->files * disk->file_max;
	uint64_t size = files_size + inodes_size(disk->files);

	disk->memfd = memfd_create("daxpin-machine", MFD_CLOEXEC);
	expect(disk->memfd >= 0 && !ftruncate(disk->memfd, size), "no memfd");
	disk->memory = map_or_die(size, MAP_SHARED, disk->memfd);
	disk->inode = (void *)(disk->memory + files_size);
	disk->saved = calloc(1, sizeof(*disk->saved));
	expect(disk->saved, "no memory");
	for (uint32_t i = 0; i < disk->files; i++) {
		disk->saved->metadata[i] = calloc(1, DP_META_SIZE_MAX);
		expect(disk->saved->metadata[i], "no memory");
	}
	return disk;
}

/*
 * Maps more than the disk needs, for alignment, and because dp_map_reserve() unmaps a
 * part at the end.
 */
struct machine_disk *machine_disk_new_in_place(uint32_t files,
					       uint64_t file_max)
{
	struct machine_disk *disk = make(files, file_max);
	uint64_t files_size = files * file_max;
	char *at = map_or_die(files_size + inodes_size(files) +
			      3 * DP_CHUNK_SIZE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1);

	disk->memory = (char *)dp_round_up((uintptr_t)at, DP_CHUNK_SIZE);
	disk->inode = (void *)(disk->memory + files_size);
	return disk;
}

void machine_disk_save(struct machine_disk *disk)
{
	for (uint32_t i = 0; i < disk->files; i++) {
		disk->saved->inode[i] = disk->inode[i];
		memcpy(disk->saved->metadata[i],
		       disk->memory + i * disk->file_max, DP_META_SIZE_MAX);
	}
	memset(disk->saved->dirty, 0, sizeof(disk->saved->dirty));
}

static void restore_file(struct machine_disk *disk, uint32_t file)
{
	struct machine_saved *saved = disk->saved;
	char *memory = disk->memory + file * disk->file_max;

	disk->inode[file] = saved->inode[file];
	for (uint32_t page = 0; page < MACHINE_PAGES; page++) {
		if (saved->dirty[file][page])
			memcpy(memory + page * DP_BLOCK_SIZE,
			       saved->metadata[file] + page * DP_BLOCK_SIZE,
			       DP_BLOCK_SIZE);
		saved->dirty[file][page] = false;
	}
}

void machine_disk_restore(struct machine_disk *disk)
{
	for (uint32_t i = 0; disk->saved && i < disk->files; i++)
		restore_file(disk, i);
}

char *machine_memory(uint32_t file)
{
	expect(file < machine.disk->files, "there is no file %u", file);
	return machine.disk->memory + file * machine.disk->file_max;
}

struct machine_inode *machine_inode(uint32_t file)
{
	expect(file < machine.disk->files, "there is no file %u", file);
	return &machine.disk->inode[file];
}

static void mark_dirty(uint32_t file, uint64_t offset, uint64_t size)
{
	uint64_t page = offset >> DP_BLOCK_SHIFT;

	if (!machine.disk->saved)
		return;
	for (; page < MACHINE_PAGES && page << DP_BLOCK_SHIFT < offset + size;
	     page++)
		machine.disk->saved->dirty[file][page] = true;
}

/* Ranges above this size are punched and read by system calls. */
#define LARGE		(UINT64_C(1) << 16)

/* Punches large ranges, so that zeroed pages take no memory. */
static void zero(uint32_t file, uint64_t offset, uint64_t size)
{
	const struct machine_disk *disk = machine.disk;

	if (disk->memfd >= 0 && offset >= DP_CHUNK_SIZE && size > LARGE)
		expect(!fallocate(disk->memfd, FALLOC_FL_PUNCH_HOLE |
				  FALLOC_FL_KEEP_SIZE,
				  file * disk->file_max + offset, size),
		       "punch");
	else
		memset(machine_memory(file) + offset, 0, size);
}

void machine_write(uint32_t file, uint64_t offset, const void *from,
		   uint64_t size)
{
	char *memory = machine_memory(file);
	uint64_t file_max = machine.disk->file_max;

	expect(offset <= file_max && size <= file_max - offset,
	       "past the file");
	mark_dirty(file, offset, size);
	if (from)
		memmove(memory + offset, from, size);
	else
		zero(file, offset, size);
}

/*
 * Large ranges are read by pread(): a load from a page that was never written would
 * allocate it in the shared memory, and a pool's files can have gibibytes of them.
 */
void machine_read(uint32_t file, uint64_t offset, void *to, uint64_t size)
{
	const struct machine_disk *disk = machine.disk;

	if (disk->memfd >= 0 && size > LARGE)
		expect(pread(disk->memfd, to, size,
			     file * disk->file_max + offset) == (ssize_t)size,
		       "pread");
	else
		memcpy(to, machine_memory(file) + offset, size);
}

void machine_set(uint64_t *word, uint64_t value)
{
	if (*word == value)
		return;
	if (machine.observer)
		machine.observer->store(word, &value, sizeof(value));
	else
		*word = value;
}

uint64_t machine_fingerprint(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < machine.disk->files; i++) {
		sum = XXH3_64bits_withSeed(machine_memory(i), DP_META_SIZE_MAX,
					   sum);
		sum = XXH3_64bits_withSeed(machine_inode(i),
					   sizeof(struct machine_inode), sum);
	}
	return sum;
}
