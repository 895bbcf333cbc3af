/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Granting a peer remote access to exactly one extent, or a part of it.
 *
 *	range [grant_fill_range] -> mode [dp_backing_settle] -> zeroes [grant_zero] ->
 *	hold [grant_hold] -> key [grant_fill_key] -> backing, access [grant_open] ->
 *	the grant exists [dp_revoke_add]; a failure undoes the steps in the opposite
 *	order
 *
 *  - A grant's hold is taken before its access is opened (access.c); revoke.c drops
 *    it.
 *  - A peer does not see the previous owner's bytes unless the caller allows it.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "grant/memory.h"
#include "rdma/access.h"
#include "rdma/backing.h"
#include "rdma/escalate.h"
#include "rdma/revoke.h"
#include "rdma/types.h"
#include "util/cancel.h"

#define ACCESS_WRITES	(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
/* A fetch-and-add of 0 returns eight bytes to the peer. */
#define ACCESS_READS	(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
/* Each of these would let a peer access memory outside the grant: through a window that
 * the program binds, or what is mapped at the same address later. */
#define ACCESS_REFUSED	(IBV_ACCESS_MW_BIND | IBV_ACCESS_ON_DEMAND | \
			 IBV_ACCESS_ZERO_BASED)

static_assert(sizeof(struct daxpin_grant_key) == 88, "peers rely on it");

static int grant_check_options(const struct daxpin_rdma *rdma,
			       const struct daxpin_grant_options *o)
{
	if (o->flags & ~(DAXPIN_GRANT_ZERO | DAXPIN_GRANT_EXPOSE))
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "flags 0x%x: unknown", o->flags);
	if (!(o->access & (ACCESS_READS | ACCESS_WRITES)))
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "access 0x%x gives the peer no access: set IBV_ACCESS_REMOTE_READ, _WRITE or _ATOMIC",
			       (unsigned int)o->access);
	if (o->access & ACCESS_REFUSED)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "access 0x%x must not have IBV_ACCESS_MW_BIND, IBV_ACCESS_ON_DEMAND or IBV_ACCESS_ZERO_BASED, which would let the peer reach past the grant",
			       (unsigned int)o->access);
	if (o->qp && o->qp->pd != rdma->pd)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "the queue pair belongs to another protection domain than this attachment, so its peer could not use the grant: create the queue pair in the attached domain, or attach its own domain and grant there");
	return 0;
}

static struct dp_grant_memory grant_memory(const struct daxpin_grant *grant)
{
	const struct daxpin_grant_key *key = &grant->key;

	return (struct dp_grant_memory){ grant->rdma->pool, key->extent,
					 key->offset, key->length };
}

/* Fill in the range of the extent that is granted. Length 0: to the extent's end. */
static int grant_fill_range(struct daxpin_grant *grant,
			    const struct daxpin_grant_options *o)
{
	struct dp_grant_memory memory = { grant->rdma->pool, grant->key.extent,
					  o->offset, o->length };
	int ret = dp_grant_fill_range(&memory, DP_ERRMSG_OF(o));

	grant->key.offset = memory.offset;
	grant->key.length = memory.length;
	return ret;
}

static int grant_zero(struct daxpin_grant *grant,
		      const struct daxpin_grant_options *o)
{
	const struct dp_grant_memory memory = grant_memory(grant);

	return dp_grant_zero(&memory, DP_ERRMSG_OF(o));
}

static int grant_check_old_bytes(struct daxpin_grant *grant,
				 const struct daxpin_grant_options *o)
{
	const struct dp_grant_memory memory = grant_memory(grant);

	if (!(o->access & ACCESS_READS))
		return 0;
	return dp_grant_check_old_bytes(&memory, o->flags != 0, DP_ERRMSG_OF(o));
}

static int grant_fill_key(struct daxpin_grant *grant,
			  const struct daxpin_grant_options *o)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_grant_key *key = &grant->key;
	struct daxpin_pool *pool = grant->rdma->pool;
	int ret = daxpin_pool_info(pool, &info);

	if (ret)
		return ret;
	key->addr = (uintptr_t)daxpin_ptr(pool, key->extent, key->offset);
	if (!key->addr)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, DP_HOLD_LOST);
	key->access = (uint32_t)o->access &
		      (ACCESS_READS | ACCESS_WRITES | DAXPIN_ACCESS_FLUSH);
	memcpy(key->uuid, info.uuid, sizeof(info.uuid));
	return 0;
}

