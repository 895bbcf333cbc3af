/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the state of every grant that exists, and the list of those that are over:
 *
 *	         +------------- QUARANTINED <----+
 *	         |                |              |
 *	         v                v              |
 *	OUT -> ASKED ---------> QUEUED ------> ENDING -> over
 *	  |      |                |              ^
 *	  +------+----> QUEUED, or+--------------+
 *
 *	new -> OUT			[dp_revoke_add]
 *	OUT, QUARANTINED -> ASKED	[daxpin_rdma_revoke_start] asks the peer,
 *					unless it was asked before
 *	ASKED -> ASKED			[daxpin_rdma_revoke_start] another deadline
 *	OUT, ASKED, QUARANTINED -> QUEUED
 *					[daxpin_grant_returned, daxpin_rdma_returned],
 *					or the deadline has passed
 *					[daxpin_rdma_revoke_start, dp_revokes_service]
 *	QUEUED -> QUEUED		[dp_revokes_service] offers a grant again
 *					that the executor has refused
 *	QUEUED -> ENDING		[revoke_end_queued_and_unlock] by the
 *					executor, or by
 *					dp_revokes_service without one;
 *					[daxpin_rdma_revoke] takes it over
 *	OUT, ASKED, QUARANTINED -> ENDING
 *					[daxpin_rdma_revoke] in the caller's thread
 *	ENDING -> over			[revoke_end] the device released the memory
 *	ENDING -> QUARANTINED		[revoke_end] it refused
 *
 * While a grant is ENDING its escalation proceeds (escalate.c).
 *
 *  - The hold is dropped only after the access was closed (I9, A6). If the device
 *    refuses, the hold stays, and so does the memory.
 *  - Only the thread that moved a grant to ENDING calls the device for it.
 *  - C9: a handle that is over is remembered for a while, so that a second revoke
 *    returns 0 and does not reach memory that has been reused.
 *  - Callbacks and the device are called without the lock.
 *  - C6: the callbacks of one grant never overlap, and no callback follows the done()
 *    that reports that the grant has ended. While ask_back(), or the done() of a
 *    quarantined grant, runs, the grant is not passed to the executor, and a revoke in
 *    another thread waits until the callback has returned. No ask_back() follows a
 *    done().
 *  - A QUEUED grant is not lost if the executor fails: a revoke can take it over, and
 *    if the executor refused it, the service call offers it again (handoff.c).
 *  - C10: a peer's answer names a grant by its number, which no other grant of this
 *    process has, and by its extent, whose generation no other open of the pool has.
 */

#include "rdma/revoke.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "grant/states.h"
#include "rdma/access.h"
#include "rdma/backing.h"
#include "rdma/escalate.h"
#include "rdma/handoff.h"
#include "rdma/pending.h"
#include "rdma/table.h"
#include "util/cancel.h"

/* Besides enum daxpin_grant_state. A new grant is zeroed memory. */
#define STATE_OVER	DP_GRANT_OVER
#define OVER_MAX	1024
#define RETRY_MS	1000		/* until a lost grant is ended again */
#define REFUSED_MS	10		/* until the executor is offered a refused
					   grant again */

static_assert((int)DAXPIN_GRANT_STATE_GRANTED == DP_GRANT_OUT &&
	      (int)DAXPIN_GRANT_STATE_ASKED == DP_GRANT_ASKED &&
	      (int)DAXPIN_GRANT_STATE_QUEUED == DP_GRANT_QUEUED &&
	      (int)DAXPIN_GRANT_STATE_ENDING == DP_GRANT_ENDING &&
	      (int)DAXPIN_GRANT_STATE_QUARANTINED == DP_GRANT_QUARANTINED,
	      "the table of states is that of these numbers");

static void revoke_lock(struct daxpin_rdma *rdma)
{
	pthread_mutex_lock(&rdma->revokes.grants_lock);
}

