/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns struct daxpin_rdma, in which every module keeps its part (types.h), and the
 * registration that announces the protection domain.
 *
 *	- -> registered -> attached	[attach_start], undone on failure unless the
 *					device keeps memory of the pool
 *	attached -> detached		[daxpin_rdma_detach], when no grant exists
 *
 *  - A child of fork() shares the verbs objects: deregistering there would
 *    deregister in the parent. So struct daxpin_rdma is wiped in a child, and every
 *    call that finds no pool in it returns -EOWNERDEAD.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "rdma/access.h"
#include "rdma/backing.h"
#include "rdma/escalate.h"
#include "rdma/local_key.h"
#include "grant/retry.h"
#include "rdma/revoke.h"
#include "rdma/types.h"
#include "util/cancel.h"
#include "util/detached.h"

#define FLAGS		(DAXPIN_RDMA_BOUNCE | DAXPIN_RDMA_TRY | \
			 DAXPIN_RDMA_WINDOWS | DAXPIN_RDMA_NO_REGIONS)

/* ---------------------------------------------------------- attach, detach */

static int attach_check_source(const struct daxpin_pool_info *info,
			       const struct daxpin_rdma_options *o)
{
	if (info->source != DAXPIN_SOURCE_DISK)
		return 0;
	return dp_fail(DP_ERRMSG_OF(o), -EOPNOTSUPP,
		       "the pool is on an ordinary disk, whose page cache loses what a device writes: use a device-dax pool, or one on tmpfs");
}

static size_t attach_bytes(uint32_t segments)
{
	return sizeof(struct daxpin_rdma) +
	       segments * sizeof(struct dp_local_key);
}

static void attach_destroy(struct daxpin_rdma *rdma)
{
	dp_revokes_destroy(rdma);
	dp_escalations_destroy(rdma);
	dp_backing_destroy(rdma);
	dp_accesses_destroy(rdma);
	dp_local_keys_destroy(rdma);
	munmap(rdma, attach_bytes(rdma->segments));
}

/* The memory of rdma and of its ended grants is kept, so that late calls on them return
 * -ESTALE. If the list is full, its oldest attachment is freed. */
static void attach_tombstone(struct daxpin_rdma *rdma)
{
	static struct dp_detached_list detached;
	struct dp_detached oldest;

	dp_revokes_close(rdma);
	rdma->detached = true;
	rdma->pool = NULL;
	rdma->end = 0;
	oldest = dp_detached_remember(&detached, (struct dp_detached) {
				      rdma, dp_revokes_over(rdma) });
	dp_revokes_free(oldest.more);
	if (oldest.handle)
		attach_destroy(oldest.handle);
}

/* The pool address past the last segment that the pool has, or may get by a grow while
 * it is open: there are no keys past it. 0: there are no segments. */
static uint64_t attach_end(struct daxpin_pool *pool,
			   const struct daxpin_pool_info *info)
{
	/* A segment may be short, so this is rounded up. */
	uint64_t most = dp_round_up(info->max_bytes, info->segment_size);
	struct daxpin_segment last;

	if (most > info->segments * info->segment_size)
		return most;
	return daxpin_segment(pool, info->segments - 1, &last) ? 0 :
	       last.addr + last.size;
}

static int attach_create(struct daxpin_pool *pool, struct ibv_pd *pd,
			 const struct daxpin_pool_info *info,
			 const struct daxpin_rdma_options *o,
			 struct daxpin_rdma **ret_rdma)
{
	uint64_t end = attach_end(pool, info);
	uint32_t most = dp_round_up(end, info->segment_size) / info->segment_size;
	size_t bytes = attach_bytes(most);
	struct daxpin_rdma *rdma;
	int ret;

