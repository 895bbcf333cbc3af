/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptor tables, and the space that no extent uses. How damage is repaired:
 *
 *  - A bad word inside an extent whose own word is valid can only have been FREE (D5).
 *    Its new generation must be one that no root names, so it is higher than all others
 *    of the table.
 *  - A bad word elsewhere may have been the head of an extent. To make it FREE
 *    gives up that extent.
 *  - Of extents that overlap the first is kept, and those that begin inside it are
 *    given up. The shared blocks may have the data of either.
 */
#include <errno.h>
#include "check/audit.h"

void dp_audit_begin(struct dp_audit *audit, struct dp_report *report,
		    const struct dp_super *super,
		    const struct dp_errmsg *errmsg)
{
	memset(audit, 0, sizeof(*audit));
	audit->report = report;
	audit->super = super;
	audit->geometry = dp_geometry_of_pool(super);
	audit->seed = dp_layout_seed(super->uuid);
	audit->errmsg = errmsg;
}

void dp_audit_end(struct dp_audit *audit)
{
	dp_lanes_fini(&audit->lanes);
	dp_bits_fini(&audit->bits);
}

struct dp_table dp_audit_table_of(const struct dp_audit *audit, uint32_t index,
				uint64_t size)
{
	return (struct dp_table) {
		.offset = dp_layout_table_offset(audit->geometry.segment_size),
		.first_block = dp_geometry_begin(&audit->geometry, index) >>
			       DP_BLOCK_SHIFT,
		.begin = dp_geometry_meta_blocks(&audit->geometry),
		.blocks = size >> DP_BLOCK_SHIFT,
		.segment = index,
		.seed = audit->seed,
	};
}

/* ----------------------------------------------------------------- repairs */

static bool audit_decode(const struct dp_audit *audit, uint32_t block,
			 struct dp_word *ret_word)
{
	const char *from = audit->report->image->copy +
			   dp_table_word_offset(&audit->table, block);
	uint64_t raw;

	*ret_word = (struct dp_word) { DP_KIND_FREE, 1, 0, 0 };
	if (!dp_pages_is_used(&audit->pages, block / DP_PAGE_WORDS))
		return true;
	memcpy(&raw, from, sizeof(raw));
	return dp_word_decode(audit->seed, audit->table.first_block + block,
			      raw, ret_word);
}

/* A generation above all that the table has. */
static uint32_t next_gen(struct dp_audit *audit)
{
	struct dp_word word;

	if (audit->next_gen)
		return audit->next_gen;
	for (uint32_t b = audit->table.begin; b < audit->table.blocks; b++)
		if (audit_decode(audit, b, &word) && word.gen > audit->next_gen)
			audit->next_gen = word.gen;
	audit->next_gen++;
	return audit->next_gen;
}

/* A generation for a block whose own was lost. If a root names the block, it is one
 * above the root's: generations must wrap around before they equal it again (D14). */
static uint32_t fresh_gen(struct dp_audit *audit, uint32_t block)
{
	const struct dp_audit_root *root =
		dp_audit_root_of(audit, audit->table.first_block + block);
	uint32_t gen = next_gen(audit);

	while (root && (gen & DP_ROOT_GEN_MASK) !=
		       ((root->gen + 1) & DP_ROOT_GEN_MASK))
		gen++;
	return gen & DP_WORD_GEN_MASK;
}

static int patch_free(struct dp_audit *audit, uint32_t block, uint32_t gen)
{
	uint64_t raw = dp_word_encode(audit->seed,
				      audit->table.first_block + block,
				      (struct dp_word) {
					      DP_KIND_FREE, 1,
					      gen & DP_WORD_GEN_MASK, 0 });

	return dp_report_patch(audit->report,
			       dp_table_word_offset(&audit->table, block), &raw,
			       sizeof(raw));
}

