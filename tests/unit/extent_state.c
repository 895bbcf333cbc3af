/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of states and calls in daxpin(7): every cell is tested on an extent of its
 * own, and all invariants are checked after it.
 */
#include "fixture.h"
#include "support/invariant.h"

/* ------------------------------------------------- rows: states of a handle */

static uint64_t block_of(struct daxpin_extent extent)
{
	return extent.addr >> 12;
}

static uint64_t generation_of(struct daxpin_extent extent)
{
	return extent.gen & DP_GENERATION_MASK;
}

static void hold(struct fixture *f, struct daxpin_extent extent, uint32_t access)
{
	assert_int_equal(daxpin_hold(f->pool, extent, access), 0);
}

static struct daxpin_extent ended(struct fixture *f)
{
	struct daxpin_extent extent = reserve(f, 8192);

	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	return extent;
}

static struct daxpin_extent reserved(struct fixture *f)
{
	return reserve(f, 8192);
}

static struct daxpin_extent reserved_read(struct fixture *f)
{
	struct daxpin_extent extent = reserved(f);

	hold(f, extent, DAXPIN_HOLD_READ);
	return extent;
}

static struct daxpin_extent reserved_written(struct fixture *f)
{
	struct daxpin_extent extent = reserved(f);

	hold(f, extent, DAXPIN_HOLD_WRITE);
	return extent;
}

static struct daxpin_extent reserved_claimed(struct fixture *f)
{
	struct daxpin_extent extent = reserved(f);

	assert_int_equal(dp_state_claim(&f->pool->states, block_of(extent),
					generation_of(extent), DP_STATE_RESERVED,
					true), 0);
	return extent;
}

static struct daxpin_extent live_idle(struct fixture *f)
{
	return live(f, 8192);
}

static struct daxpin_extent live_held(struct fixture *f)
{
	struct daxpin_extent extent = live_idle(f);

	hold(f, extent, DAXPIN_HOLD_WRITE);
	return extent;
}

static struct daxpin_extent live_claimed(struct fixture *f)
{
	struct daxpin_extent extent = live_idle(f);

	assert_int_equal(dp_state_claim(&f->pool->states, block_of(extent),
					generation_of(extent), DP_STATE_LIVE,
					false), 0);
	return extent;
}

static struct daxpin_extent reserved_exclusive(struct fixture *f)
{
	struct daxpin_extent extent = reserved(f);

	hold(f, extent, DAXPIN_HOLD_READ | DAXPIN_HOLD_EXCLUSIVE);
	return extent;
}

static struct daxpin_extent live_exclusive(struct fixture *f)
{
	struct daxpin_extent extent = live_idle(f);

	hold(f, extent, DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE);
	return extent;
}

static struct daxpin_extent retired_held(struct fixture *f)
{
	struct daxpin_extent extent = live_held(f);

	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	return extent;
}

/* ---------------------------------------------------------- columns: calls */

static int call_hold(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ);
}

static int call_hold_gated(struct fixture *f, struct daxpin_extent extent)
{
	uint32_t segment = block_of(extent) >> dp_states_shift(&f->pool->states);
	int ret;

	dp_gate_close(dp_state_gates(&f->pool->states), segment);
	ret = call_hold(f, extent);
	dp_gate_open(dp_state_gates(&f->pool->states), segment);
	return ret;
}

static int call_clone(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_READ);
}

static int call_drop(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_drop(f->pool, extent);
}

/*
 * The call names the extent twice, after another one. It takes all three holds, or
 * none.
 */
static int call_hold_many(struct fixture *f, struct daxpin_extent extent)
{
	struct daxpin_extent other = live(f, 4096);
	struct daxpin_extent extents[] = { other, extent, extent };
	size_t failed;
	int ret = daxpin_hold_many(f->pool, extents, 3, DAXPIN_HOLD_READ,
				   &failed);

	assert_int_equal(daxpin_holds(f->pool, other, NULL, NULL), !ret);
	if (ret)
		assert_int_equal(failed, 1);
	else
		assert_int_equal(daxpin_drop(f->pool, other), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, other), 0);
	return ret;
}

