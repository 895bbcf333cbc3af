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

struct tale {
	struct stage *stage;
	struct daxpin_pool *pool;
	struct daxpin_rdma *rdma;
	struct nic nic;
	struct peer writer, reader;
	struct daxpin_extent extent;
	struct daxpin_grant *grant;	/* the writer's */
	struct ibv_mr *mr;		/* --unsafe: used instead of the grant */
	struct daxpin_grant_key key;
	struct hoard hoard;
};

/* ------------------------------------------------- granting and writing */

/* Registers the memory region as a program does that uses only verbs. */
static void grant_unsafe(struct tale *tale)
{
	void *base = daxpin_ptr(tale->pool, tale->extent, 0);

	memset(base, 0, EXTENT_BYTES);
	tale->mr = ibv_reg_mr(tale->nic.pd, base, EXTENT_BYTES,
			      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
			      IBV_ACCESS_REMOTE_READ);
	if (!tale->mr)
		give_up("ibv_reg_mr: %s", strerror(errno));
	tale->key.addr = (uintptr_t)base;
	tale->key.length = EXTENT_BYTES;
	tale->key.rkey = tale->mr->rkey;
}

static void grant_writer(struct tale *tale)
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

	must(daxpin_reserve(tale->pool, EXTENT_BYTES, 0, &tale->extent),
	     "daxpin_reserve");
	fact("addr", tale->extent.addr);
	fact("bytes", EXTENT_BYTES);
	say("reserve", "an extent of %" PRIu64 " bytes is reserved at pool address 0x%" PRIx64,
	    EXTENT_BYTES, tale->extent.addr);
	begin = now_ns();
	if (tale->stage->unsafe) {
		grant_unsafe(tale);
	} else {
		if (daxpin_rdma_grant(tale->rdma, tale->extent, &options,
				      &tale->grant))
			give_up("daxpin_rdma_grant: %s", errmsg);
		daxpin_grant_key(tale->grant, &tale->key);
	}
	fact("rkey", tale->key.rkey);
	fact("us", (now_ns() - begin) / 1000);
	say("grant", "it is zeroed and %s the writer, a remote peer: rkey 0x%x for exactly %" PRIu64 " bytes, in %.2f ms",
	    tale->stage->unsafe ? "registered by hand for" : "granted to",
	    tale->key.rkey, tale->key.length, ms_since(begin));
}

static void peer_writes(struct tale *tale)
{
	struct order order = {
		.type = ORDER_WRITE,
		.remote = tale->key.addr,
		.length = EXTENT_BYTES,
		.rkey = tale->key.rkey,
		.seed = PATTERN_PEER,
	};
	struct report report;
	uint64_t wrong;

	peer_ask(&tale->writer, &order, &report);
	wrong = pattern_wrong(daxpin_ptr(tale->pool, tale->extent, 0),
			      EXTENT_BYTES, PATTERN_PEER);
	fact("bytes", EXTENT_BYTES - wrong);
	fact("us", (report.end_ns - report.begin_ns) / 1000);
	claim(!report.status && !wrong, "write",
	      "the writer (process %d) writes %" PRIu64 " bytes by RDMA in %.1f ms; this process makes no call",
	      (int)tale->writer.pid, EXTENT_BYTES - wrong,
	      (double)(report.end_ns - report.begin_ns) / 1e6);
}

/* Makes a second grant for the reader. With --unsafe both peers have one key. */
static struct daxpin_grant *grant_reader(struct tale *tale,
					 struct daxpin_grant_key *ret_key)
{
	struct daxpin_grant_options options = {
		.size = sizeof(options),
		.access = IBV_ACCESS_REMOTE_READ,
		.label = "rdma reader",
	};
	struct daxpin_grant *grant = NULL;
	int err;

	*ret_key = tale->key;
	if (tale->stage->unsafe)
		return NULL;
	err = daxpin_rdma_grant(tale->rdma, tale->extent, &options, &grant);
	claim(err == -EPERM, "expose",
	      "a second peer gets no grant to read unpublished bytes without DAXPIN_GRANT_EXPOSE: %s",
	      err ? strerror(-err) : "no error");
	options.flags = DAXPIN_GRANT_EXPOSE;
	must(daxpin_rdma_grant(tale->rdma, tale->extent, &options, &grant),
	     "daxpin_rdma_grant");
	daxpin_grant_key(grant, ret_key);
	return grant;
}

