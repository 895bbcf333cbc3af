/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_rdma_publish() for grants that have ended in every way, or are about to end,
 * and for extents that have ended with them, on a fake device.
 */
#include "fixture.h"
#include "fake_clock.h"
#include "verbs_fake.h"
#include "grant_fixture.h"
#include "executor_fixture.h"

#define GRANTS 6

static struct daxpin_extent extents[GRANTS];
static struct daxpin_grant *grants[GRANTS];

static void reserve_and_grant(int count)
{
	for (int i = 0; i < count; i++) {
		extents[i] = reserve(f, BYTES);
		grants[i] = grant_of(extents[i], &fake_qp);
	}
}

static int commit(int count)
{
	struct daxpin_op keeps[GRANTS] = { 0 };

	for (int i = 0; i < count; i++)
		keeps[i] = (struct daxpin_op){
			.type = DAXPIN_OP_KEEP,
			.extent = extents[i],
		};
	return daxpin_rdma_publish(rdma, grants, (size_t)count, keeps, (size_t)count);
}

static void assert_committed(int count)
{
	enum daxpin_state state;

	for (int i = 0; i < count; i++) {
		assert_null(grants[i]);
		assert_int_equal(daxpin_state(f->pool, extents[i], &state), 0);
		assert_int_equal(state, DAXPIN_STATE_LIVE);
	}
	assert_int_equal(counts().grants | counts().pending, 0);
}

/* ------------------------------------- grants that have ended already (C9) */

/* The executor has not run the job of one grant, and has refused that of another. */
static void a_publish_accepts_grants_that_are_ended_in_other_ways(void **state)
{
	(void)state;
	reserve_and_grant(GRANTS);
	assert_int_equal(daxpin_rdma_revoke(grants[0]), 0);
	assert_int_equal(daxpin_grant_returned(grants[1]), 0);
	assert_true(run_job());
	assert_int_equal(daxpin_rdma_revoke_start(grants[2], 0), 0);
	executor.refusals = 1;
	assert_int_equal(daxpin_grant_returned(grants[3]), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grants[4], NEVER), 0);
	assert_int_equal(commit(GRANTS), 0);
	assert_committed(GRANTS);
	assert_int_equal(callbacks.done, 1);
	/* The executor runs the job of a grant that has ended. */
	assert_true(run_job());
	assert_false(run_job());
	assert_int_equal(callbacks.done, 1);
}

/* A publish cannot end some grants. Other calls end them before it is repeated. */
static void a_publish_that_failed_succeeds_when_its_grants_have_ended(void **state)
{
	struct daxpin_grant *stuck;

	(void)state;
	reserve_and_grant(2);
	stuck = grants[0];
	fake.dereg_error = EIO;
	fake.dereg_refusals = ALWAYS;
	assert_int_equal(commit(2), -EIO);
	fake.dereg_refusals = 0;
	assert_ptr_equal(grants[0], stuck);
	assert_non_null(grants[1]);
	assert_int_equal(daxpin_rdma_revoke(stuck), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grants[1], 0), 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(commit(2), 0);
	assert_committed(2);
}

/*
 * While they are granted, a reserved extent is cancelled and a published one retired.
 * Both end with their grants. The publish of another extent must not fail for ever.
 */
static void a_publish_accepts_extents_that_end_with_their_grants(void **state)
{
	const struct daxpin_op keep = {
		.type = DAXPIN_OP_KEEP,
		.extent = extent,
	};
	enum daxpin_state now;

	(void)state;
	reserve_and_grant(1);
	assert_int_equal(daxpin_cancel(f->pool, extents[0]), 0);
	extents[1] = live(f, BYTES);
	grants[1] = grant_of(extents[1], NULL);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extents[1]), 0);
	grants[2] = grant_of(extent, NULL);
	assert_int_equal(daxpin_rdma_publish(rdma, grants, 3, &keep, 1), 0);
	for (int i = 0; i < 3; i++)
		assert_null(grants[i]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daxpin_state(f->pool, extents[i], &now), -ESTALE);
	assert_int_equal(daxpin_state(f->pool, extent, &now), 0);
	assert_int_equal(now, DAXPIN_STATE_LIVE);
}

/* ------------------------------------------- one grant's error and others (C5) */

/* Two grants of three expire; the device ends neither region of the first. */
static void the_service_ends_the_other_grants_if_one_fails(void **state)
{
	(void)state;
	reserve_and_grant(3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(daxpin_rdma_revoke_start(grants[i],
							  daxpin_deadline_ms(50)),
				 0);
	advance_clock(100);
	fake.stuck_key = 0x100; /* of the first region */
	fake.dereg_error = EIO;
	assert_int_equal(daxpin_rdma_service(rdma), -EIO);
	assert_int_equal(counts().grants, 1);
	assert_int_equal(counts().quarantined, 1);
	assert_int_equal(callbacks.done, 3);
	assert_int_equal(about(grants[0]).state, DAXPIN_GRANT_STATE_QUARANTINED);
	fake.stuck_key = 0;
	assert_int_equal(daxpin_rdma_revoke(grants[0]), 0);
}

int main(void)
{
#define TEST(name, how) cmocka_unit_test_setup_teardown(name, how, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_publish_accepts_grants_that_are_ended_in_other_ways,
		     setup_executor),
		TEST(a_publish_that_failed_succeeds_when_its_grants_have_ended, setup),
		TEST(a_publish_accepts_extents_that_end_with_their_grants, setup),
		TEST(the_service_ends_the_other_grants_if_one_fails, setup),
	};

	stop_clock();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
