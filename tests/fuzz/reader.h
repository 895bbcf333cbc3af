/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second reader of the format, naive and slow, after docs/format.md alone:
 * says whether the pool on the machine's disk may be opened, and what is in it.
 */
#ifndef FUZZ_READER_H
#define FUZZ_READER_H

#include "fuzz.h"

struct reading {
	const char *refuse;		/* why it must be; NULL: it must open */
	struct dp_super super;
	uint64_t seed;
	bool unclean;
	bool lost;			/* segment 0's superblock page */
	uint32_t entries;		/* of open lanes, to be replayed */
	uint64_t highest;		/* epoch of all segments */
	uint32_t originals, copies;	/* of the files that count */
};

/* A refusal that any pool comes to, after 2^63 opens or writes. */
#define READER_COUNTED_OUT	"sequence or epoch"

/* How it would be opened. */
#define READER_READONLY		0x1u
#define READER_IMPATIENT	0x2u	/* with a deadline */
#define READER_ADOPT		0x4u	/* a copy of an unclean pool will do */

struct reader_extent {
	uint64_t addr;
	uint64_t size;
	uint32_t gen;
};

/* One reading at a time: what lanes change is kept beside the disk. */
void reader_read(uint32_t how, struct reading *ret_reading);

/* The first extent at or after *at, a pool address; moves *at past it. */
bool reader_next(const struct reading *reading, uint64_t *at,
		 struct reader_extent *ret_extent);

struct reader_root {
	char name[48];
	uint64_t addr;
	uint32_t gen;			/* its low 16 bits */
};

/* What a root slot says, or false: nothing. With the open lanes, as of the last
 * reader_read(), which has to have come so far; and as it is on the medium now. */
bool reader_root(uint32_t slot, struct reader_root *ret_root);
bool reader_root_on_media(uint32_t slot, struct reader_root *ret_root);

/* The words outside of metadata that open lanes set are on the medium now. */
void reader_expect_set(const struct reading *reading);

#endif
