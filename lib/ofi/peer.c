/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of peers, each with its endpoint, and the work that is due for them.
 *
 *  - C5: the service call does everything for every peer, then returns the first error.
 *  - Callbacks are called after all locks were released.
 */
#include "ofi/peer.h"

#include <assert.h>
#include <errno.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_errno.h>
#include <stdlib.h>
#include <string.h>
#include "ofi/ending.h"
#include "util/cancel.h"

/* -------------------------------------------------------------- open, close */

static void peer_list(struct daxpin_ofi *ofi, struct daxpin_ofi_peer *peer)
{
	pthread_mutex_lock(&ofi->peers_lock);
	peer->next = ofi->peers;
	ofi->peers = peer;
	pthread_mutex_unlock(&ofi->peers_lock);
	dp_ofi_count_peers(ofi, 1);
}

static struct daxpin_ofi_peer *peer_allocate(struct daxpin_ofi *ofi, uint32_t flags)
{
	struct daxpin_ofi_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->ofi = ofi;
	peer->refs = 1;
	peer->flags = flags;
	peer->due_ns = UINT64_MAX;
	pthread_mutex_init(&peer->mutex, NULL);
	return peer;
}

/* If the provider refuses an endpoint, and also to close what was open of it, the peer
 * remains in the list without a handle: the detach closes it. */
static int peer_make(struct daxpin_ofi *ofi,
		     const struct daxpin_ofi_peer_options *o,
		     struct daxpin_ofi_peer **ret_peer)
{
	struct daxpin_ofi_peer *peer;
	int ret;

	if (o->flags & ~DAXPIN_OFI_TRUST_RETURNS)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, "flags 0x%x: unknown",
			       o->flags);
	peer = peer_allocate(ofi, o->flags);
	if (!peer)
		return -ENOMEM;
	ret = dp_endpoint_open(&peer->endpoint, ofi->fabric, ofi->info,
			       DP_ERRMSG_OF(o));
	if (!ret || dp_endpoint_is_open(&peer->endpoint)) {
		peer->is_ended = peer->is_left = ret;
		peer_list(ofi, peer);
	} else {
		dp_ofi_peer_unref(peer);
	}
	if (ret)
		return dp_endpoint_fail(DP_ERRMSG_OF(o), ofi->info, ret,
					"refused an endpoint");
	*ret_peer = peer;
	return 0;
}

DP_EXPORT int daxpin_ofi_peer_open(struct daxpin_ofi *ofi,
				   const struct daxpin_ofi_peer_options *options,
				   struct daxpin_ofi_peer **ret_peer)
{
	DP_UNCANCELLED();
	struct daxpin_ofi_peer_options o = { .size = sizeof(o) };
	struct daxpin_ofi_peer *peer = NULL;
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : 0;

	if (ret)
		return ret;
	ret = ret_peer ? dp_ofi_enter(ofi) : -EINVAL;
	if (!ret)
		ret = peer_make(ofi, &o, &peer);
	if (!ret)
		*ret_peer = peer;
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}

DP_EXPORT int daxpin_ofi_peer_name(struct daxpin_ofi_peer *peer, void *name,
				   size_t *size)
{
	DP_UNCANCELLED();
	size_t room;
	int ret = peer && size && (name || !*size) ? dp_ofi_enter(peer->ofi) :
						     -EINVAL;

	if (ret)
		return ret;
	room = *size;
	pthread_mutex_lock(&peer->mutex);
	if (peer->is_ended)
		ret = -ESTALE;
	else
		ret = fi_getname(&peer->endpoint.ep->fid, name, size);
	pthread_mutex_unlock(&peer->mutex);
	if (ret != -ESTALE && *size > room)
		return -EINVAL;
	return ret;
}

static void peer_unlist(struct daxpin_ofi_peer *peer)
{
	struct daxpin_ofi_peer **at = &peer->ofi->peers;

	while (*at != peer) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = peer->next;
	dp_ofi_count_peers(peer->ofi, -1);
}

DP_EXPORT int daxpin_ofi_peer_close(struct daxpin_ofi_peer *peer)
{
	struct daxpin_ofi_grant *ended = NULL;
	DP_UNCANCELLED();
	int ret, hold_ret;

	if (!peer)
		return 0;
	ret = dp_ofi_enter(peer->ofi);
	if (ret)
		return ret;
	pthread_mutex_lock(&peer->ofi->peers_lock);
	pthread_mutex_lock(&peer->mutex);
	ret = dp_ofi_end(peer, NULL, &ended);
	pthread_mutex_unlock(&peer->mutex);
	if (!ret)
		peer_unlist(peer);
	pthread_mutex_unlock(&peer->ofi->peers_lock);
	hold_ret = dp_ofi_report_ended(ended);
	if (ret)
		return ret;
	dp_ofi_peer_unref(peer);
	return hold_ret;
}

/* -------------------------------------------------------------- the service */

/* Called with the mutex: end the grants that are due. */
static int peer_end_due(struct daxpin_ofi_peer *peer, uint64_t now,
			struct daxpin_ofi_grant **ended)
{
	struct daxpin_ofi_grant *grant, *next;
	int ret, first = 0;

