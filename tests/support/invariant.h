/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every invariant that can be seen from one place, asserted. For tests, after
 * each step; nothing else may run on the pool meanwhile.
 */
#ifndef DP_INVARIANT_H
#define DP_INVARIANT_H

#include "core/handle.h"

void dp_invariants(struct daxpin_pool *pool);

/* Of the parts of it that have no pool. The lists have every free block once, and no
 * run is longer than that. */
void dp_invariants_runs(const struct dp_runs *runs, uint32_t longest);
/* Whether a block is kept by a thread, by its index; the caller frees it. */
uint8_t *dp_invariants_spaces(struct dp_spaces *spaces);

#endif
