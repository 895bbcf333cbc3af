/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Roots: first each slot is checked by itself. When all tables were read, the roots
 * whose extents do not exist are reported.
 */
#include <stdlib.h>
#include "check/audit.h"

/* Copy a name for a message, with ? for bytes that cannot be printed: the medium may
 * have any bytes there. */
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
	const struct dp_root_word nothing = { 0, 0, 0 };
	uint64_t none = dp_root_encode(audit->seed, slot, nothing);
	char text[DP_ROOT_NAME_MAX];
	int ret;

	ret = dp_report_finding(audit->report, (struct daxpin_finding) {
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
		return clear_root(audit, slot, "its word fails its check");
	if (!word.block)
		return 0;
	if (root->name_check != dp_root_name_check(audit->seed, slot,
						   root->name) ||
	    !root->name[0] || root->name[DP_ROOT_NAME_MAX - 1])
		return clear_root(audit, slot, "the name fails its check");
	audit->root[audit->roots++] = (struct dp_audit_root) {
		.block = word.block, .gen = word.gen, .slot = slot,
		.object = word.object,
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
		return dp_report_finding(audit->report, (struct daxpin_finding) {
				.structure = DAXPIN_STRUCTURE_ROOT,
				.severity = DAXPIN_SEVERITY_DAMAGE,
				.offset = at, .length = DP_BLOCK_SIZE,
			}, "a page of the root directory cannot be read");
	for (uint32_t i = 0; !ret &&
	     i < DP_BLOCK_SIZE / sizeof(struct dp_root); i++)
		ret = audit_root(audit, slot + i);
	return ret;
}

int dp_audit_root_slots(struct dp_audit *audit)
{
	int ret = 0;

	assert(!audit->report->image->index && !audit->roots);
	for (uint64_t at = DP_ROOTS_OFFSET; !ret && at < DP_LANES_OFFSET;
	     at += DP_BLOCK_SIZE)
		ret = audit_root_page(audit, at);
	qsort(audit->root, audit->roots, sizeof(audit->root[0]),
	      compare_roots);
	return ret;
}

/* The index of the first root that names the block or one behind it. */
static uint32_t roots_from(const struct dp_audit *audit, uint64_t block)
{
	uint32_t low = 0, high = audit->roots;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (audit->root[middle].block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct dp_audit_root *dp_audit_root_of(struct dp_audit *audit, uint64_t block)
{
	uint32_t index = roots_from(audit, block);

	return index < audit->roots && audit->root[index].block == block ?
	       &audit->root[index] : NULL;
}

void dp_audit_mark_roots(struct dp_audit *audit, uint64_t block, uint32_t gen)
{
	struct dp_audit_root *end = audit->root + audit->roots, *root;

	for (root = dp_audit_root_of(audit, block);
	     root && root < end && root->block == block; root++)
		root->found |= !root->object &&
			       root->gen == (gen & DP_ROOT_GEN_MASK);
}

void dp_audit_mark_object_roots(struct dp_audit *audit, uint64_t addr, uint64_t size,
				bool (*fn)(void *arg, uint64_t addr), void *arg)
{
	for (uint32_t i = roots_from(audit, addr >> DP_BLOCK_SHIFT);
	     i < audit->roots &&
	     audit->root[i].block < (addr + size) >> DP_BLOCK_SHIFT; i++) {
		struct dp_audit_root *root = &audit->root[i];

		root->found |= root->object && fn(arg, root->object);
	}
}

void dp_audit_skip_table(struct dp_audit *audit, uint32_t index)
{
	uint64_t per_segment = audit->super->segment_size >> DP_BLOCK_SHIFT;

	for (uint32_t i = 0; i < audit->roots; i++)
		audit->root[i].found |= audit->root[i].block / per_segment ==
					index;
}

static int report_stale(struct dp_audit *audit, const struct dp_audit_root *root)
{
	const struct daxpin_finding finding = {
		.structure = DAXPIN_STRUCTURE_ROOT,
		.severity = DAXPIN_SEVERITY_NOTE,
		.offset = DP_ROOTS_OFFSET + root->slot * sizeof(struct dp_root),
		.length = sizeof(struct dp_root),
	};

	audit->report->summary.roots_stale++;
	if (root->block == DP_ROOT_GONE)
		return dp_report_finding(audit->report, finding,
					 "root slot %u is stale: what it named is gone",
					 root->slot);
	if (root->object)
		return dp_report_finding(audit->report, finding,
					 "root slot %u is stale: no object at 0x%llx, which it names, is live",
					 root->slot, (unsigned long long)root->object);
	return dp_report_finding(audit->report, finding,
				 "root slot %u is stale: the extent at 0x%llx that it names is gone",
				 root->slot,
				 (unsigned long long)root->block << DP_BLOCK_SHIFT);
}

int dp_audit_roots(struct dp_audit *audit)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < audit->roots; i++)
		if (!audit->root[i].found)
			ret = report_stale(audit, &audit->root[i]);
	return ret;
}
