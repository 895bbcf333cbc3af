/* SPDX-License-Identifier: BSD-3-Clause */
#include "rdma_peer.h"
#include <poll.h>

struct peer_order {
	struct wire_address address;	/* address of the target's end */
	uint32_t writes;		/* writes at most; 0: until one fails */
	unsigned char grant[DAXPIN_GRANT_DESCRIPTOR_SIZE];
};

static void peer_obey(struct wire *wire, struct ibv_mr *mr, int fd)
{
	struct peer_report report = { .address = wire_address(wire) };
	struct daxpin_grant_key key;
	struct transfer transfer = { .opcode = IBV_WR_RDMA_WRITE, .mr = mr };
	struct peer_order order;

	if (!receive_message(fd, &order, sizeof(order)))
		_exit(0);
	if (daxpin_grant_import(order.grant, sizeof(order.grant), &key) ||
	    wire_connect(wire, &order.address))
		_exit(2);
	/* await_step() returns when the other end has connected, too. */
	if (!send_message(fd, &report, sizeof(report)) || !await_step(fd))
		_exit(0);
	transfer.remote = key.addr;
	transfer.rkey = key.rkey;
	transfer.length = (uint32_t)key.length;
	do {
		report.status = wire_transfer(wire, &transfer);
		report.count += !report.status;
	} while (!report.status && report.count != order.writes);
	send_message(fd, &report, sizeof(report));
}

static int peer_live(void *arg, int fd)
{
	unsigned char *buffer = aligned_alloc(4096, EXTENT_BYTES);
	struct wire wire;
	struct nic nic;
	struct ibv_mr *mr;

	(void)arg;
	if (!buffer || nic_open(&nic, rdma_device) || wire_open(&wire, &nic))
		return 3;
	pattern_fill(buffer, EXTENT_BYTES, PEER_PATTERN);
	mr = ibv_reg_mr(nic.pd, buffer, EXTENT_BYTES, IBV_ACCESS_LOCAL_WRITE);
	if (!mr)
		return 4;
	for (;;)
		peer_obey(&wire, mr, fd);
}

struct child peer_begin(void)
{
	return fork_child(peer_live, NULL);
}

struct wire_address peer_prepare(struct child *peer, const struct wire_address *target,
				 const unsigned char *grant, uint32_t writes)
{
	struct peer_order order = { .address = *target, .writes = writes };
	struct peer_report report;

	memcpy(order.grant, grant, sizeof(order.grant));
	assert_true(send_message(peer->fd, &order, sizeof(order)));
	assert_true(receive_message(peer->fd, &report, sizeof(report)));
	return report.address;
}

void peer_go(struct fixture *f, struct child *peer, const unsigned char *grant,
	     uint32_t writes)
{
	const struct wire_address ours = wire_address(&f->wire);
	const struct wire_address theirs = peer_prepare(peer, &ours, grant, writes);

	assert_int_equal(wire_connect(&f->wire, &theirs), 0);
	assert_true(send_step(peer->fd));
}

struct peer_report peer_result(struct child *peer)
{
	struct pollfd poll_fd = { .fd = peer->fd, .events = POLLIN };
	struct peer_report report;

	assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	assert_true(receive_message(peer->fd, &report, sizeof(report)));
	return report;
}

void peer_end(struct child *peer)
{
	if (peer->pid > 0)
		stop_child(peer);
	peer->pid = 0;
}