	peer->due_ns = UINT64_MAX;
	for (grant = peer->grants; grant; grant = next) {
		const uint32_t state = dp_ofi_state(grant);

		next = grant->next;
		if (state != DP_GRANT_ASKED && state != DP_GRANT_QUEUED)
			continue;
		if (grant->due_ns > now) {
			peer->due_ns = dp_min(peer->due_ns, grant->due_ns);
			continue;
		}
		if (state == DP_GRANT_ASKED)
			dp_ofi_count_reply(peer->ofi, true);
		ret = dp_ofi_end(peer, grant, ended);
		first = first ? first : ret;
		if (peer->is_ended)		/* so all others have ended, too */
			return first;
	}
	return first;
}

static int peer_service(struct daxpin_ofi_peer *peer, uint64_t now,
			struct daxpin_ofi_grant **ended)
{
	int ret = 0;

	pthread_mutex_lock(&peer->mutex);
	dp_endpoint_progress(&peer->endpoint, NULL);
	if (peer->due_ns <= now)
		ret = peer_end_due(peer, now, ended);
	pthread_mutex_unlock(&peer->mutex);
	return ret;
}

int dp_ofi_peers_service(struct daxpin_ofi *ofi)
{
	struct daxpin_ofi_grant *ended = NULL;
	const uint64_t now = daxpin_deadline_ms(0);
	int ret, first = 0;

	pthread_mutex_lock(&ofi->peers_lock);
	for (struct daxpin_ofi_peer *peer = ofi->peers; peer; peer = peer->next) {
		ret = peer_service(peer, now, &ended);
		first = first ? first : ret;
	}
	pthread_mutex_unlock(&ofi->peers_lock);
	ret = dp_ofi_report_ended(ended);
	return first ? first : ret;
}

/* A QUEUED grant is due at 0, so the result is then 1, a time that has passed. */
uint64_t dp_ofi_peers_due(struct daxpin_ofi *ofi)
{
	uint64_t due = UINT64_MAX;

	pthread_mutex_lock(&ofi->peers_lock);
	for (struct daxpin_ofi_peer *peer = ofi->peers; peer; peer = peer->next) {
		pthread_mutex_lock(&peer->mutex);
		due = dp_min(due, peer->due_ns);
		pthread_mutex_unlock(&peer->mutex);
	}
	pthread_mutex_unlock(&ofi->peers_lock);
	if (due == UINT64_MAX)
		return 0;
	return due ? due : 1;
}

/* ------------------------------------------------------------------- others */

/* C10: an answer names a grant by its number, extent and pool. */
static bool peer_is_named(const struct daxpin_ofi_grant *grant,
			  const struct daxpin_ofi_key *key)
{
	return grant->key.id == key->id &&
	       grant->key.extent.addr == key->extent.addr &&
	       grant->key.extent.gen == key->extent.gen &&
	       !memcmp(grant->key.uuid, key->uuid, sizeof(key->uuid));
}

static struct daxpin_ofi_grant *peer_find(struct daxpin_ofi_peer *peer,
					  const struct daxpin_ofi_key *key)
{
	struct daxpin_ofi_grant *grant = peer->grants;

	while (grant && !peer_is_named(grant, key))
		grant = grant->next;
	return grant;
}

struct daxpin_ofi_grant *dp_ofi_peers_find(struct daxpin_ofi *ofi,
					   const struct daxpin_ofi_key *key)
{
	struct daxpin_ofi_grant *grant = NULL;
	struct daxpin_ofi_peer *peer;

	pthread_mutex_lock(&ofi->peers_lock);
	for (peer = ofi->peers; peer; peer = peer->next) {
		pthread_mutex_lock(&peer->mutex);
		grant = peer_find(peer, key);
		if (grant)
			break;
		pthread_mutex_unlock(&peer->mutex);
	}
	pthread_mutex_unlock(&ofi->peers_lock);
	return grant;
}

/* Called with peers_lock. */
static int peer_close_left(struct daxpin_ofi_peer *peer)
{
	struct daxpin_ofi_grant *ended = NULL;
	int ret;

	pthread_mutex_lock(&peer->mutex);
	ret = dp_ofi_end(peer, NULL, &ended);
	pthread_mutex_unlock(&peer->mutex);
	assert(!ended);
	if (ret)
		return ret;
	peer_unlist(peer);
	dp_ofi_peer_unref(peer);
	return 0;
}

int dp_ofi_peers_close_left(struct daxpin_ofi *ofi)
{
	struct daxpin_ofi_peer *peer, *next;
	int ret, first = 0;

	pthread_mutex_lock(&ofi->peers_lock);
	for (peer = ofi->peers; peer; peer = next) {
		next = peer->next;
		ret = peer->is_left ? peer_close_left(peer) : -EBUSY;
		if (!first)
			first = ret;
	}
	pthread_mutex_unlock(&ofi->peers_lock);
	return first;
}
