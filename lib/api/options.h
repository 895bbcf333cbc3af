/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of the calls that take a path, checked once and turned into a
 * request to pool/.
 */
#ifndef DP_OPTIONS_H
#define DP_OPTIONS_H

#include <daxpin.h>
#include "pool/pool.h"

/* Called while a call waits: the program's progress function, its log, or both. */
struct dp_options_progress {
	int (*fn)(const struct daxpin_wait *wait, void *arg);
	void *arg;
	const struct dp_log *log;
	const char *path;
	enum dp_owner_state logged;	/* what was last logged */
};

/* It points into itself, so it must not be copied. */
struct dp_options {
	struct daxpin_pool_options copy;	/* fields unknown to the caller: 0 */
	struct dp_options_progress progress;
	struct dp_errmsg errmsg;
	struct dp_log log;
	struct dp_pool_request request;
};

/*
 * Check and copy the options. flags: the DAXPIN_POOL_... flags that this call accepts.
 * On an error, errmsg is written.
 *
 * -EINVAL  no path, a flag that is not for this call, an invalid mode, or a size field
 *          that is not set
 * -E2BIG   an option that this library does not know
 */
int dp_options_take(struct dp_options *options, const char *path,
		    const struct daxpin_pool_options *user, uint32_t flags);

/* Call it at the end of the call, with its result. Returns ret. C11: errmsg then
 * describes the error that is returned; without an error it is empty. */
int dp_options_end(const struct dp_options *options, int ret);

#endif
