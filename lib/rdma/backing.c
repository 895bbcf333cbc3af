/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a peer reaches an extent. On device-dax and shmem by a pinned region over
 * it. A DAX filesystem allows no such pin (kernel.md K1), so there: by an on-demand
 * region, if a trial showed that the device does not corrupt data in it (rdma.md
 * R14); otherwise, if the caller allows it, by a bounce buffer, ordinary memory that
 * is copied back to the extent after the revoke.
 *
 *  - An on-demand region names addresses, not pages: a punch below it succeeds,
 *    and the next write allocates blocks again (rdma.md R15). The grant's hold
 *    prevents that: no segment is punched while anything in it is held, and the
 *    hold is dropped after the region's end. A grant does not also pin its segment by
 *    daxpin_registration_pin(): the hold is sufficient, and a reclaim would ask for a
 *    pin that can be given back only after the grant has ended.
 *  - A bounce buffer begins as a copy of the extent, even for a peer that may
 *    not read: bytes that it does not write must be written back unchanged.
 *  - Other writes to the extent meanwhile would be lost. So a bounced grant that can
 *    write has an exclusive hold (C7), which excludes every other hold, SETs and
 *    the KEEP, until its end. It excludes readers because the write-back would change
 *    what their requests read. A bounced grant that only reads has an ordinary hold,
 *    and its peer sees the extent as it was when the grant was made.
 *  - The copy is written back between the region's end and the drop: no byte of the
 *    peer can arrive any more, and the blocks have no other user.
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
#include "rdma/scratch.h"
#include "rdma/trust.h"

#define WRITES		(IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
#define NO_CONNECTION	"the device could not be connected with itself"

/* ------------------------------------------------------- what the device can */

static void backing_report_untried(struct daxpin_rdma_finding *finding, int ret,
				   const char *reason)
{
	finding->verdict = DAXPIN_RDMA_UNKNOWN;
	finding->error = ret;
	snprintf(finding->what, sizeof(finding->what),
		 "could not be tried: %s: %s", reason, strerror(-ret));
}

/* True if the trial could not be made, or not completed, so that there is no result. */
static bool backing_is_untried(const struct daxpin_rdma_finding *finding)
{
	return finding->verdict == DAXPIN_RDMA_UNTRIED ||
	       finding->verdict == DAXPIN_RDMA_UNKNOWN;
}

/* No trial begins until ten times the duration of this one has passed, so trials take
 * at most a tenth of the time. */
static void backing_delay_trials(struct dp_backing *backing, uint64_t begin_ns)
{
	uint64_t end_ns = daxpin_deadline_ms(0);

	backing->next_trial_ns = end_ns + 10 * (end_ns - begin_ns);
}

static void backing_try_windows(struct daxpin_rdma *rdma)
{
	struct daxpin_rdma_report *report = &rdma->backing.findings;
	bool kept = false;
	uint64_t begin_ns = daxpin_deadline_ms(0);
	int ret = dp_rdma_probe(rdma->pd, NULL, DAXPIN_RDMA_TRY_WINDOWS,
				report, &kept);

	assert(!kept);			/* the trial used no memory of the pool */
	if (ret && report->window2.verdict == DAXPIN_RDMA_UNTRIED)
		backing_report_untried(&report->window2, ret, NO_CONNECTION);
	if (ret && report->window1.verdict == DAXPIN_RDMA_UNTRIED)
		backing_report_untried(&report->window1, ret, NO_CONNECTION);
	backing_delay_trials(&rdma->backing, begin_ns);
	if (!backing_is_untried(&report->window2) &&
	    !backing_is_untried(&report->window1))
		atomic_store(&rdma->backing.windows_wanted, false);
}

/* Called with the lock held: try windows again if the trial could not be made before.
 * Until a trial shows that they work, grants are regions. */
