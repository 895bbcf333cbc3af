/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The language of fuzz_image's inputs: records of 16 bytes, each one edit of a pool's
 * media or of the machine around it. An edit of a structure may also compute the
 * structure's check again, so that wrong contents with a right check are tested as well
 * as damage.
 */
#ifndef FUZZ_EDIT_H
#define FUZZ_EDIT_H

#include "fuzz.h"

#define EDIT_SEAL	0x1u		/* recompute the structure's check */
#define EDIT_USE	0x2u		/* words, pages: format the page of the table
					   if it is not in use, and mark it so; slabs:
					   make a slab without objects before */
/* Superblock: which of the four halves; others: not used. */
#define EDIT_WHICH(flags) ((flags) >> 4 & 7)

enum edit_what {
	EDIT_SUPER,			/* field, index: byte of an array */
	EDIT_WORD,			/* index: block of the segment */
	EDIT_ROOT,			/* index: slot; 16 up: byte of the name */
	EDIT_LANE,			/* index: lane; 16 up: entry */
	EDIT_LANE_WORD,			/* an entry with a right descriptor word */
	EDIT_LANE_ROOT,			/* an entry with a right root word */
	EDIT_COPY,			/* index: to; value: from, segment, size */
	EDIT_ZERO,			/* index: offset; value: size */
	EDIT_BYTES,			/* index: offset; field: how many */
	EDIT_FILE,			/* field: see edit.c */
	EDIT_POISON,			/* index: offset; value: size */
	EDIT_MACHINE,			/* field: see edit.c */
	EDIT_PAGES,			/* index: word of the page bitmap */
	EDIT_SLAB,			/* index: block; 16 up: word; field: class */
	EDIT_KINDS
};

struct edit {
	uint8_t what;			/* modulo EDIT_KINDS */
	uint8_t segment;		/* modulo MACHINE_FILES */
	uint8_t field;
	uint8_t flags;
	uint32_t index;
	uint64_t value;
};

static_assert(sizeof(struct edit) == 16, "a record");

void edit_apply(const struct edit *edit);

#endif
