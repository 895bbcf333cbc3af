/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking grants back.
 *
 * Owns the state of every grant, and the list of those that wait for something:
 *
 *	OUT --start--> ASKED --yes, deadline--> QUEUED --executor--> ENDING
 *	ENDING --device's yes--> over        ENDING --no--> QUARANTINED
 *	QUARANTINED --start, yes, revoke--> as if it were OUT
 *
 * A revoke in the caller's thread goes from OUT, ASKED or QUARANTINED to ENDING.
 *
 *  - A grant's hold is dropped only after its door was closed (rdma_door.c), by
 *    ibv_dereg_mr() as a rule, the one DMA barrier on every device (RDMA 0.2). A
 *    device that refuses leaves the hold where it is, and so the memory.
 *  - Who moved a grant to ENDING, and nobody else, talks to the device about it.
 *  - No window is ever invalidated and no queue pair destroyed: on soft-RoCE
 *    either can end in the kernel (RDMA 0.4, 0.5). To error is safe.
 *  - A handle that is over is remembered for a while, so that a second revoke is
 *    told so rather than let at memory that is another's.
 *  - Callbacks and the device are called without the lock, the queue pair with
 *    it: who takes it away must know that it is used no more.
 */
#include "rdma/rdma.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "util/probe.h"

#define OVER_MAX	1024
#define DRAIN_TRIES	50
#define DRAIN_NS	10000000
#define AGAIN_MS	1000		/* for what nobody else can revoke */

static void lock(struct daxpin_rdma *rdma)
{
	pthread_mutex_lock(&rdma->revokes.lock);
}

static void unlock(struct daxpin_rdma *rdma)
{
	pthread_mutex_unlock(&rdma->revokes.lock);
}

/* ------------------------------------------------- lists; all under the lock */

static void become(struct daxpin_grant *grant, uint32_t state)
{
	atomic_store_explicit(&grant->state, state, memory_order_relaxed);
}

static void add_pending(struct daxpin_grant *grant)
{
	struct dp_rdma_revokes *revokes = &grant->rdma->revokes;

	assert(!grant->prev);
	grant->next = revokes->pending;
	grant->prev = &revokes->pending;
	if (grant->next)
		grant->next->prev = &grant->next;
	revokes->pending = grant;
}

static void remove_pending(struct daxpin_grant *grant)
{
	if (!grant->prev)
		return;
	*grant->prev = grant->next;
	if (grant->next)
		grant->next->prev = grant->prev;
	grant->next = NULL;
	grant->prev = NULL;
}

static void remember(struct daxpin_grant *grant)
{
	struct dp_rdma_revokes *revokes = &grant->rdma->revokes;
	struct daxpin_grant *oldest = revokes->over;

	assert(!grant->prev && !grant->next && !grant->mr && !grant->mw);
	become(grant, DP_GRANT_OVER);
	*revokes->over_end = grant;
	revokes->over_end = &grant->next;
	if (revokes->over_count < OVER_MAX) {
		revokes->over_count++;
		return;
	}
	revokes->over = oldest->next;
	free(oldest);
}

/* ----------------------------------------------------------------- the ladder */

/* The barrier. What the device says is kept, for whoever asks about the grant. */
static int close_door(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = dp_rdma_door_close(grant);

	DP_PROBE_REVOKE(rdma->pool, grant->key.extent.addr, grant->key.length,
			grant->label, ret);
	lock(rdma);
	grant->device_error = ret;
	if (ret && ret != -EINPROGRESS) {	/* it was asked */
		grant->refusals++;
		rdma->revokes.count.refusals++;
	}
	unlock(rdma);
	return ret;
}

/* To error: what the peer sends is answered no more, what is posted is flushed. */
static bool stop_queue_pair(struct daxpin_grant *grant)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	bool stopped = false;

	lock(grant->rdma);
	if (grant->qp) {
		grant->qp_error = -ibv_modify_qp(grant->qp, &attr,
						 IBV_QP_STATE);
		stopped = !grant->qp_error;
	}
	if (stopped) {
		if (atomic_load(&grant->binding) == grant->qp)
			atomic_store(&grant->binding, NULL);	/* flushed */
		grant->step = DAXPIN_GRANT_STEP_QUEUE_PAIR;
		grant->rdma->revokes.count.queue_pairs_stopped++;
	}
	unlock(grant->rdma);
	return stopped;
}

static int climb(struct daxpin_grant *grant)
{
	const struct timespec pause = { .tv_nsec = DRAIN_NS };
	int ret = close_door(grant), tries;

	if (!ret)
		return 0;
	lock(grant->rdma);
	if (grant->step < DAXPIN_GRANT_STEP_DEREGISTER)
		grant->step = DAXPIN_GRANT_STEP_DEREGISTER;
	unlock(grant->rdma);
	if (!stop_queue_pair(grant))
		return ret;
	for (tries = 0; ret && tries < DRAIN_TRIES; tries++) {
		if (tries)
			nanosleep(&pause, NULL);
		ret = close_door(grant);
	}
	return ret;
}