static void revoke_unlock(struct daxpin_rdma *rdma)
{
	pthread_mutex_unlock(&rdma->revokes.grants_lock);
}

/* ----------------------------------------------------- states; under the lock */

static uint32_t revoke_state(const struct daxpin_grant *grant)
{
	return atomic_load_explicit(&grant->revoke.revoke_state,
				    memory_order_relaxed);
}

static void revoke_set_state(struct daxpin_grant *grant, uint32_t state)
{
	assert(dp_grant_may_become(revoke_state(grant), state));
	atomic_store_explicit(&grant->revoke.revoke_state, state,
			      memory_order_relaxed);
}

/* The grant is over: remember its handle, and forget the oldest one if there are
 * OVER_MAX. A thread that waits for a callback of this grant is woken and finds it
 * over. */
static void revoke_remember(struct daxpin_grant *grant)
{
	struct dp_revokes *revokes = &grant->rdma->revokes;
	struct daxpin_grant *oldest = revokes->over_first;

	assert(!dp_pending_is_queued(grant) && !dp_pending_deadline(grant));
	assert(!dp_access_is_open(grant) && revokes->promised);
	revoke_set_state(grant, STATE_OVER);
	dp_table_remove(&revokes->table, grant);
	revokes->promised--;
	pthread_cond_broadcast(&revokes->callback_over);
	*revokes->over_end = grant;
	revokes->over_end = &grant->revoke.next_over;
	if (revokes->over_count < OVER_MAX) {
		revokes->over_count++;
		return;
	}
	revokes->over_first = oldest->revoke.next_over;
	dp_handoff_forget(oldest);
}

/*
 * -EINVAL if an excess drop of the program has ended the grant's hold. 0 for a lost
 * grant: the program never got it, so daxpin_rdma_service() must not report its error.
 */
static int revoke_drop_hold(struct daxpin_grant *grant)
{
	int ret = daxpin_drop_labelled(grant->rdma->pool, &grant->hold);

	return ret && !grant->revoke.is_lost ? -EINVAL : 0;
}

/* -------------------------------------------------------------- callbacks */

/* Called with the lock held. The grant's memory stays until revoke_end_callback(). */
static void revoke_begin_callback(struct daxpin_grant *grant)
{
	assert(!grant->revoke.in_callback && !grant->revoke.launch_later);
	grant->revoke.was_asked = true;
	grant->revoke.in_callback = true;
	grant->revoke.callback_thread = pthread_self();
	dp_handoff_ref(grant);
}

static bool revoke_is_called_elsewhere(const struct daxpin_grant *grant)
{
	return grant->revoke.in_callback &&
	       !pthread_equal(grant->revoke.callback_thread, pthread_self());
}

/* Called with the lock held: wait until no other thread is in a callback of the grant.
 * True if the grant is over; then its memory may be gone. */
static bool revoke_await_callback(struct daxpin_grant *grant)
{
	struct dp_revokes *revokes = &grant->rdma->revokes;
	bool over;

	dp_handoff_ref(grant);
	while (!dp_revoke_is_over(grant) && revoke_is_called_elsewhere(grant))
		pthread_cond_wait(&revokes->callback_over,
				  &revokes->grants_lock);
	over = dp_revoke_is_over(grant);
	dp_handoff_unref(grant);
	return over;
}

static void revoke_hand_over_and_unlock(struct daxpin_grant *grant);

/*
 * If the grant is over, the callback itself has ended it and may have detached, so only
 * the grant's own memory is accessed. No other thread ends it while the callback runs.
 */
static void revoke_end_callback(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;

	if (!dp_revoke_is_over(grant)) {
		revoke_lock(rdma);
		assert(grant->revoke.in_callback);
		grant->revoke.in_callback = false;
		pthread_cond_broadcast(&rdma->revokes.callback_over);
		if (grant->revoke.launch_later) {
			grant->revoke.launch_later = false;
			revoke_hand_over_and_unlock(grant);
		} else {
			revoke_unlock(rdma);
		}
	}
	dp_handoff_unref(grant);
}

