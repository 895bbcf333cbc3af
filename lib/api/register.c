/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions for adapters. The caller's mistakes are found here; the modules
 * of the lower folders do the work.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/handle.h"
#include "core/snapshot.h"
#include "owner/owner.h"
#include "pool/own.h"
#include "util/cancel.h"
#include "util/probe.h"

DP_EXPORT int daxpin_segment(struct daxpin_pool *pool, uint32_t index,
			     struct daxpin_segment *ret_segment)
{
	int ret = dp_enter(pool);

	if (ret || !ret_segment)
		return ret ? ret : -EINVAL;
	if (index >= pool->media.geometry.segments)
		return -ENOENT;
	*ret_segment = (struct daxpin_segment) {
		.addr = dp_geometry_begin(&pool->media.geometry, index),
		.size = dp_geometry_size(&pool->media.geometry, index),
		.base = dp_geometry_base(&pool->media.geometry, index),
	};
	return 0;
}

DP_EXPORT int daxpin_lock_fd(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : dp_file_fd(&pool->media.first);
}

DP_EXPORT int daxpin_anchor_fd(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	ret = dp_anchor_fd(&pool->media.anchor);
	return ret < 0 ? -EOPNOTSUPP : ret;
}

static int register_check(struct daxpin_pool *pool, uint32_t segment,
			  const struct daxpin_registration_options *options,
			  const struct dp_errmsg *errmsg)
{
	if (segment >= dp_pool_in_set(&pool->media) && segment != DAXPIN_ALL_SEGMENTS)
		return -ENOENT;
	if (options->flags & ~DAXPIN_REGISTRATION_BY_SEGMENT)
		return dp_fail(errmsg, -EINVAL, "flags 0x%x: only DAXPIN_REGISTRATION_BY_SEGMENT is known",
			       options->flags);
	if (pool->media.source.kind == DP_SOURCE_DISK)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "%s is on a disk, whose page-cache pages lose their dirty state under DMA: use a DAX filesystem, device-dax or tmpfs",
			       pool->media.source.path);
	if (options->rdma_device && pool->media.readonly)
		return -EROFS;
	if (!options->rdma_device != !options->rdma_domain)
		return dp_fail(errmsg, -EINVAL,
			       "rdma_device and rdma_domain must be set together: rdma_device names the device in messages, and rdma_domain is called to find its verbs context");
	return 0;
}

/* Find the verbs context, and put it on record. */
static int register_rdma(struct daxpin_pool *pool,
			 const struct daxpin_registration_options *options,
			 struct daxpin_registration *registration,
			 const struct dp_errmsg *errmsg)
{
	struct dp_rdma_context context;
	int unknown, ret;

	ret = unknown = dp_owner_find_context(options->rdma_domain,
					      options->rdma_arg, &context,
					      errmsg);
	if (ret < 0)
		return ret;
	ret = dp_pool_record_rdma(&pool->media, unknown ? NULL : &context);
	if (ret == -ENOSPC)
		return dp_fail(errmsg, ret,
			       "%s cannot be recorded in the pool, which has room for %u verbs contexts: attach protection domains of fewer contexts, or detach some",
			       options->rdma_device, DP_RDMA_CONTEXTS_MAX);
	if (ret)
		return dp_fail(errmsg, ret,
			       "the verbs context of %s cannot be recorded in the pool: %s",
			       options->rdma_device, strerror(-ret));
	dp_registration_set_rdma(registration, (struct dp_registration_rdma) {
		.is_used = true,
		.is_known = !unknown,
		.device = unknown ? 0 : context.device,
		.number = unknown ? 0 : context.number,
	});
	return 0;
}

/* Remove the verbs context from the record, unless another registration uses it. */
static void register_forget_rdma(struct daxpin_pool *pool,
				 const struct dp_registration_rdma *rdma)
{
	const struct dp_rdma_context context = { rdma->device, rdma->number, 0 };

	if (rdma->is_used)
		dp_pool_forget_rdma(&pool->media,
				    rdma->is_known ? &context : NULL);
}

/* On failure nothing is left of the registration. */
static int register_list(struct daxpin_pool *pool, uint32_t segment,
			 const struct daxpin_registration_options *options,
			 struct daxpin_registration *registration)
{
	struct dp_registration_rdma rdma = dp_registration_rdma(registration);
	int ret = 0;

