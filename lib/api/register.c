/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions for adapters: what the caller did wrong is found here, once,
 * and the work is done by the modules below.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/handle.h"
#include "owner/owner.h"
#include "util/probe.h"

DP_EXPORT int daxpin_segment(struct daxpin_pool *pool, uint32_t index,
			     struct daxpin_segment *ret_segment)
{
	int ret = dp_enter(pool);

	if (ret || !ret_segment)
		return ret ? ret : -EINVAL;
	if (index >= pool->media.segments)
		return -ENOENT;
	*ret_segment = (struct daxpin_segment) {
		.addr = index * pool->media.segment_size,
		.size = pool->media.segment[index].size,
		.base = pool->media.segment[index].base,
	};
	return 0;
}

DP_EXPORT int daxpin_lock_fd(struct daxpin_pool *pool)
{
	int ret = dp_enter(pool);

	return ret ? ret : pool->media.lock.fd;
}

static int register_check(struct daxpin_pool *pool, uint32_t segment,
			  const struct daxpin_registration_options *options,
			  const struct dp_why *why)
{
	if (segment >= pool->media.segments && segment != DAXPIN_ALL_SEGMENTS)
		return -ENOENT;
	if (options->flags & ~DAXPIN_REGISTRATION_BY_SEGMENT)
		return dp_fail(why, -EINVAL, "flags 0x%x make no sense",
			       options->flags);
	if (pool->media.source.kind == DP_SOURCE_DISK)
		return dp_fail(why, -EOPNOTSUPP,
			       "%s is on a disk, whose page-cache pages lose their dirty state under DMA: use a DAX filesystem, device-dax or tmpfs",
			       pool->media.source.path);
	if (options->rdma_device && pool->media.readonly)
		return -EROFS;
	if (options->rdma_device && !dp_owner_has_context(options->rdma_device))
		return dp_fail(why, -EINVAL,
			       "this process opened no verbs context on %s: after a crash nobody could tell that another's was in use here, so open the device in this process",
			       options->rdma_device);
	return 0;
}

static struct daxpin_registration *
register_make(struct daxpin_pool *pool, uint32_t segment,
	      const struct daxpin_registration_options *options)
{
	struct daxpin_registration *registration =
		calloc(1, sizeof(*registration));

	if (!registration)
		return NULL;
	registration->pool = pool;
	registration->segment = segment;
	registration->segments = pool->media.segments;
	registration->wanted.event = (struct daxpin_event) {
		.type = DAXPIN_EVENT_REVOKE, .registration = registration
	};
	snprintf(registration->label, sizeof(registration->label), "%s",
		 options->label);
	if (!(options->flags & DAXPIN_REGISTRATION_BY_SEGMENT))
		return registration;
	registration->pin = calloc(pool->media.segments, 1);
	if (registration->pin)
		return registration;
	free(registration);
	return NULL;
}

static void register_destroy(struct daxpin_registration *registration)
{
	free(registration->pin);
	free(registration);
}

DP_EXPORT int daxpin_register(struct daxpin_pool *pool, uint32_t segment,
			      const struct daxpin_registration_options *options,
			      struct daxpin_registration **ret_registration)
{
	struct daxpin_registration_options copy = { 0 };
	struct daxpin_registration *registration;
	struct dp_why why;
	int ret = dp_enter(pool);

	if (ret || !options || !ret_registration)
		return ret ? ret : -EINVAL;
	ret = dp_copy_versioned(&copy, sizeof(copy), options);
	if (ret || !copy.label)
		return ret ? ret : -EINVAL;
	why = (struct dp_why) { copy.why, copy.why_size };
	ret = register_check(pool, segment, &copy, &why);
	if (ret)
		return ret;
	registration = register_make(pool, segment, &copy);
	if (!registration)
		return -ENOMEM;
	if (copy.rdma_device)
		ret = dp_pool_record_rdma(&pool->media, copy.rdma_device);
	if (ret) {
		register_destroy(registration);
		return dp_fail(&why, ret,
			       "the verbs device %s cannot be recorded in the pool: %s",
			       copy.rdma_device, strerror(-ret));
	}
	dp_registration_add(&pool->holders, registration);
	*ret_registration = registration;
	return 0;
}

DP_EXPORT int daxpin_unregister(struct daxpin_registration *registration)
{
	struct daxpin_pool *pool;
	int ret;

	if (!registration)
		return -EINVAL;
	pool = registration->pool;
	ret = dp_enter(pool);
	if (ret)
		return ret;
	dp_registration_remove(&pool->holders, registration);
	dp_events_withdraw(&pool->events, &registration->wanted);
	register_destroy(registration);
	dp_jobs_look(&pool->jobs);
	return 0;
}

DP_EXPORT int daxpin_registration_pin(struct daxpin_registration *registration,
				      uint32_t segment)
{
	int ret = registration ? dp_enter(registration->pool) : -EINVAL;

	return ret ? ret : dp_jobs_pin(&registration->pool->jobs, registration,
				       segment);
}

DP_EXPORT int
daxpin_registration_wanted(struct daxpin_registration *registration,
			   uint32_t *segment)
{
	int ret = registration && segment ? dp_enter(registration->pool) :
		  -EINVAL;

	return ret ? ret : dp_registration_wanted(&registration->pool->holders,
						  registration, segment);
}

DP_EXPORT int
daxpin_registration_revoked(struct daxpin_registration *registration,
			    uint32_t segment)
{
	int ret = registration ? dp_enter(registration->pool) : -EINVAL;

	if (ret)
		return ret;
	ret = dp_registration_revoked(&registration->pool->holders,
				      registration, segment);
	DP_PROBE_REVOKE(registration->pool,
			segment * registration->pool->media.segment_size,
			registration->pool->media.segment_size,
			registration->label, ret);
	dp_jobs_look(&registration->pool->jobs);
	return ret;
}
