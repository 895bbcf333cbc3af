/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns struct daxpin_ofi_local, a domain of the program, and struct daxpin_ofi_io, a
 * request out of the pool or into it:
 *
 *	not in use -> in flight		[daxpin_ofi_prep]
 *	in flight -> ending		[local_claim] by daxpin_ofi_done(), _abort()
 *	ending -> not in use		[local_drop] the hold is dropped
 *	ending -> in flight		[local_give_back] the region stays open
 *
 *  - The hold ends after the completion, and after the region of the request (I9).
 *    There is no other end, not even that of the endpoint: its close does not show
 *    when a request ends. So there is no call that abandons requests.
 *  - A region is that of one request, so a reclaim or a shrink never waits for it
 *    longer than for the hold. A registration cache would keep the region after its
 *    close, and the device's access to the pages. So of an RDMA device a domain is
 *    accepted only if a trial has shown that the close of a region ends access, and
 *    only if it needs FI_MR_LOCAL: otherwise the provider makes regions of its own.
 *  - Nothing of a dead process may use a pool's memory, so only providers are accepted
 *    that copy with the CPU of this process, or whose verbs context is on record in the
 *    pool (context.c). libfabric does not say which device a domain uses, so that info
 *    describes the program's domain is the caller's promise.
 *  - A child of fork() shares the sockets of the provider. So struct daxpin_ofi_local
 *    is wiped in a child, and every call that finds no pool in it returns -EOWNERDEAD.
 */
#include <assert.h>
#include <daxpin-ofi.h>
#include <errno.h>
#include <pthread.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include "grant/retry.h"
#include "ofi/context.h"
#include "ofi/endpoint.h"
#include "ofi/trial.h"
#include "util/cancel.h"
#include "util/detached.h"
#include "util/util.h"

#define ACCESS_ALL	(DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE)
#define KEY_TRIES	16

struct daxpin_ofi_local {
	struct daxpin_pool *pool;	/* NULL when closed, and in a child of fork() */
	bool was_closed;
	bool needs_regions;
	struct fid_domain *domain;	/* the program's */
	uint64_t key_mask;		/* of the keys that the domain can have */
	struct fi_info *info;
	struct fid_fabric *fabric;	/* for context, of the same attributes */
	struct dp_context context;
	char out_label[DAXPIN_LABEL_MAX];
	char in_label[DAXPIN_LABEL_MAX];
	pthread_mutex_t mutex;		/* for the rest, and for `self` of requests */
	struct daxpin_ofi_local_info figures;
};

/* -EINVAL, -ESTALE, -EOWNERDEAD, or 0. */
static int local_enter(const struct daxpin_ofi_local *local)
{
	if (!local)
		return -EINVAL;
	if (local->pool)
		return 0;
	return local->was_closed ? -ESTALE : -EOWNERDEAD;
}

/* -------------------------------------------------------------- open, close */

/*
 * FI_LOCAL_MR of API versions before 1.5, which a caller's info may have. The headers
 * of libfabric 2 warn of the name.
 */
#define LOCAL_MR_BEFORE_1_5	(1ULL << 55)

static bool local_needs_regions(const struct fi_info *info)
{
	return info->domain_attr->mr_mode & FI_MR_LOCAL ||
	       info->mode & LOCAL_MR_BEFORE_1_5;
}

static int local_check_info(const struct fi_info *info,
			    struct daxpin_ofi_report *report,
			    const struct dp_errmsg *errmsg)
{
	int ret;

	if (!info->ep_attr || !info->domain_attr || !info->fabric_attr ||
	    !info->fabric_attr->prov_name)
		return dp_fail(errmsg, -EINVAL,
			       "info is not complete: pass a result of fi_getinfo()");
	if (local_needs_regions(info) &&
	    info->domain_attr->mr_mode & FI_MR_ENDPOINT)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s needs FI_MR_LOCAL and FI_MR_ENDPOINT, so a region would be of one endpoint: pass only one of the two to fi_getinfo()",
			       info->fabric_attr->prov_name);
	ret = dp_trial_check_writer(info, NULL, report, errmsg);
	if (!ret && report->writer == DAXPIN_OFI_WRITER_RDMA &&
	    !local_needs_regions(info))
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s: info has no FI_MR_LOCAL, so the provider would register the memory of requests itself, and nothing shows when such a region ends: set FI_MR_LOCAL in mr_mode of the hints of fi_getinfo()",
			       info->fabric_attr->prov_name);
	return ret;
}

