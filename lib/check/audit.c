/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may be derived, and what not:
 *
 *  - A word inside an extent that checks out is FREE (D5). Its generation only
 *    has to be none that a root names, so it is taken above all others.
 *  - A bad word elsewhere may have been the head of an extent. To make it FREE
 *    gives up that extent.
 *  - Of extents that overlap the first is kept and those that begin inside it
 *    are given up: whichever wrote last has the bytes.
 *  - A torn lane was never committed. Of a damaged one nobody can tell.
 */
#include <errno.h>
#include <stdlib.h>
#include "check/audit.h"
#include "media/root.h"

#define HEADER_SIZE	offsetof(struct dp_lane, zero_1)

void dp_audit_begin(struct dp_audit *audit, struct dp_report *report,
		    const struct dp_super *super, const struct dp_why *why)
{
	memset(audit, 0, sizeof(*audit));
	audit->report = report;
	audit->super = super;
	audit->seed = dp_layout_seed(super->uuid);
	audit->why = why;
}

void dp_audit_end(struct dp_audit *audit)
{
	dp_lanes_fini(&audit->lanes);
	dp_space_fini(&audit->space);
}

static struct dp_table table_of(const struct dp_audit *audit, uint32_t index,
				uint64_t size)
{
	return (struct dp_table) {
		.first_block = index * (audit->super->segment_size >>
					DP_BLOCK_SHIFT),
		.blocks = size >> DP_BLOCK_SHIFT,
		.segment = index,
		.seed = audit->seed,
	};
}

/* ------------------------------------------------------------------- lanes */

static bool is_word(const struct dp_audit *audit,
		    const struct dp_lane_entry *entry)
{
	const struct dp_roots roots = { .seed = audit->seed };
	uint64_t index = entry->addr / audit->super->segment_size;
	uint64_t offset = entry->addr % audit->super->segment_size, size;
	struct dp_table table;

	if (entry->addr % 8 || index >= audit->super->segments)
		return false;
	size = dp_pool_size_of_segment(audit->super->pool_size,
				       audit->super->segment_size, index);
	table = table_of(audit, index, size);
	if (offset < DP_COPY_OFFSET)
		return dp_table_accepts(&table, offset, entry->value);
	if (offset < DP_CHUNK_SIZE)
		return !index && dp_roots_accept(&roots, offset, entry->value);
	return offset < size;
}

static const struct dp_lane_entry *find_nonsense(const struct dp_audit *audit,
						 const struct dp_lane *lane)
{
	for (uint32_t i = 0; i < lane->count; i++)
		if (!is_word(audit, &lane->entry[i]))
			return &lane->entry[i];
	return NULL;
}

/* A number that neither of its two has used; a torn batch's own is used up. */
static uint64_t closing_number(enum dp_lane_state state,
			       const struct dp_lane *lane)
{
	uint64_t low = dp_min(lane->sequence, lane->done);
	uint64_t high = lane->sequence ^ lane->done ^ low;

	if (state == DP_LANE_TORN)
		return lane->done + (lane->sequence + 1 != lane->done);
	return high + 1 ? high + 1 : low + 1;
}

/* In the order of dp_lanes_recover(): done first, so that nothing replays. */
static int patch_empty(struct dp_audit *audit, uint32_t index,
		       const struct dp_lane *lane)
{
	uint64_t at = DP_LANES_OFFSET + index * sizeof(*lane);
	struct dp_lane empty = {
		.sequence = closing_number(dp_lane_judge(audit->seed, index,
							 lane), lane),
		.epoch = audit->super->epoch,
	};
	int ret;

	empty.check = dp_lane_check(audit->seed, index, &empty);
	ret = dp_report_patch(audit->report,
			      at + offsetof(struct dp_lane, done),
			      &empty.sequence, sizeof(empty.sequence));
	return ret ? ret : dp_report_patch(audit->report, at, &empty,
					   HEADER_SIZE);
}

