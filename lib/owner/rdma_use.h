/* SPDX-License-Identifier: BSD-3-Clause */
/* What this process has of verbs, by the kernel's lists. */
#ifndef DP_RDMA_USE_H
#define DP_RDMA_USE_H

#include <stdint.h>
#include "util/util.h"

struct dp_rdma_counts {
	uint32_t contexts;	/* that a thread of this process opened */
	uint32_t domains;	/* protection domains in use that such a thread
				   allocated, or that are in such a context */
	uint32_t unknown;	/* those in use that may be of this process: neither the
				   domain nor its context has the id of a thread */
};

/*
 * Count those of all RDMA devices.
 *
 * -ENOMEM
 * -EOPNOTSUPP with a sentence: the kernel does not show them all
 */
int dp_rdma_use_count(const struct dp_errmsg *errmsg,
		      struct dp_rdma_counts *ret_counts);

#endif