	if (options->flags & DAXPIN_REGISTRATION_BY_SEGMENT)
		dp_registration_add(&pool->holders, registration);
	else
		ret = dp_jobs_register(&pool->jobs, registration, segment);
	if (!ret)
		return 0;
	register_forget_rdma(pool, &rdma);
	dp_registration_free(registration);
	return dp_fail(DP_ERRMSG_OF(options), ret,
		       "the kernel is punching or filling a part of what is registered: try again after DAXPIN_EVENT_RETRY");
}

static int register_make(struct daxpin_pool *pool, uint32_t segment,
			 const struct daxpin_registration_options *options,
			 struct daxpin_registration **ret_registration)
{
	const struct dp_errmsg *errmsg = DP_ERRMSG_OF(options);
	struct daxpin_registration *registration;
	int ret = register_check(pool, segment, options, errmsg);

	if (ret)
		return ret;
	registration = dp_registration_make(
		pool, pool->media.geometry.most, segment,
		options->flags & DAXPIN_REGISTRATION_BY_SEGMENT,
		options->label);
	if (!registration)
		return -ENOMEM;
	dp_registration_set_maker(registration, options->maker,
				  options->maker_arg);
	if (options->rdma_device)
		ret = register_rdma(pool, options, registration, errmsg);
	if (ret) {
		dp_registration_free(registration);
		return ret;
	}
	ret = register_list(pool, segment, options, registration);
	if (!ret)
		*ret_registration = registration;
	return ret;
}

DP_EXPORT int daxpin_register(struct daxpin_pool *pool, uint32_t segment,
			      const struct daxpin_registration_options *user,
			      struct daxpin_registration **ret_registration)
{
	DP_UNCANCELLED();
	struct daxpin_registration_options options = { 0 };
	int ret = user ? DP_TAKE_OPTIONS(&options, user) : -EINVAL;

	if (ret)
		return ret;
	ret = dp_enter(pool);
	if (!ret && (!options.label || !ret_registration))
		ret = -EINVAL;
	if (!ret)
		ret = register_make(pool, segment, &options, ret_registration);
	if (!ret)
		dp_snapshot_update(pool);
	return dp_end_errmsg(DP_ERRMSG_OF(&options), ret, daxpin_strerror(ret));
}

/* Every call on a registration begins like this. */
static int register_enter(const struct daxpin_registration *registration,
			  struct daxpin_pool **ret_pool)
{
	if (!registration)
		return -EINVAL;
	*ret_pool = dp_registration_pool(registration);
	return dp_enter(*ret_pool);
}

DP_EXPORT void *
daxpin_registration_arg(const struct daxpin_registration *registration,
			const void *maker)
{
	struct daxpin_pool *pool;

	return register_enter(registration, &pool) ?
	       NULL : dp_registration_arg(registration, maker);
}

DP_EXPORT int daxpin_unregister(struct daxpin_registration *registration)
{
	DP_UNCANCELLED();
	struct dp_registration_rdma rdma;
	struct daxpin_pool *pool;
	int ret = register_enter(registration, &pool);

	if (ret)
		return ret;
	rdma = dp_registration_rdma(registration);
	register_forget_rdma(pool, &rdma);
	dp_registration_remove(&pool->holders, registration, &pool->events);
	dp_registration_free(registration);
	dp_jobs_poll(&pool->jobs);
	dp_snapshot_update(pool);
	return 0;
}

DP_EXPORT int daxpin_registration_pin(struct daxpin_registration *registration,
				      uint32_t segment)
{
	DP_UNCANCELLED();
	struct daxpin_pool *pool;
	int ret = register_enter(registration, &pool);

	return ret ? ret : dp_jobs_pin(&pool->jobs, registration, segment);
}

DP_EXPORT int
daxpin_registration_wanted(struct daxpin_registration *registration,
			   uint32_t *segment)
{
	struct daxpin_pool *pool;
	int ret = segment ? register_enter(registration, &pool) : -EINVAL;

	return ret ? ret : dp_registration_wanted(&pool->holders, registration,
						  segment);
}

DP_EXPORT int
daxpin_registration_revoked(struct daxpin_registration *registration,
			    uint32_t segment)
{
	DP_UNCANCELLED();
	struct daxpin_pool *pool;
	int ret = register_enter(registration, &pool);

	if (ret)
		return ret;
	ret = dp_registration_revoked(&pool->holders, registration, segment);
	DP_PROBE_REVOKE(pool,
			segment * pool->media.geometry.segment_size,
			pool->media.geometry.segment_size,
			dp_registration_label(registration), ret);
	dp_jobs_poll(&pool->jobs);
	return ret;
}
