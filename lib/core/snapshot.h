/* SPDX-License-Identifier: BSD-3-Clause */
/* Fills the status page of a pool. See snapshot.c for when. */
#ifndef DP_SNAPSHOT_H
#define DP_SNAPSHOT_H

#include "core/handle.h"

/* At the end of an open: create the page and write the first snapshot, unless the pool
 * is open for reading. none: remove the page of an earlier owner, and create none. */
void dp_snapshot_begin(struct daxpin_pool *pool, bool none);
/* Write a snapshot if it is time. For calls that are not on a hot path. */
void dp_snapshot_update(struct daxpin_pool *pool);
/* At the close, while the owner lock is held. */
void dp_snapshot_remove(struct daxpin_pool *pool);

#endif
