/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants and their end on a fake device that behaves as the test says: escalation, the
 * executor, grants that are asked back, and failures.
 */
#include "fixture.h"
#include "child.h"
#include "verbs_fake.h"
#include "grant_fixture.h"
#include "executor_fixture.h"

/* ------------------------------------------------------- escalation */

static void the_hold_is_dropped_after_the_device_ended_the_region(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	fake.in_dereg = see_the_hold;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.deregs, 1);
	assert_int_equal(fake.qp_stops, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(counts().ended, 1);
	assert_int_equal(counts().refusals, 0);
}

static void a_refused_deregistration_succeeds_after_the_queue_pair_stops(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, &fake_qp);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_after_qp = true;
	fake.in_dereg = see_the_hold;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.qp_state, IBV_QPS_ERR);
	assert_int_equal(fake.deregs, 2);
	assert_int_equal(counts().refusals, 1);
	assert_int_equal(counts().queue_pairs_stopped, 1);
	assert_int_equal(counts().quarantined, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

static void deregistration_is_repeated_while_the_device_drains(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, &fake_qp);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 6;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.deregs, 7);
	assert_int_equal(fake.qp_stops, 1);
}

/* The extent stays held, so its blocks are not reused, until the device agrees. */
static void a_grant_whose_region_the_device_keeps_is_quarantined(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, &fake_qp);
	const struct daxpin_op keep = {
		.type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_WRITERS,
		.extent = extent,
	}, retire = { .type = DAXPIN_OP_RETIRE, .extent = extent };
	struct daxpin_grant_info info;
	struct daxpin_extent other;

	(void)state;
	assert_int_equal(daxpin_publish(f->pool, &keep, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_publish(f->pool, &retire, 1, NULL, NULL), 0);
	fake.dereg_error = EIO;
	fake.dereg_refusals = ALWAYS;
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	/* The number of attempts is bounded. */
	assert_int_equal(fake.deregs, 51);
	info = about(grant);
	assert_int_equal(info.state, DAXPIN_GRANT_STATE_QUARANTINED);
	assert_int_equal(info.escalation, DAXPIN_GRANT_ESCALATION_QUARANTINE);
	assert_int_equal(info.device_error, -EIO);
	assert_int_equal(info.refusals, 51);
	assert_int_equal(counts().quarantined, 1);
	assert_int_equal(counts().grants, 1);
	assert_int_equal(counts().pending, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	while (!daxpin_reserve(f->pool, BYTES, 0, &other))
		assert_int_not_equal(other.addr, extent.addr);
	/* A second revoke tries again, and the grant is counted once. */
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(counts().quarantined, 1);
	fake.dereg_refusals = 0;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(counts().quarantined, 0);
	assert_int_equal(daxpin_reserve(f->pool, BYTES, 0, &other), 0);
	assert_int_equal(other.addr, extent.addr);
}

static void without_a_queue_pair_one_refusal_quarantines_the_grant(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	fake.dereg_error = EINVAL;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke(grant), -EINVAL);
	assert_int_equal(fake.deregs, 1);
	assert_int_equal(about(grant).escalation, DAXPIN_GRANT_ESCALATION_QUARANTINE);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

static void a_queue_pair_that_was_withdrawn_is_not_stopped(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, &fake_qp);

	(void)state;
	assert_int_equal(daxpin_grant_qp(grant, NULL), 0);
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(fake.qp_stops, 0);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), 0);
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.qp_stops, 1);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), -ESTALE);
	assert_int_equal(daxpin_grant_qp(grant, NULL), 0);
}

