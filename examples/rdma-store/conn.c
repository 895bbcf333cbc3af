/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "conn.h"

#define PIECE		(UINT64_C(1) << 20)	/* bytes in one work request */
#define RETRIES		6	/* for soft-RoCE 7 means unlimited */
#define ANSWER_MS	30000
#define REFUSAL_MS	1000
#define HANDSHAKE_MS	10000

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

int conn_listen(const char *address, const char *port,
		struct rdma_cm_id **ret_listen)
{
	struct rdma_addrinfo *info;
	struct rdma_cm_id *listen;
	int err = find(address, port, RAI_PASSIVE | RAI_NUMERICHOST, &info);

	if (err)
		return err;
	err = rdma_create_ep(&listen, info, NULL, NULL) ? -errno : 0;
	rdma_freeaddrinfo(info);
	if (err)
		return err;
	if (!listen->verbs)
		err = -ENODEV;		/* the address belongs to no RDMA device */
	else if (rdma_listen(listen, 16))
		err = -errno;
	if (err)
		rdma_destroy_ep(listen);
	else
		*ret_listen = listen;
	return err;
}

static int begin(struct conn *conn)
{
	conn->mr = ibv_reg_mr(conn->id->qp->pd, &conn->out,
			      sizeof(conn->out) + sizeof(conn->in),
			      IBV_ACCESS_LOCAL_WRITE);
	return conn->mr ? conn_expect(conn) : -errno;
}

int conn_get_request(struct conn *conn, struct rdma_cm_id *listen)
{
	if (!rdma_get_request(listen, &conn->id))
		return 0;
	/* rdma_get_request() leaves an event that is not a request in listen->event. */
	return listen->event && listen->event->event == RDMA_CM_EVENT_DEVICE_REMOVAL ?
	       -ENODEV : -errno;
}

/* Waits for the peer's last message of the handshake, or its end. */
static int await_established(struct conn *conn)
{
	struct pollfd fds[] = {
		{ .fd = conn->channel->fd, .events = POLLIN },
		{ .fd = conn->stop_fd, .events = POLLIN },
	};
	struct rdma_cm_event *event;
	int count, err;

	do
		count = poll(fds, 2, HANDSHAKE_MS);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return count ? -errno : -ETIMEDOUT;
	if (fds[1].revents)
		return -ECANCELED;
	if (rdma_get_cm_event(conn->channel, &event))
		return -errno;
	err = event->event == RDMA_CM_EVENT_ESTABLISHED ? 0 : -ECONNRESET;
	rdma_ack_cm_event(event);
	return err;
}

/*
 * With a channel of its own, rdma_accept() does not wait for the peer, which may never
 * answer.
 */
int conn_accept(struct conn *conn, struct ibv_pd *pd)
{
	struct ibv_qp_init_attr options = qp_options;
	int err;

	conn->channel = rdma_create_event_channel();
	if (!conn->channel || rdma_migrate_id(conn->id, conn->channel))
		return -errno;
	err = rdma_create_qp(conn->id, pd, &options) ? -errno : begin(conn);
	if (!err && rdma_accept(conn->id, parameters()))
		err = -errno;
	return err ? err : await_established(conn);
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

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int left_ms(uint64_t end_ms)
{
	uint64_t now = now_ms();

	if (end_ms == UINT64_MAX)
		return -1;
	return now < end_ms ? (int)(end_ms - now) : 0;
}

/* Reads the connection's events. Only its end matters. */
static int take_event(struct conn *conn)
{
	struct rdma_cm_event *event;
	bool ended;

	if (rdma_get_cm_event(conn->id->channel, &event))
		return -errno;
	ended = event->event != RDMA_CM_EVENT_ESTABLISHED;
	rdma_ack_cm_event(event);
	conn->gone |= ended;
	return ended ? -ECONNRESET : 0;
}

static int sleep_on(struct conn *conn, struct ibv_comp_channel *channel,
		    int timeout_ms)
{
	struct pollfd fds[] = {
		{ .fd = channel->fd, .events = POLLIN },
		{ .fd = conn->id->channel->fd, .events = POLLIN },
		{ .fd = conn->stop_fd, .events = POLLIN },
	};
	struct ibv_cq *cq;
	void *context;
	int count = poll(fds, 3, timeout_ms);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	if (!count)
		return -ETIMEDOUT;
	if (fds[2].revents)
		return -ECANCELED;
	if (!fds[0].revents)
		return take_event(conn);
	if (ibv_get_cq_event(channel, &cq, &context))
		return -errno;
	ibv_ack_cq_events(cq, 1);
	return 0;
}

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

/* A peer that refuses also disconnects, and that event may come before the refusal. */
static int complete(struct conn *conn, struct ibv_cq *cq,
		    struct ibv_comp_channel *channel, int timeout_ms)
{
	uint64_t end_ms = timeout_ms < 0 ? UINT64_MAX :
			  now_ms() + (uint64_t)timeout_ms;
	struct ibv_wc wc;
	int ret = 0;

	while (!ret) {
		ret = poll_or_arm(cq, &wc);
		if (ret)
			return ret < 0 ? -EIO : result_of(&wc);
		ret = sleep_on(conn, channel, left_ms(end_ms));
		if (ret == -ECONNRESET && cq == conn->id->send_cq) {
			end_ms = now_ms() + REFUSAL_MS;
			ret = 0;
		}
	}
	return ret == -ETIMEDOUT && conn->gone ? -ECONNRESET : ret;
}

/* -------------------------------------------------- messages, transfers */

int conn_expect(struct conn *conn)
{
	return rdma_post_recv(conn->id, NULL, &conn->in, sizeof(conn->in),
			      conn->mr) ? -errno : 0;
}

int conn_complete(struct conn *conn)
{
	return complete(conn, conn->id->send_cq, conn->id->send_cq_channel,
			ANSWER_MS);
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
	int err = complete(conn, conn->id->recv_cq, conn->id->recv_cq_channel,
			   timeout_ms);

	if (err)
		return err;
	*ret_message = message_swap(conn->in);
	if (ret_message->version != STORE_VERSION)
		return -EPROTONOSUPPORT;
	ret_message->name[sizeof(ret_message->name) - 1] = '\0';
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
