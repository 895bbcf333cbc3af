/* SPDX-License-Identifier: BSD-3-Clause */
/* A reliable connection over one RDMA device, with plain verbs. */
#ifndef RDMA_WIRE_H
#define RDMA_WIRE_H

#include <infiniband/verbs.h>
#include <stdint.h>

/* An open device, with its port and GID. */
struct nic {
	struct ibv_context *context;
	struct ibv_pd *pd;
	enum ibv_mtu mtu;
	uint16_t lid;
	uint8_t port;
	int gid_index;			/* -1: address by LID */
	union ibv_gid gid;
};

/* One end of a connection. */
struct wire {
	struct nic *nic;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	uint32_t psn;			/* number of the first packet it sends */
	uint8_t ack_timeout;		/* 4.096 us << this; both set by wire_open() */
	uint8_t retry_count;
	int first_error;		/* of the last connect: its first try's */
};

/* What the other end needs in order to connect. */
struct wire_address {
	union ibv_gid gid;
	uint32_t qp_number;
	uint32_t psn;
	uint16_t lid;
};

/* One RDMA READ or WRITE. */
struct transfer {
	enum ibv_wr_opcode opcode;
	struct ibv_mr *mr;		/* local memory, used from its start */
	uint64_t remote;
	uint32_t rkey;
	uint32_t length;
};

/* Returns 0 or -errno. */
int nic_open(struct nic *nic, const char *name);
int nic_close(struct nic *nic);

int wire_open(struct wire *wire, struct nic *nic);
void wire_close(struct wire *wire);

/*
 * Returns a new address of this end. Before each connection both ends exchange theirs.
 */
struct wire_address wire_address(struct wire *wire);

/* Connects, or reconnects after an error: from RESET to RTS. */
int wire_connect(struct wire *wire, const struct wire_address *to);

/* Posts it. Returns 0 or -errno. */
int wire_post(struct wire *wire, const struct transfer *transfer);

/* Posts it and waits. Returns an ibv_wc_status, or -errno if there is no completion. */
int wire_transfer(struct wire *wire, const struct transfer *transfer);

#endif
