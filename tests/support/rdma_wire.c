/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "rdma_wire.h"

#define RETRY_COUNT	6	/* with 7, soft-RoCE retries forever */
#define ACK_TIMEOUT	17	/* 4.096 us << 17 is half a second */
#define PSN_STEP	0x10001u
#define PSN_MASK	0xffffffu
#define CONNECT_TRIES	250	/* 20 ms apart */
#define DEPTH		16
#define COMPLETE_NS	UINT64_C(30000000000)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)now.tv_nsec;
}

static struct ibv_context *open_device(const char *name)
{
	struct ibv_context *context = NULL;
	struct ibv_device **list;
	int count = 0, i;

	list = ibv_get_device_list(&count);
	for (i = 0; list && i < count; i++)
		if (!strcmp(name, ibv_get_device_name(list[i])))
			context = ibv_open_device(list[i]);
	if (list)
		ibv_free_device_list(list);
	return context;
}

/* Higher is better. Routable IPv4 is best. */
static int gid_rank(const struct ibv_gid_entry *entry)
{
	static const unsigned char ipv4[12] = { [10] = 0xff, [11] = 0xff };
	const unsigned char *raw = entry->gid.raw;
	int rank = entry->gid_type == IBV_GID_TYPE_ROCE_V2 ? 4 : 0;

	if (!memcmp(raw, ipv4, sizeof(ipv4)))
		return rank + 3;
	if (raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80)
		return rank + 1;
	return rank + 2;
}

static void choose_gid(struct nic *nic, int table_length)
{
	struct ibv_gid_entry entry;
	int best = 0, i;

	for (i = 0; i < table_length; i++) {
		if (ibv_query_gid_ex(nic->context, nic->port, (uint32_t)i,
				     &entry, 0))
			continue;	/* an empty table entry */
		if (gid_rank(&entry) <= best)
			continue;
		best = gid_rank(&entry);
		nic->gid_index = i;
		nic->gid = entry.gid;
	}
}

/* Finds the first active port. */
static int choose_port(struct nic *nic)
{
	struct ibv_device_attr device;
	struct ibv_port_attr port;
	uint8_t i;

	if (ibv_query_device(nic->context, &device))
		return -EIO;
	for (i = 1; i <= device.phys_port_cnt; i++) {
		if (ibv_query_port(nic->context, i, &port) ||
		    port.state != IBV_PORT_ACTIVE)
			continue;
		nic->port = i;
		nic->mtu = port.active_mtu;
		nic->lid = port.lid;
		nic->gid_index = -1;
		if (port.link_layer == IBV_LINK_LAYER_ETHERNET)
			choose_gid(nic, port.gid_tbl_len);
		return nic->lid || nic->gid_index >= 0 ? 0 : -EADDRNOTAVAIL;
	}
	return -ENETDOWN;
}

int nic_open(struct nic *nic, const char *name)
{
	int err;

	memset(nic, 0, sizeof(*nic));
	nic->context = open_device(name);
	if (!nic->context)
		return errno ? -errno : -ENODEV;
	err = choose_port(nic);
	if (!err) {
		nic->pd = ibv_alloc_pd(nic->context);
		if (!nic->pd)
			err = -errno;
	}
	if (err)
		ibv_close_device(nic->context);
	return err;
}

int nic_close(struct nic *nic)
{
	int err = ibv_dealloc_pd(nic->pd);

	return err ? -err : ibv_close_device(nic->context);
}

int wire_open(struct wire *wire, struct nic *nic)
{
	struct ibv_qp_init_attr init = {
		.cap = {
			.max_send_wr = DEPTH,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1,
		},
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
	};

	wire->nic = nic;
	wire->ack_timeout = ACK_TIMEOUT;
	wire->retry_count = RETRY_COUNT;
	wire->cq = ibv_create_cq(nic->context, 2 * DEPTH, NULL, NULL, 0);
	if (!wire->cq)
		return -errno;
	init.send_cq = wire->cq;
	init.recv_cq = wire->cq;
	wire->qp = ibv_create_qp(nic->pd, &init);
	if (!wire->qp) {
		ibv_destroy_cq(wire->cq);
		return -errno;
	}
	return 0;
}

