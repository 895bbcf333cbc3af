/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of a target when a peer has written everything: revoke the grants, make the
 * data durable, publish. In another order a power failure could leave a published
 * extent that is incomplete, or a peer could change a published one.
 */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "rdma/types.h"
#include "util/cancel.h"

static bool publish_is_kept(struct daxpin_extent extent,
			    const struct daxpin_op *ops, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ops[i].type == DAXPIN_OP_KEEP &&
		    ops[i].extent.addr == extent.addr &&
		    ops[i].extent.gen == extent.gen)
			return true;
	return false;
}

/*
 * End one grant, and make its extent durable unless an operation of this call keeps it.
 *
 * A grant that another call has ended is accepted (C9). It stays in the array until its
 * extent is durable. Otherwise the next call would not make the extent durable, and
 * could publish operations that depend on it. An extent that was retired or cancelled
 * while it was granted can end with the grant (-ESTALE): then nothing is left to make
 * durable.
 */
static int publish_end_grant(struct daxpin_rdma *rdma,
			     struct daxpin_grant **grant,
			     const struct daxpin_op *ops, size_t op_count)
{
	const struct daxpin_grant_key key = (*grant)->key;
	int ret = daxpin_rdma_revoke(*grant);

	if (ret)
		return ret;
	if (!publish_is_kept(key.extent, ops, op_count))
		ret = daxpin_persist(rdma->pool, key.extent, key.offset,
				     key.length);
	if (ret && ret != -ESTALE)
		return ret;
	*grant = NULL;
	return 0;
}

/* C5: end each grant, even after an error. Returns the first error. */
static int publish_end_grants(struct daxpin_rdma *rdma,
			      struct daxpin_grant **grants, size_t grant_count,
			      const struct daxpin_op *ops, size_t op_count)
{
	int ret, first = 0;

	for (size_t i = 0; i < grant_count; i++) {
		if (!grants[i])
			continue;
		ret = publish_end_grant(rdma, &grants[i], ops, op_count);
		if (!first)
			first = ret;
	}
	return first;
}

static void publish_copy_ops(struct daxpin_op copies[],
			     const struct daxpin_op *ops, size_t count)
{
	memcpy(copies, ops, count * sizeof(*ops));
	/* The caller cannot have made the peer's last writes durable before the revoke,
	 * so the flag is ignored. */
	for (size_t i = 0; i < count; i++)
		copies[i].flags &= ~DAXPIN_OP_PERSISTED;
}

DP_EXPORT int daxpin_rdma_publish(struct daxpin_rdma *rdma,
				  struct daxpin_grant **grants,
				  size_t grant_count,
				  const struct daxpin_op *ops, size_t op_count)
{
	DP_UNCANCELLED();
	struct daxpin_op copies[DAXPIN_OPS_MAX];
	int ret = dp_rdma_enter(rdma);

	if (ret)
		return ret;
	if ((!grants && grant_count) || (!ops && op_count))
		return -EINVAL;
	if (op_count > DAXPIN_OPS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < grant_count; i++)
		if (grants[i] && grants[i]->rdma != rdma)
			return -EINVAL;
	ret = publish_end_grants(rdma, grants, grant_count, ops, op_count);
	if (ret || !op_count)
		return ret;
	publish_copy_ops(copies, ops, op_count);
	return daxpin_publish(rdma->pool, copies, op_count, NULL, NULL);
}
