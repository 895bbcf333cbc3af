/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the state of every grant that is out, the list of those that wait for
 * something, and the list of those that are over:
 *
 *	         +------------- QUARANTINED <----+
 *	         |                |              |
 *	         v                v              |
 *	OUT -> ASKED ---------> QUEUED ------> ENDING -> over
 *	  |      |                               ^
 *	  +------+----> QUEUED, or --------------+
 *
 *	new -> OUT			[dp_revoke_add]
 *	OUT, QUARANTINED -> ASKED	[daxpin_rdma_revoke_start] asks the peer
 *	ASKED -> ASKED			[daxpin_rdma_revoke_start] another deadline
 *	OUT, ASKED, QUARANTINED -> QUEUED
 *					[daxpin_grant_returned], or the deadline is
 *					over [daxpin_rdma_revoke_start,
 *					dp_revokes_service]
 *	QUEUED -> ENDING		[revoke_end_queued] by the executor, or by
 *					dp_revokes_service without one
 *	OUT, ASKED, QUARANTINED -> ENDING
 *					[daxpin_rdma_revoke] in the caller's thread
 *	ENDING -> over			[revoke_end] the device released the memory
 *	ENDING -> QUARANTINED		[revoke_end] it refused
 *
 * While a grant is ENDING its escalation goes on: close the access; if the device
 * refuses, put the peer's queue pair to error and try again for half a second;
 * then quarantine.
 *
 *  - The hold is dropped only after the access was closed (I9, A6), as a rule by
 *    ibv_dereg_mr(), the one DMA barrier on every device (RDMA 0.2). If the device
 *    refuses, the hold stays, and so does the memory.
 *  - Only the thread that moved a grant to ENDING asks the device about it.
 *  - No window is invalidated and no queue pair destroyed: on soft-RoCE either can
 *    crash in the kernel (RDMA 0.4, 0.5). Changing a queue pair to error is safe.
 *  - A handle that is over is remembered for a while, so that a second revoke
 *    returns -ESTALE and does not reach memory that has been reused.
 *  - Callbacks and the device are called without the lock, the queue pair with it:
 *    daxpin_grant_qp() promises that it is not used after the call returned.
 */

#include "rdma/revoke.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "rdma/access.h"
#include "rdma/backing.h"
#include "util/probe.h"

/* Besides enum daxpin_grant_state. A new grant is zeroed memory. */
#define STATE_OVER	0
#define STATE_NEW	STATE_OVER
/* In these a revoke may begin. */
#define FREE_STATES	(1u << DAXPIN_GRANT_STATE_OUT | \
			 1u << DAXPIN_GRANT_STATE_ASKED | \
			 1u << DAXPIN_GRANT_STATE_QUARANTINED)
#define OVER_MAX	1024
#define DRAIN_TRIES	50
#define DRAIN_NS	10000000
#define AGAIN_MS	1000		/* for what nobody else can revoke */

static void revoke_lock(struct daxpin_rdma *rdma)
{
	pthread_mutex_lock(&rdma->revokes.grants_lock);
}

static void revoke_unlock(struct daxpin_rdma *rdma)
{
	pthread_mutex_unlock(&rdma->revokes.grants_lock);
}

/* ------------------------------------------------- lists; all under the lock */

static void revoke_become(struct daxpin_grant *grant, uint32_t state)
{
	static const uint32_t may_be_from[] = {
		[STATE_OVER] = 1u << DAXPIN_GRANT_STATE_ENDING,
		[DAXPIN_GRANT_STATE_OUT] = 1u << STATE_NEW,
		[DAXPIN_GRANT_STATE_ASKED] = FREE_STATES,
		[DAXPIN_GRANT_STATE_QUEUED] = FREE_STATES,
		[DAXPIN_GRANT_STATE_ENDING] =
			FREE_STATES | 1u << DAXPIN_GRANT_STATE_QUEUED,
		[DAXPIN_GRANT_STATE_QUARANTINED] =
			1u << DAXPIN_GRANT_STATE_ENDING,
	};

	assert(may_be_from[state] >> grant->revoke.revoke_state & 1u);
	atomic_store_explicit(&grant->revoke.revoke_state, state,
			      memory_order_relaxed);
}

