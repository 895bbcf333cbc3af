/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order is that of an open, but the check continues after damage, unless there is
 * no valid superblock: then there is no geometry and no uuid to check the rest with.
 *
 * A lost superblock page is repaired in this order: a half with the next sequence
 * number in the page, the same in the copy, and last the page's other half. If the
 * other half were first, an open after a power cut would take the page for intact, and
 * could begin an epoch that the lost page had begun already (D15).
 */
#include <errno.h>
#include <stdlib.h>
#include "check/audit.h"
#include "check/check.h"
#include "media/stamp.h"
#include "owner/owner.h"
#include "pool/defrag.h"
#include "pool/remains.h"

#define ERRMSG_SIZE	400

/* All segments' superblocks together. */
struct together {
	struct dp_stamp *stamp;		/* of each segment; zeroes if it has no whole
					   superblock */
	struct dp_stamp_tally tally;
	struct dp_stamp_files files;
};

struct walk {
	struct dp_report *report;
	struct dp_image *image;
	const struct dp_errmsg *errmsg;
	struct dp_super super;		/* segment 0's */
	bool complete;			/* super is valid, so the rest can be found */
	struct dp_audit audit;
	struct together together;
};

static struct daxpin_finding check_found(const struct walk *walk,
					 enum daxpin_structure structure,
					 enum daxpin_severity severity)
{
	return (struct daxpin_finding) {
		.structure = structure,
		.severity = severity,
		.segment = walk->image->index,
	};
}

static struct daxpin_finding check_found_page(const struct walk *walk, int page)
{
	struct daxpin_finding finding = check_found(walk,
						    DAXPIN_STRUCTURE_SUPERBLOCK,
						    DAXPIN_SEVERITY_DAMAGE);

	finding.offset = dp_super_offset[page];
	finding.length = DP_SUPER_SIZE;
	return finding;
}

/* ------------------------------------------------------------- superblocks */

static int check_patch_half(struct walk *walk, int page,
			    const struct dp_super *super)
{
	return dp_report_patch(walk->report, dp_super_offset[page] +
			       (super->sequence & 1) * sizeof(*super), super,
			       sizeof(*super));
}

/*
 * The lost page may have begun an epoch. So its replacement begins the next one, and is
 * OPENING, because the other segments do not have that epoch yet: the same state as
 * after an open that was interrupted.
 */
static void check_begin_epoch(struct dp_super *super)
{
	if (!(super->flags & DP_SUPER_OPENING)) {
		super->before_epoch = super->epoch;
		super->before_open_id = super->open_id;
	}
	super->epoch++;
	super->flags |= DP_SUPER_UNCLEAN | DP_SUPER_OPENING;
	super->flags &= ~DP_SUPER_OWNER_UNKNOWN;
	memset(&super->owner, 0, sizeof(super->owner));
}

/* Restore the page from its copy. The new page has no record of an owner, because
 * repair_await_owner() has waited for all verbs contexts. */
static int check_patch_page(struct walk *walk, const struct dp_super *newest)
{
	struct dp_super next = *newest;
	int ret;

	next.sequence++;
	if (!walk->image->index)
		check_begin_epoch(&next);
	dp_super_seal(&next);
	ret = check_patch_half(walk, 0, &next);
	if (!ret)
		ret = check_patch_half(walk, 1, &next);
	return ret ? ret : check_patch_half(walk, 0, newest);
}

static int check_patch_copy(struct walk *walk, const struct dp_super half[2])
{
	int ret = 0;

	for (int i = 0; !ret && i < 2; i++)
		if (dp_super_is_whole(&half[i]))
			ret = check_patch_half(walk, 1, &half[i]);
	return ret;
}

/* Lost: no whole half, or more than one change behind the page. */
static bool check_copy_is_lost(const struct dp_super_verdict *verdict)
{
	return verdict->page && (!verdict->copy ||
				 verdict->copy->sequence + 1 <
				 verdict->page->sequence);
}

