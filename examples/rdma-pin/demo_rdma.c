/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A remote peer writes into the pool by RDMA, without the CPU. Its extent is retired
 * while it continues to write. The blocks are not reused before its key is revoked, and
 * nothing that it sends later can reach their next owner.
 *
 * With --unsafe the same accesses are made at the same times, but the program registers
 * the memory region itself, without daxpin's knowledge.
 */
#include <daxpin-rdma.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include "narrate.h"
#include "peer.h"
#include "rdma-pin.h"
#include "space.h"

#define EXTENT_BYTES	(UINT64_C(1) << 20)
#define HAMMER_BYTES	(UINT64_C(64) << 10)
#define PATTERN_PEER	0x11
#define PATTERN_NEW	0x22
#define PATTERN_STALE	0x33
#define EVENT_MS	10000

struct demo {
	struct stage *stage;
	struct daxpin_pool *pool;
	struct daxpin_rdma *rdma;
	struct nic nic;
	struct peer writer, reader;
	struct daxpin_extent extent;
	struct daxpin_grant *grant;	/* the writer's */
	struct ibv_mr *mr;		/* --unsafe: used instead of the grant */
	struct daxpin_grant_key key;
	struct free_space free_space;
};

/* ------------------------------------------------- granting and writing */

/* Registers the memory region as a program does that uses only verbs. */
static void grant_unsafe(struct demo *demo)
{
	void *base = daxpin_ptr(demo->pool, demo->extent, 0);

	memset(base, 0, EXTENT_BYTES);
	demo->mr = ibv_reg_mr(demo->nic.pd, base, EXTENT_BYTES,
			      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
			      IBV_ACCESS_REMOTE_READ);
	if (!demo->mr)
		give_up("ibv_reg_mr: %s", strerror(errno));
	demo->key.addr = (uintptr_t)base;
	demo->key.length = EXTENT_BYTES;
	demo->key.rkey = demo->mr->rkey;
}

static void grant_writer(struct demo *demo)
{
	char errmsg[256] = "";
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_GRANT_ZERO,
		.access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
		.label = "rdma writer",
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	uint64_t begin;

	must(daxpin_reserve(demo->pool, EXTENT_BYTES, 0, &demo->extent),
	     "daxpin_reserve");
	fact("addr", demo->extent.addr);
	fact("bytes", EXTENT_BYTES);
	print_event("reserve", "an extent of %" PRIu64 " bytes is reserved at pool address 0x%" PRIx64,
		    EXTENT_BYTES, demo->extent.addr);
	begin = now_ns();
	if (demo->stage->unsafe) {
		grant_unsafe(demo);
	} else {
		if (daxpin_rdma_grant(demo->rdma, demo->extent, &options,
				      &demo->grant))
			give_up("daxpin_rdma_grant: %s", errmsg);
		daxpin_grant_key(demo->grant, &demo->key);
	}
	fact("rkey", demo->key.rkey);
	fact("us", (now_ns() - begin) / 1000);
	print_event("grant", "it is zeroed and %s the writer, a remote peer: rkey 0x%x for exactly %" PRIu64 " bytes, in %.2f ms",
		    demo->stage->unsafe ? "registered by hand for" : "granted to",
		    demo->key.rkey, demo->key.length, ms_since(begin));
}

static void peer_writes(struct demo *demo)
{
	struct order order = {
		.type = ORDER_WRITE,
		.remote = demo->key.addr,
		.length = EXTENT_BYTES,
		.rkey = demo->key.rkey,
		.seed = PATTERN_PEER,
	};
	struct report report;
	uint64_t wrong;

	peer_ask(&demo->writer, &order, &report);
	wrong = pattern_wrong(daxpin_ptr(demo->pool, demo->extent, 0),
			      EXTENT_BYTES, PATTERN_PEER);
	fact("bytes", EXTENT_BYTES - wrong);
	fact("us", (report.end_ns - report.begin_ns) / 1000);
	claim(!report.status && !wrong, "write",
	      "the writer (process %d) writes %" PRIu64 " bytes by RDMA in %.1f ms; this process makes no call",
	      (int)demo->writer.pid, EXTENT_BYTES - wrong,
	      (double)(report.end_ns - report.begin_ns) / 1e6);
}

