/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fake libibverbs with a device that behaves as the test says. It moves no bytes; it
 * shows which verbs the adapter calls, and in which order. Its RDMA netlink shows a
 * context of this process. Include it after fixture.h.
 */
#ifndef VERBS_FAKE_H
#define VERBS_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <daxpin-rdma.h>
#include "owner/rdma_self.h"

#define ALWAYS		UINT32_MAX

static struct {
	pthread_mutex_t lock;
	/* What the device does. */
	int dereg_error;		/* error of dereg, dereg_refusals times */
	uint32_t dereg_refusals;
	bool dereg_after_qp;		/* instead: until the queue pair is in error */
	int reg_passing;		/* error of the next registration only */
	int reg_error;			/* error after reg_allowed registrations */
	uint32_t reg_allowed;
	uint32_t stuck_key;		/* ending this lkey's region fails */
	int qp_error;			/* error of modify_qp, qp_refusals times */
	uint32_t qp_refusals;
	int bind_error;			/* error of a bind */
	void (*in_reg)(void);		/* called in a registration, unlocked */
	void (*in_dereg)(void);		/* called in a deregistration */
	void (*in_qp)(void);		/* called in modify_qp */
	/* What the device did. */
	uint32_t regs, deregs, live, qp_stops;
	enum ibv_qp_state qp_state;
	uint64_t longest;
	unsigned int access;		/* access of the last registration */
	uint32_t windows;		/* allocated at the moment */
	struct ibv_send_wr bound;	/* the last bind request */
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .reg_allowed = ALWAYS,
	    .qp_refusals = ALWAYS };

static struct ibv_device fake_device = { .name = "fake0" };
static struct ibv_context fake_context = { .device = &fake_device };
static struct ibv_pd fake_pd = { .context = &fake_context };
static struct ibv_qp fake_qp = {
	.context = &fake_context, .pd = &fake_pd, .qp_num = 17,
};

static inline void fake_reset(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.dereg_error = fake.reg_error = fake.qp_error = 0;
	fake.reg_passing = 0;
	fake.stuck_key = 0;
	fake.qp_refusals = ALWAYS;
	fake.bind_error = 0;
	fake.dereg_refusals = 0;
	fake.dereg_after_qp = false;
	fake.reg_allowed = ALWAYS;
	fake.in_reg = fake.in_dereg = fake.in_qp = NULL;
	fake.regs = fake.deregs = fake.live = fake.qp_stops = 0;
	fake.longest = 0;
	fake.qp_state = IBV_QPS_RTS;
	pthread_mutex_unlock(&fake.lock);
}

const char *ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

static inline struct ibv_mr *fake_register(struct ibv_pd *pd, void *base,
					   size_t length, unsigned int access)
{
	struct ibv_mr *mr = NULL;

	if (fake.in_reg)
		fake.in_reg();
	pthread_mutex_lock(&fake.lock);
	if (fake.reg_passing) {
		errno = fake.reg_passing;
		fake.reg_passing = 0;
	} else if (fake.regs >= fake.reg_allowed) {
		errno = fake.reg_error;
	} else {
		mr = calloc(1, sizeof(*mr));
		assert_non_null(mr);
		*mr = (struct ibv_mr) {
			.context = pd->context, .pd = pd, .addr = base,
			.length = length, .lkey = 0x100 + fake.regs,
			.rkey = 0x8000 + fake.regs,
		};
		fake.regs++;
		fake.live++;
		fake.access = access;
		if (length > fake.longest)
			fake.longest = length;
	}
	pthread_mutex_unlock(&fake.lock);
	return mr;
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *base, size_t length,
			  int access)
{
	return fake_register(pd, base, length, (unsigned int)access);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *base, size_t length,
				uint64_t iova, unsigned int access)
{
	(void)iova;
	return fake_register(pd, base, length, access);
}

