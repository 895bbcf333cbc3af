/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection by rdma_cm: messages in both directions, and RDMA reads and writes by
 * the side that was given a key. It does not use daxpin.
 */
#ifndef CONN_H
#define CONN_H

#include <rdma/rdma_verbs.h>
#include <stdbool.h>
#include "message.h"

struct conn {
	struct rdma_cm_id *id;
	struct rdma_event_channel *channel;	/* of the id's own, or NULL */
	struct ibv_mr *mr;		/* of the two messages */
	int stop_fd;			/* readable: give up waiting; or -1 */
	bool gone;			/* the peer has hung up */
	struct message out, in;
};

/* All return 0 or -errno. Listen at an address that a device of this machine has. */
int conn_listen(const char *address, const char *port,
		struct rdma_cm_id **ret_listen);
/* Take a request to connect off the listening id. Does not wait for the peer. */
int conn_take(struct conn *conn, struct rdma_cm_id *listen);
/* And answer it: wait, with a deadline and for stop_fd, until the peer has completed
 * the handshake. After an error conn_close() it. */
int conn_welcome(struct conn *conn, struct ibv_pd *pd);
int conn_connect(struct conn *conn, const char *host, const char *port);
void conn_close(struct conn *conn);

/* The address of the other end, for people. */
void conn_peer(const struct conn *conn, char *buffer, size_t size);

/* Ready for one more message: before whatever makes the peer send it. */
int conn_expect(struct conn *conn);
int conn_send(struct conn *conn, const struct message *message);
/* -ETIMEDOUT; -ECONNRESET: the peer is gone; -ECANCELED: stop_fd.
 * timeout_ms -1: for ever. */
int conn_receive(struct conn *conn, int timeout_ms, struct message *ret_message);

/* Wait for the one work request that was posted to id->qp. */
int conn_complete(struct conn *conn);

/* Move bytes [at, at + length) of mr to or from the peer's memory.
 * -EACCES: the peer's device refused the key. */
int conn_transfer(struct conn *conn, enum ibv_wr_opcode opcode,
		  struct ibv_mr *mr, uint64_t at, uint64_t length,
		  uint64_t remote, uint32_t rkey);

#endif