	assert(info->segments > 0 && info->segment_size > 0);
	if (!end)
		return -EINVAL;
	rdma = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rdma == MAP_FAILED)
		return -errno;
	if (madvise(rdma, bytes, MADV_WIPEONFORK)) {
		ret = -errno;
		munmap(rdma, bytes);
		return ret;
	}
	rdma->pool = pool;
	rdma->pd = pd;
	rdma->segments = most;
	rdma->segment_size = info->segment_size;
	rdma->end = end;
	dp_local_keys_init(rdma);
	dp_accesses_init(rdma);
	dp_backing_init(rdma);
	dp_escalations_init(rdma);
	dp_revokes_init(rdma, o);
	*ret_rdma = rdma;
	return 0;
}

static int attach_make_domain(struct daxpin_rdma *rdma)
{
	errno = 0;
	rdma->domain = ibv_alloc_pd(rdma->pd->context);
	return rdma->domain ? 0 : errno ? -errno : -EIO;
}

/* A callback of daxpin_register(). The pool compares the kernel's lists of protection
 * domains with and without this one, to find out which verbs context is attached. */
static int attach_domain(int make, void *arg)
{
	struct daxpin_rdma *rdma = arg;
	struct dp_retry retry = { 0 };
	int ret;

	assert(!make == !!rdma->domain);
	do
		ret = make ? attach_make_domain(rdma) :
			     -ibv_dealloc_pd(rdma->domain);
	while (dp_retry(&retry, ret));
	if (!make)
		rdma->domain = NULL;
	return ret;
}

/* Register with the pool, which records the context on media before it returns. */
static int attach_register(struct daxpin_rdma *rdma,
			   const struct daxpin_rdma_options *o)
{
	const char *device = ibv_get_device_name(rdma->pd->context->device);
	struct daxpin_registration_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
		.label = o->label ? o->label : device,
		.rdma_device = device,
		.rdma_domain = attach_domain,
		.rdma_arg = rdma,
		.errmsg = o->errmsg,
		.errmsg_size = o->errmsg_size,
	};

	return daxpin_register(rdma->pool, DAXPIN_ALL_SEGMENTS, &options,
			       &rdma->registration);
}

/*
 * C12: code that has the protection domain can register memory of the pool in it,
 * without the library's knowledge. So such regions are counted as if they were over
 * all segments, unless the program declares that it makes none.
 */
static int attach_register_regions(struct daxpin_rdma *rdma,
				   const struct daxpin_rdma_options *o)
{
	char label[DAXPIN_LABEL_MAX];
	const struct daxpin_registration_options options = {
		.size = sizeof(options),
		.label = label,
		.errmsg = o->errmsg,
		.errmsg_size = o->errmsg_size,
	};

	if (o->flags & DAXPIN_RDMA_NO_REGIONS)
		return 0;
	snprintf(label, sizeof(label), "%.40s: regions of its own",
		 o->label ? o->label :
		 ibv_get_device_name(rdma->pd->context->device));
	return daxpin_register(rdma->pool, DAXPIN_ALL_SEGMENTS, &options,
			       &rdma->regions);
}

/* Make both registrations, or none. */
static int attach_announce(struct daxpin_rdma *rdma,
			   const struct daxpin_rdma_options *o)
{
	int ret = attach_register(rdma, o), end_ret;

	if (ret)
		return ret;
	ret = attach_register_regions(rdma, o);
	if (ret) {
		end_ret = daxpin_unregister(rdma->registration);
		assert(end_ret == 0);
	}
	return ret;
}

/* End rdma->regions first: it pins all segments, and so prevents a reclaim. */
static int attach_withdraw(struct daxpin_rdma *rdma)
{
	int ret = rdma->regions ? daxpin_unregister(rdma->regions) : 0;

	if (ret)
		return ret;
	rdma->regions = NULL;
	return daxpin_unregister(rdma->registration);
}

/* *ret_kept: the call failed, and the device did not release memory of the pool or
 * objects of the loopback connection. */