static inline bool fake_refuses(void)
{
	if (fake.dereg_after_qp)
		return fake.qp_state != IBV_QPS_ERR;
	if (!fake.dereg_refusals)
		return false;
	if (fake.dereg_refusals != ALWAYS)
		fake.dereg_refusals--;
	return true;
}

/* Ends a region or a window. Returns 0 or the device's errno. */
static inline int fake_end(uint32_t *live, void *object)
{
	void (*in_dereg)(void);
	int err = 0;

	pthread_mutex_lock(&fake.lock);
	in_dereg = fake.in_dereg;
	pthread_mutex_unlock(&fake.lock);
	if (in_dereg)
		in_dereg();
	pthread_mutex_lock(&fake.lock);
	fake.deregs++;
	if (fake_refuses()) {
		err = fake.dereg_error;
	} else {
		assert_true(*live > 0);
		(*live)--;
		free(object);
	}
	pthread_mutex_unlock(&fake.lock);
	return err;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	if (fake.stuck_key && mr->lkey == fake.stuck_key)
		return fake.dereg_error;
	return fake_end(&fake.live, mr);
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	int err;

	assert_ptr_equal(qp, &fake_qp);
	assert_int_equal(mask, IBV_QP_STATE);
	if (fake.in_qp)
		fake.in_qp();
	pthread_mutex_lock(&fake.lock);
	fake.qp_stops++;
	err = fake.qp_refusals ? fake.qp_error : 0;
	if (err && fake.qp_refusals != ALWAYS)
		fake.qp_refusals--;
	if (!err)
		fake.qp_state = attr->qp_state;
	pthread_mutex_unlock(&fake.lock);
	return err;
}

static inline struct ibv_mw *fake_alloc_mw(struct ibv_pd *pd,
					   enum ibv_mw_type type)
{
	struct ibv_mw *mw = calloc(1, sizeof(*mw));

	assert_non_null(mw);
	*mw = (struct ibv_mw) {
		.context = pd->context, .pd = pd, .type = type, .rkey = 0x500,
	};
	fake.windows++;
	return mw;
}

static inline int fake_dealloc_mw(struct ibv_mw *mw)
{
	return fake_end(&fake.windows, mw);
}

static inline int fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
				 struct ibv_send_wr **bad)
{
	(void)bad;
	assert_ptr_equal(qp, &fake_qp);
	fake.bound = *wr;
	return fake.bind_error;
}

/* Records a bind by ibv_bind_mw() as the equivalent work request. */
static inline int fake_bind_mw(struct ibv_qp *qp, struct ibv_mw *mw,
			       struct ibv_mw_bind *bind)
{
	assert_ptr_not_equal(qp, &fake_qp);
	mw->rkey++;
	fake.bound = (struct ibv_send_wr) {
		.wr_id = bind->wr_id, .send_flags = bind->send_flags,
		.bind_mw = {
			.mw = mw, .rkey = mw->rkey,
			.bind_info = bind->bind_info,
		},
	};
	return fake.bind_error;
}

/* Makes the device support memory windows. */
static inline void fake_have_windows(void)
{
	fake_context.ops.alloc_mw = fake_alloc_mw;
	fake_context.ops.dealloc_mw = fake_dealloc_mw;
	fake_context.ops.post_send = fake_post_send;
	fake_context.ops.bind_mw = fake_bind_mw;
}

/* Replaces the queries through RDMA netlink. */
int __wrap_dp_owner_find_context(dp_rdma_domain_fn *domain, void *arg,
				 struct dp_rdma_context *ret_context,
				 const struct dp_errmsg *errmsg);
int __wrap_dp_owner_find_context(dp_rdma_domain_fn *domain, void *arg,
				 struct dp_rdma_context *ret_context,
				 const struct dp_errmsg *errmsg)
{
	(void)errmsg;
	assert_non_null(domain);
	assert_non_null(arg);
	*ret_context = (struct dp_rdma_context) { 0, 7, DP_CONTEXT_OWN };
	return 0;
}

#endif
