/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_KINDS_H
#define SIM_KINDS_H

#include "explore.h"

struct kind_list {
	const struct kind *kind;
	uint32_t count;
};

/* kinds_pool.c: create, open, close, the owner's record. */
extern const struct kind_list kinds_pool;
/* kinds_publish.c: one publisher. */
extern const struct kind_list kinds_publish;
/* kinds_batch.c: sets, roots, many operations at once. */
extern const struct kind_list kinds_batch;
/* kinds_together.c: publishers that interleave. */
extern const struct kind_list kinds_together;
/* kinds_damage.c: words that no order of stores leaves. */
extern const struct kind_list kinds_damage;
/* kinds_reclaim.c: holes, by a ring, and the layout barrier. */
extern const struct kind_list kinds_reclaim;

/* ------------------------------------------------------- common to kinds */

/* A pool with some extents, closed. */
void setup_pool(struct world *world);
/* Without an extent, closed: no page of its table is in use. */
void setup_empty_pool(struct world *world);
/* With some extents, and not closed by its owner. */
void setup_left_pool(struct world *world);
/* Open, or complete the create that was cut short. */
void recover(struct world *world);
/*
 * Reserve and keep so much that only `blocks` stay free, in one run; the
 * medium is that of one segment, and its pool empty.
 */
void fill_all_but(struct world *world, uint32_t blocks);
/* A random operation on the pool, or closing and opening it. */
void random_step(struct world *world);
/* Some random operations in one. */
void random_batch(struct world *world);

#endif
