/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants by memory windows. Built without rdma/trust.c, so that windows of soft-RoCE
 * are used although it does not keep a peer inside a window. This tests everything
 * else: which peer gets access, of which kind, and until when.
 */
#include "rdma_fixture.h"
#include "rdma_peer.h"
#include "rdma/trust.h"

#define DENIED		IBV_WC_REM_ACCESS_ERR
#define ROUNDS		24
#define WR_ID		4711

static long long pins_before;
static struct child peer;

bool dp_rdma_trusts(const struct daxpin_rdma_finding *finding)
{
	return finding->verdict == DAXPIN_RDMA_WORKS ||
	       finding->verdict == DAXPIN_RDMA_WRONG;
}

static int begin(void **state)
{
	struct fixture *f;
	int err;

	pins_before = pinned_pages();
	if (setup(state))
		return -1;
	f = *state;
	err = daxpin_rdma_detach(f->rdma);
	f->rdma = NULL;
	f->flags = DAXPIN_RDMA_WINDOWS;
	return err || attach(f);
}

static int finish(void **state)
{
	int err;

	peer_end(&peer);
	err = teardown(state);
	return !pins_are_back(pins_before) || err;
}

static struct daxpin_grant_key grant_by(struct fixture *f, unsigned int i,
					struct daxpin_extent extent, int access,
					struct ibv_qp *qp)
{
	struct daxpin_grant_info info = { .size = sizeof(info) };
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = access, .qp = qp,
		.flags = access & READ ? ZERO : 0,
		.bind_wr_id = WR_ID,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	assert_int_equal(daxpin_rdma_grant(f->rdma, extent, &options,
					   &f->grants[i]), 0);
	assert_int_equal(daxpin_grant_info(f->grants[i], &info), 0);
	assert_int_equal(info.via, qp ? DAXPIN_GRANT_VIA_MW2 :
			 DAXPIN_GRANT_VIA_MW1);
	return key_of(f, i);
}

/* Passes the queue pair's next completion on, as its owner must. */
static void see_bound(struct fixture *f, unsigned int i)
{
	const uint64_t deadline = daxpin_deadline_ms(60000);
	struct ibv_wc wc;

	while (ibv_poll_cq(f->wire.cq, 1, &wc) != 1)
		assert_true(daxpin_deadline_ms(0) < deadline);
	assert_int_equal(wc.wr_id, WR_ID);
	assert_int_equal(wc.status, 0);
	assert_int_equal(daxpin_grant_bound(f->grants[i], &wc), 0);
}

static void assert_written(struct fixture *f, struct daxpin_extent extent)
{
	unsigned char *expected = malloc(EXTENT_BYTES);

	assert_non_null(expected);
	pattern_fill(expected, EXTENT_BYTES, PEER_PATTERN);
	assert_memory_equal(bytes(f, extent), expected, EXTENT_BYTES);
	free(expected);
}

/* The window gives access as granted, and none after the revoke. */
static void use_and_revoke(struct fixture *f, struct ibv_qp *qp)
{
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key = grant_by(f, 0, extent, READ | WRITE, qp);
	struct ibv_wc wc;

	if (qp)
		see_bound(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	assert_written(f, extent);
	assert_int_equal(peer_read(f, &key, EXTENT_BYTES), 0);
	assert_memory_equal(f->buffer, bytes(f, extent), EXTENT_BYTES);
	assert_int_equal(ibv_poll_cq(f->wire.cq, 1, &wc), 0);
	assert_int_equal(rdma_info(f).windows, 1);
	assert_int_equal(rdma_info(f).windows_refused, 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	memset(bytes(f, extent), 0, EXTENT_BYTES);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), DENIED);
	assert_int_equal(peer_read(f, &key, 64), DENIED);
	assert_int_equal(bytes(f, extent)[0], 0);
	assert_int_equal(rdma_info(f).windows, 0);
}

static void a_peer_has_access_until_its_window_is_revoked(void **state)
{
	struct fixture *f = *state;

	use_and_revoke(f, f->wire.qp);
	use_and_revoke(f, NULL);
	/* Both windows used the same region. */
	assert_int_equal(rdma_info(f).local_mrs, 1);
}

static void a_window_gives_only_the_granted_access(void **state)
{
	struct fixture *f = *state;
	struct ibv_qp *const queue_pairs[] = { f->wire.qp, NULL };

	for (size_t i = 0; i < 2; i++) {
		struct daxpin_extent extent = reserve(f);
		struct daxpin_grant_key key =
			grant_by(f, 0, extent, WRITE, queue_pairs[i]);

		if (queue_pairs[i])
			see_bound(f, 0);
		assert_int_equal(peer_write(f, &key, 0, 4096), 0);
		assert_int_equal(peer_read(f, &key, 4096), DENIED);
		assert_int_equal(take_back(f, 0), 0);
	}
}

static void connect_other(struct fixture *f, struct wire *ours,
			  struct wire *theirs)
{
	struct wire_address to_ours, to_theirs;

	assert_int_equal(wire_open(ours, &f->nic), 0);
	assert_int_equal(wire_open(theirs, &f->peer_nic), 0);
	to_ours = wire_address(ours);
	to_theirs = wire_address(theirs);
	assert_int_equal(wire_connect(ours, &to_theirs), 0);
	assert_int_equal(wire_connect(theirs, &to_ours), 0);
}