static int check_pages(struct walk *walk, const struct dp_super_halves *halves,
		       const struct dp_super_verdict *verdict)
{
	static const char *const name[2] = { "superblock", "superblock's copy" };
	bool lost[2] = { verdict->page_lost, check_copy_is_lost(verdict) };
	int ret = 0;

	for (int i = 0; !ret && i < 2; i++) {
		struct daxpin_finding finding = check_found_page(walk, i);

		if (halves->error[i]) {
			ret = dp_report_finding(walk->report, finding,
						"segment %u: the %s cannot be read",
						finding.segment, name[i]);
			continue;
		}
		if (!lost[i] || halves->error[!i])
			continue;
		finding.cure = DAXPIN_CURE_DERIVED;
		finding.remedy = i ? "write it from the page" :
				     "write it from its copy";
		ret = dp_report_finding(walk->report, finding,
					"segment %u: the %s is damaged",
					finding.segment, name[i]);
		if (ret > 0)
			ret = i ? check_patch_copy(walk, halves->half[0]) :
				  check_patch_page(walk, verdict->newest);
	}
	return ret;
}

#define NUMBER_SIZE	24

static const char *check_sequence_of(const struct dp_super *super,
				     char text[NUMBER_SIZE])
{
	if (!super)
		return "none";
	snprintf(text, NUMBER_SIZE, "%llu",
		 (unsigned long long)super->sequence);
	return text;
}

static int check_note_pages(struct walk *walk,
			    const struct dp_super_halves *halves,
			    const struct dp_super_verdict *verdict)
{
	struct daxpin_finding finding = check_found_page(walk, 0);
	char page[NUMBER_SIZE], copy[NUMBER_SIZE];
	int whole = 0;

	for (int i = 0; i < 4; i++)
		whole += dp_super_is_whole(&halves->half[i / 2][i % 2]);
	finding.severity = DAXPIN_SEVERITY_NOTE;
	return dp_report_finding(
		walk->report, finding,
		"superblock: sequence %s, its copy: %s; %d of 4 halves are whole, one each is enough",
		check_sequence_of(verdict->page, page),
		check_sequence_of(verdict->copy, copy), whole);
}

/* No half ever was a superblock: report the remains of a pool, if there are any. */
static int check_remains(struct walk *walk)
{
	const struct dp_pool *pool = &walk->image->pool;
	const struct dp_remains_place place = {
		&pool->source, &pool->badblocks, dp_file_fd(&pool->first), NULL,
		walk->image->policy };
	char sentence[ERRMSG_SIZE];
	const struct dp_errmsg inner = { sentence, sizeof(sentence) };
	struct dp_remains remains;
	int ret = dp_remains_find(&place, &remains, walk->errmsg);

	if (ret)
		return ret;
	if (!remains.kind)
		return dp_fail(walk->errmsg, -EMEDIUMTYPE,
			       "%s holds no daxpin pool", pool->source.path);
	ret = dp_remains_errno(&remains);
	if (ret == -EMEDIUMTYPE)
		return dp_remains_fail(&pool->source, &remains, ret, "",
				       walk->errmsg);
	dp_remains_fail(&pool->source, &remains, ret, "", &inner);
	return dp_report_finding(walk->report, check_found_page(walk, 0), "%s",
				 sentence);
}

/* No half of the superblock is whole, and nothing else identifies a pool. */
static int check_no_super(struct walk *walk,
			  const struct dp_super_halves *halves,
			  const struct dp_super_verdict *verdict)
{
	if (verdict->never)
		return check_remains(walk);
	if (dp_remains_are_none(&walk->image->view))
		return dp_fail(walk->errmsg, -EMEDIUMTYPE,
			       "%s: a create was cut short before it had begun: create again",
			       walk->image->pool.source.path);
	return dp_report_finding(
		walk->report, check_found_page(walk, 0),
		"segment 0: no half of the superblock is whole%s, and so geometry, epoch and owner are lost",
		halves->error[0] || halves->error[1] ? " or can be read" : "");
}

