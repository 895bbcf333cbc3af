/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants of the RDMA adapter: a peer is let at exactly one extent.
 *
 *  - A grant's hold is taken before its MR exists; rdma_revoke.c says when it
 *    is dropped.
 *  - A peer does not see what others left in the blocks unless the caller
 *    says so.
 */
#include "rdma.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ACCESS_WRITES	(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
/* A fetch-and-add of nothing shows eight bytes. */
#define ACCESS_READS	(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC)
/* Each would let a peer past the grant: through a window of the caller's, or
 * to whatever is mapped at the same place later. */
#define ACCESS_REFUSED	(IBV_ACCESS_MW_BIND | IBV_ACCESS_ON_DEMAND | \
			 IBV_ACCESS_ZERO_BASED)

static_assert(sizeof(struct daxpin_grant_key) == 56, "peers rely on it");

static int check_grant(const struct daxpin_grant_options *o)
{
	if (o->flags & ~(DAXPIN_GRANT_ZERO | DAXPIN_GRANT_EXPOSE))
		return explain(o->why, o->why_size, -EINVAL,
			       "flags 0x%x: unknown", o->flags);
	if (!(o->access & (ACCESS_READS | ACCESS_WRITES)))
		return explain(o->why, o->why_size, -EINVAL,
			       "access 0x%x gives the peer nothing: name IBV_ACCESS_REMOTE_READ, _WRITE or _ATOMIC",
			       (unsigned int)o->access);
	if (o->access & ACCESS_REFUSED)
		return explain(o->why, o->why_size, -EINVAL,
			       "access 0x%x: memory windows, on-demand and zero-based regions reach past the grant",
			       (unsigned int)o->access);
	return 0;
}

/*
 * What the peer would see of those who had the blocks before. The state is
 * asked under the hold, so that no other life can have begun meanwhile.
 */
static int settle_old_bytes(struct daxpin_grant *grant,
			    const struct daxpin_grant_options *o)
{
	enum daxpin_state state = DAXPIN_STATE_FREE;
	bool reserved;
	int err;

	err = daxpin_state(grant->rdma->pool, grant->key.extent, &state);
	if (err)
		return err;
	assert(state != DAXPIN_STATE_FREE);
	reserved = state == DAXPIN_STATE_RESERVED;
	if ((o->flags & DAXPIN_GRANT_ZERO) && !reserved)
		return explain(o->why, o->why_size, -EINVAL,
			       "DAXPIN_GRANT_ZERO would wipe a published extent");
	if (reserved && (o->access & ACCESS_READS) && !o->flags)
		return explain(o->why, o->why_size, -EPERM,
			       "the peer could read what the blocks held before: zero them (DAXPIN_GRANT_ZERO) or allow it (DAXPIN_GRANT_EXPOSE)");
	if (o->flags & DAXPIN_GRANT_ZERO)
		memset((void *)(uintptr_t)grant->key.addr, 0,
		       grant->key.length);
	return 0;
}

static int fill_key(struct daxpin_grant *grant, struct daxpin_extent extent,
		    const struct daxpin_grant_options *o)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_pool *pool = grant->rdma->pool;
	int err;

	err = daxpin_size(pool, extent, &grant->key.length);
	if (!err)
		err = daxpin_pool_info(pool, &info);
	if (err)
		return err;
	grant->key.addr = (uintptr_t)daxpin_ptr(pool, extent, 0);
	assert(grant->key.addr && grant->key.length);
	grant->key.access = (uint32_t)o->access & (ACCESS_READS | ACCESS_WRITES |
						   DAXPIN_ACCESS_FLUSH);
	grant->key.extent = extent;
	memcpy(grant->key.uuid, info.uuid, sizeof(info.uuid));
	return 0;
}

/* The memory region, over exactly the extent: what lets the peer in. */
static int open_door(struct daxpin_grant *grant,
		     const struct daxpin_grant_options *o)
{
	const struct daxpin_grant_key *key = &grant->key;
	struct ibv_pd *pd = grant->rdma->pd;
	struct rlimit limit = { 0 };
	int access, err;

	err = dp_rdma_backing_open(grant, o, &access);
	if (err)
		return err;
	access |= o->access;
	if (access & ACCESS_WRITES)
		access |= IBV_ACCESS_LOCAL_WRITE;	/* as the verbs ask */
	err = dp_rdma_register(pd, (void *)(uintptr_t)key->addr, key->length,
			       access, &grant->mr);
	if (!err) {
		dp_rdma_backing_ready(grant);
		return 0;
	}
	dp_rdma_backing_close(grant, false);
	if (err == -ENOMEM) {
		getrlimit(RLIMIT_MEMLOCK, &limit);
		return explain(o->why, o->why_size, err,
			       "%" PRIu64 " bytes cannot be pinned: RLIMIT_MEMLOCK is %" PRIu64 ": raise it (ulimit -l, LimitMEMLOCK=) or give CAP_IPC_LOCK",
			       key->length, (uint64_t)limit.rlim_cur);
	}
	return explain(o->why, o->why_size, err,
		       "%s refused a memory region of %" PRIu64 " bytes with access 0x%x: %s",
		       ibv_get_device_name(pd->context->device), key->length,
		       (unsigned int)access, strerror(-err));
}

static int give(struct daxpin_grant *grant, struct daxpin_extent extent,
		const struct daxpin_grant_options *o)
{
	struct daxpin_pool *pool = grant->rdma->pool;
	uint32_t access = 0;
	int err, drop_err;

	if (o->access & ACCESS_WRITES)
		access |= DAXPIN_HOLD_WRITE;
	if (o->access & ACCESS_READS)
		access |= DAXPIN_HOLD_READ;
	err = daxpin_hold_labelled(pool, extent, access,
				   o->label ? o->label : "grant", &grant->hold);
	if (err)
		return explain(o->why, o->why_size, err,
			       "the extent cannot be held: %s", strerror(-err));
	err = fill_key(grant, extent, o);
	if (!err)
		err = settle_old_bytes(grant, o);
	if (!err)
		err = open_door(grant, o);
	if (!err) {
		grant->key.rkey = grant->mr->rkey;
		return 0;
	}
	drop_err = daxpin_drop_labelled(pool, &grant->hold);
	assert(drop_err == 0);
	return err;
}

EXPORT int daxpin_rdma_grant(struct daxpin_rdma *rdma,
			     struct daxpin_extent extent,
			     const struct daxpin_grant_options *options,
			     struct daxpin_grant **ret_grant)
{
	struct daxpin_grant_options o = { .size = sizeof(o) };
	struct daxpin_grant *grant;
	int err;

	if (!rdma || !options || !ret_grant)
		return -EINVAL;
	if (!rdma->pool)
		return -EOWNERDEAD;
	err = take_options(&o, sizeof(o), options);
	if (!err)
		err = check_grant(&o);
	if (err)
		return err;
	grant = calloc(1, sizeof(*grant));
	if (!grant)
		return -ENOMEM;
	grant->rdma = rdma;
	err = give(grant, extent, &o);
	if (err) {
		free(grant);
		return err;
	}
	grant->ask_back = o.ask_back;
	grant->done = o.done;
	grant->arg = o.arg;
	grant->qp = o.qp;
	dp_rdma_grant_out(grant);
	*ret_grant = grant;
	return 0;
}

EXPORT void daxpin_grant_key(const struct daxpin_grant *grant,
			     struct daxpin_grant_key *ret_key)
{
	*ret_key = grant->key;
}
