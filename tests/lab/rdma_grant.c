/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_grant [shmem|devdax [all]]: grants on a real verbs device, under failures: peers
 * that die, hang or continue to write, regions that the device does not end, several
 * domains and devices, a device that is removed, and limits that are reached midway.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include "nobody.h"
#include "rdma_fixture.h"
#include "rdma_peer.h"
#include "verbs_hooks.h"

#define DENIED		IBV_WC_REM_ACCESS_ERR
#define OWN_DEVICE	"daxpin_grant0"
#define OWN_NETDEV	"daxpin_gnet0"

static struct child peer;	/* peer of the running test */
static long long pins_before;
static const struct place *here;

/* -------------------------------------------------------- setup, teardown */

static int begin(void **state)
{
	here = *state;
	pins_before = pinned_pages();
	verbs_hooks.more_access = 0;
	return setup(state);
}

/* Whatever a test did, it must leave no pins. */
static int finish(void **state)
{
	int err;

	peer_end(&peer);
	err = teardown(state);
	return !pins_are_back(pins_before) || err;
}

static void describe(struct fixture *f, unsigned int i, unsigned char *bytes)
{
	assert_int_equal(daxpin_grant_export(f->grants[i], bytes,
					     DAXPIN_GRANT_DESCRIPTOR_SIZE),
			 DAXPIN_GRANT_DESCRIPTOR_SIZE);
}

static struct daxpin_grant_info about(struct daxpin_grant *grant)
{
	struct daxpin_grant_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_grant_info(grant, &info), 0);
	return info;
}

/* Waits until the first bytes of the peer have arrived. */
static void await_bytes(struct fixture *f, struct daxpin_extent extent)
{
	const volatile unsigned char *base = bytes(f, extent);
	const uint64_t deadline = daxpin_deadline_ms(60000);
	unsigned char pattern[64];

	pattern_fill(pattern, sizeof(pattern), PEER_PATTERN);
	while (base[0] != pattern[0] || base[63] != pattern[63])
		assert_true(daxpin_deadline_ms(0) < deadline);
}

/* Gives the blocks to the next extent, and writes all of it. */
static struct daxpin_extent reuse(struct fixture *f, struct daxpin_extent extent)
{
	struct daxpin_extent next;
	struct free_space free_space;

	free_space_reserve(&free_space, f->pool);
	assert_int_equal(free_space_overlap(&free_space, extent.addr, EXTENT_BYTES), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_reserve(f->pool, EXTENT_BYTES, 0, &next), 0);
	assert_int_equal(next.addr, extent.addr);
	free_space_release(&free_space);
	pattern_fill(bytes(f, next), EXTENT_BYTES, OLD_PATTERN);
	return next;
}

static void is_untouched(struct fixture *f, struct daxpin_extent extent)
{
	assert_int_equal(pattern_wrong(bytes(f, extent), EXTENT_BYTES,
				       OLD_PATTERN), 0);
}

/* ------------------------------------------------- peers that misbehave */

/* Starts a peer that writes 256 KiB at a time, with a key that stays the same. */
static struct daxpin_extent grant_to_hammer(struct fixture *f, unsigned char *grant_of)
{
	struct daxpin_extent extent = reserve(f);

	memset(bytes(f, extent), 0, EXTENT_BYTES);
	assert_int_equal(grant(f, 0, extent, WRITE, 0), 0);
	describe(f, 0, grant_of);
	peer = peer_begin();
	peer_go(f, &peer, grant_of, 0);
	await_bytes(f, extent);
	return extent;
}

