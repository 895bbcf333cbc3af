/* SPDX-License-Identifier: BSD-3-Clause */
/* Making operations durable, all or none. */
#ifndef DP_PUBLISH_H
#define DP_PUBLISH_H

#include "core/handle.h"

/* A root that will name no extent. */
static inline bool dp_op_names_nothing(const struct daxpin_op *op)
{
	return op->type == DAXPIN_OP_ROOT && !op->extent.addr &&
	       !op->extent.gen;
}

/* A SET or ROOT of an object: no handle of an extent has gen 0. */
static inline bool dp_op_names_object(const struct daxpin_op *op)
{
	return !op->extent.gen && op->extent.addr;
}

/*
 * The pool must be writable, count must be 1 to DP_LANE_ENTRIES, and each op must be
 * well formed: known type and flags, unused fields 0, a handle that dp_handle()
 * accepts. The errors are those of daxpin_publish(3). *failed is written only on
 * failure: the index of the operation that failed, or count if no single operation is
 * the cause.
 */
int dp_publish(struct daxpin_pool *pool, const struct daxpin_op *ops,
	       size_t count, size_t *failed);

#endif
