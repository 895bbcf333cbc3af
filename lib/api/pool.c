/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_pool_create(3): creating, opening and closing pools. The caller's mistakes are
 * found here; pool/ opens the media, and core/recover.c builds the pool in memory.
 */
#include <errno.h>
#include "api/options.h"
#include "core/info.h"
#include "core/recover.h"
#include "core/slabs.h"
#include "core/snapshot.h"
#include "os/os.h"
#include "pool/create.h"
#include "pool/own.h"
#include "util/cancel.h"

static_assert(DAXPIN_BLOCK_SIZE == DP_BLOCK_SIZE, "public and media");
static_assert(DAXPIN_CHUNK_SIZE == DP_CHUNK_SIZE, "public and media");
static_assert(DAXPIN_SEGMENT_MIN == DP_SEGMENT_SIZE_MIN, "public and media");
static_assert(DAXPIN_SEGMENT_MAX == DP_SEGMENT_SIZE_MAX, "public and media");
static_assert(DAXPIN_SEGMENT_DEFAULT == DP_SEGMENT_SIZE_DEFAULT, "public and media");
static_assert(DAXPIN_SEGMENTS_MAX == DP_SEGMENTS_MAX, "public and media");
static_assert(DAXPIN_HOLDS_MAX == DP_COUNT_MAX, "public and state");
static_assert(DAXPIN_OPS_MAX == DP_LANE_ENTRIES, "public and media");
static_assert(DAXPIN_OBJECT_MAX == DP_SLAB_OBJECT_MAX, "public and media");
static_assert(DAXPIN_ROOTS_MAX == DP_ROOTS, "public and media");
static_assert(DAXPIN_ROOT_NAME_MAX == DP_ROOT_NAME_MAX, "public and media");
static_assert((int)DAXPIN_SOURCE_DISK == DP_SOURCE_DISK, "same order");
static_assert((int)DAXPIN_GRANULARITY_PAGE == DP_GRANULARITY_PAGE, "same order");
static_assert((int)DAXPIN_YES == DP_YES, "same order");
static_assert((int)DAXPIN_OWNER_KEPT == DP_OWNER_KEPT, "same order");
static_assert((int)DAXPIN_STATE_RETIRED == DP_STATE_RETIRED, "same order");

/* Log that power failed while the pool was open, or that this is unknown. */
static void pool_log_shutdown(const struct daxpin_pool *pool)
{
	const struct dp_shutdowns *now = &pool->media.flushed.now;
	const struct dp_super *super = &pool->media.super;
	const char *path = pool->media.source.path;
	char counts[DP_FLUSHED_TEXT_SIZE];

	dp_flushed_counts(&pool->media.flushed, super, counts);
	if (pool->media.flushed.dirty == DP_YES)
		dp_log_write(&pool->log, path, "power failed while it was open, before all that was durable had reached its NVDIMMs (%s): bytes of any extent may be missing",
			     counts);
	else if (pool->media.flushed.dirty == DP_UNKNOWN &&
		 pool->media.was_unclean && super->nvdimms)
		dp_log_write(&pool->log, path, "it is unknown whether power failed before all durable stores had reached its NVDIMMs: %s",
			     now->nvdimms == super->nvdimms ? counts :
			     now->nvdimms ? "the NVDIMMs are not those of the last open" :
			     "their count of dirty shutdowns is not seen in sysfs any more");
}

/* Log that a defragmenter could move the pool's blocks. Each open for writing marks the
 * files against that, but the marking failed, or this open is for reading. */
static void pool_log_movable(const struct daxpin_pool *pool)
{
	int error = pool->media.mark_error;

	if (pool->media.movable != DP_YES)
		return;
	dp_log_write(&pool->log, pool->media.source.path, "its files are not marked against defragmenting%s%s%s: xfs_fsr could move blocks that hardware writes to; open it for writing once as their owner or root, or mark them with xfs_io -c 'chattr +f'",
		     error ? " (" : "", error ? strerror(-error) : "",
		     error ? ")" : "");
}

/* Log what the open has repaired, and what damage remains. */
static void pool_log_open(const struct daxpin_pool *pool)
{
	const char *path = pool->media.source.path;
	const struct dp_log *log = &pool->log;

	if (pool->media.restored && !pool->media.readonly)
		dp_log_write(log, path, "its first superblock was lost and has been restored from the copy");
	else if (pool->media.was_unclean)
		dp_log_write(log, path, "its last owner did not close it");
	if (pool->quarantined_blocks)
		dp_log_write(log, path, "%llu bytes around damage are not used",
			     (unsigned long long)pool->quarantined_blocks <<
			     DP_BLOCK_SHIFT);
	pool_log_shutdown(pool);
	pool_log_movable(pool);
}

DP_EXPORT void daxpin_log(struct daxpin_pool *pool, const char *message)
{
	DP_UNCANCELLED();

	if (!dp_enter(pool) && message)
		dp_log_write(&pool->log, pool->media.source.path, "%s", message);
}

