/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other processes: remote peers that write and read by RDMA, and an owner that
 * will be killed. Each runs this program in another role. The main process starts them
 * before it opens the pool, so that no process forks with an open pool.
 */
#ifndef PEER_H
#define PEER_H

#include <sys/types.h>
#include "wire.h"

enum order_type {
	ORDER_CONNECT = 1,	/* (re)connect to `address` */
	ORDER_WRITE,		/* write the pattern of `seed` */
	ORDER_READ,		/* read, and compare with that pattern */
	ORDER_HAMMER,		/* write repeatedly, until ORDER_STOP */
	ORDER_STOP,
};

struct order {
	enum order_type type;
	struct wire_address address;
	uint64_t remote, length;
	uint32_t rkey, seed;
};

struct report {
	int status;			/* an ibv_wc_status, or -errno */
	struct wire_address address;	/* CONNECT: of the peer */
	uint64_t begin_ns, end_ns;
	uint64_t count;			/* HAMMER: writes that succeeded */
	uint64_t wrong;			/* READ: bytes that differ from the pattern */
};

struct peer {
	const char *name;
	pid_t pid;
	int fd;
	struct wire wire;		/* this process's end */
};

/*
 * Starts this program in another role. The child has the other end of *ret_fd as
 * descriptor 3 and, unless `also` is -1, that descriptor as descriptor 4.
 */
pid_t start_role(const char *const *arguments, int also, int *ret_fd);

void peer_start(struct peer *peer, const char *name, const char *device);
void peer_end(struct peer *peer);

/*
 * From now on, peer_start() does not start a process but accepts a peer that
 * peers_send() connects to this address from another machine. Both machines must have
 * the same byte order.
 */
void peers_expect(const char *address);
/*
 * Starts a writer and a reader for the machine `host`, and waits until both have ended.
 * Returns an exit status.
 */
int peers_send(const char *host, const char *device);

void peer_order(struct peer *peer, const struct order *order);
void peer_report(struct peer *peer, struct report *ret_report);
/* Sends an order and waits for the report. */
void peer_ask(struct peer *peer, const struct order *order,
	      struct report *ret_report);

/* Connects peer->wire, which is open, with the peer's end. Both are reset first. */
void peer_connect(struct peer *peer);

/* Runs a peer process. Returns an exit status. */
int peer_main(const char *device);

#endif
