/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a peer reaches an extent. On device-dax and shmem by a pinned region over
 * it. A DAX filesystem allows no such pin (KERNEL 0.1), so there: by an on-demand
 * region, if the device was seen not to corrupt what goes through it (KERNEL
 * 0.12); else, if the caller allows it, by a bounce buffer, ordinary memory that
 * is copied home after the revoke.
 *
 *  - An on-demand region names addresses, not pages: a punch below it succeeds,
 *    and the next write allocates blocks anew (KERNEL 0.12). What forbids that
 *    is the grant's hold: no segment is punched while anything in it is held,
 *    and the hold goes after the region. The registration's pin would add
 *    nothing, and would ask for what a peer cannot give at once.
 *  - A bounce buffer begins as a copy of the extent, also for a peer that may
 *    not read: what he leaves alone must come home as it was.
 *  - So what anybody else writes into the extent meanwhile would be lost. A
 *    bounced grant that can write is therefore the only hold, or is not given.
 *  - The copy home is between the region's end and the drop: nothing of the
 *    peer's can land any more, and nobody else has the blocks.
 */

#include "rdma/backing.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "rdma/access.h"
#include "rdma/probe.h"
#include "rdma/trust.h"

#define WRITES		(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

/* ------------------------------------------------------- what the device can */

static void backing_report_untried(struct daxpin_rdma_finding *finding, int ret,
				   const char *errmsg)
{
	finding->verdict = DAXPIN_RDMA_UNKNOWN;
	finding->error = ret;
	snprintf(finding->what, sizeof(finding->what),
		 "could not be tried: %s: %s", errmsg, strerror(-ret));
}

static void backing_try_windows(struct daxpin_rdma *rdma)
{
	struct daxpin_rdma_report *report = &rdma->backing.findings;
	bool kept = false;
	int ret = dp_rdma_probe(rdma->pd, NULL, DAXPIN_RDMA_TRY_WINDOWS,
				report, &kept);

	assert(!kept);			/* none of the pool's was lent */
	if (ret && report->window2.verdict == DAXPIN_RDMA_UNTRIED)
		backing_report_untried(&report->window2, ret, "no connection");
	if (ret && report->window1.verdict == DAXPIN_RDMA_UNTRIED)
		backing_report_untried(&report->window1, ret, "no connection");
}

/* On blocks of the pool: what works on other memory says nothing. */
static int backing_try_extent(struct daxpin_rdma *rdma,
			      struct daxpin_extent extent, bool *ret_kept)
{
	struct daxpin_rdma_report *report = &rdma->backing.findings;
	bool kept = false;
	int ret;

	ret = dp_rdma_probe(rdma->pd, daxpin_ptr(rdma->pool, extent, 0),
			    DAXPIN_RDMA_TRY_ODP, report, &kept);
	if (kept) {
		*ret_kept = true;
		return ret;
	}
	if (ret)
		backing_report_untried(&report->odp, ret, "no connection");
	ret = daxpin_drop(rdma->pool, extent);
	assert(ret == 0);
	return 0;
}

static int backing_try_on_demand(struct daxpin_rdma *rdma, bool *ret_kept)
{
	struct daxpin_rdma_finding *odp = &rdma->backing.findings.odp;
	struct daxpin_extent extent;
	int ret;

	ret = daxpin_reserve(rdma->pool, DAXPIN_RDMA_TRY_BYTES, 0, &extent);
	if (ret) {
		backing_report_untried(odp, ret, "no free space in the pool");
		return 0;
	}
	ret = daxpin_hold(rdma->pool, extent,
			  DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE);
	if (ret)
		backing_report_untried(odp, ret, "the space cannot be held");
	else
		ret = backing_try_extent(rdma, extent, ret_kept);
	daxpin_cancel(rdma->pool, extent);
	return *ret_kept ? ret : 0;
}