static int check_note_owner(struct walk *walk)
{
	struct daxpin_finding finding = check_found(walk,
						    DAXPIN_STRUCTURE_OWNER,
						    DAXPIN_SEVERITY_NOTE);
	const struct dp_super *super = &walk->super;

	walk->report->summary.unclean = dp_super_is_unclean(super);
	if (!dp_super_is_unclean(super))
		return 0;
	finding.offset = offsetof(struct dp_super, owner);
	finding.length = sizeof(super->owner);
	finding.cure = DAXPIN_CURE_OPEN;
	if (super->flags & DP_SUPER_OWNER_UNKNOWN) {
		finding.remedy = "the next open for writing waits until no verbs context is left on the machine";
		return dp_report_finding(walk->report, finding,
					 "the last owner's record was lost with the superblock");
	}
	finding.remedy = dp_owner_has_rdma(&super->owner) ?
		"the next open for writing waits for its RDMA" :
		"the next open for writing takes over";
	return dp_report_finding(walk->report, finding,
				 "the last owner, process %u with %u verbs context(s) on record, did not close the pool",
				 super->owner.pid, super->owner.contexts);
}

/* Report a dirty shutdown: bytes in extents may be missing, which no check of metadata
 * detects. */
static int check_note_shutdown(struct walk *walk)
{
	const struct dp_pool *pool = &walk->image->pool;
	char counts[DP_FLUSHED_TEXT_SIZE];
	struct dp_flushed flushed;

	dp_flushed_check(&flushed, &pool->source, dp_file_fd(&pool->first),
			 &walk->super, false, NULL);
	if (flushed.dirty != DP_YES)
		return 0;
	dp_flushed_counts(&flushed, &walk->super, counts);
	return dp_report_finding(walk->report,
				 check_found(walk, DAXPIN_STRUCTURE_DATA,
					     DAXPIN_SEVERITY_NOTE),
				 "power failed while the pool was open, before all that was durable had reached its NVDIMMs (%s): bytes of any extent may be missing",
				 counts);
}

/* Check the contents of a whole superblock. walk->complete is set if they are valid. */
static int check_sense(struct walk *walk)
{
	const struct dp_pool *pool = &walk->image->pool;
	char sentence[ERRMSG_SIZE];
	struct dp_errmsg inner = { sentence, sizeof(sentence) };
	int ret = dp_pool_check_super(pool, &walk->super, &inner);

	if (ret && ret != -EUCLEAN)
		return dp_fail(walk->errmsg, ret, "%s", sentence);
	if (!ret)
		ret = dp_pool_check_device(pool, &walk->super, &inner);
	walk->complete = !ret;
	return ret ? dp_report_finding(walk->report, check_found_page(walk, 0),
				       "%s", sentence) :
		     0;
}

static void check_summarize(struct walk *walk)
{
	struct daxpin_check_summary *summary = &walk->report->summary;
	const struct dp_super *super = &walk->super;

	summary->segments = super->segments;
	summary->segment_size = super->segment_size;
	summary->media_bytes = super->pool_size;
	summary->epoch = super->epoch;
	memcpy(summary->uuid, super->uuid, sizeof(summary->uuid));
	if (walk->report->patches)
		memcpy(walk->report->patches->uuid, super->uuid, 16);
}

/* Segment 0's superblock, which is the pool's. */
static int check_first_super(struct walk *walk)
{
	struct dp_super_halves halves;
	struct dp_super_verdict verdict;
	int ret;

	dp_image_super(walk->image, &halves);
	verdict = dp_super_judge(&halves);
	if (!verdict.newest)
		return check_no_super(walk, &halves, &verdict);
	ret = dp_super_check_version(verdict.newest, walk->errmsg);
	if (ret)
		return ret;
	walk->super = *verdict.newest;
	if (verdict.page_lost)
		walk->super.flags |= DP_SUPER_OWNER_UNKNOWN;
	ret = dp_pool_check_uuid(&walk->image->pool, &walk->super,
				 walk->image->uuid, walk->errmsg);
	if (!ret)
		ret = check_sense(walk);
	if (ret || !walk->complete)
		return ret;
	check_summarize(walk);
	ret = check_note_pages(walk, &halves, &verdict);
	if (!ret)
		ret = check_pages(walk, &halves, &verdict);
	if (!ret)
		ret = check_note_owner(walk);
	return ret ? ret : check_note_shutdown(walk);
}

