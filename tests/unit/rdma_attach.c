/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several attachments of one pool, on a fake device: each has grants, queue pairs and
 * regions of its own, and none affects those of the others.
 */
#include "fixture.h"
#include "needs.h"
#include "verbs_fake.h"
#include "grant_fixture.h"
#include "executor_fixture.h"

static struct ibv_pd other_pd = { .context = &fake_context };
static struct daxpin_rdma *other;
static unsigned int registrations;	/* until one is refused; 0: none is */

int __real_daxpin_register(struct daxpin_pool *pool, uint32_t segment,
			   const struct daxpin_registration_options *options,
			   struct daxpin_registration **ret_registration);
int __wrap_daxpin_register(struct daxpin_pool *pool, uint32_t segment,
			   const struct daxpin_registration_options *options,
			   struct daxpin_registration **ret_registration);
int __wrap_daxpin_register(struct daxpin_pool *pool, uint32_t segment,
			   const struct daxpin_registration_options *options,
			   struct daxpin_registration **ret_registration)
{
	if (registrations && !--registrations)
		return -EAGAIN;
	return __real_daxpin_register(pool, segment, options, ret_registration);
}

static struct daxpin_rdma *attach_to(struct ibv_pd *pd, uint32_t flags)
{
	const struct daxpin_rdma_options options = {
		.size = sizeof(options),
		.flags = flags,
		.label = "another",
	};
	struct daxpin_rdma *to;

	assert_int_equal(daxpin_rdma_attach(f->pool, pd, &options, &to), 0);
	return to;
}

static int setup_two(void **state)
{
	fake_qp.pd = &fake_pd;
	if (setup(state))
		return -1;
	other = attach_to(&other_pd, DAXPIN_RDMA_NO_REGIONS);
	return 0;
}

static int teardown_two(void **state)
{
	int err = daxpin_rdma_detach(other);

	fake_qp.pd = &fake_pd;
	return teardown(state) || err;
}

static int grant_by(struct daxpin_rdma *by, struct ibv_qp *qp,
		    struct daxpin_grant **ret_grant)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.access = WRITE,
		.qp = qp,
	};

	return daxpin_rdma_grant(by, extent, &options, ret_grant);
}

static struct daxpin_grant_key key_of(const struct daxpin_grant *grant)
{
	struct daxpin_grant_key key;

	daxpin_grant_key(grant, &key);
	return key;
}

/* ---------------------------------------------------- answers of peers (C10) */

static void a_key_returns_no_grant_of_another_attachment(void **state)
{
	struct daxpin_grant *ours = grant_of(extent, NULL), *theirs;
	struct daxpin_grant_key key = key_of(ours);

	(void)state;
	assert_int_equal(grant_by(other, NULL, &theirs), 0);
	assert_int_equal(daxpin_rdma_returned(other, &key), -ESTALE);
	key = key_of(theirs);
	assert_int_equal(daxpin_rdma_returned(rdma, &key), -ESTALE);
	assert_int_equal(about(ours).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(about(theirs).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(daxpin_rdma_publish(other, &ours, 1, NULL, 0), -EINVAL);
	assert_int_equal(about(ours).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(daxpin_rdma_revoke(ours), 0);
	assert_int_equal(daxpin_rdma_revoke(theirs), 0);
}

/* The same block is granted again, after a detach and after a close. */
static void a_key_from_before_a_detach_returns_no_grant(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	const struct daxpin_grant_key first = key_of(grant);
	struct daxpin_grant_key second;

	(void)state;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_int_equal(attach_with(NULL), 0);
	grant = grant_of(extent, NULL);
	second = key_of(grant);
	assert_int_equal(second.extent.gen, first.extent.gen);
	assert_int_equal(daxpin_rdma_returned(rdma, &first), -ESTALE);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(attach_with(NULL), 0);
	extent = reserve(f, BYTES);
	assert_int_equal(extent.addr, second.extent.addr);
	grant = grant_of(extent, NULL);
	assert_int_equal(daxpin_rdma_returned(rdma, &first), -ESTALE);
	assert_int_equal(daxpin_rdma_returned(rdma, &second), -ESTALE);
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* ------------------------------------------- queue pairs of another attachment */

static void a_queue_pair_of_another_attachment_is_refused(void **state)
{
	struct daxpin_grant *grant = NULL;

	(void)state;
	assert_int_equal(grant_by(other, &fake_qp, &grant), -EINVAL);
	assert_null(grant);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(fake.regs, 0);
	assert_int_equal(grant_by(rdma, &fake_qp, &grant), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* In each state that a grant can have, until it has ended. */
static void no_grant_takes_a_queue_pair_of_another_attachment(void **state)
{
	struct daxpin_grant *grant = NULL;

	(void)state;
	assert_int_equal(grant_by(other, NULL, &grant), 0);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), -EINVAL);
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), -EINVAL);
	fake.dereg_error = EIO;
	fake.dereg_refusals = ALWAYS;
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), -EINVAL);
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(fake.qp_stops, 0);
	fake_qp.pd = &other_pd;
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), 0);
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.qp_stops, 1);
}

