/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An attachment, a peer and a grant. Locks, in this order: peers_lock, a peer's mutex,
 * figures_lock. A peer's mutex is for the peer, its grants and all calls of libfabric
 * that concern them.
 */
#ifndef DP_OFI_TYPES_H
#define DP_OFI_TYPES_H

#include <daxpin-ofi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "grant/states.h"
#include "ofi/context.h"
#include "ofi/endpoint.h"
#include "util/util.h"

struct daxpin_ofi_grant;

/* private to ending.c */
struct dp_ofi_endings {
	pthread_mutex_t figures_lock;	/* for this struct */
	struct daxpin_ofi_info figures;
	struct daxpin_ofi_grant *over_first, **over_end;	/* the oldest first */
	uint32_t over_count;
};

/* adapter.c writes it, except for peers and endings; every module may read it. */
struct daxpin_ofi {
	struct daxpin_pool *pool;	/* NULL when detached, and in a child of
					   fork() */
	bool detached;
	struct fid_fabric *fabric;
	struct fi_info *info;		/* NULL when detached */
	struct dp_context context;
	struct daxpin_ofi_report report;
	unsigned char uuid[16];
	pthread_mutex_t peers_lock;	/* for peers, and their members `next` */
	struct daxpin_ofi_peer *peers;
	struct dp_ofi_endings endings;
};

struct daxpin_ofi_peer {
	struct daxpin_ofi *ofi;
	struct daxpin_ofi_peer *next;
	_Atomic uint32_t refs;		/* the program's, and each grant's */
	uint32_t flags;			/* DAXPIN_OFI_TRUST_RETURNS */
	pthread_mutex_t mutex;
	struct dp_endpoint endpoint;
	bool is_ended;			/* the close of the endpoint has begun */
	bool is_left;			/* it could not be opened, nor closed */
	uint64_t due_ns;		/* a grant may be due then; UINT64_MAX: none */
	struct daxpin_ofi_grant *grants;	/* that are not over */
};

struct daxpin_ofi_grant {
	struct daxpin_ofi *ofi;
	struct daxpin_ofi_peer *peer;
	_Atomic uint32_t refs;		/* of callers, and of the list it is in */
	struct daxpin_hold hold;	/* grant.c takes it, ending.c drops it */
	char label[DAXPIN_LABEL_MAX];	/* the hold's */
	struct daxpin_ofi_key key;	/* constant once the grant is out */
	struct fid_mr *region;
	_Atomic uint32_t state;		/* enum dp_grant_state */
	uint64_t due_ns;		/* ASKED: the deadline; QUEUED: 0 */
	bool was_asked, was_returned;
	bool in_callback;		/* ask_back() is running */
	bool done_later;		/* it calls done() when it has returned */
	uint64_t refusals;
	int error;			/* of the last attempt to end it */
	int hold_error;			/* 0, or -EINVAL: an excess drop */
	void (*ask_back)(void *arg, const struct daxpin_ofi_key *key);
	void (*done)(void *arg, int result);
	void *arg;
	struct daxpin_ofi_grant *next;	/* of the peer's, or of those to report */
	struct daxpin_ofi_grant *next_over;
};

/* 0, or what every call on ofi returns: -EINVAL, -ESTALE, -EOWNERDEAD. */
static inline int dp_ofi_enter(const struct daxpin_ofi *ofi)
{
	if (!ofi)
		return -EINVAL;
	if (ofi->pool)
		return 0;
	return ofi->detached ? -ESTALE : -EOWNERDEAD;
}

static inline uint32_t dp_ofi_state(const struct daxpin_ofi_grant *grant)
{
	return atomic_load_explicit(&grant->state, memory_order_acquire);
}

#endif
