/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An attachment and a grant, and what each module of the RDMA adapter keeps in
 * them. A struct that is marked as private is touched by that file alone; the
 * others use the functions of its header.
 */
#ifndef DP_RDMA_TYPES_H
#define DP_RDMA_TYPES_H

#include <daxpin-rdma.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "util/util.h"

struct dp_loopback;

/* ------------------------------------------------------- of an attachment */

/* private to local_key.c */
struct dp_local_key {
	_Atomic uint64_t key_word;	/* lkey | KEY_VALID, or 0 */
	struct ibv_mr *segment_mr;
	uint32_t lent;			/* to so many windows; under make_lock */
};

/* private to local_key.c */
struct dp_local_keys {
	pthread_mutex_t make_lock;	/* making and ending keys */
	int mr_access;			/* of each, or 0: there are none */
	_Atomic uint32_t mr_count;
};

/* private to access.c */
struct dp_accesses {
	bool use_window2;		/* the device's windows of type 2 are trusted */
	struct dp_loopback *loopback;	/* to bind windows of type 1, or NULL */
	pthread_mutex_t bind_lock;	/* of the loopback */
	bool is_broken;			/* it must be connected again */
	_Atomic uint32_t windows_out;	/* grants by a window */
	_Atomic uint64_t windows_refused_count;	/* since the attach */
};

/* private to backing.c */
struct dp_backing {
	enum daxpin_rdma_way mode;
	struct daxpin_rdma_report findings;
	_Atomic uint32_t bounced_out;
	_Atomic uint64_t bounced_out_bytes;
	_Atomic uint64_t copy_errors;	/* since the attach, as the next two */
	_Atomic uint64_t prefetch_done;
	_Atomic uint64_t prefetch_failed;
};

/* private to revoke.c */
struct dp_revokes {
	pthread_mutex_t grants_lock;	/* of all here and of struct dp_revoke */
	void (*run)(void (*fn)(void *arg), void *arg, void *executor);
	void *run_arg;
	struct daxpin_grant *pending_first;	/* ASKED; QUEUED if there is no
						   executor */
	struct daxpin_grant *over_first, **over_end;	/* the oldest first */
	uint32_t over_count;
	struct daxpin_rdma_info totals;
};

/* attach.c writes the first part, and every module may read it. */
struct daxpin_rdma {
	struct daxpin_pool *pool;	/* NULL when detached, and in a child of
					   fork() */
	bool detached;
	struct ibv_pd *pd;
	struct ibv_pd *domain;		/* one of its context, while that is found */
	struct daxpin_registration *registration;
	uint64_t segment_size;
	uint64_t end;			/* pool address past the last segment */
	uint32_t segments;
	struct dp_local_keys keys;
	struct dp_accesses accesses;
	struct dp_backing backing;
	struct dp_revokes revokes;
	struct dp_local_key slots[];	/* one for each segment */
};

/* 0, or what every call on rdma returns: -EINVAL, -ESTALE, -EOWNERDEAD. */
static inline int dp_rdma_enter(const struct daxpin_rdma *rdma)
{
	if (!rdma)
		return -EINVAL;
	if (rdma->pool)
		return 0;
	return rdma->detached ? -ESTALE : -EOWNERDEAD;
}

/* ------------------------------------------------------------- of a grant */

/* The sentence of a grant whose own hold is gone. */
#define DP_HOLD_LOST	"the hold of this grant was dropped by a daxpin_drop() that had no hold of its own: drop each hold once"

/* private to access.c */
struct dp_access {
	struct ibv_mr *own_mr;		/* the grant's own region, or ... */
	struct ibv_mw *own_mw;
	uint32_t via;			/* enum daxpin_grant_door */
	_Atomic(struct ibv_qp *) bind_qp;	/* a bind may still arrive there */
};

/* private to backing.c */
struct dp_bounce {
	void *bounce_memory;		/* what the region is over, or NULL */
};

/* private to revoke.c */
struct dp_revoke {
	_Atomic uint32_t revoke_state;	/* enum daxpin_grant_state, or OVER; may be
					   read without grants_lock */
	uint32_t escalation;		/* enum daxpin_grant_step */
	bool is_lost;			/* the caller has no handle */
	uint64_t refusal_count, ask_deadline_ns;
	int mr_error, stop_error;
	struct ibv_qp *peer_qp;
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key);
	void (*done)(void *arg, int result);
	void *done_arg;
	struct daxpin_grant *next_grant, **prev_grant;	/* pending, or over */
};

struct daxpin_grant {
	struct daxpin_rdma *rdma;
	struct daxpin_hold hold;	/* grant.c takes it, revoke.c drops it */
	char label[DAXPIN_LABEL_MAX];	/* the hold's */
	struct daxpin_grant_key key;	/* filled by grant.c, backing.c, access.c
					   before the grant is out; then constant */
	struct dp_access access;
	struct dp_bounce bounce;
	struct dp_revoke revoke;
};

#endif
