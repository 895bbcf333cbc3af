/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of grants over libfabric, refusals of the provider, and what the calls
 * refuse. No peer is connected: the result of the attach's trial is what a test says.
 */
#include <limits.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_errno.h>
#include <stdbool.h>
#include <sys/wait.h>
#include "fixture.h"
#include "needs.h"
#include "ofi/endpoint.h"
#include "ofi/trial.h"
#include "ofi_peer.h"

#define PROVIDER	"tcp;ofi_rxm"
#define BYTES		65536u

static uint32_t verdict;
static bool trial_keeps, trial_is_real;
static int region_error, endpoint_error, error_count;
static uint64_t fake_now_ns;	/* the adapter's clock; 0: the real one */

uint64_t __real_daxpin_deadline_ms(uint64_t ms);
uint64_t __wrap_daxpin_deadline_ms(uint64_t ms);

uint64_t __wrap_daxpin_deadline_ms(uint64_t ms)
{
	return fake_now_ns ? fake_now_ns + ms * 1000000 :
			     __real_daxpin_deadline_ms(ms);
}

int __real_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept);
int __wrap_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept);
int __real_dp_region_close(struct fid_mr *region);
int __wrap_dp_region_close(struct fid_mr *region);
int __real_dp_endpoint_close(struct dp_endpoint *endpoint);
int __wrap_dp_endpoint_close(struct dp_endpoint *endpoint);

int __wrap_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept)
{
	if (trial_is_real)
		return __real_dp_trial(f, i, memory, length, report, errmsg,
				       ret_kept);
	report->ends = verdict;
	snprintf(report->what, sizeof(report->what), "the test's verdict");
	*ret_kept = trial_keeps;
	return trial_keeps ? -EIO : 0;
}

/* The provider refuses the next error_count closes. */
static int refuse(int *error)
{
	if (!*error || !error_count)
		return 0;
	error_count--;
	return *error;
}

int __wrap_dp_region_close(struct fid_mr *region)
{
	int ret = refuse(&region_error);

	return ret ? ret : __real_dp_region_close(region);
}

int __wrap_dp_endpoint_close(struct dp_endpoint *endpoint)
{
	int ret = refuse(&endpoint_error);

	return ret ? ret : __real_dp_endpoint_close(endpoint);
}

/* ------------------------------------------------------------------- a grant */

struct called {
	int asked, done, result;
	struct daxpin_ofi_key key;
	struct daxpin_ofi_grant *revoke;	/* in ask_back() */
	int done_in_callback;
};

static void ask_back(void *arg, const struct daxpin_ofi_key *key)
{
	struct called *called = arg;

	called->asked++;
	called->key = *key;
	if (!called->revoke)
		return;
	assert_int_equal(daxpin_ofi_revoke(called->revoke), 0);
	called->done_in_callback = called->done;
}

static void done(void *arg, int result)
{
	struct called *called = arg;

	called->done++;
	called->result = result;
}

static struct daxpin_ofi *attach(struct fixture *f)
{
	const struct daxpin_ofi_options options = {
		.size = sizeof(options), .label = "test",
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_ofi *ofi = NULL;

	if (daxpin_ofi_attach(f->pool, fabric, info, &options, &ofi))
		fail_msg("%s", f->errmsg);
	return ofi;
}

static struct daxpin_ofi_peer *open_peer(struct daxpin_ofi *ofi)
{
	struct daxpin_ofi_peer *peer = NULL;

	assert_int_equal(daxpin_ofi_peer_open(ofi, NULL, &peer), 0);
	return peer;
}

static struct daxpin_ofi_grant *grant(struct fixture *f, struct daxpin_ofi_peer *peer,
				      struct called *called,
				      struct daxpin_extent *ret_extent)
{
	const struct daxpin_ofi_grant_options options = {
		.size = sizeof(options), .access = FI_REMOTE_WRITE,
		.ask_back = ask_back, .done = done, .arg = called,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_ofi_grant *grant = NULL;

	*called = (struct called){ 0 };
	*ret_extent = reserve(f, BYTES);
	if (daxpin_ofi_grant(peer, *ret_extent, &options, &grant))
		fail_msg("%s", f->errmsg);
	return grant;
}

static struct daxpin_ofi_info figures(struct daxpin_ofi *ofi)
{
	struct daxpin_ofi_info about = { .size = sizeof(about) };

