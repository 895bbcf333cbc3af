/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_pool_shrink(3). The caller's mistakes are found here; core/shrink.c does the
 * work.
 */
#include <errno.h>
#include "core/shrink.h"
#include "util/cancel.h"

static int shrink_check_state(const struct daxpin_pool *pool,
			      const struct dp_errmsg *errmsg)
{
	const struct dp_pool *media = &pool->media;

	if (media->readonly)
		return dp_fail(errmsg, -EROFS,
			       "%s is open for reading: open it for writing to shrink it",
			       media->source.path);
	if (media->degraded)
		return dp_fail(errmsg, -EUCLEAN,
			       "%s was opened with DAXPIN_POOL_DEGRADED: repair it first, see daxpin_check(3)",
			       media->source.path);
	return 0;
}

/* How many segments a pool of at least `size` bytes has. */
static int shrink_check_size(const struct daxpin_pool *pool, uint64_t size,
			     uint32_t *ret_segments, const struct dp_errmsg *errmsg)
{
	const struct dp_geometry *geometry = &pool->media.geometry;
	uint32_t segments = dp_pool_in_set(&pool->media);
	uint64_t now = dp_geometry_bytes(geometry, segments);

	if (!size || size > now)
		return dp_fail(errmsg, -EINVAL,
			       "%s has %llu bytes and cannot shrink to %llu: the size must be at least 1, and at most what it has",
			       pool->media.source.path, (unsigned long long)now,
			       (unsigned long long)size);
	*ret_segments = dp_geometry_segments_for(geometry, size);
	return 0;
}

/* pool->resizing is set, so no other call changes the number of segments. */
static int shrink_alone(struct daxpin_pool *pool, uint64_t size,
			const struct daxpin_shrink_options *options,
			const struct dp_errmsg *errmsg)
{
	struct dp_shrink_request request = {
		.deadline_ns = options->deadline_ns,
		.progress = options->progress, .arg = options->progress_arg,
	};
	int ret = shrink_check_size(pool, size, &request.segments, errmsg);

	if (ret || request.segments == dp_pool_in_set(&pool->media))
		return ret;
	return dp_shrink(pool, &request, errmsg);
}

static int shrink_run(struct daxpin_pool *pool, uint64_t size,
		      const struct daxpin_shrink_options *options)
{
	const struct dp_errmsg *errmsg = DP_ERRMSG_OF(options);
	int ret = shrink_check_state(pool, errmsg);

	if (ret)
		return ret;
	if (options->flags)
		return dp_fail(errmsg, -EINVAL, "flags 0x%x must be 0", options->flags);
	if (atomic_exchange(&pool->resizing, true))
		return dp_fail(errmsg, -EBUSY,
			       "another call grows or shrinks %s, or closes it: try again when it has returned",
			       pool->media.source.path);
	ret = shrink_alone(pool, size, options, errmsg);
	atomic_store(&pool->resizing, false);
	return ret;
}

DP_EXPORT int daxpin_pool_shrink(struct daxpin_pool *pool, uint64_t size,
				 const struct daxpin_shrink_options *user)
{
	DP_CANCEL_POINT();
	struct daxpin_shrink_options options = { .size = sizeof(options) };
	int ret = user ? DP_TAKE_OPTIONS(&options, user) : 0;

	if (!ret)
		ret = dp_enter(pool);
	if (!ret)
		ret = shrink_run(pool, size, &options);
	return dp_end_errmsg(DP_ERRMSG_OF(&options), ret, daxpin_strerror(ret));
}
