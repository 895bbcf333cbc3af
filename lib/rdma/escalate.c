/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the escalation of a grant, the steps to make the device release its memory:
 *
 *	NONE -> DEREGISTER	[escalate_refused] the access did not end
 *	DEREGISTER, QUARANTINE -> QUEUE_PAIR
 *				[escalate_stop_queue_pair] the peer's queue pair was
 *				moved to the error state, and the call is repeated
 *				for half a second
 *	DEREGISTER, QUEUE_PAIR -> QUARANTINE
 *				[dp_escalate] the device still refused
 *	any -> closed		[escalate_close_once] it released the memory
 *
 *  - The DMA barrier is ibv_dereg_mr() for a region, and ibv_dealloc_mw() for a window.
 *    A grant ends only when that call has succeeded.
 *  - C8: after a temporary failure the call is repeated before any escalation
 *    (retry.c).
 *  - No window is invalidated and no queue pair destroyed: on soft-RoCE either can
 *    crash in the kernel. Changing a queue pair to error is safe.
 *  - The device is called without the lock. The queue pair is changed under it, because
 *    daxpin_grant_qp() promises that the old queue pair is not used after it returned.
 */
#include "rdma/escalate.h"

#include <assert.h>
#include <errno.h>
#include <time.h>
#include "rdma/access.h"
#include "grant/retry.h"
#include "util/cancel.h"
#include "util/probe.h"

#define DRAIN_TRIES	50
#define DRAIN_NS	10000000

void dp_escalations_init(struct daxpin_rdma *rdma)
{
	pthread_mutex_init(&rdma->escalations.escalations_lock, NULL);
}

void dp_escalations_destroy(struct daxpin_rdma *rdma)
{
	pthread_mutex_destroy(&rdma->escalations.escalations_lock);
}

static void escalate_lock(struct daxpin_rdma *rdma)
{
	pthread_mutex_lock(&rdma->escalations.escalations_lock);
}

static void escalate_unlock(struct daxpin_rdma *rdma)
{
	pthread_mutex_unlock(&rdma->escalations.escalations_lock);
}

void dp_escalations_count(struct daxpin_rdma *rdma,
			  struct daxpin_rdma_info *info)
{
	escalate_lock(rdma);
	info->refusals = rdma->escalations.refusals;
	info->queue_pairs_stopped = rdma->escalations.queue_pairs_stopped;
	escalate_unlock(rdma);
}

void dp_escalation_set_peer(struct daxpin_grant *grant, struct ibv_qp *qp)
{
	grant->escalation.peer_qp = qp;
}

/* Call the DMA barrier once. Its result is kept for daxpin_grant_info(). */
static int escalate_close_once(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = dp_access_close(grant);

	DP_PROBE_REVOKE(rdma->pool, grant->key.extent.addr, grant->key.length,
			grant->label, ret);
	escalate_lock(rdma);
	grant->escalation.mr_error = ret;
	grant->escalation.is_closed = !ret;
	escalate_unlock(rdma);
	return ret;
}

static int escalate_count_refusal(struct daxpin_grant *grant, int ret)
{
	if (!ret || ret == -EINPROGRESS)	/* the device was not called */
		return ret;
	escalate_lock(grant->rdma);
	grant->escalation.refusal_count++;
	grant->rdma->escalations.refusals++;
	escalate_unlock(grant->rdma);
	return ret;
}

static int escalate_close_access(struct daxpin_grant *grant)
{
	struct dp_retry retry = { 0 };
	int ret;

	do
		ret = escalate_close_once(grant);
	while (dp_retry(&retry, ret));
	return escalate_count_refusal(grant, ret);
}

/* Called with the lock held. In the error state the peer gets no more replies, and
 * posted requests are flushed. */
static int escalate_stop_once(struct daxpin_grant *grant)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct ibv_qp *qp = grant->escalation.peer_qp;
	int ret;

	if (!qp)
		return -ENOENT;
	ret = -ibv_modify_qp(qp, &attr, IBV_QP_STATE);
	grant->escalation.stop_error = ret;
	if (ret)
		return ret;
	dp_access_flushed(grant, qp);
	grant->escalation.step = DAXPIN_GRANT_ESCALATION_QUEUE_PAIR;
	grant->rdma->escalations.queue_pairs_stopped++;
	return 0;
}

static int escalate_stop_queue_pair(struct daxpin_grant *grant)
{
	struct dp_retry retry = { 0 };
	int ret;

	do {
		escalate_lock(grant->rdma);
		ret = escalate_stop_once(grant);
		escalate_unlock(grant->rdma);
	} while (dp_retry(&retry, ret));
	return ret;
}

/* Called with the error, if the access could not be ended. Returns the last result. */
static int escalate_refused(struct daxpin_grant *grant, int ret)
{
	const struct timespec pause = { .tv_nsec = DRAIN_NS };

	escalate_lock(grant->rdma);
	if (grant->escalation.step < DAXPIN_GRANT_ESCALATION_DEREGISTER)
		grant->escalation.step = DAXPIN_GRANT_ESCALATION_DEREGISTER;
	escalate_unlock(grant->rdma);
	if (escalate_stop_queue_pair(grant))
		return ret;
	for (int tries = 0; ret && tries < DRAIN_TRIES; tries++) {
		if (tries)
			nanosleep(&pause, NULL);
		ret = escalate_count_refusal(grant, escalate_close_once(grant));
	}
	return ret;
}

int dp_escalate(struct daxpin_grant *grant)
{
	int ret = escalate_close_access(grant);

	if (ret)
		ret = escalate_refused(grant, ret);
	assert(!ret == !dp_access_is_open(grant));
	escalate_lock(grant->rdma);
	if (ret)
		grant->escalation.step = DAXPIN_GRANT_ESCALATION_QUARANTINE;
	escalate_unlock(grant->rdma);
	return ret;
}

bool dp_escalation_is_quarantined(const struct daxpin_grant *grant)
{
	return grant->escalation.step == DAXPIN_GRANT_ESCALATION_QUARANTINE;
}

void dp_escalation_report(struct daxpin_grant *grant,
			  struct daxpin_grant_info *info)
{
	escalate_lock(grant->rdma);
	info->escalation = grant->escalation.step;
	info->refusals = grant->escalation.refusal_count;
	info->device_error = grant->escalation.mr_error;
	info->qp_error = grant->escalation.stop_error;
	escalate_unlock(grant->rdma);
}

/* ------------------------------------------------------- the peer's queue pair */

/* C9: the queue pair of a grant that has ended is not used any more. */
DP_EXPORT int daxpin_grant_qp(struct daxpin_grant *grant, struct ibv_qp *qp)
{
	DP_UNCANCELLED();
	int ret = grant ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (!ret && qp && qp->pd != grant->rdma->pd)
		return -EINVAL;
	if (!ret) {
		escalate_lock(grant->rdma);
		if (grant->escalation.is_closed)
			ret = -ESTALE;
		else
			grant->escalation.peer_qp = qp;
		escalate_unlock(grant->rdma);
	}
	return ret == -ESTALE && !qp ? 0 : ret;
}

DP_EXPORT int daxpin_grant_bound(struct daxpin_grant *grant,
				 const struct ibv_wc *wc)
{
	DP_UNCANCELLED();
	int ret = grant && wc ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return ret;
	escalate_lock(grant->rdma);
	ret = grant->escalation.is_closed ? -ESTALE : dp_access_bound(grant);
	escalate_unlock(grant->rdma);
	return ret ? ret : wc->status ? -EIO : 0;
}