static int tell_lane(struct dp_audit *audit, uint32_t index,
		     const struct dp_lane *lane, enum dp_lane_state state,
		     const struct dp_lane_entry *nonsense)
{
	struct dp_report *report = audit->report;
	struct daxpin_finding finding = {
		.structure = DAXPIN_STRUCTURE_LANE,
		.severity = DAXPIN_SEVERITY_NOTE,
		.offset = DP_LANES_OFFSET + index * sizeof(*lane),
		.length = sizeof(*lane),
	};

	if (state == DP_LANE_TORN) {
		report->summary.lanes_torn++;
		finding.cure = DAXPIN_CURE_DERIVED;
		finding.remedy = "empty it, as the next open for writing does";
		return dp_report_tell(report, finding,
				      "redo lane %u holds a batch that was never committed: normal after a power cut",
				      index);
	}
	if (state == DP_LANE_OPEN && !nonsense) {
		report->summary.lanes_open++;
		finding.cure = DAXPIN_CURE_OPEN;
		finding.remedy = "the next open for writing completes it";
		return dp_report_tell(report, finding,
				      "redo lane %u holds a committed batch of %u changes",
				      index, lane->count);
	}
	finding.severity = DAXPIN_SEVERITY_DAMAGE;
	finding.cure = DAXPIN_CURE_LOSSY;
	finding.remedy = "empty it: if it holds a batch, that is given up";
	if (nonsense)
		return dp_report_tell(report, finding,
				      "redo lane %u holds a batch that changes the word at 0x%llx, which is none",
				      index, (unsigned long long)nonsense->addr);
	return dp_report_tell(report, finding,
			      "redo lane %u is damaged (sequence %llu, done %llu)",
			      index, (unsigned long long)lane->sequence,
			      (unsigned long long)lane->done);
}

static int audit_lane(struct dp_audit *audit, uint32_t index)
{
	struct dp_image *image = audit->report->image;
	uint64_t at = DP_LANES_OFFSET + index * sizeof(struct dp_lane);
	struct dp_lane *lane = (struct dp_lane *)(image->copy + at);
	const struct dp_lane_entry *nonsense = NULL;
	enum dp_lane_state state;
	int ret;

	if (dp_image_is_unreadable(image, at, sizeof(*lane)))
		return dp_report_tell(audit->report, (struct daxpin_finding) {
				.structure = DAXPIN_STRUCTURE_LANE,
				.severity = DAXPIN_SEVERITY_DAMAGE,
				.offset = at, .length = sizeof(*lane),
			}, "redo lane %u cannot be read", index);
	state = dp_lane_judge(audit->seed, index, lane);
	if (state == DP_LANE_CLOSED)
		return 0;
	if (state == DP_LANE_OPEN)
		nonsense = find_nonsense(audit, lane);
	ret = tell_lane(audit, index, lane, state, nonsense);
	if (ret > 0)
		ret = patch_empty(audit, index, lane);
	/* What is not to be replayed must not be seen by what follows. */
	if (state != DP_LANE_OPEN || nonsense)
		memset(lane, 0, sizeof(*lane));
	return ret;
}

/* ------------------------------------------------------------------- roots */

/* A name for people; media may hold anything. */
static const char *printable(const char name[DP_ROOT_NAME_MAX],
			     char text[DP_ROOT_NAME_MAX])
{
	uint32_t i;

	for (i = 0; i < DP_ROOT_NAME_MAX - 1 && name[i]; i++)
		text[i] = name[i] < ' ' || name[i] > '~' ? '?' : name[i];
	text[i] = '\0';
	return text;
}

