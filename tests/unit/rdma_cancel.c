/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No call on a domain is a cancellation point. A thread makes each call with a
 * cancellation that is pending, and then once for each system call of the library and
 * the device inside it, with a cancellation that arrives during that system call. The
 * call must return, and the thread end only after it. Then the test uses the domain,
 * and finally closes the pool.
 */
#include "fixture.h"
#include "cancelled.h"
#include "invariant.h"
#include "needs.h"
#include "verbs_fake.h"
#include "grant_fixture.h"
#include "executor_fixture.h"

static struct daxpin_grant *grant;
static struct daxpin_grant_key key;
static struct daxpin_job *job;

static int run_attach(void)
{
	return attach_with(keep_job);
}

static int run_detach(void)
{
	return daxpin_rdma_detach(rdma);
}

static void detach(void)
{
	must(run_detach());
}

static void attach_after(int ret)
{
	must(ret);
	must(run_attach());
}

/* ------------------------------------------------------------------- grants */

static int run_grant(void)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .ask_back = on_ask,
		.done = on_done, .arg = &callbacks, .flags = DAXPIN_GRANT_ZERO,
	};

	return daxpin_rdma_grant(rdma, extent, &options, &grant);
}

static void make_grant(void)
{
	must(run_grant());
	daxpin_grant_key(grant, &key);
}

static int run_revoke(void)
{
	return daxpin_rdma_revoke(grant);
}

static void revoke_after(int ret)
{
	must(ret);
	must(run_revoke());
}

static void assert_ended(int ret)
{
	must(ret);
	assert_int_equal(counts().grants, 0);
}

static int run_start(void)
{
	return daxpin_rdma_revoke_start(grant, 0);
}

static void grant_and_start_revoke(void)
{
	make_grant();
	must(run_start());
}

static void run_all_jobs(int ret)
{
	must(ret);
	while (run_job())
		;
	must(daxpin_rdma_service(rdma));
	assert_true(executor.count < JOBS_MAX);
	assert_ended(0);
}

static int run_the_job(void)
{
	return !run_job();
}

static int run_service(void)
{
	return daxpin_rdma_service(rdma);
}

static void attach_with_executor(int ret)
{
	assert_ended(ret);
	must(run_detach());
	must(run_attach());
}

/* Without an executor, daxpin_rdma_service() ends the grant. */
static void start_without_executor(void)
{
	must(run_detach());
	must(attach_with(NULL));
	grant_and_start_revoke();
}

static void grant_and_ask_back(void)
{
	make_grant();
	must(daxpin_rdma_revoke_start(grant, NEVER));
	while (run_job())
		;
}

static int run_returned(void)
{
	return daxpin_rdma_returned(rdma, &key);
}

static int run_grant_returned(void)
{
	return daxpin_grant_returned(grant);
}

static int run_qp(void)
{
	return daxpin_grant_qp(grant, &fake_qp);
}

/* The device ends the region only after the queue pair is in the error state. */
static void grant_with_refusing_device(void)
{
	make_grant();
	must(run_qp());
	fake.dereg_error = EIO;
	fake.dereg_after_qp = true;
}

static void repair_device(int ret)
{
	fake.dereg_after_qp = false;
	fake.dereg_error = 0;
	fake.qp_state = IBV_QPS_RTS;
	assert_ended(ret);
}

static int run_publish(void)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP, .extent = extent };

	return daxpin_rdma_publish(rdma, &grant, 1, &op, 1);
}

static void retire_and_reserve(int ret)
{
	struct daxpin_op op = { .type = DAXPIN_OP_RETIRE, .extent = extent };

	assert_ended(ret);
	assert_null(grant);
	must(daxpin_publish(f->pool, &op, 1, NULL, NULL));
	must(daxpin_reserve(f->pool, BYTES, 0, &extent));
}

/* --------------------------------------------------------------- local keys */

static int run_lkey(void)
{
	uint32_t lkey;

	return daxpin_rdma_lkey(rdma, extent.addr, &lkey);
}

static int run_sge(void)
{
	struct ibv_sge sge;

	return daxpin_rdma_sge(rdma, extent, 0, BYTES, &sge);
}

static void attach_again(int ret)
{
	must(ret);
	assert_int_equal(counts().local_mrs, 1);
	must(run_detach());
	must(run_attach());
}

static void hold_extent(void)
{
	must(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE));
}

static void drop_and_attach_again(int ret)
{
	must(ret);
	must(daxpin_drop(f->pool, extent));
	attach_again(0);
}

static void reclaim_segment_with_local_key(void)
{
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = NEVER, .bytes = DAXPIN_CHUNK_SIZE,
	};

	must(run_lkey());
	must(daxpin_reclaim(f->pool, &options, &job));
}

static void end_job(int ret)
{
	must(ret);
	must(daxpin_job_wait(job, DAXPIN_NO_DEADLINE));
	must(daxpin_job_end(job));
	must(daxpin_refill(f->pool, NULL, &job));
	must(daxpin_job_wait(job, DAXPIN_NO_DEADLINE));
	must(daxpin_job_end(job));
	must(run_detach());
	must(run_attach());
}

/* ----------------------------------------------------------------- the test */

static const struct uncancelled_call calls[] = {
	{ "attach", detach, run_attach, must },
	{ "detach", NULL, run_detach, attach_after },
	{ "grant", NULL, run_grant, revoke_after },
	{ "grant_qp", make_grant, run_qp, revoke_after },
	{ "revoke", make_grant, run_revoke, assert_ended },
	{ "revoke that stops a queue pair", grant_with_refusing_device, run_revoke,
	  repair_device },
	{ "revoke_start", make_grant, run_start, run_all_jobs },
	{ "the executor's job", grant_and_start_revoke, run_the_job, run_all_jobs },
	{ "service of expired grants", start_without_executor, run_service,
	  attach_with_executor },
	{ "returned", grant_and_ask_back, run_returned, run_all_jobs },
	{ "grant_returned", grant_and_ask_back, run_grant_returned, run_all_jobs },
	{ "publish", make_grant, run_publish, retire_and_reserve },
	{ "lkey", NULL, run_lkey, attach_again },
	{ "sge", hold_extent, run_sge, drop_and_attach_again },
	{ "service of a segment that a reclaim wants", reclaim_segment_with_local_key,
	  run_service, end_job },
};

static void use_a_domain(void)
{
	make_grant();
	must(run_revoke());
	grant_and_start_revoke();
	run_all_jobs(0);
	dp_invariants(f->pool);
}

static void a_cancelled_thread_completes_its_call_on_a_domain(void **state)
{
	(void)state;
	need_io_uring();
	fake.in_reg = fake.in_dereg = fake.in_qp = in_the_device;
	cancel_each(calls, sizeof(calls) / sizeof(calls[0]), use_a_domain);
	must(daxpin_cancel(f->pool, extent));
	must(run_detach());
	must(daxpin_pool_drain(f->pool, NEVER));
	must(fixture_reopen(f));
	must(run_attach());
	must(daxpin_reserve(f->pool, BYTES, 0, &extent));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_cancelled_thread_completes_its_call_on_a_domain,
						setup_executor, teardown),
	};

	return cmocka_run_group_tests_name("rdma_cancel", tests, NULL, NULL);
}