static int backing_choose_for_files(struct daxpin_rdma *rdma,
				    const struct daxpin_rdma_options *o,
				    bool *ret_kept)
{
	struct dp_backing *backing = &rdma->backing;
	const char *name = ibv_get_device_name(rdma->pd->context->device);
	int ret = backing_try_on_demand(rdma, ret_kept);

	if (ret)
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "%s does not let go of memory that it was tried on (%s): the pool cannot be closed",
			       name, strerror(-ret));
	if (dp_rdma_trusts(&backing->findings.odp))
		backing->mode = DAXPIN_RDMA_ON_DEMAND;
	else if (o->flags & DAXPIN_RDMA_BOUNCE)
		backing->mode = DAXPIN_RDMA_BOUNCED;
	else
		return dp_fail(DP_ERRMSG_OF(o), -EOPNOTSUPP,
			       "no kernel lets memory of a DAX filesystem be pinned for long: allow copies with DAXPIN_RDMA_BOUNCE, or use a device-dax pool; on-demand regions of %s: %s",
			       name, backing->findings.odp.what);
	return 0;
}

int dp_backing_choose(struct daxpin_rdma *rdma,
			   const struct daxpin_pool_info *info,
			   const struct daxpin_rdma_options *o, bool *ret_kept)
{
	struct dp_backing *backing = &rdma->backing;

	assert(rdma->registration && !backing->mode);
	backing->mode = DAXPIN_RDMA_PINNED;
	dp_rdma_report_init(&backing->findings);
	if (o->flags & (DAXPIN_RDMA_TRY | DAXPIN_RDMA_WINDOWS))
		backing_try_windows(rdma);
	if (info->source != DAXPIN_SOURCE_FSDAX)
		return 0;
	return backing_choose_for_files(rdma, o, ret_kept);
}

bool dp_backing_is_pinned(const struct daxpin_rdma *rdma)
{
	return rdma->backing.mode == DAXPIN_RDMA_PINNED;
}

const struct daxpin_rdma_report *
dp_backing_report(const struct daxpin_rdma *rdma)
{
	return &rdma->backing.findings;
}

DP_EXPORT int daxpin_rdma_report(struct daxpin_rdma *rdma,
				 struct daxpin_rdma_report *ret_report)
{
	int ret = dp_rdma_enter(rdma);

	if (ret)
		return ret;
	return dp_return_versioned(ret_report, &rdma->backing.findings,
				   sizeof(*ret_report));
}

void dp_backing_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *info)
{
	struct dp_backing *backing = &rdma->backing;

	info->way = backing->mode;
	info->bounced = atomic_load(&backing->bounced_out);
	info->bounced_bytes = atomic_load(&backing->bounced_out_bytes);
	info->bounce_errors = atomic_load(&backing->copy_errors);
	info->prefetched = atomic_load(&backing->prefetch_done);
	info->prefetch_refused = atomic_load(&backing->prefetch_failed);
}

/* ------------------------------------------------------------ bounce buffers */

/* Others who hold it may write, or want to see what the peer writes. */
static int backing_check_alone(struct daxpin_grant *grant,
			       const struct daxpin_grant_options *o)
{
	int holds = daxpin_holds(grant->rdma->pool, grant->key.extent, NULL,
				 NULL);

	if (holds < 1)			/* not even the grant's own */
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, DP_HOLD_LOST);
	if (holds == 1 || !(o->access & WRITES))
		return 0;
	return dp_fail(DP_ERRMSG_OF(o), -EBUSY,
		       "%d others hold the extent: what they write would be lost when this grant's bounce buffer is copied home; wait for them, or use a device-dax pool",
		       holds - 1);
}