static int clear_root(struct dp_audit *audit, uint32_t slot, const char *what)
{
	const struct dp_root *root = (const struct dp_root *)
		(audit->report->image->copy + DP_ROOTS_OFFSET) + slot;
	uint64_t at = DP_ROOTS_OFFSET + slot * sizeof(*root);
	uint64_t none = dp_root_encode(audit->seed, slot, 0, 0);
	char text[DP_ROOT_NAME_MAX];
	int ret;

	ret = dp_report_tell(audit->report, (struct daxpin_finding) {
			.structure = DAXPIN_STRUCTURE_ROOT,
			.severity = DAXPIN_SEVERITY_DAMAGE,
			.cure = DAXPIN_CURE_LOSSY,
			.remedy = "clear it: the name then names nothing",
			.offset = at, .length = sizeof(*root),
		}, "root slot %u, \"%s\": %s", slot,
		printable(root->name, text), what);
	if (ret <= 0)
		return ret;
	return dp_report_patch(audit->report,
			       at + offsetof(struct dp_root, word), &none,
			       sizeof(none));
}

static int audit_root(struct dp_audit *audit, uint32_t slot)
{
	const struct dp_root *root = (const struct dp_root *)
		(audit->report->image->copy + DP_ROOTS_OFFSET) + slot;
	struct dp_root_word word;

	if (!dp_root_decode(audit->seed, slot, root->word, &word))
		return clear_root(audit, slot, "its word does not check out");
	if (!word.block)
		return 0;
	if (root->name_check != dp_root_name_check(audit->seed, slot,
						   root->name) ||
	    !root->name[0] || root->name[DP_ROOT_NAME_MAX - 1])
		return clear_root(audit, slot, "the name does not check out");
	audit->root[audit->roots++] = (struct dp_audit_root) {
		.block = word.block, .gen = word.gen, .slot = slot,
	};
	audit->report->summary.roots++;
	return 0;
}

static int compare_roots(const void *a, const void *b)
{
	const struct dp_audit_root *one = a, *other = b;

	return (one->block > other->block) - (one->block < other->block);
}

static int audit_root_page(struct dp_audit *audit, uint64_t at)
{
	uint32_t slot = (at - DP_ROOTS_OFFSET) / sizeof(struct dp_root);
	int ret = 0;

	if (dp_image_is_unreadable(audit->report->image, at, DP_BLOCK_SIZE))
		return dp_report_tell(audit->report, (struct daxpin_finding) {
				.structure = DAXPIN_STRUCTURE_ROOT,
				.severity = DAXPIN_SEVERITY_DAMAGE,
				.offset = at, .length = DP_BLOCK_SIZE,
			}, "a page of the root directory cannot be read");
	for (uint32_t i = 0; !ret &&
	     i < DP_BLOCK_SIZE / sizeof(struct dp_root); i++)
		ret = audit_root(audit, slot + i);
	return ret;
}

/* The open lanes are applied to the image's copy, for this and its table. */
static void apply_lanes(struct dp_audit *audit)
{
	struct dp_image *image = audit->report->image;

	dp_lanes_patch(&audit->lanes, image->index *
		       audit->super->segment_size, DP_CHUNK_SIZE, image->copy);
}

int dp_audit_directories(struct dp_audit *audit)
{
	struct dp_image *image = audit->report->image;
	int ret = 0;

	assert(!image->index && !audit->roots);
	for (uint32_t i = 0; !ret && i < DP_LANES; i++)
		ret = audit_lane(audit, i);
	audit->copy = (struct dp_bad_view) { &audit->no_bad, image->copy, -1 };
	dp_lanes_init(&audit->lanes, image->copy, &audit->copy, audit->seed,
		      &image->pool.persist);
	if (!ret)
		ret = dp_lanes_load(&audit->lanes, true, audit->why);
	if (!ret)
		apply_lanes(audit);
	for (uint64_t at = DP_ROOTS_OFFSET; !ret && at < DP_LANES_OFFSET;
	     at += DP_BLOCK_SIZE)
		ret = audit_root_page(audit, at);
	qsort(audit->root, audit->roots, sizeof(audit->root[0]),
	      compare_roots);
	return ret;
}

