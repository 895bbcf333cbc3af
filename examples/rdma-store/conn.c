/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "conn.h"

#define PIECE		(UINT64_C(1) << 20)	/* bytes in one work request */
#define RETRIES		6	/* for soft-RoCE 7 means unlimited */
#define ANSWER_MS	30000
#define REFUSAL_MS	1000

static const struct ibv_qp_init_attr qp_options = {
	.cap = {
		.max_send_wr = 4, .max_recv_wr = 4,
		.max_send_sge = 1, .max_recv_sge = 1,
	},
	.qp_type = IBV_QPT_RC,
	.sq_sig_all = 1,
};

static struct rdma_conn_param *parameters(void)
{
	static struct rdma_conn_param param = {
		.responder_resources = 1,
		.initiator_depth = 1,
		.retry_count = RETRIES,
		.rnr_retry_count = RETRIES,
	};

	return &param;
}

/* ------------------------------------------------------------------ waits */

uint64_t conn_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int left_ms(uint64_t end_ms)
{
	uint64_t now = conn_now_ms();

	return now < end_ms ? (int)(end_ms - now) : 0;
}

/* Takes an event of the connection. All but one mean its end. */
static int take_event(struct conn *conn)
{
	enum rdma_cm_event_type type;
	struct rdma_cm_event *event;

	if (rdma_get_cm_event(conn->id->channel, &event))
		return -errno;
	type = event->event;
	rdma_ack_cm_event(event);
	if (type == RDMA_CM_EVENT_ESTABLISHED) {
		conn->is_established = true;
		return 0;
	}
	conn->is_gone = true;
	return type == RDMA_CM_EVENT_DEVICE_REMOVAL ? -ENODEV : -ECONNRESET;
}

/* Returns 1 if fd is readable, and 0 to look again. fd -1: for events alone. */
static int sleep_on(struct conn *conn, int fd, int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = conn->id->channel->fd, .events = POLLIN },
		{ .fd = conn->stop_fd, .events = POLLIN },
	};
	int count = poll(fds, 3, timeout_ms);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	if (!count)
		return -ETIMEDOUT;
	if (fds[2].revents)
		return -ECANCELED;
	return fds[0].revents ? 1 : take_event(conn);
}

/* ------------------------------------------------------- begin and end */

static int find(const char *host, const char *port, int flags,
		struct rdma_addrinfo **ret_info)
{
	struct rdma_addrinfo hints = {
		.ai_flags = flags, .ai_port_space = RDMA_PS_TCP,
	};
	int err = rdma_getaddrinfo(host, port, &hints, ret_info);

	if (!err)
		return 0;
	return err == -1 ? -errno : -EHOSTUNREACH;
}

static int listen_at(struct rdma_cm_id *listen, struct sockaddr *address)
{
	int fd = listen->channel->fd;

	/*
	 * An event can disappear after poll() has reported it, for example if the
	 * library fails to take the new connection. Reading it must then not block.
	 */
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		return -errno;
	if (rdma_bind_addr(listen, address))
		return -errno;
	if (!listen->verbs)
		return -ENODEV;		/* the address belongs to no RDMA device */
	return rdma_listen(listen, 16) ? -errno : 0;
}

int conn_listen(const char *address, const char *port,
		struct rdma_cm_id **ret_listen)
{
	struct rdma_event_channel *channel;
	struct rdma_addrinfo *info;
	struct rdma_cm_id *listen;
	int err = find(address, port, RAI_PASSIVE | RAI_NUMERICHOST, &info);

	if (err)
		return err;
	channel = rdma_create_event_channel();
	if (!channel || rdma_create_id(channel, &listen, NULL, RDMA_PS_TCP)) {
		err = -errno;
		if (channel)
			rdma_destroy_event_channel(channel);
	} else {
		err = listen_at(listen, info->ai_src_addr);
		if (err)
			conn_listen_end(listen);
		else
			*ret_listen = listen;
	}
	rdma_freeaddrinfo(info);
	return err;
}

