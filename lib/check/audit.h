/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks lanes, roots and descriptor tables as they will be once the open lanes
 * are applied: audit_lanes.c, audit_roots.c, audit_pages.c and audit_tables.c, in this
 * order.
 */
#ifndef DP_AUDIT_H
#define DP_AUDIT_H

#include "check/report.h"
#include "extent/bits.h"
#include "media/lane.h"

struct dp_audit_root {
	uint64_t block;
	uint32_t gen;
	uint32_t slot;
	bool found;			/* the extent that it names */
};

struct dp_audit {
	struct dp_report *report;
	const struct dp_errmsg *errmsg;
	const struct dp_super *super;	/* segment 0's */
	struct dp_geometry geometry;	/* as it says */
	uint64_t seed;
	struct dp_badblocks no_bad;	/* of a private copy */
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

/* The image is at segment 0. Before roots and tables, which lanes change. */
int dp_audit_lanes(struct dp_audit *audit);
/* The image is at segment 0. Before any table, whose extents roots name. */
int dp_audit_root_slots(struct dp_audit *audit);
/* The table of the segment that the image is at, of `size` bytes. */
int dp_audit_table(struct dp_audit *audit, uint64_t size);
/* Does the segment hold any word of this pool? */
bool dp_audit_recognizes(struct dp_audit *audit, uint64_t size);
/* The table of that segment is not audited: its roots may name what is there. */
void dp_audit_skip_table(struct dp_audit *audit, uint32_t index);
/* After all tables: reports the roots that name nothing. */
int dp_audit_roots(struct dp_audit *audit);

/* --------------------------------------------- between the files of the audit */

/* The table of a segment of `size` bytes, without where it can be read. */
struct dp_table dp_audit_table_of(const struct dp_audit *audit, uint32_t index,
				  uint64_t size);
/* Make audit->table that of the segment that the image is at; no page is used yet. */
void dp_audit_begin_table(struct dp_audit *audit, uint64_t size);
/* After the lanes were applied: find out which pages of audit->table are used. */
int dp_audit_pages(struct dp_audit *audit);
/* Apply the open lanes to the image's copy of the segment that it is at. */
void dp_audit_apply_lanes(struct dp_audit *audit);
/* The first root that names the block, or NULL. */
struct dp_audit_root *dp_audit_root_of(struct dp_audit *audit, uint64_t block);
/* The roots of that block and generation name an extent that is there. */
void dp_audit_mark_roots(struct dp_audit *audit, uint64_t block, uint32_t gen);

#endif
