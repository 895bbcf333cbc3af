/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Granting a peer remote access to an extent or a part of it, and taking it back.
 *
 *	range, zeroes [access_prepare] -> hold [access_hold] -> region, key
 *	[access_open] -> the grant exists [dp_ofi_add]; a failure undoes the steps in
 *	the opposite order
 *
 * ending.c has the states.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rdma/fi_errno.h>
#include <stdlib.h>
#include <string.h>
#include "grant/memory.h"
#include "ofi/ending.h"
#include "ofi/peer.h"
#include "ofi/types.h"
#include "util/cancel.h"

#define ACCESS_ALL	(FI_REMOTE_READ | FI_REMOTE_WRITE)
#define KEY_TRIES	16

static_assert((int)DAXPIN_OFI_STATE_GRANTED == DP_GRANT_OUT &&
	      (int)DAXPIN_OFI_STATE_ASKED == DP_GRANT_ASKED &&
	      (int)DAXPIN_OFI_STATE_QUEUED == DP_GRANT_QUEUED &&
	      (int)DAXPIN_OFI_STATE_ENDING == DP_GRANT_ENDING &&
	      (int)DAXPIN_OFI_STATE_QUARANTINED == DP_GRANT_QUARANTINED,
	      "the table of states is that of these numbers");

/* ----------------------------------------------------------------- granting */

static int access_check_options(const struct daxpin_ofi_grant_options *o)
{
	if (o->flags & ~(DAXPIN_GRANT_ZERO | DAXPIN_GRANT_EXPOSE))
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, "flags 0x%x: unknown",
			       o->flags);
	if (!o->access || o->access & ~(uint64_t)ACCESS_ALL)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "access 0x%" PRIx64 " must be FI_REMOTE_READ, FI_REMOTE_WRITE or both",
			       o->access);
	return 0;
}

static int access_hold(struct daxpin_ofi_grant *grant,
			  const struct daxpin_ofi_grant_options *o)
{
	uint32_t access = DAXPIN_HOLD_GRANT;
	int ret;

	if (o->access & FI_REMOTE_WRITE)
		access |= DAXPIN_HOLD_WRITE;
	if (o->access & FI_REMOTE_READ)
		access |= DAXPIN_HOLD_READ;
	snprintf(grant->label, sizeof(grant->label), "%s",
		 o->label ? o->label : "grant");
	ret = daxpin_hold_labelled(grant->ofi->pool, grant->key.extent, access,
				   grant->label, &grant->hold);
	if (ret)
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "the extent cannot be held: %s", strerror(-ret));
	return 0;
}

static struct dp_grant_memory access_memory(const struct daxpin_ofi_grant *grant)
{
	return (struct dp_grant_memory){ grant->ofi->pool, grant->key.extent,
					 grant->key.offset, grant->key.length };
}

/* Range and zeroes: what needs no hold of the grant. */
static int access_prepare(struct daxpin_ofi_grant *grant,
			     const struct daxpin_ofi_grant_options *o)
{
	struct dp_grant_memory memory = { grant->ofi->pool, grant->key.extent,
					  o->offset, o->length };
	int ret = dp_grant_fill_range(&memory, DP_ERRMSG_OF(o));

	grant->key.offset = memory.offset;
	grant->key.length = memory.length;
	if (ret || !(o->flags & DAXPIN_GRANT_ZERO))
		return ret;
	return dp_grant_zero(&memory, DP_ERRMSG_OF(o));
}

/*
 * A key that no other grant of the endpoint has. It depends on the grant's number and
 * on the generation of the extent, in which the open of the pool is contained: the
 * key of an earlier process is not the key of another grant.
 */
static uint64_t access_choose_key(const struct daxpin_ofi_grant *grant,
				     unsigned int attempt)
{
	const size_t bytes = grant->ofi->info->domain_attr->mr_key_size;
	uint64_t mixed = grant->key.extent.gen * UINT64_C(0x9e3779b97f4a7c15);

	mixed ^= (grant->key.id << 8 | attempt) + (mixed >> 29);
	mixed *= UINT64_C(0xbf58476d1ce4e5b9);
	mixed ^= mixed >> 32;
	return bytes && bytes < sizeof(mixed) ?
		       mixed & ((UINT64_C(1) << 8 * bytes) - 1) : mixed;
}

/* Called with the peer's mutex. */
static int access_register(struct daxpin_ofi_grant *grant, const void *memory)
{
	int ret = -EEXIST;

	for (unsigned int i = 0;
	     i < KEY_TRIES && ret == -EEXIST && !grant->region; i++) {
		ret = dp_region_open(&grant->peer->endpoint, grant->ofi->info,
				     memory, grant->key.length,
				     grant->key.access,
				     access_choose_key(grant, i),
				     &grant->region);
		if (ret == -FI_ENOKEY)
			ret = -EEXIST;
	}
	return ret;
}