static void revoke_add_pending(struct daxpin_grant *grant)
{
	struct dp_revokes *revokes = &grant->rdma->revokes;

	assert(!grant->revoke.prev_grant);
	grant->revoke.next_grant = revokes->pending_first;
	grant->revoke.prev_grant = &revokes->pending_first;
	if (grant->revoke.next_grant)
		grant->revoke.next_grant->revoke.prev_grant =
			&grant->revoke.next_grant;
	revokes->pending_first = grant;
}

static void revoke_remove_pending(struct daxpin_grant *grant)
{
	if (!grant->revoke.prev_grant)
		return;
	*grant->revoke.prev_grant = grant->revoke.next_grant;
	if (grant->revoke.next_grant)
		grant->revoke.next_grant->revoke.prev_grant =
			grant->revoke.prev_grant;
	grant->revoke.next_grant = NULL;
	grant->revoke.prev_grant = NULL;
}

static void revoke_remember(struct daxpin_grant *grant)
{
	struct dp_revokes *revokes = &grant->rdma->revokes;
	struct daxpin_grant *oldest = revokes->over_first;

	assert(!grant->revoke.prev_grant && !grant->revoke.next_grant &&
	       !dp_access_is_open(grant));
	revoke_become(grant, STATE_OVER);
	*revokes->over_end = grant;
	revokes->over_end = &grant->revoke.next_grant;
	if (revokes->over_count < OVER_MAX) {
		revokes->over_count++;
		return;
	}
	revokes->over_first = oldest->revoke.next_grant;
	free(oldest);
}

/* -------------------------------------------------------------- escalation */

/* The DMA barrier. Its result is kept for daxpin_grant_info(). */
static int revoke_close_access(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = dp_access_close(grant);

	DP_PROBE_REVOKE(rdma->pool, grant->key.extent.addr, grant->key.length,
			grant->label, ret);
	revoke_lock(rdma);
	grant->revoke.mr_error = ret;
	if (ret && ret != -EINPROGRESS) {	/* it was asked */
		grant->revoke.refusal_count++;
		rdma->revokes.totals.refusals++;
	}
	revoke_unlock(rdma);
	return ret;
}

/* To error: the peer gets no more answers, and what is posted is flushed. */
static bool revoke_stop_queue_pair(struct daxpin_grant *grant)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	bool stopped = false;

	revoke_lock(grant->rdma);
	if (grant->revoke.peer_qp) {
		grant->revoke.stop_error = -ibv_modify_qp(grant->revoke.peer_qp,
							  &attr, IBV_QP_STATE);
		stopped = !grant->revoke.stop_error;
	}
	if (stopped) {
		dp_access_flushed(grant, grant->revoke.peer_qp);
		grant->revoke.escalation = DAXPIN_GRANT_STEP_QUEUE_PAIR;
		grant->rdma->revokes.totals.queue_pairs_stopped++;
	}
	revoke_unlock(grant->rdma);
	return stopped;
}

static int revoke_escalate(struct daxpin_grant *grant)
{
	const struct timespec pause = { .tv_nsec = DRAIN_NS };
	int ret = revoke_close_access(grant), tries;

	if (!ret)
		return 0;
	revoke_lock(grant->rdma);
	if (grant->revoke.escalation < DAXPIN_GRANT_STEP_DEREGISTER)
		grant->revoke.escalation = DAXPIN_GRANT_STEP_DEREGISTER;
	revoke_unlock(grant->rdma);
	if (!revoke_stop_queue_pair(grant))
		return ret;
	for (tries = 0; ret && tries < DRAIN_TRIES; tries++) {
		if (tries)
			nanosleep(&pause, NULL);
		ret = revoke_close_access(grant);
	}
	return ret;
}

/*
 * A drop of the caller's that had no hold may have taken the grant's: -EINVAL. Of a
 * lost grant nobody waits for the result, and an error would begin it again.
 */
static int revoke_drop_hold(struct daxpin_grant *grant)
{
	int ret = daxpin_drop_labelled(grant->rdma->pool, &grant->hold);

	return ret && !grant->revoke.is_lost ? -EINVAL : 0;
}

/* In the thread that moved it to ENDING. 0: the grant is over. -EINVAL also: it is,
 * but its hold was gone. */
