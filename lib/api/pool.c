/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions: what the caller did wrong is found here, once, and the
 * work is done by the modules below.
 */
#include <errno.h>
#include <stdlib.h>
#include "check/check.h"
#include "check/repair.h"
#include "core/handle.h"
#include "os/os.h"
#include "owner/owner.h"
#include "pool/create.h"

static_assert(DAXPIN_BLOCK_SIZE == DP_BLOCK_SIZE, "public and media");
static_assert(DAXPIN_CHUNK_SIZE == DP_CHUNK_SIZE, "public and media");
static_assert(DAXPIN_SEGMENT_MIN == DP_SEGMENT_SIZE_MIN, "public and media");
static_assert(DAXPIN_SEGMENT_MAX == DP_SEGMENT_SIZE_MAX, "public and media");
static_assert(DAXPIN_SEGMENTS_MAX == DP_SEGMENTS_MAX, "public and media");
static_assert(DAXPIN_HOLDS_MAX == DP_COUNT_MAX, "public and lease");
static_assert(DAXPIN_OPS_MAX == DP_LANE_ENTRIES, "public and media");
static_assert(DAXPIN_ROOTS_MAX == DP_ROOTS, "public and media");
static_assert(DAXPIN_ROOT_NAME_MAX == DP_ROOT_NAME_MAX, "public and media");
static_assert((int)DAXPIN_SOURCE_DISK == DP_SOURCE_DISK, "same order");
static_assert((int)DAXPIN_GRANULARITY_PAGE == DP_GRANULARITY_PAGE, "same order");
static_assert((int)DAXPIN_OWNER_KEPT == DP_OWNER_KEPT, "same order");
static_assert((int)DAXPIN_STATE_RETIRED == DP_STATE_RETIRED, "same order");

/* ------------------------------------------------------------------ pools */

struct progress {
	int (*fn)(const struct daxpin_wait *wait, void *arg);
	void *arg;
};

static int pass_progress(enum dp_owner_state owner, int pid, uint64_t waited_ns,
			 void *arg)
{
	struct progress *progress = arg;
	struct daxpin_wait wait = { (enum daxpin_owner)owner, pid, waited_ns };

	return progress->fn(&wait, progress->arg);
}

static int check_options(const struct daxpin_pool_options *options,
			 uint32_t flags, struct daxpin_pool_options *ret_copy)
{
	struct dp_why why;
	int ret;

	memset(ret_copy, 0, sizeof(*ret_copy));
	if (!options)
		return 0;
	ret = dp_copy_versioned(ret_copy, sizeof(*ret_copy), options);
	if (ret == -E2BIG) {
		/* Longer than ours, so it has these fields. */
		why = (struct dp_why) { options->why, options->why_size };
		return dp_fail(&why, ret,
			       "the options ask for what daxpin %s does not know",
			       DAXPIN_VERSION);
	}
	if (ret)
		return ret;
	why = (struct dp_why) { ret_copy->why, ret_copy->why_size };
	if (why.text && why.size)
		why.text[0] = '\0';
	if (ret_copy->flags & ~flags)
		return dp_fail(&why, -EINVAL,
			       "flags 0x%x are not for this call",
			       ret_copy->flags & ~flags);
	return 0;
}

/* Options taken apart; it points into itself. */
struct request {
	struct daxpin_pool_options options;
	struct progress progress;
	struct dp_why why;
	struct dp_pool_request pool;
};

static int make_request(struct request *request, const char *path,
			const struct daxpin_pool_options *options,
			uint32_t flags)
{
	struct daxpin_pool_options *copy = &request->options;
	int ret = check_options(options, flags, copy);

	if (ret)
		return ret;
	request->why = (struct dp_why) { copy->why, copy->why_size };
	if (!path)
		return dp_fail(&request->why, -EINVAL, "no path");
	request->progress = (struct progress) {
		copy->progress, copy->progress_arg
	};
	request->pool = (struct dp_pool_request) {
		.path = path,
		.readonly = copy->flags & DAXPIN_POOL_READONLY,
		.degraded = copy->flags & DAXPIN_POOL_DEGRADED,
		.overwrite = copy->flags & DAXPIN_POOL_OVERWRITE,
		.any_node = copy->flags & DAXPIN_POOL_ANY_NODE,
		.granularity = copy->granularity,
		.pool_size = copy->pool_size,
		.segment_size = copy->segment_size ? copy->segment_size :
				DAXPIN_SEGMENT_DEFAULT,
		.patience = {
			.deadline_ns = copy->deadline_ns,
			.progress = copy->progress ? pass_progress : NULL,
			.arg = &request->progress,
		},
		.why = &request->why,
	};
	return 0;
}

