/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin_pool_grow(3). */
#include "api/options.h"
#include "core/grow.h"
#include "util/cancel.h"

DP_EXPORT int daxpin_pool_grow(struct daxpin_pool *pool, uint64_t size,
			       const struct daxpin_pool_options *user)
{
	DP_CANCEL_POINT();
	struct dp_options options;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	ret = dp_options_take(&options, pool->media.source.path, user, 0);
	if (ret)
		return ret;
	options.request.segment_size = pool->media.geometry.segment_size;
	dp_wait_begin(&options.request.policy);
	ret = dp_grow(pool, size, &options.request.policy,
		      &options.request.segments, &options.errmsg);
	return dp_options_end(&options, ret);
}
