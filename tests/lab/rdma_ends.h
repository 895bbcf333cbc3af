/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of a connection over one RDMA device, with plain verbs, for tests that show
 * what the kernel does.
 */
#ifndef RDMA_ENDS_H
#define RDMA_ENDS_H

#include <time.h>
#include "rdma_fixture.h"

#define MR_BYTES (UINT64_C(1) << 20)
#define ALL_ACCESS (IBV_ACCESS_LOCAL_WRITE | READ | WRITE)
#define NEAR_ACCESS (ALL_ACCESS | IBV_ACCESS_MW_BIND)
#define WAIT_STEPS 600000 /* of a millisecond: ends a test that hangs */

/* The far end writes to the near one's region `mr`. */
struct ends {
	struct nic nic;
	struct wire near, far;
	unsigned char *memory, *source;
	struct ibv_mr *mr, *source_mr;
};

static inline void one_millisecond(void)
{
	const struct timespec step = { 0, 1000000 };

	nanosleep(&step, NULL);
}

static inline int connect_ends(struct ends *e)
{
	struct wire_address near = wire_address(&e->near);
	struct wire_address far = wire_address(&e->far);
	int err = wire_connect(&e->near, &far);

	return err ? err : wire_connect(&e->far, &near);
}

static inline int ends_setup(void **state)
{
	struct ends *e = calloc(1, sizeof(*e));

	*state = e;
	if (!e || nic_open(&e->nic, rdma_device) ||
	    wire_open(&e->near, &e->nic) || wire_open(&e->far, &e->nic))
		return -1;
	e->memory = aligned_alloc(4096, MR_BYTES);
	e->source = aligned_alloc(4096, MR_BYTES);
	if (!e->memory || !e->source)
		return -1;
	memset(e->memory, OLD_PATTERN, MR_BYTES);
	memset(e->source, PEER_PATTERN, MR_BYTES);
	e->mr = ibv_reg_mr(e->nic.pd, e->memory, MR_BYTES, NEAR_ACCESS);
	e->source_mr = ibv_reg_mr(e->nic.pd, e->source, MR_BYTES, ALL_ACCESS);
	return e->mr && e->source_mr ? connect_ends(e) : -1;
}

static inline int ends_teardown(void **state)
{
	struct ends *e = *state;
	int err = 0;

	wire_close(&e->near);
	wire_close(&e->far);
	err |= e->mr ? ibv_dereg_mr(e->mr) : 0;
	err |= ibv_dereg_mr(e->source_mr);
	err |= nic_close(&e->nic);
	free(e->memory);
	free(e->source);
	free(e);
	return err;
}

static inline struct transfer far_write(const struct ends *e, uint32_t length)
{
	return (struct transfer){
		.opcode = IBV_WR_RDMA_WRITE,
		.mr = e->source_mr,
		.remote = (uintptr_t)e->memory,
		.rkey = e->mr->rkey,
		.length = length,
	};
}

/* Waits for the next completion and returns its status. */
static inline int completion_of(struct wire *wire)
{
	struct ibv_wc wc;
	int count = 0;

	for (int i = 0; i < WAIT_STEPS && !count; i++) {
		count = ibv_poll_cq(wire->cq, 1, &wc);
		if (!count)
			one_millisecond();
	}
	assert_int_equal(count, 1);
	return (int)wc.status;
}

static inline void assert_no_completion(struct wire *wire)
{
	struct ibv_wc wc;

	assert_int_equal(ibv_poll_cq(wire->cq, 1, &wc), 0);
}

static inline void stop_queue_pair(struct wire *wire)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	assert_int_equal(ibv_modify_qp(wire->qp, &attr, IBV_QP_STATE), 0);
}

/* Posts one signaled request of an end to itself, and returns its status. */
static inline int own_request(struct wire *wire, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;

	wr->send_flags = IBV_SEND_SIGNALED;
	assert_int_equal(ibv_post_send(wire->qp, wr, &bad), 0);
	return completion_of(wire);
}

/* Binds a window of type 2 over the whole region `mr`, for the near end's peer. */
static inline struct ibv_mw *bind_near_window(struct ends *e)
{
	struct ibv_mw *mw = ibv_alloc_mw(e->nic.pd, IBV_MW_TYPE_2);
	struct ibv_send_wr wr = { .opcode = IBV_WR_BIND_MW };

	assert_non_null(mw);
	wr.bind_mw.mw = mw;
	wr.bind_mw.rkey = ibv_inc_rkey(mw->rkey);
	wr.bind_mw.bind_info = (struct ibv_mw_bind_info){
		.mr = e->mr,
		.addr = (uintptr_t)e->memory,
		.length = MR_BYTES,
		.mw_access_flags = WRITE,
	};
	assert_int_equal(own_request(&e->near, &wr), IBV_WC_SUCCESS);
	mw->rkey = wr.bind_mw.rkey;
	return mw;
}

static inline int invalidate(struct ends *e, uint32_t rkey)
{
	struct ibv_send_wr wr = {
		.opcode = IBV_WR_LOCAL_INV,
		.invalidate_rkey = rkey,
	};

	return own_request(&e->near, &wr);
}

#endif