static void a_queue_pair_that_cannot_be_stopped_is_reported(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, &fake_qp);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	fake.qp_error = EINVAL;
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(about(grant).qp_error, -EINVAL);
	assert_int_equal(counts().queue_pairs_stopped, 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* ------------------------------------------------------------- the executor */

static struct daxpin_grant *current;

static void assert_being_ended(void)
{
	assert_int_equal(about(current).state, DAXPIN_GRANT_STATE_ENDING);
	assert_int_equal(daxpin_rdma_revoke(current), -EALREADY);
	assert_int_equal(daxpin_rdma_revoke_start(current, 0), -EALREADY);
	assert_int_equal(daxpin_grant_returned(current), -EALREADY);
	assert_int_equal(callbacks.done, 0);
	see_the_hold();
}

static void revoke_start_leaves_the_device_call_to_the_executor(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	current = grant;
	fake.in_dereg = assert_being_ended;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(fake.deregs, 0);
	assert_int_equal(callbacks.asked, 0);
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_QUEUED);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), -EALREADY);
	assert_int_equal(counts().pending, 1);
	assert_int_equal(counts().next_deadline_ns, 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	assert_int_equal(fake.deregs, 0);
	assert_true(run_job());
	assert_false(run_job());
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(callbacks.result, 0);
	assert_int_equal(counts().pending, 0);
	assert_int_equal(counts().grants, 0);
}

static void a_device_refusal_in_the_executor_is_reported_to_done(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_true(run_job());
	assert_int_equal(callbacks.result, -EIO);
	assert_int_equal(counts().quarantined, 1);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_true(run_job());
	assert_int_equal(callbacks.done, 2);
	assert_int_equal(callbacks.result, 0);
	assert_int_equal(counts().quarantined, 0);
}

static void without_an_executor_the_service_call_ends_grants(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(fake.deregs, 0);
	assert_int_not_equal(counts().next_deadline_ns, 0);
	assert_true(counts().next_deadline_ns <= daxpin_deadline_ms(0));
	assert_int_equal(daxpin_rdma_service(rdma), -EIO);
	assert_int_equal(callbacks.result, -EIO);
	/* The service call does not try again before the next revoke. */
	assert_int_equal(counts().next_deadline_ns, 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(fake.deregs, 1);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(callbacks.done, 2);
	assert_int_equal(callbacks.result, 0);
}

static void detach_at_once(void *arg, int result)
{
	*(int *)arg = daxpin_rdma_detach(rdma);
	assert_int_equal(result, 0);
}

/* The adapter uses nothing of the grant after it called done(). */
static void done_can_detach(void **state)
{
	int detached = 1;
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE,
		.done = detach_at_once, .arg = &detached,
	};
	struct daxpin_grant *grant;

	(void)state;
	assert_int_equal(daxpin_rdma_grant(rdma, extent, &options, &grant), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(detached, 0);
	rdma = NULL;
}

/* ----------------------------------------------- grants that are asked back */

static void a_revoke_ends_when_the_peer_returns_the_grant(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	const uint64_t deadline = NEVER;
	struct daxpin_grant_key key;

	(void)state;
	daxpin_grant_key(grant, &key);
	assert_int_equal(daxpin_rdma_revoke_start(grant, deadline), 0);
	assert_int_equal(callbacks.asked, 1);
	assert_memory_equal(&callbacks.key, &key, sizeof(key));
	assert_int_equal(about(grant).state, DAXPIN_GRANT_STATE_ASKED);
	assert_int_equal(about(grant).deadline_ns, deadline);
	assert_int_equal(counts().next_deadline_ns, deadline);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(fake.deregs, 0);
	see_the_hold();
	assert_int_equal(daxpin_grant_returned(grant), 0);
	assert_true(run_job());
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(callbacks.result, 0);
	assert_int_equal(counts().returned, 1);
	assert_int_equal(counts().expired, 0);
}

static void a_grant_whose_peer_does_not_answer_ends_at_the_deadline(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	const uint64_t deadline = daxpin_deadline_ms(300);

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grant, deadline), 0);
	do {
		assert_int_equal(daxpin_rdma_service(rdma), 0);
		assert_false(callbacks.done && daxpin_deadline_ms(0) < deadline);
	} while (!run_job());
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(callbacks.asked, 1);
	assert_int_equal(counts().returned, 0);
	assert_int_equal(counts().expired, 1);
}