/*
 * A type 2 window is for one peer, a type 1 window for all in the domain, as a region
 * is.
 */
static void a_type_2_window_gives_no_access_to_another_peer(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct wire ours, theirs;
	struct transfer transfer = {
		.opcode = IBV_WR_RDMA_WRITE, .mr = f->mr, .length = 4096,
	};
	struct daxpin_grant_key key;

	key = grant_by(f, 0, extent, WRITE, NULL);
	connect_other(f, &ours, &theirs);
	transfer.remote = key.addr;
	transfer.rkey = key.rkey;
	assert_int_equal(wire_transfer(&theirs, &transfer), 0);
	assert_int_equal(take_back(f, 0), 0);
	key = grant_by(f, 0, extent, WRITE, f->wire.qp);
	see_bound(f, 0);
	transfer.rkey = key.rkey;
	memset(bytes(f, extent), 0, 4096);
	assert_int_equal(wire_transfer(&theirs, &transfer), DENIED);
	assert_int_equal(bytes(f, extent)[0], 0);
	assert_int_equal(peer_write(f, &key, 0, 4096), 0);
	wire_close(&theirs);
	wire_close(&ours);
}

/* Each grant has the blocks of the one before, and a key of its own. */
static void windows_of_one_extent_have_different_keys(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_key key, last = { .rkey = 0 };

	for (int i = 0; i < ROUNDS; i++) {
		key = grant_by(f, 0, extent, WRITE, i % 2 ? NULL : f->wire.qp);
		if (i % 2 == 0)
			see_bound(f, 0);
		assert_int_not_equal(key.rkey, last.rkey);
		assert_int_equal(peer_write(f, &key, 0, 64), 0);
		if (i % 8 == 7)
			assert_int_equal(peer_write(f, &last, 0, 64), DENIED);
		last = key;
		assert_int_equal(take_back(f, 0), 0);
	}
	assert_int_equal(rdma_info(f).local_mrs, 1);
	assert_int_equal(rdma_info(f).ended, ROUNDS);
}

static void await_a_byte(struct fixture *f, struct daxpin_extent extent)
{
	const volatile unsigned char *base = bytes(f, extent);
	const uint64_t deadline = daxpin_deadline_ms(60000);

	while (!base[0] && !base[1])
		assert_true(daxpin_deadline_ms(0) < deadline);
}

static void a_peer_that_continues_to_write_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	unsigned char key[DAXPIN_GRANT_DESCRIPTOR_SIZE];

	memset(bytes(f, extent), 0, EXTENT_BYTES);
	grant_by(f, 0, extent, WRITE, NULL);
	assert_int_equal(daxpin_grant_export(f->grants[0], key, sizeof(key)),
			 sizeof(key));
	peer = peer_begin();
	peer_go(f, &peer, key, 0);
	await_a_byte(f, extent);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(peer_result(&peer).status, DENIED);
}

/* A revoke before the completion of the bind was seen stops the queue pair. */
static void a_pending_bind_is_flushed_before_its_window_is_freed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct ibv_qp_init_attr init;
	struct daxpin_grant_key key;
	struct ibv_qp_attr attr;

	key = grant_by(f, 0, extent, WRITE, f->wire.qp);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(rdma_info(f).queue_pairs_stopped, 1);
	assert_int_equal(ibv_query_qp(f->wire.qp, &attr, IBV_QP_STATE, &init),
			 0);
	assert_int_equal(attr.qp_state, IBV_QPS_ERR);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(reconnect(f), 0);
	memset(bytes(f, extent), 0, 4096);
	assert_int_equal(peer_write(f, &key, 0, 4096), DENIED);
	assert_int_equal(bytes(f, extent)[0], 0);
}

/* Only the peer's own memory stays pinned. */
static void nothing_stays_pinned_after_the_detach(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);

	grant_by(f, 0, extent, WRITE, f->wire.qp);
	see_bound(f, 0);
	grant_by(f, 1, extent, WRITE, NULL);
	assert_int_equal(rdma_info(f).windows, 2);
	assert_int_equal(daxpin_rdma_detach(f->rdma), -EBUSY);
	assert_int_equal(take_back(f, 1), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	assert_int_equal(pinned_pages() - pins_before,
			 (long long)(PEER_BYTES / 4096));
}

int main(int argc, char **argv)
{
	static struct place place = { .name = "shmem" };
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, begin, \
							    finish, &place)
	const struct CMUnitTest tests[] = {
		TEST(a_peer_has_access_until_its_window_is_revoked),
		TEST(a_window_gives_only_the_granted_access),
		TEST(a_type_2_window_gives_no_access_to_another_peer),
		TEST(windows_of_one_extent_have_different_keys),
		TEST(a_peer_that_continues_to_write_is_refused),
		TEST(a_pending_bind_is_flushed_before_its_window_is_freed),
		TEST(nothing_stays_pinned_after_the_detach),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1 && !strcmp(argv[1], "devdax"))
		place.device = getenv("DAXPIN_TEST_DAX");
	return cmocka_run_group_tests_name("rdma window", tests, NULL, NULL);
}