/* Makes a second grant for the reader. With --unsafe both peers have one key. */
static struct daxpin_grant *grant_reader(struct demo *demo,
					 struct daxpin_grant_key *ret_key)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.access = IBV_ACCESS_REMOTE_READ,
		.label = "rdma reader",
	};
	struct daxpin_grant *grant = NULL;
	int err;

	*ret_key = demo->key;
	if (demo->stage->unsafe)
		return NULL;
	err = daxpin_rdma_grant(demo->rdma, demo->extent, &options, &grant);
	claim(err == -EPERM, "expose",
	      "a second peer gets no grant to read unpublished bytes without DAXPIN_GRANT_EXPOSE: %s",
	      err ? strerror(-err) : "no error");
	options.flags = DAXPIN_GRANT_EXPOSE;
	must(daxpin_rdma_grant(demo->rdma, demo->extent, &options, &grant),
	     "daxpin_rdma_grant");
	daxpin_grant_key(grant, ret_key);
	return grant;
}

static void reader_reads(struct demo *demo)
{
	struct order order = {
		.type = ORDER_READ,
		.length = EXTENT_BYTES,
		.seed = PATTERN_PEER,
	};
	struct daxpin_grant_key key;
	struct daxpin_grant *grant;
	struct report report;

	grant = grant_reader(demo, &key);
	order.remote = key.addr;
	order.rkey = key.rkey;
	peer_ask(&demo->reader, &order, &report);
	fact("bytes", EXTENT_BYTES - report.wrong);
	claim(!report.status && !report.wrong, "read",
	      "the reader (process %d) reads them by RDMA: %" PRIu64 " of %" PRIu64 " bytes are what the writer wrote",
	      (int)demo->reader.pid, EXTENT_BYTES - report.wrong, EXTENT_BYTES);
	must(daxpin_rdma_revoke(grant), "daxpin_rdma_revoke");
}

static void keep(struct demo *demo)
{
	uint64_t begin;
	int err;

	if (!demo->stage->unsafe) {
		err = publish(demo->pool, demo->extent, DAXPIN_OP_KEEP, 0);
		claim(err == -EBUSY, "keep",
		      "a publish is refused while the writer may still write: %s",
		      err ? strerror(-err) : "no error");
	}
	begin = now_ns();
	err = publish(demo->pool, demo->extent, DAXPIN_OP_KEEP,
		      DAXPIN_OP_WRITERS);
	fact("us", (now_ns() - begin) / 1000);
	claim(!err, "keep", "%s: durable in %.2f ms",
	      demo->stage->unsafe ? "the extent is published while the writer has its key" :
	      "with DAXPIN_OP_WRITERS the extent is published", ms_since(begin));
}

/* -------------------------------------------------------------- retiring */

/* The number of the writer's last write, which is in the first word. */
static uint64_t landed(const struct demo *demo)
{
	return *(const volatile uint64_t *)(uintptr_t)demo->key.addr;
}

static bool wait_landed(const struct demo *demo, uint64_t count)
{
	uint64_t begin = now_ns();

	while (landed(demo) < count && ms_since(begin) < EVENT_MS)
		sleep_ms(1);
	return landed(demo) >= count;
}

static void start_hammer(struct demo *demo)
{
	struct order order = {
		.type = ORDER_HAMMER,
		.remote = demo->key.addr,
		.length = HAMMER_BYTES,
		.rkey = demo->key.rkey,
		.seed = PATTERN_STALE,
	};

	/* landed() reads this word as a number; the old pattern must not be in it. */
	memset((void *)(uintptr_t)demo->key.addr, 0, sizeof(uint64_t));
	peer_order(&demo->writer, &order);
	if (!wait_landed(demo, 2))
		give_up("the writer's writes do not arrive within 10 s");
	print_event("hammer", "the writer keeps writing: %" PRIu64 " writes of %" PRIu64 " bytes have arrived so far",
		    landed(demo), HAMMER_BYTES);
}

static void retire(struct demo *demo)
{
	uint64_t before;
	bool goes_on;
	int err;

	err = publish(demo->pool, demo->extent, DAXPIN_OP_RETIRE, 0);
	before = landed(demo);
	goes_on = wait_landed(demo, before + 2);
	fact("writes_after", landed(demo) - before);
	claim(!err && goes_on, "retire",
	      "the extent is retired; the writer does not know that, and %" PRIu64 " more writes arrive",
	      landed(demo) - before);
}