/* ------------------------------- are all segments of one open, in their files */

/* Count the superblock of the present segment. *ret_ours: true if it is of the last
 * open. */
static int check_stamp(struct walk *walk, const struct dp_super *super,
		       bool *ret_ours)
{
	struct together *together = &walk->together;
	uint32_t index = walk->image->index;
	struct dp_file_id file;
	int ret = dp_source_file_id(&walk->image->pool.source,
				    walk->image->segment_fd, &file);

	if (ret)
		return dp_fail(walk->errmsg, ret, "segment %u: %s", index,
			       strerror(-ret));
	together->stamp[index] = dp_stamp_of(super, &file);
	if (index)
		dp_stamp_count(&together->tally, &walk->super, index,
			       &together->stamp[index]);
	*ret_ours = !index || dp_stamp_fit(&walk->super,
					   &together->stamp[index]) ==
				      DP_STAMP_FITS;
	if (*ret_ours)
		dp_stamp_count_file(&together->files, &walk->super, index,
				    &together->stamp[index]);
	return 0;
}

static int check_report_file(struct walk *walk, uint32_t segment,
			     const char *sentence)
{
	struct daxpin_finding finding = check_found(walk,
						    DAXPIN_STRUCTURE_FILE,
						    DAXPIN_SEVERITY_DAMAGE);

	finding.segment = segment;
	return dp_report_finding(walk->report, finding, "%s", sentence);
}

/* Report each segment that is of another open. A segment without a superblock was
 * reported before. */
static int check_report_times(struct walk *walk)
{
	struct dp_stamp_tally tally = walk->together.tally;
	char sentence[ERRMSG_SIZE];
	const struct dp_errmsg inner = { sentence, sizeof(sentence) };
	int ret = 0;

	for (uint32_t i = tally.mismatch; !ret && tally.mismatches &&
	     i < walk->super.segments; i++) {
		const struct dp_stamp *stamp = &walk->together.stamp[i];

		if (!stamp->seen || dp_stamp_fit(&walk->super, stamp) ==
				    DP_STAMP_FITS)
			continue;
		tally.mismatch = i;
		tally.of_mismatch = *stamp;
		dp_stamp_refuse(&tally, &walk->super,
				walk->image->pool.source.path, "", &inner);
		if (dp_stamp_first_differs(&tally, &walk->super))
			return check_report_file(walk, 0, sentence);
		ret = check_report_file(walk, i, sentence);
	}
	return ret;
}

static int check_report_files(struct walk *walk)
{
	const struct dp_stamp_files *files = &walk->together.files;
	const char *path = walk->image->pool.source.path;
	struct daxpin_finding finding = check_found(walk,
						    DAXPIN_STRUCTURE_FILE,
						    DAXPIN_SEVERITY_NOTE);
	char sentence[ERRMSG_SIZE];
	const struct dp_errmsg inner = { sentence, sizeof(sentence) };

	if (dp_stamp_refuse_mixture(files, path, "", &inner))
		return check_report_file(walk, files->copy, sentence);
	if (!dp_stamp_is_copy(files))
		return 0;
	if (dp_super_is_unclean(&walk->super)) {
		dp_stamp_refuse_copy(path, "", &inner);
		return check_report_file(walk, 0, sentence);
	}
	finding.segment = 0;
	finding.cure = DAXPIN_CURE_OPEN;
	finding.remedy = "the next open for writing records the new files";
	return dp_report_finding(walk->report, finding,
				 "%s is a copy of a pool that was closed", path);
}

