/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lets a peer in, and is taken away to keep him out: a memory region of the
 * grant's own; or, where the caller asked for it and the device was seen to fence
 * them, a memory window over the region that its segment has for local keys.
 *
 *  - A window is ended by ibv_dealloc_mw() alone, the same barrier as a region's
 *    end as far as the device's trial went (rdma_window.c).
 *  - Type 2 is bound on the peer's queue pair: requests behind it, such as the
 *    message with the key, begin when it is done, and where it fails they are
 *    flushed. Its completion is the caller's to see, so he tells.
 *  - Type 1 is bound on a connection of the attachment's own, and waited for.
 *  - A window is not freed while a bind of it may still come: by then its number
 *    may be another's, and the peer would be let at what is in its place. Either
 *    the bind is over, or its queue pair has thrown away what it had.
 *  - A window that cannot be had, or not with these rights, is a region instead:
 *    what is refused is counted, and the grant says which it is.
 *  - A segment's region does not end while windows are bound to it (RDMA 5).
 */
#include "rdma/rdma.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "rdma/loopback.h"
#include "rdma/window.h"

#define BIND_MS		2000
/* What the trial tried. */
#define WINDOW_ACCESS	(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)
#define ACCESS_WRITES	(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

/* ---------------------------------------------------------- for all of them */

int dp_rdma_doors_open(struct daxpin_rdma *rdma,
		       const struct daxpin_rdma_options *o, bool *ret_kept)
{
	const struct daxpin_rdma_report *report = &rdma->backing.report;
	struct dp_rdma_doors *doors = &rdma->doors;
	int ret;

	if (!(o->flags & DAXPIN_RDMA_WINDOWS) ||
	    rdma->backing.way != DAXPIN_RDMA_PINNED)
		return 0;
	doors->window2 = dp_rdma_trusts(&report->window2);
	if (!dp_rdma_trusts(&report->window1))
		return 0;
	doors->loop = calloc(1, sizeof(*doors->loop));
	if (!doors->loop)
		return -ENOMEM;
	ret = dp_loop_open(doors->loop, rdma->pd, daxpin_deadline_ms(BIND_MS));
	if (!ret)
		return 0;
	*ret_kept = dp_rdma_doors_close(rdma) != 0;
	return dp_fail(DP_WHY_OF(o), ret,
		       "no connection to bind memory windows on: %s",
		       strerror(-ret));
}

int dp_rdma_doors_close(struct daxpin_rdma *rdma)
{
	struct dp_rdma_doors *doors = &rdma->doors;
	int ret = doors->loop ? dp_loop_close(doors->loop) : 0;

	assert(!atomic_load(&doors->windows));
	if (ret)
		return ret;
	free(doors->loop);
	doors->loop = NULL;
	return 0;
}

void dp_rdma_doors_count(struct daxpin_rdma *rdma,
			 struct daxpin_rdma_info *info)
{
	info->windows = atomic_load(&rdma->doors.windows);
	info->windows_refused = atomic_load(&rdma->doors.refused);
}

/* ---------------------------------------------------------------- a region */

static int open_region(struct daxpin_grant *grant, int access,
		       const struct daxpin_grant_options *o)
{
	const struct daxpin_grant_key *key = &grant->key;
	struct ibv_pd *pd = grant->rdma->pd;
	struct rlimit limit = { 0 };
	int ret;

	if (access & ACCESS_WRITES)
		access |= IBV_ACCESS_LOCAL_WRITE;	/* as the verbs ask */
	ret = dp_rdma_register(pd, (void *)(uintptr_t)key->addr, key->length,
			       access, &grant->mr);
	if (!ret) {
		grant->door = DAXPIN_GRANT_DOOR_REGION;
		grant->key.rkey = grant->mr->rkey;
		return 0;
	}
	if (ret == -ENOMEM) {
		getrlimit(RLIMIT_MEMLOCK, &limit);
		return dp_fail(DP_WHY_OF(o), ret,
			       "%" PRIu64 " bytes cannot be pinned: RLIMIT_MEMLOCK is %" PRIu64 ": raise it (ulimit -l, LimitMEMLOCK=) or give CAP_IPC_LOCK",
			       key->length, (uint64_t)limit.rlim_cur);
	}
	return dp_fail(DP_WHY_OF(o), ret,
		       "%s refused a memory region of %" PRIu64 " bytes with access 0x%x: %s",
		       ibv_get_device_name(pd->context->device), key->length,
		       (unsigned int)access, strerror(-ret));
}

/* ---------------------------------------------------------------- a window */

static uint32_t choose_window(const struct daxpin_grant *grant, int access,
			      const struct daxpin_grant_options *o)
{
	const struct dp_rdma_doors *doors = &grant->rdma->doors;

	if (access & ~(WINDOW_ACCESS | IBV_ACCESS_LOCAL_WRITE))
		return 0;
	if (doors->window2 && o->qp && o->qp->pd == grant->rdma->pd)
		return DAXPIN_GRANT_DOOR_WINDOW2;
	return doors->loop ? DAXPIN_GRANT_DOOR_WINDOW1 : 0;
}