	assert_int_equal(daxpin_ofi_info(ofi, &about), 0);
	return about;
}

static uint32_t state_of(struct daxpin_ofi_grant *grant)
{
	struct daxpin_ofi_grant_info about = { .size = sizeof(about) };

	return daxpin_ofi_grant_info(grant, &about) ? 0 : about.state;
}

/* ------------------------------------------------------------------ the tests */

static void a_revoke_ends_all_grants_of_the_peer_and_of_no_other(void **state)
{
	struct daxpin_ofi_grant *grants[3], *late = NULL;
	struct daxpin_ofi_peer *peers[2];
	struct daxpin_extent extents[3];
	struct fixture *f = *state;
	struct called called[3];
	const struct daxpin_ofi_grant_options options = {
		.size = sizeof(options), .access = FI_REMOTE_WRITE,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_ofi *ofi;
	char name[256];
	size_t size = sizeof(name);

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	for (int i = 0; i < 2; i++)
		peers[i] = open_peer(ofi);
	for (int i = 0; i < 3; i++)
		grants[i] = grant(f, peers[i / 2], &called[i], &extents[i]);
	assert_int_equal(daxpin_ofi_revoke(grants[0]), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(called[i].done, i < 2);
		assert_int_equal(called[i].asked, 0);
		assert_int_equal(daxpin_idle(f->pool, extents[i]), i < 2);
		assert_int_equal(state_of(grants[i]), i < 2 ? 0 :
				 DAXPIN_OFI_STATE_GRANTED);
	}
	assert_int_equal(figures(ofi).endpoints_closed, 1);
	assert_int_equal(figures(ofi).ended, 2);
	/* Of what has ended, a second end is a success (C9). */
	assert_int_equal(daxpin_ofi_revoke(grants[1]), 0);
	assert_int_equal(daxpin_ofi_revoke_start(grants[1], UINT64_MAX), 0);
	assert_int_equal(daxpin_ofi_peer_name(peers[0], name, &size), -ESTALE);
	assert_int_equal(daxpin_ofi_grant(peers[0], extents[0], &options, &late),
			 -ESTALE);
	assert_non_null(strstr(f->errmsg, "open another"));
	assert_int_equal(daxpin_idle(f->pool, extents[0]), 1);
	for (int i = 0; i < 3; i++)
		daxpin_cancel(f->pool, extents[i]);
	/* The extent stays, although it was cancelled, until its grant has ended. */
	assert_int_equal(daxpin_idle(f->pool, extents[2]), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), -EBUSY);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daxpin_ofi_peer_close(peers[i]), 0);
	assert_int_equal(called[2].done, 1);
	assert_int_equal(daxpin_idle(f->pool, extents[2]), 1);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
	assert_int_equal(daxpin_ofi_revoke(grants[2]), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), -ESTALE);
}

static void where_a_region_ends_access_grants_end_alone(void **state)
{
	struct daxpin_ofi_grant *first, *second;
	struct daxpin_extent extents[2];
	struct fixture *f = *state;
	struct called called[2];
	struct daxpin_ofi_peer *peer;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_REGION;
	ofi = attach(f);
	peer = open_peer(ofi);
	first = grant(f, peer, &called[0], &extents[0]);
	second = grant(f, peer, &called[1], &extents[1]);
	assert_int_equal(daxpin_ofi_revoke(first), 0);
	assert_int_equal(state_of(second), DAXPIN_OFI_STATE_GRANTED);
	assert_int_equal(figures(ofi).endpoints_closed, 0);
	/* If the provider refuses, the endpoint is closed. */
	region_error = -EIO;
	error_count = 1;
	assert_int_equal(daxpin_ofi_revoke(second), 0);
	assert_int_equal(figures(ofi).endpoints_closed, 1);
	assert_int_equal(figures(ofi).refusals, 1);
	region_error = 0;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(called[i].done, 1);
		assert_int_equal(daxpin_cancel(f->pool, extents[i]), 0);
	}
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

