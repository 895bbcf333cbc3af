/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks lanes, roots and descriptor tables as they will be once the open lanes
 * are applied: audit_lanes.c, audit_roots.c, audit_pages.c, audit_slabs.c and
 * audit_tables.c, in this order.
 */
#ifndef DP_AUDIT_H
#define DP_AUDIT_H

#include "check/report.h"
#include "extent/bits.h"
#include "media/lane.h"
#include "media/slab.h"

struct dp_audit_root {
	uint64_t block;
	uint32_t gen;
	uint32_t slot;
	uint64_t object;		/* the pool address of an object, or 0 */
	bool found;			/* the extent or object that the root names */
};

struct dp_audit {
	struct dp_report *report;
	const struct dp_errmsg *errmsg;
	const struct dp_super *super;	/* segment 0's */
	struct dp_geometry geometry;	/* from that superblock */
	uint64_t seed;
	struct dp_badblocks no_bad;	/* empty: a private copy has no bad blocks */
	struct dp_badblocks_view copy;
	struct dp_lanes lanes;
	struct dp_audit_root root[DP_ROOTS];	/* by block */
	uint32_t roots;
	/* The rest belongs to the segment that the image has loaded. */
	struct dp_table table;
	struct dp_pages pages;		/* of the table */
	struct dp_bits bits;
	uint32_t next_gen;		/* above all of the table's; 0: not known */
	uint32_t inner_begin, inner_end;	/* words not reported yet */
};

void dp_audit_begin(struct dp_audit *audit, struct dp_report *report,
		    const struct dp_super *super,
		    const struct dp_errmsg *errmsg);
void dp_audit_end(struct dp_audit *audit);

/* Check the lanes. To be called with the image at segment 0, before the checks of roots
 * and tables, because open lanes change their words. */
int dp_audit_lanes(struct dp_audit *audit);
/* Check each root slot. To be called with the image at segment 0, before the check of
 * any table, which marks the roots whose extents it has. */
int dp_audit_root_slots(struct dp_audit *audit);
/* Check the table of the image's present segment, which has `size` bytes. */
int dp_audit_table(struct dp_audit *audit, uint64_t size);
/* Is the segment of this pool? True if more than half of the words of its page bitmap
 * pass their checks, or if a page of its table is of this pool or unreadable. */
bool dp_audit_recognizes(struct dp_audit *audit, uint64_t size);
/* For a segment whose table is not checked: mark all roots that name a block of it as
 * found, because their extents may exist. */
void dp_audit_skip_table(struct dp_audit *audit, uint32_t index);
/* After all tables: reports the roots that name nothing. */
int dp_audit_roots(struct dp_audit *audit);

/* --------------------------------------------- between the files of the audit */

/* The table of a segment of `size` bytes, without the fields that are needed to read
 * it. */
struct dp_table dp_audit_table_of(const struct dp_audit *audit, uint32_t index,
				  uint64_t size);
/* Make audit->table the table of the image's present segment. All its pages count as
 * unused until dp_audit_pages(). */
void dp_audit_begin_table(struct dp_audit *audit, uint64_t size);
/* After the lanes were applied: find out which pages of audit->table are used. */
int dp_audit_pages(struct dp_audit *audit);
/* Apply the open lanes to the image's private copy of its present segment. */
void dp_audit_apply_lanes(struct dp_audit *audit);
/* The first root that names the block, or NULL. */
struct dp_audit_root *dp_audit_root_of(struct dp_audit *audit, uint64_t block);
/* Mark the roots that name that block and generation as found: the extent exists. */
void dp_audit_mark_roots(struct dp_audit *audit, uint64_t block, uint32_t gen);
/* Mark the roots that name objects in [addr, addr + size) for which fn returns true. */
void dp_audit_mark_object_roots(struct dp_audit *audit, uint64_t addr, uint64_t size,
				bool (*fn)(void *arg, uint64_t addr), void *arg);
/* Check the words of a slab of the present segment, and count its live objects. */
int dp_audit_slab(struct dp_audit *audit, uint32_t block, uint32_t class);

#endif