static void a_peer_can_return_a_grant_unasked(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	assert_int_equal(daxpin_grant_returned(grant), 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(callbacks.asked, 0);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(counts().returned, 1);
}

static void a_second_revoke_start_can_shorten_the_deadline(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL), *other;
	struct daxpin_extent another;

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER), 0);
	assert_int_equal(callbacks.asked, 1);
	assert_int_equal(counts().pending, 1);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(callbacks.done, 1);
	/*
	 * This revoke runs in the caller's thread: it returns the result, and done() is
	 * not called.
	 */
	assert_int_equal(daxpin_reserve(f->pool, BYTES, 0, &another), 0);
	other = grant_of(another, NULL);
	assert_int_equal(daxpin_rdma_revoke_start(other, NEVER), 0);
	assert_int_equal(daxpin_rdma_revoke(other), 0);
	assert_int_equal(callbacks.done, 1);
	assert_int_equal(counts().pending, 0);
	assert_int_equal(counts().next_deadline_ns, 0);
}

/* ---------------------------------------------------------------- bad input */

static void calls_on_an_ended_grant_are_estale(void **state)
{
	struct daxpin_grant_info info = { .size = sizeof(info) };
	unsigned char bytes[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct daxpin_grant *grant = grant_of(extent, NULL);
	unsigned int i;

	(void)state;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	for (i = 0; i < 1023; i++)
		assert_int_equal(daxpin_rdma_revoke(grant_of(extent, NULL)), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(daxpin_grant_returned(grant), -ESTALE);
	assert_int_equal(daxpin_grant_info(grant, &info), -ESTALE);
	assert_int_equal(daxpin_grant_export(grant, bytes, sizeof(bytes)),
			 -ESTALE);
	/*
	 * The library remembers a limited number of ended grants, so memory is bounded.
	 */
	assert_int_equal(daxpin_rdma_revoke(grant_of(extent, NULL)), 0);
	assert_int_equal(fake.deregs, 1025);
}

static void invalid_arguments_are_refused(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	struct daxpin_grant_info info = { .size = 1 };

	(void)state;
	assert_int_equal(daxpin_rdma_revoke_start(NULL, 0), -EINVAL);
	assert_int_equal(daxpin_grant_returned(NULL), -EINVAL);
	assert_int_equal(daxpin_grant_qp(NULL, NULL), -EINVAL);
	assert_int_equal(daxpin_grant_info(NULL, &info), -EINVAL);
	assert_int_equal(daxpin_grant_info(grant, NULL), -EINVAL);
	assert_int_equal(daxpin_grant_info(grant, &info), -EINVAL);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* The excess drop took the grant's hold. The revoke ends the grant all the same. */
static void an_excess_drop_is_reported_by_the_revoke(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	struct daxpin_grant_info info = { .size = sizeof(info) };

	(void)state;
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), -EINVAL);
	assert_int_equal(fake.live, 0);
	assert_int_equal(daxpin_grant_info(grant, &info), -ESTALE);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	grant = grant_of(extent, NULL);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	assert_int_equal(daxpin_rdma_service(rdma), -EINVAL);
	assert_int_equal(callbacks.result, -EINVAL);
	assert_int_equal(counts().ended, 2);
	assert_int_equal(counts().grants | counts().pending, 0);
}

/* Runs while the region is registered: a drop by a thread that has no hold. */
static void drop_too_many(void)
{
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
}

static void an_excess_drop_is_reported_by_the_grant(void **state)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_grant *grant = NULL;

	(void)state;
	fake.in_reg = drop_too_many;
	fake.reg_allowed = 0;
	fake.reg_error = ENOSPC;
	assert_int_equal(daxpin_rdma_grant(rdma, extent, &options, &grant),
			 -EINVAL);
	assert_non_null(strstr(f->errmsg, "drop each hold once"));
	assert_null(grant);
	fake.reg_allowed = ALWAYS;
}