void wire_close(struct wire *wire)
{
	ibv_destroy_qp(wire->qp);
	ibv_destroy_cq(wire->cq);
}

/*
 * Each connection starts with other packet numbers. A busy machine repeats requests,
 * and packets of an old connection arrive after the same two queue pairs were connected
 * again. With the same numbers they would count for the new connection.
 */
struct wire_address wire_address(struct wire *wire)
{
	static uint32_t psn;

	if (!psn)
		psn = (uint32_t)getpid() << 4;
	psn += PSN_STEP;
	wire->psn = psn & PSN_MASK;
	return (struct wire_address){
		.gid = wire->nic->gid,
		.qp_number = wire->qp->qp_num,
		.psn = wire->psn,
		.lid = wire->nic->lid,
	};
}

static int to_reset(struct wire *wire)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RESET };
	struct ibv_wc wc;
	int err;

	err = ibv_modify_qp(wire->qp, &attr, IBV_QP_STATE);
	while (!err && ibv_poll_cq(wire->cq, 1, &wc) > 0)
		;	/* completions of the last connection */
	return -err;
}

static int to_init(struct wire *wire)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = wire->nic->port,
		.qp_access_flags = IBV_ACCESS_REMOTE_READ |
				   IBV_ACCESS_REMOTE_WRITE |
				   IBV_ACCESS_REMOTE_ATOMIC,
	};

	return -ibv_modify_qp(wire->qp, &attr, IBV_QP_STATE |
			      IBV_QP_PKEY_INDEX | IBV_QP_PORT |
			      IBV_QP_ACCESS_FLAGS);
}

static int to_receive(struct wire *wire, const struct wire_address *to)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = wire->nic->mtu,
		.dest_qp_num = to->qp_number,
		.rq_psn = to->psn,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr.port_num = wire->nic->port,
		.ah_attr.dlid = to->lid,
	};

	if (wire->nic->gid_index >= 0) {
		attr.ah_attr.is_global = 1;
		attr.ah_attr.grh.dgid = to->gid;
		attr.ah_attr.grh.sgid_index = (uint8_t)wire->nic->gid_index;
		attr.ah_attr.grh.hop_limit = 64;
	}
	return -ibv_modify_qp(wire->qp, &attr, IBV_QP_STATE | IBV_QP_AV |
			      IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			      IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
			      IBV_QP_MIN_RNR_TIMER);
}

static int to_send(struct wire *wire)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = wire->ack_timeout,
		.retry_cnt = wire->retry_count,
		.rnr_retry = RETRY_COUNT,
		.sq_psn = wire->psn,
		.max_rd_atomic = 1,
	};

	return -ibv_modify_qp(wire->qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT |
			      IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			      IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int wire_connect(struct wire *wire, const struct wire_address *to)
{
	int err, tries;

	/* A reset can fail while a packet arrives, so it is repeated (rdma.md R17). */
	wire->first_error = 0;
	for (tries = 0; tries < CONNECT_TRIES; tries++) {
		err = to_reset(wire);
		if (!err)
			err = to_init(wire);
		if (!err)
			err = to_receive(wire, to);
		if (!err)
			err = to_send(wire);
		if (!err)
			return 0;
		if (!tries)
			wire->first_error = err;
		usleep(20000);
	}
	return err;
}

int wire_post(struct wire *wire, const struct transfer *transfer)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)transfer->mr->addr,
		.length = transfer->length,
		.lkey = transfer->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = transfer->opcode,
		.wr.rdma.remote_addr = transfer->remote,
		.wr.rdma.rkey = transfer->rkey,
	};
	struct ibv_send_wr *bad;

	return -ibv_post_send(wire->qp, &wr, &bad);
}

int wire_transfer(struct wire *wire, const struct transfer *transfer)
{
	uint64_t deadline = now_ns() + COMPLETE_NS;
	int err = wire_post(wire, transfer), count;
	struct ibv_wc wc;

	if (err)
		return err;
	do {
		count = ibv_poll_cq(wire->cq, 1, &wc);
		if (count)
			return count < 0 ? -EIO : (int)wc.status;
	} while (now_ns() < deadline);
	return -ETIMEDOUT;
}
