/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns struct daxpin_ofi: which providers are accepted, the trial on free space of the
 * pool, and the registration, which prevents a close of the pool and pins nothing. No
 * provider gets memory of the pool before it is known what stores the bytes.
 *
 *  - Nothing of a dead process may write to a pool that is open again. What a CPU
 *    copies for a process ends with it, so a provider is accepted if that is shown
 *    (daxpin_ofi_writer). A device may go on: a provider of one is accepted if the
 *    pool has the device's verbs context on record (context.c), for whose end the next
 *    open waits. Others are refused.
 *  - A child of fork() shares the sockets of the provider. So struct daxpin_ofi is
 *    wiped in a child, and every call that finds no pool in it returns -EOWNERDEAD.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rdma/fi_errno.h>
#include <string.h>
#include <sys/mman.h>
#include "ofi/ending.h"
#include "ofi/peer.h"
#include "ofi/provider.h"
#include "ofi/trial.h"
#include "ofi/types.h"
#include "util/cancel.h"
#include "util/detached.h"

#define MR_MODES	(FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | \
			 FI_MR_PROV_KEY | FI_MR_ENDPOINT)
#define MODES		(FI_CONTEXT | FI_CONTEXT2)

/* ---------------------------------------------------------- which providers */

static int adapter_check_modes(const struct fi_info *info,
			       const struct dp_errmsg *errmsg)
{
	const uint64_t mr_mode = (uint64_t)info->domain_attr->mr_mode;
	const char *name = info->fabric_attr->prov_name;

	if (mr_mode & ~(uint64_t)MR_MODES)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s needs mr_mode 0x%" PRIx64 ", of which this library has 0x%" PRIx64 ": pass only these bits to fi_getinfo()",
			       name, mr_mode, (uint64_t)MR_MODES);
	if (info->mode & ~(uint64_t)MODES)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s needs mode 0x%" PRIx64 ", of which this library has FI_CONTEXT and FI_CONTEXT2: pass only these to fi_getinfo()",
			       name, info->mode);
	return 0;
}

static int adapter_check_info(const struct fi_info *info,
			      const struct dp_errmsg *errmsg)
{
	const char *name;

	if (!info->ep_attr || !info->domain_attr || !info->fabric_attr ||
	    !info->fabric_attr->prov_name)
		return dp_fail(errmsg, -EINVAL,
			       "info is not complete: pass a result of fi_getinfo()");
	name = info->fabric_attr->prov_name;
	if (!(info->caps & FI_RMA) || info->ep_attr->type != FI_EP_RDM)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s: info has no FI_RMA, or its endpoints are not FI_EP_RDM: set caps and ep_attr->type in the hints of fi_getinfo()",
			       name);
	return adapter_check_modes(info, errmsg);
}

/* ---------------------------------------------------------------- the trial */

static int adapter_reserve(struct daxpin_pool *pool, uint64_t *ret_length,
			   struct daxpin_extent *ret_extent)
{
	uint64_t length = DP_TRIAL_BYTES_MAX;
	int ret = daxpin_reserve(pool, length, 0, ret_extent);

	while ((ret == -ENOSPC || ret == -EAGAIN || ret == -EFBIG) &&
	       length > DP_TRIAL_BYTES_MIN) {
		length /= 2;
		ret = daxpin_reserve(pool, length, 0, ret_extent);
	}
	*ret_length = length;
	return ret;
}

#define REMAINS_HELD \
	"the %" PRIu64 " bytes of the pool that the trial used remain held, and the pool cannot be closed, until this process ends"

/* What is written there follows the sentence that errmsg has. */
static struct dp_errmsg adapter_rest(const struct dp_errmsg *errmsg)
{
	struct dp_errmsg rest = *errmsg;
	size_t used = rest.text ? strnlen(rest.text, rest.size) : 0;

	rest.text = rest.text ? rest.text + used : NULL;
	rest.size -= used;
	return rest;
}

/* The trial has failed, and perhaps something of it could not be closed. */
static int adapter_trial_failed(const struct daxpin_ofi *ofi, int error,
				uint64_t length, bool kept,
				const struct dp_errmsg *errmsg)
{
	struct dp_errmsg rest;

	dp_endpoint_fail(errmsg, ofi->info, error, "failed in its trial");
	if (!kept)
		return error;
	rest = adapter_rest(errmsg);
	return dp_fail(&rest, error, "; an object of the trial could not be closed, so "
		       REMAINS_HELD, length);
}