/* Neither a live object nor its slab, with any gen. */
static void no_device_gets_access_to_an_object(void **state)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_grant *grant = NULL;
	uint64_t addr;

	(void)state;
	assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, &addr), 0);
	assert_int_equal(daxpin_rdma_grant(rdma, (struct daxpin_extent) { addr, 0 },
					   &options, &grant), -EINVAL);
	assert_non_null(strstr(f->errmsg, "no device may access a small object"));
	for (uint64_t at = addr / 65536 * 65536; at <= addr; at += 64) {
		const struct daxpin_extent forged = { at, extent.gen };

		assert_int_not_equal(daxpin_rdma_grant(rdma, forged, &options, &grant),
				     0);
		assert_non_null(strstr(f->errmsg, "cannot be held"));
	}
	assert_null(grant);
	assert_int_equal(counts().grants, 0);
	/* And the reverse. */
	assert_int_equal(daxpin_object_cancel(f->pool, extent.addr), -EINVAL);
	assert_int_equal(daxpin_object_cancel(f->pool, addr), 0);
}

static void a_grant_that_the_device_refuses_leaves_no_hold(void **state)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_grant *first = grant_of(extent, NULL), *grant = NULL;
	struct daxpin_extent other;
	uint32_t key = 7;

	(void)state;
	assert_int_equal(daxpin_reserve(f->pool, BYTES, 0, &other), 0);
	fake.reg_allowed = 1;
	fake.reg_error = ENOSPC;
	assert_int_equal(daxpin_rdma_grant(rdma, other, &options, &grant),
			 -ENOSPC);
	assert_null(grant);
	assert_non_null(strstr(f->errmsg, "fake0"));
	assert_int_equal(daxpin_idle(f->pool, other), 1);
	assert_int_equal(daxpin_rdma_lkey(rdma, 0, &key), -ENOSPC);
	assert_int_equal(key, 7);
	assert_int_equal(counts().local_mrs, 0);
	fake.reg_allowed = ALWAYS;
	/* The failed local key left no pin of the segment, so it can be pinned now. */
	assert_int_equal(daxpin_rdma_lkey(rdma, 0, &key), 0);
	assert_int_equal(daxpin_rdma_revoke(first), 0);
	assert_int_equal(counts().granted, 1);
}

static void an_sge_stays_within_its_extent(void **state)
{
	struct daxpin_extent stale = extent;
	struct ibv_sge sge = { .length = 7 };
	const struct {
		uint64_t offset, length;
	} bad[] = {
		{ 0, 0 }, { 0, BYTES + 1 }, { BYTES, 1 }, { 1, BYTES },
		{ UINT64_MAX, 2 }, { 2, UINT64_MAX }, { BYTES + 1, 1 },
		{ 0, UINT64_C(1) << 32 },
	};

	(void)state;
	assert_int_equal(daxpin_rdma_sge(rdma, extent, 0, 1, &sge), -EINVAL);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(daxpin_rdma_sge(rdma, extent, bad[i].offset,
						 bad[i].length, &sge), -EINVAL);
	assert_int_equal(daxpin_rdma_sge(rdma, extent, 0, 1, NULL), -EINVAL);
	assert_int_equal(daxpin_rdma_sge(NULL, extent, 0, 1, &sge), -EINVAL);
	stale.gen++;
	assert_int_equal(daxpin_rdma_sge(rdma, stale, 0, 1, &sge), -ESTALE);
	stale.addr = UINT64_C(1) << 40;	/* outside the pool */
	assert_int_equal(daxpin_rdma_sge(rdma, stale, 0, 1, &sge), -EINVAL);
	assert_int_equal(sge.length, 7);
	assert_int_equal(counts().local_mrs, 0);
	assert_int_equal(daxpin_rdma_sge(rdma, extent, 4095, BYTES - 4095, &sge),
			 0);
	assert_int_equal(sge.length, BYTES - 4095);
	assert_int_equal(sge.lkey, 0x100);
	assert_int_equal(sge.addr, (uintptr_t)daxpin_ptr(f->pool, extent, 4095));
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
}

