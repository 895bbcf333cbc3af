/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns what gives a peer access to the memory of a grant: a memory region of the
 * grant's own, or a memory window over the region that its segment has for local
 * keys, if the caller asked for windows and the device was seen to enforce them.
 *
 *	closed -> region		[access_open_region]
 *	closed -> binding -> window	[access_open_window]
 *	region, window -> closed	[dp_access_close]
 *
 * A bind is over when the caller has reported its completion [dp_access_bound], when
 * its queue pair is in error [dp_access_flushed], or when the loopback connection was
 * reset [access_check_bind].
 *
 *  - Only ibv_dealloc_mw() ends a window. A device's windows are used only if the probe
 *    saw that no write arrives after it has returned (window_probe.c).
 *  - A window of type 2 is bound on the peer's queue pair: requests behind it, such
 *    as the message with the key, begin when it is done, and are flushed if it
 *    fails. The caller sees its completion and reports it.
 *  - A window of type 1 is bound on a loopback connection of the attachment, and this
 *    file waits for the bind.
 *  - A window is not freed while its bind may still execute. Otherwise the device could
 *    give the number of the freed window to another window; the late bind would then
 *    act on that one, and a peer could access memory that was not granted to it.
 *  - If no window can be used for the requested access, or making one fails, the grant
 *    gets a region. Failures are counted, and daxpin_grant_info() reports whether the
 *    grant is a window or a region.
 *  - A segment's region does not end while windows are bound to it (rdma.md R7).
 */

#include "rdma/access.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include "rdma/local_key.h"
#include "rdma/loopback.h"
#include "rdma/mr.h"
#include "grant/retry.h"
#include "rdma/trust.h"
#include "rdma/window.h"
#include "util/memlock.h"

#define BIND_MS		2000
/* The kinds of access that the trial has tested. */
#define WINDOW_ACCESS	(IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)
#define ACCESS_WRITES	(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

/* ---------------------------------------------------------- for all of them */

void dp_accesses_init(struct daxpin_rdma *rdma)
{
	pthread_mutex_init(&rdma->accesses.bind_lock, NULL);
}

void dp_accesses_destroy(struct daxpin_rdma *rdma)
{
	pthread_mutex_destroy(&rdma->accesses.bind_lock);
}

/* Continues with what an earlier call left. */
static int access_close_loopback(struct dp_accesses *accesses)
{
	int ret = accesses->loopback ? dp_loopback_close(accesses->loopback) : 0;

	if (ret)
		return ret;
	free(accesses->loopback);
	accesses->loopback = NULL;
	return 0;
}

/* What the device keeps of a failed connection is closed by dp_accesses_close(). */
static int access_open_loopback(struct daxpin_rdma *rdma, bool *ret_kept)
{
	struct dp_accesses *accesses = &rdma->accesses;
	int ret;

	accesses->loopback = calloc(1, sizeof(*accesses->loopback));
	if (!accesses->loopback)
		return -ENOMEM;
	ret = dp_loopback_open(accesses->loopback, rdma->pd,
			       daxpin_deadline_ms(BIND_MS));
	if (ret)
		*ret_kept = access_close_loopback(accesses) != 0;
	else
		accesses->use_window1 = true;
	return ret;
}

int dp_accesses_open(struct daxpin_rdma *rdma,
		     const struct daxpin_rdma_options *o,
		     const struct daxpin_rdma_report *report, bool *ret_kept)
{
	struct dp_accesses *accesses = &rdma->accesses;
	int ret;

	if (!(o->flags & DAXPIN_RDMA_WINDOWS))
		return 0;
	accesses->use_window2 = dp_rdma_trusts(&report->window2);
	if (accesses->use_window1 || !dp_rdma_trusts(&report->window1))
		return 0;
	assert(!accesses->loopback);
	ret = access_open_loopback(rdma, ret_kept);
	if (!ret)
		return 0;
	return dp_fail(DP_ERRMSG_OF(o), ret,
		       "the device cannot be connected with itself, which memory windows need: %s",
		       strerror(-ret));
}

int dp_accesses_close(struct daxpin_rdma *rdma)
{
	assert(!atomic_load(&rdma->accesses.windows_out));
	return access_close_loopback(&rdma->accesses);
}

bool dp_accesses_have_windows(const struct daxpin_rdma *rdma)
{
	return rdma->accesses.use_window2 || rdma->accesses.use_window1;
}

