/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of a pool's DAX filesystem that is not the pool's, to try a device on. */
#ifndef DP_RDMA_SCRATCH_H
#define DP_RDMA_SCRATCH_H

#include <stdint.h>

struct daxpin_pool;

/*
 * Map `bytes` bytes of a new file without a name, beside the pool's first file. 0 and
 * *ret_memory, which the caller unmaps; that removes the file. -EOPNOTSUPP: the file is
 * not DAX, unlike the pool's. Other errors are the filesystem's.
 */
int dp_scratch_map(struct daxpin_pool *pool, uint64_t bytes, void **ret_memory);

#endif
