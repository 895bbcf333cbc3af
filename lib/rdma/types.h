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
	uint32_t lent;			/* windows that use it; under make_lock */
};

/* private to local_key.c */
struct dp_local_keys {
	pthread_mutex_t make_lock;	/* making and ending keys */
	int mr_access;			/* of each region; 0: local keys are not
					   allowed */
	_Atomic uint32_t mr_count;
};

/* private to access.c */
struct dp_accesses {
	_Atomic bool use_window2;	/* the device's windows of type 2 are trusted */
	_Atomic bool use_window1;	/* so are those of type 1, and loopback is
					   connected */
	_Atomic(struct dp_loopback *) loopback;	/* to bind windows of type 1, or what
						   the device keeps of it, or NULL */
	pthread_mutex_t bind_lock;	/* for the use of loopback, and is_broken */
	bool is_broken;			/* loopback must be connected again */
	_Atomic uint32_t windows_out;	/* grants by a window */
	_Atomic uint64_t windows_refused_count;	/* since the attach */
};

/* private to backing.c */
struct dp_backing {
	_Atomic uint32_t mode;		/* enum daxpin_rdma_mode */
	bool may_bounce;
	_Atomic bool windows_wanted;	/* requested, but not yet tried with a result */
	pthread_mutex_t trial_lock;	/* for trials, and the four fields below */
	struct daxpin_rdma_report findings;
	int trial_error;		/* of the last trial without a result */
	uint64_t next_trial_ns;		/* the earliest time of the next trial */
	bool is_kept;			/* a trial's memory was not released */
	/* Counts: */
	_Atomic uint32_t bounced_out;
	_Atomic uint64_t bounced_out_bytes;
	_Atomic uint64_t copy_errors;	/* this and the next two: since the attach */
	_Atomic uint64_t prefetch_done;
	_Atomic uint64_t prefetch_failed;
};

/* private to escalate.c */
struct dp_escalations {
	pthread_mutex_t escalations_lock;	/* for this struct and struct
						   dp_escalation */
	uint64_t refusals, queue_pairs_stopped;	/* since the attach */
};

/* private to pending.c */
struct dp_pending {
	struct daxpin_grant **heap;	/* by deadline, from index 1 on */
	uint32_t heap_count, heap_room;
	struct daxpin_grant *queue_first, **queue_end;
	uint32_t queue_count;
};

/* private to table.c */
struct dp_table {
	struct daxpin_grant **places;
	uint32_t place_count;		/* a power of two, or 0 */
};

/* private to revoke.c */
struct dp_revokes {
	pthread_mutex_t grants_lock;	/* for this struct and struct dp_revoke */
	pthread_cond_t callback_over;	/* some grant's callback has returned */
	int (*run)(void (*fn)(void *arg), void *arg, void *executor);
	void *run_arg;
	struct dp_pending pending;	/* grants that are ASKED, or QUEUED and not with
					   an executor */
	struct dp_table table;		/* all grants that are not over */
	uint32_t promised;		/* grants with space in pending and table */
	uint64_t refused_again_ns;	/* when to offer the queue to the executor */
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
	struct ibv_pd *domain;		/* a second domain in pd's context; exists only
					   while the pool identifies the context */
	struct daxpin_registration *registration;	/* for local keys */
	struct daxpin_registration *regions;	/* for regions that the program
						   makes itself, or NULL */
	uint64_t segment_size;
	uint64_t end;			/* pool address past the last segment that the
					   pool may have while it is open */
	uint32_t segments;		/* up to there */
	struct dp_local_keys keys;
	struct dp_accesses accesses;
	struct dp_backing backing;
	struct dp_escalations escalations;
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

/* private to access.c */
struct dp_access {
	struct ibv_mr *own_mr;		/* the grant's own region, or ... */
	struct ibv_mw *own_mw;
	uint32_t via;			/* enum daxpin_grant_via */
	_Atomic(struct ibv_qp *) bind_qp;	/* on which the bind may still execute;
						   NULL: it cannot */
};

/* private to backing.c */
struct dp_bounce {
	enum daxpin_rdma_mode mode;	/* of this grant */
	void *bounce_memory;		/* the bounce buffer, or NULL */
};

/* private to escalate.c */
struct dp_escalation {
	uint32_t step;			/* enum daxpin_grant_escalation */
	bool is_closed;			/* the device released the memory */
	uint64_t refusal_count;
	int mr_error, stop_error;
	struct ibv_qp *peer_qp;
};

/* private to revoke.c */
struct dp_revoke {
	_Atomic uint32_t revoke_state;	/* enum daxpin_grant_state, or OVER; may be
					   read without grants_lock */
	bool is_lost;			/* the caller has no handle */
	bool was_asked;			/* do not call ask_back again */
	bool in_callback;		/* a callback is running in callback_thread */
	bool launch_later;		/* hand the grant over when it has returned */
	pthread_t callback_thread;
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key);
	void (*done)(void *arg, int result);
	void *done_arg;
	struct daxpin_grant *next_over;
};

/* private to handoff.c */
struct dp_handoff {
	_Atomic uint32_t word;
};

/* private to pending.c */
struct dp_waiting {
	uint64_t due_ns;
	uint32_t heap_index;		/* 0: not in the heap */
	struct daxpin_grant *next, **prev;	/* the queue; prev is NULL outside it */
};

/* private to table.c */
struct dp_listed {
	struct daxpin_grant *next;
};

struct daxpin_grant {
	struct daxpin_rdma *rdma;
	struct daxpin_hold hold;	/* grant.c takes it, revoke.c drops it */
	char label[DAXPIN_LABEL_MAX];	/* the hold's */
	struct daxpin_grant_key key;	/* filled by grant.c, backing.c, access.c
					   before the grant is out; then constant */
	struct dp_access access;
	struct dp_bounce bounce;
	struct dp_escalation escalation;
	struct dp_revoke revoke;
	struct dp_handoff handoff;
	struct dp_waiting pending;
	struct dp_listed listed;
};

#endif
