/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small objects as a program sees them: sizes, states, publishes of several kinds of
 * operations, what the next open finds, and wrong addresses.
 */
#include <pthread.h>
#include "core/slabs.h"
#include "fixture.h"
#include "support/invariant.h"

static uint64_t object(struct fixture *f, uint64_t size)
{
	uint64_t addr = 0;

	assert_int_equal(daxpin_object_reserve(f->pool, size, 0, &addr), 0);
	assert_non_null(daxpin_object_ptr(f->pool, addr));
	return addr;
}

static struct daxpin_op op_of(uint32_t type, uint64_t addr)
{
	return (struct daxpin_op) { .type = type, .extent = { addr, 0 } };
}

static struct daxpin_op set_of(uint64_t addr, uint64_t offset, uint64_t value)
{
	struct daxpin_op op = op_of(DAXPIN_OP_SET, addr);

	op.offset = offset;
	op.value = value;
	return op;
}

static struct daxpin_op root_of(const char *name, uint64_t addr)
{
	struct daxpin_op op = op_of(DAXPIN_OP_ROOT, addr);

	op.name = name;
	return op;
}

static int run(struct fixture *f, const struct daxpin_op *ops, size_t count)
{
	struct daxpin_publish_options options = {
		.size = sizeof(options), .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	int ret = daxpin_publish(f->pool, ops, count, &options, NULL);

	/* C11: a sentence if, and only if, it failed. */
	assert_int_equal(!ret, !f->errmsg[0]);
	return ret;
}

static int change(struct fixture *f, uint32_t type, uint64_t addr)
{
	struct daxpin_op op = op_of(type, addr);

	return run(f, &op, 1);
}

static uint64_t live_object(struct fixture *f, uint64_t size, char byte)
{
	uint64_t addr = object(f, size);

	memset(daxpin_object_ptr(f->pool, addr), byte, size);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_KEEP, addr), 0);
	return addr;
}

static uint64_t size_of(struct fixture *f, uint64_t addr)
{
	uint64_t size = 0;

	assert_int_equal(daxpin_object_size(f->pool, addr, &size), 0);
	return size;
}

/* ---------------------------------------------------------------------- sizes */

static void each_size_from_1_to_2048_wastes_at_most_an_eighth(void **state)
{
	struct fixture *f = *state;

	for (uint64_t size = 1; size <= DAXPIN_OBJECT_MAX; size++) {
		uint64_t addr = object(f, size), has = size_of(f, addr);

		assert_true(has >= size && has % 16 == 0 && addr % 16 == 0);
		assert_true(has - size < 16 || (has - size) * 8 <= size);
		assert_int_equal(daxpin_object_cancel(f->pool, addr), 0);
	}
	dp_invariants(f->pool);
}

static void sizes_0_and_2049_are_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = 7;

	assert_int_equal(daxpin_object_reserve(f->pool, 0, 0, &addr), -EINVAL);
	assert_int_equal(daxpin_object_reserve(f->pool, 2049, 0, &addr), -EINVAL);
	assert_int_equal(daxpin_object_reserve(f->pool, UINT64_MAX, 0, &addr), -EINVAL);
	assert_int_equal(daxpin_object_reserve(f->pool, 16, 2, &addr), -EINVAL);
	assert_int_equal(daxpin_object_reserve(f->pool, 16, 0, NULL), -EINVAL);
	assert_int_equal(addr, 7);
}

static void zeroed_objects_are_zeroed(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = object(f, 100), again;
	char *at = daxpin_object_ptr(f->pool, addr);

	memset(at, 'x', 112);
	assert_int_equal(daxpin_object_cancel(f->pool, addr), 0);
	assert_int_equal(daxpin_object_reserve(f->pool, 100, DAXPIN_RESERVE_ZERO,
					       &again), 0);
	assert_int_equal(again, addr);
	for (uint32_t i = 0; i < 112; i++)
		assert_int_equal(at[i], 0);
}

/* ------------------------------------------------------------------- counters */

static void assert_bytes(struct fixture *f, uint64_t objects, uint64_t partial)
{
	assert_int_equal(pool_info(f).object_bytes, objects);
	assert_int_equal(pool_info(f).partial_slab_bytes, partial);
}

