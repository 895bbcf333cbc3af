/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk: the bytes of some segment files, one file after the other, and after them an
 * inode for each.
 *
 * A plain disk is shared memory, which the library maps as it maps a file. Its metadata
 * are mapped read-only, so that a store that does not go through persist.h crashes. An
 * in-place disk is private memory of the process, and every mapping returns that
 * memory: opening a pool then costs no page fault.
 */
#ifndef MACHINE_DISK_H
#define MACHINE_DISK_H

#include "media/layout.h"

#define MACHINE_FILES		4u	/* at most */
#define MACHINE_INODE_FIRST	100u	/* inode number of file 0 */
#define MACHINE_GENERATION	700u	/* and its inode generation */
#define MACHINE_BIRTH_SECONDS	1700000000u
#define MACHINE_FILE_MAX	DP_SEGMENT_SIZE_MAX
#define MACHINE_CHUNKS		(MACHINE_FILE_MAX >> DP_CHUNK_SHIFT)
/* Bytes of metadata of the largest segments. */
#define MACHINE_PAGES		(DP_META_SIZE_MAX >> DP_BLOCK_SHIFT)

/*
 * What a filesystem stores about a file besides its bytes. Each member is a word of its
 * own, since a power failure keeps or loses whole words. Name and size are in different
 * cache lines, since an fsync() of the directory writes back the names, and one of the
 * file its size.
 */
#define MACHINE_NAMED	1u		/* values of `there` */
#define MACHINE_NEW	2u		/* the name of a new file */

struct machine_inode {
	uint64_t there;			/* the name is in the directory, or 0 */
	uint64_t unused_0[7];
	uint64_t size;
	uint64_t unused_1[7];
	uint64_t shared;		/* reflinked */
	uint64_t copies;		/* 0: the file itself; n: its n-th copy,
					   which has another identity */
	uint64_t unused_2[6];
	uint64_t hole[MACHINE_CHUNKS];
};

struct machine_saved;

struct machine_disk {
	uint32_t files;
	uint64_t file_max;		/* bytes from one file to the next */
	int memfd;			/* -1: an in-place disk */
	char *memory;
	struct machine_inode *inode;
	struct machine_saved *saved;
};

/* A disk without files. */
struct machine_disk *machine_disk_new(void);
struct machine_disk *machine_disk_new_in_place(uint32_t files,
					       uint64_t file_max);
/* Saves the present metadata and inodes. machine_disk_restore() restores them. */
void machine_disk_save(struct machine_disk *disk);
void machine_disk_restore(struct machine_disk *disk);

/* The bytes of a file of the machine's disk. */
char *machine_memory(uint32_t file);
struct machine_inode *machine_inode(uint32_t file);
/* Stores to a file's bytes without the library. A `from` of NULL stores zeroes. */
void machine_write(uint32_t file, uint64_t offset, const void *from,
		   uint64_t size);
/* Copies out a file's bytes, without allocating pages that were never written. */
void machine_read(uint32_t file, uint64_t offset, void *to, uint64_t size);
/* Changes a word of an inode and reports it to the observer. */
void machine_set(uint64_t *word, uint64_t value);
/* A hash of all metadata and all inodes. */
uint64_t machine_fingerprint(void);

#endif