void dp_accesses_count(struct daxpin_rdma *rdma,
			 struct daxpin_rdma_info *info)
{
	info->windows = atomic_load(&rdma->accesses.windows_out);
	info->windows_refused =
		atomic_load(&rdma->accesses.windows_refused_count);
}

/* ---------------------------------------------------------------- a region */

static int access_open_region(struct daxpin_grant *grant, int access,
			      const struct daxpin_grant_options *o)
{
	const struct daxpin_grant_key *key = &grant->key;
	struct ibv_pd *pd = grant->rdma->pd;
	char text[DP_MEMLOCK_TEXT];
	int ret;

	if (access & ACCESS_WRITES)
		access |= IBV_ACCESS_LOCAL_WRITE;	/* the verbs require it */
	ret = dp_mr_register(pd, (void *)(uintptr_t)key->addr, key->length,
			       access, &grant->access.own_mr);
	if (!ret) {
		grant->access.via = DAXPIN_GRANT_VIA_MR;
		grant->key.rkey = grant->access.own_mr->rkey;
		return 0;
	}
	if (ret == -ENOMEM) {
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "%" PRIu64 " bytes cannot be pinned; %s: raise the limit (ulimit -l; systemd: LimitMEMLOCK=) or give CAP_IPC_LOCK",
			       key->length, dp_memlock_text(text));
	}
	return dp_fail(DP_ERRMSG_OF(o), ret,
		       "%s refused a memory region of %" PRIu64 " bytes with access 0x%x: %s",
		       ibv_get_device_name(pd->context->device), key->length,
		       (unsigned int)access, strerror(-ret));
}

/* ---------------------------------------------------------------- a window */

static uint32_t access_choose_window(const struct daxpin_grant *grant,
				     int access,
				     const struct daxpin_grant_options *o)
{
	const struct dp_accesses *accesses = &grant->rdma->accesses;

	if (access & ~(WINDOW_ACCESS | IBV_ACCESS_LOCAL_WRITE))
		return 0;
	assert(!o->qp || o->qp->pd == grant->rdma->pd);
	if (accesses->use_window2 && o->qp)
		return DAXPIN_GRANT_VIA_MW2;
	return accesses->use_window1 ? DAXPIN_GRANT_VIA_MW1 : 0;
}

/* Called with bind_lock held. The reset discards requests that were still in flight. */
static bool access_reconnect(struct dp_accesses *accesses)
{
	if (accesses->is_broken)
		accesses->is_broken =
			dp_loopback_connect(accesses->loopback) != 0;
	return !accesses->is_broken;
}

/* One bind at a time, so that the next completion belongs to it. A bind that failed may
 * still execute, until the connection was reset; bind_qp records that. */
static int access_bind_on_loopback(struct daxpin_grant *grant,
				   const struct ibv_mw_bind_info *info)
{
	struct dp_accesses *accesses = &grant->rdma->accesses;
	int ret = -EIO;

	pthread_mutex_lock(&accesses->bind_lock);
	dp_loopback_set_deadline(accesses->loopback,
				 daxpin_deadline_ms(BIND_MS));
	if (access_reconnect(accesses)) {
		ret = dp_window_bind_call(accesses->loopback,
					  grant->access.own_mw, info);
		accesses->is_broken = ret != 0;
		if (!access_reconnect(accesses))
			atomic_store(&grant->access.bind_qp,
				     dp_loopback_far(accesses->loopback));
	}
	pthread_mutex_unlock(&accesses->bind_lock);
	return ret > 0 ? -EIO : ret;
}

static int access_bind_window(struct daxpin_grant *grant, struct ibv_mr *parent,
			      int access, const struct daxpin_grant_options *o)
{
	const struct ibv_mw_bind_info info = {
		.mr = parent,
		.addr = grant->key.addr,
		.length = grant->key.length,
		.mw_access_flags = (unsigned int)(access & WINDOW_ACCESS),
	};
	int ret;

	if (grant->access.via == DAXPIN_GRANT_VIA_MW1)
		return access_bind_on_loopback(grant, &info);
	ret = dp_window_bind_request(o->qp, grant->access.own_mw, &info,
				     o->bind_wr_id);
	if (!ret)
		atomic_store(&grant->access.bind_qp, o->qp);
	return ret;
}

