/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants by memory windows, on a fake device whose results each test chooses: which
 * verbs the library calls, in which order, and what it does if they fail. tests/lab
 * tests what real devices do with windows.
 */
#include "fixture.h"
#include "fake_clock.h"
#include "verbs_fake.h"
#include "rdma/probe.h"
#include "rdma/loopback.h"
#include "grant_fixture.h"

#define WRITE		IBV_ACCESS_REMOTE_WRITE
#define READ		IBV_ACCESS_REMOTE_READ
#define BYTES		UINT64_C(8192)
#define REFUSED		IBV_WC_MW_BIND_ERR
#define WR_ID		4711

static struct daxpin_extent before;
static struct ibv_qp far_qp = { .context = &fake_context, .pd = &fake_pd };
static struct ibv_pd other_pd = { .context = &fake_context };

/* ------------------------ the trial, the loopback connection, and a reclaim */

static struct {
	enum daxpin_rdma_verdict window2, window1;
	int probe_error;		/* why the trial cannot be made */
	int open_error, close_error, connect_error;	/* of the loopback connection */
	uint64_t open_ms;		/* how long an open takes */
	int bind_result;		/* the completion of a bind there */
	unsigned int probes, opens, closes, connects;
	int wanted;			/* the segment that a reclaim wants, or -1 */
} device;

int __wrap_dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
			 struct daxpin_rdma_report *report, bool *ret_kept);
int __wrap_dp_rdma_probe(struct ibv_pd *pd, void *memory, uint32_t tries,
			 struct daxpin_rdma_report *report, bool *ret_kept)
{
	assert_ptr_equal(pd, &fake_pd);
	assert_null(memory);
	assert_int_equal(tries, DAXPIN_RDMA_TRY_WINDOWS);
	assert_false(*ret_kept);
	device.probes++;
	if (device.probe_error)
		return device.probe_error;
	report->window2.verdict = device.window2;
	report->window1.verdict = device.window1;
	return 0;
}

int __wrap_dp_loopback_open(struct dp_loopback *loopback, struct ibv_pd *pd,
			uint64_t deadline_ns);
int __wrap_dp_loopback_open(struct dp_loopback *loopback, struct ibv_pd *pd,
			uint64_t deadline_ns)
{
	assert_ptr_equal(pd, &fake_pd);
	assert_true(deadline_ns > daxpin_deadline_ms(0));
	loopback->far = &far_qp;
	device.opens++;
	advance_clock(device.open_ms);
	return device.open_error;
}

int __wrap_dp_loopback_close(struct dp_loopback *loopback);
int __wrap_dp_loopback_close(struct dp_loopback *loopback)
{
	assert_ptr_equal(loopback->far, &far_qp);
	assert_int_equal(fake.windows, 0);
	device.closes++;
	return device.close_error;
}

int __wrap_dp_loopback_connect(struct dp_loopback *loopback);
int __wrap_dp_loopback_connect(struct dp_loopback *loopback)
{
	assert_ptr_equal(loopback->far, &far_qp);
	device.connects++;
	return device.connect_error;
}

int __wrap_dp_loopback_far_wait(struct dp_loopback *loopback);
int __wrap_dp_loopback_far_wait(struct dp_loopback *loopback)
{
	assert_true(loopback->deadline_ns > daxpin_deadline_ms(0));
	return device.bind_result;
}

int __wrap_daxpin_registration_wanted(struct daxpin_registration *registration,
				      uint32_t *segment);
int __wrap_daxpin_registration_wanted(struct daxpin_registration *registration,
				      uint32_t *segment)
{
	(void)registration;
	if (device.wanted < 0 || *segment > (uint32_t)device.wanted)
		return 0;
	*segment = (uint32_t)device.wanted;
	return 1;
}

/* ------------------------------------------------------------------ set-up */

static int attach_with(uint32_t flags)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .flags = flags,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	return daxpin_rdma_attach(f->pool, &fake_pd, &options, &rdma);
}

/* Reserves another extent first, so that the granted one does not begin the segment. */
static int setup_with(void **state, enum daxpin_rdma_verdict window2,
		      enum daxpin_rdma_verdict window1)
{
	fake_reset();
	fake_have_windows();
	fake_qp.pd = &fake_pd;
	memset(&device, 0, sizeof(device));
	device.window2 = window2;
	device.window1 = window1;
	device.wanted = -1;
	if (fixture_setup_sized(state, 64 << 20))
		return -1;
	f = *state;
	return attach_with(DAXPIN_RDMA_WINDOWS) ||
	       daxpin_reserve(f->pool, BYTES, 0, &before) ||
	       daxpin_reserve(f->pool, BYTES, 0, &extent);
}