static int attach_open_parts(struct daxpin_rdma *rdma,
			     const struct daxpin_pool_info *info,
			     const struct daxpin_rdma_options *o,
			     bool *ret_kept)
{
	int ret = dp_backing_choose(rdma, info, o, ret_kept);

	/* A DAX filesystem allows no long-term pin (kernel.md K1), so it has
	 * neither local keys nor windows. */
	if (ret || !dp_backing_is_pinned(rdma))
		return ret;
	ret = dp_accesses_open(rdma, o, dp_backing_report(rdma), ret_kept);
	if (!ret)
		dp_local_keys_allow(rdma, dp_accesses_have_windows(rdma) ||
				    dp_backing_wants_windows(rdma));
	return ret;
}

/* After a failure the registrations remain if the device has kept memory or objects. */
static int attach_start(struct daxpin_rdma *rdma,
			const struct daxpin_pool_info *info,
			const struct daxpin_rdma_options *o)
{
	bool kept = false;
	int ret = attach_announce(rdma, o), end_ret;

	if (!ret) {
		ret = attach_open_parts(rdma, info, o, &kept);
		if (!ret)
			return 0;
		end_ret = kept ? 0 : attach_withdraw(rdma);
		assert(end_ret == 0);
	}
	attach_destroy(rdma);
	return ret;
}

static int attach_checked(struct daxpin_pool *pool, struct ibv_pd *pd,
			  const struct daxpin_rdma_options *o,
			  struct daxpin_rdma **ret_rdma)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_rdma *rdma = NULL;
	int ret;

	if (o->flags & ~FLAGS)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL,
			       "flags 0x%x: unknown", o->flags);
	ret = daxpin_pool_info(pool, &info);
	if (!ret)
		ret = attach_check_source(&info, o);
	if (!ret)
		ret = attach_create(pool, pd, &info, o, &rdma);
	if (!ret)
		ret = attach_start(rdma, &info, o);
	if (!ret)
		*ret_rdma = rdma;
	return ret;
}

DP_EXPORT int daxpin_rdma_attach(struct daxpin_pool *pool, struct ibv_pd *pd,
				 const struct daxpin_rdma_options *options,
				 struct daxpin_rdma **ret_rdma)
{
	DP_UNCANCELLED();
	struct daxpin_rdma_options o = { .size = sizeof(o) };
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : 0;

	if (ret)
		return ret;
	ret = pool && pd && ret_rdma ?
	      attach_checked(pool, pd, &o, ret_rdma) : -EINVAL;
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}

DP_EXPORT int daxpin_rdma_info(struct daxpin_rdma *rdma,
			       struct daxpin_rdma_info *ret_info)
{
	struct daxpin_rdma_info info;
	int ret = dp_rdma_enter(rdma);

	if (ret)
		return ret;
	dp_revokes_count(rdma, &info);
	dp_escalations_count(rdma, &info);
	info.local_mrs = dp_local_keys_count(rdma);
	dp_backing_count(rdma, &info);
	dp_accesses_count(rdma, &info);
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT int daxpin_rdma_service(struct daxpin_rdma *rdma)
{
	DP_UNCANCELLED();
	int ret = dp_rdma_enter(rdma), keys_ret;

	if (ret)
		return ret;
	/* Grants first, because they have deadlines. With an executor this does not
	 * block. */
	ret = dp_revokes_service(rdma);
	keys_ret = dp_local_keys_service(rdma);
	return ret ? ret : keys_ret;
}

DP_EXPORT int daxpin_rdma_detach(struct daxpin_rdma *rdma)
{
	DP_UNCANCELLED();
	int ret;

	if (!rdma)
		return 0;
	ret = dp_rdma_enter(rdma);
	if (!ret)
		ret = dp_revokes_check_none(rdma);
	if (!ret)
		ret = dp_accesses_close(rdma);
	if (!ret)
		ret = dp_local_keys_close(rdma);
	if (!ret)
		ret = attach_withdraw(rdma);
	if (!ret)
		attach_tombstone(rdma);
	return ret;
}
