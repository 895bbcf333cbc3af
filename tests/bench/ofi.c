/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_ofi [OPTIONS] TEST PEER, over tcp;ofi_rxm on the loopback device:
 *
 *	write plain	write --size BYTES of the pool to another endpoint of this
 *			process, until the delivery. daxpin_ofi_prep() and _done() hold
 *			the memory; the peer writes the same memory without them
 *	grant plain	open an endpoint, grant an extent of --size BYTES on it, and end
 *			the grant. The peer opens domain, endpoint and region by hand,
 *			and closes them: that ends access, too
 *	grant region	the same beside the open and close of a region on an endpoint
 *			that stays open, which ends no access
 *
 * Printed are microseconds for each.
 */
#include "turns.h"

#include <daxpin-ofi.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdlib.h>
#include <string.h>

#define US		1e3		/* ns */
#define WRITES		64		/* in a round */
#define GRANTS		4
#define POOL_BYTES	(64u << 20)
#define KEY		1

struct end {
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
};

static struct bench arguments;
static struct bench *const bench = &arguments;
static struct rounds rounds;
static struct daxpin_pool *pool;
static struct daxpin_extent extent;
static struct fi_info *info;
static struct fid_fabric *fabric;
static struct daxpin_ofi *ofi;
static struct daxpin_ofi_local *local;
static struct end near, far;
static fi_addr_t to;

static void find_provider(void)
{
	struct fi_info *hints = fi_allocinfo();

	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA | FI_MSG;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->domain_attr->mr_mode = FI_MR_LOCAL;
	hints->fabric_attr->prov_name = strdup("tcp;ofi_rxm");
	if (fi_getinfo(FI_VERSION(1, 11), "127.0.0.1", NULL, FI_SOURCE, hints, &info))
		bench_skip("libfabric has no provider tcp;ofi_rxm here");
	fi_freeinfo(hints);
	must(fi_fabric(info->fabric_attr, &fabric, NULL), "fi_fabric");
}

static void open_end(struct end *end)
{
	struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_CONTEXT, .size = 64 };
	struct fi_av_attr av = { .type = FI_AV_TABLE };

	must(fi_domain(fabric, info, &end->domain, NULL), "fi_domain");
	must(fi_av_open(end->domain, &av, &end->av, NULL), "fi_av_open");
	must(fi_cq_open(end->domain, &cq, &end->cq, NULL), "fi_cq_open");
	must(fi_endpoint(end->domain, info, &end->ep, NULL), "fi_endpoint");
	must(fi_ep_bind(end->ep, &end->av->fid, 0), "fi_ep_bind");
	must(fi_ep_bind(end->ep, &end->cq->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
	must(fi_enable(end->ep), "fi_enable");
}

static void close_end(struct end *end)
{
	must(fi_close(&end->ep->fid), "fi_close");
	must(fi_close(&end->cq->fid), "fi_close");
	must(fi_close(&end->av->fid), "fi_close");
	must(fi_close(&end->domain->fid), "fi_close");
}

static struct fid_mr *open_region(struct end *end, void *memory)
{
	struct fid_mr *region;

	must(fi_mr_reg(end->domain, memory, bench->size, FI_REMOTE_WRITE, 0, KEY, 0,
		       &region, NULL), "fi_mr_reg");
	return region;
}

/* ------------------------------------------------------------------- the writes */

static void post(void *memory, void *desc, void *context)
{
	struct iovec iov = { memory, bench->size };
	struct fi_rma_iov remote = { 0, bench->size, KEY };
	const struct fi_msg_rma message = {
		.msg_iov = &iov, .iov_count = 1, .desc = &desc, .addr = to,
		.rma_iov = &remote, .rma_iov_count = 1, .context = context,
	};
	struct fi_cq_entry entry;
	ssize_t ret;

	while ((ret = fi_writemsg(near.ep, &message, FI_COMPLETION |
				  FI_DELIVERY_COMPLETE)) == -FI_EAGAIN) {
		fi_cq_read(near.cq, &entry, 1);
		fi_cq_read(far.cq, &entry, 1);
	}
	must((int)ret, "fi_writemsg");
}

static void *await(void)
{
	struct fi_cq_entry entry;
	ssize_t ret;

	while ((ret = fi_cq_read(near.cq, &entry, 1)) == -FI_EAGAIN)
		fi_cq_read(far.cq, &entry, 1);
	if (ret != 1)
		bench_die("a write failed: %zd", ret);
	return entry.op_context;
}

static void write_plain(void)
{
	struct fi_context2 context;

	post(daxpin_ptr(pool, extent, 0), NULL, &context);
	await();
}

static void write_daxpin(void)
{
	struct daxpin_ofi_io io = { 0 };

	must(daxpin_ofi_prep(local, &io, extent, 0, bench->size, DAXPIN_HOLD_READ),
	     "prep");
	post(io.memory, io.desc, &io);
	must(daxpin_ofi_done(await()), "done");
}

/* ------------------------------------------------------------------- the grants */

static void open_and_close(void)
{
	struct fid_mr *region;
	struct end end;

	open_end(&end);
	region = open_region(&end, daxpin_ptr(pool, extent, 0));
	must(fi_close(&region->fid), "fi_close");
	close_end(&end);
}

static void open_and_close_region(void)
{
	struct fid_mr *region = open_region(&near, daxpin_ptr(pool, extent, 0));

	must(fi_close(&region->fid), "fi_close");
}

static void grant_and_revoke(void)
{
	const struct daxpin_ofi_grant_options options = {
		.size = sizeof(options), .access = FI_REMOTE_WRITE,
	};
	struct daxpin_ofi_grant *grant;
	struct daxpin_ofi_peer *peer;

	must(daxpin_ofi_peer_open(ofi, NULL, &peer), "peer");
	must(daxpin_ofi_grant(peer, extent, &options, &grant), "grant");
	must(daxpin_ofi_revoke(grant), "revoke");
	must(daxpin_ofi_peer_close(peer), "close");
}

/* ---------------------------------------------------------------------- main */

static double time_us(void (*operation)(void), int count)
{
	struct stopwatch watch = stopwatch_start();

	for (int i = 0; i < count; i++)
		operation();
	return stopwatch_ns(&watch) / US / count;
}

static void compare(void (*by_hand)(void), void (*daxpin)(void), int count)
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);

	/* The first of each connects, or loads what is needed. */
	by_hand();
	daxpin();
	while (turns_go_on(bench, &rounds, 5, begin_ns)) {
		int i = rounds.count++;

		if (i % 2)
			rounds.daxpin[i] = time_us(daxpin, count);
		rounds.peer[i] = time_us(by_hand, count);
		if (i % 2 == 0)
			rounds.daxpin[i] = time_us(daxpin, count);
	}
	turns_print(bench, "us", &rounds);
}