/* The first root that names the block, or NULL. */
static struct dp_audit_root *root_of(struct dp_audit *audit, uint64_t block)
{
	uint32_t low = 0, high = audit->roots;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (audit->root[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return low < audit->roots && audit->root[low].block == block ?
	       &audit->root[low] : NULL;
}

static void mark_roots(struct dp_audit *audit, uint64_t block, uint32_t gen)
{
	struct dp_audit_root *end = audit->root + audit->roots, *root;

	for (root = root_of(audit, block);
	     root && root < end && root->block == block; root++)
		root->found |= root->gen == (gen & DP_ROOT_GEN_MASK);
}

int dp_audit_roots(struct dp_audit *audit)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < audit->roots; i++) {
		const struct dp_audit_root *root = &audit->root[i];

		if (root->found)
			continue;
		audit->report->summary.roots_stale++;
		ret = dp_report_tell(audit->report, (struct daxpin_finding) {
				.structure = DAXPIN_STRUCTURE_ROOT,
				.severity = DAXPIN_SEVERITY_NOTE,
				.offset = DP_ROOTS_OFFSET +
					  root->slot * sizeof(struct dp_root),
				.length = sizeof(struct dp_root),
			}, "root slot %u is stale: the extent at 0x%llx that it names is gone",
			root->slot,
			(unsigned long long)root->block << DP_BLOCK_SHIFT);
	}
	return ret;
}

/* ------------------------------------------------------------------ tables */

static bool decode(const struct dp_audit *audit, uint32_t block,
		   struct dp_word *ret_word)
{
	const char *from = audit->report->image->copy + dp_word_offset(block);
	uint64_t raw;

	memcpy(&raw, from, sizeof(raw));
	return dp_word_decode(audit->seed, audit->table.first_block + block,
			      raw, ret_word);
}

/* Above every generation that the table has. */
static uint32_t next_gen(struct dp_audit *audit)
{
	struct dp_word word;

	if (audit->next_gen)
		return audit->next_gen;
	for (uint32_t b = DP_CHUNK_BLOCKS; b < audit->table.blocks; b++)
		if (decode(audit, b, &word) && word.gen > audit->next_gen)
			audit->next_gen = word.gen;
	audit->next_gen++;
	return audit->next_gen;
}

/* A generation for a block whose own was lost; D14: no root names it soon. */
static uint32_t fresh_gen(struct dp_audit *audit, uint32_t block)
{
	const struct dp_audit_root *root =
		root_of(audit, audit->table.first_block + block);
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
					      gen & DP_WORD_GEN_MASK });

	return dp_report_patch(audit->report, dp_word_offset(block), &raw,
			       sizeof(raw));
}

/* All words of [begin, end) that can be read and do not check out. */
static int patch_bad_words(struct dp_audit *audit, uint32_t begin, uint32_t end)
{
	struct dp_word word;
	int ret = 0;

	for (uint32_t b = begin; !ret && b < end; b++)
		if (!decode(audit, b, &word) &&
		    !dp_image_is_unreadable(audit->report->image,
					    dp_word_offset(b), 8))
			ret = patch_free(audit, b, fresh_gen(audit, b));
	return ret;
}

/* Heads in (begin, end) are given up as a RETIRE would. */
static int patch_heads(struct dp_audit *audit, uint32_t begin, uint32_t end)
{
	struct dp_word word;
	int ret = 0;

	for (uint32_t b = begin; !ret && b < end; b++)
		if (decode(audit, b, &word) && word.kind != DP_KIND_FREE)
			ret = patch_free(audit, b, word.gen + 1);
	return ret;
}

static struct daxpin_finding table_finding(const struct dp_audit *audit,
					   uint32_t block)
{
	return (struct daxpin_finding) {
		.structure = DAXPIN_STRUCTURE_TABLE,
		.severity = DAXPIN_SEVERITY_DAMAGE,
		.cure = DAXPIN_CURE_LOSSY,
		.segment = audit->table.segment,
		.offset = dp_word_offset(block),
		.length = sizeof(uint64_t),
	};
}

