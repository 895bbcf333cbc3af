/* SPDX-License-Identifier: BSD-3-Clause */
/* Copying an extent to a new one. */
#ifndef DP_COPY_H
#define DP_COPY_H

#include "core/handle.h"

/*
 * Reserve an extent of the same size and copy the bytes of `from` to it, under a hold
 * of `from`. The copied bytes are durable when it returns 0. On a failure nothing
 * remains reserved or held. Errors as daxpin_copy(), with a sentence.
 */
int dp_copy(struct daxpin_pool *pool, struct dp_handle from,
	    struct daxpin_extent *ret_extent, const struct dp_errmsg *errmsg);

#endif