static void compare_writes(void)
{
	void *target = malloc(bench->size);
	struct fid_mr *region;
	char name[256];
	size_t size = sizeof(name);

	open_end(&near);
	open_end(&far);
	region = open_region(&far, target);
	must(fi_getname(&far.ep->fid, name, &size), "fi_getname");
	if (fi_av_insert(near.av, name, 1, &to, 0, NULL) != 1)
		bench_die("fi_av_insert");
	must(daxpin_ofi_local_open(pool, near.domain, info, NULL, &local), "local");
	compare(write_plain, write_daxpin, bench->once ? 1 : WRITES);
	must(daxpin_ofi_local_close(local), "local");
	must(fi_close(&region->fid), "fi_close");
	close_end(&near);
	close_end(&far);
	free(target);
}

static void compare_grants(void)
{
	const bool beside_region = !strcmp(bench->peer, "region");
	char errmsg[512];
	const struct daxpin_ofi_options options = {
		.size = sizeof(options),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	must(daxpin_ofi_attach(pool, fabric, info, &options, &ofi), errmsg);
	open_end(&near);
	compare(beside_region ? open_and_close_region : open_and_close,
		grant_and_revoke, bench->once ? 1 : GRANTS);
	close_end(&near);
	must(daxpin_ofi_detach(ofi), "detach");
}

int main(int argc, char **argv)
{
	bench_parse(bench, argc, argv);
	if (strcmp(bench->peer, "plain") &&
	    (strcmp(bench->peer, "region") || strcmp(bench->test, "grant")))
		bench_die("no test %s beside %s", bench->test, bench->peer);
	find_provider();
	pool = bench_pool(bench, POOL_BYTES);
	must(daxpin_reserve(pool, bench->size, DAXPIN_RESERVE_ZERO, &extent),
	     "reserve");
	if (!strcmp(bench->test, "write"))
		compare_writes();
	else if (!strcmp(bench->test, "grant"))
		compare_grants();
	else
		bench_die("no test %s", bench->test);
	must(daxpin_cancel(pool, extent), "cancel");
	must(daxpin_pool_close(pool), "close");
	fi_close(&fabric->fid);
	fi_freeinfo(info);
	return 0;
}
