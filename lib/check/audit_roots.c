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

/* The first root that names the block, or NULL. */
struct dp_audit_root *dp_audit_root_of(struct dp_audit *audit, uint64_t block)
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

void dp_audit_mark_roots(struct dp_audit *audit, uint64_t block, uint32_t gen)
{
	struct dp_audit_root *end = audit->root + audit->roots, *root;

	for (root = dp_audit_root_of(audit, block);
	     root && root < end && root->block == block; root++)
		root->found |= root->gen == (gen & DP_ROOT_GEN_MASK);
}

void dp_audit_skip_table(struct dp_audit *audit, uint32_t index)
{
	uint64_t per_segment = audit->super->segment_size >> DP_BLOCK_SHIFT;

	for (uint32_t i = 0; i < audit->roots; i++)
		audit->root[i].found |= audit->root[i].block / per_segment ==
					index;
}

int dp_audit_roots(struct dp_audit *audit)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < audit->roots; i++) {
		const struct dp_audit_root *root = &audit->root[i];

		if (root->found)
			continue;
		audit->report->summary.roots_stale++;
		ret = dp_report_finding(audit->report, (struct daxpin_finding) {
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
