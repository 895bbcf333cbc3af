/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_hold(3): taking holds, dropping them, and reporting them. The caller's
 * mistakes are detected here; the count is in extent/state.c.
 */
#include <errno.h>
#include <limits.h>
#include "core/handle.h"
#include "core/snapshot.h"
#include "util/cancel.h"

static int hold_check_access(uint32_t access)
{
	const uint32_t modes = DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE;

	if (!(access & modes) || access & ~(modes | DAXPIN_HOLD_EXCLUSIVE))
		return -EINVAL;
	return 0;
}

static int hold_check(const struct daxpin_pool *pool,
		      struct daxpin_extent extent, uint32_t access,
		      struct dp_handle *ret_handle)
{
	int ret = dp_enter(pool);

	if (!ret)
		ret = hold_check_access(access);
	if (!ret)
		ret = dp_handle(pool, extent, ret_handle);
	if (!ret && access & DAXPIN_HOLD_WRITE && pool->media.readonly)
		ret = -EROFS;
	return ret;
}

static uint64_t hold_flags(uint32_t access)
{
	return (access & DAXPIN_HOLD_WRITE ? DP_HOLD_WRITE : 0) |
	       (access & DAXPIN_HOLD_EXCLUSIVE ? DP_HOLD_EXCLUSIVE : 0);
}

/* Is the access valid, not exclusive, and allowed? Also a close that fails makes a pool
 * read-only. */
static bool hold_is_usual(const struct daxpin_pool *pool, uint32_t access)
{
	return access - 1 < (DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE) &&
	       !(access & DAXPIN_HOLD_WRITE && pool->media.readonly);
}

/* result: of an attempt. If the handle or access is invalid it has failed, and the call
 * fails with the first reason. */
__attribute__((cold, noinline))
static int hold_finish(struct daxpin_pool *pool, uint64_t block, uint64_t generation,
		       uint32_t count, uint32_t access, int result)
{
	struct dp_handle handle = { block, generation };
	int ret = hold_check(pool, dp_handle_encode(pool, handle), access, &handle);

	assert(!ret || result != DP_STATE_GATE_CLOSED);
	return ret ? ret : dp_jobs_finish_hold(&pool->jobs, handle.block,
					       handle.generation, count,
					       hold_flags(access), result);
}

/* Take `count` holds of one extent. One attempt is made here, unless the access is
 * exclusive or not allowed. */
DP_INLINE int hold_take(struct daxpin_pool *pool, struct daxpin_extent extent,
			uint32_t count, uint32_t access)
{
	unsigned int slot = dp_thread_slot_own();
	struct dp_handle handle = dp_handle_decode(pool, extent);
	int ret = DP_STATE_UNDECIDED;

	if (dp_handle_is_usual(pool, handle) && slot < DP_THREAD_SLOTS &&
	    hold_is_usual(pool, access))
		ret = dp_state_try_hold(&pool->states, handle.block,
					handle.generation, count,
					access & DAXPIN_HOLD_WRITE ? DP_HOLD_WRITE : 0,
					slot);
	return ret ? hold_finish(pool, handle.block, handle.generation, count,
				 access, ret) : 0;
}

__attribute__((cold, noinline))
static int hold_finish_drop(struct daxpin_pool *pool, uint64_t block,
			    uint64_t generation, uint32_t count)
{
	struct dp_handle handle = { block, generation };
	int ret = dp_enter_with(pool, dp_handle_encode(pool, handle), &handle);

	return ret ? ret : dp_state_drop(&pool->states, handle.block,
					 handle.generation, count);
}

/* Drop up to `count` holds of one extent. Returns how many it had of them, or -errno if
 * it had none. */
DP_INLINE int hold_drop(struct daxpin_pool *pool, struct daxpin_extent extent,
			uint32_t count)
{
	unsigned int slot = dp_thread_slot_own();
	struct dp_handle handle = dp_handle_decode(pool, extent);
	int ret = DP_STATE_UNDECIDED;

	if (dp_handle_is_usual(pool, handle) && slot < DP_THREAD_SLOTS)
		ret = dp_state_try_drop(&pool->states, handle.block,
					handle.generation, count, slot, true);
	return ret < 0 ? hold_finish_drop(pool, handle.block, handle.generation,
					  count) : ret;
}

DP_EXPORT int daxpin_hold(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint32_t access)
{
	return pool ? hold_take(pool, extent, 1, access) : -EINVAL;
}