static int access_open(struct daxpin_ofi_grant *grant,
			  const struct daxpin_ofi_grant_options *o)
{
	const struct daxpin_ofi *ofi = grant->ofi;
	const void *memory = daxpin_ptr(ofi->pool, grant->key.extent,
					grant->key.offset);
	int ret;

	if (!memory)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, DP_HOLD_LOST);
	if (grant->peer->is_ended)
		return dp_fail(DP_ERRMSG_OF(o), -ESTALE,
			       "the endpoint of this peer was closed to end a grant: close the peer, open another and give the peer its name");
	ret = access_register(grant, memory);
	if (ret)
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "%s refused a memory region of %" PRIu64 " bytes: %s%s",
			       ofi->info->fabric_attr->prov_name,
			       grant->key.length, fi_strerror(-ret),
			       grant->region ? "; nor could the region be closed, so its extent is quarantined until daxpin_ofi_peer_close() of this peer succeeds" : "");
	grant->key.key = fi_mr_key(grant->region);
	if (grant->key.is_virtual)
		grant->key.addr = (uintptr_t)memory;
	return 0;
}

/* The provider has refused the region of a new grant, and to close it. The peer may use
 * it, so the hold remains, although the caller gets no handle of the grant. */
static void access_keep(struct daxpin_ofi_grant *grant, int error)
{
	grant->ask_back = NULL;
	grant->done = NULL;
	dp_ofi_grant_ref(grant);	/* of the peer's list */
	dp_ofi_add_quarantined(grant, error);
}

/* Called with the hold and the peer's mutex: the grant exists, or nothing has
 * changed, or the grant is quarantined. */
static int access_begin(struct daxpin_ofi_grant *grant,
			   const struct daxpin_ofi_grant_options *o)
{
	const struct dp_grant_memory memory = access_memory(grant);
	int ret = 0;

	if (o->access & FI_REMOTE_READ)
		ret = dp_grant_check_old_bytes(&memory, o->flags != 0,
					       DP_ERRMSG_OF(o));
	if (!ret)
		ret = access_open(grant, o);
	if (!ret)
		dp_ofi_add(grant);
	else if (grant->region)
		access_keep(grant, ret);
	return ret;
}

static int access_give(struct daxpin_ofi_grant *grant,
			  const struct daxpin_ofi_grant_options *o)
{
	int ret = access_prepare(grant, o);
	bool is_kept;

	if (!ret)
		ret = access_hold(grant, o);
	if (ret)
		return ret;
	pthread_mutex_lock(&grant->peer->mutex);
	ret = access_begin(grant, o);
	is_kept = grant->region;
	pthread_mutex_unlock(&grant->peer->mutex);
	if (ret && !is_kept && daxpin_drop_labelled(grant->ofi->pool, &grant->hold))
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, DP_HOLD_LOST);
	return ret;
}

static struct daxpin_ofi_grant *access_make(struct daxpin_ofi_peer *peer,
			struct daxpin_extent extent,
			const struct daxpin_ofi_grant_options *o)
{
	struct daxpin_ofi_grant *grant = calloc(1, sizeof(*grant));
	const struct fi_info *info = peer->ofi->info;

	if (!grant)
		return NULL;
	grant->ofi = peer->ofi;
	grant->peer = peer;
	grant->refs = 1;
	grant->key.id = dp_grant_next_id();
	grant->key.extent = extent;
	grant->key.access = o->access;
	grant->key.protocol = info->ep_attr->protocol;
	grant->key.is_virtual = !!(info->domain_attr->mr_mode & FI_MR_VIRT_ADDR);
	memcpy(grant->key.uuid, peer->ofi->uuid, sizeof(grant->key.uuid));
	grant->ask_back = o->ask_back;
	grant->done = o->done;
	grant->arg = o->arg;
	atomic_fetch_add(&peer->refs, 1);
	return grant;
}

DP_EXPORT int daxpin_ofi_grant(struct daxpin_ofi_peer *peer,
			       struct daxpin_extent extent,
			       const struct daxpin_ofi_grant_options *options,
			       struct daxpin_ofi_grant **ret_grant)
{
	DP_UNCANCELLED();
	struct daxpin_ofi_grant_options o = { .size = sizeof(o) };
	struct daxpin_ofi_grant *grant = NULL;
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : -EINVAL;

	if (ret)
		return ret;
	ret = peer && ret_grant ? dp_ofi_enter(peer->ofi) : -EINVAL;
	if (!ret)
		ret = access_check_options(&o);
	if (!ret) {
		grant = access_make(peer, extent, &o);
		ret = grant ? access_give(grant, &o) : -ENOMEM;
	}
	if (!ret)
		*ret_grant = grant;
	else if (grant)
		dp_ofi_grant_unref(grant);
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}

DP_EXPORT void daxpin_ofi_grant_key(const struct daxpin_ofi_grant *grant,
				    struct daxpin_ofi_key *ret_key)
{
	*ret_key = grant->key;
}

/* -------------------------------------------------------------- taking back */