/* Where the sentence is still missing. */
static int end_request(const struct request *request, int ret)
{
	const struct daxpin_pool_options *copy = &request->options;

	if (ret < 0 && copy->why && copy->why_size && !copy->why[0])
		dp_fail(&request->why, ret, "%s: %s", request->pool.path,
			strerror(-ret));
	return ret;
}

static int request_pool(const char *path,
			const struct daxpin_pool_options *options,
			uint32_t flags,
			int (*media)(struct dp_pool *, struct dp_pool_request *),
			struct daxpin_pool **ret_pool)
{
	struct request request;
	int ret = make_request(&request, path, options, flags);

	if (ret)
		return ret;
	if (!ret_pool)
		return dp_fail(&request.why, -EINVAL,
			       "nowhere to put the pool");
	return end_request(&request, dp_core_start(&request.pool, media,
						   ret_pool));
}

DP_EXPORT int daxpin_pool_create(const char *path,
				 const struct daxpin_pool_options *options,
				 struct daxpin_pool **ret_pool)
{
	return request_pool(path, options,
			    DAXPIN_POOL_OVERWRITE | DAXPIN_POOL_ANY_NODE,
			    dp_pool_create, ret_pool);
}

DP_EXPORT int daxpin_pool_open(const char *path,
			       const struct daxpin_pool_options *options,
			       struct daxpin_pool **ret_pool)
{
	return request_pool(path, options,
			    DAXPIN_POOL_READONLY | DAXPIN_POOL_ANY_NODE |
			    DAXPIN_POOL_DEGRADED,
			    dp_pool_open, ret_pool);
}

static int begin_report(const struct request *request,
			struct dp_report *report, daxpin_finding_fn *fn,
			void *arg,
			const struct daxpin_check_summary *summary)
{
	if (!summary || summary->size < sizeof(size_t))
		return dp_fail(&request->why, -EINVAL,
			       "nowhere to put the summary, or no size in it");
	*report = (struct dp_report) {
		.fn = fn, .arg = arg, .summary.size = summary->size,
	};
	return 0;
}

static void give_summary(const struct dp_report *report,
			 struct daxpin_check_summary *ret_summary)
{
	memcpy(ret_summary, &report->summary,
	       dp_min(report->summary.size, sizeof(*ret_summary)));
}

static int check(struct dp_report *report, struct dp_pool_request *request)
{
	struct dp_image image;
	int ret = dp_image_open(&image, request);

	if (ret)
		return ret;
	report->image = &image;
	ret = dp_check(report, request->why);
	dp_image_close(&image);
	return ret;
}

DP_EXPORT int daxpin_check(const char *path,
			   const struct daxpin_pool_options *options,
			   daxpin_finding_fn *fn, void *arg,
			   struct daxpin_check_summary *ret_summary)
{
	struct dp_report report;
	struct request request;
	int ret = make_request(&request, path, options, DAXPIN_POOL_ANY_NODE);

	if (!ret)
		ret = begin_report(&request, &report, fn, arg, ret_summary);
	if (ret)
		return ret;
	request.pool.readonly = true;
	request.pool.degraded = true;
	ret = end_request(&request, check(&report, &request.pool));
	if (!ret)
		give_summary(&report, ret_summary);
	return ret;
}

DP_EXPORT int daxpin_repair(const char *path,
			    const struct daxpin_pool_options *options,
			    const char *backup, daxpin_finding_fn *fn,
			    void *arg,
			    struct daxpin_check_summary *ret_summary)
{
	struct dp_patches patches = { .count = 0 };
	struct dp_report report;
	struct request request;
	int ret = make_request(&request, path, options, DAXPIN_POOL_ANY_NODE);

	if (!ret)
		ret = begin_report(&request, &report, fn, arg, ret_summary);
	if (!ret && !backup)
		ret = dp_fail(&request.why, -EINVAL, "no name for the backup");
	if (ret)
		return ret;
	report.patches = &patches;
	ret = end_request(&request, dp_repair(&report, &request.pool, backup));
	dp_patches_fini(&patches);
	if (!ret)
		give_summary(&report, ret_summary);
	return ret;
}