static int setup(void **state)
{
	return setup_with(state, DAXPIN_RDMA_WORKS, DAXPIN_RDMA_WORKS);
}

static int setup_type_2_only(void **state)
{
	return setup_with(state, DAXPIN_RDMA_WORKS, DAXPIN_RDMA_WRONG);
}

static int setup_no_type(void **state)
{
	return setup_with(state, DAXPIN_RDMA_WRONG, DAXPIN_RDMA_UNKNOWN);
}

/* Checks that nothing is left: no region, no window, no hold. */
static int teardown(void **state)
{
	int err = daxpin_rdma_detach(rdma) || fake.live || fake.windows ||
		  daxpin_idle(f->pool, extent) == 0;

	rdma = NULL;
	return fixture_teardown(state) || err;
}

static int try_grant(int access, struct ibv_qp *qp, struct daxpin_grant **ret)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = access, .qp = qp,
		.flags = DAXPIN_GRANT_EXPOSE, .bind_wr_id = WR_ID,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	f->errmsg[0] = '\0';
	return daxpin_rdma_grant(rdma, extent, &options, ret);
}

static struct daxpin_grant *grant_of(int access, struct ibv_qp *qp)
{
	struct daxpin_grant *grant;

	assert_int_equal(try_grant(access, qp, &grant), 0);
	return grant;
}

/* Reports the completion of the bind to the library. */
static int bound(struct daxpin_grant *grant, enum ibv_wc_status status)
{
	return daxpin_grant_bound(grant, &(struct ibv_wc) { .status = status });
}

static uint32_t via_of(int access, struct ibv_qp *qp)
{
	struct daxpin_grant *grant = grant_of(access, qp);
	uint32_t via = about(grant).via;

	assert_int_equal(bound(grant, 0),
			 via == DAXPIN_GRANT_VIA_MW2 ? 0 : -EINVAL);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	return via;
}

/* ----------------------------------------------------------------- one window */

/* The window covers exactly the extent, and its region alone gives no remote access. */
static void assert_bound(struct daxpin_grant *grant, int access)
{
	const struct ibv_mw_bind_info *info = &fake.bound.bind_mw.bind_info;
	const int parent = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND;
	struct daxpin_segment segment;
	struct daxpin_grant_key key;

	daxpin_grant_key(grant, &key);
	assert_int_equal(info->addr, (uintptr_t)daxpin_ptr(f->pool, extent, 0));
	assert_int_equal(info->length, BYTES);
	assert_int_equal(info->mw_access_flags, access);
	assert_int_equal(key.addr, info->addr);
	assert_int_equal(key.length, BYTES);
	assert_int_equal(key.rkey, fake.bound.bind_mw.rkey);
	assert_int_equal(key.rkey, fake.bound.bind_mw.mw->rkey);
	assert_int_equal(daxpin_segment(f->pool, 0, &segment), 0);
	assert_ptr_equal(info->mr->addr, segment.base);
	assert_int_equal(info->mr->length, segment.size);
	assert_int_equal(fake.access, parent);
	assert_int_equal(fake.regs, 1);
	assert_int_equal(fake.windows, 1);
	assert_int_equal(counts().windows, 1);
	assert_int_equal(counts().local_mrs, 1);
}