static bool audit_is_unreadable(const struct dp_audit *audit, uint32_t block)
{
	return dp_image_is_unreadable(audit->report->image,
				      dp_table_word_offset(&audit->table, block),
				      8);
}

/* All words of [begin, end) that can be read and do not check out. */
static int patch_bad_words(struct dp_audit *audit, uint32_t begin, uint32_t end)
{
	struct dp_word word;
	int ret = 0;

	for (uint32_t b = begin; !ret && b < end; b++)
		if (!audit_decode(audit, b, &word) &&
		    !audit_is_unreadable(audit, b))
			ret = patch_free(audit, b, fresh_gen(audit, b));
	return ret;
}

/* Make the heads in [begin, end) FREE, as a RETIRE would. */
static int patch_heads(struct dp_audit *audit, uint32_t begin, uint32_t end)
{
	struct dp_word word;
	int ret = 0;

	for (uint32_t b = begin; !ret && b < end; b++)
		if (audit_decode(audit, b, &word) && word.kind != DP_KIND_FREE)
			ret = patch_free(audit, b, word.gen + 1);
	return ret;
}

/* ---------------------------------------------------------------- findings */

static struct daxpin_finding table_finding(const struct dp_audit *audit,
					   uint32_t block)
{
	return (struct daxpin_finding) {
		.structure = DAXPIN_STRUCTURE_TABLE,
		.severity = DAXPIN_SEVERITY_DAMAGE,
		.cure = DAXPIN_CURE_LOSSY,
		.segment = audit->table.segment,
		.offset = dp_table_word_offset(&audit->table, block),
		.length = sizeof(uint64_t),
	};
}

/* Is the word unreadable? Then the finding gets no cure, because a repair stores, and a
 * store does not repair a bad block. */
static bool is_unreadable(const struct dp_audit *audit, uint32_t block,
			  struct daxpin_finding *finding)
{
	if (!audit_is_unreadable(audit, block))
		return false;
	finding->cure = DAXPIN_CURE_NONE;
	finding->remedy = NULL;
	return true;
}

/* Report the run of bad words inside a valid extent that on_damage() has collected. */
static int audit_report_inner_words(struct dp_audit *audit)
{
	uint32_t begin = audit->inner_begin, end = audit->inner_end;
	struct daxpin_finding finding = table_finding(audit, begin);
	bool unreadable;
	int ret;

	audit->inner_begin = audit->inner_end = 0;
	if (begin == end)
		return 0;
	finding.cure = DAXPIN_CURE_DERIVED;
	finding.remedy = "make them FREE, as all words inside an extent are";
	unreadable = is_unreadable(audit, begin, &finding);
	ret = dp_report_finding(audit->report, finding,
				"segment %u, blocks %u to %u, inside an extent: their words %s",
				finding.segment, begin, end - 1, unreadable ?
				"cannot be read" : "do not check out");
	return ret > 0 ? patch_bad_words(audit, begin, end) : ret;
}

static int audit_report_word(struct dp_audit *audit,
			     const struct dp_table_damage *damage)
{
	struct daxpin_finding finding = table_finding(audit, damage->block);
	bool unreadable;
	int ret;

	finding.remedy = "make it FREE: extents that began in these blocks are given up";
	unreadable = is_unreadable(audit, damage->block, &finding);
	ret = dp_report_finding(audit->report, finding,
				"segment %u, block %u: the word %s: blocks %u to %u may have been an extent's, or free",
				finding.segment, damage->block, unreadable ?
				"cannot be read" : "fails its check",
				damage->begin, damage->end - 1);
	return ret > 0 ? patch_bad_words(audit, damage->begin, damage->end) :
			 ret;
}