/* By the thread that moved it to ENDING; the grant is gone when this is 0. */
static int end(struct daxpin_grant *grant, bool was_quarantined)
{
	struct daxpin_rdma *rdma = grant->rdma;
	struct daxpin_rdma_info *count = &rdma->revokes.count;
	int ret = climb(grant), drop_ret;

	if (!ret) {
		/* Nothing that the peer sends can reach the extent any more. */
		dp_rdma_backing_close(grant, true);
		drop_ret = daxpin_drop_labelled(rdma->pool, &grant->hold);
		assert(drop_ret == 0);
	}
	lock(rdma);
	count->quarantined += (ret != 0) - was_quarantined;
	count->pending--;
	if (ret) {
		grant->step = DAXPIN_GRANT_STEP_QUARANTINE;
		become(grant, DAXPIN_GRANT_STATE_QUARANTINED);
	} else {
		count->ended++;
		count->grants--;
		remember(grant);
	}
	unlock(rdma);
	return ret;
}

/* ------------------------------------------------------- who does it, and when */

/* Who hears done() may detach: after it nothing is touched. */
static int end_queued(struct daxpin_grant *grant)
{
	void (*done)(void *arg, int result) = grant->done;
	void *done_arg = grant->arg;
	bool was_quarantined, lost = grant->lost;
	int ret;

	lock(grant->rdma);
	assert(grant->state == DAXPIN_GRANT_STATE_QUEUED);
	was_quarantined = grant->step == DAXPIN_GRANT_STEP_QUARANTINE;
	become(grant, DAXPIN_GRANT_STATE_ENDING);
	unlock(grant->rdma);
	ret = end(grant, was_quarantined);
	if (ret && lost)
		daxpin_rdma_revoke_start(grant, daxpin_deadline_ms(AGAIN_MS));
	if (done)
		done(done_arg, ret);
	return ret;
}

static void execute(void *arg)
{
	end_queued(arg);
}

/* Under the lock, which it lets go: no more grace for a grant that is pending. */
static void launch_and_unlock(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	struct dp_rdma_revokes *revokes = &rdma->revokes;

	remove_pending(grant);
	become(grant, DAXPIN_GRANT_STATE_QUEUED);
	if (!revokes->run)
		add_pending(grant);
	unlock(rdma);
	if (revokes->run)
		revokes->run(execute, grant, revokes->executor);
}

/* Under the lock: may it be taken back, by whoever asks now? */
static int check_free(struct daxpin_grant *grant)
{
	switch (atomic_load_explicit(&grant->state, memory_order_relaxed)) {
	case DP_GRANT_OVER:
		return -ESTALE;
	case DAXPIN_GRANT_STATE_QUEUED:
	case DAXPIN_GRANT_STATE_ENDING:
		return -EALREADY;
	default:
		return 0;
	}
}

/* Take the lock where the grant may be taken back, and count it as pending. */
static int lock_free(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = dp_rdma_enter(rdma);

	if (ret)
		return ret;
	lock(rdma);
	ret = check_free(grant);
	if (ret)
		unlock(rdma);
	else if (grant->state != DAXPIN_GRANT_STATE_ASKED)
		rdma->revokes.count.pending++;
	return ret;
}

DP_EXPORT int daxpin_rdma_revoke(struct daxpin_grant *grant)
{
	bool was_quarantined;
	int ret;

	if (!grant)
		return 0;
	ret = lock_free(grant);
	if (ret)
		return ret;
	remove_pending(grant);
	was_quarantined = grant->step == DAXPIN_GRANT_STEP_QUARANTINE;
	become(grant, DAXPIN_GRANT_STATE_ENDING);
	unlock(grant->rdma);
	return end(grant, was_quarantined);
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
	ret = lock_free(grant);
	if (ret)
		return ret;
	if (deadline_ns <= daxpin_deadline_ms(0)) {
		launch_and_unlock(grant);
		return 0;
	}
	/* Asked once: a grant that is ASKED gets another deadline. */
	ask_back = grant->state == DAXPIN_GRANT_STATE_ASKED ?
		   NULL : grant->ask_back;
	key = grant->key;
	arg = grant->arg;
	grant->deadline_ns = deadline_ns;
	remove_pending(grant);
	add_pending(grant);
	become(grant, DAXPIN_GRANT_STATE_ASKED);
	unlock(grant->rdma);
	if (ask_back)
		ask_back(arg, &key);
	return 0;
}

DP_EXPORT int daxpin_grant_returned(struct daxpin_grant *grant)
{
	int ret;

	if (!grant)
		return -EINVAL;
	ret = lock_free(grant);
	if (ret)
		return ret;
	grant->rdma->revokes.count.returned++;
	launch_and_unlock(grant);
	return 0;
}