/*
 * Make a superblock for the present segment that fits segment 0's: as the last open
 * that was not interrupted has left it. If the pool is a copy, it records no file, and
 * so the segment counts as a copy like the others.
 */
static int check_make_super(struct walk *walk, uint64_t size,
			    struct dp_super *ret_super)
{
	const struct dp_super *first = &walk->super;
	bool opening = first->flags & DP_SUPER_OPENING;
	struct dp_super super = {
		.magic = DP_MAGIC, .version = DP_VERSION, .sequence = 1,
		.flags = first->flags & DP_SUPER_UNCLEAN,
		.epoch = opening ? first->before_epoch : first->epoch,
		.open_id = opening ? first->before_open_id : first->open_id,
		.segment_size = first->segment_size, .size = size,
		.index = walk->image->index,
	};
	int ret = 0;

	memcpy(super.uuid, first->uuid, sizeof(super.uuid));
	if (walk->together.files.as_recorded)
		ret = dp_source_file_id(&walk->image->pool.source,
					walk->image->segment_fd, &super.file);
	dp_super_seal(&super);
	*ret_super = super;
	return ret;
}

/*
 * The superblock of a later segment and its copy are both lost. For a slice of a device
 * they can be derived from segment 0's. For a file it is unknown whether it is of the
 * last open, so the user decides.
 */
static int check_derive_super(struct walk *walk, uint64_t size)
{
	struct daxpin_finding finding = check_found_page(walk, 0);
	bool device = walk->image->pool.source.kind == DP_SOURCE_DEVDAX;
	struct dp_super super;
	int ret;

	if (!dp_audit_recognizes(&walk->audit, size))
		return dp_report_finding(walk->report, finding,
					 "segment %u: neither superblock nor table is this pool's",
					 finding.segment);
	finding.cure = device ? DAXPIN_CURE_DERIVED : DAXPIN_CURE_LOSSY;
	finding.remedy = device ? "write both from segment 0's" :
		"write both from segment 0's: no if the file may come from a backup, since nothing else says from when it is";
	ret = dp_report_finding(walk->report, finding,
				"segment %u: the superblock and its copy are damaged",
				finding.segment);
	if (ret <= 0)
		return ret;
	ret = check_make_super(walk, size, &super);
	if (!ret)
		ret = check_patch_half(walk, 0, &super);
	return ret ? ret : check_patch_half(walk, 1, &super);
}

/* Check the superblock of a later segment. *ret_ours: false if the segment is not of
 * this pool or not of its last open, so that its table must not be checked. */
static int check_later_super(struct walk *walk, uint64_t size, bool *ret_ours)
{
	struct dp_super_halves halves;
	struct dp_super_verdict verdict;
	int ret;

	dp_image_super(walk->image, &halves);
	verdict = dp_super_judge(&halves);
	*ret_ours = true;
	if (!verdict.newest && (halves.error[0] || halves.error[1]))
		return check_pages(walk, &halves, &verdict);
	if (!verdict.newest) {
		*ret_ours = dp_audit_recognizes(&walk->audit, size);
		return check_derive_super(walk, size);
	}
	if (verdict.newest->version == DP_VERSION &&
	    verdict.newest->index == walk->image->index &&
	    verdict.newest->size == size &&
	    !memcmp(verdict.newest->uuid, walk->super.uuid, 16)) {
		ret = check_stamp(walk, verdict.newest, ret_ours);
		return ret ? ret : check_pages(walk, &halves, &verdict);
	}
	*ret_ours = false;
	return dp_report_finding(
		walk->report, check_found_page(walk, 0),
		"segment %u is a segment of another pool, or another segment of this one: put the right file in its place",
		walk->image->index);
}

/* ---------------------------------------------------------------- segments */

/* Load a segment. If its file is missing, too short or not acceptable, that is reported
 * as a finding, and *ret_exists is false. */
