/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin_rdma_use(3): what this process has of verbs. */
#include <daxpin-status.h>
#include <errno.h>
#include "owner/rdma_use.h"
#include "util/cancel.h"

DP_EXPORT int daxpin_rdma_use(char *errmsg, size_t errmsg_size,
			      struct daxpin_rdma_use *ret_use)
{
	DP_UNCANCELLED();
	const struct dp_errmsg message = { errmsg, errmsg_size };
	struct dp_rdma_counts counted;
	struct daxpin_rdma_use use;
	int ret;

	dp_clear_errmsg(&message);
	if (!ret_use || ret_use->size < sizeof(ret_use->size))
		return dp_fail(&message, -EINVAL,
			       "ret_use is NULL, or its size is not set: it must be sizeof(struct daxpin_rdma_use)");
	ret = dp_rdma_use_count(&message, &counted);
	if (ret)
		return ret;
	use = (struct daxpin_rdma_use) {
		.contexts = counted.contexts,
		.domains = counted.domains,
		.unknown = counted.unknown,
	};
	return dp_return_versioned(ret_use, &use, sizeof(use));
}
