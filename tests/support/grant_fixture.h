/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For one test: a pool, an attachment to the fake device, an extent to grant, and
 * accessors for their state. Include it after verbs_fake.h.
 */
#ifndef GRANT_FIXTURE_H
#define GRANT_FIXTURE_H

static struct fixture *f;
static struct daxpin_rdma *rdma;
static struct daxpin_extent extent;

static inline struct daxpin_rdma_info counts(void)
{
	struct daxpin_rdma_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_rdma_info(rdma, &info), 0);
	return info;
}

static inline struct daxpin_grant_info about(struct daxpin_grant *grant)
{
	struct daxpin_grant_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_grant_info(grant, &info), 0);
	return info;
}

static inline void see_the_hold(void)
{
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
}

#endif