static void the_grant_of_a_killed_peer_can_be_revoked_and_its_blocks_reused(
	void **state)
{
	unsigned char key[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct fixture *f = *state;
	struct daxpin_extent extent = grant_to_hammer(f, key), next;

	peer_end(&peer);
	/* No call reports the peer's death: its grant is unchanged. */
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(about(f->grants[0]).state, DAXPIN_GRANT_STATE_GRANTED);
	assert_int_equal(take_back(f, 0), 0);
	next = reuse(f, extent);
	assert_int_equal(rdma_info(f).refusals, 0);
	is_untouched(f, next);
	/* The next peer has nothing of the dead one. */
	assert_int_equal(reconnect(f), 0);
	assert_int_equal(grant(f, 0, next, WRITE, 0), 0);
	peer = peer_begin();
	describe(f, 0, key);
	peer_go(f, &peer, key, 1);
	assert_int_equal(peer_result(&peer).status, 0);
	assert_int_equal(pattern_wrong(bytes(f, next), EXTENT_BYTES,
				       PEER_PATTERN), 0);
}

static void note_asking(void *arg, const struct daxpin_grant_key *key)
{
	assert_int_equal(key->length, EXTENT_BYTES);
	++*(unsigned int *)arg;
}

/*
 * The peer is asked to return the grant. It is stopped and does not answer; later it is
 * resumed and continues to write.
 */
static void a_stopped_peer_is_revoked_at_the_deadline(void **state)
{
	unsigned char key[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct fixture *f = *state;
	unsigned int asked = 0;
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .label = "stopped",
		.ask_back = note_asking, .arg = &asked, .qp = f->wire.qp,
	};
	struct daxpin_extent extent = reserve(f), next;
	struct daxpin_rdma_info info;

	memset(bytes(f, extent), 0, EXTENT_BYTES);
	assert_int_equal(daxpin_rdma_grant(f->rdma, extent, &options,
					   &f->grants[0]), 0);
	describe(f, 0, key);
	peer = peer_begin();
	peer_go(f, &peer, key, 0);
	await_bytes(f, extent);
	assert_int_equal(kill(peer.pid, SIGSTOP), 0);
	/*
	 * Long enough that even a busy machine sends the question before the deadline.
	 */
	assert_int_equal(daxpin_rdma_revoke_start(f->grants[0],
						  daxpin_deadline_ms(3000)), 0);
	assert_int_equal(asked, 1);
	do {
		assert_int_equal(daxpin_rdma_service(f->rdma), 0);
		info = rdma_info(f);
	} while (info.grants);
	assert_int_equal(info.expired, 1);
	assert_int_equal(info.ended, 1);
	f->grants[0] = NULL;
	next = reuse(f, extent);
	assert_int_equal(kill(peer.pid, SIGCONT), 0);
	assert_int_equal(peer_result(&peer).status, DENIED);
	is_untouched(f, next);
}

static void a_peer_that_continues_to_write_is_always_refused(void **state)
{
	unsigned char key[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct fixture *f = *state;
	struct daxpin_extent extent = grant_to_hammer(f, key), next;
	unsigned int i;

	assert_int_equal(take_back(f, 0), 0);
	next = reuse(f, extent);
	assert_int_equal(peer_result(&peer).status, DENIED);
	is_untouched(f, next);
	for (i = 0; i < 20; i++) {
		peer_go(f, &peer, key, 0);
		assert_int_equal(peer_result(&peer).status, DENIED);
		is_untouched(f, next);
	}
	/* A new grant to the same peer has another key. */
	assert_int_equal(grant(f, 0, next, WRITE, 0), 0);
	peer_go(f, &peer, key, 0);
	assert_int_equal(peer_result(&peer).status, DENIED);
	is_untouched(f, next);
	describe(f, 0, key);
	peer_go(f, &peer, key, 3);
	assert_int_equal(peer_result(&peer).status, 0);
	assert_int_equal(pattern_wrong(bytes(f, next), EXTENT_BYTES,
				       PEER_PATTERN), 0);
}

/* ------------------------------------------------------------- the executor */

struct executor {
	pthread_t thread;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
	int result;
};

static void *run_it(void *arg)
{
	struct executor *executor = arg;

	executor->fn(executor->arg);
	return NULL;
}

static int in_a_thread(void (*fn)(void *arg), void *arg, void *to)
{
	struct executor *executor = to;

	executor->fn = fn;
	executor->arg = arg;
	return pthread_create(&executor->thread, NULL, run_it, executor);
}

static void note_end(void *arg, int result)
{
	struct executor *executor = arg;

	executor->result = result;
	sem_post(&executor->done);
}

/* A second attachment, with threads, beside the fixture's. */
static void an_executor_thread_ends_a_grant_during_writes(void **state)
{
	struct executor executor = { .result = 1 };
	struct daxpin_rdma_options with_threads = {
		.size = sizeof(with_threads), .run = in_a_thread,
		.executor = &executor,
	};
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .done = note_end,
		.arg = &executor,
	};
	struct daxpin_grant_info info = { .size = sizeof(info) };
	unsigned char key[DAXPIN_GRANT_DESCRIPTOR_SIZE];
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f), next;
	struct daxpin_grant *grant;
	struct daxpin_rdma *rdma;

	sem_init(&executor.done, 0, 0);
	memset(bytes(f, extent), 0, EXTENT_BYTES);
	assert_int_equal(daxpin_rdma_attach(f->pool, f->nic.pd, &with_threads,
					    &rdma), 0);
	assert_int_equal(daxpin_rdma_grant(rdma, extent, &options, &grant), 0);
	assert_int_equal(daxpin_grant_export(grant, key, sizeof(key)),
			 sizeof(key));
	peer = peer_begin();
	peer_go(f, &peer, key, 0);
	await_bytes(f, extent);
	assert_int_equal(daxpin_rdma_revoke_start(grant, 0), 0);
	while (sem_wait(&executor.done))
		;
	assert_int_equal(executor.result, 0);
	assert_int_equal(daxpin_grant_info(grant, &info), -ESTALE);
	next = reuse(f, extent);
	assert_int_equal(peer_result(&peer).status, DENIED);
	is_untouched(f, next);
	pthread_join(executor.thread, NULL);
	assert_int_equal(daxpin_rdma_detach(rdma), 0);
	sem_destroy(&executor.done);
}