/* Prepare the memory that the peer will access, and open the access. */
static int grant_open(struct daxpin_grant *grant,
		      const struct daxpin_grant_options *o, bool *ret_kept)
{
	int access, ret;

	ret = dp_backing_open(grant, o, &access);
	if (ret)
		return ret;
	ret = dp_access_open(grant, access | o->access, o, ret_kept);
	if (!ret)
		dp_backing_ready(grant);
	else
		dp_backing_close(grant, false);
	return ret;
}

/* Take the grant's own hold. */
static int grant_hold(struct daxpin_grant *grant,
		      const struct daxpin_grant_options *o)
{
	uint32_t access = dp_backing_hold_access(grant, o) | DAXPIN_HOLD_GRANT;
	int ret;

	if (o->access & ACCESS_WRITES)
		access |= DAXPIN_HOLD_WRITE;
	if (o->access & ACCESS_READS)
		access |= DAXPIN_HOLD_READ;
	snprintf(grant->label, sizeof(grant->label), "%s",
		 o->label ? o->label : "grant");
	ret = daxpin_hold_labelled(grant->rdma->pool, grant->key.extent, access,
				   grant->label, &grant->hold);
	if (ret == -EBUSY)
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       access & DAXPIN_HOLD_EXCLUSIVE ?
			       "the extent is held or being published, and writes to it would be lost when this grant's bounce buffer is copied back: wait until the extent is idle, or use a device-dax pool" :
			       "the extent is held exclusively, as by a bounced grant that can write: wait for its end");
	if (ret)
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "the extent cannot be held: %s", strerror(-ret));
	return 0;
}

/* *ret_kept: the hold remains, because the device did not release the window. */
static int grant_give(struct daxpin_grant *grant,
		      const struct daxpin_grant_options *o, bool *ret_kept)
{
	int ret = grant_fill_range(grant, o);

	if (!ret)
		ret = dp_backing_settle(grant, o);
	if (!ret && o->flags & DAXPIN_GRANT_ZERO)
		ret = grant_zero(grant, o);
	if (!ret)
		ret = grant_hold(grant, o);
	if (ret)
		return ret;
	ret = grant_fill_key(grant, o);
	if (!ret)
		ret = grant_check_old_bytes(grant, o);
	if (!ret)
		ret = grant_open(grant, o, ret_kept);
	if (!ret || *ret_kept)
		return ret;
	if (daxpin_drop_labelled(grant->rdma->pool, &grant->hold))
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, DP_HOLD_LOST);
	return ret;
}

static void grant_undo(struct daxpin_grant *grant)
{
	dp_revokes_unreserve(grant->rdma);
	free(grant);
}

static int grant_make(struct daxpin_rdma *rdma, struct daxpin_extent extent,
		      const struct daxpin_grant_options *o,
		      struct daxpin_grant **ret_grant)
{
	struct daxpin_grant *grant = calloc(1, sizeof(*grant));
	bool kept = false;
	int ret;

	if (!grant)
		return -ENOMEM;
	grant->rdma = rdma;
	grant->key.id = dp_grant_next_id();
	grant->key.extent = extent;
	dp_escalation_set_peer(grant, o->qp);
	ret = dp_revokes_reserve(rdma);
	if (ret) {
		free(grant);
		return ret;
	}
	ret = grant_give(grant, o, &kept);
	if (kept)
		dp_revoke_add_lost(grant);
	else if (ret)
		grant_undo(grant);
	if (ret)
		return ret;
	dp_revoke_add(grant, o);
	*ret_grant = grant;
	return 0;
}

DP_EXPORT int daxpin_rdma_grant(struct daxpin_rdma *rdma,
				struct daxpin_extent extent,
				const struct daxpin_grant_options *options,
				struct daxpin_grant **ret_grant)
{
	DP_UNCANCELLED();
	struct daxpin_grant_options o = { .size = sizeof(o) };
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : -EINVAL;

	if (ret)
		return ret;
	ret = ret_grant ? dp_rdma_enter(rdma) : -EINVAL;
	if (!ret)
		ret = grant_check_options(rdma, &o);
	if (!ret)
		ret = grant_make(rdma, extent, &o, ret_grant);
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}

DP_EXPORT void daxpin_grant_key(const struct daxpin_grant *grant,
				struct daxpin_grant_key *ret_key)
{
	*ret_key = grant->key;
}