static void reader_reads(struct tale *tale)
{
	struct order order = {
		.type = ORDER_READ,
		.length = EXTENT_BYTES,
		.seed = PATTERN_PEER,
	};
	struct daxpin_grant_key key;
	struct daxpin_grant *grant;
	struct report report;

	grant = grant_reader(tale, &key);
	order.remote = key.addr;
	order.rkey = key.rkey;
	peer_ask(&tale->reader, &order, &report);
	fact("bytes", EXTENT_BYTES - report.wrong);
	claim(!report.status && !report.wrong, "read",
	      "the reader (process %d) reads them by RDMA: %" PRIu64 " of %" PRIu64 " bytes are what the writer wrote",
	      (int)tale->reader.pid, EXTENT_BYTES - report.wrong, EXTENT_BYTES);
	must(daxpin_rdma_revoke(grant), "daxpin_rdma_revoke");
}

static void keep(struct tale *tale)
{
	uint64_t begin;
	int err;

	if (!tale->stage->unsafe) {
		err = publish(tale->pool, tale->extent, DAXPIN_OP_KEEP, 0);
		claim(err == -EBUSY, "keep",
		      "a publish is refused while the writer may still write: %s",
		      err ? strerror(-err) : "no error");
	}
	begin = now_ns();
	err = publish(tale->pool, tale->extent, DAXPIN_OP_KEEP,
		      DAXPIN_OP_WRITERS);
	fact("us", (now_ns() - begin) / 1000);
	claim(!err, "keep", "%s: durable in %.2f ms",
	      tale->stage->unsafe ? "the extent is published while the writer has its key" :
	      "with DAXPIN_OP_WRITERS the extent is published", ms_since(begin));
}

/* -------------------------------------------------------------- retiring */

/* The number of the writer's last write, which is in the first word. */
static uint64_t landed(const struct tale *tale)
{
	return *(const volatile uint64_t *)(uintptr_t)tale->key.addr;
}

static bool wait_landed(const struct tale *tale, uint64_t count)
{
	uint64_t begin = now_ns();

	while (landed(tale) < count && ms_since(begin) < EVENT_MS)
		sleep_ms(1);
	return landed(tale) >= count;
}

static void start_hammer(struct tale *tale)
{
	struct order order = {
		.type = ORDER_HAMMER,
		.remote = tale->key.addr,
		.length = HAMMER_BYTES,
		.rkey = tale->key.rkey,
		.seed = PATTERN_STALE,
	};

	/* landed() reads this word as a number; the old pattern must not be in it. */
	memset((void *)(uintptr_t)tale->key.addr, 0, sizeof(uint64_t));
	peer_order(&tale->writer, &order);
	if (!wait_landed(tale, 2))
		give_up("the writer's writes do not arrive within 10 s");
	say("hammer", "the writer keeps writing: %" PRIu64 " writes of %" PRIu64 " bytes have arrived so far",
	    landed(tale), HAMMER_BYTES);
}

static void retire(struct tale *tale)
{
	uint64_t before;
	bool goes_on;
	int err;

	err = publish(tale->pool, tale->extent, DAXPIN_OP_RETIRE, 0);
	before = landed(tale);
	goes_on = wait_landed(tale, before + 2);
	fact("writes_after", landed(tale) - before);
	claim(!err && goes_on, "retire",
	      "the extent is retired; the writer does not know that, and %" PRIu64 " more writes arrive",
	      landed(tale) - before);
}