/* A slab is partial from its first live object until all of its objects are live, and
 * reserved ones do not count. */
static void the_bytes_of_objects_and_of_partial_slabs_are_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t addr[64];
	uint32_t count = 0;

	assert_bytes(f, 0, 0);
	addr[0] = object(f, 2000);
	assert_int_equal(pool_info(f).slab_bytes, 65536);
	assert_bytes(f, 0, 0);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_KEEP, addr[count++]), 0);
	assert_bytes(f, 2048, 65536);
	do {
		assert_true(count < 64);
		addr[count] = live_object(f, 2000, 'x');
		count++;
	} while (pool_info(f).partial_slab_bytes);
	assert_bytes(f, count * 2048, 0);
	assert_int_equal(pool_info(f).slab_bytes, 65536);
	addr[count++] = live_object(f, 100, 'x');
	assert_bytes(f, (count - 1) * 2048 + 112, 65536);
	assert_int_equal(fixture_reopen(f), 0);
	assert_bytes(f, (count - 1) * 2048 + 112, 65536);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, addr[i]), 0);
	assert_bytes(f, 0, 0);
}

/* --------------------------------------------------------------------- states */

static void only_kept_objects_survive_a_close(void **state)
{
	struct fixture *f = *state;
	uint64_t kept = live_object(f, 100, 'k'), lost = object(f, 100);
	uint64_t size = 0;
	char copy[100];

	assert_int_equal(pool_info(f).objects, 1);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).objects, 1);
	assert_int_equal(daxpin_object_read(f->pool, kept, 0, 100, copy), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(copy[i], 'k');
	assert_int_equal(daxpin_object_size(f->pool, lost, &size), -ESTALE);
	assert_null(daxpin_object_ptr(f->pool, lost));
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, kept), 0);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).objects, 0);
	/* The close has given its slab back. */
	assert_int_equal(pool_info(f).slab_bytes, 0);
	dp_invariants(f->pool);
}

static void an_object_in_the_wrong_state_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t other = object(f, 64), addr = object(f, 64);

	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, addr), -EINVAL);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_KEEP, addr), 0);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_KEEP, addr), -EINVAL);
	assert_int_equal(daxpin_object_cancel(f->pool, addr), -EINVAL);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, addr), 0);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, addr), -ESTALE);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_KEEP, addr), -ESTALE);
	assert_int_equal(daxpin_object_cancel(f->pool, addr), -ESTALE);
	assert_int_equal(daxpin_object_cancel(f->pool, other), 0);
	assert_int_equal(daxpin_object_cancel(f->pool, other), -ESTALE);
	dp_invariants(f->pool);
}

/* Addresses of everything but an object. */
static void an_address_where_no_object_begins_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 8192);
	uint64_t addr = object(f, 100), slab = addr / 65536 * 65536, size;
	const uint64_t wrong[] = {
		0, 8, 4096, slab, addr + 1, addr + 16, addr - 16, addr + 111,
		extent.addr, extent.addr + 112, pool_info(f).media_bytes,
		pool_info(f).media_bytes + addr, UINT64_MAX, UINT64_MAX - 15,
		1ull << 62 | addr,
	};
	char byte;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(daxpin_object_cancel(f->pool, wrong[i]), -EINVAL);
		assert_int_equal(daxpin_object_size(f->pool, wrong[i], &size), -EINVAL);
		assert_int_equal(daxpin_object_read(f->pool, wrong[i], 0, 1, &byte),
				 -EINVAL);
		assert_null(daxpin_object_ptr(f->pool, wrong[i]));
		assert_int_equal(change(f, DAXPIN_OP_OBJECT_KEEP, wrong[i]), -EINVAL);
		assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, wrong[i]), -EINVAL);
	}
	assert_int_equal(daxpin_object_cancel(f->pool, addr), 0);
}