static int access_make_window(struct daxpin_grant *grant, struct ibv_mr *parent,
			      int access, const struct daxpin_grant_options *o)
{
	bool is_type2 = grant->access.via == DAXPIN_GRANT_VIA_MW2;
	int ret = dp_window_make(grant->rdma->pd,
				 is_type2 ? IBV_MW_TYPE_2 : IBV_MW_TYPE_1,
				 &grant->access.own_mw);

	if (!ret)
		ret = access_bind_window(grant, parent, access, o);
	if (!ret)
		grant->key.rkey = grant->access.own_mw->rkey;
	return ret;
}

/* 0: the window may be freed. A reset of the loopback connection discards its binds. */
static int access_check_bind(struct daxpin_grant *grant)
{
	struct dp_accesses *accesses = &grant->rdma->accesses;
	bool mended;

	if (!atomic_load(&grant->access.bind_qp))
		return 0;
	if (grant->access.via != DAXPIN_GRANT_VIA_MW1)
		return -EINPROGRESS;
	pthread_mutex_lock(&accesses->bind_lock);
	mended = access_reconnect(accesses);
	pthread_mutex_unlock(&accesses->bind_lock);
	if (mended)
		atomic_store(&grant->access.bind_qp, NULL);
	return mended ? 0 : -EINPROGRESS;
}

static int access_close_window(struct daxpin_grant *grant)
{
	int ret = access_check_bind(grant);

	if (!ret && grant->access.own_mw)
		ret = dp_window_free(grant->access.own_mw);
	if (ret)
		return ret;
	grant->access.own_mw = NULL;
	dp_local_key_return(grant->rdma, grant->key.extent.addr);
	return 0;
}

static int access_open_window(struct daxpin_grant *grant, int access,
			      const struct daxpin_grant_options *o,
			      bool *ret_kept)
{
	struct dp_retry retry = { 0 };
	struct ibv_mr *parent;
	int ret = dp_local_key_lend(grant->rdma, grant->key.extent.addr,
				   &parent);
	int close_ret;

	if (ret)
		return ret;
	ret = access_make_window(grant, parent, access, o);
	if (!ret)
		return 0;
	do
		close_ret = access_close_window(grant);
	while (dp_retry(&retry, close_ret));
	*ret_kept = close_ret != 0;
	return ret;
}

/* ---------------------------------------------------------- for each grant */

int dp_access_open(struct daxpin_grant *grant, int access,
		      const struct daxpin_grant_options *o, bool *ret_kept)
{
	struct dp_accesses *accesses = &grant->rdma->accesses;
	int ret;

	assert(!dp_access_is_open(grant));
	grant->access.via = access_choose_window(grant, access, o);
	if (!grant->access.via)
		return access_open_region(grant, access, o);
	ret = access_open_window(grant, access, o, ret_kept);
	if (!ret || *ret_kept)
		atomic_fetch_add(&accesses->windows_out, 1);
	if (!ret)
		return 0;
	if (*ret_kept)
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "a memory window could not be bound (%s), and %s does not free it: until it does, the extent remains held and the pool cannot be closed",
			       strerror(-ret), ibv_get_device_name(
				       grant->rdma->pd->context->device));
	atomic_fetch_add(&accesses->windows_refused_count, 1);
	return access_open_region(grant, access, o);
}

int dp_access_close(struct daxpin_grant *grant)
{
	uint32_t windows = 1;
	int ret;

	assert(!grant->access.own_mr != !grant->access.own_mw);
	if (grant->access.own_mr) {
		ret = dp_mr_deregister_once(grant->access.own_mr);
		if (!ret)
			grant->access.own_mr = NULL;
		return ret;
	}
	ret = access_close_window(grant);
	if (!ret)
		windows = atomic_fetch_sub(&grant->rdma->accesses.windows_out,
					   1);
	assert(windows);
	return ret;
}

bool dp_access_is_open(const struct daxpin_grant *grant)
{
	return grant->access.own_mr || grant->access.own_mw;
}

uint32_t dp_access_via(const struct daxpin_grant *grant)
{
	return grant->access.via;
}

struct ibv_mr *dp_access_region(const struct daxpin_grant *grant)
{
	return grant->access.own_mr;
}

void dp_access_flushed(struct daxpin_grant *grant, struct ibv_qp *qp)
{
	if (atomic_load(&grant->access.bind_qp) == qp)
		atomic_store(&grant->access.bind_qp, NULL);
}

int dp_access_bound(struct daxpin_grant *grant)
{
	if (grant->access.via != DAXPIN_GRANT_VIA_MW2)
		return -EINVAL;
	atomic_store(&grant->access.bind_qp, NULL);
	return 0;
}