/* The extent stands between two entries of another one, which the call always drops. */
static int call_drop_many(struct fixture *f, struct daxpin_extent extent)
{
	struct daxpin_extent other = live_held(f);
	struct daxpin_extent extents[] = { other, extent, other };
	size_t failed = 1;
	int ret;

	hold(f, other, DAXPIN_HOLD_READ);
	ret = daxpin_drop_many(f->pool, extents, 3, &failed);
	assert_int_equal(failed, 1);
	assert_int_equal(daxpin_holds(f->pool, other, NULL, NULL), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, other), 0);
	return ret;
}

static int call_cancel(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_cancel(f->pool, extent);
}

static int call_keep(struct fixture *f, struct daxpin_extent extent)
{
	return publish(f, DAXPIN_OP_KEEP, extent);
}

static int call_retire(struct fixture *f, struct daxpin_extent extent)
{
	return publish(f, DAXPIN_OP_RETIRE, extent);
}

static int call_size(struct fixture *f, struct daxpin_extent extent)
{
	uint64_t size = 8192;
	int ret = daxpin_size(f->pool, extent, &size);
	char byte;

	assert_int_equal(size, 8192);
	assert_int_equal(daxpin_read(f->pool, extent, 8191, 1, &byte), ret);
	return ret;
}

static int call_ptr(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_ptr(f->pool, extent, 8191) ? 0 : -ESTALE;
}

static int call_idle(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_idle(f->pool, extent);
}

static int call_wait(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_wait_idle(f->pool, extent, 0);
}

static int call_extent_at(struct fixture *f, struct daxpin_extent extent)
{
	struct daxpin_extent found = extent;
	int ret = daxpin_extent_at(f->pool, extent.addr, &found);

	assert_int_equal(found.gen, extent.gen);
	return ret;
}

static int call_hold_exclusive(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_hold(f->pool, extent,
			   DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE);
}

static int call_set(struct fixture *f, struct daxpin_extent extent)
{
	return publish(f, DAXPIN_OP_SET, extent);
}

static int call_close(struct fixture *f, struct daxpin_extent extent)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	int ret;

	/*
	 * If the close would succeed, the teardown shows it. Here only -EBUSY is
	 * tested.
	 */
	if (daxpin_idle(f->pool, extent))
		return 0;
	ret = daxpin_pool_close(f->pool);
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	return ret;
}

/* ------------------------------------------------------------------- cells */

enum after {
	GONE,				/* this generation has ended */
	RESERVED = DAXPIN_STATE_RESERVED,
	LIVE = DAXPIN_STATE_LIVE,
	RETIRED = DAXPIN_STATE_RETIRED,
	SAME,
};

struct cell {
	int ret;
	enum after after;
	int count;			/* holds afterwards */
};