/* No call for extents takes an object, and no hardware gets access to one. */
static void an_object_is_no_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent, big = { 0, 0 };
	uint64_t addr = live_object(f, 64, 'x');

	/* One that begins where a block does. */
	while (addr % 4096)
		addr = live_object(f, 64, 'x');
	for (uint64_t gen = 0; gen < 2; gen++) {
		extent = (struct daxpin_extent) { addr, gen ? live(f, 4096).gen : 0 };
		assert_int_not_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
		assert_int_not_equal(daxpin_cancel(f->pool, extent), 0);
		assert_int_not_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
		assert_int_not_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	}
	/* The slab's extent, with the gen that it has, which no call returns. */
	for (uint64_t at = addr - 65536; at <= addr; at += 4096) {
		extent = (struct daxpin_extent) { at, live(f, 4096).gen >> 40 << 40 };
		assert_null(daxpin_ptr(f->pool, extent, 0));
		assert_int_not_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	}
	assert_int_equal(daxpin_extent_at(f->pool, addr, &big), -ENOENT);
	assert_int_equal(daxpin_hold_at(f->pool, addr, DAXPIN_HOLD_READ, &big),
			 -ENOENT);
	dp_invariants(f->pool);
}

/* ---------------------------------------------------------------------- batches */

static void a_publish_takes_extents_and_objects_together(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096), old = live(f, 4096);
	uint64_t was = live_object(f, 32, 'w'), now = object(f, 32);
	uint64_t next = object(f, 32), other = object(f, 500), value;
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = extent },
		op_of(DAXPIN_OP_OBJECT_KEEP, now), op_of(DAXPIN_OP_OBJECT_FREE, was),
		op_of(DAXPIN_OP_OBJECT_KEEP, next), op_of(DAXPIN_OP_OBJECT_KEEP, other),
		{ .type = DAXPIN_OP_RETIRE, .extent = old },
		{ .type = DAXPIN_OP_SET, .extent = extent, .offset = 8, .value = now },
		set_of(now, 16, 7), set_of(now, 24, 8),
	};

	memset(daxpin_object_ptr(f->pool, now), 0, 32);
	assert_int_equal(run(f, ops, 9), 0);
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).objects, 3);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).objects, 3);
	assert_int_equal(daxpin_object_read(f->pool, now, 16, 8, &value), 0);
	assert_int_equal(value, 7);
	assert_int_equal(daxpin_object_read(f->pool, now, 24, 8, &value), 0);
	assert_int_equal(value, 8);
	assert_int_equal(daxpin_object_size(f->pool, was, &value), -ESTALE);
	dp_invariants(f->pool);
}

static void a_publish_that_fails_changes_no_object(void **state)
{
	struct fixture *f = *state;
	uint64_t was = live_object(f, 32, 'w'), now = object(f, 32);
	struct daxpin_op ops[] = {
		op_of(DAXPIN_OP_OBJECT_KEEP, now), op_of(DAXPIN_OP_OBJECT_FREE, was),
		op_of(DAXPIN_OP_OBJECT_FREE, was + 1),
	};

	assert_int_equal(run(f, ops, 3), -EINVAL);
	ops[2] = op_of(DAXPIN_OP_OBJECT_FREE, was);
	assert_int_equal(run(f, ops, 3), -EINVAL);
	ops[2] = op_of(DAXPIN_OP_OBJECT_KEEP, was);
	assert_int_equal(run(f, ops, 3), -EINVAL);
	ops[2] = (struct daxpin_op) {
		.type = DAXPIN_OP_SET, .extent = { was, 0 }
	};
	assert_int_equal(run(f, ops, 3), -EINVAL);	/* it is freed here */
	ops[2].extent.addr = now;
	ops[2].offset = 32;
	assert_int_equal(run(f, ops, 3), -EINVAL);	/* past its end */
	ops[0].length = 33;
	assert_int_equal(run(f, ops, 1), -EINVAL);
	ops[0].length = 0;
	assert_int_equal(pool_info(f).objects, 1);
	dp_invariants(f->pool);
	assert_int_equal(run(f, ops, 2), 0);
	assert_int_equal(pool_info(f).objects, 1);
	dp_invariants(f->pool);
}

/* ---------------------------------------------------------------------- roots */

static uint64_t root(struct fixture *f, const char *name)
{
	struct daxpin_extent extent = { 1, 1 };

	assert_int_equal(daxpin_root(f->pool, name, &extent), 0);
	assert_int_equal(extent.gen, 0);
	return extent.addr;
}