static void a_grant_whose_access_does_not_end_is_quarantined(void **state)
{
	struct daxpin_ofi_grant *grants[2];
	struct daxpin_extent extents[2];
	struct fixture *f = *state;
	struct called called[2];
	struct daxpin_ofi_peer *peer;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	for (int i = 0; i < 2; i++)
		grants[i] = grant(f, peer, &called[i], &extents[i]);
	endpoint_error = -EIO;
	error_count = 2;
	assert_int_equal(daxpin_ofi_revoke(grants[0]), -EIO);
	assert_int_equal(figures(ofi).quarantined, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(called[i].done, 0);
		assert_int_equal(state_of(grants[i]),
				 DAXPIN_OFI_STATE_QUARANTINED);
		assert_int_equal(daxpin_idle(f->pool, extents[i]), 0);
	}
	/* The service tries again, when it was asked to. */
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	assert_int_equal(daxpin_ofi_revoke_start(grants[1], 0), 0);
	assert_int_equal(daxpin_ofi_service(ofi), -EIO);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(figures(ofi).quarantined, 0);
	assert_int_equal(figures(ofi).grants, 0);
	endpoint_error = 0;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(called[i].done, 1);
		assert_int_equal(daxpin_cancel(f->pool, extents[i]), 0);
	}
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* A domain that is closed under an open region frees what the region needs. */
static void an_endpoint_remains_open_while_a_region_of_it_is_refused(void **state)
{
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one;
	struct daxpin_ofi_peer *peer;
	struct called called;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_REGION;
	ofi = attach(f);
	peer = open_peer(ofi);
	one = grant(f, peer, &called, &extent);
	region_error = -EIO;
	error_count = 2;
	assert_int_equal(daxpin_ofi_revoke(one), -EIO);
	assert_int_equal(error_count, 0);
	assert_int_equal(state_of(one), DAXPIN_OFI_STATE_QUARANTINED);
	assert_int_equal(figures(ofi).endpoints_closed, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	region_error = 0;
	assert_int_equal(daxpin_ofi_revoke(one), 0);
	assert_int_equal(called.done, 1);
	assert_int_equal(figures(ofi).endpoints_closed, 1);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* C5. The service takes the peer that was opened last first. */
static void the_service_ends_the_grants_of_other_peers_if_one_fails(void **state)
{
	struct daxpin_ofi_peer *peers[2];
	struct daxpin_ofi_grant *grants[2];
	struct daxpin_extent extents[2];
	struct fixture *f = *state;
	struct called called[2];
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	for (int i = 0; i < 2; i++) {
		peers[i] = open_peer(ofi);
		grants[i] = grant(f, peers[i], &called[i], &extents[i]);
		assert_int_equal(daxpin_ofi_revoke_start(grants[i], 0), 0);
	}
	endpoint_error = -EIO;
	error_count = 1;
	assert_int_equal(daxpin_ofi_service(ofi), -EIO);
	endpoint_error = 0;
	assert_int_equal(called[0].done, 1);
	assert_int_equal(called[1].done, 0);
	assert_int_equal(state_of(grants[1]), DAXPIN_OFI_STATE_QUARANTINED);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(daxpin_ofi_peer_close(peers[i]), 0);
		assert_int_equal(daxpin_cancel(f->pool, extents[i]), 0);
	}
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* C8 */
static void a_refusal_that_passes_is_tried_again(void **state)
{
	static const int errors[] = { -EINTR, -EAGAIN, -EBUSY };
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one;
	struct daxpin_ofi_peer *peer;
	struct called called;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_REGION;
	ofi = attach(f);
	peer = open_peer(ofi);
	for (int i = 0; i < 3; i++) {
		one = grant(f, peer, &called, &extent);
		region_error = errors[i];
		error_count = 3;
		assert_int_equal(daxpin_ofi_revoke(one), 0);
		assert_int_equal(error_count, 0);
		assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	}
	region_error = 0;
	assert_int_equal(figures(ofi).endpoints_closed, 0);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

static void a_grant_is_asked_back_once_and_ends_at_its_deadline(void **state)
{
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one;
	struct daxpin_ofi_peer *peer;
	struct daxpin_ofi_key key;
	struct called called;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	one = grant(f, peer, &called, &extent);
	daxpin_ofi_grant_key(one, &key);
	assert_int_equal(daxpin_ofi_revoke_start(one, UINT64_MAX), 0);
	assert_int_equal(called.asked, 1);
	assert_memory_equal(&called.key, &key, sizeof(key));
	assert_int_equal(state_of(one), DAXPIN_OFI_STATE_ASKED);
	assert_int_equal(figures(ofi).pending, 1);
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	assert_int_equal(called.done, 0);
	/* A deadline that passes; ask_back() is not called again. */
	fake_now_ns = 1000000000;
	assert_int_equal(daxpin_ofi_revoke_start(one, fake_now_ns + 1), 0);
	assert_int_equal(called.asked, 1);
	assert_int_equal(figures(ofi).next_deadline_ns, fake_now_ns + 1);
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	assert_int_equal(called.done, 0);
	fake_now_ns++;
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	fake_now_ns = 0;
	assert_int_equal(called.done, 1);
	assert_int_equal(called.result, 0);
	assert_int_equal(figures(ofi).expired, 1);
	assert_int_equal(figures(ofi).pending, 0);
	assert_int_equal(figures(ofi).next_deadline_ns, 0);
	assert_int_equal(daxpin_ofi_returned(ofi, &key), -ESTALE);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* C6 */
static void done_follows_ask_back_even_if_that_ends_the_grant(void **state)
{
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_peer *peer;
	struct called called;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	called.revoke = grant(f, peer, &called, &extent);
	called.done_in_callback = -1;
	assert_int_equal(daxpin_ofi_revoke_start(called.revoke, UINT64_MAX), 0);
	assert_int_equal(called.done_in_callback, 0);
	assert_int_equal(called.done, 1);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* C10: an answer names one grant; that of another extent, number or pool is late. */
static void a_late_answer_ends_no_other_grant(void **state)
{
	struct daxpin_ofi_key key, changed;
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one;
	struct daxpin_ofi_peer *peer;
	struct called called;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	one = grant(f, peer, &called, &extent);
	daxpin_ofi_grant_key(one, &key);
	changed = key;
	changed.id++;
	assert_int_equal(daxpin_ofi_returned(ofi, &changed), -ESTALE);
	changed = key;
	changed.extent.gen++;
	assert_int_equal(daxpin_ofi_returned(ofi, &changed), -ESTALE);
	changed = key;
	changed.uuid[15] ^= 1;
	assert_int_equal(daxpin_ofi_returned(ofi, &changed), -ESTALE);
	assert_int_equal(state_of(one), DAXPIN_OFI_STATE_GRANTED);
	/* Without trust in the peer its answer closes the endpoint. */
	assert_int_equal(daxpin_ofi_returned(ofi, &key), 0);
	assert_int_equal(state_of(one), DAXPIN_OFI_STATE_QUEUED);
	assert_int_equal(figures(ofi).next_deadline_ns, 1);
	assert_int_equal(daxpin_ofi_revoke_start(one, 0), -EALREADY);
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	assert_int_equal(called.done, 1);
	assert_int_equal(figures(ofi).returned, 1);
	assert_int_equal(figures(ofi).endpoints_closed, 1);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

static void what_a_grant_refuses(void **state)
{
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one = NULL;
	struct daxpin_extent extent, published;
	struct daxpin_ofi_peer *peer;
	struct daxpin_ofi *ofi;
	const struct {
		struct daxpin_ofi_grant_options options;
		int result;
		bool live;
	} rows[] = {
		{ { .access = 0 }, -EINVAL, false },
		{ { .access = FI_WRITE }, -EINVAL, false },
		{ { .access = FI_REMOTE_WRITE, .flags = 4 }, -EINVAL, false },
		{ { .access = FI_REMOTE_WRITE, .offset = BYTES }, -EINVAL, false },
		{ { .access = FI_REMOTE_WRITE, .length = BYTES + 1 }, -EINVAL, false },
		{ { .access = FI_REMOTE_WRITE, .offset = 1, .length = BYTES },
		  -EINVAL, false },
		{ { .access = FI_REMOTE_READ }, -EPERM, false },
		{ { .access = FI_REMOTE_WRITE, .flags = DAXPIN_GRANT_ZERO }, -EINVAL,
		  true },
	};

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	extent = reserve(f, BYTES);
	published = live(f, BYTES);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct daxpin_ofi_grant_options o = rows[i].options;

		o.size = sizeof(o);
		o.errmsg = f->errmsg;
		o.errmsg_size = sizeof(f->errmsg);
		assert_int_equal(daxpin_ofi_grant(peer, rows[i].live ? published :
						  extent, &o, &one),
				 rows[i].result);
		assert_string_not_equal(f->errmsg, "");
		assert_int_equal(daxpin_idle(f->pool, extent), 1);
	}
	assert_int_equal(daxpin_ofi_grant(peer, extent, NULL, &one), -EINVAL);
	assert_int_equal(daxpin_ofi_grant(NULL, extent, &rows[0].options, &one),
			 -EINVAL);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* ------------------------------------------------------------- descriptors */

/* Written by hand from docs/format.md. */
static const unsigned char fixed[DAXPIN_OFI_DESCRIPTOR_SIZE] = {
	'D', 'A', 'X', 'O', 'F', 'I', 'G', 'R',
	0x01, 0x04, 0x68, 0x00, 0x06, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x20, 0x10, 0x00, 0x00, 0x00, 0x00,
	0x05, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,
	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
	0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
	0xef, 0xbe, 0xad, 0xde, 0x00, 0x00, 0x00, 0x00,
	0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00,
	0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x1c, 0x82, 0xb2, 0xfa,
};

static void a_descriptor_written_by_hand_decodes_as_documented(void **state)
{
	struct daxpin_ofi_key key;

	(void)state;
	assert_int_equal(daxpin_ofi_import(fixed, sizeof(fixed), NULL, &key), 0);
	assert_int_equal(key.addr, 0);
	assert_int_equal(key.length, 256 << 10);
	assert_int_equal(key.key, 0xdeadbeef);
	assert_true(key.access == (FI_REMOTE_READ | FI_REMOTE_WRITE));
	assert_int_equal(key.extent.addr, 0x10200000);
	assert_int_equal(key.extent.gen, UINT64_C(3) << 40 | 5);
	assert_memory_equal(key.uuid, fixed + 48, 16);
	assert_int_equal(key.id, 0x0001020304050607);
	assert_int_equal(key.offset, 4096);
	assert_int_equal(key.protocol, 11);
	assert_int_equal(key.is_virtual, 0);
}

/* Each byte is changed to all 255 other values, and the output is never written. */
static void import_refuses_a_descriptor_in_which_any_byte_was_changed(void **state)
{
	unsigned char bytes[sizeof(fixed)];
	struct daxpin_ofi_key key, before;
	int ret;

	(void)state;
	memset(&before, 0x5a, sizeof(before));
	memcpy(&key, &before, sizeof(key));
	for (size_t at = 0; at < sizeof(fixed); at++)
		for (unsigned int flip = 1; flip < 256; flip++) {
			memcpy(bytes, fixed, sizeof(bytes));
			bytes[at] ^= (unsigned char)flip;
			ret = daxpin_ofi_import(bytes, sizeof(bytes), NULL, &key);
			assert_int_equal(ret, at < 8 ? -EINVAL :
					 at < 9 ? -EPROTONOSUPPORT : -EBADMSG);
		}
	for (size_t size = 0; size < sizeof(fixed); size++)
		assert_int_equal(daxpin_ofi_import(fixed, size, NULL, &key),
				 -EINVAL);
	assert_memory_equal(&key, &before, sizeof(key));
}

static void import_refuses_the_descriptor_of_another_provider(void **state)
{
	unsigned char bytes[DAXPIN_OFI_DESCRIPTOR_SIZE];
	struct fi_info *other;
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one;
	struct daxpin_ofi_peer *peer;
	struct daxpin_ofi_key key, own;
	struct called called;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	one = grant(f, peer, &called, &extent);
	assert_int_equal(daxpin_ofi_export(one, bytes, sizeof(bytes) - 1), -EINVAL);
	assert_int_equal(daxpin_ofi_export(one, bytes, sizeof(bytes)),
			 sizeof(bytes));
	daxpin_ofi_grant_key(one, &own);
	assert_int_equal(daxpin_ofi_import(bytes, sizeof(bytes), info, &key), 0);
	assert_memory_equal(&key, &own, sizeof(key));
	other = fi_dupinfo(info);
	other->ep_attr->protocol++;
	assert_int_equal(daxpin_ofi_import(bytes, sizeof(bytes), other, &key),
			 -EINVAL);
	other->ep_attr->protocol--;
	other->domain_attr->mr_mode |= FI_MR_VIRT_ADDR;
	assert_int_equal(daxpin_ofi_import(bytes, sizeof(bytes), other, &key),
			 -EINVAL);
	fi_freeinfo(other);
	assert_int_equal(daxpin_ofi_revoke(one), 0);
	assert_int_equal(daxpin_ofi_export(one, bytes, sizeof(bytes)), -ESTALE);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* ------------------------------------------------------------------- attach */

static void check_refused(struct fixture *f, struct fi_info *about, int result,
			  const char *words)
{
	const struct daxpin_ofi_options options = {
		.size = sizeof(options),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	const uint64_t before = free_bytes(f);
	struct daxpin_ofi *ofi = NULL;

	assert_int_equal(daxpin_ofi_attach(f->pool, fabric, about, &options, &ofi),
			 result);
	if (!strstr(f->errmsg, words))
		fail_msg("\"%s\" does not say \"%s\"", f->errmsg, words);
	assert_null(ofi);
	assert_int_equal(free_bytes(f), before);
	assert_int_equal(pool_info(f).registrations, 0);
}

static void an_attach_refuses_what_it_cannot_end(void **state)
{
	static char nic_name[] = "nic0";
	struct fixture *f = *state;
	struct fi_info *other;

	SKIP_WITHOUT_PROVIDER();
	other = fi_dupinfo(info);
	other->caps &= ~FI_RMA;
	check_refused(f, other, -EOPNOTSUPP, "no FI_RMA");
	other->caps = info->caps;
	other->ep_attr->type = FI_EP_MSG;
	check_refused(f, other, -EOPNOTSUPP, "not FI_EP_RDM");
	other->ep_attr->type = FI_EP_RDM;
	other->domain_attr->mr_mode |= FI_MR_RAW;
	check_refused(f, other, -EOPNOTSUPP, "mr_mode");
	other->domain_attr->mr_mode = info->domain_attr->mr_mode;
	other->mode |= FI_RX_CQ_DATA;
	check_refused(f, other, -EOPNOTSUPP, "needs mode");
	other->mode = info->mode;
	other->domain_attr->mr_mode |= FI_MR_ALLOCATED;
	check_refused(f, other, -EOPNOTSUPP, "FI_MR_ALLOCATED");
	other->domain_attr->mr_mode ^= FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	check_refused(f, other, -EOPNOTSUPP, "FI_MR_PROV_KEY");
	other->domain_attr->mr_mode = info->domain_attr->mr_mode;
	other->nic = ofi_nic(nic_name);
	/* The real provider has no device of that name. */
	check_refused(f, other, -EOPNOTSUPP, "the device nic0");
	other->nic = ofi_nic(NULL);
	check_refused(f, other, -EOPNOTSUPP, "without a name");
	other->nic = NULL;
	fi_freeinfo(other);
	verdict = DAXPIN_OFI_ENDS_UNKNOWN;
	check_refused(f, info, -EOPNOTSUPP, "the test's verdict");
}

/* There the peer's process stores into the memory of the owner itself. */
static void shm_with_virtual_addresses_is_refused_by_the_trial(void **state)
{
	struct fixture *f = *state;
	struct fi_info *shm = ofi_find("shm", FI_MR_VIRT_ADDR);
	struct fid_fabric *before = fabric;

	need_process_vm();
	if (!shm || !(shm->domain_attr->mr_mode & FI_MR_VIRT_ADDR)) {
		print_message("# skipped: libfabric has no provider shm with FI_MR_VIRT_ADDR here\n");
		skip();
	}
	assert_int_equal(fi_fabric(shm->fabric_attr, &fabric, NULL), 0);
	trial_is_real = true;
	check_refused(f, shm, -EOPNOTSUPP, "without FI_MR_VIRT_ADDR");
	trial_is_real = false;
	assert_int_equal(fi_close(&fabric->fid), 0);
	fabric = before;
	fi_freeinfo(shm);
}

static void an_attach_to_a_full_pool_or_to_one_for_reading_is_refused(void **state)
{
	struct daxpin_extent extents[64], extent;
	struct fixture *f = *state;
	size_t count = 0;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	while (!daxpin_reserve(f->pool, 1 << 20, 0, &extent)) {
		assert_true(count < sizeof(extents) / sizeof(extents[0]));
		extents[count++] = extent;
	}
	check_refused(f, info, -ENOSPC, "1048576 bytes");
	while (count)
		daxpin_cancel(f->pool, extents[--count]);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags |= DAXPIN_POOL_READONLY;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	f->options.flags &= ~DAXPIN_POOL_READONLY;
	check_refused(f, info, -EROFS, "open for reading");
}

static int use_in_child(struct daxpin_ofi *ofi, struct daxpin_ofi_peer *peer,
			struct daxpin_ofi_grant *one)
{
	return daxpin_ofi_service(ofi) == -EOWNERDEAD &&
	       daxpin_ofi_peer_close(peer) == -EOWNERDEAD &&
	       daxpin_ofi_revoke(one) == -EOWNERDEAD &&
	       daxpin_ofi_detach(ofi) == -EOWNERDEAD ? 0 : 1;
}

static void in_a_child_of_fork_every_call_is_refused(void **state)
{
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi_grant *one;
	struct daxpin_ofi_peer *peer;
	struct called called;
	struct daxpin_ofi *ofi;
	int status;
	pid_t pid;

	SKIP_WITHOUT_PROVIDER();
	verdict = DAXPIN_OFI_ENDS_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	one = grant(f, peer, &called, &extent);
	pid = fork();
	if (!pid)
		_exit(use_in_child(ofi, peer, one));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(state_of(one), DAXPIN_OFI_STATE_GRANTED);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

static int open_fabric(void **state)
{
	(void)state;
	return open_provider(PROVIDER);
}

static int close_fabric(void **state)
{
	(void)state;
	return close_provider();
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_revoke_ends_all_grants_of_the_peer_and_of_no_other),
		TEST(where_a_region_ends_access_grants_end_alone),
		TEST(a_grant_whose_access_does_not_end_is_quarantined),
		TEST(an_endpoint_remains_open_while_a_region_of_it_is_refused),
		TEST(the_service_ends_the_grants_of_other_peers_if_one_fails),
		TEST(a_refusal_that_passes_is_tried_again),
		TEST(a_grant_is_asked_back_once_and_ends_at_its_deadline),
		TEST(done_follows_ask_back_even_if_that_ends_the_grant),
		TEST(a_late_answer_ends_no_other_grant),
		TEST(what_a_grant_refuses),
		TEST(a_descriptor_written_by_hand_decodes_as_documented),
		TEST(import_refuses_a_descriptor_in_which_any_byte_was_changed),
		TEST(import_refuses_the_descriptor_of_another_provider),
		TEST(an_attach_refuses_what_it_cannot_end),
		TEST(shm_with_virtual_addresses_is_refused_by_the_trial),
		TEST(an_attach_to_a_full_pool_or_to_one_for_reading_is_refused),
		TEST(in_a_child_of_fork_every_call_is_refused),
	};

	return cmocka_run_group_tests(tests, open_fabric, close_fabric);
}
