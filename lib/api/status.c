/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin_status_open(3): looking at a pool that another process has open. */
#include <errno.h>
#include <stdlib.h>
#include <daxpin-status.h>
#include "os/os.h"
#include "owner/place.h"
#include "pool/status.h"
#include "util/cancel.h"

static_assert(DAXPIN_CELL_META == DP_STATUS_CELL_META, "public and page");
static_assert(DAXPIN_CELL_HOLE == DP_STATUS_CELL_HOLE, "public and page");
static_assert(DAXPIN_STATUS_HOLDERS == DP_STATUS_HOLDERS, "public and page");
static_assert(DAXPIN_STATUS_JOBS == DP_STATUS_JOBS, "public and page");

struct daxpin_status {
	struct dp_status_copy copy;
	enum dp_tristate alive;
	uint64_t age_ns;
};

static uint64_t status_age(const struct dp_status_copy *copy)
{
	uint64_t now_ns = dp_os_now_ns(), then_ns = copy->snapshot->written_ns;

	/* The clock begins anew with each boot, and a time namespace can shift it. */
	if (dp_place_is_another_boot(&copy->header.owner))
		return UINT64_MAX;
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

DP_EXPORT int daxpin_status_open(const char *path, char *errmsg, size_t errmsg_size,
				 struct daxpin_status **ret_status)
{
	DP_CANCEL_POINT();
	const struct dp_errmsg message = { errmsg, errmsg_size };
	struct daxpin_status *status;
	int ret;

	dp_clear_errmsg(&message);
	if (!path || !ret_status)
		return dp_fail(&message, -EINVAL, "no path, or ret_status is NULL");
	status = malloc(sizeof(*status));
	if (!status)
		return dp_fail(&message, -ENOMEM, "%s", daxpin_strerror(-ENOMEM));
	ret = dp_status_read(path, &status->copy, &message);
	if (ret) {
		free(status);
		return dp_end_errmsg(&message, ret, daxpin_strerror(ret));
	}
	status->alive = dp_place_is_alive(&status->copy.header.owner);
	status->age_ns = status_age(&status->copy);
	*ret_status = status;
	return dp_end_errmsg(&message, 0, "");
}

DP_EXPORT void daxpin_status_close(struct daxpin_status *status)
{
	if (!status)
		return;
	dp_status_free(&status->copy);
	free(status);
}

static uint64_t status_held(const struct dp_status_snapshot *snapshot)
{
	const struct dp_status_segment *segment = dp_status_segments(snapshot);
	uint64_t held = 0;

	for (uint32_t i = 0; i < snapshot->segments; i++)
		held += segment[i].held;
	return held;
}

DP_EXPORT int daxpin_status_info(const struct daxpin_status *status,
				 struct daxpin_status_info *ret_info)
{
	const struct dp_status_snapshot *snapshot;
	struct daxpin_status_info info;

	if (!status)
		return -EINVAL;
	snapshot = status->copy.snapshot;
	info = (struct daxpin_status_info) {
		.alive = status->alive,
		.pid = status->copy.header.owner.pid,
		.age_ns = status->age_ns,
		.open_ns = snapshot->written_ns - snapshot->opened_ns,
		.snapshots = snapshot->turn,
		.held_extents = status_held(snapshot),
		.labelled_holds = snapshot->labelled,
		.jobs = snapshot->jobs_total,
		.rdma_contexts = snapshot->figures.contexts,
		.cells = snapshot->cells,
		.cell_chunks = snapshot->cell_chunks,
	};
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT int daxpin_status_pool(const struct daxpin_status *status,
				 struct daxpin_pool_info *ret_info)
{
	const struct dp_status_figures *f;
	struct daxpin_pool_info info;

	if (!status)
		return -EINVAL;
	f = &status->copy.snapshot->figures;
	info = (struct daxpin_pool_info) {
		.source = f->source, .granularity = f->granularity,
		.segments = f->segment_count, .flags = f->flags,
		.segment_size = f->segment_size,
		.epoch = status->copy.header.epoch,
		.media_bytes = f->media_bytes, .usable_bytes = f->usable_bytes,
		.free_bytes = f->free_bytes, .largest_extent = f->largest_extent,
		.hole_bytes = f->hole_bytes,
		.unaligned_chunks = f->unaligned_chunks,
		.ignored_files = f->ignored_files,
		.registrations = f->registrations, .unclean = !!f->unclean,
		.quarantined_bytes = f->quarantined_bytes,
		.bad_bytes = f->bad_bytes, .bad_unknown = !!f->bad_unknown,
		.shared_bytes = f->shared_bytes, .sparse_bytes = f->sparse_bytes,
		.movable = f->movable, .dirty_shutdown = f->dirty_shutdown,
		.retired_bytes = f->retired_bytes,
		.deferred_frees = f->deferred_frees, .publishes = f->publishes,
		.no_space = f->no_space, .max_bytes = f->max_bytes,
		.slab_bytes = f->slab_bytes, .objects = f->objects,
		.object_bytes = f->object_bytes,
		.partial_slab_bytes = f->partial_slab_bytes,
	};
	memcpy(info.uuid, status->copy.header.uuid, sizeof(info.uuid));
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT void
daxpin_status_segments(const struct daxpin_status *status,
		       void (*fn)(const struct daxpin_status_segment *segment,
				  void *arg), void *arg)
{
	DP_UNCANCELLED();
	const struct dp_status_snapshot *snapshot = status->copy.snapshot;
	const struct dp_status_segment *segment = dp_status_segments(snapshot);

	for (uint32_t i = 0; i < snapshot->segments; i++)
		fn(&(struct daxpin_status_segment) {
			.size = sizeof(struct daxpin_status_segment),
			.segment = i, .held_extents = segment[i].held,
			.bytes = (uint64_t)segment[i].blocks << DP_BLOCK_SHIFT,
			.free_bytes = (uint64_t)segment[i].free_blocks <<
				      DP_BLOCK_SHIFT }, arg);
}

DP_EXPORT void
daxpin_status_holds(const struct daxpin_status *status,
		    void (*fn)(const struct daxpin_holder *holder, void *arg),
		    void *arg)
{
	DP_UNCANCELLED();
	const struct dp_status_snapshot *snapshot = status->copy.snapshot;
	const struct dp_status_holder *holder = dp_status_holders(snapshot);

	for (uint32_t i = 0; i < snapshot->holders; i++)
		fn(&(struct daxpin_holder) {
			.size = sizeof(struct daxpin_holder),
			.extent = { holder[i].addr, holder[i].gen },
			.age_ns = snapshot->written_ns > holder[i].since_ns ?
				  snapshot->written_ns - holder[i].since_ns : 1,
			.access = holder[i].access, .count = 1,
			.label = holder[i].label,
			.segment = holder[i].segment }, arg);
}

DP_EXPORT void
daxpin_status_jobs(const struct daxpin_status *status,
		   void (*fn)(const struct daxpin_status_job *job, void *arg),
		   void *arg)
{
	DP_UNCANCELLED();
	const struct dp_status_snapshot *snapshot = status->copy.snapshot;
	const struct dp_status_job *job = dp_status_jobs(snapshot);

	for (uint32_t i = 0; i < snapshot->jobs; i++)
		fn(&(struct daxpin_status_job) {
			.size = sizeof(struct daxpin_status_job),
			.refill = !!job[i].kind, .cancelled = job[i].flags & 1,
			.segments = job[i].parts,
			.segments_left = job[i].open_parts,
			.done_bytes = job[i].done_bytes,
			.left_bytes = job[i].left_bytes }, arg);
}

DP_EXPORT const unsigned char *daxpin_status_cells(const struct daxpin_status *status)
{
	return dp_status_cells(status->copy.snapshot);
}