static int count_roots(struct daxpin_pool *pool, const char *name,
		       struct daxpin_extent extent, void *arg)
{
	uint32_t *count = arg;

	(void)pool;
	(void)name;
	assert_true(extent.addr && !extent.gen);
	++*count;
	return 0;
}

static void a_root_can_name_an_object(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = object(f, 200), other = live_object(f, 200, 'o');
	struct daxpin_op ops[] = {
		root_of("a", addr), op_of(DAXPIN_OP_OBJECT_KEEP, addr),
		root_of("b", addr), root_of("c", other), set_of(other, 8, 9),
		set_of(other, 0, 9),
	};
	uint32_t count = 0;

	assert_int_equal(run(f, ops, 1), -EINVAL);	/* not live yet */
	dp_invariants(f->pool);
	assert_int_equal(run(f, ops, 6), 0);
	dp_invariants(f->pool);
	assert_int_equal(root(f, "a"), addr);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	assert_int_equal(root(f, "a"), addr);
	assert_int_equal(root(f, "b"), addr);
	assert_int_equal(root(f, "c"), other);
	assert_int_equal(daxpin_roots(f->pool, count_roots, &count), 0);
	assert_int_equal(count, 3);
}

static void an_object_that_a_root_names_is_not_freed(void **state)
{
	struct fixture *f = *state;
	uint64_t was = live_object(f, 200, 'w'), now = live_object(f, 200, 'n');
	uint64_t third = live_object(f, 200, 't');
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_op ops[] = {
		root_of("a", was), root_of("b", was), op_of(DAXPIN_OP_OBJECT_FREE, was),
	};

	assert_int_equal(run(f, ops, 2), 0);
	assert_int_equal(run(f, &ops[2], 1), -EBUSY);
	/* Another object of the slab is not named. */
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, third), 0);
	ops[0] = root_of("a", now);
	assert_int_equal(run(f, &ops[0], 1), 0);
	assert_int_equal(run(f, &ops[2], 1), -EBUSY);
	ops[1] = root_of("b", was);
	assert_int_equal(run(f, &ops[1], 2), -EINVAL);	/* named and freed */
	ops[1] = root_of("b", 0);
	ops[1].extent = extent;
	dp_invariants(f->pool);
	assert_int_equal(run(f, &ops[1], 2), 0);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(run(f, &ops[2], 1), -ESTALE);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, now), -EBUSY);
	ops[0].extent.addr = 0;
	ops[1] = op_of(DAXPIN_OP_OBJECT_FREE, now);
	assert_int_equal(run(f, ops, 2), 0);
	assert_int_equal(pool_info(f).objects, 0);
	dp_invariants(f->pool);
}

static void an_address_inside_an_object_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = live_object(f, 64, 'o');
	struct daxpin_op op = root_of("a", addr + 8);

	for (uint64_t more = 1; more < 64; more++) {
		op.extent.addr = addr + more;
		assert_int_equal(run(f, &op, 1), -EINVAL);
		assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, addr + more),
				 -EINVAL);
		assert_int_equal(daxpin_object_cancel(f->pool, addr + more), -EINVAL);
		assert_null(daxpin_object_ptr(f->pool, addr + more));
	}
	op.extent.addr = addr;
	assert_int_equal(run(f, &op, 1), 0);
}

/* Addresses in the metadata of a segment, of which the first ones are in block 0. */
static void no_root_names_an_address_in_the_metadata(void **state)
{
	static const uint64_t where[] = { 16, 96, 4080, 4096, 0x1ffff0 };
	struct fixture *f = *state;
	uint64_t addr = live_object(f, 64, 'o');
	struct daxpin_op op = root_of("known", addr);
	struct daxpin_extent found;

	assert_int_equal(run(f, &op, 1), 0);
	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		op = root_of("known", where[i]);
		assert_int_equal(run(f, &op, 1), -EINVAL);
		op = root_of("new", where[i]);
		assert_int_equal(run(f, &op, 1), -EINVAL);
	}
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(daxpin_root(f->pool, "known", &found), 0);
	assert_int_equal(found.addr, addr);
	assert_int_equal(daxpin_root(f->pool, "new", &found), -ENOENT);
}