void conn_listen_end(struct rdma_cm_id *listen)
{
	struct rdma_event_channel *channel = listen->channel;

	rdma_destroy_id(listen);
	rdma_destroy_event_channel(channel);
}

static int begin(struct conn *conn)
{
	conn->mr = ibv_reg_mr(conn->id->qp->pd, &conn->out,
			      sizeof(conn->out) + sizeof(conn->in),
			      IBV_ACCESS_LOCAL_WRITE);
	return conn->mr ? conn_expect(conn) : -errno;
}

/*
 * With a channel of its own for each connection, its events reach the thread that
 * serves it, and rdma_accept() does not wait for the peer, which may never answer.
 */
static int give_channel(struct conn *conn)
{
	conn->channel = rdma_create_event_channel();
	if (conn->channel && !rdma_migrate_id(conn->id, conn->channel))
		return 0;
	return -errno;
}

int conn_get_request(struct conn *conn, struct rdma_cm_id *listen)
{
	enum rdma_cm_event_type type;
	struct rdma_cm_event *event;
	int err;

	if (rdma_get_cm_event(listen->channel, &event))
		return -errno;
	type = event->event;
	conn->id = event->id;
	rdma_ack_cm_event(event);
	if (type == RDMA_CM_EVENT_DEVICE_REMOVAL)
		return -ENODEV;
	if (type != RDMA_CM_EVENT_CONNECT_REQUEST)
		return -EAGAIN;
	err = give_channel(conn);
	if (err)
		conn_close(conn);
	return err;
}

int conn_accept(struct conn *conn, struct ibv_pd *pd)
{
	struct ibv_qp_init_attr options = qp_options;
	int err = rdma_create_qp(conn->id, pd, &options) ? -errno : begin(conn);

	if (!err && rdma_accept(conn->id, parameters()))
		err = -errno;
	return err;
}

int conn_wait_established(struct conn *conn, int timeout_ms)
{
	uint64_t end_ms = conn_now_ms() + (uint64_t)timeout_ms;
	int err = 0;

	while (!err && !conn->is_established)
		err = sleep_on(conn, -1, left_ms(end_ms));
	return err;
}

int conn_connect(struct conn *conn, const char *host, const char *port)
{
	struct ibv_qp_init_attr options = qp_options;
	struct rdma_addrinfo *info;
	int err = find(host, port, 0, &info);

	if (err)
		return err;
	err = rdma_create_ep(&conn->id, info, NULL, &options) ? -errno : 0;
	rdma_freeaddrinfo(info);
	if (err)
		return err;
	err = begin(conn);
	if (!err && rdma_connect(conn->id, parameters()))
		err = -errno;
	if (err)
		conn_close(conn);
	return err;
}

/* Disconnects, which the peer notices. */
void conn_close(struct conn *conn)
{
	struct ibv_mr *mr = conn->mr;

	if (conn->id->qp)
		rdma_destroy_qp(conn->id);
	if (mr)
		ibv_dereg_mr(mr);
	rdma_destroy_ep(conn->id);
	if (conn->channel)
		rdma_destroy_event_channel(conn->channel);
	conn->channel = NULL;
	conn->mr = NULL;
	conn->id = NULL;
}

void conn_peer(const struct conn *conn, char *buffer, size_t size)
{
	const struct sockaddr *address = rdma_get_peer_addr(conn->id);
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	char text[INET6_ADDRSTRLEN] = "?";

	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
	snprintf(buffer, size, "%s:%u", text,
		 ntohs(rdma_get_dst_port(conn->id)));
}

/* ----------------------------------------------------------- completions */

