/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * On the device-dax node that DAXPIN_TEST_DAX names: making a peer's writes durable,
 * from the peer's end and from the target's; and what an attach finds out about memory
 * windows.
 */
#include "rdma_fixture.h"
#include "verbs_hooks.h"

#define DENIED		IBV_WC_REM_ACCESS_ERR
#define FLUSH_WR_ID	77

static struct place place = { .name = "device-dax" };

static int setup_here(void **state)
{
	*state = &place;
	return setup(state);
}

/* ------------------------------------------------------------ the peer's end */

static struct daxpin_flush_options flush_options(struct fixture *f,
						 uint32_t platform)
{
	f->errmsg[0] = '\0';
	return (struct daxpin_flush_options) {
		.size = sizeof(struct daxpin_flush_options),
		.platform = platform,
		.wr_id = FLUSH_WR_ID,
		.sink = {
			.addr = (uintptr_t)f->buffer, .length = 1,
			.lkey = f->mr->lkey,
		},
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
}

static int flush(struct fixture *f, const struct daxpin_grant_key *key,
		 uint64_t offset, uint64_t length, uint32_t platform,
		 enum daxpin_flush_method *ret_method)
{
	struct daxpin_flush_options options = flush_options(f, platform);

	return daxpin_rdma_flush(f->peer.qp, key, offset, length, &options,
				 ret_method);
}

/* Waits for the only completion of a flush. */
static struct ibv_wc completion(struct fixture *f)
{
	uint64_t deadline = daxpin_deadline_ms(30000);
	struct ibv_wc wc;

	while (ibv_poll_cq(f->peer.cq, 1, &wc) != 1)
		assert_true(daxpin_deadline_ms(0) < deadline);
	assert_int_equal(wc.wr_id, FLUSH_WR_ID);
	return wc;
}

static void assert_nothing_posted(struct fixture *f)
{
	struct ibv_wc wc;

	usleep(20000);
	assert_int_equal(ibv_poll_cq(f->peer.cq, 1, &wc), 0);
}

static void a_read_after_the_writes_flushes_them(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	enum daxpin_flush_method method = 0;
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, 0, extent, READ | WRITE, ZERO), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	f->buffer[0] = 0;
	assert_int_equal(flush(f, &key, 0, EXTENT_BYTES,
			       DAXPIN_PLATFORM_ADR_NO_DDIO, &method), 0);
	assert_int_equal(method, DAXPIN_FLUSH_READ);
	assert_int_equal(completion(f).status, 0);
	/* The flush has read the last byte of the range. */
	assert_int_equal(f->buffer[0], bytes(f, extent)[EXTENT_BYTES - 1]);
	assert_int_not_equal(f->buffer[0], 0);
	assert_int_equal(flush(f, &key, EXTENT_BYTES - 1, 1,
			       DAXPIN_PLATFORM_EADR, NULL), 0);
	assert_int_equal(completion(f).status, 0);
}

static void a_flush_on_an_unknown_platform_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	enum daxpin_flush_method method = 0;
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, 0, extent, READ | WRITE, ZERO), 0);
	key = key_of(f, 0);
	assert_int_equal(flush(f, &key, 0, 64, DAXPIN_PLATFORM_UNKNOWN,
			       &method),
			 -EOPNOTSUPP);
	assert_non_null(strstr(f->errmsg, "daxpin_rdma_publish"));
	assert_int_equal(method, 0);
	assert_nothing_posted(f);
}