/* More objects than a publish has entries, in one word of bits and in many. */
static void a_publish_of_248_objects(void **state)
{
	struct fixture *f = *state;
	struct daxpin_op ops[DAXPIN_OPS_MAX];

	for (uint32_t i = 0; i < DAXPIN_OPS_MAX; i++)
		ops[i] = op_of(DAXPIN_OP_OBJECT_KEEP, object(f, 16));
	assert_int_equal(run(f, ops, DAXPIN_OPS_MAX), 0);
	assert_int_equal(pool_info(f).objects, DAXPIN_OPS_MAX);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(pool_info(f).objects, DAXPIN_OPS_MAX);
	for (uint32_t i = 0; i < DAXPIN_OPS_MAX; i++)
		ops[i].type = DAXPIN_OP_OBJECT_FREE;
	assert_int_equal(run(f, ops, DAXPIN_OPS_MAX), 0);
	assert_int_equal(pool_info(f).objects, 0);
	dp_invariants(f->pool);
}

/* ------------------------------------------------------------------- all of them */

struct seen {
	uint64_t addr[3000];
	uint32_t count;
	uint32_t free_each;		/* free every n-th one */
};

static int see(struct daxpin_pool *pool, uint64_t addr, uint64_t size, void *arg)
{
	struct daxpin_op op = op_of(DAXPIN_OP_OBJECT_FREE, addr);
	struct seen *seen = arg;

	(void)size;
	assert_true(!seen->count || addr > seen->addr[seen->count - 1]);
	seen->addr[seen->count++] = addr;
	if (seen->free_each && seen->count % seen->free_each == 0)
		assert_int_equal(daxpin_publish(pool, &op, 1, NULL, NULL), 0);
	return seen->count == 3000 ? 77 : 0;
}

static void foreach_reports_each_live_object_once(void **state)
{
	static struct seen seen;
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 500; i++) {
		live_object(f, 16 + i % 2000, 'x');
		object(f, 16 + i % 100);
		if (i % 50 == 0)
			live(f, 4096 * (1 + i % 20));
	}
	seen = (struct seen) { .free_each = 2 };
	assert_int_equal(daxpin_foreach_object(f->pool, see, &seen), 0);
	assert_int_equal(seen.count, 500);
	seen = (struct seen) { .free_each = 0 };
	assert_int_equal(daxpin_foreach_object(f->pool, see, &seen), 0);
	assert_int_equal(seen.count, 250);
	assert_int_equal(daxpin_foreach_object(f->pool, NULL, NULL), -EINVAL);
	assert_int_equal(fixture_reopen(f), 0);
	seen.count = 0;
	assert_int_equal(daxpin_foreach_object(f->pool, see, &seen), 0);
	assert_int_equal(seen.count, 250);
	dp_invariants(f->pool);
}

/* --------------------------------------------------------------------- the space */

/* All of the pool as objects, then all of it as extents. */
static void the_space_of_freed_objects_can_be_extents(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_bytes(f), count = 0, *all;
	struct daxpin_extent extent;
	int ret;

	all = calloc(before / 2048, sizeof(*all));
	assert_non_null(all);
	while (!(ret = daxpin_object_reserve(f->pool, 2000, 0, &all[count])))
		count++;
	assert_int_equal(ret, -ENOSPC);
	/* 31 of 2048 bytes in 65536. */
	assert_int_equal(count, before / 65536 * 31);
	dp_invariants(f->pool);
	while (count--)
		assert_int_equal(daxpin_object_cancel(f->pool, all[count]), 0);
	free(all);
	assert_true(before - free_bytes(f) <= 65 * 65536);
	for (count = 0; count < before / 65536; count++)
		assert_int_equal(daxpin_reserve(f->pool, 65536, 0, &extent), 0);
	assert_int_equal(free_bytes(f), before % 65536);
	dp_invariants(f->pool);
}

static uint64_t slab_count(struct fixture *f)
{
	return dp_objects_count(&f->pool->objects).slabs;
}

#define SOME	800u		/* more objects of 256 bytes than 3 slabs have */

/* Reserve objects until there are so many slabs, the last one with one object. Returns
 * the number of objects. */
