/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which verbs context do the domains of a provider belong to? libfabric does not say,
 * and the pool must have it on record before a device can reach its memory:
 *
 *	- -> kept	[context_keep] a domain is opened, and stays open: with it, its
 *			context
 *	kept -> open	[dp_context_open] meanwhile daxpin_register() makes and ends
 *			another domain, by which the kernel shows the context's number
 *	open -> -	[dp_context_close]
 *
 *  - After each open of a domain, these two and those of endpoints, the process must
 *    have exactly one context of the device (dp_provider_check_context()). As the first
 *    domain is open all the time, that is its context each time, and so is the one
 *    whose number is recorded.
 *  - If a domain of the provider has no protection domain of its own, the kernel does
 *    not show the number. Then daxpin_register() records that it is unknown, and the
 *    open after a crash waits until no context exists on the machine.
 */
#include "ofi/context.h"

#include <assert.h>
#include <errno.h>
#include <rdma/fi_errno.h>
#include "grant/retry.h"
#include "ofi/endpoint.h"
#include "ofi/provider.h"

static int context_close_domain(struct fid_domain **domain)
{
	struct dp_retry retry = { 0 };
	int ret = 0;

	do
		ret = *domain ? fi_close(&(*domain)->fid) : 0;
	while (dp_retry(&retry, ret));
	if (!ret)
		*domain = NULL;
	return ret;
}

static int context_keep(struct dp_context *c, const struct dp_errmsg *errmsg)
{
	int ret = fi_domain(c->fabric, c->info, &c->kept, NULL);

	if (ret) {
		c->kept = NULL;
		return dp_endpoint_fail(errmsg, c->info, ret,
					"refused a domain");
	}
	return dp_provider_check_context(c->info, errmsg);
}

/* A callback of daxpin_register(). */
static int context_find(int make, void *arg)
{
	struct dp_context *c = arg;
	const struct dp_errmsg own = { c->errmsg, sizeof(c->errmsg) };
	int ret;

	assert(!make == !!c->found);
	if (!make)
		return context_close_domain(&c->found);
	ret = fi_domain(c->fabric, c->info, &c->found, NULL);
	if (ret) {
		c->found = NULL;
		return dp_endpoint_fail(&own, c->info, ret, "refused a domain");
	}
	ret = dp_provider_check_context(c->info, &own);
	/* If this fails, dp_context_open() closes it. */
	if (ret)
		(void)context_close_domain(&c->found);
	return ret;
}

static int context_register(struct dp_context *c, struct daxpin_pool *pool,
			    const char *label, const struct dp_errmsg *errmsg)
{
	const struct daxpin_registration_options options = {
		.size = sizeof(options),
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
		.label = label,
		.rdma_device = c->kept ? dp_provider_rdma_device(c->info) : NULL,
		.rdma_domain = c->kept ? context_find : NULL,
		.rdma_arg = c->kept ? c : NULL,
		.errmsg = errmsg->text,
		.errmsg_size = errmsg->size,
	};
	int ret;

	c->errmsg[0] = '\0';
	ret = daxpin_register(pool, DAXPIN_ALL_SEGMENTS, &options, &c->registration);
	/* The sentence of daxpin_register() has only the errno. */
	return ret && c->errmsg[0] ? dp_fail(errmsg, ret, "%s", c->errmsg) : ret;
}

static int context_close_all(struct dp_context *c)
{
	int ret = context_close_domain(&c->found);

	return ret ? ret : context_close_domain(&c->kept);
}

int dp_context_open(struct dp_context *context, struct daxpin_pool *pool,
		    struct fid_fabric *fabric, struct fi_info *info,
		    const char *label, const struct dp_errmsg *errmsg)
{
	int ret = 0;

	assert(!context->registration && !context->kept);
	context->fabric = fabric;
	context->info = info;
	if (dp_provider_rdma_device(info))
		ret = context_keep(context, errmsg);
	if (!ret)
		ret = context_register(context, pool, label, errmsg);
	/* No memory of the pool is in a domain that the provider refuses to close. */
	if (ret)
		(void)context_close_all(context);
	return ret;
}

int dp_context_close(struct dp_context *context)
{
	int ret = context_close_all(context);

	if (!ret)
		ret = daxpin_unregister(context->registration);
	if (!ret)
		context->registration = NULL;
	return ret;
}

void dp_context_leave(struct dp_context *context)
{
	int ret = 0;

	if (!context->kept && !context->found)
		ret = dp_context_close(context);
	assert(ret == 0);
	*context = (struct dp_context){ 0 };
}