/* C9: the memory of a grant that is over may be all that is left of it. */
static int access_enter(const struct daxpin_ofi_grant *grant)
{
	int ret = grant ? dp_ofi_enter(grant->ofi) : -EINVAL;

	return !ret && dp_ofi_state(grant) == DP_GRANT_OVER ? -ESTALE : ret;
}

DP_EXPORT int daxpin_ofi_revoke(struct daxpin_ofi_grant *grant)
{
	struct daxpin_ofi_grant *ended = NULL;
	DP_UNCANCELLED();
	int ret = grant ? access_enter(grant) : -ESTALE, hold_ret;

	if (ret)
		return ret == -ESTALE ? 0 : ret;
	dp_ofi_grant_ref(grant);
	pthread_mutex_lock(&grant->peer->mutex);
	if (dp_ofi_state(grant) != DP_GRANT_OVER)
		ret = dp_ofi_end(grant->peer, grant, &ended);
	pthread_mutex_unlock(&grant->peer->mutex);
	hold_ret = dp_ofi_report_ended(ended);
	dp_ofi_grant_unref(grant);
	return ret ? ret : hold_ret;
}

/* Called with the peer's mutex: may a revoke begin? */
static int access_check_free(const struct daxpin_ofi_grant *grant)
{
	switch (dp_ofi_state(grant)) {
	case DP_GRANT_OVER:
		return -ESTALE;
	case DP_GRANT_QUEUED:
	case DP_GRANT_ENDING:
		return -EALREADY;
	default:
		return 0;
	}
}

static void access_set_due(struct daxpin_ofi_grant *grant, uint32_t state,
			      uint64_t due_ns)
{
	grant->due_ns = due_ns;
	grant->peer->due_ns = dp_min(grant->peer->due_ns, due_ns);
	dp_ofi_set_state(grant, state);
}

/* Called with the peer's mutex, which it releases meanwhile. */
static void access_ask_back(struct daxpin_ofi_grant *grant)
{
	void (*done)(void *arg, int result) = NULL;
	struct daxpin_ofi_peer *peer = grant->peer;

	grant->was_asked = true;
	if (!grant->ask_back)
		return;
	grant->in_callback = true;
	pthread_mutex_unlock(&peer->mutex);
	grant->ask_back(grant->arg, &grant->key);
	pthread_mutex_lock(&peer->mutex);
	grant->in_callback = false;
	if (grant->done_later)
		done = grant->done;
	if (!done)
		return;
	pthread_mutex_unlock(&peer->mutex);
	done(grant->arg, grant->hold_error);
	pthread_mutex_lock(&peer->mutex);
}

DP_EXPORT int daxpin_ofi_revoke_start(struct daxpin_ofi_grant *grant,
				      uint64_t deadline_ns)
{
	DP_UNCANCELLED();
	int ret = access_enter(grant);
	bool now = deadline_ns <= daxpin_deadline_ms(0);

	if (ret)
		return ret == -ESTALE ? 0 : ret;
	dp_ofi_grant_ref(grant);
	pthread_mutex_lock(&grant->peer->mutex);
	ret = access_check_free(grant);
	if (!ret) {
		access_set_due(grant, now ? DP_GRANT_QUEUED : DP_GRANT_ASKED,
				  now ? 0 : deadline_ns);
		if (!now && !grant->was_asked)
			access_ask_back(grant);
	}
	pthread_mutex_unlock(&grant->peer->mutex);
	dp_ofi_grant_unref(grant);
	return ret == -ESTALE ? 0 : ret;
}

DP_EXPORT int daxpin_ofi_returned(struct daxpin_ofi *ofi,
				  const struct daxpin_ofi_key *key)
{
	struct daxpin_ofi_grant *grant;
	DP_UNCANCELLED();
	int ret = key ? dp_ofi_enter(ofi) : -EINVAL;

	if (ret)
		return ret;
	grant = dp_ofi_peers_find(ofi, key);
	if (!grant)
		return -ESTALE;
	ret = access_check_free(grant);
	if (!ret) {
		grant->was_returned = true;
		dp_ofi_count_reply(ofi, false);
		access_set_due(grant, DP_GRANT_QUEUED, 0);
	}
	pthread_mutex_unlock(&grant->peer->mutex);
	return ret;
}

DP_EXPORT int daxpin_ofi_grant_info(struct daxpin_ofi_grant *grant,
				    struct daxpin_ofi_grant_info *ret_info)
{
	struct daxpin_ofi_grant_info info;
	DP_UNCANCELLED();
	int ret = ret_info ? access_enter(grant) : -EINVAL;

	if (ret)
		return ret;
	pthread_mutex_lock(&grant->peer->mutex);
	info = (struct daxpin_ofi_grant_info){
		.state = dp_ofi_state(grant),
		.refusals = grant->refusals,
		.error = grant->error,
	};
	if (info.state == DP_GRANT_ASKED)
		info.deadline_ns = grant->due_ns;
	pthread_mutex_unlock(&grant->peer->mutex);
	if (info.state == DP_GRANT_OVER)
		return -ESTALE;
	return dp_return_versioned(ret_info, &info, sizeof(info));
}
