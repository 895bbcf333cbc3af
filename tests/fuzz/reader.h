/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second reader of the format, simple and slow, written from docs/format.md alone: it
 * reports whether the pool on the machine's disk may be opened, and what is in it.
 */
#ifndef FUZZ_READER_H
#define FUZZ_READER_H

#include "fuzz.h"

struct reading {
	const char *refuse;		/* why it must be refused; NULL: it must open */
	struct dp_super super;
	uint64_t seed;
	bool unclean;
	bool lost;			/* segment 0's superblock: its copy is used */
	uint32_t entries;		/* of open lanes, which an open replays */
	uint64_t highest;		/* the highest epoch of all segments */
	uint32_t originals, copies;	/* how many of the files are such */
};

/* How the pool would be opened. */
#define READER_READONLY		0x1u
#define READER_IMPATIENT	0x2u	/* with a deadline */
#define READER_ADOPT		0x4u	/* DAXPIN_POOL_ADOPT */

struct reader_extent {
	uint64_t addr;
	uint64_t size;
	uint32_t gen;
};

/*
 * Only the last reading is valid: tables and roots after replay are kept in static
 * memory.
 */
void reader_read(uint32_t how, struct reading *ret_reading);

/*
 * Finds the first extent at or after *at, an address in the pool, and moves *at past
 * it.
 */
bool reader_next(const struct reading *reading, uint64_t *at,
		 struct reader_extent *ret_extent);

struct reader_object {
	uint64_t addr;
	uint64_t size;
};

/* The same for live objects; *at is 0 at first, and means nothing to the caller. */
bool reader_next_object(const struct reading *reading, uint64_t *at,
			struct reader_object *ret_object);

struct reader_root {
	char name[48];
	uint64_t addr;
	uint32_t gen;			/* its low 15 bits; of an object 0 */
	bool object;
};

/*
 * Read a root slot; false if it is empty. reader_root() returns it as after the replay
 * of the open lanes, by the last reader_read(), which must have read the roots.
 * reader_root_on_media() returns what is on the medium now.
 */
bool reader_root(uint32_t slot, struct reader_root *ret_root);
bool reader_root_on_media(uint32_t slot, struct reader_root *ret_root);

/* Is the slot readable, and do its word and name pass their checks on the medium now? A
 * degraded open skips the others. */
bool reader_root_is_intact(const uint8_t uuid[16], uint32_t slot);

/*
 * Expects that the words outside of metadata that open lanes set are on the medium now.
 */
void reader_expect_set(const struct reading *reading);

#endif
