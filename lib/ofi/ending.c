/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the states of grants, and the grants that are over:
 *
 *	new -> OUT			[dp_ofi_add]
 *	new -> QUARANTINED		[dp_ofi_add_quarantined] the provider refused a
 *					region, and also to close what was open of it
 *	OUT, QUARANTINED -> ASKED	[daxpin_ofi_revoke_start]
 *	OUT, ASKED, QUARANTINED -> QUEUED
 *					[daxpin_ofi_returned, daxpin_ofi_revoke_start]
 *	any but ENDING -> ENDING	[ending_begin] for one grant, or for all of a
 *					peer whose endpoint ends
 *	ENDING -> OVER			[ending_finish] the access has ended
 *	ENDING -> QUARANTINED		[ending_quarantine] the provider refused
 *
 * All of it happens under the peer's mutex, so ENDING is never seen from outside.
 *
 *  - The hold is dropped only after the access has ended (I9): after the close of the
 *    region where the trial of the attach showed that it ends access, otherwise after
 *    the close of the endpoint and its domain as well. A grant that a trusted peer has
 *    returned needs only the former.
 *  - C8: a refusal that may pass is retried before anything else is done (retry.h).
 *  - C9: a handle that is over is remembered for a while.
 *  - C6: done() is called once, without a lock, and not while ask_back() runs: then the
 *    thread that is in ask_back() calls it.
 */
#include "ofi/ending.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "grant/retry.h"
#include "util/probe.h"

#define OVER_MAX	1024

static void ending_lock(struct daxpin_ofi *ofi)
{
	pthread_mutex_lock(&ofi->endings.figures_lock);
}

static void ending_unlock(struct daxpin_ofi *ofi)
{
	pthread_mutex_unlock(&ofi->endings.figures_lock);
}

/* --------------------------------------------------------------- lifetimes */

void dp_ofi_peer_unref(struct daxpin_ofi_peer *peer)
{
	if (atomic_fetch_sub(&peer->refs, 1) != 1)
		return;
	assert(!peer->grants && !dp_endpoint_is_open(&peer->endpoint));
	pthread_mutex_destroy(&peer->mutex);
	free(peer);
}

void dp_ofi_grant_ref(struct daxpin_ofi_grant *grant)
{
	atomic_fetch_add(&grant->refs, 1);
}

void dp_ofi_grant_unref(struct daxpin_ofi_grant *grant)
{
	if (atomic_fetch_sub(&grant->refs, 1) != 1)
		return;
	dp_ofi_peer_unref(grant->peer);
	free(grant);
}

void dp_ofi_endings_init(struct daxpin_ofi *ofi)
{
	pthread_mutex_init(&ofi->endings.figures_lock, NULL);
	ofi->endings.over_end = &ofi->endings.over_first;
}

void dp_ofi_endings_destroy(struct daxpin_ofi *ofi)
{
	pthread_mutex_destroy(&ofi->endings.figures_lock);
}

struct daxpin_ofi_grant *dp_ofi_endings_over(struct daxpin_ofi *ofi)
{
	return ofi->endings.over_first;
}

void dp_ofi_endings_free(struct daxpin_ofi_grant *first)
{
	struct daxpin_ofi_grant *next;

	for (; first; first = next) {
		next = first->next_over;
		dp_ofi_grant_unref(first);
	}
}

/* Takes over the reference of the peer's list. */
static void ending_remember(struct daxpin_ofi_grant *grant)
{
	struct dp_ofi_endings *endings = &grant->ofi->endings;
	struct daxpin_ofi_grant *oldest = NULL;

	ending_lock(grant->ofi);
	*endings->over_end = grant;
	endings->over_end = &grant->next_over;
	if (endings->over_count < OVER_MAX) {
		endings->over_count++;
	} else {
		oldest = endings->over_first;
		endings->over_first = oldest->next_over;
	}
	ending_unlock(grant->ofi);
	if (oldest)
		dp_ofi_grant_unref(oldest);
}

/* ------------------------------------------------------------------ figures */

void dp_ofi_endings_count(struct daxpin_ofi *ofi, struct daxpin_ofi_info *ret_info)
{
	ending_lock(ofi);
	*ret_info = ofi->endings.figures;
	ending_unlock(ofi);
}

void dp_ofi_count_peers(struct daxpin_ofi *ofi, int change)
{
	ending_lock(ofi);
	ofi->endings.figures.peers += (uint32_t)change;
	ending_unlock(ofi);
}

void dp_ofi_count_reply(struct daxpin_ofi *ofi, bool expired)
{
	ending_lock(ofi);
	if (expired)
		ofi->endings.figures.expired++;
	else
		ofi->endings.figures.returned++;
	ending_unlock(ofi);
}

static bool ending_is_pending(uint32_t state)
{
	return state == DP_GRANT_ASKED || state == DP_GRANT_QUEUED;
}

void dp_ofi_set_state(struct daxpin_ofi_grant *grant, uint32_t state)
{
	struct daxpin_ofi_info *figures = &grant->ofi->endings.figures;
	uint32_t from = dp_ofi_state(grant);

	assert(dp_grant_may_become(from, state));
	ending_lock(grant->ofi);
	figures->pending += (uint32_t)(ending_is_pending(state) -
				       ending_is_pending(from));
	if (state == DP_GRANT_QUARANTINED)
		figures->quarantined++;
	if (from == DP_GRANT_QUARANTINED)
		figures->quarantined--;
	if (state == DP_GRANT_OUT) {
		figures->granted++;
		figures->grants++;
	}
	if (state == DP_GRANT_OVER) {
		figures->ended++;
		figures->grants--;
	}
	ending_unlock(grant->ofi);
	/* release: who reads OVER may rely on what was written before. */
	atomic_store_explicit(&grant->state, state, memory_order_release);
}