/* Reserves everything that is free. The extent's blocks must not be in it. */
static void reuse_is_deferred(struct demo *demo)
{
	struct daxpin_extent extent;
	uint64_t overlap;
	int holds, err;

	holds = print_holders(demo->pool, demo->extent);
	claim(holds == 1 && !daxpin_idle(demo->pool, demo->extent), "busy",
	      "so the extent is not idle: it has %d hold", holds);
	free_space_reserve(&demo->free_space, demo->pool);
	overlap = free_space_overlap(&demo->free_space, demo->extent.addr,
				     EXTENT_BYTES);
	err = daxpin_reserve(demo->pool, DAXPIN_BLOCK_SIZE, 0, &extent);
	fact("extents", demo->free_space.count);
	fact("bytes", demo->free_space.bytes);
	claim(!overlap && err == -ENOSPC, "deferred",
	      "all %" PRIu64 " other free bytes are reserved (%zu extents), then the pool is full: the extent's blocks are not reused",
	      demo->free_space.bytes, demo->free_space.count);
}

static bool next_is_idle(struct daxpin_pool *pool, struct daxpin_watch *watch)
{
	struct pollfd pollfd = {
		.fd = daxpin_event_fd(pool),
		.events = POLLIN,
	};
	struct daxpin_event event;

	return poll(&pollfd, 1, EVENT_MS) == 1 &&
	       daxpin_next_event(pool, &event) == 1 &&
	       event.type == DAXPIN_EVENT_IDLE && event.watch == watch;
}

static void take_back(struct demo *demo)
{
	struct daxpin_watch watch = { .arg = NULL };
	struct report report;
	uint64_t begin;
	bool idle;
	int err;

	must(daxpin_watch(demo->pool, demo->extent, NULL, &watch),
	     "daxpin_watch");
	daxpin_event_arm(demo->pool);
	begin = now_ns();
	err = daxpin_rdma_revoke(demo->grant);
	fact("us", (now_ns() - begin) / 1000);
	claim(!err, "revoke", "the writer's key is revoked in %.2f ms, while the writer writes",
	      ms_since(begin));
	peer_report(&demo->writer, &report);
	fact("writes", report.count);
	claim(report.status == IBV_WC_REM_ACCESS_ERR, "refused",
	      "after %" PRIu64 " writes the writer's next write fails: %s",
	      report.count, ibv_wc_status_str((enum ibv_wc_status)report.status));
	idle = next_is_idle(demo->pool, &watch);
	claim(idle && daxpin_wait_idle(demo->pool, demo->extent, 0) == 0,
	      "idle", "the pool reports the event that the extent is idle");
}

/* ------------------------------------------------------------------ reuse */

static void reuse(struct demo *demo, struct daxpin_extent *ret_extent)
{
	int err, stale;

	err = daxpin_reserve(demo->pool, EXTENT_BYTES, 0, ret_extent);
	if (err)
		give_up("daxpin_reserve: %s", strerror(-err));
	stale = daxpin_hold(demo->pool, demo->extent, DAXPIN_HOLD_READ);
	claim(ret_extent->addr == demo->extent.addr && stale == -ESTALE,
	      "reuse", "only now a reserve gets the same blocks, at 0x%" PRIx64 "; a hold with the old handle fails: %s",
	      ret_extent->addr, stale ? strerror(-stale) : "no error");
	pattern_fill(daxpin_ptr(demo->pool, *ret_extent, 0), EXTENT_BYTES,
		     PATTERN_NEW);
}

static int write_again(struct demo *demo)
{
	struct order order = {
		.type = ORDER_WRITE,
		.remote = demo->key.addr,
		.length = EXTENT_BYTES,
		.rkey = demo->key.rkey,
		.seed = PATTERN_STALE,
	};
	struct report report;

	/* The peer's queue pair is in error and would send nothing. */
	peer_connect(&demo->writer);
	peer_ask(&demo->writer, &order, &report);
	return report.status;
}

static void run_safe(struct demo *demo)
{
	struct daxpin_extent extent;
	uint64_t wrong;
	int status;

	reuse_is_deferred(demo);
	take_back(demo);
	reuse(demo, &extent);
	status = write_again(demo);
	claim(status == IBV_WC_REM_ACCESS_ERR, "stale",
	      "the writer reconnects and writes with its old key: %s",
	      ibv_wc_status_str((enum ibv_wc_status)status));
	wrong = pattern_wrong(daxpin_ptr(demo->pool, extent, 0), EXTENT_BYTES,
			      PATTERN_NEW);
	fact("bytes", EXTENT_BYTES - wrong);
	claim(!wrong, "intact",
	      "the new extent's bytes are intact: %" PRIu64 " of %" PRIu64,
	      EXTENT_BYTES - wrong, EXTENT_BYTES);
	must(daxpin_cancel(demo->pool, extent), "daxpin_cancel");
}