/* --------------------------------- regions that the caller registers (C12) */

static int reclaim_result(void)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(f->pool, NULL, &job), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	return summary.result;
}

/* One of three attachments can have regions of the caller's. */
static void one_attachment_with_regions_pins_all_segments(void **state)
{
	struct daxpin_rdma *third;

	need_io_uring();
	(void)state;
	assert_int_equal(daxpin_rdma_detach(other), 0);
	other = attach_to(&other_pd, 0);
	third = attach_to(&fake_pd, DAXPIN_RDMA_NO_REGIONS);
	assert_int_equal(reclaim_result(), -EBUSY);
	assert_int_equal(daxpin_rdma_detach(third), 0);
	assert_int_equal(reclaim_result(), -EBUSY);
	assert_int_equal(daxpin_rdma_detach(other), 0);
	other = NULL;
	assert_int_equal(reclaim_result(), 0);
}

/*
 * While the kernel punches, an attachment that can have regions is refused, and leaves
 * nothing registered. One that has none is possible.
 */
static void an_attach_that_is_refused_leaves_nothing_registered(void **state)
{
	struct daxpin_rdma *third = NULL;

	need_io_uring();
	(void)state;
	registrations = 2;
	assert_int_equal(daxpin_rdma_attach(f->pool, &other_pd, NULL, &third), -EAGAIN);
	assert_null(third);
	registrations = 2;
	third = attach_to(&other_pd, DAXPIN_RDMA_NO_REGIONS);
	registrations = 0;
	assert_int_equal(daxpin_holds(f->pool, (struct daxpin_extent){ 0 }, NULL, NULL),
			 0);
	assert_int_equal(daxpin_rdma_detach(third), 0);
	assert_int_equal(reclaim_result(), 0);
}

/* An attached domain gets a key of a segment that was added, and a grant there. */
static void a_grow_needs_no_new_attach(void **state)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent new = { 0 };
	struct daxpin_grant *grant;
	uint64_t end;
	uint32_t key;

	(void)state;
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	end = info.segments * info.segment_size;
	assert_int_equal(daxpin_rdma_lkey(rdma, end, &key), -ENOENT);
	assert_int_equal(daxpin_pool_grow(f->pool, end + 1, NULL), 0);
	assert_int_equal(daxpin_rdma_lkey(rdma, end, &key), 0);
	while (new.addr < end)
		assert_int_equal(daxpin_reserve(f->pool, 2 << 20, 0, &new), 0);
	grant = grant_of(new, NULL);
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	end += info.segment_size;
	assert_int_equal(daxpin_rdma_lkey(rdma, end, &key), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown_two)
	const struct CMUnitTest tests[] = {
		TEST(a_key_returns_no_grant_of_another_attachment),
		cmocka_unit_test_setup_teardown(
			a_key_from_before_a_detach_returns_no_grant, setup, teardown),
		TEST(a_queue_pair_of_another_attachment_is_refused),
		TEST(no_grant_takes_a_queue_pair_of_another_attachment),
		TEST(one_attachment_with_regions_pins_all_segments),
		TEST(an_attach_that_is_refused_leaves_nothing_registered),
		TEST(a_grow_needs_no_new_attach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