static int (*const calls[])(struct fixture *, struct daxpin_extent) = {
	call_hold, call_hold_gated, call_hold_many, call_clone, call_drop,
	call_drop_many, call_cancel,
	call_keep, call_retire, call_size, call_ptr, call_idle, call_wait,
	call_extent_at, call_close, call_hold_exclusive, call_set,
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

struct row {
	struct daxpin_extent (*make)(struct fixture *);
	enum after state;
	int count;
	struct cell cell[CALLS];
};

#define E(errno_) { -(errno_), SAME, -1 }
#define OK { 0, SAME, -1 }
#define YES { 1, SAME, -1 }

static const struct row rows[] = {
	/*  hold, gated, hold_many, clone, drop, drop_many, cancel,
	 *  KEEP, RETIRE, size, ptr, idle, wait, extent_at, close, hold_exclusive,
	 *  SET */
	{ ended, GONE, 0, {
		E(ESTALE), E(ESTALE), E(ESTALE), E(ESTALE), E(ESTALE),
		E(ESTALE), E(ESTALE),
		E(ESTALE), E(ESTALE),
		E(ESTALE), E(ESTALE), YES, OK, E(ENOENT), OK,
		E(ESTALE), E(ESTALE) } },
	{ reserved, RESERVED, 0, {
		{ 0, SAME, 1 }, E(EAGAIN), { 0, SAME, 2 }, E(EINVAL), E(EINVAL),
		E(EINVAL), { 0, GONE, 0 },
		{ 0, LIVE, 0 }, E(EINVAL),
		OK, OK, YES, OK, E(ENOENT), OK,
		{ 0, SAME, 1 }, E(EINVAL) } },
	{ reserved_read, RESERVED, 1, {
		{ 0, SAME, 2 }, E(EAGAIN), { 0, SAME, 3 }, { 0, SAME, 2 },
		{ 0, SAME, 0 }, { 0, SAME, 0 }, { 0, RETIRED, 1 },
		{ 0, LIVE, 1 }, E(EINVAL),
		OK, OK, OK, E(ETIMEDOUT), E(ENOENT), E(EBUSY),
		E(EBUSY), E(EINVAL) } },
	{ reserved_written, RESERVED, 1, {
		{ 0, SAME, 2 }, E(EAGAIN), { 0, SAME, 3 }, { 0, SAME, 2 },
		{ 0, SAME, 0 }, { 0, SAME, 0 }, { 0, RETIRED, 1 },
		E(EBUSY), E(EINVAL),
		OK, OK, OK, E(ETIMEDOUT), E(ENOENT), E(EBUSY),
		E(EBUSY), E(EINVAL) } },
	{ reserved_claimed, RESERVED, 0, {
		{ 0, SAME, 1 }, E(EAGAIN), { 0, SAME, 2 }, E(EINVAL), E(EINVAL),
		E(EINVAL), E(EBUSY),
		E(EBUSY), E(EINVAL),
		OK, OK, YES, OK, E(ENOENT), OK,
		E(EBUSY), E(EINVAL) } },
	{ live_idle, LIVE, 0, {
		{ 0, SAME, 1 }, E(EAGAIN), { 0, SAME, 2 }, E(EINVAL), E(EINVAL),
		E(EINVAL), E(EINVAL),
		E(EINVAL), { 0, GONE, 0 },
		OK, OK, YES, OK, OK, OK,
		{ 0, SAME, 1 }, OK } },
	{ live_held, LIVE, 1, {
		{ 0, SAME, 2 }, E(EAGAIN), { 0, SAME, 3 }, { 0, SAME, 2 },
		{ 0, SAME, 0 }, { 0, SAME, 0 }, E(EINVAL),
		E(EINVAL), { 0, RETIRED, 1 },
		OK, OK, OK, E(ETIMEDOUT), OK, E(EBUSY),
		E(EBUSY), OK } },
	{ live_claimed, LIVE, 0, {
		{ 0, SAME, 1 }, E(EAGAIN), { 0, SAME, 2 }, E(EINVAL), E(EINVAL),
		E(EINVAL), E(EINVAL),
		E(EINVAL), E(EBUSY),
		OK, OK, YES, OK, OK, OK,
		E(EBUSY), OK } },
	{ reserved_exclusive, RESERVED, 1, {
		E(EBUSY), E(EBUSY), E(EBUSY), E(EBUSY),
		{ 0, SAME, 0 }, { 0, SAME, 0 }, { 0, RETIRED, 1 },
		E(EBUSY), E(EINVAL),
		OK, OK, OK, E(ETIMEDOUT), E(ENOENT), E(EBUSY),
		E(EBUSY), E(EBUSY) } },
	{ live_exclusive, LIVE, 1, {
		E(EBUSY), E(EBUSY), E(EBUSY), E(EBUSY),
		{ 0, SAME, 0 }, { 0, SAME, 0 }, E(EINVAL),
		E(EINVAL), { 0, RETIRED, 1 },
		OK, OK, OK, E(ETIMEDOUT), OK, E(EBUSY),
		E(EBUSY), E(EBUSY) } },
	{ retired_held, RETIRED, 1, {
		E(EALREADY), E(EALREADY), E(EALREADY), { 0, SAME, 2 },
		{ 0, GONE, 0 }, { 0, GONE, 0 }, E(EALREADY),
		E(EALREADY), E(EALREADY),
		OK, OK, OK, E(ETIMEDOUT), E(ENOENT), E(EBUSY),
		E(EALREADY), E(EALREADY) } },
};

static void assert_state(struct fixture *f, struct daxpin_extent extent,
			 enum after state, int count)
{
	enum daxpin_state now;

	if (state == GONE) {
		assert_int_equal(daxpin_state(f->pool, extent, &now), -ESTALE);
		return;
	}
	assert_int_equal(daxpin_state(f->pool, extent, &now), 0);
	assert_int_equal(now, state);
	assert_int_equal(daxpin_holds(f->pool, extent, NULL, NULL), count);
}

/* Drops every hold and claim, so that the pool can be closed. */
static void clean_up(struct fixture *f, struct daxpin_extent extent)
{
	if (dp_state_read(&f->pool->states, block_of(extent)).publishing)
		dp_state_unclaim(&f->pool->states, block_of(extent));
	while (daxpin_drop(f->pool, extent) == 0)
		;
	daxpin_cancel(f->pool, extent);
	publish(f, DAXPIN_OP_RETIRE, extent);
	assert_state(f, extent, GONE, 0);
	dp_invariants(f->pool);
}

static void every_cell_of_the_table(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_bytes(f);

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
		for (size_t c = 0; c < CALLS; c++) {
			const struct row *row = &rows[r];
			struct cell cell = row->cell[c];
			struct daxpin_extent extent = row->make(f);
			int ret = calls[c](f, extent);

			if (ret != cell.ret)
				fail_msg("row %zu, call %zu: %d instead of %d",
					 r, c, ret, cell.ret);
			assert_state(f, extent,
				     cell.after == SAME ? row->state : cell.after,
				     cell.count < 0 ? row->count : cell.count);
			dp_invariants(f->pool);
			clean_up(f, extent);
		}
	assert_int_equal(free_bytes(f), before);
}

/* --------------------------------------------- what the table does not show */

static void a_retired_extent_is_reused_only_after_the_last_drop(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_bytes(f);
	struct daxpin_extent extent = retired_held(f);

	assert_int_equal(daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(free_bytes(f), before - 8192);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(free_bytes(f), before);
	assert_int_equal(daxpin_drop(f->pool, extent), -ESTALE);
	dp_invariants(f->pool);
}

static void a_handle_never_names_the_next_generation(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent whole, old, new;

	/*
	 * Leaves one free block in the segment, so that a reserve can only get that
	 * one.
	 */
	whole = reserve(f, (32 << 20) - (2 << 20) - 4096);
	old = reserve(f, 4096);
	while (old.addr >> 25 != whole.addr >> 25)
		old = reserve(f, 4096);
	assert_int_equal(daxpin_cancel(f->pool, old), 0);
	new = reserve(f, 4096);
	assert_int_equal(new.addr, old.addr);
	assert_int_not_equal(new.gen, old.gen);
	assert_int_equal(daxpin_hold(f->pool, old, DAXPIN_HOLD_READ), -ESTALE);
	assert_int_equal(daxpin_hold(f->pool, new, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, old), -ESTALE);
	assert_int_equal(daxpin_drop(f->pool, new), 0);
}

static void a_handle_of_an_earlier_open_is_stale(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096), again;

	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -ESTALE);
	assert_null(daxpin_ptr(f->pool, extent, 0));
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &again), 0);
	assert_int_equal(daxpin_hold(f->pool, again, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, again), 0);
}