/* ------------------------------------------------------- escalation */

/* Binds to the target's own queue pair, which is older than the window (rdma.md R6). */
static struct ibv_mw *bind_window(struct fixture *f, struct ibv_mr *mr)
{
	struct ibv_mw *mw = ibv_alloc_mw(f->nic.pd, IBV_MW_TYPE_2);
	struct ibv_send_wr *bad, wr = {
		.opcode = IBV_WR_BIND_MW, .send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_wc wc;
	int count;

	assert_non_null(mw);
	wr.bind_mw.mw = mw;
	wr.bind_mw.rkey = ibv_inc_rkey(mw->rkey);
	wr.bind_mw.bind_info = (struct ibv_mw_bind_info) {
		.mr = mr, .addr = (uintptr_t)mr->addr, .length = 4096,
		.mw_access_flags = WRITE,
	};
	assert_int_equal(ibv_post_send(f->wire.qp, &wr, &bad), 0);
	while (!(count = ibv_poll_cq(f->wire.cq, 1, &wc)))
		;
	assert_int_equal(count, 1);
	assert_int_equal(wc.status, IBV_WC_SUCCESS);
	return mw;
}

/* A refusal of a real device: a window is bound to the region. */
static void a_region_under_a_bound_window_is_quarantined(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f), next;
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .qp = f->wire.qp,
	};
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;
	struct free_space free_space;
	struct ibv_mw *mw;

	verbs_hooks.more_access = IBV_ACCESS_MW_BIND;
	assert_int_equal(daxpin_rdma_grant(f->rdma, extent, &options,
					   &f->grants[0]), 0);
	verbs_hooks.more_access = 0;
	mw = bind_window(f, verbs_hooks.last_mr);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(take_back(f, 0), -EINVAL);
	assert_int_equal(about(f->grants[0]).escalation,
			 DAXPIN_GRANT_ESCALATION_QUARANTINE);
	assert_int_equal(rdma_info(f).queue_pairs_stopped, 1);
	assert_int_equal(rdma_info(f).quarantined, 1);
	assert_int_equal(ibv_query_qp(f->wire.qp, &attr, IBV_QP_STATE, &init),
			 0);
	assert_int_equal(attr.qp_state, IBV_QPS_ERR);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	free_space_reserve(&free_space, f->pool);
	assert_int_equal(free_space_overlap(&free_space, extent.addr, EXTENT_BYTES), 0);
	/* After the window is freed, the device ends the region. */
	assert_int_equal(ibv_dealloc_mw(mw), 0);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(rdma_info(f).quarantined, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_reserve(f->pool, EXTENT_BYTES, 0, &next), 0);
	assert_int_equal(next.addr, extent.addr);
	free_space_release(&free_space);
	assert_int_equal(reconnect(f), 0);
}