static int revoke_end(struct daxpin_grant *grant, bool was_quarantined)
{
	struct daxpin_rdma *rdma = grant->rdma;
	struct daxpin_rdma_info *count = &rdma->revokes.totals;
	int ret = revoke_escalate(grant), drop_ret = 0;

	if (!ret) {
		/* Nothing that the peer sends can reach the extent any more. */
		dp_backing_close(grant, true);
		drop_ret = revoke_drop_hold(grant);
	}
	revoke_lock(rdma);
	assert(!ret == !dp_access_is_open(grant));
	assert(count->pending && count->grants);
	assert(count->quarantined >= was_quarantined);
	count->quarantined += (ret != 0) - was_quarantined;
	count->pending--;
	if (ret) {
		grant->revoke.escalation = DAXPIN_GRANT_STEP_QUARANTINE;
		revoke_become(grant, DAXPIN_GRANT_STATE_QUARANTINED);
	} else {
		count->ended++;
		count->grants--;
		revoke_remember(grant);
	}
	revoke_unlock(rdma);
	return ret ? ret : drop_ret;
}

/* -------------------------------------------------------- in which thread */

/*
 * done() may detach, so access nothing after calling it. The assertion finds an
 * executor that runs a job twice: there is no caller to return an error to, and
 * the next such run may find the grant freed.
 */
static int revoke_end_queued(struct daxpin_grant *grant)
{
	void (*done)(void *arg, int result) = grant->revoke.done;
	void *done_arg = grant->revoke.done_arg;
	bool was_quarantined, lost = grant->revoke.is_lost;
	int ret;

	revoke_lock(grant->rdma);
	assert(grant->revoke.revoke_state == DAXPIN_GRANT_STATE_QUEUED);
	was_quarantined = grant->revoke.escalation ==
			  DAXPIN_GRANT_STEP_QUARANTINE;
	revoke_become(grant, DAXPIN_GRANT_STATE_ENDING);
	revoke_unlock(grant->rdma);
	ret = revoke_end(grant, was_quarantined);
	if (ret && lost)
		daxpin_rdma_revoke_start(grant, daxpin_deadline_ms(AGAIN_MS));
	if (done)
		done(done_arg, ret);
	return ret;
}

static void revoke_execute(void *arg)
{
	revoke_end_queued(arg);
}

/* Called with the lock, which it releases: the grant does not wait any longer. */
static void revoke_launch_and_unlock(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	struct dp_revokes *revokes = &rdma->revokes;

	revoke_remove_pending(grant);
	revoke_become(grant, DAXPIN_GRANT_STATE_QUEUED);
	if (!revokes->run)
		revoke_add_pending(grant);
	revoke_unlock(rdma);
	if (revokes->run)
		revokes->run(revoke_execute, grant, revokes->run_arg);
}

/* Under the lock: may a revoke begin? */
static int revoke_check_free(struct daxpin_grant *grant)
{
	switch (atomic_load_explicit(&grant->revoke.revoke_state,
				     memory_order_relaxed)) {
	case STATE_OVER:
		return -ESTALE;
	case DAXPIN_GRANT_STATE_QUEUED:
	case DAXPIN_GRANT_STATE_ENDING:
		return -EALREADY;
	default:
		return 0;
	}
}

/* If a revoke may begin, take the lock and count the grant as pending. */
static int revoke_lock_free(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = dp_rdma_enter(rdma);

	if (ret)
		return ret;
	revoke_lock(rdma);
	ret = revoke_check_free(grant);
	if (ret)
		revoke_unlock(rdma);
	else if (grant->revoke.revoke_state != DAXPIN_GRANT_STATE_ASKED)
		rdma->revokes.totals.pending++;
	return ret;
}

DP_EXPORT int daxpin_rdma_revoke(struct daxpin_grant *grant)
{
	bool was_quarantined;
	int ret;

	if (!grant)
		return 0;
	ret = revoke_lock_free(grant);
	if (ret)
		return ret;
	revoke_remove_pending(grant);
	was_quarantined = grant->revoke.escalation ==
			  DAXPIN_GRANT_STEP_QUARANTINE;
	revoke_become(grant, DAXPIN_GRANT_STATE_ENDING);
	revoke_unlock(grant->rdma);
	return revoke_end(grant, was_quarantined);
}

