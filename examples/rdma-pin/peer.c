/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "narrate.h"
#include "peer.h"
#include "space.h"

#define ROLE_FD		3
#define ALSO_FD		4
#define BUFFER_BYTES	(1u << 20)
#define PORT		"7472"
#define PEERS		2		/* a writer and a reader */

static int listening = -1;		/* set: peers are on another machine */

/* ------------------------------------------------------ the main process */

/*
 * Runs in the child: gives the descriptors the numbers ROLE_FD and ALSO_FD, and
 * executes this program again.
 */
static _Noreturn void become(const char *const *arguments, int fd, int also)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	int high_also = also < 0 ? -1 : fcntl(also, F_DUPFD_CLOEXEC, 10);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(high, ROLE_FD);
	if (also >= 0)
		dup2(high_also, ALSO_FD);
	execv("/proc/self/exe", (char *const *)arguments);
	_exit(126);
}

pid_t start_role(const char *const *arguments, int also, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		give_up("socketpair: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		give_up("fork: %s", strerror(errno));
	if (!pid)
		become(arguments, fds[1], also);
	close(fds[1]);
	*ret_fd = fds[0];
	return pid;
}

/* Accepts a peer that peers_send() started on another machine. */
static void welcome(struct peer *peer)
{
	int32_t pid;

	peer->fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	if (peer->fd < 0)
		give_up("accept: %s", strerror(errno));
	if (recv(peer->fd, &pid, sizeof(pid), MSG_WAITALL) != sizeof(pid))
		give_up("the program that connected is not rdma-pin --client");
	peer->pid = pid;
}

void peer_start(struct peer *peer, const char *name, const char *device)
{
	const char *const arguments[] = {
		"rdma-pin", "--role", "peer", "--device", device, NULL
	};

	memset(peer, 0, sizeof(*peer));
	peer->name = name;
	if (listening >= 0)
		welcome(peer);
	else
		peer->pid = start_role(arguments, -1, &peer->fd);
}

void peer_end(struct peer *peer)
{
	close(peer->fd);	/* it exits if no message arrives */
	if (listening < 0)
		waitpid(peer->pid, NULL, 0);
}

void peer_order(struct peer *peer, const struct order *order)
{
	if (send(peer->fd, order, sizeof(*order), MSG_NOSIGNAL) < 0)
		give_up("%s (process %d) is gone", peer->name, (int)peer->pid);
}

void peer_report(struct peer *peer, struct report *ret_report)
{
	if (recv(peer->fd, ret_report, sizeof(*ret_report), MSG_WAITALL) !=
	    (ssize_t)sizeof(*ret_report))
		give_up("%s (process %d) is gone", peer->name, (int)peer->pid);
}

void peer_ask(struct peer *peer, const struct order *order,
	      struct report *ret_report)
{
	peer_order(peer, order);
	peer_report(peer, ret_report);
}

void peer_connect(struct peer *peer)
{
	struct order order = {
		.type = ORDER_CONNECT,
		.address = wire_address(&peer->wire),
	};
	struct report report;
	int err;

	peer_ask(peer, &order, &report);
	if (report.status)
		give_up("%s cannot connect: %s", peer->name,
			strerror(-report.status));
	err = wire_connect(&peer->wire, &report.address);
	if (err)
		give_up("cannot connect to %s: %s", peer->name, strerror(-err));
}

/* ---------------------------------------------------- on another machine */

static struct addrinfo *look_up(const char *host, int flags)
{
	struct addrinfo hints = {
		.ai_flags = flags, .ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *found;
	int err = getaddrinfo(host, PORT, &hints, &found);

	if (err)
		give_up("%s: %s", host, gai_strerror(err));
	return found;
}

void peers_expect(const char *address)
{
	struct addrinfo *at = look_up(address, AI_PASSIVE | AI_NUMERICHOST);
	int one = 1;

	listening = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listening < 0 ||
	    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one,
		       sizeof(one)) ||
	    bind(listening, at->ai_addr, at->ai_addrlen) ||
	    listen(listening, 2))
		give_up("--server %s: %s", address, strerror(errno));
	freeaddrinfo(at);
}