static void a_grant_can_be_revoked_after_its_queue_pair_was_destroyed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .qp = f->wire.qp,
	};
	struct daxpin_grant_key key;

	assert_int_equal(daxpin_rdma_grant(f->rdma, extent, &options,
					   &f->grants[0]), 0);
	key = key_of(f, 0);
	assert_int_equal(peer_write(f, &key, 0, EXTENT_BYTES), 0);
	assert_int_equal(daxpin_grant_qp(f->grants[0], NULL), 0);
	wire_close(&f->wire);
	assert_int_equal(take_back(f, 0), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(wire_open(&f->wire, &f->nic), 0);
	assert_int_equal(reconnect(f), 0);
}

/* --------------------------------------------- several domains and devices */

static bool own_device(void)
{
	int none_left = system("ip link del " OWN_NETDEV " 2>/dev/null");

	(void)none_left;
	if (!system("ip link add " OWN_NETDEV " type dummy && ip link set "
		    OWN_NETDEV " up && rdma link add " OWN_DEVICE
		    " type rxe netdev " OWN_NETDEV))
		return true;
	print_message("# skipped: this kernel makes no second device\n");
	return false;
}

/* Attaches a domain on another device, or a second one on the first. */
static void attach_other(struct fixture *f, const char *device, struct nic *nic,
			 struct daxpin_rdma **ret_rdma)
{
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .flags = DAXPIN_RDMA_NO_REGIONS,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	assert_int_equal(nic_open(nic, device), 0);
	assert_int_equal(daxpin_rdma_attach(f->pool, nic->pd, &options,
					    ret_rdma), 0);
}

static void domains_have_keys_of_their_own(void **state)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE,
	};
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_rdma *other;
	struct daxpin_grant *grant;
	struct daxpin_grant_key key;
	uint32_t one, two;
	struct nic nic;

	attach_other(f, rdma_device, &nic, &other);
	assert_int_equal(daxpin_rdma_lkey(f->rdma, extent.addr, &one), 0);
	assert_int_equal(daxpin_rdma_lkey(other, extent.addr, &two), 0);
	assert_int_not_equal(one, two);
	/* A key of the other domain gives no access through this one's queue pair. */
	assert_int_equal(daxpin_rdma_grant(other, extent, &options, &grant), 0);
	daxpin_grant_key(grant, &key);
	pattern_fill(bytes(f, extent), EXTENT_BYTES, OLD_PATTERN);
	assert_int_not_equal(peer_write(f, &key, 0, 4096), 0);
	is_untouched(f, extent);
	/* The detach of the first domain does not affect the other's keys. */
	assert_int_equal(daxpin_rdma_detach(f->rdma), 0);
	f->rdma = NULL;
	assert_int_equal(daxpin_rdma_lkey(other, extent.addr, &one), 0);
	assert_int_equal(one, two);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_rdma_detach(other), 0);
	assert_int_equal(nic_close(&nic), 0);
}

/*
 * Both devices have the segment pinned, so both must end their regions before the
 * punch.
 */