/* Under the lock. From reset, which throws away what was still under way. */
static bool mend_loop(struct dp_rdma_doors *doors)
{
	if (doors->broken)
		doors->broken = dp_loop_connect(doors->loop) != 0;
	return !doors->broken;
}

/* In turn: the completion is the next one. After a failure nobody knows whether
 * the bind may still come. */
static int bind_on_loop(struct daxpin_grant *grant,
			const struct ibv_mw_bind_info *info)
{
	struct dp_rdma_doors *doors = &grant->rdma->doors;
	int ret = -EIO;

	pthread_mutex_lock(&doors->lock);
	doors->loop->deadline_ns = daxpin_deadline_ms(BIND_MS);
	if (mend_loop(doors)) {
		ret = dp_window_bind_call(doors->loop, grant->mw, info);
		doors->broken = ret != 0;
		if (!mend_loop(doors))
			atomic_store(&grant->binding, doors->loop->far);
	}
	pthread_mutex_unlock(&doors->lock);
	return ret > 0 ? -EIO : ret;
}

static int bind_window(struct daxpin_grant *grant, struct ibv_mr *parent,
		       int access, const struct daxpin_grant_options *o)
{
	const struct ibv_mw_bind_info info = {
		.mr = parent,
		.addr = grant->key.addr,
		.length = grant->key.length,
		.mw_access_flags = (unsigned int)(access & WINDOW_ACCESS),
	};
	int ret;

	if (grant->door == DAXPIN_GRANT_DOOR_WINDOW1)
		return bind_on_loop(grant, &info);
	ret = dp_window_bind_request(o->qp, grant->mw, &info, o->bind_wr_id);
	if (!ret)
		atomic_store(&grant->binding, o->qp);
	return ret;
}

static int make_window(struct daxpin_grant *grant, struct ibv_mr *parent,
		       int access, const struct daxpin_grant_options *o)
{
	int ret = dp_window_make(grant->rdma->pd,
				 grant->door == DAXPIN_GRANT_DOOR_WINDOW2 ?
				 IBV_MW_TYPE_2 : IBV_MW_TYPE_1, &grant->mw);

	if (!ret)
		ret = bind_window(grant, parent, access, o);
	if (!ret)
		grant->key.rkey = grant->mw->rkey;
	return ret;
}

/* Of our own connection we can say it: what it had went with the reset. */
static int check_bind(struct daxpin_grant *grant)
{
	struct dp_rdma_doors *doors = &grant->rdma->doors;
	bool mended;

	if (!atomic_load(&grant->binding))
		return 0;
	if (grant->door != DAXPIN_GRANT_DOOR_WINDOW1)
		return -EINPROGRESS;
	pthread_mutex_lock(&doors->lock);
	mended = mend_loop(doors);
	pthread_mutex_unlock(&doors->lock);
	if (mended)
		atomic_store(&grant->binding, NULL);
	return mended ? 0 : -EINPROGRESS;
}

static int close_window(struct daxpin_grant *grant)
{
	int ret = check_bind(grant);

	if (!ret && grant->mw)
		ret = dp_window_free(grant->mw);
	if (ret)
		return ret;
	grant->mw = NULL;
	dp_rdma_key_return(grant->rdma, grant->key.extent.addr);
	return 0;
}

static int open_window(struct daxpin_grant *grant, int access,
		       const struct daxpin_grant_options *o, bool *ret_kept)
{
	struct ibv_mr *parent;
	int ret = dp_rdma_key_lend(grant->rdma, grant->key.extent.addr,
				   &parent);

	if (ret)
		return ret;
	ret = make_window(grant, parent, access, o);
	if (ret)
		*ret_kept = close_window(grant) != 0;
	return ret;
}

/* ---------------------------------------------------------- for each grant */

int dp_rdma_door_open(struct daxpin_grant *grant, int access,
		      const struct daxpin_grant_options *o, bool *ret_kept)
{
	struct dp_rdma_doors *doors = &grant->rdma->doors;
	int ret;

	grant->door = choose_window(grant, access, o);
	if (!grant->door)
		return open_region(grant, access, o);
	ret = open_window(grant, access, o, ret_kept);
	if (!ret || *ret_kept)
		atomic_fetch_add(&doors->windows, 1);
	if (!ret)
		return 0;
	if (*ret_kept)
		return dp_fail(DP_WHY_OF(o), ret,
			       "a memory window could not be bound (%s), and %s does not let go of it: the extent stays held, the pool cannot be closed",
			       strerror(-ret), ibv_get_device_name(
				       grant->rdma->pd->context->device));
	atomic_fetch_add(&doors->refused, 1);
	return open_region(grant, access, o);
}

int dp_rdma_door_close(struct daxpin_grant *grant)
{
	int ret;

	assert(!grant->mr != !grant->mw);
	if (grant->mr) {
		ret = dp_rdma_deregister(grant->mr);
		if (!ret)
			grant->mr = NULL;
		return ret;
	}
	ret = close_window(grant);
	if (!ret)
		atomic_fetch_sub(&grant->rdma->doors.windows, 1);
	return ret;
}
