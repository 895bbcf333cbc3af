/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the RDMA adapter share, and nobody else sees. On the
 * public header alone, as a user's adapter would be.
 *
 *	rdma.c		attach, detach, counts; the memory regions themselves
 *	rdma_key.c	local keys, by segment
 *	rdma_descriptor.c	a grant as bytes
 *	rdma_grant.c	letting a peer in
 *	rdma_backing.c	how he reaches the memory: pinned, on demand, bounced
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
#include "adapter.h"
#include "rdma_backing.h"

struct dp_rdma_slot {
	_Atomic uint64_t key;		/* lkey | valid, or 0 */
	struct ibv_mr *mr;
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
	struct daxpin_pool *pool;	/* NULL in a child of fork() */
	struct ibv_pd *pd;
	struct daxpin_registration *registration;
	uint64_t segment_size;
	uint64_t end;			/* pool address past the last segment */
	uint32_t segments;
	_Atomic uint32_t local_mrs;
	pthread_mutex_t lock;		/* the making of keys */
	struct dp_rdma_revokes revokes;
	struct dp_rdma_backing backing;
	struct dp_rdma_slot slots[];
};

#define DP_GRANT_OVER	0		/* else enum daxpin_grant_state */

struct daxpin_grant {
	struct daxpin_rdma *rdma;
	struct ibv_mr *mr;
	struct daxpin_hold hold;
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
/* The counts that are of grants. */
void dp_rdma_revokes_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *ret_info);
/* What daxpin_rdma_service() does for grants. */
int dp_rdma_revokes_service(struct daxpin_rdma *rdma);
/* A grant is out from now on. */
void dp_rdma_grant_out(struct daxpin_grant *grant);

/* rdma_probe.c: daxpin_rdma_probe(), and whether the device kept `memory`. */
int dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
		  struct daxpin_rdma_report *report, bool *ret_kept);
void dp_rdma_report_begin(struct daxpin_rdma_report *report);

/* Deregister all local keys, at the detach. Stops at the first refusal. */
int dp_rdma_end_keys(struct daxpin_rdma *rdma);

#endif
