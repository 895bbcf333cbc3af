/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions on holds and events: what the caller did wrong is found here, once,
 * and the work is done by the modules below.
 */
#include <errno.h>
#include "core.h"

static int check_access(uint32_t access)
{
	if (!access || access & ~(DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE))
		return -EINVAL;
	return 0;
}

static int hold_with(struct daxpin_pool *pool, struct daxpin_extent extent,
		     uint32_t access,
		     int (*take)(struct dp_leases *, uint64_t, uint64_t, bool))
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		ret = check_access(access);
	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	if (!ret && access & DAXPIN_HOLD_WRITE && pool->media.readonly)
		ret = -EROFS;
	if (ret)
		return ret;
	ret = take(&pool->leases, handle.block, handle.life,
		   access & DAXPIN_HOLD_WRITE);
	if (ret != -EAGAIN)
		return ret;
	dp_jobs_refused(&pool->jobs);
	return take(&pool->leases, handle.block, handle.life,
		    access & DAXPIN_HOLD_WRITE);
}

DP_EXPORT int daxpin_hold(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint32_t access)
{
	return hold_with(pool, extent, access, dp_lease_hold);
}

DP_EXPORT int daxpin_hold_clone(struct daxpin_pool *pool,
				struct daxpin_extent extent, uint32_t access)
{
	return hold_with(pool, extent, access, dp_lease_clone);
}

DP_EXPORT int daxpin_drop(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	return ret ? ret : dp_lease_drop(&pool->leases, handle.block,
					 handle.life);
}

DP_EXPORT int daxpin_hold_labelled(struct daxpin_pool *pool,
				   struct daxpin_extent extent, uint32_t access,
				   const char *label, struct daxpin_hold *hold)
{
	int ret;

	if (!hold || !label || hold->access)
		return -EINVAL;
	ret = daxpin_hold(pool, extent, access);
	if (ret)
		return ret;
	hold->extent = extent;
	hold->access = access;
	snprintf(hold->label, sizeof(hold->label), "%s", label);
	dp_holder_add(&pool->holders, hold);
	return 0;
}

DP_EXPORT int daxpin_drop_labelled(struct daxpin_pool *pool,
				   struct daxpin_hold *hold)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!hold || !hold->access)
		return -EINVAL;
	/* Off the list first: after the drop the pool may be closed. */
	dp_holder_remove(&pool->holders, hold);
	hold->access = 0;
	return daxpin_drop(pool, hold->extent);
}

DP_EXPORT int daxpin_holds(struct daxpin_pool *pool, struct daxpin_extent extent,
			   void (*fn)(const struct daxpin_holder *holder,
				      void *arg), void *arg)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	uint32_t labelled;
	int ret = dp_find(pool, extent, &handle, &view);

	if (ret)
		return ret;
	labelled = dp_holders_of(&pool->holders, extent, fn, arg);
	if (fn && view.count > labelled)
		fn(&(struct daxpin_holder) { .extent = extent,
			.count = view.count - labelled }, arg);
	if (fn)
		dp_registrations_of(&pool->holders, handle.block >>
				    pool->leases.segment_shift, fn, arg);
	return view.count;
}

DP_EXPORT int daxpin_idle(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = dp_find(pool, extent, &handle, &view);

	if (ret == -ESTALE)
		return 1;
	return ret ? ret : !view.count;
}

DP_EXPORT int daxpin_wait_idle(struct daxpin_pool *pool,
			       struct daxpin_extent extent, uint64_t deadline_ns)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = dp_find(pool, extent, &handle, &view);

	if (ret == -ESTALE)
		return 0;
	return ret ? ret : dp_lease_wait(&pool->leases, handle.block,
					 handle.life, deadline_ns);
}

/* ----------------------------------------------------------------- events */

static bool is_over(void *arg)
{
	(void)arg;
	return false;
}

DP_EXPORT int daxpin_watch(struct daxpin_pool *pool, struct daxpin_extent extent,
			   void *arg, struct daxpin_watch *watch)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret && (!watch || watch->state))
		ret = -EINVAL;
	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	if (ret && ret != -ESTALE)
		return ret;
	watch->extent = extent;
	watch->arg = arg;
	if (ret)
		dp_events_watch(&pool->events, watch, is_over, NULL);
	else
		dp_lease_watch(&pool->leases, handle.block, handle.life, watch);
	return 0;
}

DP_EXPORT int daxpin_unwatch(struct daxpin_pool *pool, struct daxpin_watch *watch)
{
	int ret = dp_enter(pool);

	if (ret || !watch)
		return ret ? ret : -EINVAL;
	return dp_events_unwatch(&pool->events, watch);
}

DP_EXPORT int daxpin_event_fd(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : pool->events.fd;
}

DP_EXPORT int daxpin_event_arm(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : dp_events_arm(&pool->events);
}

DP_EXPORT int daxpin_next_event(struct daxpin_pool *pool,
				struct daxpin_event *ret_event)
{
	int ret = dp_enter(pool);

	if (ret || !ret_event)
		return ret ? ret : -EINVAL;
	dp_jobs_look(&pool->jobs);
	return dp_events_next(&pool->events, ret_event);
}
