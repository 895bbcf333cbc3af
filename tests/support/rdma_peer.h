/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer in a process of its own, which can be killed and stopped. It receives a
 * grant's descriptor in a message, connects, and writes until it is refused or told to
 * stop.
 */
#ifndef RDMA_PEER_H
#define RDMA_PEER_H

#include "child.h"
#include "rdma_fixture.h"

struct peer_report {
	struct wire_address address;	/* address of the peer's end, sent first */
	int status;			/* status of the last write */
	uint64_t count;			/* writes that succeeded */
};

struct child peer_begin(void);

/* The peer writes to the memory of the grant until it reports. */
void peer_go(struct fixture *f, struct child *peer, const unsigned char *grant,
	     uint32_t writes);
struct peer_report peer_result(struct child *peer);
void peer_end(struct child *peer);

#endif
