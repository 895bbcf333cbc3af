/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first test is that of rdma_cancel.c for a device that has memory windows: it
 * makes the calls that bind windows and receive the completions, the trial of a device,
 * and the peer's flush. The test replaces the device's requests and its loopback
 * connection; each may be a cancellation point. In the second test each device call
 * fails once with each temporary errno.
 */
#include "fixture.h"
#include "cancelled.h"
#include "invariant.h"
#include "verbs_fake.h"
#include "grant_fixture.h"
#include "rdma/loopback.h"
#include "rdma/window_probe.h"

#define WRITE		IBV_ACCESS_REMOTE_WRITE
#define BYTES		UINT64_C(8192)

static struct ibv_qp far_qp = { .context = &fake_context, .pd = &fake_pd };
static struct daxpin_grant *grant;

/* ------------------------------------------------- the device, and its requests */

int __wrap_dp_loopback_open(struct dp_loopback *loopback, struct ibv_pd *pd,
			    uint64_t deadline_ns);
int __wrap_dp_loopback_open(struct dp_loopback *loopback, struct ibv_pd *pd,
			    uint64_t deadline_ns)
{
	(void)deadline_ns;
	memset(loopback, 0, sizeof(*loopback));
	loopback->pd = pd;
	loopback->far = &far_qp;
	in_the_device();
	return 0;
}

int __wrap_dp_loopback_close(struct dp_loopback *loopback);
int __wrap_dp_loopback_close(struct dp_loopback *loopback)
{
	assert_ptr_equal(loopback->far, &far_qp);
	in_the_device();
	return 0;
}

int __wrap_dp_loopback_connect(struct dp_loopback *loopback);
int __wrap_dp_loopback_connect(struct dp_loopback *loopback)
{
	(void)loopback;
	in_the_device();
	return 0;
}

int __wrap_dp_loopback_far_wait(struct dp_loopback *loopback);
int __wrap_dp_loopback_far_wait(struct dp_loopback *loopback)
{
	(void)loopback;
	in_the_device();
	return 0;
}

static unsigned char loopback_bytes[DP_LOOPBACK_BYTES];

unsigned char *__wrap_dp_loopback_source(struct dp_loopback *loopback);
unsigned char *__wrap_dp_loopback_source(struct dp_loopback *loopback)
{
	(void)loopback;
	return loopback_bytes;
}

unsigned char *__wrap_dp_loopback_sink(struct dp_loopback *loopback);
unsigned char *__wrap_dp_loopback_sink(struct dp_loopback *loopback)
{
	(void)loopback;
	return loopback_bytes;
}

int __wrap_dp_loopback_write(struct dp_loopback *loopback, const void *to,
			     uint32_t rkey, uint32_t length);
int __wrap_dp_loopback_write(struct dp_loopback *loopback, const void *to,
			     uint32_t rkey, uint32_t length)
{
	(void)loopback;
	(void)rkey;
	in_the_device();
	memcpy((void *)(uintptr_t)to, loopback_bytes, length);
	return 0;
}

int __wrap_dp_loopback_read(struct dp_loopback *loopback, const void *from,
			    uint32_t rkey, uint32_t length);
int __wrap_dp_loopback_read(struct dp_loopback *loopback, const void *from,
			    uint32_t rkey, uint32_t length)
{
	(void)loopback;
	(void)rkey;
	in_the_device();
	memcpy(loopback_bytes, from, length);
	return 0;
}

int __wrap_dp_window_probe(struct dp_loopback *loopback, enum ibv_mw_type type,
			   struct daxpin_rdma_finding *finding);
int __wrap_dp_window_probe(struct dp_loopback *loopback, enum ibv_mw_type type,
			   struct daxpin_rdma_finding *finding)
{
	(void)loopback;
	(void)type;
	in_the_device();
	finding->verdict = DAXPIN_RDMA_WORKS;
	return 0;
}

/* In one run of use_everything(), the device call with this number fails once. */
static struct {
	unsigned int seen, at;
	int error;			/* a temporary errno */
} fault;

static bool fails_here(void)
{
	return ++fault.seen == fault.at;
}

