/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the RDMA adapter share, and nobody else sees. On the
 * public header alone, as a user's adapter would be.
 *
 *	rdma.c		attach, detach, counts; the memory regions themselves
 *	rdma_key.c	local keys, by segment
 *	rdma_descriptor.c	a grant as bytes
 *	rdma_grant.c	letting a peer in
 *	rdma_revoke.c	and out again
 */
#ifndef RDMA_H
#define RDMA_H

#include <daxpin-rdma.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "adapter.h"

struct dp_rdma_slot {
	_Atomic uint64_t key;		/* lkey | valid, or 0 */
	struct ibv_mr *mr;
};

struct daxpin_rdma {
	struct daxpin_pool *pool;	/* NULL in a child of fork() */
	struct ibv_pd *pd;
	struct daxpin_registration *registration;
	uint64_t segment_size;
	uint64_t end;			/* pool address past the last segment */
	uint32_t segments;
	_Atomic uint32_t local_mrs;
	_Atomic uint32_t grants;
	_Atomic uint32_t quarantined;
	pthread_mutex_t lock;		/* the making of keys */
	struct dp_rdma_slot slots[];
};

struct daxpin_grant {
	struct daxpin_rdma *rdma;
	struct ibv_mr *mr;
	struct daxpin_hold hold;
	struct daxpin_grant_key key;
	bool quarantined;
};

/* ibv_reg_mr() that a signal does not spoil; 0 or -errno. */
int dp_rdma_register(struct ibv_pd *pd, void *base, uint64_t length, int access,
		     struct ibv_mr **ret_mr);
/* 0 is the device's word that nothing can reach the memory any more. */
int dp_rdma_deregister(struct ibv_mr *mr);

/* Deregister all local keys, at the detach. Stops at the first refusal. */
int dp_rdma_end_keys(struct daxpin_rdma *rdma);

#endif
