/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of slabs, which tell the live objects. How damage is repaired:
 *
 *  - Of the objects of a word that fails its check it is unknown which are live. All of
 *    them become live: an object that was live keeps its bytes, and one that was free
 *    is lost as space until the program frees it.
 *  - Bits of objects that the slab does not have become 0.
 */
#include <errno.h>
#include "check/audit.h"

/* The slab that is checked. */
struct slab {
	struct dp_audit *audit;
	struct dp_slab_shape shape;
	uint32_t block;			/* in the segment */
	uint64_t offset;		/* in the segment */
	uint64_t addr;			/* in the pool */
	/* As they will be when the open lanes are applied, and what is live of them.
	 * All objects of a damaged word count as live. */
	uint64_t raw[DP_SLAB_WORDS_MAX];
	uint64_t live[DP_SLAB_WORDS_MAX];
};

static struct daxpin_finding slab_finding(const struct slab *slab, uint32_t begin,
					  uint32_t end)
{
	return (struct daxpin_finding) {
		.structure = DAXPIN_STRUCTURE_SLAB,
		.severity = DAXPIN_SEVERITY_DAMAGE,
		.segment = slab->audit->table.segment,
		.offset = slab->offset + dp_slab_word_offset(begin),
		.length = dp_slab_word_offset(end - begin),
	};
}

/* Does the word pass its check? Sets its live objects. */
static bool slab_decode(struct slab *slab, uint32_t word)
{
	uint64_t at = slab->addr + dp_slab_word_offset(word);
	bool right = dp_slab_decode(slab->audit->seed, at, slab->raw[word],
				    &slab->live[word]);

	if (!right)
		slab->live[word] = dp_slab_word_mask(&slab->shape, word);
	return right;
}

static int slab_patch(struct slab *slab, uint32_t begin, uint32_t end)
{
	int ret = 0;

	for (uint32_t i = begin; !ret && i < end; i++) {
		uint64_t at = dp_slab_word_offset(i);
		uint64_t raw = dp_slab_encode(slab->audit->seed, slab->addr + at,
					      slab->live[i]);

		ret = dp_report_patch(slab->audit->report, slab->offset + at, &raw,
				      sizeof(raw));
	}
	return ret;
}

/* Words [begin, end) fail their checks. */
static int slab_report_words(struct slab *slab, uint32_t begin, uint32_t end)
{
	struct daxpin_finding finding = slab_finding(slab, begin, end);
	uint32_t first = begin * DP_SLAB_WORD_OBJECTS;
	uint32_t last = dp_min(end * DP_SLAB_WORD_OBJECTS, slab->shape.objects) - 1;
	int ret;

	finding.cure = DAXPIN_CURE_LOSSY;
	finding.remedy = "count all these objects as live: the space of those that were free is lost until the program frees them";
	ret = dp_report_finding(slab->audit->report, finding,
				"segment %u, slab at block %u, objects %u to %u of %u bytes: their bits fail the check, and so it is unknown which of these objects are live",
				finding.segment, slab->block, first, last,
				slab->shape.size);
	return ret > 0 ? slab_patch(slab, begin, end) : ret;
}

/* Report each run of words that fail their checks. */
static int slab_check_words(struct slab *slab)
{
	uint32_t begin = 0;
	int ret = 0;

	for (uint32_t i = 0; !ret && i <= slab->shape.words; i++) {
		if (i < slab->shape.words && !slab_decode(slab, i))
			continue;
		if (begin < i)
			ret = slab_report_words(slab, begin, i);
		begin = i + 1;
	}
	return ret;
}

/* Only the last word can have bits of objects that the slab does not have. */
static int slab_check_end(struct slab *slab)
{
	uint32_t last = slab->shape.words - 1;
	uint64_t mask = dp_slab_word_mask(&slab->shape, last);
	struct daxpin_finding finding = slab_finding(slab, last, last + 1);
	int ret;

	if (!(slab->live[last] & ~mask))
		return 0;
	slab->live[last] &= mask;
	finding.cure = DAXPIN_CURE_DERIVED;
	finding.remedy = "clear these bits: no object belongs to them";
	ret = dp_report_finding(slab->audit->report, finding,
				"segment %u, slab at block %u: it has %u objects of %u bytes, and bits of others are set",
				finding.segment, slab->block, slab->shape.objects,
				slab->shape.size);
	return ret > 0 ? slab_patch(slab, last, last + 1) : ret;
}

/* The words are lost: a repair stores, and a store does not repair a bad block. */
static int slab_report_unreadable(struct slab *slab)
{
	struct daxpin_finding finding = slab_finding(slab, 0, slab->shape.words);

	for (uint32_t i = 0; i < slab->shape.words; i++)
		slab->live[i] = dp_slab_word_mask(&slab->shape, i);
	return dp_report_finding(slab->audit->report, finding,
				 "segment %u, slab at block %u: which of its %u objects of %u bytes are live cannot be read",
				 finding.segment, slab->block, slab->shape.objects,
				 slab->shape.size);
}

static bool slab_is_live(void *arg, uint64_t addr)
{
	const struct slab *slab = arg;
	uint64_t offset = addr - slab->addr;
	uint32_t object;

	if (offset < slab->shape.first ||
	    (offset - slab->shape.first) % slab->shape.size)
		return false;
	object = (offset - slab->shape.first) / slab->shape.size;
	return object < slab->shape.objects &&
	       slab->live[object / DP_SLAB_WORD_OBJECTS] >>
			       object % DP_SLAB_WORD_OBJECTS & 1;
}

static void slab_count(struct slab *slab)
{
	struct daxpin_check_summary *summary = &slab->audit->report->summary;

	summary->slabs++;
	for (uint32_t i = 0; i < slab->shape.words; i++)
		summary->objects += __builtin_popcountll(slab->live[i]);
}

int dp_audit_slab(struct dp_audit *audit, uint32_t block, uint32_t class)
{
	struct slab slab = {
		.audit = audit, .shape = dp_slab_shape(class), .block = block,
		.offset = (uint64_t)block << DP_BLOCK_SHIFT,
		.addr = (audit->table.first_block + block) << DP_BLOCK_SHIFT,
	};
	uint64_t size = dp_slab_word_offset(slab.shape.words);
	int ret = dp_badblocks_read(&audit->report->image->view, slab.offset, slab.raw,
				    size);

	if (ret && ret != -EIO)
		return ret;
	if (ret) {
		ret = slab_report_unreadable(&slab);
	} else {
		dp_lanes_patch(&audit->lanes, slab.addr, size, (char *)slab.raw);
		ret = slab_check_words(&slab);
		if (!ret)
			ret = slab_check_end(&slab);
	}
	slab_count(&slab);
	dp_audit_mark_object_roots(audit, slab.addr, DP_SLAB_SIZE, slab_is_live, &slab);
	return ret;
}