/* What cannot be read cannot be written by a store either. */
static bool is_unreadable(const struct dp_audit *audit, uint32_t block,
			  struct daxpin_finding *finding)
{
	if (!dp_image_is_unreadable(audit->report->image,
				    dp_word_offset(block), 8))
		return false;
	finding->cure = DAXPIN_CURE_NONE;
	finding->remedy = NULL;
	return true;
}

/* Bad words inside a good extent, told in one for a run of them. */
static int tell_inner_words(struct dp_audit *audit)
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
	ret = dp_report_tell(audit->report, finding,
			     "segment %u, blocks %u to %u, inside an extent: their words %s",
			     finding.segment, begin, end - 1, unreadable ?
			     "cannot be read" : "do not check out");
	return ret > 0 ? patch_bad_words(audit, begin, end) : ret;
}

static int tell_word(struct dp_audit *audit,
		     const struct dp_table_damage *damage)
{
	struct daxpin_finding finding = table_finding(audit, damage->block);
	bool unreadable;
	int ret;

	finding.remedy = "make it FREE: extents that began in these blocks are given up";
	unreadable = is_unreadable(audit, damage->block, &finding);
	ret = dp_report_tell(audit->report, finding,
			     "segment %u, block %u: the word %s: blocks %u to %u may have been an extent's, or free",
			     finding.segment, damage->block, unreadable ?
			     "cannot be read" : "does not check out",
			     damage->begin, damage->end - 1);
	return ret > 0 ? patch_bad_words(audit, damage->begin, damage->end) :
			 ret;
}