static int call_all(void *arg)
{
	struct daxpin_grant *grant = arg;
	struct daxpin_grant_info info = { .size = sizeof(info) };
	struct ibv_sge sge;

	return daxpin_rdma_revoke_start(grant, 0) != -EOWNERDEAD ||
	       daxpin_grant_returned(grant) != -EOWNERDEAD ||
	       daxpin_grant_qp(grant, NULL) != -EOWNERDEAD ||
	       daxpin_grant_info(grant, &info) != -EOWNERDEAD ||
	       daxpin_rdma_sge(rdma, extent, 0, 1, &sge) != -EOWNERDEAD;
}

static void calls_on_a_grant_in_a_forked_child_are_eownerdead(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);

	(void)state;
	assert_int_equal(run_child(call_all, grant), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* `over` is a grant of the attachment that ended before the detach. */
static void assert_detached(struct daxpin_rdma *of, struct daxpin_grant *over)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE,
	};
	struct daxpin_rdma_report report = { .size = sizeof(report) };
	struct daxpin_rdma_info info = { .size = sizeof(info) };
	struct daxpin_grant_info about = { .size = sizeof(about) };
	struct daxpin_grant *grant;
	struct ibv_sge sge;
	uint32_t key;

	assert_int_equal(daxpin_rdma_info(of, &info), -ESTALE);
	assert_int_equal(daxpin_rdma_report(of, &report), -ESTALE);
	assert_int_equal(daxpin_rdma_lkey(of, 0, &key), -ESTALE);
	assert_int_equal(daxpin_rdma_lkey(of, UINT64_MAX, &key), -ESTALE);
	assert_int_equal(daxpin_rdma_sge(of, extent, 0, 1, &sge), -ESTALE);
	assert_int_equal(daxpin_rdma_service(of), -ESTALE);
	assert_int_equal(daxpin_rdma_grant(of, extent, &options, &grant),
			 -ESTALE);
	assert_int_equal(daxpin_rdma_publish(of, NULL, 0, NULL, 0), -ESTALE);
	assert_int_equal(daxpin_rdma_detach(of), -ESTALE);
	assert_int_equal(daxpin_rdma_revoke(over), 0);
	assert_int_equal(daxpin_rdma_revoke_start(over, 0), 0);
	assert_int_equal(daxpin_grant_returned(over), -ESTALE);
	assert_int_equal(daxpin_grant_qp(over, &fake_qp), -ESTALE);
	assert_int_equal(daxpin_grant_info(over, &about), -ESTALE);
}

static void calls_on_a_detached_domain_are_estale(void **state)
{
	struct daxpin_grant *grant = grant_of(extent, NULL);
	struct daxpin_rdma *first = rdma;

	(void)state;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_detached(first, grant);
	/* The results are the same after many other attachments. */
	for (unsigned int i = 1; i < 64; i++) {
		assert_int_equal(attach_with(NULL), 0);
		assert_ptr_not_equal(rdma, first);
		assert_int_equal(daxpin_rdma_detach(rdma), 0);
	}
	assert_detached(first, grant);
	rdma = NULL;
}

/* --------------------------------------------------------------- many at once */

#define THREADS		4
#define ROUNDS		400

static void *work(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, i;
	struct daxpin_grant *grant;
	struct daxpin_extent own;
	int err;

	for (i = 0; i < ROUNDS; i++) {
		assert_int_equal(daxpin_reserve(f->pool, BYTES, 0, &own), 0);
		grant = grant_of(own, &fake_qp);
		seed = seed * 1103515245 + 12345;
		switch (seed >> 16 & 3) {
		case 0:
			assert_int_equal(daxpin_rdma_revoke(grant), 0);
			break;
		case 1:
			assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
			break;
		case 2:
			assert_int_equal(daxpin_rdma_revoke_start(grant, NEVER),
					 0);
			assert_int_equal(daxpin_grant_returned(grant), 0);
			break;
		default:	/* this thread or another one ends it */
			assert_int_equal(daxpin_rdma_revoke_start(grant, 1), 0);
			err = daxpin_rdma_revoke(grant);
			assert_true(err == -EALREADY || !err);
		}
		assert_int_equal(daxpin_rdma_service(rdma), 0);
		run_job();
		assert_int_equal(daxpin_cancel(f->pool, own), 0);
	}
	return NULL;
}

