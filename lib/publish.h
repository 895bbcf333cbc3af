/* SPDX-License-Identifier: BSD-3-Clause */
/* Making one operation durable: one word, one flush, one fence. */
#ifndef DP_PUBLISH_H
#define DP_PUBLISH_H

#include "core.h"

int dp_publish_one(struct daxpin_pool *pool, const struct daxpin_op *op);

/* Is [offset, offset + length) inside the extent? length 0 means to its end. */
int dp_range(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	     uint64_t *length);

#endif