static void a_grant_with_a_queue_pair_is_a_type_2_window(void **state)
{
	struct daxpin_grant *grant = grant_of(WRITE, &fake_qp);

	(void)state;
	assert_int_equal(device.probes, 1);
	assert_int_equal(about(grant).via, DAXPIN_GRANT_VIA_MW2);
	assert_bound(grant, WRITE);
	assert_int_equal(fake.bound.bind_mw.mw->type, IBV_MW_TYPE_2);
	assert_int_equal(fake.bound.opcode, IBV_WR_BIND_MW);
	assert_int_equal(fake.bound.send_flags, IBV_SEND_SIGNALED);
	assert_int_equal(fake.bound.wr_id, WR_ID);
	/* A bind changes the key. */
	assert_int_not_equal(fake.bound.bind_mw.rkey, 0x500);
	assert_int_equal(bound(grant, 0), 0);
	fake.in_dereg = see_the_hold;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	fake.in_dereg = NULL;
	assert_int_equal(fake.qp_stops, 0);
	assert_int_equal(fake.deregs, 1);
	assert_int_equal(fake.windows, 0);
	assert_int_equal(counts().windows, 0);
	assert_int_equal(counts().windows_refused, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	/* The segment's region is kept for the next window. */
	assert_int_equal(fake.live, 1);
	assert_int_equal(via_of(READ | WRITE, &fake_qp),
			 DAXPIN_GRANT_VIA_MW2);
	assert_int_equal(fake.regs, 1);
}

static void a_grant_without_a_queue_pair_is_a_type_1_window(void **state)
{
	struct daxpin_grant *grant = grant_of(READ, NULL);

	(void)state;
	assert_int_equal(device.opens, 1);
	assert_int_equal(about(grant).via, DAXPIN_GRANT_VIA_MW1);
	assert_bound(grant, READ);
	assert_int_equal(fake.bound.bind_mw.mw->type, IBV_MW_TYPE_1);
	assert_int_equal(fake.bound.send_flags, IBV_SEND_SIGNALED);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* The peer could use such a grant neither by a window nor by a region. */
static void a_queue_pair_of_another_domain_is_refused(void **state)
{
	const int accesses[] = { WRITE, READ | WRITE, IBV_ACCESS_REMOTE_ATOMIC };
	struct daxpin_grant *grant = NULL;

	(void)state;
	fake_qp.pd = &other_pd;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(try_grant(accesses[i], &fake_qp, &grant),
				 -EINVAL);
		assert_non_null(strstr(f->errmsg, "another protection domain"));
	}
	assert_null(grant);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	grant = grant_of(WRITE, NULL);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), -EINVAL);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	fake_qp.pd = &fake_pd;
}

/* --------------------------------------------------------- a region instead */

static void access_that_the_trial_did_not_cover_gets_a_region(void **state)
{
	const int untried[] = {
		IBV_ACCESS_REMOTE_ATOMIC, WRITE | (int)DAXPIN_ACCESS_FLUSH,
		WRITE | IBV_ACCESS_RELAXED_ORDERING,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(untried) / sizeof(untried[0]); i++)
		assert_int_equal(via_of(untried[i], &fake_qp),
				 DAXPIN_GRANT_VIA_MR);
	assert_int_equal(counts().windows_refused, 0);
	assert_int_equal(counts().local_mrs, 0);
}

static void windows_that_failed_the_trial_are_not_used(void **state)
{
	(void)state;
	assert_int_equal(device.probes, 1);
	assert_int_equal(device.opens, 0);
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(counts().local_mrs, 0);
}

static void each_window_type_has_its_own_verdict(void **state)
{
	(void)state;
	assert_int_equal(device.opens, 0);
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MW2);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
}

/* The link is down at the attach. Grants are regions until it is up. */
static void a_window_trial_on_a_link_that_is_down_is_repeated(void **state)
{
	struct daxpin_rdma_report report = { .size = sizeof(report) };

	(void)state;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	device.probe_error = -ENETDOWN;
	assert_int_equal(attach_with(DAXPIN_RDMA_WINDOWS), 0);
	assert_int_equal(daxpin_rdma_report(rdma, &report), 0);
	assert_int_equal(report.window2.verdict, DAXPIN_RDMA_UNKNOWN);
	assert_int_equal(report.window2.error, -ENETDOWN);
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	device.probe_error = 0;
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MW2);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MW1);
	assert_int_equal(daxpin_rdma_report(rdma, &report), 0);
	assert_int_equal(report.window2.verdict, DAXPIN_RDMA_WORKS);
	device.probes = 0;
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MW2);
	assert_int_equal(device.probes, 0);
}

/*
 * The link is down again when the connection for windows of type 1 is made. The attempt
 * takes two seconds, so grants repeat it only after twenty more.
 */
static void a_connection_that_fails_after_the_trial_is_made_later(void **state)
{
	(void)state;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	device.probe_error = -ENETDOWN;
	assert_int_equal(attach_with(DAXPIN_RDMA_WINDOWS), 0);
	device.probe_error = 0;
	device.open_error = -ENETDOWN;
	device.open_ms = 2000;
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MW2);
	device.opens = 0;
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(device.opens, 0);
	device.open_error = 0;
	device.open_ms = 0;
	advance_clock(20000);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MW1);
	device.probes = 0;
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MW1);
	assert_int_equal(device.probes, 0);
}