static uint32_t begin_slabs(struct fixture *f, uint64_t slabs, uint64_t *addr)
{
	uint32_t count = 0;

	while (slab_count(f) < slabs) {
		assert_true(count < SOME);
		addr[count++] = object(f, 256);
	}
	return count;
}

/* The last object of each is in a word with fewer than 32. */
static void slabs_that_cancels_have_emptied_are_given_back(void **state)
{
	struct fixture *f = *state;
	uint64_t addr[SOME];
	uint32_t count = begin_slabs(f, 3, addr);

	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(daxpin_object_cancel(f->pool, addr[i]), 0);
	assert_true(dp_slabs_give_back(f->pool));
	assert_int_equal(slab_count(f), 0);
	dp_invariants(f->pool);
}

static void an_object_of_a_full_slab_is_found_after_its_cancel(void **state)
{
	struct fixture *f = *state;
	uint64_t addr[SOME], again;

	begin_slabs(f, 2, addr);
	assert_int_equal(daxpin_object_cancel(f->pool, addr[0]), 0);
	do
		again = object(f, 256);
	while (again != addr[0] && slab_count(f) == 2);
	assert_int_equal(again, addr[0]);
	assert_int_equal(slab_count(f), 2);
	dp_invariants(f->pool);
}

/* The table of slabs has the blocks of the new segments. */
static void objects_are_reserved_in_segments_that_a_grow_has_added(void **state)
{
	struct fixture *f = *state;
	uint64_t old = pool_info(f).media_bytes, addr = 0;
	struct daxpin_extent extent;

	while (!daxpin_reserve(f->pool, 65536, 0, &extent))
		;
	assert_int_equal(daxpin_object_reserve(f->pool, 100, 0, &addr), -ENOSPC);
	assert_int_equal(daxpin_pool_grow(f->pool, 2 * old, NULL), 0);
	addr = live_object(f, 100, 'g');
	assert_true(addr >= old);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(size_of(f, addr), 112);
	dp_invariants(f->pool);
}

static void *cancel_all(void *arg)
{
	struct {
		struct fixture *f;
		uint64_t *addr;
		uint32_t count;
	} *job = arg;

	for (uint32_t i = 0; i < job->count; i++)
		assert_int_equal(daxpin_object_cancel(job->f->pool, job->addr[i]), 0);
	return NULL;
}

static void another_thread_can_free_an_object(void **state)
{
	static uint64_t addr[4000];
	struct fixture *f = *state;
	uint64_t before = free_bytes(f);
	struct { struct fixture *f; uint64_t *addr; uint32_t count; } job = {
		f, addr, 4000
	};
	pthread_t thread;

	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < 4000; i++)
			addr[i] = object(f, 100);
		assert_int_equal(pthread_create(&thread, NULL, cancel_all, &job), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
		dp_invariants(f->pool);
		/* 7 slabs have 4000 objects. */
		assert_true(before - free_bytes(f) <= 7 * 65536);
	}
}

/*
 * Threads exchange objects through a table. Each live object has a stamp in its first
 * and last word, which a thread that has taken it from the table compares with the
 * table's: if an address were given out twice, one of the stamps would be another's.
 */
#define THREADS		4u
#define PLACES		512u
#define STEPS		6000u

struct place {
	uint64_t addr, size, stamp;
};

static pthread_mutex_t place_mutex[PLACES];
static struct place places[PLACES];

static uint32_t draw(uint64_t *random, uint32_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (*random >> 20) % below;
}

static uint64_t *last_word(uint64_t *first, uint64_t size)
{
	return first + size / sizeof(*first) - 1;
}

static void check_place(struct daxpin_pool *pool, const struct place *place)
{
	uint64_t *word = daxpin_object_ptr(pool, place->addr);

	assert_non_null(word);
	assert_int_equal(word[0], place->stamp);
	assert_int_equal(*last_word(word, place->size), place->stamp);
}

/* Keep a new object in the place and free the old one, in one publish. Now and then set
 * the stamps of the old one instead, or cancel the new one. */
