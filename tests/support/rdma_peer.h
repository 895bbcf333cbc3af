/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer in a process of its own, which can be killed and stopped. It receives a
 * grant's descriptor in a message, connects, and writes until a write fails or it has
 * made the number of writes that the test requested.
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

/*
 * peer_go() makes the peer write to the grant's memory, `writes` times or, if that is
 * 0, until a write fails. peer_result() waits for its report.
 */
void peer_go(struct fixture *f, struct child *peer, const unsigned char *grant,
	     uint32_t writes);
struct peer_report peer_result(struct child *peer);

/*
 * peer_go() for a target in another process, which has the given address.
 * peer_prepare() returns the address that the target must connect to; then send_step()
 * to the peer makes it begin.
 */
struct wire_address peer_prepare(struct child *peer, const struct wire_address *target,
				 const unsigned char *grant, uint32_t writes);
void peer_end(struct child *peer);

#endif