static void run_unsafe(struct demo *demo)
{
	struct order stop = { .type = ORDER_STOP };
	const uint64_t addr = demo->extent.addr;
	struct report report;
	uint64_t wrong, overlap;
	int status;

	free_space_reserve(&demo->free_space, demo->pool);
	overlap = free_space_overlap(&demo->free_space, addr, EXTENT_BYTES);
	free_space_fill(&demo->free_space, addr, EXTENT_BYTES, PATTERN_NEW);
	print_event("reuse", "daxpin does not know of the writer, so the next reserve gets %" PRIu64 " of the %" PRIu64 " bytes, and the program fills them",
		    overlap, EXTENT_BYTES);
	sleep_ms(200);
	peer_order(&demo->writer, &stop);
	peer_report(&demo->writer, &report);
	wrong = free_space_wrong(&demo->free_space, addr, EXTENT_BYTES, PATTERN_NEW);
	fact("corrupted_bytes", wrong);
	print_event("corrupted", "the writer's writes still arrive (%s): %" PRIu64 " of the new extent's bytes are destroyed",
		    ibv_wc_status_str((enum ibv_wc_status)report.status), wrong);
	status = write_again(demo);
	wrong = free_space_wrong(&demo->free_space, addr, EXTENT_BYTES, PATTERN_NEW);
	demo->stage->corrupted = wrong;
	fact("corrupted_bytes", wrong);
	claim(!status && wrong, "corrupted", "the writer writes again with its old key: %s; %" PRIu64 " bytes are destroyed, and no call reports an error",
	      ibv_wc_status_str((enum ibv_wc_status)status), wrong);
	if (ibv_dereg_mr(demo->mr))
		give_up("ibv_dereg_mr: %s", strerror(errno));
}

/* -------------------------------------------------------------- beginning */

/* Returns false, with stage->no_rdma, if the pool's memory does not support RDMA. */
static bool attach(struct demo *demo)
{
	static char errmsg[256];
	struct daxpin_rdma_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_RDMA_NO_REGIONS,
		.label = "rdma-pin",
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	int err;

	err = nic_open(&demo->nic, demo->stage->device);
	if (err)
		give_up("the RDMA device %s cannot be used: %s: it needs an active port with an address, and access to /dev/infiniband",
			demo->stage->device, strerror(-err));
	err = daxpin_rdma_attach(demo->pool, demo->nic.pd, &options,
				 &demo->rdma);
	if (err == -EOPNOTSUPP) {
		demo->stage->no_rdma = errmsg;
		must(nic_close(&demo->nic), "closing the device");
		return false;
	}
	if (err)
		give_up("daxpin_rdma_attach: %s (%s)", errmsg, strerror(-err));
	if (demo->stage->unsafe) {
		must(daxpin_rdma_detach(demo->rdma), "daxpin_rdma_detach");
		demo->rdma = NULL;
	}
	return true;
}

static void connect_peer(struct demo *demo, struct peer *peer)
{
	must(wire_open(&peer->wire, &demo->nic), "a queue pair");
	peer_connect(peer);
}

static void run_demo(struct demo *demo)
{
	connect_peer(demo, &demo->writer);
	connect_peer(demo, &demo->reader);
	grant_writer(demo);
	peer_writes(demo);
	reader_reads(demo);
	keep(demo);
	start_hammer(demo);
	retire(demo);
	if (demo->stage->unsafe)
		run_unsafe(demo);
	else
		run_safe(demo);
	free_space_release(&demo->free_space);
	wire_close(&demo->writer.wire);
	wire_close(&demo->reader.wire);
	must(daxpin_rdma_detach(demo->rdma), "daxpin_rdma_detach");
	must(nic_close(&demo->nic), "closing the device");
}

void demo_rdma(struct stage *stage)
{
	struct demo demo = { .stage = stage };

	print_section("rdma", "a remote peer writes to an extent of %s, by the device %s%s",
		      stage->pool_path, stage->device,
		      stage->unsafe ? ", without daxpin's protection" : "");
	/* Before the pool is opened, since a child cannot use its parent's pool. */
	peer_start(&demo.writer, "the writer", stage->device);
	peer_start(&demo.reader, "the reader", stage->device);
	demo.pool = open_pool(stage, 5000);
	if (attach(&demo))
		run_demo(&demo);
	else
		print_event("skip", "skipped: %s", stage->no_rdma);
	close_pool(demo.pool);
	peer_end(&demo.writer);
	peer_end(&demo.reader);
}
