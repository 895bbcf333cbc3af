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
	struct rdma_event_channel *channel;	/* made for id here, or NULL */
	struct ibv_mr *mr;		/* memory of the two messages */
	int stop_fd;			/* if readable, waits end; or -1 */
	bool is_established;		/* the handshake is complete */
	bool is_gone;			/* the peer has disconnected */
	struct message out, in;
};

/* The clock of all limits, in milliseconds. */
uint64_t conn_now_ms(void);

/*
 * All calls return 0 or -errno. Listens at an address of an RDMA device of this
 * machine. End it with conn_listen_end().
 */
int conn_listen(const char *address, const char *port,
		struct rdma_cm_id **ret_listen);
void conn_listen_end(struct rdma_cm_id *listen);
/*
 * Takes a connection request from the listening id, whose channel's fd is readable.
 * Waits for nothing: what depends on the peer is done in conn_wait_established(), so
 * one thread can serve all peers' requests.
 *
 * -EAGAIN	there is none
 * -ENODEV	the RDMA device is being removed
 */
int conn_get_request(struct conn *conn, struct rdma_cm_id *listen);
/* Accepts it. The peer completes the handshake when it pleases. After an error call
 * conn_close(). */
int conn_accept(struct conn *conn, struct ibv_pd *pd);
/* Waits until the peer has completed the handshake. Errors are those of
 * conn_receive(). */
int conn_wait_established(struct conn *conn, int timeout_ms);
int conn_connect(struct conn *conn, const char *host, const char *port);
void conn_close(struct conn *conn);

/* Returns the address of the other end as text. */
void conn_peer(const struct conn *conn, char *buffer, size_t size);

/*
 * Prepares to receive one more message. Call it before anything that makes the peer
 * send it.
 */
int conn_expect(struct conn *conn);
int conn_send(struct conn *conn, const struct message *message);
/*
 * -EBADMSG	the message has another length
 * -ECANCELED	stop_fd is readable
 * -ECONNRESET	the peer is gone
 * -ENODEV	the RDMA device is being removed
 * -ETIMEDOUT	no message came in timeout_ms
 */
int conn_receive(struct conn *conn, int timeout_ms, struct message *ret_message);

/* Waits for the only work request that was posted to id->qp. */
int conn_complete(struct conn *conn);

/*
 * Moves bytes [at, at + length) of mr to or from the peer's memory. -EACCES: the peer's
 * device refused the key.
 */
int conn_transfer(struct conn *conn, enum ibv_wr_opcode opcode,
		  struct ibv_mr *mr, uint64_t at, uint64_t length,
		  uint64_t remote, uint32_t rkey);

#endif