static void backing_try_windows_again(struct daxpin_rdma *rdma)
{
	const struct daxpin_rdma_options o = { .flags = DAXPIN_RDMA_WINDOWS };
	struct dp_backing *backing = &rdma->backing;
	uint64_t begin_ns = daxpin_deadline_ms(0);
	bool kept = false;

	if (!backing->windows_wanted || begin_ns < backing->next_trial_ns)
		return;
	backing->findings.window2.verdict = DAXPIN_RDMA_UNTRIED;
	backing->findings.window1.verdict = DAXPIN_RDMA_UNTRIED;
	backing_try_windows(rdma);
	/* Without a connection there are no windows of type 1, and a later grant tries
	 * again. If the device kept objects of the connection, no grant does. */
	if (dp_accesses_open(rdma, &o, &backing->findings, &kept))
		atomic_store(&backing->windows_wanted, !kept);
	/* The time in which the connection was made counts, too. */
	backing_delay_trials(backing, begin_ns);
}

/* memory must be of the pool's filesystem, because a trial on other memory proves
 * nothing about it. 0, or -errno: the trial was not completed. */
static int backing_try_memory(struct daxpin_rdma *rdma, void *memory)
{
	struct dp_backing *backing = &rdma->backing;
	int ret = dp_rdma_probe(rdma->pd, memory, DAXPIN_RDMA_TRY_ODP,
				&backing->findings, &backing->is_kept);

	if (ret && !backing->is_kept)
		backing_report_untried(&backing->findings.odp, ret,
				       NO_CONNECTION);
	return ret;
}

/* *ret_tried: there was free space for the trial. Memory that the device does not
 * release remains held. */
static void backing_try_reserved(struct daxpin_rdma *rdma, bool *ret_tried)
{
	struct daxpin_extent extent;
	int ret;

	*ret_tried = false;
	if (daxpin_reserve(rdma->pool, DAXPIN_RDMA_TRY_BYTES, 0, &extent))
		return;
	if (!daxpin_hold(rdma->pool, extent,
			 DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE)) {
		*ret_tried = true;
		backing_try_memory(rdma, daxpin_ptr(rdma->pool, extent, 0));
		if (!rdma->backing.is_kept) {
			ret = daxpin_drop(rdma->pool, extent);
			assert(ret == 0);
		}
	}
	daxpin_cancel(rdma->pool, extent);
}

/* Used if nothing can be reserved: the pool is full, or is reclaiming free space. */
static void backing_try_scratch(struct daxpin_rdma *rdma)
{
	struct dp_backing *backing = &rdma->backing;
	void *memory;
	int ret = dp_scratch_map(rdma->pool, DAXPIN_RDMA_TRY_BYTES, &memory);

	if (ret) {
		backing_report_untried(&backing->findings.odp, ret,
				       "the pool has no free space for a trial, and no scratch file could be created beside it");
		return;
	}
	backing_try_memory(rdma, memory);
	if (!backing->is_kept)
		munmap(memory, DAXPIN_RDMA_TRY_BYTES);
}

/*
 * Called with the lock held, on a DAX filesystem. Sets the mode if there is a result.
 * Otherwise a later grant tries again.
 */
static void backing_try_on_demand(struct daxpin_rdma *rdma)
{
	struct dp_backing *backing = &rdma->backing;
	const struct daxpin_rdma_finding *odp = &backing->findings.odp;
	uint64_t begin_ns = daxpin_deadline_ms(0);
	bool tried;

	backing_try_reserved(rdma, &tried);
	if (!tried)
		backing_try_scratch(rdma);
	backing_delay_trials(backing, begin_ns);
	backing->trial_error = odp->error ? odp->error : -EIO;
	if (backing->is_kept || backing_is_untried(odp))
		return;
	atomic_store(&backing->mode, dp_rdma_trusts(odp) ?
		     DAXPIN_RDMA_ON_DEMAND : DAXPIN_RDMA_BOUNCED);
}

