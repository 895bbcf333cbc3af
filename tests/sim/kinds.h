/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_KINDS_H
#define SIM_KINDS_H

#include "explore.h"

struct kind_list {
	const struct kind *kind;
	uint32_t count;
	bool has_short;			/* see media_init() */
};

/* kinds_pool.c: create, open, close, the owner's record. */
extern const struct kind_list kinds_pool;
/* kinds_publish.c: one publisher. */
extern const struct kind_list kinds_publish;
/* kinds_batch.c: SETs, roots, and batches of many operations. */
extern const struct kind_list kinds_batch;
/* kinds_objects.c: small objects, by one publisher and by several. */
extern const struct kind_list kinds_objects;
/* kinds_together.c: publishers that interleave. */
extern const struct kind_list kinds_together;
/* kinds_damage.c: words that no order of stores can leave. */
extern const struct kind_list kinds_damage;
/* kinds_reclaim.c: reclaims and refills by a ring, and the layout barrier. */
extern const struct kind_list kinds_reclaim;

/* kinds_shrink.c: copies of extents, and a shrink. */
extern const struct kind_list kinds_shrink;
/* The same files: pools that have a short segment. */
extern const struct kind_list kinds_short_pool;
extern const struct kind_list kinds_short_shrink;

/* ------------------------------------------------------- common to kinds */

/* Creates a pool with some extents and closes it. */
void setup_pool(struct world *world);
/* Creates a pool without extents, so no page of its table is in use, and closes it. */
void setup_empty_pool(struct world *world);
/* Creates a pool with some extents, whose owner does not close it. */
void setup_left_pool(struct world *world);
/* Opens the pool, or completes the create that was interrupted. */
void recover(struct world *world);
/*
 * Reserves and keeps extents so that only `blocks` are free, in one run. The pool must
 * be empty and have one segment.
 */
void fill_all_but(struct world *world, uint32_t blocks);
/* A random operation on the pool, or a close and an open. */
void random_step(struct world *world);
/* Some random operations in one batch. */
void random_batch(struct world *world);

#endif