static int audit_report_overlap(struct dp_audit *audit,
				const struct dp_table_damage *damage)
{
	struct daxpin_finding finding = table_finding(audit, damage->block);
	struct dp_word first = { .blocks = 1 };
	int ret;

	audit_decode(audit, damage->begin, &first);
	finding.remedy = "keep the first and give up those that begin inside it";
	ret = dp_report_finding(audit->report, finding,
				"segment %u, block %u: an extent begins inside the one of blocks %u to %u",
				finding.segment, damage->block, damage->begin,
				damage->begin + first.blocks - 1);
	return ret > 0 ? patch_heads(audit, damage->begin + 1,
				     damage->begin + first.blocks) : ret;
}

static int give_up_extent(struct dp_audit *audit, uint32_t block,
			  const char *what)
{
	struct daxpin_finding finding = table_finding(audit, block);
	int ret;

	finding.remedy = "give the extent up";
	ret = dp_report_finding(audit->report, finding, "segment %u, block %u: %s",
				finding.segment, block, what);
	return ret > 0 ? patch_heads(audit, block, block + 1) : ret;
}

/* ---------------------------------------------------------- a whole segment */

static int on_damage(void *arg, const struct dp_table_damage *damage)
{
	struct dp_audit *audit = arg;
	int ret = dp_bits_quarantine(&audit->bits, damage->begin,
				      damage->end - damage->begin);

	if (!ret && damage->fault == DP_TABLE_INNER_WORD &&
	    damage->begin == audit->inner_end) {
		audit->inner_end = damage->end;
		return 0;
	}
	if (!ret)
		ret = audit_report_inner_words(audit);
	if (ret)
		return ret;
	switch (damage->fault) {
	case DP_TABLE_INNER_WORD:
		audit->inner_begin = damage->begin;
		audit->inner_end = damage->end;
		return 0;
	case DP_TABLE_WORD:
		return audit_report_word(audit, damage);
	case DP_TABLE_OVERLAP:
		return audit_report_overlap(audit, damage);
	case DP_TABLE_PAST_END:
		break;
	}
	return give_up_extent(audit, damage->block,
			      dp_table_fault_text(damage->fault));
}

/* W7: an extent in a hole is complete, and reads as zeroes. Its chunks are marked
 * WANTED and count as space, as at an open. */
static void want_chunks(struct dp_audit *audit, uint32_t block, uint32_t blocks)
{
	uint32_t last = (block + blocks - 1) / DP_CHUNK_BLOCKS;

	for (uint32_t i = block / DP_CHUNK_BLOCKS; i <= last; i++) {
		uint8_t *chunk = &audit->report->image->chunk[i];

		if (*chunk & (DP_CHUNK_BACKED | DP_CHUNK_WANTED))
			continue;
		*chunk |= DP_CHUNK_WANTED;
		dp_bits_set(&audit->bits, i * DP_CHUNK_BLOCKS,
			      DP_CHUNK_BLOCKS);
		audit->report->summary.hole_bytes -= DP_CHUNK_SIZE;
	}
}

static int on_word(void *arg, uint32_t block, struct dp_word word)
{
	struct dp_audit *audit = arg;
	struct daxpin_check_summary *summary = &audit->report->summary;

	if (word.kind == DP_KIND_FREE) {
		summary->used_words++;
		return 0;
	}
	want_chunks(audit, block, word.blocks);
	/* If a block is taken, it belongs to an extent that overlaps this one. The scan
	 * reports an overlap as damage. */
	if (dp_bits_take(&audit->bits, block, word.blocks))
		return dp_bits_quarantine(&audit->bits, block, word.blocks);
	if (word.kind == DP_KIND_SLAB)
		return dp_audit_slab(audit, block, word.class);
	summary->extents++;
	summary->extent_bytes += (uint64_t)word.blocks << DP_BLOCK_SHIFT;
	dp_audit_mark_roots(audit, audit->table.first_block + block, word.gen);
	return 0;
}