/* Under the lock: one whose grace is over, or that waits for nothing else. */
static struct daxpin_grant *find_due(struct dp_rdma_revokes *revokes)
{
	const uint64_t now = daxpin_deadline_ms(0);
	struct daxpin_grant *grant;

	for (grant = revokes->pending; grant; grant = grant->next)
		if (grant->state == DAXPIN_GRANT_STATE_QUEUED ||
		    grant->deadline_ns <= now)
			return grant;
	return NULL;
}

/* Under the lock, which it lets go: with its time run out a grant is QUEUED, and
 * one that is QUEUED is for us where there is no executor. */
static int serve(struct daxpin_rdma *rdma, struct daxpin_grant *grant)
{
	if (grant->state == DAXPIN_GRANT_STATE_ASKED) {
		rdma->revokes.count.expired++;
		launch_and_unlock(grant);
		return 0;
	}
	assert(!rdma->revokes.run);
	remove_pending(grant);
	unlock(rdma);
	return end_queued(grant);
}

int dp_rdma_revokes_service(struct daxpin_rdma *rdma)
{
	struct daxpin_grant *grant;
	int ret, first = 0;

	for (;;) {
		lock(rdma);
		grant = find_due(&rdma->revokes);
		if (!grant)
			break;
		ret = serve(rdma, grant);
		if (!first)
			first = ret;
	}
	unlock(rdma);
	return first;
}

/* ------------------------------------------------------------ what is told of it */

static uint64_t next_deadline(const struct dp_rdma_revokes *revokes)
{
	const struct daxpin_grant *grant;
	uint64_t next = 0, at;

	for (grant = revokes->pending; grant; grant = grant->next) {
		at = grant->state == DAXPIN_GRANT_STATE_QUEUED ?
		     1 : grant->deadline_ns;
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
	lock(grant->rdma);
	info = (struct daxpin_grant_info) {
		.state = grant->state,
		.step = grant->step,
		.refusals = grant->refusals,
		.deadline_ns = grant->state == DAXPIN_GRANT_STATE_ASKED ?
			       grant->deadline_ns : 0,
		.device_error = grant->device_error,
		.qp_error = grant->qp_error,
		.door = grant->door,
	};
	if (grant->state == DP_GRANT_OVER)
		ret = -ESTALE;
	unlock(grant->rdma);
	if (ret)
		return ret;
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT int daxpin_grant_qp(struct daxpin_grant *grant, struct ibv_qp *qp)
{
	int ret = grant ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return ret;
	lock(grant->rdma);
	if (grant->state == DP_GRANT_OVER)
		ret = -ESTALE;
	else
		grant->qp = qp;
	unlock(grant->rdma);
	return ret;
}

DP_EXPORT int daxpin_grant_bound(struct daxpin_grant *grant,
				 const struct ibv_wc *wc)
{
	int ret = grant && wc ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return ret;
	lock(grant->rdma);
	if (grant->state == DP_GRANT_OVER)
		ret = -ESTALE;
	else if (grant->door != DAXPIN_GRANT_DOOR_WINDOW2)
		ret = -EINVAL;
	else
		atomic_store(&grant->binding, NULL);
	unlock(grant->rdma);
	return ret ? ret : wc->status ? -EIO : 0;
}

/* ------------------------------------------------------------- for the others */

void dp_rdma_grant_out(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;

	assert(grant->mr || grant->mw);
	lock(rdma);
	become(grant, DAXPIN_GRANT_STATE_OUT);
	rdma->revokes.count.grants++;
	rdma->revokes.count.granted++;
	unlock(rdma);
}

/* Ended as any other, but nobody hears of it, and it is tried until it is over. */
void dp_rdma_grant_lost(struct daxpin_grant *grant)
{
	int ret;

	grant->lost = true;
	dp_rdma_grant_out(grant);
	ret = daxpin_rdma_revoke_start(grant, 0);
	assert(!ret);
}

void dp_rdma_revokes_init(struct daxpin_rdma *rdma,
			  const struct daxpin_rdma_options *o)
{
	struct dp_rdma_revokes *revokes = &rdma->revokes;

	pthread_mutex_init(&revokes->lock, NULL);
	revokes->run = o->run;
	revokes->executor = o->executor;
	revokes->over_end = &revokes->over;
}

int dp_rdma_revokes_end(struct daxpin_rdma *rdma)
{
	struct dp_rdma_revokes *revokes = &rdma->revokes;
	uint32_t grants;

	lock(rdma);
	grants = revokes->count.grants;
	unlock(rdma);
	if (grants)
		return -EBUSY;
	assert(!revokes->pending && !revokes->count.quarantined);
	return 0;
}

void dp_rdma_grants_free(struct daxpin_grant *first)
{
	struct daxpin_grant *next;

	for (; first; first = next) {
		next = first->next;
		free(first);
	}
}

void dp_rdma_revokes_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *ret_info)
{
	lock(rdma);
	*ret_info = rdma->revokes.count;
	ret_info->next_deadline_ns = next_deadline(&rdma->revokes);
	unlock(rdma);
}