/* Does the device's access end with the close of a region? Tried with memory of its
 * own, so none of the pool is concerned. */
static int local_try(struct fid_fabric *fabric, const struct fi_info *info,
		     struct daxpin_ofi_report *report, const struct dp_errmsg *errmsg)
{
	const size_t bytes = DP_TRIAL_BYTES_MAX;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool kept = false;
	int ret;

	if (memory == MAP_FAILED)
		return -ENOMEM;
	ret = dp_trial(fabric, info, memory, bytes, report, errmsg, &kept);
	/* What can still be written to is not used again. */
	if (!kept && report->ends != DAXPIN_OFI_ENDS_NOTHING)
		munmap(memory, bytes);
	if (ret)
		return dp_endpoint_fail(errmsg, info, ret, "failed in its trial");
	if (report->ends == DAXPIN_OFI_ENDS_REGION)
		return 0;
	return dp_fail(errmsg, -EOPNOTSUPP,
		       "the memory of a request must be free when its region was closed, which was not shown: %s",
		       report->what);
}

static struct daxpin_ofi_local *local_create(struct daxpin_pool *pool,
					     struct fid_domain *domain,
					     const struct fi_info *info)
{
	struct daxpin_ofi_local *local = mmap(NULL, sizeof(*local),
					      PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const size_t bytes = info->domain_attr->mr_key_size;

	if (local == MAP_FAILED)
		return NULL;
	if (madvise(local, sizeof(*local), MADV_WIPEONFORK)) {
		munmap(local, sizeof(*local));
		return NULL;
	}
	local->pool = pool;
	local->domain = domain;
	local->needs_regions = local_needs_regions(info);
	local->key_mask = bytes && bytes < sizeof(uint64_t) ?
				  (UINT64_C(1) << 8 * bytes) - 1 : UINT64_MAX;
	pthread_mutex_init(&local->mutex, NULL);
	return local;
}

static void local_close_fabric(struct daxpin_ofi_local *local)
{
	/* A fabric has no memory, and it does not matter if it remains. */
	if (local->fabric)
		(void)fi_close(&local->fabric->fid);
	local->fabric = NULL;
	if (local->info)
		fi_freeinfo(local->info);
	local->info = NULL;
}

static void local_destroy(struct daxpin_ofi_local *local)
{
	local_close_fabric(local);
	pthread_mutex_destroy(&local->mutex);
	munmap(local, sizeof(*local));
}

/* Keeps the pool open. */
static int local_register(struct daxpin_ofi_local *local, const struct fi_info *info,
			  struct daxpin_ofi_report *report,
			  const struct daxpin_ofi_local_options *o)
{
	const char *label = o->label ? o->label : info->fabric_attr->prov_name;
	int ret;

	snprintf(local->out_label, sizeof(local->out_label), "out, %s", label);
	snprintf(local->in_label, sizeof(local->in_label), "in, %s", label);
	local->info = fi_dupinfo(info);
	if (!local->info)
		return -ENOMEM;
	ret = fi_fabric(local->info->fabric_attr, &local->fabric, NULL);
	if (ret) {
		local->fabric = NULL;
		return dp_endpoint_fail(DP_ERRMSG_OF(o), info, ret,
					"refused a fabric");
	}
	if (report->writer == DAXPIN_OFI_WRITER_RDMA)
		ret = local_try(local->fabric, local->info, report, DP_ERRMSG_OF(o));
	return ret ? ret : dp_context_open(&local->context, local->pool,
					   local->fabric, local->info, label,
					   DP_ERRMSG_OF(o));
}

static int local_open(struct daxpin_pool *pool, struct fid_domain *domain,
		      const struct fi_info *info,
		      const struct daxpin_ofi_local_options *o,
		      struct daxpin_ofi_local **ret_local)
{
	struct daxpin_ofi_report report = { 0 };
	struct daxpin_ofi_local *local;
	int ret;

	if (o->flags)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, "flags 0x%x: unknown",
			       o->flags);
	ret = local_check_info(info, &report, DP_ERRMSG_OF(o));
	if (ret)
		return ret;
	local = local_create(pool, domain, info);
	if (!local)
		return -ENOMEM;
	ret = local_register(local, info, &report, o);
	if (ret)
		local_destroy(local);
	else
		*ret_local = local;
	return ret;
}