/* Reserves everything that is free. The extent's blocks must not be in it. */
static void reuse_is_deferred(struct tale *tale)
{
	struct daxpin_extent extent;
	uint64_t overlap;
	int holds, err;

	holds = tell_holders(tale->pool, tale->extent);
	claim(holds == 1 && !daxpin_idle(tale->pool, tale->extent), "busy",
	      "so the extent is not idle: it has %d hold", holds);
	hoard_take(&tale->hoard, tale->pool);
	overlap = hoard_overlap(&tale->hoard, tale->extent.addr, EXTENT_BYTES);
	err = daxpin_reserve(tale->pool, DAXPIN_BLOCK_SIZE, 0, &extent);
	fact("extents", tale->hoard.count);
	fact("bytes", tale->hoard.bytes);
	claim(!overlap && err == -ENOSPC, "deferred",
	      "all %" PRIu64 " other free bytes are reserved (%zu extents), then the pool is full: the extent's blocks are not reused",
	      tale->hoard.bytes, tale->hoard.count);
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

static void take_back(struct tale *tale)
{
	struct daxpin_watch watch = { .arg = NULL };
	struct report report;
	uint64_t begin;
	bool idle;
	int err;

	must(daxpin_watch(tale->pool, tale->extent, NULL, &watch),
	     "daxpin_watch");
	daxpin_event_arm(tale->pool);
	begin = now_ns();
	err = daxpin_rdma_revoke(tale->grant);
	fact("us", (now_ns() - begin) / 1000);
	claim(!err, "revoke", "the writer's key is revoked in %.2f ms, while the writer writes",
	      ms_since(begin));
	peer_report(&tale->writer, &report);
	fact("writes", report.count);
	claim(report.status == IBV_WC_REM_ACCESS_ERR, "refused",
	      "after %" PRIu64 " writes the writer's next write fails: %s",
	      report.count, ibv_wc_status_str((enum ibv_wc_status)report.status));
	idle = next_is_idle(tale->pool, &watch);
	claim(idle && daxpin_wait_idle(tale->pool, tale->extent, 0) == 0,
	      "idle", "the pool reports the event that the extent is idle");
}

/* ------------------------------------------------------------------ reuse */

static void reuse(struct tale *tale, struct daxpin_extent *ret_extent)
{
	int err, stale;

	err = daxpin_reserve(tale->pool, EXTENT_BYTES, 0, ret_extent);
	if (err)
		give_up("daxpin_reserve: %s", strerror(-err));
	stale = daxpin_hold(tale->pool, tale->extent, DAXPIN_HOLD_READ);
	claim(ret_extent->addr == tale->extent.addr && stale == -ESTALE,
	      "reuse", "only now a reserve gets the same blocks, at 0x%" PRIx64 "; a hold with the old handle fails: %s",
	      ret_extent->addr, stale ? strerror(-stale) : "no error");
	pattern_fill(daxpin_ptr(tale->pool, *ret_extent, 0), EXTENT_BYTES,
		     PATTERN_NEW);
}

static int write_again(struct tale *tale)
{
	struct order order = {
		.type = ORDER_WRITE,
		.remote = tale->key.addr,
		.length = EXTENT_BYTES,
		.rkey = tale->key.rkey,
		.seed = PATTERN_STALE,
	};
	struct report report;

	/* The peer's queue pair is in error and would send nothing. */
	peer_connect(&tale->writer);
	peer_ask(&tale->writer, &order, &report);
	return report.status;
}

static void tell_safe(struct tale *tale)
{
	struct daxpin_extent extent;
	uint64_t wrong;
	int status;

	reuse_is_deferred(tale);
	take_back(tale);
	reuse(tale, &extent);
	status = write_again(tale);
	claim(status == IBV_WC_REM_ACCESS_ERR, "stale",
	      "the writer reconnects and writes with its old key: %s",
	      ibv_wc_status_str((enum ibv_wc_status)status));
	wrong = pattern_wrong(daxpin_ptr(tale->pool, extent, 0), EXTENT_BYTES,
			      PATTERN_NEW);
	fact("bytes", EXTENT_BYTES - wrong);
	claim(!wrong, "intact",
	      "the new extent's bytes are intact: %" PRIu64 " of %" PRIu64,
	      EXTENT_BYTES - wrong, EXTENT_BYTES);
	must(daxpin_cancel(tale->pool, extent), "daxpin_cancel");
}

static void tell_unsafe(struct tale *tale)
{
	struct order stop = { .type = ORDER_STOP };
	const uint64_t addr = tale->extent.addr;
	struct report report;
	uint64_t wrong, overlap;
	int status;

	hoard_take(&tale->hoard, tale->pool);
	overlap = hoard_overlap(&tale->hoard, addr, EXTENT_BYTES);
	hoard_fill(&tale->hoard, addr, EXTENT_BYTES, PATTERN_NEW);
	say("reuse", "daxpin does not know of the writer, so the next reserve gets %" PRIu64 " of the %" PRIu64 " bytes, and the program fills them",
	    overlap, EXTENT_BYTES);
	sleep_ms(200);
	peer_order(&tale->writer, &stop);
	peer_report(&tale->writer, &report);
	wrong = hoard_wrong(&tale->hoard, addr, EXTENT_BYTES, PATTERN_NEW);
	fact("corrupted_bytes", wrong);
	say("corrupted", "the writer's writes still arrive (%s): %" PRIu64 " of the new extent's bytes are destroyed",
	    ibv_wc_status_str((enum ibv_wc_status)report.status), wrong);
	status = write_again(tale);
	wrong = hoard_wrong(&tale->hoard, addr, EXTENT_BYTES, PATTERN_NEW);
	tale->stage->corrupted = wrong;
	fact("corrupted_bytes", wrong);
	claim(!status && wrong, "corrupted", "the writer writes again with its old key: %s; %" PRIu64 " bytes are destroyed, and no call reports an error",
	      ibv_wc_status_str((enum ibv_wc_status)status), wrong);
	if (ibv_dereg_mr(tale->mr))
		give_up("ibv_dereg_mr: %s", strerror(errno));
}

/* -------------------------------------------------------------- beginning */

/* Returns false, with stage->no_rdma, if the pool's memory does not support RDMA. */
static bool attach(struct tale *tale)
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

	err = nic_open(&tale->nic, tale->stage->device);
	if (err)
		give_up("the RDMA device %s cannot be used: %s: it needs an active port with an address, and access to /dev/infiniband",
			tale->stage->device, strerror(-err));
	err = daxpin_rdma_attach(tale->pool, tale->nic.pd, &options,
				 &tale->rdma);
	if (err == -EOPNOTSUPP) {
		tale->stage->no_rdma = errmsg;
		must(nic_close(&tale->nic), "closing the device");
		return false;
	}
	if (err)
		give_up("daxpin_rdma_attach: %s (%s)", errmsg, strerror(-err));
	if (tale->stage->unsafe) {
		must(daxpin_rdma_detach(tale->rdma), "daxpin_rdma_detach");
		tale->rdma = NULL;
	}
	return true;
}