/* The two handles differ only in the epoch. */
static void a_cancel_with_a_handle_of_an_earlier_open_is_stale(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent old = reserve(f, 4096), new;

	assert_int_equal(fixture_reopen(f), 0);
	do
		new = reserve(f, 4096);
	while (new.addr != old.addr);
	assert_int_equal(generation_of(new), generation_of(old));
	assert_int_equal(daxpin_cancel(f->pool, old), -ESTALE);
	assert_int_equal(daxpin_cancel(f->pool, new), 0);
	assert_int_equal(daxpin_cancel(f->pool, new), -ESTALE);
}

/* Roots and lanes distinguish generations by the number on media. */
static void a_generation_that_ended_is_over_after_a_reopen(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);

	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(dp_state_read(&f->pool->states, block_of(extent)).generation,
			 generation_of(extent) + 1);
	dp_invariants(f->pool);
}

static void a_hold_beyond_the_count_limit_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);

	for (uint32_t i = 0; i < DAXPIN_HOLDS_MAX; i++)
		hold(f, extent, DAXPIN_HOLD_READ);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ),
			 -EOVERFLOW);
	assert_int_equal(daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_READ),
			 -EOVERFLOW);
	assert_int_equal(daxpin_holds(f->pool, extent, NULL, NULL),
			 DAXPIN_HOLDS_MAX);
	for (uint32_t i = 0; i < DAXPIN_HOLDS_MAX; i++)
		assert_int_equal(daxpin_drop(f->pool, extent), 0);
	dp_invariants(f->pool);
}