static void change_place(struct daxpin_pool *pool, struct place *place,
			 uint64_t *random, uint64_t stamp)
{
	struct place now = { 0, 16 + draw(random, 2033) / 16 * 16, stamp };
	struct daxpin_op ops[2];
	uint64_t *word;
	uint32_t what = draw(random, 8);

	if (place->addr)
		check_place(pool, place);
	if (place->addr && what == 0) {
		ops[0] = set_of(place->addr, 0, stamp);
		ops[1] = set_of(place->addr, place->size - 8, stamp);
		assert_int_equal(daxpin_publish(pool, ops, 2, NULL, NULL), 0);
		place->stamp = stamp;
		return;
	}
	assert_int_equal(daxpin_object_reserve(pool, now.size, 0, &now.addr), 0);
	assert_int_equal(daxpin_object_size(pool, now.addr, &now.size), 0);
	word = daxpin_object_ptr(pool, now.addr);
	word[0] = stamp;
	*last_word(word, now.size) = stamp;
	if (what == 1) {
		assert_int_equal(daxpin_object_cancel(pool, now.addr), 0);
		return;
	}
	ops[0] = op_of(DAXPIN_OP_OBJECT_KEEP, now.addr);
	ops[1] = op_of(DAXPIN_OP_OBJECT_FREE, place->addr);
	assert_int_equal(daxpin_publish(pool, ops, place->addr ? 2 : 1, NULL, NULL), 0);
	*place = now;
}

static void *change_places(void *arg)
{
	struct daxpin_pool *pool = arg;
	uint64_t random = (uintptr_t)&random | 1, stamp = random << 16;

	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t at = draw(&random, PLACES);

		pthread_mutex_lock(&place_mutex[at]);
		change_place(pool, &places[at], &random, ++stamp);
		pthread_mutex_unlock(&place_mutex[at]);
	}
	return NULL;
}

static void threads_that_exchange_objects_never_share_one(void **state)
{
	struct fixture *f = *state;
	pthread_t thread[THREADS];
	uint32_t count = 0;

	memset(places, 0, sizeof(places));
	for (uint32_t i = 0; i < PLACES; i++)
		pthread_mutex_init(&place_mutex[i], NULL);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, change_places,
						f->pool), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	for (uint32_t i = 0; i < PLACES; i++) {
		count += places[i].addr != 0;
		if (places[i].addr)
			check_place(f->pool, &places[i]);
	}
	assert_int_equal(pool_info(f).objects, count);
}

static void a_readonly_open_finds_the_objects(void **state)
{
	struct fixture *f = *state;
	uint64_t addr = live_object(f, 100, 'r'), size;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(size_of(f, addr), 112);
	assert_int_equal(daxpin_object_reserve(f->pool, 1, 0, &size), -EROFS);
	assert_int_equal(change(f, DAXPIN_OP_OBJECT_FREE, addr), -EROFS);
	assert_int_equal(pool_info(f).objects, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_size_from_1_to_2048_wastes_at_most_an_eighth),
		TEST(sizes_0_and_2049_are_refused),
		TEST(zeroed_objects_are_zeroed),
		TEST(the_bytes_of_objects_and_of_partial_slabs_are_counted),
		TEST(only_kept_objects_survive_a_close),
		TEST(an_object_in_the_wrong_state_is_refused),
		TEST(an_address_where_no_object_begins_is_refused),
		TEST(an_object_is_no_extent),
		TEST(a_publish_takes_extents_and_objects_together),
		TEST(a_publish_that_fails_changes_no_object),
		TEST(a_root_can_name_an_object),
		TEST(an_object_that_a_root_names_is_not_freed),
		TEST(an_address_inside_an_object_is_refused),
		TEST(no_root_names_an_address_in_the_metadata),
		TEST(a_publish_of_248_objects),
		TEST(foreach_reports_each_live_object_once),
		TEST(the_space_of_freed_objects_can_be_extents),
		TEST(slabs_that_cancels_have_emptied_are_given_back),
		TEST(an_object_of_a_full_slab_is_found_after_its_cancel),
		TEST(objects_are_reserved_in_segments_that_a_grow_has_added),
		TEST(another_thread_can_free_an_object),
		TEST(threads_that_exchange_objects_never_share_one),
		TEST(a_readonly_open_finds_the_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
