/* SPDX-License-Identifier: BSD-3-Clause */
/* The figures of an open pool. */
#ifndef DP_INFO_H
#define DP_INFO_H

#include "core/handle.h"

/* What daxpin_pool_info() returns, without size. */
struct daxpin_pool_info dp_info_now(struct daxpin_pool *pool);

#endif
