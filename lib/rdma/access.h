/* SPDX-License-Identifier: BSD-3-Clause */
/* What lets a peer in: rdma_door.c. For rdma.h. */
#ifndef RDMA_DOOR_H
#define RDMA_DOOR_H

#include <daxpin-rdma.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct loop;

struct dp_rdma_doors {
	bool window2;			/* such windows are relied on */
	struct loop *loop;		/* to bind windows of type 1, or NULL */
	pthread_mutex_t lock;		/* of the loop */
	bool broken;			/* it is to be connected anew */
	_Atomic uint32_t windows;	/* grants by one that are out */
	_Atomic uint64_t refused;	/* since the attach */
};

/* After dp_rdma_backing_choose(): 0 or -errno, then *ret_kept as there. */
int dp_rdma_doors_open(struct daxpin_rdma *rdma,
		       const struct daxpin_rdma_options *o, bool *ret_kept);
/* No grant is out. Where it fails it can be called again. */
int dp_rdma_doors_close(struct daxpin_rdma *rdma);
void dp_rdma_doors_count(struct daxpin_rdma *rdma,
			 struct daxpin_rdma_info *info);

/*
 * Over exactly key.addr and key.length, under the grant's hold, with `access` and
 * the backing's. Sets key.rkey. 0 or -errno, and then nothing is let in, unless
 * *ret_kept: the device did not let go of a window.
 */
int dp_rdma_door_open(struct daxpin_grant *grant, int access,
		      const struct daxpin_grant_options *o, bool *ret_kept);
/* 0 is the device's word that nothing can reach the memory any more. -EINPROGRESS:
 * it was not asked, since a bind may still come. */
int dp_rdma_door_close(struct daxpin_grant *grant);

#endif
