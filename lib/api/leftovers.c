/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin_leftovers(3): what an owner that died has left behind. */
#include <errno.h>
#include "api/options.h"
#include "check/leftovers.h"
#include "util/cancel.h"

/* To look at a pool is safe whoever owns it and wherever it is. */
static const uint32_t leftovers_flags = DAXPIN_POOL_READONLY | DAXPIN_POOL_ANY_NODE |
	DAXPIN_POOL_ANY_OWNER | DAXPIN_POOL_ANY_FILESYSTEM;

DP_EXPORT int
daxpin_leftovers(const char *path, char *errmsg, size_t errmsg_size,
		 void (*fn)(const struct daxpin_leftover *leftover, void *arg),
		 void *arg, uint32_t *ret_pid)
{
	DP_CANCEL_POINT();
	const struct daxpin_pool_options user = {
		.size = sizeof(user), .flags = leftovers_flags,
		.errmsg = errmsg, .errmsg_size = errmsg_size,
	};
	struct dp_leftovers leftovers = { .fn = fn, .arg = arg };
	struct dp_options options;
	int ret = dp_options_take(&options, path, &user, leftovers_flags);

	if (!ret && !fn)
		ret = dp_fail(&options.errmsg, -EINVAL, "fn is NULL");
	if (ret)
		return ret;
	ret = dp_options_end(&options, dp_leftovers_list(&leftovers, &options.request));
	if (ret)
		return ret;
	if (ret_pid)
		*ret_pid = leftovers.pid;
	return (int)leftovers.count;
}