/* ------------------------------------------------------------------ the end */

/*
 * Called by the thread that moved the grant to ENDING. If it is over, *ret_over is
 * true, and the result is 0, or -EINVAL if an excess drop had ended its hold. If it is
 * quarantined, *ret_over is false, and the result is the device's error; then
 * in_callback is set if has_callback is, because the caller will call done().
 */
static int revoke_end(struct daxpin_grant *grant, bool has_callback,
		      bool *ret_over)
{
	struct daxpin_rdma *rdma = grant->rdma;
	struct daxpin_rdma_info *count = &rdma->revokes.totals;
	bool was_quarantined = dp_escalation_is_quarantined(grant);
	int ret = dp_escalate(grant), drop_ret = 0;

	if (!ret) {
		/* No request of the peer can access the extent any more. */
		dp_backing_close(grant, true);
		drop_ret = revoke_drop_hold(grant);
	}
	revoke_lock(rdma);
	assert(!ret == !dp_access_is_open(grant));
	assert(count->pending && count->grants);
	assert(count->quarantined >= was_quarantined);
	count->quarantined += (ret != 0) - was_quarantined;
	count->pending--;
	*ret_over = !ret;
	if (ret) {
		revoke_set_state(grant, DAXPIN_GRANT_STATE_QUARANTINED);
		if (has_callback)
			revoke_begin_callback(grant);
	} else {
		count->ended++;
		count->grants--;
		revoke_remember(grant);
	}
	revoke_unlock(rdma);
	return ret ? ret : drop_ret;
}

/*
 * Called with the lock, which it releases. If the grant is over, done() may detach, so
 * access nothing after calling it.
 */
static int revoke_end_queued_and_unlock(struct daxpin_grant *grant)
{
	void (*done)(void *arg, int result) = grant->revoke.done;
	void *done_arg = grant->revoke.done_arg;
	bool over, lost = grant->revoke.is_lost;
	int ret;

	assert(revoke_state(grant) == DAXPIN_GRANT_STATE_QUEUED);
	assert(!grant->revoke.in_callback && !grant->revoke.launch_later);
	revoke_set_state(grant, DAXPIN_GRANT_STATE_ENDING);
	revoke_unlock(grant->rdma);
	ret = revoke_end(grant, done, &over);
	if (!over && lost)
		daxpin_rdma_revoke_start(grant, daxpin_deadline_ms(RETRY_MS));
	if (done) {
		done(done_arg, ret);
		if (!over)
			revoke_end_callback(grant);
	}
	return ret;
}

/* -------------------------------------------------------- in which thread */

/* The executor's job. Cancellation is disabled: a cancelled thread would leave the
 * grant in ENDING. */
static void revoke_execute(void *arg)
{
	struct daxpin_grant *grant = arg;
	DP_UNCANCELLED();

	if (!dp_handoff_begin(grant))
		return;
	/* The grant is not over, so neither it nor its attachment has been freed. */
	revoke_lock(grant->rdma);
	revoke_end_queued_and_unlock(grant);
}

/* Queue the grant, so that the service call offers it again, unless a revoke has taken
 * it meanwhile. */
static void revoke_keep_refused(struct daxpin_rdma *rdma,
				struct daxpin_grant *grant)
{
	struct dp_revokes *revokes = &rdma->revokes;

	revoke_lock(rdma);
	revokes->totals.executor_refusals++;
	if (dp_handoff_refused(grant)) {
		dp_pending_queue(&revokes->pending, grant);
		revokes->refused_again_ns = daxpin_deadline_ms(REFUSED_MS);
	}
	revoke_unlock(rdma);
}

/* Called with the lock, which it releases: pass a QUEUED grant to the executor or the
 * queue. It may be over when this returns. */
