/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page bitmap of a descriptor table. The bits of a damaged word can be derived from
 * the pages of the table, because a page is formatted completely before its first use.
 */
#include "check/audit.h"

static uint64_t audit_page_offset(const struct dp_audit *audit, uint32_t page)
{
	return audit->table.offset + page * DP_BLOCK_SIZE;
}

void dp_audit_begin_table(struct dp_audit *audit, uint64_t size)
{
	audit->table = dp_audit_table_of(audit, audit->report->image->index, size);
	audit->table.pages = &audit->pages;
	audit->next_gen = 0;
	dp_pages_init(&audit->pages, dp_table_pages(&audit->table), NULL,
		      audit->table.first_block, audit->seed, NULL);
}

static bool audit_page_is_ours(const struct dp_audit *audit, uint32_t page)
{
	uint64_t at = audit_page_offset(audit, page);

	return dp_image_is_unreadable(audit->report->image, at, DP_BLOCK_SIZE) ||
	       dp_table_is_page(&audit->table, page,
				audit->report->image->copy + at);
}

static bool audit_take_pages(struct dp_audit *audit, uint32_t index)
{
	uint64_t at = DP_PAGES_OFFSET + index * sizeof(uint64_t), raw;

	memcpy(&raw, audit->report->image->copy + at, sizeof(raw));
	return !dp_image_is_unreadable(audit->report->image, at, sizeof(raw)) &&
	       dp_pages_take(&audit->pages, index, raw);
}

static int audit_patch_pages(struct dp_audit *audit, uint32_t index)
{
	uint64_t word = dp_pages_word(&audit->pages, index);

	return dp_report_patch(audit->report,
			       DP_PAGES_OFFSET + index * sizeof(word), &word,
			       sizeof(word));
}

static struct daxpin_finding audit_pages_finding(const struct dp_audit *audit,
						 uint32_t index)
{
	return (struct daxpin_finding) {
		.structure = DAXPIN_STRUCTURE_TABLE,
		.severity = DAXPIN_SEVERITY_DAMAGE,
		.cure = DAXPIN_CURE_DERIVED,
		.remedy = "write it again: a page of the table is in use if one in eight of its words passes its check",
		.segment = audit->table.segment,
		.offset = DP_PAGES_OFFSET + index * sizeof(uint64_t),
		.length = sizeof(uint64_t),
	};
}

/* Report a word of the bitmap that fails its check, and derive its bits from the
 * pages. */
static int audit_derive_pages(struct dp_audit *audit, uint32_t index)
{
	struct daxpin_finding finding = audit_pages_finding(audit, index);
	bool unreadable = dp_image_is_unreadable(audit->report->image,
						 finding.offset, 8);
	uint32_t page = index * DP_PAGES_WORD_BITS;
	uint32_t end = dp_min(page + DP_PAGES_WORD_BITS,
			      dp_table_pages(&audit->table));
	int ret;

	for (; page < end; page++)
		if (audit_page_is_ours(audit, page))
			dp_pages_assume(&audit->pages, page);
	if (unreadable) {
		finding.cure = DAXPIN_CURE_NONE;
		finding.remedy = NULL;
	}
	ret = dp_report_finding(audit->report, finding,
				"segment %u: word %u of the page bitmap %s",
				finding.segment, index, unreadable ?
				"cannot be read" : "fails its check");
	return ret > 0 ? audit_patch_pages(audit, index) : ret;
}

/* Report a page, and mark it as used, if a committed batch stores a word there although
 * the bitmap says that it is unused. */
static int audit_lane_page(struct dp_audit *audit, uint32_t page)
{
	uint32_t index = page / DP_PAGES_WORD_BITS;
	int ret;

	if (dp_pages_is_used(&audit->pages, page))
		return 0;
	dp_pages_assume(&audit->pages, page);
	ret = dp_report_finding(audit->report, audit_pages_finding(audit, index),
				"segment %u: page %u of the descriptor table is not in use by the page bitmap, but a redo lane changes a word of it",
				audit->table.segment, page);
	return ret > 0 ? audit_patch_pages(audit, index) : ret;
}

static int audit_lane_pages(struct dp_audit *audit)
{
	const struct dp_lanes *lanes = &audit->lanes;
	int ret = 0;

	for (size_t i = 0; !ret && i < dp_lanes_pending(lanes); i++) {
		uint64_t addr = dp_lanes_pending_entry(lanes, i)->addr;
		uint64_t begin = audit->table.first_block << DP_BLOCK_SHIFT;

		if (addr >= begin && dp_table_has(&audit->table, addr - begin))
			ret = audit_lane_page(audit,
				(addr - begin - audit->table.offset) /
				DP_BLOCK_SIZE);
	}
	return ret;
}

/* An unreadable page counts as used, whatever the bitmap says, so that the scan of the
 * table reports its words. */
int dp_audit_pages(struct dp_audit *audit)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < DP_PAGES_WORDS; i++)
		if (!audit_take_pages(audit, i))
			ret = audit_derive_pages(audit, i);
	for (uint32_t i = audit->table.begin / DP_PAGE_WORDS;
	     i < dp_table_pages(&audit->table); i++)
		if (dp_image_is_unreadable(audit->report->image,
					   audit_page_offset(audit, i),
					   DP_BLOCK_SIZE))
			dp_pages_assume(&audit->pages, i);
	return ret ? ret : audit_lane_pages(audit);
}

bool dp_audit_recognizes(struct dp_audit *audit, uint64_t size)
{
	uint32_t found = 0;

	dp_audit_begin_table(audit, size);
	for (uint32_t i = 0; i < DP_PAGES_WORDS; i++)
		found += audit_take_pages(audit, i);
	/* Random bytes match in one word of 65536. */
	if (found > DP_PAGES_WORDS / 2)
		return true;
	for (uint32_t i = 0; i < dp_table_pages(&audit->table); i++)
		if (audit_page_is_ours(audit, i))
			return true;
	return false;
}