static void a_punch_waits_for_every_device(struct fixture *f,
					   struct daxpin_rdma *other)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = 1,
		.deadline_ns = daxpin_deadline_ms(60000),
	};
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_rdma_service(f->rdma), 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(200)),
			 -ETIMEDOUT);
	assert_int_equal(rdma_info(f).local_mrs, 0);
	assert_int_equal(daxpin_rdma_service(other), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	assert_int_equal(summary.result, 0);
	assert_true(summary.done_bytes > 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

static void a_reclaim_waits_for_the_service_of_every_device(void **state)
{
	struct fixture *f = *state;
	struct daxpin_segment segment;
	struct daxpin_rdma *other;
	uint32_t key;
	struct nic nic;

	if (!own_device())
		skip();
	attach_other(f, OWN_DEVICE, &nic, &other);
	assert_int_equal(daxpin_segment(f->pool, 1, &segment), 0);
	assert_int_equal(daxpin_rdma_lkey(f->rdma, segment.addr, &key), 0);
	assert_int_equal(daxpin_rdma_lkey(other, segment.addr, &key), 0);
	if (!here->device)	/* device-dax has nothing to punch */
		a_punch_waits_for_every_device(f, other);
	assert_int_equal(daxpin_rdma_detach(other), 0);
	assert_int_equal(nic_close(&nic), 0);
	assert_int_equal(system("rdma link del " OWN_DEVICE), 0);
	assert_int_equal(system("ip link del " OWN_NETDEV), 0);
}

/*
 * A kernel that keeps the device until its contexts are closed allows a new grant. One
 * that ends its regions at the removal refuses it, and then no hold may remain.
 */
static void grant_after_the_removal(struct fixture *f, struct daxpin_rdma *other,
				    const struct daxpin_grant_options *options)
{
	struct daxpin_grant *grant = NULL;
	struct daxpin_extent extent = reserve(f);
	int ret = daxpin_rdma_grant(other, extent, options, &grant);

	print_message("# a grant after the removal: %d\n", ret);
	assert_int_equal(daxpin_idle(f->pool, extent), ret != 0);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void a_removed_device_still_ends_its_regions(void **state)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE,
	};
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f);
	struct daxpin_grant *grant;
	struct daxpin_rdma *other;
	struct nic nic;
	uint32_t key;

	if (!own_device())
		skip();
	attach_other(f, OWN_DEVICE, &nic, &other);
	assert_int_equal(daxpin_rdma_lkey(other, extent.addr, &key), 0);
	assert_int_equal(daxpin_rdma_grant(other, extent, &options, &grant), 0);
	assert_int_equal(system("rdma link del " OWN_DEVICE " & sleep 1"), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	grant_after_the_removal(f, other, &options);
	assert_int_equal(daxpin_rdma_revoke(grant), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(daxpin_rdma_detach(other), 0);
	assert_int_equal(nic_close(&nic), 0);
	assert_int_equal(system("ip link del " OWN_NETDEV), 0);
}

/* -------------------------------------------------------------- limits */

/* Steps of a process with a small RLIMIT_MEMLOCK, which the parent observes. */
static int take_one_segment(void *arg, int fd)
{
	struct fixture *f = arg;
	struct daxpin_rdma_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;
	struct ibv_sge sge;
	uint32_t one, two;

	if (!drop_privileges(NOBODY, 40u << 20) ||
	    daxpin_pool_open(f->path, NULL, &f->pool) ||
	    nic_open(&f->nic, rdma_device) || attach(f))
		return 1;
	if (daxpin_rdma_lkey(f->rdma, 0, &one))
		return 2;
	if (!send_step(fd) || !await_step(fd))
		return 3;
	/* The limit is reached midway. Nothing of the second region stays pinned. */
	if (daxpin_rdma_lkey(f->rdma, DAXPIN_SEGMENT_MIN, &two) != -ENOMEM)
		return 4;
	if (daxpin_reserve(f->pool, 16u << 20, 0, &extent) ||
	    grant(f, 0, extent, WRITE, 0) != -ENOMEM ||
	    daxpin_idle(f->pool, extent) != 1)
		return 5;
	if (!send_step(fd) || !await_step(fd))
		return 6;
	if (daxpin_rdma_lkey(f->rdma, 0, &two) || one != two ||
	    daxpin_rdma_info(f->rdma, &info) || info.local_mrs != 1 ||
	    info.grants)
		return 7;
	if (daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE))
		return 8;
	if (extent.addr < DAXPIN_SEGMENT_MIN &&
	    daxpin_rdma_sge(f->rdma, extent, 0, 4096, &sge))
		return 9;
	if (daxpin_drop(f->pool, extent) || daxpin_rdma_detach(f->rdma) ||
	    daxpin_pool_close(f->pool))
		return 10;
	return 0;
}

static void a_grant_that_exceeds_memlock_leaves_nothing_pinned(void **state)
{
	const struct place *place = *state;
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_OVERWRITE,
		.pool_size = place->device ? 0 : UINT64_C(128) << 20,
		.segment_size = DAXPIN_SEGMENT_MIN,
		.deadline_ns = daxpin_deadline_ms(600000),
	};
	const long long pages = DAXPIN_SEGMENT_MIN / 4096;
	struct fixture f = { .errmsg = "" };
	struct child child;
	long long before;
	struct stat mode;
	int status;

	assert_int_equal(make_pool(place, f.path, &f.pool), 0);
	assert_int_equal(daxpin_pool_close(f.pool), 0);
	assert_int_equal(daxpin_pool_create(f.path, &options, &f.pool), 0);
	assert_int_equal(daxpin_pool_close(f.pool), 0);
	assert_int_equal(stat(f.path, &mode), 0);
	assert_int_equal(allow_nobody(f.path), 0);
	before = pinned_pages();
	child = fork_child(take_one_segment, &f);
	while (await_step(child.fd)) {
		/*
		 * The same number of pages after the first step and after the failures.
		 */
		assert_int_equal(pinned_pages() - before, pages);
		assert_true(send_step(child.fd));
	}
	status = end_child(&child);
	assert_int_equal(chmod(f.path, mode.st_mode & 07777), 0);
	if (!place->device)
		remove_tree(f.path);
	assert_int_equal(status, 0);
	assert_int_equal(pinned_pages(), before);
}