/* *ret_kept: the extent remains reserved and held. */
static int adapter_try_held(struct daxpin_ofi *ofi, struct daxpin_extent extent,
			    uint64_t length, const struct dp_errmsg *errmsg,
			    bool *ret_kept)
{
	void *memory = daxpin_ptr(ofi->pool, extent, 0);
	int ret;

	assert(memory);
	ret = dp_trial(ofi->fabric, ofi->info, memory, length, &ofi->report, errmsg,
		       ret_kept);
	assert(ret || !*ret_kept);
	if (ret)
		return adapter_trial_failed(ofi, ret, length, *ret_kept, errmsg);
	if (ofi->report.ends == DAXPIN_OFI_ENDS_REGION ||
	    ofi->report.ends == DAXPIN_OFI_ENDS_ENDPOINT)
		return 0;
	/* Bytes arrived after all was closed: more may. */
	*ret_kept = ofi->report.ends == DAXPIN_OFI_ENDS_NOTHING;
	if (*ret_kept)
		return dp_fail(errmsg, -EOPNOTSUPP, "%s; " REMAINS_HELD,
			       ofi->report.what, length);
	return dp_fail(errmsg, -EOPNOTSUPP, "%s", ofi->report.what);
}

static int adapter_try(struct daxpin_ofi *ofi, const struct dp_errmsg *errmsg,
		       bool *ret_kept)
{
	struct daxpin_extent extent;
	uint64_t length;
	int ret = adapter_reserve(ofi->pool, &length, &extent), end_ret;

	if (ret)
		return dp_fail(errmsg, ret,
			       "the trial of the provider needs %u bytes of free space in one run, and there are none: %s",
			       DP_TRIAL_BYTES_MIN, daxpin_strerror(ret));
	ret = daxpin_hold(ofi->pool, extent, DAXPIN_HOLD_WRITE);
	if (!ret) {
		ret = adapter_try_held(ofi, extent, length, errmsg, ret_kept);
		if (*ret_kept)
			return ret;
		end_ret = daxpin_drop(ofi->pool, extent);
		ret = ret ? ret : end_ret;
	}
	end_ret = daxpin_cancel(ofi->pool, extent);
	return ret ? ret : end_ret;
}

/* ----------------------------------------------------------- attach, detach */

static void adapter_destroy(struct daxpin_ofi *ofi)
{
	dp_ofi_endings_destroy(ofi);
	pthread_mutex_destroy(&ofi->peers_lock);
	if (ofi->info)
		fi_freeinfo(ofi->info);
	munmap(ofi, sizeof(*ofi));
}

static int adapter_create(struct daxpin_pool *pool, struct fid_fabric *fabric,
			  const struct fi_info *info, struct daxpin_ofi **ret_ofi)
{
	struct daxpin_ofi *ofi = mmap(NULL, sizeof(*ofi), PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret = 0;

	if (ofi == MAP_FAILED)
		return -errno;
	if (madvise(ofi, sizeof(*ofi), MADV_WIPEONFORK))
		ret = -errno;
	if (!ret) {
		ofi->info = fi_dupinfo(info);
		ret = ofi->info ? 0 : -ENOMEM;
	}
	if (ret) {
		munmap(ofi, sizeof(*ofi));
		return ret;
	}
	ofi->pool = pool;
	ofi->fabric = fabric;
	pthread_mutex_init(&ofi->peers_lock, NULL);
	dp_ofi_endings_init(ofi);
	*ret_ofi = ofi;
	return 0;
}

/* The trial has failed, and errmsg says why. Returns its error. */
static int adapter_give_up(struct daxpin_ofi *ofi, int error, bool kept,
			   const struct dp_errmsg *errmsg)
{
	int ret = kept ? 0 : dp_context_close(&ofi->context);
	struct dp_errmsg rest;

	if (ret) {
		dp_end_errmsg(errmsg, error, daxpin_strerror(error));
		rest = adapter_rest(errmsg);
		(void)dp_fail(&rest, ret,
			      "; then %s refused to close its domain: %s; the pool cannot be closed until this process ends",
			      ofi->info->fabric_attr->prov_name, fi_strerror(-ret));
	}
	if (kept || ret)
		dp_context_leave(&ofi->context);
	return error;
}

static int adapter_start(struct daxpin_ofi *ofi,
			 const struct daxpin_ofi_options *o)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	const char *label = o->label ? o->label : ofi->info->fabric_attr->prov_name;
	int ret = daxpin_pool_info(ofi->pool, &info);
	bool kept = false;

	if (ret)
		return ret;
	if (info.flags & DAXPIN_POOL_READONLY)
		return dp_fail(DP_ERRMSG_OF(o), -EROFS,
			       "the pool is open for reading, and no peer may write to it");
	memcpy(ofi->uuid, info.uuid, sizeof(ofi->uuid));
	ret = dp_context_open(&ofi->context, ofi->pool, ofi->fabric, ofi->info, label,
			      DP_ERRMSG_OF(o));
	if (ret)
		return ret;
	ret = adapter_try(ofi, DP_ERRMSG_OF(o), &kept);
	return ret ? adapter_give_up(ofi, ret, kept, DP_ERRMSG_OF(o)) : 0;
}

static int adapter_attach(struct daxpin_pool *pool, struct fid_fabric *fabric,
			  const struct fi_info *info,
			  const struct daxpin_ofi_options *o,
			  struct daxpin_ofi **ret_ofi)
{
	struct daxpin_ofi_report report = { 0 };
	struct daxpin_ofi *ofi = NULL;
	int ret;