static int backing_refuse(struct daxpin_rdma *rdma, int ret,
			  const struct dp_errmsg *errmsg)
{
	const char *name = ibv_get_device_name(rdma->pd->context->device);

	if (ret == -EOPNOTSUPP)
		return dp_fail(errmsg, ret,
			       "no kernel lets memory of a DAX filesystem be pinned for long: allow copies with DAXPIN_RDMA_BOUNCE, or use a device-dax pool; on-demand regions of %s: %s",
			       name, rdma->backing.findings.odp.what);
	return dp_fail(errmsg, ret,
		       "it is not known yet whether on-demand regions of %s are reliable (%s): allow copies with DAXPIN_RDMA_BOUNCE, or remove the cause and try again",
		       name, rdma->backing.findings.odp.what);
}

static int backing_choose_for_files(struct daxpin_rdma *rdma,
				    const struct daxpin_rdma_options *o,
				    bool *ret_kept)
{
	struct dp_backing *backing = &rdma->backing;

	backing_try_on_demand(rdma);
	*ret_kept = backing->is_kept;
	if (backing->is_kept)
		return dp_fail(DP_ERRMSG_OF(o), backing->trial_error,
			       "%s does not release memory that was used in a trial (%s): the pool cannot be closed",
			       ibv_get_device_name(rdma->pd->context->device),
			       strerror(-backing->trial_error));
	if (backing->mode == DAXPIN_RDMA_BOUNCED && !backing->may_bounce)
		return backing_refuse(rdma, -EOPNOTSUPP, DP_ERRMSG_OF(o));
	return 0;
}

void dp_backing_init(struct daxpin_rdma *rdma)
{
	pthread_mutex_init(&rdma->backing.trial_lock, NULL);
}

void dp_backing_destroy(struct daxpin_rdma *rdma)
{
	pthread_mutex_destroy(&rdma->backing.trial_lock);
}

int dp_backing_choose(struct daxpin_rdma *rdma,
			   const struct daxpin_pool_info *info,
			   const struct daxpin_rdma_options *o, bool *ret_kept)
{
	struct dp_backing *backing = &rdma->backing;

	assert(rdma->registration && !backing->mode);
	backing->may_bounce = o->flags & DAXPIN_RDMA_BOUNCE;
	dp_rdma_report_init(&backing->findings);
	backing->windows_wanted = o->flags & DAXPIN_RDMA_WINDOWS &&
				  info->source != DAXPIN_SOURCE_FSDAX;
	if (o->flags & (DAXPIN_RDMA_TRY | DAXPIN_RDMA_WINDOWS))
		backing_try_windows(rdma);
	if (info->source == DAXPIN_SOURCE_FSDAX)
		return backing_choose_for_files(rdma, o, ret_kept);
	atomic_store(&backing->mode, DAXPIN_RDMA_PINNED);
	return 0;
}

/* Called with the lock held: use the attachment's mode, or a bounce buffer while there
 * is no mode. */
static int backing_settle(struct daxpin_grant *grant,
			  const struct daxpin_grant_options *o)
{
	struct dp_backing *backing = &grant->rdma->backing;

	if (!backing->mode && !backing->is_kept &&
	    daxpin_deadline_ms(0) >= backing->next_trial_ns)
		backing_try_on_demand(grant->rdma);
	grant->bounce.mode = backing->mode ? backing->mode :
			     DAXPIN_RDMA_BOUNCED;
	if (grant->bounce.mode != DAXPIN_RDMA_BOUNCED || backing->may_bounce)
		return 0;
	return backing_refuse(grant->rdma, backing->mode ? -EOPNOTSUPP :
			      backing->trial_error, DP_ERRMSG_OF(o));
}

int dp_backing_settle(struct daxpin_grant *grant,
		      const struct daxpin_grant_options *o)
{
	struct dp_backing *backing = &grant->rdma->backing;
	int ret;

	grant->bounce.mode = atomic_load(&backing->mode);
	if ((grant->bounce.mode == DAXPIN_RDMA_PINNED ||
	     grant->bounce.mode == DAXPIN_RDMA_ON_DEMAND) &&
	    !atomic_load(&backing->windows_wanted))
		return 0;
	pthread_mutex_lock(&backing->trial_lock);
	backing_try_windows_again(grant->rdma);
	ret = backing_settle(grant, o);
	pthread_mutex_unlock(&backing->trial_lock);
	return ret;
}

