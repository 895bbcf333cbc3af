/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reliable connection of an RDMA device with itself, in a given protection
 * domain, to try the device and to bind windows on.
 */
#ifndef DP_RDMA_LOOPBACK_H
#define DP_RDMA_LOOPBACK_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

/* The bytes of one trial's transfer: several packets at every MTU. */
#define DP_LOOPBACK_BYTES	20011u
#define DP_LOOPBACK_DEPTH	32u

/* private to loopback.c */
struct dp_loopback {
	struct ibv_pd *pd;
	struct ibv_cq *near_cq, *far_cq;
	struct ibv_qp *near, *far;
	uint64_t deadline_ns;		/* of all waits */
	enum ibv_mtu mtu;
	uint16_t lid;
	uint8_t port;
	int gid_index;			/* -1: addressed by LID */
	union ibv_gid gid;
	/* The near end's own memory: two halves, to send and to receive. */
	unsigned char *buffer;
	struct ibv_mr *mr;
};

/* 0 or -errno; call dp_loopback_close() even if it fails. */
int dp_loopback_open(struct dp_loopback *loopback, struct ibv_pd *pd,
		     uint64_t deadline_ns);
/* -errno: the device did not release an object, and memory that it still has is not
 * freed. Call again to continue with what is left. */
int dp_loopback_close(struct dp_loopback *loopback);
/* Connect again, from reset: after an error the old connection is unusable. */
int dp_loopback_connect(struct dp_loopback *loopback);

static inline struct ibv_pd *
dp_loopback_pd(const struct dp_loopback *loopback)
{
	return loopback->pd;
}

/* The far end, to bind windows on. */
static inline struct ibv_qp *
dp_loopback_far(const struct dp_loopback *loopback)
{
	return loopback->far;
}

/* The deadline of all waits of the connection. */
static inline uint64_t
dp_loopback_deadline(const struct dp_loopback *loopback)
{
	return loopback->deadline_ns;
}

static inline void dp_loopback_set_deadline(struct dp_loopback *loopback,
					    uint64_t deadline_ns)
{
	loopback->deadline_ns = deadline_ns;
}

/* Where the near end sends from, and where it receives. */
unsigned char *dp_loopback_source(struct dp_loopback *loopback);
unsigned char *dp_loopback_sink(struct dp_loopback *loopback);

/* Post a request and wait: an ibv_wc_status, or -errno if there was no completion. */
int dp_loopback_write(struct dp_loopback *loopback, const void *to,
		      uint32_t rkey, uint32_t length);
int dp_loopback_read(struct dp_loopback *loopback, const void *from,
		     uint32_t rkey, uint32_t length);

/* Post a write of the whole source without waiting for it, at most DP_LOOPBACK_DEPTH at
 * a time. Only the write that is posted with `last`, and one that fails, completes. */
int dp_loopback_post(struct dp_loopback *loopback, const void *to, uint32_t rkey,
		     bool last);
int dp_loopback_near_wait(struct dp_loopback *loopback);
/* Wait for a request that the far end has posted itself, such as a bind. */
int dp_loopback_far_wait(struct dp_loopback *loopback);

#endif
