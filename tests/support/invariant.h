/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asserts every invariant that can be checked without history. Tests call it after each
 * step. No other call may run on the pool meanwhile.
 */
#ifndef DP_INVARIANT_H
#define DP_INVARIANT_H

#include "core/handle.h"

void dp_invariants(struct daxpin_pool *pool);

/*
 * The same for a segment's free lists without a pool: they contain every free block
 * once, and no run is longer than `longest`.
 */
void dp_invariants_runs(const struct dp_runs *runs, uint32_t longest);
/* Returns, for each block, whether a thread caches it. The caller frees the array. */
uint8_t *dp_invariants_spaces(struct dp_spaces *spaces);

#endif