/* Of a connection that failed at a grant, the device keeps a part until the detach. */
static void a_connection_that_failed_is_closed_by_the_detach(void **state)
{
	(void)state;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	device.probe_error = -ENETDOWN;
	assert_int_equal(attach_with(DAXPIN_RDMA_WINDOWS), 0);
	device.probe_error = 0;
	device.open_error = -ENETDOWN;
	device.close_error = -EBUSY;
	device.opens = device.closes = 0;
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(device.closes, 1);
	device.open_error = 0;
	advance_clock(20000);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(device.opens, 1);
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	device.close_error = 0;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	assert_int_equal(device.closes, 3);
	rdma = NULL;
}

static void windows_are_used_only_if_requested(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags <= DAXPIN_RDMA_TRY;
	     flags += DAXPIN_RDMA_TRY) {
		assert_int_equal(daxpin_rdma_detach(rdma), 0);
		device.opens = device.probes = 0;
		assert_int_equal(attach_with(flags), 0);
		assert_int_equal(device.probes, flags == DAXPIN_RDMA_TRY);
		assert_int_equal(device.opens, 0);
		assert_int_equal(via_of(WRITE, &fake_qp),
				 DAXPIN_GRANT_VIA_MR);
	}
}

static void a_failed_bind_is_counted_and_replaced_by_a_region(void **state)
{
	(void)state;
	fake.bind_error = ENOMEM;
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(counts().windows_refused, 2);
	assert_int_equal(fake.windows, 0);
	/*
	 * The state of the connection is unknown after a failed bind, so the library
	 * makes a new one.
	 */
	assert_int_equal(device.connects, 1);
	fake.bind_error = 0;
	device.bind_result = REFUSED;
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MR);
	assert_int_equal(device.connects, 2);
	device.bind_result = 0;
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MW1);
	assert_int_equal(device.connects, 2);
	assert_int_equal(counts().windows_refused, 3);
}

/* A window needs a region of its whole segment, which the device refuses here. */
static void a_window_is_refused_if_its_segment_cannot_be_registered(void **state)
{
	struct daxpin_grant *grant;

	(void)state;
	fake.reg_allowed = 0;
	fake.reg_error = ENOMEM;
	assert_int_equal(try_grant(WRITE, &fake_qp, &grant), -ENOMEM);
	assert_int_equal(counts().windows_refused, 1);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	fake.reg_allowed = ALWAYS;
	assert_int_equal(via_of(WRITE, &fake_qp), DAXPIN_GRANT_VIA_MW2);
}

/* ------------------------------------------------------- escalation */

static void a_window_that_the_device_does_not_free_is_quarantined(void **state)
{
	struct daxpin_grant *grant = grant_of(WRITE, &fake_qp);

	(void)state;
	assert_int_equal(bound(grant, 0), 0);
	fake.dereg_error = EIO;
	fake.dereg_refusals = ALWAYS;
	fake.in_dereg = see_the_hold;
	assert_int_equal(daxpin_rdma_revoke(grant), -EIO);
	assert_int_equal(fake.qp_stops, 1);
	assert_int_equal(fake.deregs, 51);
	assert_int_equal(about(grant).escalation, DAXPIN_GRANT_ESCALATION_QUARANTINE);
	assert_int_equal(counts().quarantined, 1);
	assert_int_equal(counts().windows, 1);
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	fake.dereg_refusals = 0;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	fake.in_dereg = NULL;
	assert_int_equal(counts().windows, 0);
}

/* C8, after a bind that succeeded and after one that failed. */
static void freeing_a_window_is_repeated_after_an_interruption(void **state)
{
	const int temporary[] = { EINTR, EAGAIN, EBUSY };
	struct daxpin_grant *grant;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		grant = grant_of(WRITE, &fake_qp);
		assert_int_equal(bound(grant, 0), 0);
		fake.dereg_error = temporary[i];
		fake.dereg_refusals = 3;
		assert_int_equal(daxpin_rdma_revoke(grant), 0);
		fake.bind_error = EIO;
		fake.dereg_refusals = 3;
		assert_int_equal(via_of(WRITE, &fake_qp),
				 DAXPIN_GRANT_VIA_MR);
		fake.bind_error = 0;
	}
	assert_int_equal(fake.qp_stops, 0);
	assert_int_equal(counts().refusals, 0);
	assert_int_equal(fake.windows, 0);
}