static struct ibv_mw *alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	in_the_device();
	if (fails_here()) {
		errno = fault.error;
		return NULL;
	}
	return fake_alloc_mw(pd, type);
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr,
		     struct ibv_send_wr **bad)
{
	in_the_device();
	return fake_post_send(qp, wr, bad);
}

static int bind_mw(struct ibv_qp *qp, struct ibv_mw *mw, struct ibv_mw_bind *bind)
{
	in_the_device();
	return fake_bind_mw(qp, mw, bind);
}

/* -------------------------------------------------------------------- the calls */

static int run_attach(void)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_RDMA_NO_REGIONS | DAXPIN_RDMA_WINDOWS,
	};

	return daxpin_rdma_attach(f->pool, &fake_pd, &options, &rdma);
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

static int run_grant_with(struct ibv_qp *qp)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .qp = qp,
	};

	return daxpin_rdma_grant(rdma, extent, &options, &grant);
}

static int run_grant_type_2(void)
{
	return run_grant_with(&fake_qp);
}

static int run_grant_type_1(void)
{
	return run_grant_with(NULL);
}

static int run_bound(void)
{
	return daxpin_grant_bound(grant, &(struct ibv_wc) { .status = IBV_WC_SUCCESS });
}

/* The bind failed, which puts the queue pair into the error state. */
static int run_not_bound(void)
{
	const struct ibv_wc wc = { .status = IBV_WC_MW_BIND_ERR };

	return daxpin_grant_bound(grant, &wc) != -EIO;
}

static int run_revoke(void)
{
	return daxpin_rdma_revoke(grant);
}

static void grant_type_2(void)
{
	must(run_grant_type_2());
	assert_int_equal(about(grant).via, DAXPIN_GRANT_VIA_MW2);
}

static void grant_and_bind(void)
{
	grant_type_2();
	must(run_bound());
}

static void grant_type_1(void)
{
	must(run_grant_type_1());
	assert_int_equal(about(grant).via, DAXPIN_GRANT_VIA_MW1);
}

static void assert_ended(int ret)
{
	must(ret);
	assert_int_equal(counts().grants, 0);
	assert_int_equal(fake.windows, 0);
	fake.qp_state = IBV_QPS_RTS;
}

static void revoke_after(int ret)
{
	must(ret);
	assert_ended(run_revoke());
}

static void bind_and_revoke(int ret)
{
	must(ret);
	must(run_bound());
	revoke_after(0);
}

static int run_probe(void)
{
	struct daxpin_rdma_report report = { .size = sizeof(report) };
	void *memory = aligned_alloc(DAXPIN_BLOCK_SIZE, DAXPIN_RDMA_TRY_BYTES);
	int ret = daxpin_rdma_probe(&fake_pd, memory, DAXPIN_RDMA_TRY_BYTES,
				    DAXPIN_RDMA_TRY_PINNED | DAXPIN_RDMA_TRY_WINDOWS,
				    &report);

	free(memory);
	return ret ? ret : report.window1.verdict != DAXPIN_RDMA_WORKS;
}

static int run_flush(void)
{
	const struct daxpin_grant_key key = {
		.addr = 0x1000, .length = BYTES, .rkey = 1,
		.access = WRITE | IBV_ACCESS_REMOTE_READ,
	};
	const struct daxpin_flush_options options = {
		.size = sizeof(options), .platform = DAXPIN_PLATFORM_EADR,
		.sink = { .addr = (uintptr_t)loopback_bytes, .length = 1 },
	};
	enum daxpin_flush_method method;
	int ret = daxpin_rdma_flush(&fake_qp, &key, 0, BYTES, &options, &method);

	return ret ? ret : method != DAXPIN_FLUSH_READ;
}

static const struct uncancelled_call calls[] = {
	{ "attach that tries windows", detach, run_attach, must },
	{ "detach", NULL, run_detach, attach_after },
	{ "grant by a window of type 2", NULL, run_grant_type_2, bind_and_revoke },
	{ "grant by a window of type 1", NULL, run_grant_type_1, revoke_after },
	{ "grant_bound", grant_type_2, run_bound, revoke_after },
	{ "grant_bound that failed", grant_type_2, run_not_bound, revoke_after },
	{ "revoke of a window of type 2", grant_and_bind, run_revoke, assert_ended },
	{ "revoke before grant_bound", grant_type_2, run_revoke, assert_ended },
	{ "revoke of a window of type 1", grant_type_1, run_revoke, assert_ended },
	{ "probe", NULL, run_probe, must },
	{ "flush", NULL, run_flush, must },
};

