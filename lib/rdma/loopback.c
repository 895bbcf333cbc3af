/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns two queue pairs of one device that are connected with each other. The retry
 * count is limited, because some drivers hang without a limit (rdma.md R16), and every
 * wait has a deadline.
 */
#include "rdma/loopback.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <daxpin-rdma.h>
#include "rdma/mr.h"
#include "grant/retry.h"

#define PAGE		DAXPIN_BLOCK_SIZE
#define HALF		(8 * PAGE)	/* half of the near end's buffer */
#define SKEW		77		/* so that source and target are not aligned */
#define FIRST_PSN	7
#define RETRIES		6		/* soft-RoCE takes 7 as unlimited */
#define CONNECT_TRIES	5
#define PAUSE_NS	20000000

static_assert(DP_LOOPBACK_BYTES + 3 * SKEW <= HALF, "each half has room for it");

/* --------------------------------------------------------------- the device */

/* Choose the last GID, because RoCE lists the routable ones last. */
static void loopback_choose_gid(struct dp_loopback *loopback, int length)
{
	struct ibv_gid_entry entry;

	for (int i = 0; i < length; i++) {
		if (ibv_query_gid_ex(loopback->pd->context, loopback->port,
				     (uint32_t)i, &entry, 0))
			continue;
		loopback->gid_index = i;
		loopback->gid = entry.gid;
	}
}

/* The first port that is up. */
static int loopback_choose_port(struct dp_loopback *loopback)
{
	struct ibv_device_attr device;
	struct ibv_port_attr port;

	if (ibv_query_device(loopback->pd->context, &device))
		return -EIO;
	for (uint8_t i = 1; i <= device.phys_port_cnt; i++) {
		if (ibv_query_port(loopback->pd->context, i, &port) ||
		    port.state != IBV_PORT_ACTIVE)
			continue;
		loopback->port = i;
		loopback->mtu = port.active_mtu;
		loopback->lid = port.lid;
		loopback->gid_index = -1;
		if (port.link_layer == IBV_LINK_LAYER_ETHERNET)
			loopback_choose_gid(loopback, port.gid_tbl_len);
		return loopback->lid || loopback->gid_index >= 0 ?
			       0 :
			       -EADDRNOTAVAIL;
	}
	return -ENETDOWN;
}

/* ----------------------------------------------------------- the connection */

static struct ibv_qp *loopback_make_queue_pair(struct ibv_pd *pd,
					       struct ibv_cq *cq)
{
	struct ibv_qp_init_attr init = {
		.send_cq = cq, .recv_cq = cq,
		.cap = {
			.max_send_wr = DP_LOOPBACK_DEPTH, .max_recv_wr = 1,
			.max_send_sge = 1, .max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
	};
	struct dp_retry retry = { 0 };
	struct ibv_qp *qp;

	do
		qp = ibv_create_qp(pd, &init);
	while (!qp && dp_retry(&retry, -errno));
	return qp;
}

static struct ibv_cq *loopback_make_completion_queue(struct ibv_context *context)
{
	struct dp_retry retry = { 0 };
	struct ibv_cq *cq;

	do
		cq = ibv_create_cq(context, (int)(2 * DP_LOOPBACK_DEPTH), NULL,
				   NULL, 0);
	while (!cq && dp_retry(&retry, -errno));
	return cq;
}

/* Retry if a signal interrupts the call, or while a port is coming up. */
static int loopback_modify(struct ibv_qp *qp, struct ibv_qp_attr *attr,
			   int mask)
{
	struct dp_retry retry = { 0 };
	int ret;

	do
		ret = -ibv_modify_qp(qp, attr, mask);
	while (dp_retry(&retry, ret));
	return ret;
}

static int loopback_to_init(const struct dp_loopback *loopback,
			    struct ibv_qp *qp)
{
	struct ibv_qp_attr reset = { .qp_state = IBV_QPS_RESET };
	struct ibv_qp_attr init = {
		.qp_state = IBV_QPS_INIT,
		.port_num = loopback->port,
		.qp_access_flags = IBV_ACCESS_REMOTE_READ |
				   IBV_ACCESS_REMOTE_WRITE,
	};
	int ret = loopback_modify(qp, &reset, IBV_QP_STATE);