DP_EXPORT int daxpin_repair_undo(const char *path,
				 const struct daxpin_pool_options *options,
				 const char *backup)
{
	struct request request;
	int ret = make_request(&request, path, options, DAXPIN_POOL_ANY_NODE);

	if (!ret && !backup)
		ret = dp_fail(&request.why, -EINVAL, "no backup");
	if (ret)
		return ret;
	return end_request(&request, dp_repair_undo(&request.pool, backup));
}

static void shut_gates(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.segments; i++)
		dp_gate_close(dp_lease_gates(&pool->leases), i);
}

static void open_gates(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.segments; i++)
		dp_gate_open(dp_lease_gates(&pool->leases), i);
	dp_jobs_tell_refused(&pool->jobs);
}

/* Under the gate: is anything held anywhere? */
static bool is_busy(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < pool->media.segments; i++)
		if (dp_gate_busy(dp_lease_gates(&pool->leases), i))
			return true;
	return false;
}

DP_EXPORT int daxpin_pool_close(struct daxpin_pool *pool)
{
	int ret;

	if (!pool)
		return 0;
	ret = dp_enter(pool);
	if (ret)
		return ret;
	shut_gates(pool);
	if (is_busy(pool) || dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {
		open_gates(pool);
		return -EBUSY;
	}
	ret = dp_pool_close(&pool->media, true);
	dp_core_discard(pool);
	return ret;
}

DP_EXPORT int daxpin_pool_drain(struct daxpin_pool *pool, uint64_t deadline_ns)
{
	uint64_t step_ns = 50000;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	shut_gates(pool);
	while (is_busy(pool)) {
		if (dp_os_now_ns() >= deadline_ns) {
			open_gates(pool);
			return -ETIMEDOUT;
		}
		dp_os_sleep_ns(step_ns);
		step_ns = dp_min(step_ns * 2, 5000000);
	}
	return 0;
}

static uint64_t free_blocks(struct daxpin_pool *pool)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < pool->media.segments; i++)
		blocks += dp_space_free_count(&pool->space[i]);
	return blocks;
}

/* Only on DAX: elsewhere is no poison, the kernel has an error for it. */
static bool is_bad_unknown(const struct dp_pool *media)
{
	bool unknown = false;

	if (media->source.kind != DP_SOURCE_DEVDAX &&
	    media->source.kind != DP_SOURCE_FSDAX)
		return false;
	for (uint32_t i = 0; i < media->segments; i++)
		unknown |= media->segment[i].bad.unknown;
	return unknown;
}

DP_EXPORT int daxpin_pool_info(struct daxpin_pool *pool,
			       struct daxpin_pool_info *ret_info)
{
	const struct dp_pool *media;
	struct daxpin_pool_info info;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	media = &pool->media;
	info = (struct daxpin_pool_info) {
		.source = media->source.kind,
		.granularity = media->persist.granularity,
		.segments = media->segments,
		.flags = (media->readonly ? DAXPIN_POOL_READONLY : 0) |
			 (media->degraded ? DAXPIN_POOL_DEGRADED : 0),
		.segment_size = media->segment_size,
		.epoch = media->super.epoch,
		.media_bytes = media->super.pool_size,
		.usable_bytes = pool->usable_blocks << DP_BLOCK_SHIFT,
		.free_bytes = free_blocks(pool) << DP_BLOCK_SHIFT,
		.largest_extent = media->segment[0].size - DP_CHUNK_SIZE,
		.hole_bytes = pool->jobs.holes.blocks << DP_BLOCK_SHIFT,
		.unaligned_chunks = pool->unaligned_chunks,
		.ignored_files = media->ignored_files,
		.registrations = dp_registration_count(&pool->holders),
		.unclean = media->was_unclean,
		.bad_bytes = pool->bad_blocks << DP_BLOCK_SHIFT,
		.bad_unknown = is_bad_unknown(media),
		.quarantined_bytes = pool->quarantined_blocks << DP_BLOCK_SHIFT,
	};
	memcpy(info.uuid, media->super.uuid, 16);
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT uint64_t daxpin_deadline_ms(uint64_t ms)
{
	return dp_os_now_ns() + dp_min(ms, 1ull << 40) * 1000000;
}

DP_EXPORT const char *daxpin_version(void)
{
	return DAXPIN_VERSION;
}
