/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the RDMA adapter share, and nobody else sees. On the
 * public header alone, as a user's adapter would be.
 *
 *	rdma.c		attach, detach, counts; the memory regions themselves
 *	rdma_key.c	local keys, by segment
 *	rdma_descriptor.c	a grant as bytes
 *	rdma_grant.c	letting a peer in
 *	rdma_backing.c	what he reaches there: the memory, or a copy of it
 *	rdma_door.c	by a region or a window of his own
 *	rdma_revoke.c	and out again
 *	rdma_publish.c	what a target does when all is written
 *	rdma_flush.c	what a peer does, so that it is durable
 *	rdma_probe.c	what the device really does: regions
 *	rdma_window.c	and memory windows
 *	rdma_loop.c	the connection with itself that this is tried on
 */
#ifndef RDMA_H
#define RDMA_H

#include <daxpin-rdma.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "rdma/access.h"
#include "rdma/backing.h"
#include "util/util.h"

struct dp_rdma_slot {
	_Atomic uint64_t key;		/* lkey | valid, or 0 */
	struct ibv_mr *mr;
	uint32_t lent;			/* to so many windows; under the lock */
};

/* rdma_revoke.c's part of it. */
struct dp_rdma_revokes {
	pthread_mutex_t lock;		/* of all here and in grants */
	void (*run)(void (*fn)(void *arg), void *arg, void *executor);
	void *executor;
	struct daxpin_grant *pending;	/* ASKED; QUEUED without an executor */
	struct daxpin_grant *over, **over_end;	/* the oldest first */
	uint32_t over_count;
	struct daxpin_rdma_info count;
};

struct daxpin_rdma {
	struct daxpin_pool *pool;	/* NULL when detached, and in a child of
					   fork() */
	bool detached;
	struct ibv_pd *pd;
	struct daxpin_registration *registration;
	uint64_t segment_size;
	uint64_t end;			/* pool address past the last segment */
	uint32_t segments;
	_Atomic uint32_t local_mrs;
	pthread_mutex_t lock;		/* the making of keys */
	struct dp_rdma_revokes revokes;
	struct dp_rdma_backing backing;
	struct dp_rdma_doors doors;
	struct dp_rdma_slot slots[];
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

#define DP_GRANT_OVER	0		/* else enum daxpin_grant_state */

struct daxpin_grant {
	struct daxpin_rdma *rdma;
	struct ibv_mr *mr;		/* his own, or ... */
	struct ibv_mw *mw;
	uint32_t door;			/* enum daxpin_grant_door */
	_Atomic(struct ibv_qp *) binding;	/* a bind may still come there */
	bool lost;			/* nobody has the handle */
	struct daxpin_hold hold;
	char label[DAXPIN_LABEL_MAX];	/* the hold's */
	struct daxpin_grant_key key;
	void *bounce;			/* what the region is over, or NULL */
	void (*ask_back)(void *arg, const struct daxpin_grant_key *key);
	void (*done)(void *arg, int result);
	void *arg;
	/* rdma_revoke.c's, under its lock. The state may be read without. */
	_Atomic uint32_t state;
	uint32_t step;
	uint64_t refusals, deadline_ns;
	int device_error, qp_error;
	struct ibv_qp *qp;
	struct daxpin_grant *next, **prev;	/* pending, or over */
};

/* ibv_reg_mr() that a signal does not spoil; 0 or -errno. */
int dp_rdma_register(struct ibv_pd *pd, void *base, uint64_t length, int access,
		     struct ibv_mr **ret_mr);
/* 0 is the device's word that nothing can reach the memory any more. */
int dp_rdma_deregister(struct ibv_mr *mr);

void dp_rdma_revokes_init(struct daxpin_rdma *rdma,
			  const struct daxpin_rdma_options *o);
/* -EBUSY while grants are out. */
int dp_rdma_revokes_end(struct daxpin_rdma *rdma);
/* Of a list of those that are over. */
void dp_rdma_grants_free(struct daxpin_grant *first);
/* The counts that are of grants. */
void dp_rdma_revokes_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *ret_info);
/* What daxpin_rdma_service() does for grants. */
int dp_rdma_revokes_service(struct daxpin_rdma *rdma);
/* A grant is out from now on. */
void dp_rdma_grant_out(struct daxpin_grant *grant);
/* One that was never given, and whose door the device does not close. */
void dp_rdma_grant_lost(struct daxpin_grant *grant);

/* rdma_probe.c: daxpin_rdma_probe(), and whether the device kept `memory`. */
int dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
		  struct daxpin_rdma_report *report, bool *ret_kept);
void dp_rdma_report_begin(struct daxpin_rdma_report *report);

/* rdma_key.c: the region of a segment, to bind a window to; it stays until it was
 * returned. */
int dp_rdma_key_lend(struct daxpin_rdma *rdma, uint64_t addr,
		     struct ibv_mr **ret_mr);
void dp_rdma_key_return(struct daxpin_rdma *rdma, uint64_t addr);

/* Deregister all local keys, at the detach. Stops at the first refusal. */
int dp_rdma_end_keys(struct daxpin_rdma *rdma);

#endif
