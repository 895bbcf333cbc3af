/* SPDX-License-Identifier: BSD-3-Clause */
/* The registration of a provider with a pool, which records the verbs context of the
 * device that the provider names, if it names one. */
#ifndef DP_OFI_CONTEXT_H
#define DP_OFI_CONTEXT_H

#include <daxpin-ofi.h>
#include <rdma/fi_domain.h>
#include "util/util.h"

/* Private to context.c. Zeroed: nothing is open. */
struct dp_context {
	struct fid_fabric *fabric;
	struct fi_info *info;
	struct fid_domain *kept;	/* NULL: the provider names no device */
	struct fid_domain *found;	/* while daxpin_register() is running */
	struct daxpin_registration *registration;
	char errmsg[400];		/* why there is no `found`; or "" */
};

/*
 * Register, and if the provider names a device record its verbs context on media before
 * the call returns. fabric and info are used until the close. Errors, with a sentence,
 * as dp_provider_check_context(), daxpin_register() and fi_domain().
 */
int dp_context_open(struct dp_context *context, struct daxpin_pool *pool,
		    struct fid_fabric *fabric, struct fi_info *info,
		    const char *label, const struct dp_errmsg *errmsg);
/* End it, when the device reaches no memory of the pool. 0, or as fi_close(); the call
 * can be repeated then. */
int dp_context_close(struct dp_context *context);
/* Instead of the close, when memory or a domain was not released: the context of a
 * device stays on record until the process ends. Without a device only the registration
 * ends. */
void dp_context_leave(struct dp_context *context);

#endif
