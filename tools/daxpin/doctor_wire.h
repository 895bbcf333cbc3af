/* SPDX-License-Identifier: BSD-3-Clause */
/* A reliable connection of an RDMA device with itself, for the doctor. */
#ifndef DOCTOR_WIRE_H
#define DOCTOR_WIRE_H

#include <infiniband/verbs.h>

/* What is sent through it at once: several packets at every MTU. */
#define WIRE_BYTES	20011u

struct wire {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_cq *cq;		/* of both ends */
	struct ibv_qp *near, *far;
	enum ibv_mtu mtu;
	uint16_t lid;
	uint8_t port;
	int gid_index;			/* -1: by LID */
	union ibv_gid gid;
	/* The near end's own memory: two halves, to send and to receive. */
	unsigned char *buffer;
	struct ibv_mr *mr;
};

/* The names of all devices, with blanks between them. */
void wire_list(char *text, size_t size);

/* 0 or -errno; also when it fails wire_close() it. */
int wire_open(struct wire *wire, const char *device);
void wire_close(struct wire *wire);
/* Anew, from reset: after an error nothing goes through the old one. */
int wire_connect(struct wire *wire);

/* Where the near end sends from, and where it receives. */
unsigned char *wire_source(struct wire *wire);
unsigned char *wire_sink(struct wire *wire);

/* Both wait: an ibv_wc_status, or -errno where no completion came. */
int wire_write(struct wire *wire, const void *to, uint32_t rkey,
	       uint32_t length);
int wire_read(struct wire *wire, const void *from, uint32_t rkey,
	      uint32_t length);
/* The far end binds a window to a queue pair of its own: the same result. */
int wire_bind(struct wire *wire, struct ibv_mw *mw, uint32_t rkey,
	      struct ibv_mr *mr, const void *at, uint64_t length);

/* ibv_reg_mr(); a signal that is pending can end it, so it is tried again. */
struct ibv_mr *wire_region(struct wire *wire, void *at, uint64_t length,
			   int access);

#endif
