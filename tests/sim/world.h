/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine with an application that uses a pool: the calls of the library that are
 * tried, each recorded in the history, and stores to payload.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <daxpin.h>
#include "history.h"
#include "media.h"
#include "schedule.h"

#define WORLD_SLOTS	16u
#define WORLD_EFFECTS	64u		/* words of copies in a batch */

/* An extent that the application knows. */
struct world_extent {
	struct daxpin_extent extent;
	uint32_t blocks;
	uint32_t gen;			/* as on media */
	bool loose;
	bool zeroed;			/* not filled: its bytes are 0 */
};

/* An object that the application knows. */
struct world_object {
	uint64_t addr;
	uint32_t size;			/* of its class */
	uint32_t tag;
};

struct world {
	struct daxpin_pool *pool;
	struct history history;
	struct media_trace trace;
	uint32_t from;			/* cuts before this event are not tried */
	uint32_t level;			/* crashes before this run */
	uint32_t points;		/* of the schedule that was run */
	uint64_t random;
	uint32_t segments;		/* of pools that it creates */
	bool may_grow;			/* opens reserve addresses for all segments */
	struct schedule schedule;
	struct world_extent slot[WORLD_SLOTS];	/* for the kind to use */
	struct world_object object[WORLD_SLOTS];	/* the same */
	char wrong[400];		/* an error of the library */
};

/* Starts the machine with the contents of the medium, described by the model. */
void world_begin(struct world *world, const struct model *base, uint32_t level,
		 uint64_t seed);
/* Stops it. The pool is discarded without a store. */
void world_end(struct world *world);
/* Cuts begin here: the power is cut only at later events. */
void world_ready(struct world *world);
__attribute__((format(printf, 2, 3)))
void world_wrong(struct world *world, const char *format, ...);
static inline bool world_is_wrong(const struct world *world)
{
	return world->wrong[0];
}

/* Discards the pool as a power cut does. */
void world_abandon(struct daxpin_pool *pool);

int world_create(struct world *world, bool overwrite);
int world_open(struct world *world);
/* -EBUSY at the deadline is not an error. */
int world_open_until(struct world *world, uint64_t deadline_ns);
/* The process dies and another begins; other processes continue. */
void world_kill(struct world *world);
int world_close(struct world *world);
/* Grows the pool to all segments of the medium, unless it has them already. */
int world_grow(struct world *world);
int world_record_rdma(struct world *world, uint32_t device, uint32_t number);
void world_forget_rdma(struct world *world, uint32_t device, uint32_t number);

/* Space and payload. It is an error if an extent is in a hole, or may be punched. */
int world_reserve(struct world *world, uint32_t blocks, uint32_t flags,
		  struct world_extent *ret_extent);
void world_fill(struct world *world, const struct world_extent *extent);
void world_persist(struct world *world, const struct world_extent *extent);
/* Reserve, fill and persist. */
int world_prepare(struct world *world, uint32_t blocks,
		  struct world_extent *ret_extent);
/* A copy of an extent, whose payload is `from`'s. */
int world_copy(struct world *world, const struct world_extent *from,
	       struct world_extent *ret_extent);
/* Shrink to that many segments. A failure is an error. */
int world_shrink(struct world *world, uint32_t segments);

/* The live extents of a pool just opened, in address order. */
uint32_t world_list(struct world *world, struct world_extent *list,
		    uint32_t max);

/* The same for objects. Keeping one makes its payload durable. */
int world_object_reserve(struct world *world, uint32_t size,
			 struct world_object *ret_object);
/* Reserve and fill. */
int world_object_prepare(struct world *world, uint32_t size,
			 struct world_object *ret_object);
uint32_t world_list_objects(struct world *world, struct world_object *list,
			    uint32_t max);

/* Operations are collected, then published in one call. */
struct world_batch {
	uint32_t count;
	bool persists;
	struct daxpin_op op[DAXPIN_OPS_MAX];
	struct effect effect[DAXPIN_OPS_MAX];
	/* Effects without an operation: the words of copies. */
	uint32_t effects;
	struct effect more[WORLD_EFFECTS];
};

void batch_keep(struct world_batch *batch, const struct world_extent *extent,
		uint32_t flags);
void batch_retire(struct world_batch *batch, const struct world_extent *extent);
void batch_set(struct world_batch *batch, const struct world_extent *extent,
	       uint64_t offset, uint64_t value);
/* extent NULL: the name is removed. */
void batch_root(struct world_batch *batch, uint32_t root,
		const struct world_extent *extent);
void batch_object_keep(struct world_batch *batch, const struct world_object *object);
void batch_object_free(struct world_batch *batch, const struct world_object *object);
void batch_object_set(struct world_batch *batch, const struct world_object *object,
		      uint64_t offset, uint64_t value);
void batch_object_root(struct world_batch *batch, uint32_t root,
		       const struct world_object *object);

/* Keep a copy, which has the original's words. */
void batch_keep_copy(struct world *world, struct world_batch *batch,
		const struct world_extent *from, const struct world_extent *copy);
int world_publish(struct world *world, const struct world_batch *batch);

int world_object_keep(struct world *world, const struct world_object *object);
int world_object_free(struct world *world, const struct world_object *object);
int world_keep(struct world *world, const struct world_extent *extent,
	       uint32_t flags);
int world_retire(struct world *world, const struct world_extent *extent);
int world_set(struct world *world, const struct world_extent *extent,
	      uint64_t offset, uint64_t value);
int world_root(struct world *world, uint32_t root,
	       const struct world_extent *extent);
/*
 * A thread that sees a value which a batch set has seen the batch applied: the batch
 * comes before everything that the thread does afterwards. Reports that this value was
 * seen.
 */
void world_observed(struct world *world, const struct world_extent *extent,
		    uint64_t offset, uint64_t value);
/* All or nothing. A failure is an error. */
int world_commit(struct world *world, const struct world_batch *batch);

#endif
