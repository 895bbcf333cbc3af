/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine in memory under the real library: the seams os.h and persist.h.
 * One disk of segment files at MACHINE_POOL, a clock that goes on when it is
 * looked at, a few lines of /proc. One thread, and nothing is ever waited for.
 *
 * It is strict where a kernel is not: metadata is mapped read-only for the
 * library, so that a store which goes past persist.h is a crash at once; nothing
 * is read or written past a file's end; all stores and all changes to files are
 * counted, and so is what was not given back.
 */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include "media/layout.h"
#include "pool/source.h"

#define MACHINE_POOL		"/pool"
#define MACHINE_FILES		4u
#define MACHINE_FILE_MAX	DP_SEGMENT_SIZE_MAX
#define MACHINE_CHUNKS		(MACHINE_FILE_MAX >> DP_CHUNK_SHIFT)
#define MACHINE_PAGES		(DP_CHUNK_SIZE >> DP_BLOCK_SHIFT)
#define MACHINE_POISONS		4u
#define MACHINE_BADS		4u
#define MACHINE_START_TIME	4711u		/* of its process */
#define MACHINE_PID_NAMESPACE	4026531836u
#define MACHINE_NET_NAMESPACE	4026531840u

/* What a file is, besides its bytes; segment.0000 and on. */
struct machine_attributes {
	bool there;
	bool shared;			/* reflinked */
	uint64_t size;
	bool hole[MACHINE_CHUNKS];
};

struct machine_file {
	struct machine_attributes now, saved;
	int memfd;
	char *memory;			/* ours: the library has its own */
	char *saved_chunk;		/* chunk 0, all metadata */
	bool dirty[MACHINE_PAGES];
};

struct machine_disk {
	struct machine_file file[MACHINE_FILES];
};

struct machine_poison {
	uint32_t file;
	uint64_t offset;
	uint64_t size;
};

/* A line of the disk's list of bad blocks; not on tmpfs. */
struct machine_bad {
	uint64_t sector;
	uint64_t count;
};

struct machine {
	struct machine_disk *disk;
	enum dp_source_kind kind;
	/* What others do. */
	bool locked_elsewhere;
	int byte_owner;
	int pid;
	uint8_t boot;			/* every byte of the boot id */
	bool has_rdma;			/* and nothing can be told of it */
	uint32_t extra_files;		/* segment.4000 and on */
	struct machine_poison poison[MACHINE_POISONS];
	uint32_t poisons;
	struct machine_bad bad[MACHINE_BADS];
	uint32_t bads;
	uint32_t flushes_to_failure;	/* 0: no flush fails */
	uint64_t now_ns;
	uint64_t random;
	/* What the library did. */
	uint64_t stores;		/* to media, through persist.h */
	uint64_t changes;		/* to files: made, removed, resized */
	uint64_t mapped;		/* bytes not given back */
	uint32_t open;			/* descriptors not given back */
};

extern struct machine machine;

/* A disk without files. */
struct machine_disk *machine_disk_new(void);
/* Keep the present state of the disk; machine_reset() goes back to it. */
void machine_disk_save(struct machine_disk *disk);
/* A machine that just booted, with that disk, as it was saved. */
void machine_reset(struct machine_disk *disk);

/* The metadata of a file may be looked at in memory; writing goes this way. */
void machine_write(uint32_t file, uint64_t offset, const void *from,
		   uint64_t size);
/* Poison that nobody knows of: what the kernel reads there is an error. */
bool machine_is_poisoned(uint32_t file, uint64_t offset, uint64_t size);
/* Known bad sectors: all of their block is. */
bool machine_is_bad(uint32_t file, uint64_t offset, uint64_t size);
/* How often an eventfd was written since the last call. */
uint64_t machine_event_count(int fd);
/* Nothing is mapped, open or locked any more. */
void machine_expect_quiet(void);
/* Of all bytes of chunk 0 of each file, and of the files' attributes. */
uint64_t machine_fingerprint(void);

/* ------------------------------------------------- shared by both targets */

/* Look at all bytes, not only at what was counted: slow. */
extern bool fuzz_thorough;
/* Tell what is done and what came of it, for people. */
extern bool fuzz_verbose;
__attribute__((format(printf, 1, 2)))
void fuzz_say(const char *format, ...);

/* What the fuzzers look for. */
__attribute__((noreturn, format(printf, 3, 4)))
void fuzz_fail(const char *file, int line, const char *format, ...);
#define expect(condition, ...) \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, __VA_ARGS__))

/* One input; the fuzzers' entry, and that of replay.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