static void use_a_window(void)
{
	grant_and_bind();
	assert_ended(run_revoke());
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	dp_invariants(f->pool);
}

static void a_cancelled_thread_completes_its_call_on_a_window(void **state)
{
	(void)state;
	fake.in_reg = fake.in_dereg = fake.in_qp = in_the_device;
	cancel_each(calls, sizeof(calls) / sizeof(calls[0]), use_a_window);
}

/* ------------------------------------------------------------ temporary failures */

static void fail_reg(void)
{
	if (fails_here())
		fake.reg_passing = fault.error;
}

static void fail_dereg(void)
{
	if (fails_here()) {
		fake.dereg_error = fault.error;
		fake.dereg_refusals = 1;
	}
}

static void fail_qp(void)
{
	if (fails_here()) {
		fake.qp_error = fault.error;
		fake.qp_refusals = 1;
	}
}

/* A grant with atomic access is never a window, but a region. */
static void grant_a_region(void)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .flags = DAXPIN_GRANT_EXPOSE,
		.access = IBV_ACCESS_REMOTE_ATOMIC,
	};

	must(daxpin_rdma_grant(rdma, extent, &options, &grant));
	assert_int_equal(about(grant).via, DAXPIN_GRANT_VIA_MR);
}

/* Makes and ends a grant of each kind, and registers a segment for a local key. */
static void use_everything(void)
{
	uint32_t lkey;

	grant_and_bind();
	assert_ended(run_revoke());
	grant_type_2();
	assert_ended(run_revoke());
	grant_type_1();
	assert_ended(run_revoke());
	grant_a_region();
	must(daxpin_rdma_revoke_start(grant, 0));
	assert_ended(daxpin_rdma_service(rdma));
	grant_a_region();
	assert_ended(daxpin_rdma_publish(rdma, &grant, 1, NULL, 0));
	must(daxpin_rdma_lkey(rdma, extent.addr, &lkey));
	/* Only the revoke before daxpin_grant_bound() had to stop the queue pair. */
	assert_int_equal(counts().queue_pairs_stopped, 1);
	assert_int_equal(counts().quarantined, 0);
	assert_int_equal(counts().windows_refused, 0);
	must(run_detach());
	must(run_attach());
}

static void a_device_call_that_fails_temporarily_is_repeated(void **state)
{
	static const int temporary[] = { EINTR, EAGAIN, EBUSY };

	(void)state;
	fake.in_reg = fail_reg;
	fake.in_dereg = fail_dereg;
	fake.in_qp = fail_qp;
	for (unsigned int i = 0; i < 3; i++) {
		fault.error = temporary[i];
		fault.at = 0;
		do {
			fault.at++;
			fault.seen = 0;
			use_everything();
		} while (fault.at < fault.seen);
		print_message("# %s in each of %u device calls\n",
			      strerror(temporary[i]), fault.at - 1);
		assert_true(fault.at > 10);
	}
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

/* --------------------------------------------------------------------- set-up */

static int setup_windows(void **state)
{
	fake_reset();
	fake_have_windows();
	fake_context.ops.alloc_mw = alloc_mw;
	fake_context.ops.post_send = post_send;
	fake_context.ops.bind_mw = bind_mw;
	fake_qp.qp_type = IBV_QPT_RC;
	if (fixture_setup_sized(state, 64 << 20))
		return -1;
	f = *state;
	return run_attach() || daxpin_reserve(f->pool, BYTES, 0, &extent);
}

/* Fails if anything is left: a region, a window, a hold or a pin. */
static int teardown_windows(void **state)
{
	int err = daxpin_cancel(f->pool, extent) || run_detach() || fake.live ||
		  fake.windows;

	rdma = NULL;
	return fixture_teardown(state) || err;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_cancelled_thread_completes_its_call_on_a_window,
						setup_windows, teardown_windows),
		cmocka_unit_test_setup_teardown(
			a_device_call_that_fails_temporarily_is_repeated,
						setup_windows, teardown_windows),
	};

	return cmocka_run_group_tests_name("rdma_cancel_window", tests, NULL, NULL);
}
