/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two queue pairs of one device that are connected with each other. What a
 * driver is known to hang at is left out: retries are fewer than "for ever",
 * completions are waited for with a deadline.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "doctor.h"
#include "doctor_wire.h"

#define HALF		(8 * PAGE)	/* of the near end's buffer */
#define SKEW		77		/* nothing is aligned with anything */
#define DEPTH		8
#define FIRST_PSN	7
#define RETRIES		6		/* soft-RoCE takes 7 for "for ever" */
#define PATIENCE_S	30
#define EINTR_TRIES	100
#define CONNECT_TRIES	5

/* --------------------------------------------------------------- the device */

/* Say its name into text, or open it where it has that one. */
static struct ibv_context *visit(const char *wanted, char *text, size_t size)
{
	struct ibv_context *context = NULL;
	struct ibv_device **list;
	int count = 0;

	list = ibv_get_device_list(&count);
	for (int i = 0; list && i < count; i++) {
		const char *name = ibv_get_device_name(list[i]);
		size_t used = text ? strlen(text) : 0;

		if (text)
			snprintf(text + used, size - used, "%s%s",
				 used ? " " : "", name);
		else if (wanted && !strcmp(name, wanted))
			context = ibv_open_device(list[i]);
	}
	if (list)
		ibv_free_device_list(list);
	return context;
}

void wire_list(char *text, size_t size)
{
	text[0] = '\0';
	visit(NULL, text, size);
}

/* The last GID there is: RoCE lists its routable ones behind the others. */
static void choose_gid(struct wire *wire, int length)
{
	struct ibv_gid_entry entry;

	for (int i = 0; i < length; i++) {
		if (ibv_query_gid_ex(wire->context, wire->port, i, &entry, 0))
			continue;
		wire->gid_index = i;
		wire->gid = entry.gid;
	}
}

/* The first port that is up. */
static int choose_port(struct wire *wire)
{
	struct ibv_device_attr device;
	struct ibv_port_attr port;

	if (ibv_query_device(wire->context, &device))
		return -EIO;
	for (int i = 1; i <= device.phys_port_cnt; i++) {
		if (ibv_query_port(wire->context, i, &port) ||
		    port.state != IBV_PORT_ACTIVE)
			continue;
		wire->port = i;
		wire->mtu = port.active_mtu;
		wire->lid = port.lid;
		wire->gid_index = -1;
		if (port.link_layer == IBV_LINK_LAYER_ETHERNET)
			choose_gid(wire, port.gid_tbl_len);
		return wire->lid || wire->gid_index >= 0 ? 0 : -EADDRNOTAVAIL;
	}
	return -ENETDOWN;
}

/* ----------------------------------------------------------- the connection */

static struct ibv_qp *make_queue_pair(struct wire *wire)
{
	struct ibv_qp_init_attr init = {
		.send_cq = wire->cq, .recv_cq = wire->cq,
		.cap = {
			.max_send_wr = DEPTH, .max_recv_wr = 1,
			.max_send_sge = 1, .max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
	};

	return ibv_create_qp(wire->pd, &init);
}

static int to_init(const struct wire *wire, struct ibv_qp *qp)
{
	struct ibv_qp_attr reset = { .qp_state = IBV_QPS_RESET };
	struct ibv_qp_attr init = {
		.qp_state = IBV_QPS_INIT,
		.port_num = wire->port,
		.qp_access_flags = IBV_ACCESS_REMOTE_READ |
				   IBV_ACCESS_REMOTE_WRITE,
	};
	int ret = ibv_modify_qp(qp, &reset, IBV_QP_STATE);

	if (ret)
		return -ret;
	return -ibv_modify_qp(qp, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
			      IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static int to_send(const struct wire *wire, struct ibv_qp *qp, uint32_t peer)
{
	struct ibv_qp_attr receive = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = wire->mtu,
		.dest_qp_num = peer,
		.rq_psn = FIRST_PSN,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .port_num = wire->port, .dlid = wire->lid },
	};
	struct ibv_qp_attr send = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 14,
		.retry_cnt = RETRIES, .rnr_retry = RETRIES,
		.sq_psn = FIRST_PSN,
		.max_rd_atomic = 1,
	};
	int ret;