static void revoke_hand_over_and_unlock(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	struct dp_revokes *revokes = &rdma->revokes;

	assert(revoke_state(grant) == DAXPIN_GRANT_STATE_QUEUED);
	if (grant->revoke.in_callback) {
		grant->revoke.launch_later = true;
		revoke_unlock(rdma);
		return;
	}
	if (!revokes->run) {
		dp_pending_queue(&revokes->pending, grant);
		revoke_unlock(rdma);
		return;
	}
	dp_handoff_give(grant);
	revoke_unlock(rdma);
	/* If the executor accepts it, done() may already have detached, so access
	 * nothing. */
	if (revokes->run(revoke_execute, grant, revokes->run_arg))
		revoke_keep_refused(rdma, grant);
}

/* Called with the lock, which it releases: stop waiting for the peer, and queue it. */
static void revoke_launch_and_unlock(struct daxpin_grant *grant)
{
	dp_pending_remove(&grant->rdma->revokes.pending, grant);
	revoke_set_state(grant, DAXPIN_GRANT_STATE_QUEUED);
	revoke_hand_over_and_unlock(grant);
}

/* Called with the lock held: take over a grant that is QUEUED. */
static bool revoke_take_queued(struct daxpin_grant *grant)
{
	if (grant->revoke.launch_later) {
		grant->revoke.launch_later = false;
		return true;
	}
	return dp_pending_is_queued(grant) || dp_handoff_take(grant);
}

/* Called with the lock held: count the grant as pending if a revoke can begin. */
static int revoke_begin(struct daxpin_grant *grant)
{
	switch (revoke_state(grant)) {
	case STATE_OVER:
		return -ESTALE;
	case DAXPIN_GRANT_STATE_QUEUED:
	case DAXPIN_GRANT_STATE_ENDING:
		return -EALREADY;
	case DAXPIN_GRANT_STATE_ASKED:
		return 0;
	default:
		grant->rdma->revokes.totals.pending++;
		return 0;
	}
}

/* Called with the lock held: move the grant to ENDING if this thread can end it. */
static int revoke_begin_here(struct daxpin_grant *grant)
{
	int ret = revoke_begin(grant);

	if (revoke_state(grant) == DAXPIN_GRANT_STATE_QUEUED &&
	    revoke_take_queued(grant))
		ret = 0;
	if (ret)
		return ret;
	dp_pending_remove(&grant->rdma->revokes.pending, grant);
	revoke_set_state(grant, DAXPIN_GRANT_STATE_ENDING);
	return 0;
}

/* C9: a grant that has ended needs no further step. */
static int revoke_ignore_over(int ret)
{
	return ret == -ESTALE ? 0 : ret;
}

DP_EXPORT int daxpin_rdma_revoke(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma;
	DP_UNCANCELLED();
	bool over;
	int ret;

	if (!grant)
		return 0;
	rdma = grant->rdma;
	ret = dp_rdma_enter(rdma);
	if (ret)
		return revoke_ignore_over(ret);
	revoke_lock(rdma);
	ret = revoke_await_callback(grant) ? -ESTALE : revoke_begin_here(grant);
	revoke_unlock(rdma);
	return ret ? revoke_ignore_over(ret) : revoke_end(grant, false, &over);
}

/* Called with the lock, which it releases. */
static void revoke_ask_back_and_unlock(struct daxpin_grant *grant,
				       uint64_t deadline_ns)
{
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key) =
		grant->revoke.was_asked ? NULL : grant->revoke.ask_back;
	const struct daxpin_grant_key key = grant->key;
	void *arg = grant->revoke.done_arg;

	dp_pending_add(&grant->rdma->revokes.pending, grant, deadline_ns);
	revoke_set_state(grant, DAXPIN_GRANT_STATE_ASKED);
	if (ask_back)
		revoke_begin_callback(grant);
	revoke_unlock(grant->rdma);
	if (!ask_back)
		return;
	ask_back(arg, &key);
	revoke_end_callback(grant);
}

