/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_watch(3): watches and events. The caller's mistakes are found here; the
 * queue is in extent/event.c.
 */
#include <errno.h>
#include "core/handle.h"
#include "util/cancel.h"

static bool watch_is_over(void *arg)
{
	(void)arg;
	return false;
}

DP_EXPORT int daxpin_watch(struct daxpin_pool *pool, struct daxpin_extent extent,
			   void *arg, struct daxpin_watch *watch)
{
	DP_CANCEL_POINT();
	const struct daxpin_watch wanted = { .extent = extent, .arg = arg };
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret && !watch)
		ret = -EINVAL;
	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	if (ret == -ESTALE)
		return dp_events_watch(&pool->events, watch, &wanted,
				       watch_is_over, NULL);
	return ret ? ret :
		     dp_state_watch(&pool->states, handle.block,
				    handle.generation, watch, &wanted);
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

	return ret ? ret : dp_events_fd(&pool->events);
}

DP_EXPORT int daxpin_event_arm(struct daxpin_pool *pool)
{
	DP_UNCANCELLED();
	int ret = dp_enter(pool);

	return ret ? ret : dp_events_arm(&pool->events);
}

DP_EXPORT int daxpin_next_event(struct daxpin_pool *pool,
				struct daxpin_event *ret_event)
{
	DP_UNCANCELLED();
	int ret = dp_enter(pool);

	if (ret || !ret_event)
		return ret ? ret : -EINVAL;
	dp_jobs_poll(&pool->jobs);
	return dp_events_next(&pool->events, ret_event);
}