/* Starts a peer. It first sends its process id, then waits for orders. */
static pid_t send_one(const struct addrinfo *to, const char *host,
		      const char *const *arguments)
{
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int32_t pid;

	if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen))
		give_up("--client %s: %s", host, strerror(errno));
	pid = fork();
	if (pid < 0)
		give_up("fork: %s", strerror(errno));
	if (!pid)
		become(arguments, fd, -1);
	if (send(fd, &pid, sizeof(pid), MSG_NOSIGNAL) != sizeof(pid))
		give_up("--client %s: %s", host, strerror(errno));
	close(fd);
	return pid;
}

int peers_send(const char *host, const char *device)
{
	const char *const arguments[] = {
		"rdma-pin", "--role", "peer", "--device", device, NULL
	};
	struct addrinfo *to = look_up(host, 0);
	int failed = 0, status;
	pid_t pid[PEERS];

	for (int i = 0; i < PEERS; i++)
		pid[i] = send_one(to, host, arguments);
	freeaddrinfo(to);
	for (int i = 0; i < PEERS; i++)
		failed |= waitpid(pid[i], &status, 0) != pid[i] || status;
	return failed;
}

/* ------------------------------------------------------ the peer process */

struct self {
	struct nic nic;
	struct wire wire;
	struct ibv_mr *mr;
	unsigned char *buffer;
};

static int transfer(struct self *self, const struct order *order,
		    enum ibv_wr_opcode opcode)
{
	struct transfer transfer = {
		.opcode = opcode,
		.mr = self->mr,
		.remote = order->remote,
		.rkey = order->rkey,
		.length = (uint32_t)order->length,
	};

	return wire_transfer(&self->wire, &transfer);
}

/*
 * The first word of each write counts the writes, so that the target sees them arrive.
 */
static void hammer(struct self *self, const struct order *order,
		   struct report *report)
{
	struct order stop;

	pattern_fill(self->buffer, order->length, order->seed);
	do {
		report->count++;
		memcpy(self->buffer, &report->count, sizeof(report->count));
		report->status = transfer(self, order, IBV_WR_RDMA_WRITE);
	} while (!report->status &&
		 recv(ROLE_FD, &stop, sizeof(stop), MSG_DONTWAIT) < 0);
	report->count -= report->status != 0;
}

static void execute_order(struct self *self, const struct order *order,
			  struct report *report)
{
	report->begin_ns = now_ns();
	switch (order->type) {
	case ORDER_CONNECT:
		report->status = wire_connect(&self->wire, &order->address);
		report->address = wire_address(&self->wire);
		break;
	case ORDER_WRITE:
		pattern_fill(self->buffer, order->length, order->seed);
		report->begin_ns = now_ns();
		report->status = transfer(self, order, IBV_WR_RDMA_WRITE);
		break;
	case ORDER_READ:
		memset(self->buffer, 0, order->length);
		report->status = transfer(self, order, IBV_WR_RDMA_READ);
		report->wrong = pattern_wrong(self->buffer, order->length,
					      order->seed);
		break;
	case ORDER_HAMMER:
		hammer(self, order, report);
		break;
	case ORDER_STOP:
		break;
	}
	report->end_ns = now_ns();
}

static void prepare(struct self *self, const char *device)
{
	int err = nic_open(&self->nic, device);

	if (!err)
		err = wire_open(&self->wire, &self->nic);
	if (err)
		give_up("the peer cannot use %s: %s", device, strerror(-err));
	self->buffer = aligned_alloc(4096, BUFFER_BYTES);
	if (!self->buffer)
		give_up("the peer cannot allocate its buffer");
	self->mr = ibv_reg_mr(self->nic.pd, self->buffer, BUFFER_BYTES,
			      IBV_ACCESS_LOCAL_WRITE);
	if (!self->mr)
		give_up("the peer cannot register memory: %s", strerror(errno));
}

int peer_main(const char *device)
{
	struct self self = { .buffer = NULL };
	struct report report;
	struct order order;

	while (recv(ROLE_FD, &order, sizeof(order), MSG_WAITALL) ==
	       (ssize_t)sizeof(order)) {
		if (!self.buffer)
			prepare(&self, device);
		/*
		 * A stop that arrives after the hammer has ended by itself is ignored.
		 */
		if (order.type == ORDER_STOP)
			continue;
		if (order.length > BUFFER_BYTES)
			give_up("an order of %llu bytes",
				(unsigned long long)order.length);
		memset(&report, 0, sizeof(report));
		execute_order(&self, &order, &report);
		if (send(ROLE_FD, &report, sizeof(report), MSG_NOSIGNAL) < 0)
			break;
	}
	return 0;
}