bool dp_backing_wants_windows(const struct daxpin_rdma *rdma)
{
	return rdma->backing.windows_wanted;
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
	pthread_mutex_lock(&rdma->backing.trial_lock);
	ret = dp_return_versioned(ret_report, &rdma->backing.findings,
				  sizeof(*ret_report));
	pthread_mutex_unlock(&rdma->backing.trial_lock);
	return ret;
}

void dp_backing_count(struct daxpin_rdma *rdma,
			   struct daxpin_rdma_info *info)
{
	struct dp_backing *backing = &rdma->backing;

	info->mode = backing->mode;
	info->bounced = atomic_load(&backing->bounced_out);
	info->bounced_bytes = atomic_load(&backing->bounced_out_bytes);
	info->bounce_errors = atomic_load(&backing->copy_errors);
	info->prefetched = atomic_load(&backing->prefetch_done);
	info->prefetch_refused = atomic_load(&backing->prefetch_failed);
}

/* ------------------------------------------------------------ bounce buffers */

/* C7: a write-back would overwrite what other holders have written meanwhile, and would
 * change what they read. */
uint32_t dp_backing_hold_access(const struct daxpin_grant *grant,
				const struct daxpin_grant_options *o)
{
	bool copies = grant->bounce.mode == DAXPIN_RDMA_BOUNCED;

	return copies && o->access & WRITES ? DAXPIN_HOLD_EXCLUSIVE : 0;
}

static int backing_open_bounce(struct daxpin_grant *grant,
			       const struct daxpin_grant_options *o)
{
	struct daxpin_grant_key *key = &grant->key;
	struct daxpin_rdma *rdma = grant->rdma;
	void *buffer;
	int ret;

	if ((uint32_t)o->access & DAXPIN_ACCESS_FLUSH)
		return dp_fail(DP_ERRMSG_OF(o), -EOPNOTSUPP,
			       "a bounced grant cannot be flushed: leave DAXPIN_ACCESS_FLUSH out, or use a device-dax pool");
	buffer = mmap(NULL, key->length, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		return dp_fail(DP_ERRMSG_OF(o), -errno,
			       "%" PRIu64 " bytes of memory for a bounce buffer cannot be allocated: %s",
			       key->length, strerror(errno));
	ret = daxpin_read(rdma->pool, key->extent, key->offset, key->length,
			  buffer);
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
	void *home = daxpin_ptr(pool, key->extent, key->offset);

	assert(home != grant->bounce.bounce_memory);
	/* NULL: an excess drop has ended the extent's generation, and the blocks may
	 * belong to another extent. */
	if (home)
		memcpy(home, grant->bounce.bounce_memory, key->length);
	if (!home || daxpin_persist(pool, key->extent, key->offset, key->length))
		atomic_fetch_add(&grant->rdma->backing.copy_errors, 1);
}

/* ---------------------------------------------------------- for each grant */

int dp_backing_open(struct daxpin_grant *grant,
			 const struct daxpin_grant_options *o, int *ret_flags)
{
	enum daxpin_rdma_mode mode = grant->bounce.mode;

	assert(mode);
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

/* Prefetch, because otherwise the peer's first access to each page waits for a
 * fault. */
void dp_backing_ready(struct daxpin_grant *grant)
{
	struct dp_backing *backing = &grant->rdma->backing;

	if (grant->bounce.mode != DAXPIN_RDMA_ON_DEMAND)
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
	assert(!dp_access_is_open(grant));	/* no write can arrive any more */
	if (copy && grant->key.access & WRITES)
		backing_copy_back(grant);
	munmap(grant->bounce.bounce_memory, grant->key.length);
	grant->bounce.bounce_memory = NULL;
	atomic_fetch_sub(&backing->bounced_out, 1);
	atomic_fetch_sub(&backing->bounced_out_bytes, grant->key.length);
}
