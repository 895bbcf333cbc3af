/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer in a process of its own, which can be killed and stopped. It gets a
 * grant's descriptor in a message, connects, and writes until it is refused or
 * told to end. After rdma_fixture.h.
 */
#ifndef RDMA_PEER_H
#define RDMA_PEER_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct peer_process {
	pid_t pid;
	int fd;
};

struct peer_order {
	struct wire_address address;	/* of the target's end */
	uint32_t writes;		/* at most; 0: as long as it can */
	unsigned char grant[DAXPIN_GRANT_DESCRIPTOR_SIZE];
};

struct peer_report {
	struct wire_address address;	/* of the peer's end: first of all */
	int status;			/* of the last write */
	uint64_t count;			/* writes that were good */
};

static inline void peer_obey(struct nic *nic, struct wire *wire,
			     struct ibv_mr *mr, int fd)
{
	struct peer_report report = { .address = wire_address(wire) };
	struct daxpin_grant_key key;
	struct transfer transfer = { .opcode = IBV_WR_RDMA_WRITE, .mr = mr };
	struct peer_order order;
	char go;

	(void)nic;
	if (recv(fd, &order, sizeof(order), 0) != (ssize_t)sizeof(order))
		_exit(0);
	if (daxpin_grant_import(order.grant, sizeof(order.grant), &key) ||
	    wire_connect(wire, &order.address))
		_exit(2);
	/* The other end connects now. */
	if (send(fd, &report, sizeof(report), 0) < 0 ||
	    recv(fd, &go, 1, 0) != 1)
		_exit(0);
	transfer.remote = key.addr;
	transfer.rkey = key.rkey;
	transfer.length = (uint32_t)key.length;
	do {
		report.status = wire_transfer(wire, &transfer);
		report.count += !report.status;
	} while (!report.status && report.count != order.writes);
	send(fd, &report, sizeof(report), MSG_NOSIGNAL);
}

static inline _Noreturn void peer_live(int fd)
{
	unsigned char *buffer = aligned_alloc(4096, EXTENT_BYTES);
	struct wire wire;
	struct nic nic;
	struct ibv_mr *mr;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!buffer || nic_open(&nic, rdma_device) || wire_open(&wire, &nic))
		_exit(3);
	pattern_fill(buffer, EXTENT_BYTES, PEER_PATTERN);
	mr = ibv_reg_mr(nic.pd, buffer, EXTENT_BYTES, IBV_ACCESS_LOCAL_WRITE);
	if (!mr)
		_exit(4);
	for (;;)
		peer_obey(&nic, &wire, mr, fd);
}

static inline struct peer_process peer_begin(void)
{
	struct peer_process peer;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				    ends), 0);
	peer.pid = fork();
	assert_true(peer.pid >= 0);
	if (!peer.pid) {
		close(ends[0]);
		peer_live(ends[1]);
	}
	close(ends[1]);
	peer.fd = ends[0];
	return peer;
}

/* It writes what the grant is of, until the report. */
static inline void peer_go(struct fixture *f, struct peer_process *peer,
			   const unsigned char *grant, uint32_t writes)
{
	struct peer_order order = {
		.address = wire_address(&f->wire), .writes = writes,
	};
	struct peer_report report;

	memcpy(order.grant, grant, sizeof(order.grant));
	assert_int_equal(send(peer->fd, &order, sizeof(order), MSG_NOSIGNAL),
			 sizeof(order));
	assert_int_equal(recv(peer->fd, &report, sizeof(report), 0),
			 sizeof(report));
	assert_int_equal(wire_connect(&f->wire, &report.address), 0);
	assert_int_equal(send(peer->fd, "", 1, MSG_NOSIGNAL), 1);
}

static inline struct peer_report peer_result(struct peer_process *peer)
{
	struct pollfd poll_fd = { .fd = peer->fd, .events = POLLIN };
	struct peer_report report;

	assert_int_equal(poll(&poll_fd, 1, 60000), 1);
	assert_int_equal(recv(peer->fd, &report, sizeof(report), 0),
			 sizeof(report));
	return report;
}

static inline void peer_end(struct peer_process *peer)
{
	if (peer->pid > 0) {
		kill(peer->pid, SIGKILL);
		waitpid(peer->pid, NULL, 0);
		close(peer->fd);
	}
	peer->pid = 0;
}

#endif