static void concurrent_revokes_end_each_grant_once(void **state)
{
	pthread_t threads[THREADS];
	struct daxpin_rdma_info info;
	uintptr_t i;

	(void)state;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work,
						(void *)(i + 1)), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	while (run_job())
		;
	info = counts();
	assert_int_equal(info.granted, THREADS * ROUNDS);
	assert_int_equal(info.ended, THREADS * ROUNDS);
	assert_int_equal(info.grants | info.pending | info.quarantined, 0);
	assert_int_equal(fake.deregs, THREADS * ROUNDS);
	assert_true(callbacks.done <= executor.count);
}

/* A device call can be a cancellation point, as any system call can. */
__attribute__((noinline))
static void grant_and_revoke_once(bool *ret_done)
{
	struct daxpin_grant *grant;

	grant = grant_of(extent, NULL);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	grant = grant_of(extent, NULL);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	while (run_job())
		;
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	*ret_done = true;
}

/*
 * The thread ends in this function, which has no variables: AddressSanitizer does not
 * notice that frames end by a cancellation.
 */
static void *grant_and_revoke(void *arg)
{
	pthread_cancel(pthread_self());
	grant_and_revoke_once(arg);
	pthread_testcancel();
	return NULL;
}

static void no_call_on_a_domain_is_a_cancellation_point(void **state)
{
	bool returned = false;
	pthread_t thread;
	void *result;

	(void)state;
	fake.in_reg = fake.in_dereg = pthread_testcancel;
	assert_int_equal(pthread_create(&thread, NULL, grant_and_revoke,
					&returned), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	fake.in_reg = fake.in_dereg = NULL;
	assert_true(returned);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	assert_int_equal(counts().ended, 2);
	assert_int_equal(counts().grants, 0);
}

int main(void)
{
#define TEST(name, how) \
	cmocka_unit_test_setup_teardown(name, how, teardown)
	const struct CMUnitTest tests[] = {
		TEST(no_device_gets_access_to_an_object, setup),
		TEST(the_hold_is_dropped_after_the_device_ended_the_region, setup),
		TEST(a_refused_deregistration_succeeds_after_the_queue_pair_stops,
		     setup),
		TEST(deregistration_is_repeated_while_the_device_drains, setup),
		TEST(a_grant_whose_region_the_device_keeps_is_quarantined, setup),
		TEST(without_a_queue_pair_one_refusal_quarantines_the_grant, setup),
		TEST(a_queue_pair_that_was_withdrawn_is_not_stopped, setup),
		TEST(a_queue_pair_that_cannot_be_stopped_is_reported, setup),
		TEST(revoke_start_leaves_the_device_call_to_the_executor,
		     setup_executor),
		TEST(a_device_refusal_in_the_executor_is_reported_to_done,
		     setup_executor),
		TEST(without_an_executor_the_service_call_ends_grants, setup),
		TEST(done_can_detach, setup_inline),
		TEST(a_revoke_ends_when_the_peer_returns_the_grant, setup_executor),
		TEST(a_grant_whose_peer_does_not_answer_ends_at_the_deadline,
		     setup_executor),
		TEST(a_peer_can_return_a_grant_unasked, setup),
		TEST(a_second_revoke_start_can_shorten_the_deadline, setup),
		TEST(calls_on_an_ended_grant_are_estale, setup),
		TEST(invalid_arguments_are_refused, setup),
		TEST(an_excess_drop_is_reported_by_the_revoke, setup),
		TEST(an_excess_drop_is_reported_by_the_grant, setup),
		TEST(a_grant_that_the_device_refuses_leaves_no_hold, setup),
		TEST(an_sge_stays_within_its_extent, setup),
		TEST(calls_on_a_grant_in_a_forked_child_are_eownerdead, setup),
		TEST(calls_on_a_detached_domain_are_estale, setup),
		TEST(concurrent_revokes_end_each_grant_once, setup_executor),
		TEST(no_call_on_a_domain_is_a_cancellation_point,
		     setup_executor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
