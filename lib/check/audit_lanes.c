/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Redo lanes: what each holds, and what the words of an open one may change.
 *
 * A torn lane was never committed, so it may be emptied. Of a damaged one
 * nothing can be derived: to empty it gives up the batch that it may hold.
 */
#include "check/audit.h"
#include "media/root.h"

#define HEADER_SIZE	offsetof(struct dp_lane, zero_1)

static bool is_word(const struct dp_audit *audit,
		    const struct dp_lane_entry *entry)
{
	const struct dp_roots roots = { .seed = audit->seed };
	uint64_t index = entry->addr / audit->super->segment_size;
	uint64_t offset = entry->addr % audit->super->segment_size, size;
	struct dp_table table;

	if (entry->addr % 8 || index >= audit->super->segments)
		return false;
	size = dp_geometry_size(&audit->geometry, index);
	table = dp_audit_table_of(audit, index, size);
	if (dp_table_has(&table, offset))
		return dp_table_accepts(&table, offset, entry->value);
	if (offset < dp_geometry_meta_size(&audit->geometry))
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

/*
 * The sequence number of the empty header. For a torn lane it is that of the torn
 * batch, as in dp_lanes_recover(); otherwise it is neither `sequence` nor `done` of the
 * lane.
 */
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

static int audit_report_lane(struct dp_audit *audit, uint32_t index,
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
		return dp_report_finding(report, finding,
					 "redo lane %u holds a batch that was never committed: normal after a power cut",
					 index);
	}
	if (state == DP_LANE_OPEN && !nonsense) {
		report->summary.lanes_open++;
		finding.cure = DAXPIN_CURE_OPEN;
		finding.remedy = "the next open for writing completes it";
		return dp_report_finding(report, finding,
					 "redo lane %u holds a committed batch of %u changes",
					 index, lane->count);
	}
	finding.severity = DAXPIN_SEVERITY_DAMAGE;
	finding.cure = DAXPIN_CURE_LOSSY;
	finding.remedy = "empty it: if it holds a batch, that is given up";
	if (nonsense)
		return dp_report_finding(report, finding,
					 "redo lane %u holds a batch that changes 0x%llx, where no batch can change a word",
					 index, (unsigned long long)nonsense->addr);
	return dp_report_finding(report, finding,
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
		return dp_report_finding(audit->report, (struct daxpin_finding) {
				.structure = DAXPIN_STRUCTURE_LANE,
				.severity = DAXPIN_SEVERITY_DAMAGE,
				.offset = at, .length = sizeof(*lane),
			}, "redo lane %u cannot be read", index);
	state = dp_lane_judge(audit->seed, index, lane);
	if (state == DP_LANE_CLOSED)
		return 0;
	if (state == DP_LANE_OPEN)
		nonsense = find_nonsense(audit, lane);
	ret = audit_report_lane(audit, index, lane, state, nonsense);
	if (ret > 0)
		ret = patch_empty(audit, index, lane);
	/* dp_lanes_load() gets only the lanes that a repair or an open will replay. */
	if (state != DP_LANE_OPEN || nonsense)
		memset(lane, 0, sizeof(*lane));
	return ret;
}

void dp_audit_apply_lanes(struct dp_audit *audit)
{
	struct dp_image *image = audit->report->image;

	dp_lanes_patch(&audit->lanes, image->index *
		       audit->super->segment_size,
		       dp_geometry_meta_size(&audit->geometry), image->copy);
}

int dp_audit_lanes(struct dp_audit *audit)
{
	struct dp_image *image = audit->report->image;
	int ret = 0;

	assert(!image->index && !audit->roots);
	for (uint32_t i = 0; !ret && i < DP_LANES; i++)
		ret = audit_lane(audit, i);
	audit->copy = (struct dp_badblocks_view) {
		.badblocks = &audit->no_bad, .base = image->copy, .fd = -1 };
	dp_lanes_init(&audit->lanes, image->copy, &audit->copy, audit->seed,
		      &image->pool.persist);
	if (!ret)
		ret = dp_lanes_load(&audit->lanes, true, audit->errmsg);
	if (!ret)
		dp_audit_apply_lanes(audit);
	return ret;
}