static int tell_overlap(struct dp_audit *audit,
			const struct dp_table_damage *damage)
{
	struct daxpin_finding finding = table_finding(audit, damage->block);
	struct dp_word first = { .blocks = 1 };
	int ret;

	decode(audit, damage->begin, &first);
	finding.remedy = "keep the first and give up those that begin inside it";
	ret = dp_report_tell(audit->report, finding,
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
	ret = dp_report_tell(audit->report, finding, "segment %u, block %u: %s",
			     finding.segment, block, what);
	return ret > 0 ? patch_heads(audit, block, block + 1) : ret;
}

static int on_damage(void *arg, const struct dp_table_damage *damage)
{
	struct dp_audit *audit = arg;
	int ret = dp_space_quarantine(&audit->space, damage->begin,
				      damage->end - damage->begin);

	if (!ret && damage->fault == DP_TABLE_INNER_WORD &&
	    damage->begin == audit->inner_end) {
		audit->inner_end = damage->end;
		return 0;
	}
	if (!ret)
		ret = tell_inner_words(audit);
	if (ret)
		return ret;
	switch (damage->fault) {
	case DP_TABLE_INNER_WORD:
		audit->inner_begin = damage->begin;
		audit->inner_end = damage->end;
		return 0;
	case DP_TABLE_WORD:
		return tell_word(audit, damage);
	case DP_TABLE_OVERLAP:
		return tell_overlap(audit, damage);
	case DP_TABLE_PAST_END:
		break;
	}
	return give_up_extent(audit, damage->block,
			      dp_table_fault_text(damage->fault));
}

static int on_word(void *arg, uint32_t block, struct dp_word word)
{
	struct dp_audit *audit = arg;
	struct daxpin_check_summary *summary = &audit->report->summary;

	if (word.kind == DP_KIND_FREE) {
		summary->used_words++;
		return 0;
	}
	if (word.kind == DP_KIND_SLAB)
		return dp_fail(audit->why, -EPROTONOSUPPORT,
			       "segment %u, block %u: a slab, which this version cannot read: use a newer daxpin",
			       audit->table.segment, block);
	if (dp_space_take(&audit->space, block, word.blocks)) {
		int ret = dp_space_quarantine(&audit->space, block,
					      word.blocks);

		return ret ? ret : give_up_extent(audit, block,
			"a published extent lies in a hole of its file");
	}
	summary->extents++;
	summary->extent_bytes += (uint64_t)word.blocks << DP_BLOCK_SHIFT;
	mark_roots(audit, audit->table.first_block + block, word.gen);
	return 0;
}

/* Chunk 0 is no space, and what has no backing store is nobody's (D9). */
static void take_chunks(struct dp_audit *audit, uint32_t chunks)
{
	const uint8_t *chunk = audit->report->image->chunk;

	for (uint32_t i = 0; i < chunks; i++) {
		if (i && chunk[i] & DP_CHUNK_BACKED)
			continue;
		dp_space_take(&audit->space, i * DP_CHUNK_BLOCKS,
			      DP_CHUNK_BLOCKS);
		if (i)
			audit->report->summary.hole_bytes += DP_CHUNK_SIZE;
	}
}

/* A published extent has one of these blocks. */
static bool is_taken(struct dp_audit *audit, uint32_t begin, uint32_t end)
{
	const uint8_t *chunk = audit->report->image->chunk;
	bool taken = false;

	for (uint32_t b = begin; b < end; b++)
		taken |= chunk[b / DP_CHUNK_BLOCKS] & DP_CHUNK_BACKED &&
			 !dp_space_is_free(&audit->space, b) &&
			 !dp_space_is_quarantined(&audit->space, b);
	return taken;
}

/* What the kernel knows to be bad, behind the metadata. */
static int audit_bad(struct dp_audit *audit, uint64_t size)
{
	struct daxpin_finding finding = {
		.structure = DAXPIN_STRUCTURE_DATA,
		.segment = audit->table.segment,
	};
	uint64_t at = DP_CHUNK_SIZE;
	struct dp_bad_run run;
	int ret = 0;

	while (!ret && dp_bad_find(&audit->report->image->bad, at, size,
				   &run)) {
		uint32_t begin = run.begin >> DP_BLOCK_SHIFT;
		uint32_t end = run.end >> DP_BLOCK_SHIFT;
		bool taken = is_taken(audit, begin, end);

		at = run.end;
		finding.severity = taken ? DAXPIN_SEVERITY_DAMAGE :
					   DAXPIN_SEVERITY_NOTE;
		finding.offset = run.begin;
		finding.length = run.end - run.begin;
		audit->report->summary.bad_bytes += finding.length;
		ret = dp_space_quarantine(&audit->space, begin, end - begin);
		if (ret)
			break;
		ret = dp_report_tell(audit->report, finding,
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
	uint64_t bad_bytes;
	int ret;

	audit->table = table_of(audit, image->index, size);
	audit->next_gen = 0;
	ret = dp_space_init(&audit->space, audit->table.blocks);
	if (ret)
		return ret;
	take_chunks(audit, size >> DP_CHUNK_SHIFT);
	apply_lanes(audit);
	ret = dp_table_scan_copy(&audit->table, image->copy, &visitor);
	if (!ret)
		ret = tell_inner_words(audit);
	bad_bytes = summary->bad_bytes;
	if (!ret)
		ret = audit_bad(audit, size);
	bad_bytes = summary->bad_bytes - bad_bytes;
	dp_space_close_off(&audit->space);
	summary->free_bytes += (uint64_t)dp_space_free_count(&audit->space)
			       << DP_BLOCK_SHIFT;
	summary->quarantined_bytes += ((uint64_t)audit->space.quarantine_count
				       << DP_BLOCK_SHIFT) - bad_bytes;
	dp_space_fini(&audit->space);
	return ret;
}

bool dp_audit_recognizes(struct dp_audit *audit, uint64_t size)
{
	struct dp_word word;
	uint32_t found = 0;

	audit->table = table_of(audit, audit->report->image->index, size);
	for (uint32_t b = DP_CHUNK_BLOCKS; b < audit->table.blocks; b++)
		found += decode(audit, b, &word);
	/* By chance it is one word in 65536 or fewer. */
	return found > audit->table.blocks / 2;
}
