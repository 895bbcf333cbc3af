/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin doctor: what works on this machine for one path, and what prevents the rest.
 * Each file tries one subject and reports the observation; doctor.c prints it and
 * keeps the count.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <daxpin.h>
#include <stdbool.h>
#include "json.h"

#define MIB		(UINT64_C(1) << 20)
#define PAGE		DAXPIN_BLOCK_SIZE
#define CHUNK		DAXPIN_CHUNK_SIZE
#define SCRATCH_SIZE	(UINT64_C(4) * CHUNK)
/* The names of scratch files beside the pool begin with this. */
#define SCRATCH_PREFIX	".daxpin-doctor-"

enum subject {
	SUBJECT_POOL,
	SUBJECT_STATUS,
	SUBJECT_SOURCE,
	SUBJECT_DURABLE,
	SUBJECT_MAP_SYNC,
	SUBJECT_HUGE_PAGES,
	SUBJECT_BAD_BLOCKS,
	SUBJECT_DEFRAG,
	SUBJECT_REFLINKS,
	SUBJECT_BLOCKS,
	SUBJECT_DESCRIPTORS,
	SUBJECT_TABLES,
	SUBJECT_UBLK,
	SUBJECT_SHUTDOWNS,
	SUBJECT_MEMLOCK,
	SUBJECT_URING,
	SUBJECT_FIXED_BUFFERS,
	SUBJECT_SLOTS,
	SUBJECT_BARRIER,
	SUBJECT_PUNCH_WAITS,
	SUBJECT_PUNCH_CANCEL,
	SUBJECT_IDLE_AT_ZERO,
	SUBJECT_BOOT_ID,
	SUBJECT_PROC,
	SUBJECT_NETLINK,
	SUBJECT_NETWORK,
	SUBJECT_RDMA,
	SUBJECT_PINNED_MR,
	SUBJECT_ODP,
	SUBJECT_WINDOWS,
	SUBJECT_FABRIC,
};

enum verdict { VERDICT_YES, VERDICT_NO, VERDICT_UNKNOWN };

struct answer {
	enum subject subject;
	enum verdict verdict;
	bool needed;			/* daxpin uses it on this memory */
	const char *remedy;		/* NULL: there is none, or none is needed */
};

/* What kind of memory a path is; found once by place_find(), then only read. */
struct place {
	enum daxpin_source source;
	const char *path;
	int fd;				/* of the directory or the node; -1: it cannot
					   be opened, or the device is in use */
	uint64_t media_bytes;		/* of the pool or the device; 0: unknown */
	uint32_t segments;		/* files of a pool; 0: there are none */
	char filesystem[32];		/* directories */
	char device[64];		/* "daxX.Y" */
	uint64_t align;			/* of a device's mappings */
	bool in_use;			/* another process has it open or locked */
	int pool_error;			/* of daxpin_pool_open(), for reading */
	char pool_errmsg[512];
	bool opened;
	struct daxpin_pool_info info;
};

/*
 * Memory to try things on: a file without a name in the directory, or the first
 * unit of the device, into which nothing may be stored.
 */
struct testbed {
	int fd;				/* -1: there is no such memory */
	char *base;			/* NULL: it cannot be mapped */
	uint64_t size;
	bool scratch;			/* the command may store into it */
	int sync_error;			/* 0, or what MAP_SYNC failed with */
	char errmsg[256];		/* why there is no memory or no mapping */
};

struct doctor {
	const char *rdma;		/* --rdma, or NULL */
	const char *fabric;		/* --fabric, or NULL */
	bool as_json;
	struct json json;
	struct place place;
	struct testbed testbed;
	unsigned int wrong, unknown;	/* counts of needed features */
};

/* Report one answer; `observed` is a sentence without its full stop. */
void doctor_report(struct doctor *doctor, struct answer answer,
		   const char *observed, ...)
	__attribute__((format(printf, 3, 4)));
/* Report that a subject was not tried because there is no memory to try it on. */
void doctor_report_no_testbed(struct doctor *doctor, enum subject subject,
			      bool needed);
const char *doctor_source_name(enum daxpin_source source);

/* doctor_place.c. Returns -errno and writes errmsg if nothing can be tried. */
int place_find(struct place *place, const char *path, char *errmsg,
	       size_t errmsg_size);
void place_close(struct place *place);
void doctor_place(struct doctor *doctor);

/* doctor_testbed.c */
void testbed_open(struct testbed *testbed, const struct place *place);
void testbed_close(struct testbed *testbed);
/* Map a file's first bytes at a multiple of 2 MiB; NULL and errno. */
void *testbed_map(int fd, uint64_t size, int flags);
/*
 * Have the kernel make the pages present (MADV_POPULATE_*), for writing only in a
 * scratch file. On a bad medium this returns an error, where a load or a store by
 * this process would be a SIGBUS.
 */
int testbed_touch(void *at, uint64_t size, bool write);
/*
 * Create a scratch file that has a name, with backing store. Returns its descriptor or
 * -errno. The caller removes it by its name; testbed_sweep() removes those that a
 * killed run left behind.
 */
#define SCRATCH_NAME_SIZE	64
int testbed_named_file(const struct place *place, uint64_t size,
		       char name[SCRATCH_NAME_SIZE]);
void testbed_sweep(const struct place *place);

/* doctor_memory.c */
void doctor_memory(struct doctor *doctor);

/* doctor_files.c: only in a directory, and not on tmpfs. */
void doctor_files(struct doctor *doctor);

/* doctor_outside.c */
void doctor_outside(struct doctor *doctor);

/* doctor_uring.c, or doctor_no_uring.c */
void doctor_uring(struct doctor *doctor);
/* doctor_punch.c: only where there is a ring. */
void doctor_punch(struct doctor *doctor);

/* doctor_container.c */
void doctor_container(struct doctor *doctor);

/* doctor_rdma.c, or doctor_no_rdma.c */
void doctor_rdma(struct doctor *doctor);

/* doctor_fabric.c, or doctor_no_fabric.c. The table and the array of JSON are of the
 * providers that doctor_fabric() has tried. */
void doctor_fabric(struct doctor *doctor);
void doctor_fabric_table(const struct doctor *doctor);
void doctor_fabric_json(struct doctor *doctor);

#endif