/* If the extent ends between the two calls, repeat both: another extent may have begun
 * at this address. */
DP_EXPORT int daxpin_hold_at(struct daxpin_pool *pool, uint64_t addr,
			     uint32_t access, struct daxpin_extent *ret_extent)
{
	struct daxpin_extent extent;
	int ret;

	if (!ret_extent)
		return -EINVAL;
	do {
		ret = daxpin_extent_at(pool, addr, &extent);
		if (!ret)
			ret = daxpin_hold(pool, extent, access);
	} while (ret == -ESTALE || ret == -EALREADY);
	if (!ret)
		*ret_extent = extent;
	return ret;
}

DP_EXPORT int daxpin_hold_clone(struct daxpin_pool *pool,
				struct daxpin_extent extent, uint32_t access)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret && access & DAXPIN_HOLD_EXCLUSIVE)
		ret = -EINVAL;
	if (!ret)
		ret = hold_check(pool, extent, access, &handle);
	return ret ? ret : dp_state_clone(&pool->states, handle.block,
					  handle.generation,
					  access & DAXPIN_HOLD_WRITE);
}

DP_EXPORT int daxpin_drop(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	int ret;

	if (!pool)
		return -EINVAL;
	ret = hold_drop(pool, extent, 1);
	return ret < 0 ? ret : 0;
}

/* ----------------------------------------------------------- many in a call */

/* The number of equal handles at the beginning of the array, up to DP_COUNT_MAX. They
 * are held, or dropped, in one step. */
static uint32_t hold_run_length(const struct daxpin_extent *extents,
				size_t count)
{
	uint32_t length = 1;

	while (length < count && length < DP_COUNT_MAX &&
	       extents[length].addr == extents[0].addr &&
	       extents[length].gen == extents[0].gen)
		length++;
	return length;
}

/* Do what separate drops in this order would do: a drop that fails does not prevent the
 * others. Returns the first error. */
static int hold_drop_all(struct daxpin_pool *pool,
			 const struct daxpin_extent *extents, size_t count,
			 size_t *ret_failed)
{
	int first_error = 0, ret;
	size_t i = 0;

	while (i < count) {
		uint32_t run = hold_run_length(extents + i, count - i);

		ret = hold_drop(pool, extents[i], run);
		if (ret < 0 && !first_error) {
			first_error = ret;
			*ret_failed = i;
		}
		/* If the extent had fewer holds, the rest of the run is tried again. */
		i += ret < 0 ? run : (uint32_t)ret;
	}
	return first_error;
}

static int hold_check_many(const struct daxpin_pool *pool,
			   const struct daxpin_extent *extents, size_t count)
{
	int ret = dp_enter(pool);

	return ret ? ret : count && !extents ? -EINVAL : 0;
}

DP_EXPORT int daxpin_hold_many(struct daxpin_pool *pool,
			       const struct daxpin_extent *extents, size_t count,
			       uint32_t access, size_t *failed)
{
	size_t i = 0, at = count, unused;
	int ret = hold_check_many(pool, extents, count);

	if (!ret)
		ret = hold_check_access(access);
	while (!ret && i < count) {
		uint32_t run = hold_run_length(extents + i, count - i);

		ret = hold_take(pool, extents[i], run, access);
		if (ret)
			at = i;
		else
			i += run;
	}
	/* The holds that were taken before the failure end by ordinary drops, which
	 * also wake waiters (I36, I38). */
	if (ret)
		hold_drop_all(pool, extents, i, &unused);
	if (ret && failed)
		*failed = at;
	return ret;
}

DP_EXPORT int daxpin_drop_many(struct daxpin_pool *pool,
			       const struct daxpin_extent *extents, size_t count,
			       size_t *failed)
{
	size_t at = count;
	int ret = hold_check_many(pool, extents, count);

	if (!ret)
		ret = hold_drop_all(pool, extents, count, &at);
	if (ret && failed)
		*failed = at;
	return ret;
}

/* ---------------------------------------------------------- report of holds */