/* Take the chunks that are not free space: those of metadata, and holes (D9). */
static void take_chunks(struct dp_audit *audit, uint32_t chunks)
{
	const uint8_t *chunk = audit->report->image->chunk;
	uint32_t meta = dp_geometry_meta_chunks(&audit->geometry);

	for (uint32_t i = 0; i < chunks; i++) {
		if (i >= meta && chunk[i] & DP_CHUNK_BACKED)
			continue;
		dp_bits_take(&audit->bits, i * DP_CHUNK_BLOCKS,
			      DP_CHUNK_BLOCKS);
		if (i >= meta)
			audit->report->summary.hole_bytes += DP_CHUNK_SIZE;
	}
}

/* True if a published extent has one of these blocks. */
static bool is_taken(struct dp_audit *audit, uint32_t begin, uint32_t end)
{
	const uint8_t *chunk = audit->report->image->chunk;
	bool taken = false;

	for (uint32_t b = begin; b < end; b++)
		taken |= chunk[b / DP_CHUNK_BLOCKS] &
				 (DP_CHUNK_BACKED | DP_CHUNK_WANTED) &&
			 !dp_bits_is_free(&audit->bits, b) &&
			 !dp_bits_is_quarantined(&audit->bits, b);
	return taken;
}

/* Report the bad blocks that the kernel lists behind the metadata. */
static int audit_bad(struct dp_audit *audit, uint64_t size)
{
	struct daxpin_finding finding = {
		.structure = DAXPIN_STRUCTURE_DATA,
		.segment = audit->table.segment,
	};
	uint64_t at = dp_geometry_meta_size(&audit->geometry);
	struct dp_badblocks_run run;
	int ret = 0;

	while (!ret && dp_badblocks_find(&audit->report->image->badblocks, at,
					 size, &run)) {
		uint32_t begin = run.begin >> DP_BLOCK_SHIFT;
		uint32_t end = run.end >> DP_BLOCK_SHIFT;
		bool taken = is_taken(audit, begin, end);

		at = run.end;
		finding.severity = taken ? DAXPIN_SEVERITY_DAMAGE :
					   DAXPIN_SEVERITY_NOTE;
		finding.offset = run.begin;
		finding.length = run.end - run.begin;
		audit->report->summary.bad_bytes += finding.length;
		ret = dp_bits_quarantine(&audit->bits, begin, end - begin);
		if (ret)
			break;
		ret = dp_report_finding(audit->report, finding,
					"segment %u, blocks %u to %u: the medium is bad, %s",
					finding.segment, begin, end - 1, taken ?
					"and a published extent has them: what stood there is lost" :
					"they are never handed out");
	}
	return ret;
}

int dp_audit_table(struct dp_audit *audit, uint64_t size)
{
	struct dp_image *image = audit->report->image;
	struct daxpin_check_summary *summary = &audit->report->summary;
	const struct dp_table_visitor visitor = { on_word, on_damage, audit };
	uint64_t bad_bytes, quarantined;
	int ret;

	dp_audit_begin_table(audit, size);
	ret = dp_bits_init(&audit->bits, audit->table.blocks);
	if (ret)
		return ret;
	take_chunks(audit, size >> DP_CHUNK_SHIFT);
	dp_audit_apply_lanes(audit);
	ret = dp_audit_pages(audit);
	if (!ret)
		ret = dp_table_scan_copy(&audit->table, image->copy +
					 audit->table.offset, &visitor);
	if (!ret)
		ret = audit_report_inner_words(audit);
	bad_bytes = summary->bad_bytes;
	if (!ret)
		ret = audit_bad(audit, size);
	bad_bytes = summary->bad_bytes - bad_bytes;
	dp_bits_close_off(&audit->bits);
	summary->free_bytes += (uint64_t)dp_bits_free_count(&audit->bits)
			       << DP_BLOCK_SHIFT;
	quarantined = dp_bits_quarantined_count(&audit->bits);
	summary->quarantined_bytes += (quarantined << DP_BLOCK_SHIFT) -
				      bad_bytes;
	dp_bits_fini(&audit->bits);
	return ret;
}
