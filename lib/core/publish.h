/* SPDX-License-Identifier: BSD-3-Clause */
/* Making operations durable, all or none. */
#ifndef DP_PUBLISH_H
#define DP_PUBLISH_H

#include "core/handle.h"

/* count is 1 to DP_LANE_ENTRIES. */
int dp_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
	       size_t count);

/* Is [offset, offset + length) inside the extent? length 0 means to its end. */
int dp_range(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	     uint64_t *length);

/* Is it a name that a root can have? -EINVAL, -ENAMETOOLONG. */
int dp_root_name(const char *name);

#endif