static int backing_open_bounce(struct daxpin_grant *grant,
			       const struct daxpin_grant_options *o)
{
	struct daxpin_grant_key *key = &grant->key;
	struct daxpin_rdma *rdma = grant->rdma;
	int ret = backing_check_alone(grant, o);
	void *buffer;

	if (ret)
		return ret;
	if ((uint32_t)o->access & DAXPIN_ACCESS_FLUSH)
		return dp_fail(DP_ERRMSG_OF(o), -EOPNOTSUPP,
			       "a bounced grant cannot be flushed: leave DAXPIN_ACCESS_FLUSH out, or use a device-dax pool");
	buffer = mmap(NULL, key->length, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		return dp_fail(DP_ERRMSG_OF(o), -errno,
			       "no %" PRIu64 " bytes of memory for a bounce buffer: %s",
			       key->length, strerror(errno));
	ret = daxpin_read(rdma->pool, key->extent, 0, key->length, buffer);
	if (ret) {
		munmap(buffer, key->length);
		return dp_fail(DP_ERRMSG_OF(o), ret,
			       "the extent cannot be copied to a bounce buffer: %s",
			       strerror(-ret));
	}
	grant->bounce.bounce_memory = buffer;
	key->addr = (uintptr_t)buffer;
	key->access |= DAXPIN_KEY_BOUNCED;
	atomic_fetch_add(&rdma->backing.bounced_out, 1);
	atomic_fetch_add(&rdma->backing.bounced_out_bytes, key->length);
	return 0;
}

static void backing_copy_back(struct daxpin_grant *grant)
{
	const struct daxpin_grant_key *key = &grant->key;
	struct daxpin_pool *pool = grant->rdma->pool;
	void *home = daxpin_ptr(pool, key->extent, 0);

	assert(home != grant->bounce.bounce_memory);
	/* NULL: a drop too many ended its life, and the blocks are another's. */
	if (home)
		memcpy(home, grant->bounce.bounce_memory, key->length);
	if (!home || daxpin_persist(pool, key->extent, 0, key->length))
		atomic_fetch_add(&grant->rdma->backing.copy_errors, 1);
}

/* ---------------------------------------------------------- for each grant */

int dp_backing_open(struct daxpin_grant *grant,
			 const struct daxpin_grant_options *o, int *ret_flags)
{
	enum daxpin_rdma_way mode = grant->rdma->backing.mode;

	*ret_flags = mode == DAXPIN_RDMA_ON_DEMAND ? IBV_ACCESS_ON_DEMAND : 0;
	return mode == DAXPIN_RDMA_BOUNCED ? backing_open_bounce(grant, o) : 0;
}

#ifdef DP_HAVE_ADVISE_MR
static int backing_prefetch(struct daxpin_grant *grant)
{
	struct ibv_sge sge = {
		.addr = grant->key.addr, .length = (uint32_t)grant->key.length,
		.lkey = dp_access_region(grant)->lkey,
	};

	return ibv_advise_mr(grant->rdma->pd, grant->key.access & WRITES ?
			     IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE :
			     IBV_ADVISE_MR_ADVICE_PREFETCH,
			     IBV_ADVISE_MR_FLAG_FLUSH, &sge, 1);
}
#else
static int backing_prefetch(struct daxpin_grant *grant)
{
	(void)grant;
	return EOPNOTSUPP;
}
#endif

/* Without it the peer's first access to each page waits for a fault. */
void dp_backing_ready(struct daxpin_grant *grant)
{
	struct dp_backing *backing = &grant->rdma->backing;

	if (backing->mode != DAXPIN_RDMA_ON_DEMAND)
		return;
	assert(dp_access_region(grant));
	atomic_fetch_add(backing_prefetch(grant) ? &backing->prefetch_failed :
			 &backing->prefetch_done, 1);
}

void dp_backing_close(struct daxpin_grant *grant, bool copy)
{
	struct dp_backing *backing = &grant->rdma->backing;

	if (!grant->bounce.bounce_memory)
		return;
	assert(!dp_access_is_open(grant));	/* nothing lands there any more */
	if (copy && grant->key.access & WRITES)
		backing_copy_back(grant);
	munmap(grant->bounce.bounce_memory, grant->key.length);
	grant->bounce.bounce_memory = NULL;
	atomic_fetch_sub(&backing->bounced_out, 1);
	atomic_fetch_sub(&backing->bounced_out_bytes, grant->key.length);
}