DP_EXPORT int daxpin_rdma_revoke_start(struct daxpin_grant *grant,
				       uint64_t deadline_ns)
{
	DP_UNCANCELLED();
	int ret = grant ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return revoke_ignore_over(ret);
	revoke_lock(grant->rdma);
	ret = revoke_begin(grant);
	if (ret)
		revoke_unlock(grant->rdma);
	else if (deadline_ns <= daxpin_deadline_ms(0))
		revoke_launch_and_unlock(grant);
	else
		revoke_ask_back_and_unlock(grant, deadline_ns);
	return revoke_ignore_over(ret);
}

/* Called with the lock, which it releases: the peer has returned the grant. */
static int revoke_return_and_unlock(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = revoke_begin(grant);

	if (ret) {
		revoke_unlock(rdma);
		return ret;
	}
	rdma->revokes.totals.returned++;
	revoke_launch_and_unlock(grant);
	return 0;
}

DP_EXPORT int daxpin_grant_returned(struct daxpin_grant *grant)
{
	DP_UNCANCELLED();
	int ret = grant ? dp_rdma_enter(grant->rdma) : -EINVAL;

	if (ret)
		return ret;
	revoke_lock(grant->rdma);
	return revoke_return_and_unlock(grant);
}

static bool revoke_is_named(const struct daxpin_grant *grant,
			    const struct daxpin_grant_key *key)
{
	return grant && grant->key.extent.addr == key->extent.addr &&
	       grant->key.extent.gen == key->extent.gen &&
	       !memcmp(grant->key.uuid, key->uuid, sizeof(key->uuid));
}

DP_EXPORT int daxpin_rdma_returned(struct daxpin_rdma *rdma,
				   const struct daxpin_grant_key *key)
{
	struct daxpin_grant *grant;
	DP_UNCANCELLED();
	int ret = key ? dp_rdma_enter(rdma) : -EINVAL;

	if (ret)
		return ret;
	revoke_lock(rdma);
	grant = dp_table_find(&rdma->revokes.table, key->id);
	if (revoke_is_named(grant, key))
		return revoke_return_and_unlock(grant);
	revoke_unlock(rdma);
	return -ESTALE;
}

/* ------------------------------------------------------------- the service */

/* Offer each grant that the executor has refused once more. This function and the next
 * two are called with the lock and return with it. */
static void revoke_offer_again(struct daxpin_rdma *rdma)
{
	struct dp_pending *pending = &rdma->revokes.pending;
	uint32_t count = dp_pending_queued(pending);
	struct daxpin_grant *grant;

	for (; count; count--) {
		grant = dp_pending_first_queued(pending);
		if (!grant)
			return;
		dp_pending_remove(pending, grant);
		revoke_hand_over_and_unlock(grant);
		revoke_lock(rdma);
	}
}

static void revoke_launch_expired(struct daxpin_rdma *rdma)
{
	const uint64_t now = daxpin_deadline_ms(0);
	struct daxpin_grant *grant;

	for (;;) {
		grant = dp_pending_expired(&rdma->revokes.pending, now);
		if (!grant)
			return;
		rdma->revokes.totals.expired++;
		revoke_launch_and_unlock(grant);
		revoke_lock(rdma);
	}
}

/* C5: end each of them, even after an error. Returns the first error. */
static int revoke_end_all_queued(struct daxpin_rdma *rdma)
{
	struct dp_pending *pending = &rdma->revokes.pending;
	struct daxpin_grant *grant;
	int ret, first = 0;

	for (;;) {
		grant = dp_pending_first_queued(pending);
		if (!grant)
			return first;
		dp_pending_remove(pending, grant);
		ret = revoke_end_queued_and_unlock(grant);
		if (!first)
			first = ret;
		revoke_lock(rdma);
	}
}