DP_EXPORT int daxpin_rdma_revoke_start(struct daxpin_grant *grant,
				       uint64_t deadline_ns)
{
	struct daxpin_grant_key key;
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key);
	void *arg;
	int ret;

	if (!grant)
		return -EINVAL;
	ret = revoke_lock_free(grant);
	if (ret)
		return ret;
	if (deadline_ns <= daxpin_deadline_ms(0)) {
		revoke_launch_and_unlock(grant);
		return 0;
	}
	/* Asked once: a grant that is ASKED gets another deadline. */
	ask_back = grant->revoke.revoke_state == DAXPIN_GRANT_STATE_ASKED ?
		   NULL : grant->revoke.ask_back;
	key = grant->key;
	arg = grant->revoke.done_arg;
	grant->revoke.ask_deadline_ns = deadline_ns;
	revoke_remove_pending(grant);
	revoke_add_pending(grant);
	revoke_become(grant, DAXPIN_GRANT_STATE_ASKED);
	revoke_unlock(grant->rdma);
	if (ask_back)
		ask_back(arg, &key);
	return 0;
}

DP_EXPORT int daxpin_grant_returned(struct daxpin_grant *grant)
{
	int ret;

	if (!grant)
		return -EINVAL;
	ret = revoke_lock_free(grant);
	if (ret)
		return ret;
	grant->rdma->revokes.totals.returned++;
	revoke_launch_and_unlock(grant);
	return 0;
}

/* Under the lock: a grant whose deadline is over, or that is QUEUED. */
static struct daxpin_grant *revoke_find_due(struct dp_revokes *revokes)
{
	const uint64_t now = daxpin_deadline_ms(0);
	struct daxpin_grant *grant;

	for (grant = revokes->pending_first; grant;
	     grant = grant->revoke.next_grant)
		if (grant->revoke.revoke_state == DAXPIN_GRANT_STATE_QUEUED ||
		    grant->revoke.ask_deadline_ns <= now)
			return grant;
	return NULL;
}

/* Called with the lock, which it releases. A grant whose deadline is over becomes
 * QUEUED; one that is QUEUED is ended here, since there is no executor. */
static int revoke_serve(struct daxpin_rdma *rdma, struct daxpin_grant *grant)
{
	if (grant->revoke.revoke_state == DAXPIN_GRANT_STATE_ASKED) {
		rdma->revokes.totals.expired++;
		revoke_launch_and_unlock(grant);
		return 0;
	}
	assert(!rdma->revokes.run);
	revoke_remove_pending(grant);
	revoke_unlock(rdma);
	return revoke_end_queued(grant);
}

int dp_revokes_service(struct daxpin_rdma *rdma)
{
	struct daxpin_grant *grant;
	int ret, first = 0;

	for (;;) {
		revoke_lock(rdma);
		grant = revoke_find_due(&rdma->revokes);
		if (!grant)
			break;
		ret = revoke_serve(rdma, grant);
		if (!first)
			first = ret;
	}
	revoke_unlock(rdma);
	return first;
}

/* ------------------------------------------------------ reports, queue pairs */

static uint64_t revoke_next_deadline(const struct dp_revokes *revokes)
{
	const struct daxpin_grant *grant;
	uint64_t next = 0, at;

	for (grant = revokes->pending_first; grant;
	     grant = grant->revoke.next_grant) {
		at = grant->revoke.revoke_state == DAXPIN_GRANT_STATE_QUEUED ?
		     1 : grant->revoke.ask_deadline_ns;
		if (!next || at < next)
			next = at;
	}
	return next;
}

DP_EXPORT int daxpin_grant_info(struct daxpin_grant *grant,
				struct daxpin_grant_info *ret_info)
{
	struct daxpin_grant_info info;
	int ret;