static void an_invalid_flush_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_flush_options options;
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	key = key_of(f, 0);
	assert_int_equal(flush(f, &key, 0, 64, DAXPIN_PLATFORM_EADR, NULL),
			 -EOPNOTSUPP);
	assert_non_null(strstr(f->errmsg, "REMOTE_READ"));
	key.access |= READ;
	assert_int_equal(flush(f, &key, 1, EXTENT_BYTES, DAXPIN_PLATFORM_EADR,
			       NULL), -EINVAL);
	assert_int_equal(flush(f, &key, EXTENT_BYTES, 1, DAXPIN_PLATFORM_EADR,
			       NULL), -EINVAL);
	assert_int_equal(flush(f, &key, 0, 0, DAXPIN_PLATFORM_EADR, NULL),
			 -EINVAL);
	assert_int_equal(flush(f, &key, 0, 64, DAXPIN_PLATFORM_EADR + 1, NULL),
			 -EINVAL);
	options = flush_options(f, DAXPIN_PLATFORM_EADR);
	options.sink.length = 0;
	assert_int_equal(daxpin_rdma_flush(f->peer.qp, &key, 0, 64, &options,
					   NULL), -EINVAL);
	key.access |= DAXPIN_KEY_BOUNCED;
	assert_int_equal(flush(f, &key, 0, 64, DAXPIN_PLATFORM_EADR, NULL),
			 -EOPNOTSUPP);
	assert_non_null(strstr(f->errmsg, "copy"));
	assert_nothing_posted(f);
}