static void keep_with_a_writer_needs_the_flag(void **state)
{
	struct fixture *f = *state;
	struct daxpin_op op = {
		.type = DAXPIN_OP_KEEP,
		.flags = DAXPIN_OP_WRITERS,
		.extent = reserved_written(f),
	};

	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_drop(f->pool, op.extent), 0);
	/* The last drop clears the writers bit. */
	op.extent = reserved_written(f);
	op.flags = 0;
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -EBUSY);
	assert_int_equal(daxpin_drop(f->pool, op.extent), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	dp_invariants(f->pool);
}

/*
 * This includes holds with the flag for writers, calls with several entries, and
 * clones.
 */
static void an_exclusive_hold_excludes_all_others(void **state)
{
	const uint32_t access = DAXPIN_HOLD_WRITE | DAXPIN_HOLD_EXCLUSIVE;
	struct fixture *f = *state;
	struct daxpin_op op = {
		.type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_WRITERS,
		.extent = reserved(f),
	};
	struct daxpin_extent twice[] = { op.extent, op.extent };
	size_t failed = 7;

	assert_int_equal(daxpin_hold_many(f->pool, twice, 2, access, &failed),
			 -EBUSY);
	assert_int_equal(failed, 0);
	hold(f, op.extent, access);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -EBUSY);
	assert_int_equal(daxpin_hold_clone(f->pool, op.extent, access), -EINVAL);
	assert_int_equal(daxpin_drop(f->pool, op.extent), 0);
	/* The drop clears the bit. */
	hold(f, op.extent, DAXPIN_HOLD_READ);
	assert_int_equal(daxpin_hold(f->pool, op.extent, access), -EBUSY);
	assert_int_equal(daxpin_drop(f->pool, op.extent), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	dp_invariants(f->pool);
}

static void drain_refuses_holds_and_times_out(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live_held(f);

	assert_int_equal(daxpin_pool_drain(f->pool, 0), -ETIMEDOUT);
	hold(f, extent, DAXPIN_HOLD_READ);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_pool_drain(f->pool, 0), 0);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EAGAIN);
}

static void drain_refuses_holds_in_segments_that_a_grow_adds(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(daxpin_pool_drain(f->pool, 0), 0);
	assert_int_equal(daxpin_pool_grow(f->pool, info.media_bytes + 1, NULL), 0);
	do
		extent = reserve(f, info.largest_extent);
	while (extent.addr < info.media_bytes);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EAGAIN);
}

struct seen {
	int labelled, anonymous, registrations;
	uint32_t anonymous_count;
};

static void see(const struct daxpin_holder *holder, void *arg)
{
	struct seen *seen = arg;

	if (!holder->extent.gen) {
		seen->registrations++;
		assert_string_equal(holder->label, "a ring");
	} else if (holder->label) {
		seen->labelled++;
		assert_string_equal(holder->label, "a reader");
		assert_int_equal(holder->access, DAXPIN_HOLD_READ);
	} else {
		seen->anonymous++;
		seen->anonymous_count = holder->count;
	}
}