DP_EXPORT int daxpin_hold_labelled(struct daxpin_pool *pool,
				   struct daxpin_extent extent, uint32_t access,
				   const char *label, struct daxpin_hold *hold)
{
	int ret;

	if (!hold || !label || hold->access)
		return -EINVAL;
	ret = daxpin_hold(pool, extent, access & ~DAXPIN_HOLD_GRANT);
	if (ret)
		return ret;
	hold->extent = extent;
	hold->bytes = (uint64_t)dp_state_blocks(&pool->states, extent.addr >>
						DP_BLOCK_SHIFT) << DP_BLOCK_SHIFT;
	hold->access = access;
	hold->label = label;
	ret = dp_label_add(dp_holders_labels(&pool->holders), hold);
	if (!ret)
		return 0;
	hold->access = 0;
	daxpin_drop(pool, extent);
	return ret;
}

DP_EXPORT int daxpin_drop_labelled(struct daxpin_pool *pool,
				   struct daxpin_hold *hold)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!hold || !hold->access)
		return -EINVAL;
	/* Remove it from the table before the drop: after the drop another thread may
	 * close the pool. */
	ret = dp_label_remove(dp_holders_labels(&pool->holders), hold);
	return ret ? ret : daxpin_drop(pool, hold->extent);
}

/* Report the holders of each held extent of a segment. Returns the number of holds. */
static uint64_t hold_report_extents(struct daxpin_pool *pool, uint32_t segment,
				    struct dp_label_list *list, dp_holder_fn *fn,
				    void *arg)
{
	uint64_t first = (uint64_t)segment << dp_states_shift(&pool->states);
	uint64_t end = first + dp_geometry_blocks(&pool->media.geometry, segment);
	struct dp_state_view view;
	uint64_t holds = 0;

	/* The state words of an extent's other blocks are FREE: their count is 0. */
	for (uint64_t b = first + dp_geometry_meta_blocks(&pool->media.geometry);
	     b < end; b++) {
		view = dp_state_read(&pool->states, b);
		if (!view.count)
			continue;
		holds += view.count;
		if (fn)
			dp_holders_of(&pool->holders, list, &(struct dp_held) {
				dp_extent(pool, b, view.generation), segment,
				view.count }, fn, arg);
	}
	return holds;
}

/* Report all holds and registrations, which keep the pool from being closed. (Jobs also
 * do, until daxpin_job_end(), but are not reported here.) Returns the number of holds,
 * or -ENOMEM. */
static int hold_report_pool(struct daxpin_pool *pool, dp_holder_fn *fn, void *arg)
{
	struct dp_label_list list = { .count = 0 };
	uint64_t holds = 0;
	int ret = 0;

	/* One list for all segments, because to make it is to read every table. */
	if (fn)
		ret = dp_labels_list(dp_holders_labels(&pool->holders), 0, UINT64_MAX,
				     &list);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < pool->media.geometry.segments; i++)
		if (dp_gate_busy(dp_state_gates(&pool->states), i))
			holds += hold_report_extents(pool, i, &list, fn, arg);
	dp_label_list_free(&list);
	if (fn)
		dp_registrations_of(&pool->holders, DAXPIN_ALL_SEGMENTS, fn,
				    arg);
	return dp_min(holds, INT_MAX);
}

DP_EXPORT int daxpin_holds(struct daxpin_pool *pool, struct daxpin_extent extent,
			   void (*fn)(const struct daxpin_holder *holder,
				      void *arg), void *arg)
{
	DP_CANCEL_POINT();
	struct dp_held held = { .extent = extent };
	struct dp_state_view view;
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		dp_snapshot_update(pool);
	if (!ret && !extent.addr && !extent.gen)
		return hold_report_pool(pool, fn, arg);
	if (!ret)
		ret = dp_find_view(pool, extent, &handle, &view);
	if (ret)
		return ret;
	if (!fn)
		return view.count;
	held.segment = handle.block >> dp_states_shift(&pool->states);
	held.count = view.count;
	dp_holders_of(&pool->holders, NULL, &held, fn, arg);
	dp_registrations_of(&pool->holders, held.segment, fn, arg);
	return view.count;
}

DP_EXPORT int daxpin_idle(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_state_view view;
	struct dp_handle handle;
	int ret = dp_find_view(pool, extent, &handle, &view);

	if (ret == -ESTALE)
		return 1;
	return ret ? ret : !view.count;
}

DP_EXPORT int daxpin_wait_idle(struct daxpin_pool *pool,
			       struct daxpin_extent extent, uint64_t deadline_ns)
{
	DP_CANCEL_POINT();
	struct dp_handle handle;
	int ret = dp_find(pool, extent, &handle);

	if (ret == -ESTALE)
		return 0;
	return ret ? ret : dp_state_wait(&pool->states, handle.block,
					 handle.generation, deadline_ns);
}
