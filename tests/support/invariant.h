/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every invariant that can be seen from one place, asserted. For tests, after
 * each step; nothing else may run on the pool meanwhile.
 */
#ifndef DP_INVARIANT_H
#define DP_INVARIANT_H

#include "core/handle.h"

void dp_invariants(struct daxpin_pool *pool);

#endif
