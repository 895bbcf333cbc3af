/* SPDX-License-Identifier: BSD-3-Clause */
/* The operations of publish.c, by libpmemobj's atomic API. */
#ifndef BENCH_PMEMOBJ_TURNS_H
#define BENCH_PMEMOBJ_TURNS_H

#include "pmemobj.h"
#include "workload.h"

#define OBJECT_BATCH	16

#ifdef HAVE_PMEMOBJ
static PMEMobjpool *objects;
static uint64_t *object_words;		/* 512 for each thread, in the root object */

static inline void object_begin(const struct bench *bench, uint64_t bytes)
{
	PMEMoid root;

	objects = object_pool(bench_path(bench, "objects"),
			      (UINT64_C(256) << 20) + bytes);
	root = pmemobj_root(objects, 4096 * bench->threads);
	object_words = pmemobj_direct(root);
}

static inline void object_end(void)
{
	pmemobj_close(objects);
}

static inline PMEMoid object_reserve(struct pobj_action *action, size_t size,
				     uint64_t flags)
{
	PMEMoid object = pmemobj_xreserve(objects, action, size, 1, flags);

	if (OID_IS_NULL(object))
		bench_die("pmemobj_reserve: %s", pmemobj_errormsg());
	return object;
}

static inline void object_publish(struct pobj_action *actions, size_t count)
{
	if (pmemobj_publish(objects, actions, count))
		bench_die("pmemobj_publish: %s", pmemobj_errormsg());
}

ALWAYS_INLINE void object_take(struct slot *slot, size_t size)
{
	struct pobj_action action;
	PMEMoid object = object_reserve(&action, size, 0);

	work_touch((char *)objects + object.off);
	object_publish(&action, 1);
	slot->word[0] = object.pool_uuid_lo;
	slot->word[1] = object.off;
}

ALWAYS_INLINE void object_give(struct slot *slot)
{
	PMEMoid object = { slot->word[0], slot->word[1] };

	pmemobj_free(&object);
}

WORKLOADS(with_objects, object_take, object_give);

static uint64_t object_batch(struct worker *worker)
{
	struct pobj_action actions[OBJECT_BATCH];
	PMEMoid batch[OBJECT_BATCH];
	uint64_t count = 0;

	do {
		for (int i = 0; i < OBJECT_BATCH; i++)
			batch[i] = object_reserve(&actions[i], work.bench.size, 0);
		object_publish(actions, OBJECT_BATCH);
		for (int i = 0; i < OBJECT_BATCH; i++)
			pmemobj_defer_free(objects, batch[i], &actions[i]);
		object_publish(actions, OBJECT_BATCH);
		count++;
	} while (!turn_is_over(worker));
	return count;
}

ALWAYS_INLINE uint64_t object_sets(struct worker *worker, int at_once)
{
	uint64_t *words = object_words + 512 * worker->index;
	uint64_t count = 0, random = 99 + worker->index;
	struct pobj_action actions[OBJECT_BATCH];

	do {
		uint32_t at = bench_below(&random, 512);

		for (int i = 0; i < at_once; i++)
			pmemobj_set_value(objects, &actions[i],
					  words + (at + i * 29) % 512, count);
		object_publish(actions, at_once);
		count++;
	} while (!turn_is_over(worker));
	return count;
}

static uint64_t object_set(struct worker *worker)
{
	return object_sets(worker, 1);
}

static uint64_t object_set_batch(struct worker *worker)
{
	return object_sets(worker, OBJECT_BATCH);
}

static uint64_t object_root(struct worker *worker)
{
	uint64_t count = 0;

	do {
		for (int i = 0; i < 64; i++)
			if (!pmemobj_direct(pmemobj_root(objects, 4096)))
				bench_die("pmemobj_root");
		count += 64;
	} while (!turn_is_over(worker));
	return count;
}

static uint64_t object_zeroed(struct worker *worker)
{
	uint64_t count = 0;

	do {
		struct pobj_action action;
		PMEMoid object = object_reserve(&action, work.bench.size,
						POBJ_XALLOC_ZERO);

		object_publish(&action, 1);
		pmemobj_free(&object);
		count++;
	} while (!turn_is_over(worker));
	return count;
}
#else
#define object_batch		NULL
#define object_set		NULL
#define object_set_batch	NULL
#define object_root		NULL
#define object_zeroed		NULL
#define with_objects_lifo	NULL
#define with_objects_mixed	NULL
#define with_objects_passed	NULL
static const struct allocator with_objects;

static inline void object_begin(const struct bench *bench, uint64_t bytes)
{
	(void)bytes;
	object_require(bench);
}

static inline void object_end(void)
{
}
#endif

#endif