static int check_look_at(struct walk *walk, uint32_t index, uint64_t size,
			 bool *ret_exists)
{
	char sentence[ERRMSG_SIZE] = "";
	struct dp_errmsg inner = { sentence, sizeof(sentence) };
	int ret = dp_image_segment(walk->image, index, size, &inner);

	*ret_exists = !ret;
	if (!ret)
		return 0;
	if (ret != -ENOENT && ret != -EUCLEAN && ret != -EOPNOTSUPP &&
	    ret != -EPERM && ret != -EMEDIUMTYPE)
		return dp_fail(walk->errmsg, ret, "%s", sentence[0] ? sentence :
			       strerror(-ret));
	return dp_report_finding(walk->report,
				 check_found(walk, DAXPIN_STRUCTURE_FILE,
					     DAXPIN_SEVERITY_DAMAGE),
				 "%s", sentence);
}

static uint64_t check_chunks_with(const struct walk *walk, uint64_t size,
				  uint8_t flag)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < size >> DP_CHUNK_SHIFT; i++)
		count += !!(walk->image->chunk[i] & flag);
	return count;
}

/* W8: holes and shared blocks of the segment's file are not damage. To be called after
 * the check of its table, which marks the holes that have extents as WANTED. */
static int check_note_blocks(struct walk *walk, uint64_t size)
{
	struct daxpin_finding finding = check_found(walk, DAXPIN_STRUCTURE_FILE,
						    DAXPIN_SEVERITY_NOTE);
	const struct dp_geometry *geometry = &walk->image->pool.geometry;
	bool fsdax = walk->image->pool.source.kind == DP_SOURCE_FSDAX;
	uint64_t shared = check_chunks_with(walk, size, DP_CHUNK_SHARED);
	uint64_t sparse = check_chunks_with(walk, size, DP_CHUNK_WANTED);
	int ret = 0;

	for (uint32_t i = 0; i < dp_geometry_meta_chunks(geometry); i++)
		sparse += !(walk->image->chunk[i] & DP_CHUNK_BACKED);
	if (sparse) {
		finding.cure = DAXPIN_CURE_OPEN;
		finding.remedy = "the next open for writing allocates them, and loses nothing";
		ret = dp_report_finding(walk->report, finding,
					"segment %u: %llu MiB with metadata or extents are holes of its file, at least in part, as a sparse copy leaves them: they read as zeroes",
					finding.segment,
					(unsigned long long)sparse << 1);
	}
	if (ret < 0 || !shared)
		return ret;
	finding.cure = fsdax ? DAXPIN_CURE_OPEN : DAXPIN_CURE_NONE;
	finding.remedy = fsdax ? "the next open for writing gives it blocks of its own, and loses nothing" :
				 NULL;
	return dp_report_finding(walk->report, finding,
				 "segment %u: %llu MiB of its file share blocks with another file (cp makes such copies by itself): a store there needs new space",
				 finding.segment, (unsigned long long)shared << 1);
}

static int check_note_defrag(struct walk *walk)
{
	struct dp_image *image = walk->image;
	struct daxpin_finding finding = check_found(walk, DAXPIN_STRUCTURE_FILE,
						    DAXPIN_SEVERITY_NOTE);

	if (dp_defrag_may_move(&image->pool.source, image->segment_fd) !=
	    DP_YES)
		return 0;
	finding.cure = DAXPIN_CURE_OPEN;
	finding.remedy = "the next open for writing by its owner marks the file, and so does xfs_io -c 'chattr +f'";
	return dp_report_finding(walk->report, finding,
				 "segment %u: xfs_fsr may move the blocks of its file while hardware writes there, and such writes are lost",
				 finding.segment);
}

static int check_segment(struct walk *walk, uint32_t index)
{
	uint64_t size = dp_geometry_size(&walk->image->pool.geometry, index);
	bool exists, ours = true;
	int ret = check_look_at(walk, index, size, &exists);

	if (ret)
		return ret;
	if (exists && index)
		ret = check_later_super(walk, size, &ours);
	else if (exists)
		ret = check_stamp(walk, &walk->super, &ours);
	if (!ret && exists && !index)
		ret = dp_audit_lanes(&walk->audit);
	if (!ret && exists && !index)
		ret = dp_audit_root_slots(&walk->audit);
	if (ret)
		return ret;
	if (!exists || !ours) {
		dp_audit_skip_table(&walk->audit, index);
		return 0;
	}
	ret = dp_audit_table(&walk->audit, size);
	if (!ret)
		ret = check_note_blocks(walk, size);
	return ret ? ret : check_note_defrag(walk);
}