/* The device refuses to bind the window, and then to free it. No peer has its key. */
static void a_window_that_is_neither_bound_nor_freed_keeps_the_hold(void **state)
{
	struct daxpin_grant *grant = NULL;

	(void)state;
	fake.bind_error = EIO;
	fake.dereg_error = EIO;
	fake.dereg_refusals = 1;
	assert_int_equal(try_grant(WRITE, &fake_qp, &grant), -EIO);
	assert_null(grant);
	assert_non_null(strstr(f->errmsg, "remains held"));
	assert_int_equal(fake.windows, 1);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(counts().grants, 1);
	assert_int_equal(counts().pending, 1);
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	/* It is freed like any other when the device agrees. */
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(fake.windows, 0);
	assert_int_equal(counts().grants, 0);
	assert_int_equal(counts().windows, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

/* ------------------------------------------- a bind that may still complete */

static void assert_qp_stopped(void)
{
	assert_int_equal(fake.qp_state, IBV_QPS_ERR);
	see_the_hold();
}

static void a_pending_bind_is_flushed_before_its_window_is_freed(void **state)
{
	struct daxpin_grant *grant = grant_of(WRITE, &fake_qp);

	(void)state;
	fake.in_dereg = assert_qp_stopped;
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	fake.in_dereg = NULL;
	assert_int_equal(fake.qp_stops, 1);
	assert_int_equal(fake.deregs, 1);
	assert_int_equal(counts().refusals, 0);
	assert_int_equal(bound(grant, 0), -ESTALE);
}

static void a_bind_that_failed_is_reported(void **state)
{
	struct daxpin_grant *grant = grant_of(WRITE, &fake_qp);

	(void)state;
	assert_int_equal(bound(grant, REFUSED), -EIO);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(fake.qp_stops, 0);
	assert_int_equal(daxpin_grant_bound(NULL, NULL), -EINVAL);
}

/* Without the queue pair, the bind cannot be flushed and may still complete. */
static void a_pending_bind_without_its_queue_pair_keeps_the_hold(void **state)
{
	struct daxpin_grant *grant = grant_of(WRITE, &fake_qp);

	(void)state;
	assert_int_equal(daxpin_grant_qp(grant, NULL), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), -EINPROGRESS);
	assert_int_equal(about(grant).escalation, DAXPIN_GRANT_ESCALATION_QUARANTINE);
	assert_int_equal(fake.windows, 1);
	assert_int_equal(fake.deregs, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(bound(grant, 0), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

static struct ibv_qp *bound_on;

static int bind_elsewhere(struct ibv_qp *qp, struct ibv_send_wr *wr,
			  struct ibv_send_wr **bad)
{
	(void)bad;
	bound_on = qp;
	fake.bound = *wr;
	return 0;
}

static void flushing_another_queue_pair_does_not_end_a_pending_bind(void **state)
{
	static struct ibv_qp other_qp;
	struct daxpin_grant *grant;

	(void)state;
	other_qp = fake_qp;
	fake_context.ops.post_send = bind_elsewhere;
	grant = grant_of(WRITE, &other_qp);
	assert_ptr_equal(bound_on, &other_qp);
	assert_int_equal(daxpin_grant_qp(grant, &fake_qp), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), -EINPROGRESS);
	assert_int_equal(fake.qp_stops, 1);
	assert_int_equal(fake.windows, 1);
	assert_int_equal(bound(grant, 0), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
}

/* Until the connection is reset, nothing shows whether the bind happened. */
static void a_connection_lost_during_a_bind_keeps_the_hold(void **state)
{
	struct daxpin_grant *grant = NULL;

	(void)state;
	device.bind_result = -ETIMEDOUT;
	device.connect_error = -EIO;
	assert_int_equal(try_grant(WRITE, NULL, &grant), -ETIMEDOUT);
	assert_null(grant);
	assert_int_equal(fake.windows, 1);
	assert_int_equal(daxpin_rdma_service(rdma), -EINPROGRESS);
	assert_int_equal(counts().quarantined, 1);
	assert_int_equal(fake.windows, 1);
	assert_int_equal(fake.deregs, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	/* No caller has the grant, so the service call tries again by itself. */
	device.connect_error = device.bind_result = 0;
	advance_clock((counts().next_deadline_ns - daxpin_deadline_ms(0)) / 1000000 +
		      1);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(counts().grants, 0);
	assert_int_equal(counts().quarantined, 0);
	assert_int_equal(fake.windows, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(via_of(WRITE, NULL), DAXPIN_GRANT_VIA_MW1);
}

/* ----------------------------------------------- other users of the segment */

/* As after a reclaim that requested the segment and was cancelled. */
static void a_segments_region_is_kept_while_it_has_windows(void **state)
{
	struct daxpin_grant *grant = grant_of(WRITE, NULL);

	(void)state;
	device.wanted = 0;
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(fake.live, 1);
	assert_int_equal(counts().local_mrs, 1);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_rdma_service(rdma), 0);
	assert_int_equal(fake.live, 0);
	assert_int_equal(counts().local_mrs, 0);
	device.wanted = -1;
}

/*
 * A caller pinned the segment with the adapter's registration, which it can get from an
 * event.
 */
static void a_pin_that_the_caller_took_is_reported(void **state)
{
	(void)state;
	device.wanted = 0;
	assert_int_equal(daxpin_rdma_service(rdma), -EINVAL);
	assert_int_equal(fake.deregs, 0);
	device.wanted = -1;
	assert_int_equal(daxpin_rdma_service(rdma), 0);
}

static void an_attach_fails_if_the_loopback_connection_cannot_be_made(void **state)
{
	(void)state;
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	rdma = NULL;
	assert_int_equal(device.closes, 1);
	device.open_error = -ENETDOWN;
	assert_int_equal(attach_with(DAXPIN_RDMA_WINDOWS), -ENETDOWN);
	assert_null(rdma);
	assert_int_equal(device.closes, 2);
	assert_non_null(strstr(f->errmsg, "memory windows"));
}

static void detach_fails_if_the_loopback_connection_cannot_be_closed(void **state)
{
	(void)state;
	device.close_error = -EBUSY;
	assert_int_equal(daxpin_rdma_detach(rdma), -EBUSY);
	assert_int_equal(counts().grants, 0);
	device.close_error = 0;
}

int main(void)
{
#define TEST(name, how) \
	cmocka_unit_test_setup_teardown(name, how, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_grant_with_a_queue_pair_is_a_type_2_window, setup),
		TEST(a_grant_without_a_queue_pair_is_a_type_1_window, setup),
		TEST(access_that_the_trial_did_not_cover_gets_a_region, setup),
		TEST(windows_that_failed_the_trial_are_not_used, setup_no_type),
		TEST(a_queue_pair_of_another_domain_is_refused, setup),
		TEST(a_queue_pair_of_another_domain_is_refused, setup_no_type),
		TEST(each_window_type_has_its_own_verdict, setup_type_2_only),
		TEST(a_window_trial_on_a_link_that_is_down_is_repeated, setup),
		TEST(a_connection_that_fails_after_the_trial_is_made_later, setup),
		TEST(a_connection_that_failed_is_closed_by_the_detach, setup),
		TEST(windows_are_used_only_if_requested, setup),
		TEST(a_failed_bind_is_counted_and_replaced_by_a_region, setup),
		TEST(a_window_is_refused_if_its_segment_cannot_be_registered, setup),
		TEST(a_window_that_the_device_does_not_free_is_quarantined, setup),
		TEST(freeing_a_window_is_repeated_after_an_interruption, setup),
		TEST(a_window_that_is_neither_bound_nor_freed_keeps_the_hold, setup),
		TEST(a_pending_bind_is_flushed_before_its_window_is_freed, setup),
		TEST(a_bind_that_failed_is_reported, setup),
		TEST(a_pending_bind_without_its_queue_pair_keeps_the_hold, setup),
		TEST(flushing_another_queue_pair_does_not_end_a_pending_bind, setup),
		TEST(a_connection_lost_during_a_bind_keeps_the_hold, setup),
		TEST(a_segments_region_is_kept_while_it_has_windows, setup),
		TEST(a_pin_that_the_caller_took_is_reported, setup),
		TEST(an_attach_fails_if_the_loopback_connection_cannot_be_made, setup),
		TEST(detach_fails_if_the_loopback_connection_cannot_be_closed, setup),
	};

	stop_clock();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
