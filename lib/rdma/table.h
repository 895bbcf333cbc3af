/* SPDX-License-Identifier: BSD-3-Clause */
/* The grants that are out, by their numbers. All under grants_lock. */
#ifndef DP_RDMA_TABLE_H
#define DP_RDMA_TABLE_H

#include "rdma/types.h"

void dp_table_destroy(struct dp_table *table);
/* Allocate memory for `grants` grants, so that adding one cannot fail. 0 or -ENOMEM. */
int dp_table_reserve(struct dp_table *table, uint32_t grants);
void dp_table_add(struct dp_table *table, struct daxpin_grant *grant);
void dp_table_remove(struct dp_table *table, struct daxpin_grant *grant);
/* NULL: there is no grant with that number. */
struct daxpin_grant *dp_table_find(const struct dp_table *table, uint64_t id);

#endif