	if (wire->gid_index >= 0) {
		receive.ah_attr.is_global = 1;
		receive.ah_attr.grh.dgid = wire->gid;
		receive.ah_attr.grh.sgid_index = wire->gid_index;
		receive.ah_attr.grh.hop_limit = 64;
	}
	ret = ibv_modify_qp(qp, &receive, IBV_QP_STATE | IBV_QP_AV |
			    IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			    IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
			    IBV_QP_MIN_RNR_TIMER);
	if (ret)
		return -ret;
	return -ibv_modify_qp(qp, &send, IBV_QP_STATE | IBV_QP_TIMEOUT |
			      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

static int connect_once(struct wire *wire)
{
	struct ibv_wc wc;
	int ret = to_init(wire, wire->near);

	if (!ret)
		ret = to_init(wire, wire->far);
	while (ibv_poll_cq(wire->cq, 1, &wc) > 0)
		;	/* what the last connection left */
	if (!ret)
		ret = to_send(wire, wire->near, wire->far->qp_num);
	if (!ret)
		ret = to_send(wire, wire->far, wire->near->qp_num);
	return ret;
}

/* A packet that is still under way can spoil it. */
int wire_connect(struct wire *wire)
{
	int ret = connect_once(wire);

	for (int i = 1; ret && i < CONNECT_TRIES; i++) {
		usleep(20000);
		ret = connect_once(wire);
	}
	return ret;
}

struct ibv_mr *wire_region(struct wire *wire, void *at, uint64_t length,
			   int access)
{
	struct ibv_mr *mr = NULL;

	for (int i = 0; !mr && i < EINTR_TRIES; i++) {
		errno = 0;
		mr = ibv_reg_mr(wire->pd, at, length, access);
		if (!mr && errno != EINTR)
			break;
	}
	return mr;
}

static int make_parts(struct wire *wire)
{
	wire->pd = ibv_alloc_pd(wire->context);
	wire->cq = ibv_create_cq(wire->context, 4 * DEPTH, NULL, NULL, 0);
	wire->buffer = aligned_alloc(PAGE, 2 * HALF);
	if (!wire->pd || !wire->cq || !wire->buffer)
		return -ENOMEM;
	wire->near = make_queue_pair(wire);
	wire->far = make_queue_pair(wire);
	wire->mr = wire_region(wire, wire->buffer, 2 * HALF,
			       IBV_ACCESS_LOCAL_WRITE);
	if (!wire->near || !wire->far || !wire->mr)
		return errno ? -errno : -ENOMEM;
	return wire_connect(wire);
}

int wire_open(struct wire *wire, const char *device)
{
	int ret;

	memset(wire, 0, sizeof(*wire));
	errno = 0;
	wire->context = visit(device, NULL, 0);
	if (!wire->context)
		return errno ? -errno : -ENODEV;
	ret = choose_port(wire);
	return ret ? ret : make_parts(wire);
}

void wire_close(struct wire *wire)
{
	if (wire->near)
		ibv_destroy_qp(wire->near);
	if (wire->far)
		ibv_destroy_qp(wire->far);
	if (wire->mr)
		ibv_dereg_mr(wire->mr);
	if (wire->cq)
		ibv_destroy_cq(wire->cq);
	if (wire->pd)
		ibv_dealloc_pd(wire->pd);
	if (wire->context)
		ibv_close_device(wire->context);
	free(wire->buffer);
}

/* ----------------------------------------------------------------- requests */

unsigned char *wire_source(struct wire *wire)
{
	return wire->buffer + SKEW;
}

unsigned char *wire_sink(struct wire *wire)
{
	return wire->buffer + HALF + 3 * SKEW;
}

static int request(struct wire *wire, struct ibv_qp *qp,
		   struct ibv_send_wr *wr)
{
	time_t end = time(NULL) + PATIENCE_S;
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	int ret = ibv_post_send(qp, wr, &bad);

	if (ret)
		return -ret;
	do {
		ret = ibv_poll_cq(wire->cq, 1, &wc);
		if (ret)
			return ret < 0 ? -EIO : (int)wc.status;
	} while (time(NULL) <= end);
	return -ETIMEDOUT;
}

static int transfer(struct wire *wire, enum ibv_wr_opcode opcode,
		    const void *near, const void *far, uint32_t rkey,
		    uint32_t length)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)near, .length = length,
		.lkey = wire->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = opcode,
		.wr.rdma = { .remote_addr = (uintptr_t)far, .rkey = rkey },
	};

	return request(wire, wire->near, &wr);
}

int wire_write(struct wire *wire, const void *to, uint32_t rkey,
	       uint32_t length)
{
	return transfer(wire, IBV_WR_RDMA_WRITE, wire_source(wire), to, rkey,
			length);
}

int wire_read(struct wire *wire, const void *from, uint32_t rkey,
	      uint32_t length)
{
	return transfer(wire, IBV_WR_RDMA_READ, wire_sink(wire), from, rkey,
			length);
}

int wire_bind(struct wire *wire, struct ibv_mw *mw, uint32_t rkey,
	      struct ibv_mr *mr, const void *at, uint64_t length)
{
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_BIND_MW,
		.bind_mw = {
			.mw = mw, .rkey = rkey,
			.bind_info = {
				.mr = mr, .addr = (uintptr_t)at,
				.length = length,
				.mw_access_flags = IBV_ACCESS_REMOTE_WRITE,
			},
		},
	};

	return request(wire, wire->far, &wr);
}