/* A flush of a revoked grant is an error. */
static void a_flush_after_the_revoke_fails(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key;

	assert_int_equal(grant(f, 0, extent, READ | WRITE, ZERO), 0);
	key = key_of(f, 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(flush(f, &key, 0, 64, DAXPIN_PLATFORM_EADR, NULL), 0);
	assert_int_equal(completion(f).status, DENIED);
	assert_int_equal(reconnect(f), 0);
}

/* Soft-RoCE's pinned regions support the flag. The verb that posts a flush is newer. */
static void a_grant_can_carry_the_right_to_flush(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key, copy;
	unsigned char message[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	int err;

	err = grant(f, 0, extent, WRITE | DAXPIN_ACCESS_FLUSH, 0);
	if (err) {
		print_message("# skipped: no regions to be flushed: %s\n",
			      f->errmsg);
		assert_true(err == -EOPNOTSUPP || err == -EINVAL);
		skip();
	}
	key = key_of(f, 0);
	assert_int_equal(key.access, WRITE | DAXPIN_ACCESS_FLUSH);
	assert_int_equal(daxpin_grant_export(f->grants[0], message,
					     sizeof(message)),
			 sizeof(message));
	assert_int_equal(daxpin_grant_import(message, sizeof(message), &copy),
			 0);
	assert_memory_equal(&copy, &key, sizeof(key));
}

#ifdef DP_HAVE_WR_FLUSH
static struct ibv_qp *qp_with_flush(struct fixture *f)
{
	struct ibv_qp_init_attr_ex init = {
		.send_cq = f->peer.cq, .recv_cq = f->peer.cq,
		.cap = { 16, 1, 1, 1, 0 },
		.sq_sig_all = 1,
		.qp_type = IBV_QPT_RC,
		.comp_mask = IBV_QP_INIT_ATTR_PD |
			     IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = f->peer_nic.pd,
		.send_ops_flags = IBV_QP_EX_WITH_FLUSH |
				  IBV_QP_EX_WITH_RDMA_WRITE |
				  IBV_QP_EX_WITH_RDMA_READ,
	};

	return ibv_create_qp_ex(f->peer_nic.context, &init);
}

/* Allows flushes on both ends of the connection. */
static void allow_flush(struct ibv_qp *qp)
{
	struct ibv_qp_attr attr = {
		.qp_access_flags = READ | WRITE | DAXPIN_ACCESS_FLUSH,
	};

	assert_int_equal(ibv_modify_qp(qp, &attr, IBV_QP_ACCESS_FLAGS), 0);
}

static void ibv_wr_flush_is_used_if_it_exists(void **state)
{
	struct fixture *f = *state;
	struct ibv_qp *old = f->peer.qp, *qp = qp_with_flush(f);
	struct daxpin_extent extent = reserve(f);
	enum daxpin_flush_method method = 0;
	struct daxpin_grant_key key;

	assert_non_null(qp);
	f->peer.qp = qp;
	assert_int_equal(reconnect(f), 0);
	allow_flush(f->wire.qp);
	assert_int_equal(grant(f, 0, extent, WRITE | DAXPIN_ACCESS_FLUSH, 0),
			 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	/* It needs neither knowledge of the platform nor the right to read. */
	assert_int_equal(flush(f, &key, 0, EXTENT_BYTES,
			       DAXPIN_PLATFORM_UNKNOWN, &method), 0);
	assert_int_equal(method, DAXPIN_FLUSH_VERB);
	assert_int_equal(completion(f).status, 0);
	/* A grant without the right: the result depends on the platform again. */
	key.access &= ~DAXPIN_ACCESS_FLUSH;
	assert_int_equal(flush(f, &key, 0, 64, DAXPIN_PLATFORM_UNKNOWN,
			       &method),
			 -EOPNOTSUPP);
	f->peer.qp = old;
	assert_int_equal(ibv_destroy_qp(qp), 0);
}
#else
static void ibv_wr_flush_is_used_if_it_exists(void **state)
{
	(void)state;
	print_message("# skipped: this libibverbs has no ibv_wr_flush()\n");
	skip();
}
#endif

/* --------------------------------------------------------- the target's end */

static enum daxpin_state state_of(struct fixture *f,
				  struct daxpin_extent extent)
{
	enum daxpin_state extent_state;

	assert_int_equal(daxpin_state(f->pool, extent, &extent_state), 0);
	return extent_state;
}

static void rdma_publish_publishes_what_the_peer_wrote(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent first = reserve(f), second = reserve(f);
	const struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = first },
		{ .type = DAXPIN_OP_KEEP, .extent = second },
		{ .type = DAXPIN_OP_ROOT, .extent = first, .name = "commit" },
	};

	allow_write(f, 0, first);
	allow_write(f, 1, second);
	assert_int_equal(daxpin_rdma_publish(f->rdma, f->grants, GRANTS_MAX,
					     ops, 3), 0);
	assert_null(f->grants[0]);
	assert_null(f->grants[1]);
	assert_int_equal(daxpin_idle(f->pool, first), 1);
	reopen(f);
	assert_int_equal(daxpin_root(f->pool, "commit", &first), 0);
	assert_int_equal(daxpin_extent_at(f->pool, second.addr, &second), 0);
	assert_int_equal(pattern_wrong(bytes(f, first), EXTENT_BYTES,
				       PEER_PATTERN), 0);
	assert_int_equal(pattern_wrong(bytes(f, second), EXTENT_BYTES,
				       PEER_PATTERN), 0);
}

static void rdma_publish_fails_while_a_peer_may_write(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent first = reserve(f), second = reserve(f);
	const struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = first },
		{ .type = DAXPIN_OP_KEEP, .extent = second },
	};

	allow_write(f, 0, first);
	allow_write(f, 1, second);
	verbs_hooks.allow_dereg = 1;
	verbs_hooks.refuse_dereg = EIO;
	assert_int_equal(daxpin_rdma_publish(f->rdma, f->grants, 2, ops, 2),
			 -EIO);
	verbs_hooks.refuse_dereg = 0;
	assert_null(f->grants[0]);
	assert_non_null(f->grants[1]);
	assert_int_equal(state_of(f, first), DAXPIN_STATE_RESERVED);
	assert_int_equal(state_of(f, second), DAXPIN_STATE_RESERVED);
	/* The same call continues where it stopped. */
	assert_int_equal(daxpin_rdma_publish(f->rdma, f->grants, 2, ops, 2),
			 0);
	assert_int_equal(state_of(f, first), DAXPIN_STATE_LIVE);
	assert_int_equal(state_of(f, second), DAXPIN_STATE_LIVE);
}