static void daxpin_holds_names_labelled_holders(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live_held(f);
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a ring",
	};
	struct daxpin_registration *registration;
	struct daxpin_hold labelled = { .access = 0 };
	struct seen seen = { 0, 0, 0, 0 };

	assert_int_equal(daxpin_register(f->pool, 0, &options, &registration), 0);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "a reader", &labelled), 0);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "a reader", &labelled), -EINVAL);
	hold(f, extent, DAXPIN_HOLD_READ);
	assert_int_equal(daxpin_holds(f->pool, extent, see, &seen), 3);
	assert_int_equal(seen.labelled, 1);
	assert_int_equal(seen.anonymous, 1);
	assert_int_equal(seen.anonymous_count, 2);
	assert_int_equal(seen.registrations, extent.addr < 32 << 20);
	assert_int_equal(daxpin_drop_labelled(f->pool, &labelled), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &labelled), -EINVAL);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(daxpin_unregister(registration), 0);
}

static void bad_arguments_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096), bad = extent, out;
	struct daxpin_op op = { .type = 9, .extent = extent };
	static struct daxpin_op ops[DAXPIN_OPS_MAX + 1];

	assert_int_equal(daxpin_reserve(f->pool, 0, 0, &out), -EINVAL);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0x80, &out), -EINVAL);
	assert_int_equal(daxpin_reserve(f->pool, 1, DAXPIN_RESERVE_DURABLE, &out),
			 -EINVAL);
	assert_int_equal(daxpin_reserve(f->pool, (30 << 20) + 1, 0, &out), -EFBIG);
	assert_int_equal(daxpin_reserve(f->pool, UINT64_MAX, 0, &out), -EFBIG);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -EINVAL);
	assert_int_equal(daxpin_publish(f->pool, ops, DAXPIN_OPS_MAX + 1,
					NULL, NULL),
			 -E2BIG);
	assert_int_equal(daxpin_publish(f->pool, ops, 0, NULL, NULL), -EINVAL);
	assert_int_equal(daxpin_hold(f->pool, extent, 0), -EINVAL);
	assert_int_equal(daxpin_hold(f->pool, extent, 8), -EINVAL);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_EXCLUSIVE),
			 -EINVAL);
	bad.addr = 0;
	assert_int_equal(daxpin_hold(f->pool, bad, DAXPIN_HOLD_READ), -EINVAL);
	bad.addr = extent.addr + 1;
	assert_int_equal(daxpin_drop(f->pool, bad), -EINVAL);
	bad.addr = 1ull << 40;
	assert_int_equal(daxpin_cancel(f->pool, bad), -EINVAL);
	assert_null(daxpin_ptr(f->pool, extent, 4096));
	assert_int_equal(daxpin_persist(f->pool, extent, 4096, 1), -EINVAL);
	assert_int_equal(daxpin_hold(NULL, extent, DAXPIN_HOLD_READ), -EINVAL);
	dp_invariants(f->pool);
}

static void a_full_pool_is_enospc_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent, more;
	int count = 0;

	while (daxpin_reserve(f->pool, 1 << 20, 0, &extent) == 0)
		count++;
	assert_int_equal(count, 60);
	assert_int_equal(free_bytes(f), 0);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &more), -ENOSPC);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(free_bytes(f), 1 << 20);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(free_bytes(f), 60 << 20);	/* a crash never leaks */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_cell_of_the_table),
		TEST(a_retired_extent_is_reused_only_after_the_last_drop),
		TEST(a_handle_never_names_the_next_generation),
		TEST(a_handle_of_an_earlier_open_is_stale),
		TEST(a_cancel_with_a_handle_of_an_earlier_open_is_stale),
		TEST(a_generation_that_ended_is_over_after_a_reopen),
		TEST(a_hold_beyond_the_count_limit_is_refused),
		TEST(keep_with_a_writer_needs_the_flag),
		TEST(an_exclusive_hold_excludes_all_others),
		TEST(drain_refuses_holds_and_times_out),
		TEST(drain_refuses_holds_in_segments_that_a_grow_adds),
		TEST(daxpin_holds_names_labelled_holders),
		TEST(bad_arguments_change_nothing),
		TEST(a_full_pool_is_enospc_and_recovers),
	};

	return cmocka_run_group_tests_name("extent_state", tests, NULL, NULL);
}