int dp_revokes_service(struct daxpin_rdma *rdma)
{
	int ret = 0;

	revoke_lock(rdma);
	if (rdma->revokes.run)
		revoke_offer_again(rdma);
	revoke_launch_expired(rdma);
	if (!rdma->revokes.run)
		ret = revoke_end_all_queued(rdma);
	revoke_unlock(rdma);
	return ret;
}

/* ------------------------------------------------------ reports, queue pairs */

/* If there is no executor, a service call is due as soon as a grant is queued. So the
 * function returns 1, a time that has passed. */
static uint64_t revoke_next_deadline(const struct dp_revokes *revokes)
{
	uint64_t next = dp_pending_next_deadline(&revokes->pending);

	if (!dp_pending_queued(&revokes->pending))
		return next;
	if (!revokes->run)
		return 1;
	return next && next < revokes->refused_again_ns ?
		       next :
		       revokes->refused_again_ns;
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
		.deadline_ns = dp_pending_deadline(grant),
		.via = dp_access_via(grant),
	};
	dp_escalation_report(grant, &info);
	if (grant->revoke.revoke_state == STATE_OVER)
		ret = -ESTALE;
	revoke_unlock(grant->rdma);
	if (ret)
		return ret;
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

/* ------------------------------------------------------ for other modules */

int dp_revokes_reserve(struct daxpin_rdma *rdma)
{
	struct dp_revokes *revokes = &rdma->revokes;
	int ret;

	revoke_lock(rdma);
	ret = dp_pending_reserve(&revokes->pending, revokes->promised + 1);
	if (!ret)
		ret = dp_table_reserve(&revokes->table, revokes->promised + 1);
	if (!ret)
		revokes->promised++;
	revoke_unlock(rdma);
	return ret;
}

void dp_revokes_unreserve(struct daxpin_rdma *rdma)
{
	revoke_lock(rdma);
	assert(rdma->revokes.promised > rdma->revokes.totals.grants);
	rdma->revokes.promised--;
	revoke_unlock(rdma);
}

static void revoke_add(struct daxpin_grant *grant)
{
	struct daxpin_rdma *rdma = grant->rdma;

	revoke_lock(rdma);
	assert(rdma->revokes.totals.grants < rdma->revokes.promised);
	revoke_set_state(grant, DAXPIN_GRANT_STATE_GRANTED);
	dp_table_add(&rdma->revokes.table, grant);
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
	revoke_add(grant);
}

/* Revoke the grant like any other, without callbacks, until the device releases it. */
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
	return revoke_state(grant) == STATE_OVER;
}

void dp_revokes_init(struct daxpin_rdma *rdma,
			  const struct daxpin_rdma_options *o)
{
	struct dp_revokes *revokes = &rdma->revokes;

	pthread_mutex_init(&revokes->grants_lock, NULL);
	pthread_cond_init(&revokes->callback_over, NULL);
	dp_pending_init(&revokes->pending);
	revokes->run = o->run;
	revokes->run_arg = o->executor;
	revokes->over_end = &revokes->over_first;
}

void dp_revokes_close(struct daxpin_rdma *rdma)
{
	dp_pending_destroy(&rdma->revokes.pending);
	dp_table_destroy(&rdma->revokes.table);
}

void dp_revokes_destroy(struct daxpin_rdma *rdma)
{
	dp_revokes_close(rdma);
	pthread_cond_destroy(&rdma->revokes.callback_over);
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
	assert(grants || (!dp_pending_queued(&revokes->pending) &&
			  !dp_pending_next_deadline(&revokes->pending) &&
			  !revokes->totals.quarantined));
	assert(grants || !revokes->totals.pending);
	revoke_unlock(rdma);
	return grants ? -EBUSY : 0;
}

void dp_revokes_free(struct daxpin_grant *first)
{
	struct daxpin_grant *next;

	for (; first; first = next) {
		next = first->revoke.next_over;
		dp_handoff_forget(first);
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