	if (ret)
		return ret;
	return loopback_modify(qp, &init, IBV_QP_STATE | IBV_QP_PKEY_INDEX |
			      IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

static int loopback_to_receive(const struct dp_loopback *loopback,
			       struct ibv_qp *qp, uint32_t peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = loopback->mtu,
		.dest_qp_num = peer,
		.rq_psn = FIRST_PSN,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .port_num = loopback->port,
			     .dlid = loopback->lid },
	};

	if (loopback->gid_index >= 0) {
		attr.ah_attr.is_global = 1;
		attr.ah_attr.grh.dgid = loopback->gid;
		attr.ah_attr.grh.sgid_index = (uint8_t)loopback->gid_index;
		attr.ah_attr.grh.hop_limit = 64;
	}
	return loopback_modify(qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			      IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
			      IBV_QP_MIN_RNR_TIMER);
}

static int loopback_to_send(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 14,
		.retry_cnt = RETRIES, .rnr_retry = RETRIES,
		.sq_psn = FIRST_PSN,
		.max_rd_atomic = 1,
	};

	return loopback_modify(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

/* Remove the completions of the last connection. */
static void loopback_empty_queue(struct ibv_cq *cq)
{
	struct ibv_wc wc;

	while (ibv_poll_cq(cq, 1, &wc) > 0)
		;
}

static int loopback_connect_once(struct dp_loopback *loopback)
{
	int ret = loopback_to_init(loopback, loopback->near);

	if (!ret)
		ret = loopback_to_init(loopback, loopback->far);
	loopback_empty_queue(loopback->near_cq);
	loopback_empty_queue(loopback->far_cq);
	if (!ret)
		ret = loopback_to_receive(loopback, loopback->near,
					  loopback->far->qp_num);
	if (!ret)
		ret = loopback_to_receive(loopback, loopback->far,
					  loopback->near->qp_num);
	if (!ret)
		ret = loopback_to_send(loopback->near);
	return ret ? ret : loopback_to_send(loopback->far);
}

/* A packet that is still in flight can make this fail (rdma.md R17). */
int dp_loopback_connect(struct dp_loopback *loopback)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	int ret = loopback_connect_once(loopback);

	for (int i = 1; ret && i < CONNECT_TRIES; i++) {
		nanosleep(&pause, NULL);
		ret = loopback_connect_once(loopback);
	}
	return ret;
}

static int loopback_make_parts(struct dp_loopback *loopback)
{
	struct ibv_context *context = loopback->pd->context;

	errno = 0;
	loopback->near_cq = loopback_make_completion_queue(context);
	loopback->far_cq = loopback_make_completion_queue(context);
	loopback->buffer = aligned_alloc(PAGE, 2 * HALF);
	if (!loopback->near_cq || !loopback->far_cq || !loopback->buffer)
		return errno ? -errno : -ENOMEM;
	memset(loopback->buffer, 0, 2 * HALF);
	loopback->near =
		loopback_make_queue_pair(loopback->pd, loopback->near_cq);
	loopback->far =
		loopback_make_queue_pair(loopback->pd, loopback->far_cq);
	if (!loopback->near || !loopback->far)
		return errno ? -errno : -ENOMEM;
	return dp_mr_register(loopback->pd, loopback->buffer, 2 * HALF,
			      IBV_ACCESS_LOCAL_WRITE, &loopback->mr);
}

int dp_loopback_open(struct dp_loopback *loopback, struct ibv_pd *pd,
		     uint64_t deadline_ns)
{
	int ret;

	memset(loopback, 0, sizeof(*loopback));
	loopback->pd = pd;
	loopback->deadline_ns = deadline_ns;
	ret = loopback_choose_port(loopback);
	if (!ret)
		ret = loopback_make_parts(loopback);
	return ret ? ret : dp_loopback_connect(loopback);
}

static int loopback_end_queue_pair(struct ibv_qp **qp, struct ibv_cq **cq)
{
	struct dp_retry retry = { 0 };
	int ret;

	do {
		ret = *qp ? -ibv_destroy_qp(*qp) : 0;
		if (ret)
			continue;
		*qp = NULL;
		ret = *cq ? -ibv_destroy_cq(*cq) : 0;
		if (!ret)
			*cq = NULL;
	} while (dp_retry(&retry, ret));
	return ret;
}

/* The region is deregistered first: only then may the buffer be freed. */
int dp_loopback_close(struct dp_loopback *loopback)
{
	int ret = loopback->mr ? dp_mr_deregister(loopback->mr) : 0, near, far;

	if (!ret) {
		loopback->mr = NULL;
		free(loopback->buffer);
		loopback->buffer = NULL;
	}
	near = loopback_end_queue_pair(&loopback->near, &loopback->near_cq);
	far = loopback_end_queue_pair(&loopback->far, &loopback->far_cq);
	return ret ? ret : near ? near : far;
}

/* ----------------------------------------------------------------- requests */

unsigned char *dp_loopback_source(struct dp_loopback *loopback)
{
	return loopback->buffer + SKEW;
}

unsigned char *dp_loopback_sink(struct dp_loopback *loopback)
{
	return loopback->buffer + HALF + 3 * SKEW;
}

static int loopback_wait(struct dp_loopback *loopback, struct ibv_cq *cq)
{
	struct ibv_wc wc;
	int count;

	do {
		count = ibv_poll_cq(cq, 1, &wc);
		if (count)
			return count < 0 ? -EIO : (int)wc.status;
	} while (daxpin_deadline_ms(0) < loopback->deadline_ns);
	return -ETIMEDOUT;
}

int dp_loopback_near_wait(struct dp_loopback *loopback)
{
	return loopback_wait(loopback, loopback->near_cq);
}

int dp_loopback_far_wait(struct dp_loopback *loopback)
{
	return loopback_wait(loopback, loopback->far_cq);
}

static int loopback_post(struct dp_loopback *loopback,
			 enum ibv_wr_opcode opcode, const void *near,
			 const void *far, uint32_t rkey, uint32_t length,
			 unsigned int flags)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)near, .length = length,
		.lkey = loopback->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = opcode,
		.send_flags = flags,
		.wr.rdma = { .remote_addr = (uintptr_t)far, .rkey = rkey },
	};
	struct ibv_send_wr *bad;

	assert(length <= DP_LOOPBACK_BYTES);
	return -ibv_post_send(loopback->near, &wr, &bad);
}

int dp_loopback_write(struct dp_loopback *loopback, const void *to,
		      uint32_t rkey, uint32_t length)
{
	int ret = loopback_post(loopback, IBV_WR_RDMA_WRITE,
				dp_loopback_source(loopback), to, rkey, length,
				IBV_SEND_SIGNALED);

	return ret ? ret : dp_loopback_near_wait(loopback);
}

int dp_loopback_read(struct dp_loopback *loopback, const void *from,
		     uint32_t rkey, uint32_t length)
{
	int ret = loopback_post(loopback, IBV_WR_RDMA_READ,
				dp_loopback_sink(loopback), from, rkey, length,
				IBV_SEND_SIGNALED);

	return ret ? ret : dp_loopback_near_wait(loopback);
}

int dp_loopback_post(struct dp_loopback *loopback, const void *to, uint32_t rkey,
		     bool last)
{
	return loopback_post(loopback, IBV_WR_RDMA_WRITE,
			     dp_loopback_source(loopback), to, rkey,
			     DP_LOOPBACK_BYTES, last ? IBV_SEND_SIGNALED : 0);
}