/*
 * Registers the largest segment as one region, the most that soft-RoCE can (rdma.md
 * R11).
 */
static void the_largest_segment_is_one_region(void **state)
{
	const struct place *place = *state;
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_OVERWRITE,
		.segment_size = DAXPIN_SEGMENT_MAX,
		.deadline_ns = daxpin_deadline_ms(600000),
	};
	struct daxpin_segment segment = { .base = NULL };
	const long long before = pinned_pages();
	struct fixture f = { .errmsg = "" };
	uint32_t first, last;

	if (!place->device) {
		print_message("# skipped: shmem of 1 GiB is more memory than this guest has\n");
		skip();
	}
	assert_int_equal(daxpin_pool_create(place->device, &options, &f.pool),
			 0);
	/* A device smaller than 1 GiB has a shorter one. */
	assert_int_equal(daxpin_segment(f.pool, 0, &segment), 0);
	print_message("# of %llu MiB\n", (unsigned long long)segment.size >> 20);
	assert_int_equal(nic_open(&f.nic, rdma_device), 0);
	assert_int_equal(attach(&f), 0);
	assert_int_equal(daxpin_rdma_lkey(f.rdma, 0, &first), 0);
	assert_int_equal(daxpin_rdma_lkey(f.rdma, segment.size - 1, &last), 0);
	assert_int_equal(first, last);
	assert_int_equal(pinned_pages() - before, segment.size / 4096);
	assert_int_equal(daxpin_rdma_detach(f.rdma), 0);
	assert_int_equal(nic_close(&f.nic), 0);
	assert_int_equal(daxpin_pool_close(f.pool), 0);
	assert_int_equal(pinned_pages(), before);
}

int main(int argc, char **argv)
{
	static struct place place = { .name = "shmem" };
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, begin, \
							    finish, &place)
#define ALONE(name) cmocka_unit_test_prestate(name, &place)
	const struct CMUnitTest tests[] = {
		TEST(the_grant_of_a_killed_peer_can_be_revoked_and_its_blocks_reused),
		TEST(a_stopped_peer_is_revoked_at_the_deadline),
		TEST(a_peer_that_continues_to_write_is_always_refused),
		TEST(an_executor_thread_ends_a_grant_during_writes),
		TEST(a_region_under_a_bound_window_is_quarantined),
		TEST(a_grant_can_be_revoked_after_its_queue_pair_was_destroyed),
		TEST(domains_have_keys_of_their_own),
		TEST(a_reclaim_waits_for_the_service_of_every_device),
		TEST(a_removed_device_still_ends_its_regions),
		ALONE(a_grant_that_exceeds_memlock_leaves_nothing_pinned),
		ALONE(the_largest_segment_is_one_region),
	};

	/* Tests of the device only are the same on all memory, so they run once. */
	const struct CMUnitTest memory[] = {
		TEST(a_peer_that_continues_to_write_is_always_refused),
		TEST(a_reclaim_waits_for_the_service_of_every_device),
		ALONE(a_grant_that_exceeds_memlock_leaves_nothing_pinned),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1 && !strcmp(argv[1], "devdax"))
		place.device = getenv("DAXPIN_TEST_DAX");
	if (place.device || argc > 2)
		return cmocka_run_group_tests(tests, NULL, NULL);
	return cmocka_run_group_tests(memory, NULL, NULL);
}
