/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In the place of libibverbs: a device that does what the test says. It moves no
 * byte; what it shows is what the adapter asks of a device, and in which order.
 * With these, its RDMA netlink: this process has a context. After fixture.h.
 */
#ifndef VERBS_FAKE_H
#define VERBS_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <daxpin-rdma.h>

#define ALWAYS		UINT32_MAX

static struct {
	pthread_mutex_t lock;
	/* What it is to do. */
	int dereg_error;		/* an errno, so many times ... */
	uint32_t dereg_refusals;
	bool dereg_after_qp;		/* ... or until the queue pair is in error */
	int reg_error;			/* after so many registrations */
	uint32_t reg_allowed;
	int qp_error;			/* what modify_qp returns */
	void (*in_dereg)(void);		/* called in there, without the lock */
	/* What it did. */
	uint32_t regs, deregs, live, qp_stops;
	enum ibv_qp_state qp_state;
	uint64_t longest;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .reg_allowed = ALWAYS };

static struct ibv_device fake_device = { .name = "fake0" };
static struct ibv_context fake_context = { .device = &fake_device };
static struct ibv_pd fake_pd = { .context = &fake_context };
static struct ibv_qp fake_qp = { .context = &fake_context, .qp_num = 17 };

static inline void fake_reset(void)
{
	pthread_mutex_lock(&fake.lock);
	fake.dereg_error = fake.reg_error = fake.qp_error = 0;
	fake.dereg_refusals = 0;
	fake.dereg_after_qp = false;
	fake.reg_allowed = ALWAYS;
	fake.in_dereg = NULL;
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
					   size_t length)
{
	struct ibv_mr *mr = NULL;

	pthread_mutex_lock(&fake.lock);
	if (fake.regs >= fake.reg_allowed) {
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
	(void)access;
	return fake_register(pd, base, length);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *pd, void *base, size_t length,
				uint64_t iova, unsigned int access)
{
	(void)iova;
	(void)access;
	return fake_register(pd, base, length);
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

int ibv_dereg_mr(struct ibv_mr *mr)
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
		assert_true(fake.live > 0);
		fake.live--;
		free(mr);
	}
	pthread_mutex_unlock(&fake.lock);
	return err;
}

int ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	int err;

	assert_ptr_equal(qp, &fake_qp);
	assert_int_equal(mask, IBV_QP_STATE);
	pthread_mutex_lock(&fake.lock);
	fake.qp_stops++;
	err = fake.qp_error;
	if (!err)
		fake.qp_state = attr->qp_state;
	pthread_mutex_unlock(&fake.lock);
	return err;
}

int __wrap_dp_owner_has_context(const char *device);
int __wrap_dp_owner_has_context(const char *device)
{
	assert_string_equal(device, fake_device.name);
	return 1;
}

#endif