static void connect_peer(struct tale *tale, struct peer *peer)
{
	must(wire_open(&peer->wire, &tale->nic), "a queue pair");
	peer_connect(peer);
}

static void tell(struct tale *tale)
{
	connect_peer(tale, &tale->writer);
	connect_peer(tale, &tale->reader);
	grant_writer(tale);
	peer_writes(tale);
	reader_reads(tale);
	keep(tale);
	start_hammer(tale);
	retire(tale);
	if (tale->stage->unsafe)
		tell_unsafe(tale);
	else
		tell_safe(tale);
	hoard_release(&tale->hoard);
	wire_close(&tale->writer.wire);
	wire_close(&tale->reader.wire);
	must(daxpin_rdma_detach(tale->rdma), "daxpin_rdma_detach");
	must(nic_close(&tale->nic), "closing the device");
}

void story_rdma(struct stage *stage)
{
	struct tale tale = { .stage = stage };

	story("rdma", "a remote peer writes to an extent of %s, by the device %s%s",
	      stage->pool_path, stage->device, stage->unsafe ? ", without daxpin's protection" : "");
	/* Before the pool is opened, since a child cannot use its parent's pool. */
	peer_start(&tale.writer, "the writer", stage->device);
	peer_start(&tale.reader, "the reader", stage->device);
	tale.pool = open_pool(stage, 5000);
	if (attach(&tale))
		tell(&tale);
	else
		say("skip", "skipped: %s", stage->no_rdma);
	close_pool(tale.pool);
	peer_end(&tale.writer);
	peer_end(&tale.reader);
}