	if (!grant || !ret_info)
		return -EINVAL;
	ret = dp_rdma_enter(grant->rdma);
	if (ret)
		return ret;
	revoke_lock(grant->rdma);
	info = (struct daxpin_grant_info){
		.state = grant->revoke.revoke_state,
		.step = grant->revoke.escalation,
		.refusals = grant->revoke.refusal_count,
		.deadline_ns = grant->revoke.revoke_state ==
					       DAXPIN_GRANT_STATE_ASKED ?
				       grant->revoke.ask_deadline_ns :
				       0,
		.device_error = grant->revoke.mr_error,
		.qp_error = grant->revoke.stop_error,
		.door = dp_access_via(grant),
	};
	if (grant->revoke.revoke_state == STATE_OVER)
		ret = -ESTALE;
	revoke_unlock(grant->rdma);
	if (ret)
		return ret;
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT int daxpin_grant_qp(struct daxpin_grant *grant, struct ibv_qp *qp)
{
	int ret = grant ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return ret;
	revoke_lock(grant->rdma);
	if (grant->revoke.revoke_state == STATE_OVER)
		ret = -ESTALE;
	else
		grant->revoke.peer_qp = qp;
	revoke_unlock(grant->rdma);
	return ret;
}

DP_EXPORT int daxpin_grant_bound(struct daxpin_grant *grant,
				 const struct ibv_wc *wc)
{
	int ret = grant && wc ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return ret;
	revoke_lock(grant->rdma);
	if (grant->revoke.revoke_state == STATE_OVER)
		ret = -ESTALE;
	else
		ret = dp_access_bound(grant);
	revoke_unlock(grant->rdma);
	return ret ? ret : wc->status ? -EIO : 0;
}

/* ------------------------------------------------------ for other modules */

static void revoke_add(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;

	revoke_lock(rdma);
	revoke_become(grant, DAXPIN_GRANT_STATE_OUT);
	rdma->revokes.totals.grants++;
	rdma->revokes.totals.granted++;
	revoke_unlock(rdma);
}

void dp_revoke_add(struct daxpin_grant *grant,
		   const struct daxpin_grant_options *o)
{
	assert(dp_access_is_open(grant));
	grant->revoke.ask_back = o->ask_back;
	grant->revoke.done = o->done;
	grant->revoke.done_arg = o->arg;
	grant->revoke.peer_qp = o->qp;
	revoke_add(grant);
}

/* Ended as any other, without callbacks, and until the device releases it. */
void dp_revoke_add_lost(struct daxpin_grant *grant)
{
	int ret;

	assert(dp_access_is_open(grant));
	grant->revoke.is_lost = true;
	revoke_add(grant);
	ret = daxpin_rdma_revoke_start(grant, 0);
	assert(!ret);
}

bool dp_revoke_is_over(const struct daxpin_grant *grant)
{
	return atomic_load_explicit(&grant->revoke.revoke_state,
				    memory_order_relaxed) == STATE_OVER;
}

void dp_revokes_init(struct daxpin_rdma *rdma,
			  const struct daxpin_rdma_options *o)
{
	struct dp_revokes *revokes = &rdma->revokes;

	pthread_mutex_init(&revokes->grants_lock, NULL);
	revokes->run = o->run;
	revokes->run_arg = o->executor;
	revokes->over_end = &revokes->over_first;
}

void dp_revokes_destroy(struct daxpin_rdma *rdma)
{
	pthread_mutex_destroy(&rdma->revokes.grants_lock);
}

struct daxpin_grant *dp_revokes_over(struct daxpin_rdma *rdma)
{
	return rdma->revokes.over_first;
}

int dp_revokes_check_none(struct daxpin_rdma *rdma)
{
	struct dp_revokes *revokes = &rdma->revokes;
	uint32_t grants;

	revoke_lock(rdma);
	grants = revokes->totals.grants;
	assert(grants || (!revokes->pending_first &&
			  !revokes->totals.quarantined));
	assert(grants || !revokes->totals.pending);
	revoke_unlock(rdma);
	return grants ? -EBUSY : 0;
}

void dp_revokes_free(struct daxpin_grant *first)
{
	struct daxpin_grant *next;

	for (; first; first = next) {
		next = first->revoke.next_grant;
		free(first);
	}
}

void dp_revokes_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *ret_info)
{
	revoke_lock(rdma);
	*ret_info = rdma->revokes.totals;
	ret_info->next_deadline_ns = revoke_next_deadline(&rdma->revokes);
	revoke_unlock(rdma);
}