static void ending_begin(struct daxpin_ofi_grant *grant)
{
	if (dp_ofi_state(grant) != DP_GRANT_ENDING)
		dp_ofi_set_state(grant, DP_GRANT_ENDING);
}

static void ending_quarantine(struct daxpin_ofi_grant *grant, int error)
{
	grant->error = error;
	dp_ofi_set_state(grant, DP_GRANT_QUARANTINED);
}

void dp_ofi_add(struct daxpin_ofi_grant *grant)
{
	struct daxpin_ofi_peer *peer = grant->peer;

	assert(grant->region && !peer->is_ended);
	dp_ofi_set_state(grant, DP_GRANT_OUT);
	grant->next = peer->grants;
	peer->grants = grant;
}

void dp_ofi_add_quarantined(struct daxpin_ofi_grant *grant, int error)
{
	assert(!grant->ask_back && !grant->done);
	dp_ofi_add(grant);
	ending_begin(grant);
	ending_quarantine(grant, error);
}

/* ------------------------------------------------------------- the provider */

static int ending_count_refusal(struct daxpin_ofi_grant *grant, int ret)
{
	DP_PROBE_REVOKE(grant->ofi->pool, grant->key.extent.addr,
			grant->key.length, grant->label, ret);
	grant->error = ret;
	if (!ret)
		return 0;
	grant->refusals++;
	ending_lock(grant->ofi);
	grant->ofi->endings.figures.refusals++;
	ending_unlock(grant->ofi);
	return ret;
}

static int ending_close_region(struct daxpin_ofi_grant *grant)
{
	struct dp_retry retry = { 0 };
	int ret = 0;

	do
		ret = grant->region ? dp_region_close(grant->region) : 0;
	while (dp_retry(&retry, ret));
	if (!ret)
		grant->region = NULL;
	return ending_count_refusal(grant, ret);
}

/* After this no grant can be added. */
static int ending_close_endpoint(struct daxpin_ofi_peer *peer)
{
	struct dp_retry retry = { 0 };
	bool was_open = dp_endpoint_is_open(&peer->endpoint);
	int ret;

	peer->is_ended = true;
	do
		ret = dp_endpoint_close(&peer->endpoint);
	while (dp_retry(&retry, ret));
	ending_lock(peer->ofi);
	if (ret)
		peer->ofi->endings.figures.refusals++;
	else if (was_open)
		peer->ofi->endings.figures.endpoints_closed++;
	ending_unlock(peer->ofi);
	return ret;
}

/* ------------------------------------------------------------------ the end */

static void ending_unlink(struct daxpin_ofi_grant *grant)
{
	struct daxpin_ofi_grant **at = &grant->peer->grants;

	while (*at != grant) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = grant->next;
}

/* No request of the peer can access the extent any more. */
static void ending_finish(struct daxpin_ofi_grant *grant,
			  struct daxpin_ofi_grant **ended)
{
	assert(!grant->region);
	if (daxpin_drop_labelled(grant->ofi->pool, &grant->hold))
		grant->hold_error = -EINVAL;
	ending_unlink(grant);
	grant->next = *ended;
	*ended = grant;
	dp_ofi_set_state(grant, DP_GRANT_OVER);
}

/* End the endpoint and all grants of the peer. */
static int ending_end_all(struct daxpin_ofi_peer *peer,
			  struct daxpin_ofi_grant **ended)
{
	struct daxpin_ofi_grant *grant, *next;
	int ret = 0, one;

	for (grant = peer->grants; grant; grant = grant->next) {
		ending_begin(grant);
		one = ending_close_region(grant);
		ret = ret ? ret : one;
	}
	/* The close of a domain that has an open region frees what the region
	 * needs (libfabric 1.17, tcp), so the endpoint stays until they have ended. */
	peer->is_ended = true;
	if (!ret)
		ret = ending_close_endpoint(peer);
	for (grant = peer->grants; grant; grant = next) {
		next = grant->next;
		if (ret)
			ending_quarantine(grant, ret);
		else
			ending_finish(grant, ended);
	}
	return ret;
}

static bool ending_needs_endpoint(const struct daxpin_ofi_grant *grant)
{
	const struct daxpin_ofi_peer *peer = grant->peer;

	if (peer->is_ended)
		return true;
	if (grant->was_returned && peer->flags & DAXPIN_OFI_TRUST_RETURNS)
		return false;
	return grant->ofi->report.ends != DAXPIN_OFI_ENDS_REGION;
}

int dp_ofi_end(struct daxpin_ofi_peer *peer, struct daxpin_ofi_grant *grant,
	       struct daxpin_ofi_grant **ended)
{
	if (!grant || ending_needs_endpoint(grant))
		return ending_end_all(peer, ended);
	ending_begin(grant);
	if (ending_close_region(grant))
		return ending_end_all(peer, ended);
	ending_finish(grant, ended);
	return 0;
}

/* A grant whose ask_back() still runs is reported by the thread in it. */
static bool ending_defer(struct daxpin_ofi_grant *grant)
{
	bool defer;

	pthread_mutex_lock(&grant->peer->mutex);
	defer = grant->in_callback;
	grant->done_later = defer;
	pthread_mutex_unlock(&grant->peer->mutex);
	return defer;
}

int dp_ofi_report_ended(struct daxpin_ofi_grant *ended)
{
	struct daxpin_ofi_grant *grant, *next;
	int first = 0;

	for (grant = ended; grant; grant = next) {
		next = grant->next;
		grant->next = NULL;
		first = first ? first : grant->hold_error;
		if (grant->done && !ending_defer(grant))
			grant->done(grant->arg, grant->hold_error);
		ending_remember(grant);
	}
	return first;
}