DP_EXPORT int daxpin_ofi_local_open(struct daxpin_pool *pool,
				    struct fid_domain *domain,
				    const struct fi_info *info,
				    const struct daxpin_ofi_local_options *options,
				    struct daxpin_ofi_local **ret_local)
{
	DP_UNCANCELLED();
	struct daxpin_ofi_local_options o = { .size = sizeof(o) };
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : 0;

	if (ret)
		return ret;
	ret = pool && domain && info && ret_local ?
		      local_open(pool, domain, info, &o, ret_local) : -EINVAL;
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}

DP_EXPORT int daxpin_ofi_local_info(struct daxpin_ofi_local *local,
				    struct daxpin_ofi_local_info *ret_info)
{
	struct daxpin_ofi_local_info info;
	DP_UNCANCELLED();
	int ret = local_enter(local);

	if (ret)
		return ret;
	pthread_mutex_lock(&local->mutex);
	info = local->figures;
	pthread_mutex_unlock(&local->mutex);
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

static uint64_t local_in_flight(struct daxpin_ofi_local *local)
{
	uint64_t count;

	pthread_mutex_lock(&local->mutex);
	count = local->figures.in_flight;
	pthread_mutex_unlock(&local->mutex);
	return count;
}

DP_EXPORT int daxpin_ofi_local_close(struct daxpin_ofi_local *local)
{
	static struct dp_detached_list closed;
	struct dp_detached oldest;
	DP_UNCANCELLED();
	int ret;

	if (!local)
		return 0;
	ret = local_enter(local);
	if (!ret && local_in_flight(local))
		ret = -EBUSY;
	if (!ret)
		ret = dp_context_close(&local->context);
	if (ret)
		return ret;
	local_close_fabric(local);
	assert(!local->figures.regions);
	local->was_closed = true;
	local->pool = NULL;
	oldest = dp_detached_remember(&closed, (struct dp_detached){ local, NULL });
	if (oldest.handle)
		local_destroy(oldest.handle);
	return 0;
}

/* ------------------------------------------------------------------ regions */

/* A key that no region of the domain has, if possible. No peer gets it, and the region
 * gives no peer access. */
static uint64_t local_choose_key(const struct daxpin_ofi_local *local,
				 const struct daxpin_ofi_io *io, uint64_t attempt)
{
	uint64_t mixed = ((uintptr_t)io + attempt) * UINT64_C(0x9e3779b97f4a7c15);

	mixed ^= mixed >> 32;
	return mixed & local->key_mask;
}

static int local_open_region(struct daxpin_ofi_local *local,
			     struct daxpin_ofi_io *io, uint64_t length,
			     uint32_t access)
{
	uint64_t use = 0;
	int ret = -EEXIST;

	if (access & DAXPIN_HOLD_READ)
		use |= FI_SEND | FI_WRITE;
	if (access & DAXPIN_HOLD_WRITE)
		use |= FI_RECV | FI_READ;
	for (uint64_t i = 0; i < KEY_TRIES && ret == -EEXIST; i++) {
		ret = fi_mr_reg(local->domain, io->memory, length, use, 0,
				local_choose_key(local, io, i), 0, &io->region,
				NULL);
		if (ret == -FI_ENOKEY)
			ret = -EEXIST;
	}
	if (ret)
		io->region = NULL;
	else
		io->desc = fi_mr_desc(io->region);
	return ret;
}

/* Called without the mutex, because it may sleep. */
static int local_close_region(struct daxpin_ofi_io *io)
{
	struct dp_retry retry = { 0 };
	int ret = 0;

	do
		ret = io->region ? dp_region_close(io->region) : 0;
	while (dp_retry(&retry, ret));
	return ret;
}

/* ----------------------------------------------------------------- requests */

/* The range is checked under the hold: the size of an extent cannot change while it is
 * held. */
static int local_hold(struct daxpin_ofi_local *local, struct daxpin_ofi_io *io,
		      struct daxpin_extent extent, uint64_t offset,
		      uint64_t length, uint32_t access)
{
	int ret = daxpin_hold_labelled(local->pool, extent, access,
				       access & DAXPIN_HOLD_WRITE ?
				       local->in_label : local->out_label,
				       &io->hold);

	if (ret)
		return ret;
	io->memory = daxpin_ptr(local->pool, extent, offset);
	if (length && offset < io->hold.bytes &&
	    length <= io->hold.bytes - offset && io->memory)
		return 0;
	daxpin_drop_labelled(local->pool, &io->hold);
	return -EINVAL;
}

static void local_begin(struct daxpin_ofi_local *local, struct daxpin_ofi_io *io)
{
	pthread_mutex_lock(&local->mutex);
	io->local = local;
	io->self = io;
	local->figures.in_flight++;
	local->figures.prepared++;
	local->figures.regions += io->region != NULL;
	pthread_mutex_unlock(&local->mutex);
}

DP_EXPORT int daxpin_ofi_prep(struct daxpin_ofi_local *local,
			      struct daxpin_ofi_io *io,
			      struct daxpin_extent extent, uint64_t offset,
			      uint64_t length, uint32_t access)
{
	DP_UNCANCELLED();
	int ret = local_enter(local);

	if (!ret && (!io || io->local || !access || access & ~ACCESS_ALL))
		ret = -EINVAL;
	if (!ret)
		ret = local_hold(local, io, extent, offset, length, access);
	if (ret)
		return ret;
	io->desc = NULL;
	io->region = NULL;
	if (local->needs_regions)
		ret = local_open_region(local, io, length, access);
	if (ret)
		daxpin_drop_labelled(local->pool, &io->hold);
	else
		local_begin(local, io);
	return ret;
}

/* Only one of several calls for a request ends it, and none for a copy of it. */
static bool local_claim(struct daxpin_ofi_local *local, struct daxpin_ofi_io *io)
{
	bool is_mine;

	pthread_mutex_lock(&local->mutex);
	is_mine = io->self == io;
	if (is_mine)
		io->self = NULL;
	pthread_mutex_unlock(&local->mutex);
	return is_mine;
}

static int local_give_back(struct daxpin_ofi_local *local,
			   struct daxpin_ofi_io *io, int error)
{
	pthread_mutex_lock(&local->mutex);
	io->self = io;
	local->figures.refusals++;
	pthread_mutex_unlock(&local->mutex);
	return error;
}

/* Any error means that an excess drop had ended the hold. */
static int local_drop(struct daxpin_ofi_local *local, struct daxpin_ofi_io *io)
{
	const bool had_region = io->region;
	int ret;

	assert(!io->self && io->local == local);
	ret = daxpin_drop_labelled(local->pool, &io->hold);
	io->region = NULL;
	io->local = NULL;
	pthread_mutex_lock(&local->mutex);
	assert(local->figures.in_flight);
	local->figures.in_flight--;
	local->figures.regions -= had_region;
	pthread_mutex_unlock(&local->mutex);
	return ret;
}

DP_EXPORT int daxpin_ofi_done(struct daxpin_ofi_io *io)
{
	struct daxpin_ofi_local *local = io ? io->local : NULL;
	DP_UNCANCELLED();
	int ret = local_enter(local);

	if (!ret && !local_claim(local, io))
		ret = -EINVAL;
	if (ret)
		return ret;
	ret = local_close_region(io);
	return ret ? local_give_back(local, io, ret) : local_drop(local, io);
}

DP_EXPORT int daxpin_ofi_abort(struct daxpin_ofi_io *io)
{
	DP_UNCANCELLED();

	return daxpin_ofi_done(io);
}