static void rdma_publish_with_invalid_arguments_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_rdma *other, *mine = f->rdma;

	assert_int_equal(daxpin_rdma_publish(NULL, NULL, 0, NULL, 0), -EINVAL);
	assert_int_equal(daxpin_rdma_publish(f->rdma, NULL, 1, NULL, 0),
			 -EINVAL);
	assert_int_equal(attach(f), 0);
	other = f->rdma;
	f->rdma = mine;
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(daxpin_rdma_publish(other, f->grants, 1, NULL, 0),
			 -EINVAL);
	assert_non_null(f->grants[0]);
	assert_int_equal(daxpin_rdma_detach(other), 0);
	assert_int_equal(daxpin_rdma_publish(f->rdma, f->grants, 1, NULL, 0),
			 0);
	assert_null(f->grants[0]);
	assert_int_equal(state_of(f, extent), DAXPIN_STATE_RESERVED);
}

/* ------------------------------------------------------------------- windows */

/*
 * Soft-RoCE's windows do not enforce it: a grant is a region, even if windows are
 * requested.
 */
static void windows_that_do_not_enforce_their_range_are_not_used(void **state)
{
	struct daxpin_rdma_report report = { .size = sizeof(report) };
	struct daxpin_grant_info info = { .size = sizeof(info) };
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	long long before = pinned_pages();

	assert_int_equal(daxpin_rdma_report(f->rdma, &report), 0);
	assert_int_equal(report.window2.verdict, DAXPIN_RDMA_UNTRIED);
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->flags = DAXPIN_RDMA_WINDOWS;
	assert_int_equal(attach(f), 0);
	assert_int_equal(pinned_pages(), before);
	assert_int_equal(daxpin_rdma_report(f->rdma, &report), 0);
	print_message("type 2: %s\ntype 1: %s\n", report.window2.what,
		      report.window1.what);
	assert_int_not_equal(report.window2.verdict, DAXPIN_RDMA_UNTRIED);
	if (!strncmp(rdma_device, "rxe", 3)) {
		assert_int_equal(report.window2.verdict, DAXPIN_RDMA_WRONG);
		assert_non_null(strstr(report.window2.what, "arrived"));
		assert_int_equal(report.window1.verdict, DAXPIN_RDMA_WRONG);
	}
	assert_int_equal(report.odp.verdict, DAXPIN_RDMA_UNTRIED);
	assert_int_equal(rdma_info(f).mode, DAXPIN_RDMA_PINNED);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	assert_int_equal(daxpin_grant_info(f->grants[0], &info), 0);
	if (!strncmp(rdma_device, "rxe", 3))
		assert_int_equal(info.via, DAXPIN_GRANT_VIA_MR);
}

#define CASE(function)	\
	cmocka_unit_test_setup_teardown(function, setup_here, teardown)

static const struct CMUnitTest cases[] = {
	CASE(a_read_after_the_writes_flushes_them),
	CASE(a_flush_on_an_unknown_platform_is_refused),
	CASE(an_invalid_flush_is_refused),
	CASE(a_flush_after_the_revoke_fails),
	CASE(a_grant_can_carry_the_right_to_flush),
	CASE(ibv_wr_flush_is_used_if_it_exists),
	CASE(rdma_publish_publishes_what_the_peer_wrote),
	CASE(rdma_publish_fails_while_a_peer_may_write),
	CASE(rdma_publish_with_invalid_arguments_is_refused),
	CASE(windows_that_do_not_enforce_their_range_are_not_used),
};

int main(void)
{
	rdma_device = getenv("DAXPIN_TEST_RDMA");
	place.device = getenv("DAXPIN_TEST_DAX");
	if (!rdma_device || !place.device) {
		printf("# skipped: DAXPIN_TEST_RDMA and DAXPIN_TEST_DAX are not both set: run it in the lab (./dev lab)\n");
		return 77;
	}
	return cmocka_run_group_tests_name("rdma durable", cases, NULL, NULL);
}