static int result_of(const struct ibv_wc *wc)
{
	switch (wc->status) {
	case IBV_WC_SUCCESS:
		return 0;
	case IBV_WC_REM_ACCESS_ERR:
		return -EACCES;
	case IBV_WC_RETRY_EXC_ERR:
		return -ETIMEDOUT;
	case IBV_WC_WR_FLUSH_ERR:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

/*
 * Polls, arms, and polls again before it sleeps, so that no completion is missed.
 * Returns 1 if there was one.
 */
static int poll_or_arm(struct ibv_cq *cq, struct ibv_wc *ret_wc)
{
	int count = ibv_poll_cq(cq, 1, ret_wc);

	if (!count && ibv_req_notify_cq(cq, 0))
		return -EIO;
	return count ? count : ibv_poll_cq(cq, 1, ret_wc);
}

static int ack(struct ibv_comp_channel *channel)
{
	struct ibv_cq *cq;
	void *context;

	if (ibv_get_cq_event(channel, &cq, &context))
		return -errno;
	ibv_ack_cq_events(cq, 1);
	return 0;
}

/* A peer that refuses also disconnects, and that event may come before the refusal. */
static int complete(struct conn *conn, struct ibv_cq *cq,
		    struct ibv_comp_channel *channel, int timeout_ms,
		    struct ibv_wc *ret_wc)
{
	uint64_t end_ms = conn_now_ms() + (uint64_t)timeout_ms;
	int ret = 0;

	while (!ret) {
		ret = poll_or_arm(cq, ret_wc);
		if (ret)
			return ret < 0 ? -EIO : result_of(ret_wc);
		ret = sleep_on(conn, channel->fd, left_ms(end_ms));
		if (ret > 0)
			ret = ack(channel);
		if (ret == -ECONNRESET && cq == conn->id->send_cq) {
			end_ms = conn_now_ms() + REFUSAL_MS;
			ret = 0;
		}
	}
	return ret == -ETIMEDOUT && conn->is_gone ? -ECONNRESET : ret;
}

/* -------------------------------------------------- messages, transfers */

int conn_expect(struct conn *conn)
{
	return rdma_post_recv(conn->id, NULL, &conn->in, sizeof(conn->in),
			      conn->mr) ? -errno : 0;
}

int conn_complete(struct conn *conn)
{
	struct ibv_wc wc;

	return complete(conn, conn->id->send_cq, conn->id->send_cq_channel,
			ANSWER_MS, &wc);
}

int conn_send(struct conn *conn, const struct message *message)
{
	conn->out = message_swap(*message);
	if (rdma_post_send(conn->id, NULL, &conn->out, sizeof(conn->out),
			   conn->mr, 0))
		return -errno;
	return conn_complete(conn);
}

int conn_receive(struct conn *conn, int timeout_ms, struct message *ret_message)
{
	struct ibv_wc wc;
	int err = complete(conn, conn->id->recv_cq, conn->id->recv_cq_channel,
			   timeout_ms, &wc);

	if (err)
		return err;
	/* The rest of the buffer would be that of the last message. */
	if (wc.byte_len != sizeof(conn->in))
		return -EBADMSG;
	*ret_message = message_swap(conn->in);
	return 0;
}

int conn_transfer(struct conn *conn, enum ibv_wr_opcode opcode,
		  struct ibv_mr *mr, uint64_t at, uint64_t length,
		  uint64_t remote, uint32_t rkey)
{
	struct ibv_sge sge = { .lkey = mr->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = opcode,
		.wr.rdma.rkey = rkey,
	};
	struct ibv_send_wr *bad;
	int err = 0;

	for (uint64_t end = at + length; !err && at < end; at += sge.length) {
		sge.addr = (uintptr_t)mr->addr + at;
		sge.length = end - at < PIECE ? end - at : PIECE;
		wr.wr.rdma.remote_addr = remote;
		remote += sge.length;
		err = -ibv_post_send(conn->id->qp, &wr, &bad);
		if (!err)
			err = conn_complete(conn);
	}
	return err;
}