static int pool_start(const char *path, const struct daxpin_pool_options *user,
		      uint32_t flags,
		      int (*media)(struct dp_pool *, struct dp_pool_request *),
		      struct daxpin_pool **ret_pool)
{
	struct dp_options options;
	int ret = dp_options_take(&options, path, user, flags);

	if (ret)
		return ret;
	if (!ret_pool)
		return dp_fail(&options.errmsg, -EINVAL,
			       "ret_pool is NULL");
	ret = dp_recover(&options.request, media, ret_pool);
	if (!ret) {
		(*ret_pool)->log = options.log;
		pool_log_open(*ret_pool);
		dp_snapshot_begin(*ret_pool,
				  options.copy.flags & DAXPIN_POOL_NO_STATUS);
	}
	return dp_options_end(&options, ret);
}

DP_EXPORT int daxpin_pool_create(const char *path,
				 const struct daxpin_pool_options *options,
				 struct daxpin_pool **ret_pool)
{
	DP_CANCEL_POINT();

	return pool_start(path, options,
			  DAXPIN_POOL_OVERWRITE | DAXPIN_POOL_ANY_NODE |
			  DAXPIN_POOL_NEED_FLUSHED | DAXPIN_POOL_NO_STATUS |
			  DAXPIN_POOL_DESPITE_RDMA,
			  dp_pool_create, ret_pool);
}

static int pool_open_as_asked(struct dp_pool *pool,
			      struct dp_pool_request *request)
{
	if (!request->create)
		return dp_pool_open(pool, request);
	if (request->readonly)
		return dp_fail(request->errmsg, -EINVAL,
			       "DAXPIN_POOL_CREATE would write, and DAXPIN_POOL_READONLY must not: leave one out");
	return dp_pool_open_or_create(pool, request);
}

DP_EXPORT int daxpin_pool_open(const char *path,
			       const struct daxpin_pool_options *options,
			       struct daxpin_pool **ret_pool)
{
	DP_CANCEL_POINT();

	return pool_start(path, options,
			  DAXPIN_POOL_READONLY | DAXPIN_POOL_ANY_NODE |
			  DAXPIN_POOL_DEGRADED | DAXPIN_POOL_ADOPT |
			  DAXPIN_POOL_NEED_FLUSHED | DAXPIN_POOL_NO_STATUS |
			  DAXPIN_POOL_DESPITE_RDMA | DAXPIN_POOL_CREATE,
			  pool_open_as_asked, ret_pool);
}

static void pool_open_gates(struct daxpin_pool *pool)
{
	dp_gates_open(dp_state_gates(&pool->states));
	dp_events_notify_refused(&pool->events);
}

/* Is anything held? Reliable only while the gates are closed: a grow has counted its
 * segments before a hold of them can succeed, and so before their gates were closed. */
static bool pool_is_busy(struct daxpin_pool *pool)
{
	for (uint32_t i = 0; i < dp_pool_in_set(&pool->media); i++)
		if (dp_gate_busy(dp_state_gates(&pool->states), i))
			return true;
	return false;
}

static int pool_close(struct daxpin_pool *pool)
{
	int ret;

	dp_gates_close(dp_state_gates(&pool->states));
	if (pool_is_busy(pool) || dp_registration_count(&pool->holders) ||
	    atomic_load(&pool->jobs.count)) {
		pool_open_gates(pool);
		return -EBUSY;
	}
	if (!pool->media.readonly)
		dp_slabs_close(pool);
	ret = dp_pool_end(&pool->media);
	if (ret) {
		pool_open_gates(pool);
		return ret;
	}
	/* While this process has the lock: afterwards the name is the next owner's. */
	dp_snapshot_remove(pool);
	dp_pool_tear_down(&pool->media);
	dp_discard(pool);
	return 0;
}

DP_EXPORT int daxpin_pool_close(struct daxpin_pool *pool)
{
	DP_UNCANCELLED();
	int ret;

	if (!pool)
		return 0;
	if (dp_enter(pool)) {
		dp_close_inherited(pool);
		return 0;
	}
	if (atomic_exchange(&pool->resizing, true))
		return -EBUSY;
	ret = pool_close(pool);
	if (ret)
		atomic_store(&pool->resizing, false);
	return ret;
}

DP_EXPORT int daxpin_pool_drain(struct daxpin_pool *pool, uint64_t deadline_ns)
{
	DP_CANCEL_POINT();
	uint64_t step_ns = 50000;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	dp_gates_close(dp_state_gates(&pool->states));
	while (pool_is_busy(pool)) {
		if (dp_os_now_ns() >= deadline_ns) {
			pool_open_gates(pool);
			return -ETIMEDOUT;
		}
		dp_os_sleep_ns(step_ns);
		step_ns = dp_min(step_ns * 2, 5000000);
	}
	return 0;
}

DP_EXPORT int daxpin_pool_info(struct daxpin_pool *pool,
			       struct daxpin_pool_info *ret_info)
{
	DP_UNCANCELLED();
	struct daxpin_pool_info info;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	dp_snapshot_update(pool);
	info = dp_info_now(pool);
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