/* The new files of a grow. The pool is locked, so no grow is under way. */
struct unfinished {
	uint32_t files, first;
};

static int check_count_unfinished(uint32_t index, void *arg)
{
	struct unfinished *unfinished = arg;

	if (!(index & DP_SOURCE_NEW))
		return 0;
	index &= ~DP_SOURCE_NEW;
	if (!unfinished->files++ || index < unfinished->first)
		unfinished->first = index;
	return 0;
}

static int check_note_unfinished(struct walk *walk)
{
	const struct dp_source *source = &walk->image->pool.source;
	struct daxpin_finding finding = check_found(walk, DAXPIN_STRUCTURE_FILE,
						    DAXPIN_SEVERITY_NOTE);
	struct unfinished unfinished = { 0, 0 };
	char name[DP_SEGMENT_NAME_SIZE];
	int ret = dp_source_each_extra(source, walk->super.segments,
				       check_count_unfinished, &unfinished);

	if (ret || !unfinished.files)
		return ret;
	dp_source_segment_name(unfinished.first | DP_SOURCE_NEW, name);
	finding.segment = unfinished.first;
	return dp_report_finding(walk->report, finding,
				 "a grow did not finish, and has left %u file(s), the first of which is %s: they have no data, and the next open for writing removes them",
				 unfinished.files, name);
}

static int check_files(struct walk *walk)
{
	int extra = dp_source_extra_files(&walk->image->pool.source,
					       walk->super.segments);
	struct daxpin_finding finding = check_found(walk, DAXPIN_STRUCTURE_FILE,
						    DAXPIN_SEVERITY_NOTE);
	int ret;

	if (extra < 0)
		return dp_fail(walk->errmsg, extra,
			       "the files of %s cannot be listed: %s",
			       walk->image->pool.source.path, strerror(-extra));
	walk->report->summary.ignored_files = extra;
	finding.segment = walk->super.segments;
	ret = extra ? dp_report_finding(walk->report, finding,
					"%d segment file(s) that are not the pool's are ignored: the next open for writing removes what a grow or shrink that did not finish has left; move others elsewhere",
					extra) : 0;
	return ret ? ret : check_note_unfinished(walk);
}

/* Check each segment, and then whether their superblocks are of one open. */
static int check_segments(struct walk *walk)
{
	int ret = check_files(walk);

	walk->together.stamp = calloc(walk->super.segments,
				      sizeof(*walk->together.stamp));
	if (!walk->together.stamp)
		return -ENOMEM;
	for (uint32_t i = 0; !ret && i < walk->super.segments; i++)
		ret = check_segment(walk, i);
	if (!ret)
		ret = check_report_times(walk);
	if (!ret)
		ret = check_report_files(walk);
	free(walk->together.stamp);
	return ret ? ret : dp_audit_roots(&walk->audit);
}

int dp_check(struct dp_report *report, const struct dp_errmsg *errmsg)
{
	struct walk walk = {
		.report = report, .image = report->image, .errmsg = errmsg,
	};
	bool exists;
	int ret;

	report->summary.source = walk.image->pool.source.kind;
	ret = check_look_at(&walk, 0, 0, &exists);
	if (!ret && exists)
		ret = check_first_super(&walk);
	if (ret || !walk.complete)
		return ret;
	walk.image->pool.geometry = dp_geometry_of_pool(&walk.super);
	dp_audit_begin(&walk.audit, report, &walk.super, errmsg);
	ret = check_segments(&walk);
	dp_audit_end(&walk.audit);
	return ret;
}