	if (o->flags)
		return dp_fail(DP_ERRMSG_OF(o), -EINVAL, "flags 0x%x: unknown",
			       o->flags);
	ret = adapter_check_info(info, DP_ERRMSG_OF(o));
	if (!ret)
		ret = dp_trial_check_writer(info, fabric, &report, DP_ERRMSG_OF(o));
	if (!ret)
		ret = adapter_create(pool, fabric, info, &ofi);
	if (ret)
		return ret;
	ofi->report = report;
	ret = adapter_start(ofi, o);
	if (ret)
		adapter_destroy(ofi);
	else
		*ret_ofi = ofi;
	return ret;
}

DP_EXPORT int daxpin_ofi_attach(struct daxpin_pool *pool,
				struct fid_fabric *fabric,
				const struct fi_info *info,
				const struct daxpin_ofi_options *options,
				struct daxpin_ofi **ret_ofi)
{
	DP_UNCANCELLED();
	struct daxpin_ofi_options o = { .size = sizeof(o) };
	int ret = options ? DP_TAKE_OPTIONS(&o, options) : 0;

	if (ret)
		return ret;
	ret = pool && fabric && info && ret_ofi ?
		      adapter_attach(pool, fabric, info, &o, ret_ofi) : -EINVAL;
	return dp_end_errmsg(DP_ERRMSG_OF(&o), ret, daxpin_strerror(ret));
}

static int adapter_probe(struct fid_fabric *fabric, const struct fi_info *info,
			 void *memory, uint64_t length,
			 struct daxpin_ofi_report *report)
{
	const struct dp_errmsg none = { 0 };
	bool kept = false;
	int ret = adapter_check_info(info, &none);

	if (!ret)
		ret = dp_trial_find_writer(info, fabric, report);
	if (!ret)
		ret = dp_trial(fabric, info, memory, length, report, NULL, &kept);
	return kept ? -EBUSY : ret;
}

DP_EXPORT int daxpin_ofi_probe(struct fid_fabric *fabric,
			       const struct fi_info *info, void *memory,
			       uint64_t length, struct daxpin_ofi_report *ret_report)
{
	DP_UNCANCELLED();
	struct daxpin_ofi_report report = { .size = sizeof(report) };
	int ret;

	if (!fabric || !info || !memory || length < DP_TRIAL_BYTES_MIN ||
	    !ret_report)
		return -EINVAL;
	length = dp_min(length, (uint64_t)DP_TRIAL_BYTES_MAX);
	ret = adapter_probe(fabric, info, memory, length, &report);
	return ret ? ret : dp_return_versioned(ret_report, &report,
					       sizeof(report));
}

DP_EXPORT int daxpin_ofi_report(struct daxpin_ofi *ofi,
				struct daxpin_ofi_report *ret_report)
{
	int ret = dp_ofi_enter(ofi);

	return ret ? ret : dp_return_versioned(ret_report, &ofi->report,
					       sizeof(ofi->report));
}

DP_EXPORT int daxpin_ofi_info(struct daxpin_ofi *ofi,
			      struct daxpin_ofi_info *ret_info)
{
	struct daxpin_ofi_info info;
	DP_UNCANCELLED();
	int ret = dp_ofi_enter(ofi);

	if (ret)
		return ret;
	dp_ofi_endings_count(ofi, &info);
	info.next_deadline_ns = dp_ofi_peers_due(ofi);
	return dp_return_versioned(ret_info, &info, sizeof(info));
}

DP_EXPORT int daxpin_ofi_service(struct daxpin_ofi *ofi)
{
	DP_UNCANCELLED();
	int ret = dp_ofi_enter(ofi);

	return ret ? ret : dp_ofi_peers_service(ofi);
}

/* The memory of ofi and of its ended grants is kept, so that late calls on them return
 * -ESTALE. If the list is full, its oldest attachment is freed. */
static void adapter_tombstone(struct daxpin_ofi *ofi)
{
	static struct dp_detached_list detached;
	struct dp_detached oldest;

	ofi->detached = true;
	ofi->pool = NULL;
	fi_freeinfo(ofi->info);
	ofi->info = NULL;
	oldest = dp_detached_remember(&detached, (struct dp_detached) {
				      ofi, dp_ofi_endings_over(ofi) });
	dp_ofi_endings_free(oldest.more);
	if (oldest.handle)
		adapter_destroy(oldest.handle);
}

DP_EXPORT int daxpin_ofi_detach(struct daxpin_ofi *ofi)
{
	DP_UNCANCELLED();
	int ret;

	if (!ofi)
		return 0;
	ret = dp_ofi_enter(ofi);
	if (!ret)
		ret = dp_ofi_peers_close_left(ofi);
	if (!ret)
		ret = dp_context_close(&ofi->context);
	if (!ret)
		adapter_tombstone(ofi);
	return ret;
}
