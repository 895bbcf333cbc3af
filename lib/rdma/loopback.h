/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reliable connection of an RDMA device with itself, in somebody's protection
 * domain, to try the device on. For the adapter's other files.
 */
#ifndef RDMA_LOOP_H
#define RDMA_LOOP_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

/* What is sent at once to try something: several packets at every MTU. */
#define LOOP_BYTES	20011u
#define LOOP_DEPTH	32u

struct loop {
	struct ibv_pd *pd;
	struct ibv_cq *near_cq, *far_cq;
	struct ibv_qp *near, *far;
	uint64_t deadline_ns;		/* of everything */
	enum ibv_mtu mtu;
	uint16_t lid;
	uint8_t port;
	int gid_index;			/* -1: by LID */
	union ibv_gid gid;
	/* The near end's own memory: two halves, to send and to receive. */
	unsigned char *buffer;
	struct ibv_mr *mr;
};

/* 0 or -errno; also when it fails dp_loop_close() it. */
int dp_loop_open(struct loop *loop, struct ibv_pd *pd, uint64_t deadline_ns);
/* -errno: the device keeps something, and memory that it keeps is not freed. The
 * next call goes on there. */
int dp_loop_close(struct loop *loop);
/* Anew, from reset: after an error nothing goes through the old one. */
int dp_loop_connect(struct loop *loop);

/* Where the near end sends from, and where it receives. */
unsigned char *dp_loop_source(struct loop *loop);
unsigned char *dp_loop_sink(struct loop *loop);

/* Post and wait: an ibv_wc_status, or -errno where no completion came. */
int dp_loop_write(struct loop *loop, const void *to, uint32_t rkey,
		  uint32_t length);
int dp_loop_read(struct loop *loop, const void *from, uint32_t rkey,
		 uint32_t length);

/* A write that is not waited for; no completion but that of the last, or of the
 * first that fails. At most LOOP_DEPTH. */
int dp_loop_post(struct loop *loop, const void *to, uint32_t rkey,
		 uint32_t length, bool last);
int dp_loop_near_wait(struct loop *loop);
/* The far end has posted a request of its own. */
int dp_loop_far_wait(struct loop *loop);

#endif
