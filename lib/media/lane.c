/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A batch with sequence number s goes through a lane whose done is s - 1:
 *
 *	entries and header (with s and the check)	fence: it is committed
 *	the words themselves				fence: it is applied
 *	done = s					fence: it is closed
 *
 * Without the last fence a replay of this lane could undo a later change of one of its
 * words, because that change may be made without a lane (D4). The states after a power
 * cut:
 *
 *	CLOSED	check fits, sequence == done
 *	OPEN	check fits, sequence == done + 1: replayed at the next open
 *	TORN	check does not fit, sequence is done or done + 1 (it is one word,
 *		which cannot tear): never committed, so nothing of it was applied
 *
 * Anything else is damage. A torn lane must not remain, because the bytes of a later
 * batch could complete it. So recovery writes an empty header over it, with the
 * sequence number of the torn batch. Before that it makes `done` durable with the same
 * number. Suppose that it did not, and that the torn batch lacks only its sequence
 * number. The empty header has this number, and a power cut could make this word of the
 * header durable and no other. Then the torn batch would be complete, and the next
 * recovery would replay it. The order is:
 *
 *	pending words; done + 1 of torn lanes	fence
 *	headers of torn lanes; done of open	fence
 *
 * A power cut during recovery leaves OPEN and TORN lanes. If recovery had already set
 * `done` of a TORN lane, its sequence may be done - 1, and its check may fit. If the
 * torn batch has become complete, the lane is CLOSED, because `done` is its number.
 * Recovery can be repeated with the same result (D11).
 *
 * No two lanes in use name the same word: publish first claims the word or, for a SET,
 * takes the lock of the word.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/lane.h"
#include "os/os.h"

#define HEADER_SIZE	offsetof(struct dp_lane, zero_1)

static struct dp_lane *lane_on_media(const struct dp_lanes *lanes,
				     uint32_t index)
{
	assert(index < DP_LANES);
	return (struct dp_lane *)(lanes->base + DP_LANES_OFFSET) + index;
}

void dp_lanes_init(struct dp_lanes *lanes, char *base,
		   const struct dp_badblocks_view *view, uint64_t seed,
		   struct dp_persist *persist)
{
	memset(lanes, 0, sizeof(*lanes));
	lanes->base = base;
	lanes->view = view;
	lanes->seed = seed;
	lanes->persist = persist;
	for (uint32_t i = 0; i < DP_LANES; i++)
		pthread_mutex_init(&lanes->lane[i].mutex, NULL);
}

void dp_lanes_fini(struct dp_lanes *lanes)
{
	if (!dp_lanes_are_there(lanes))
		return;
	for (uint32_t i = 0; i < DP_LANES; i++)
		pthread_mutex_destroy(&lanes->lane[i].mutex);
	free(lanes->pending);
	lanes->pending = NULL;
	lanes->pending_count = 0;
}

/* ---------------------------------------------------------------- at open */

enum dp_lane_state dp_lane_judge(uint64_t seed, uint32_t index,
				 const struct dp_lane *lane)
{
	uint64_t ahead = lane->sequence - lane->done;
	bool whole = lane->count <= DP_LANE_ENTRIES &&
		     lane->check == dp_lane_check(seed, index, lane);

	if (ahead + 1 > 2)
		return DP_LANE_DAMAGED;
	if (!whole || ahead == (uint64_t)-1)
		return DP_LANE_TORN;
	return ahead ? DP_LANE_OPEN : DP_LANE_CLOSED;
}

static int lane_add_pending(struct dp_lanes *lanes, const struct dp_lane *lane)
{
	size_t count = lanes->pending_count + lane->count;
	struct dp_lane_entry *grown;

	if (!lane->count)
		return 0;
	grown = realloc(lanes->pending, count * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memcpy(grown + lanes->pending_count, lane->entry,
	       lane->count * sizeof(*grown));
	lanes->pending = grown;
	lanes->pending_count = count;
	return 0;
}

/* Where a lane lies in a segment. */
static uint64_t lane_offset(uint32_t index)
{
	static_assert(sizeof(struct dp_lane) == DP_BLOCK_SIZE, "a lane is a block");
	return DP_LANES_OFFSET + index * DP_BLOCK_SIZE;
}

static int lane_read(const struct dp_lanes *lanes, uint32_t index,
		     struct dp_lane *ret_copy, const struct dp_errmsg *errmsg)
{
	uint64_t offset = lane_offset(index);
	char name[40];
	int ret = dp_badblocks_read(lanes->view, offset, ret_copy, sizeof(*ret_copy));

	if (!ret)
		return 0;
	snprintf(name, sizeof(name), "segment 0: redo lane %u", index);
	return dp_badblocks_fail(lanes->view, ret, offset, sizeof(*ret_copy), name,
				 errmsg);
}

static int lane_load(struct dp_lanes *lanes, uint32_t index,
		     const struct dp_lane *copy, const struct dp_errmsg *errmsg)
{
	struct dp_lane_control *control = &lanes->lane[index];

	control->sequence = copy->sequence;
	control->done = copy->done;
	control->found = dp_lane_judge(lanes->seed, index, copy);
	if (control->found == DP_LANE_DAMAGED)
		return dp_fail(errmsg, -EUCLEAN,
			       "redo lane %u at offset 0x%llx is damaged (sequence %llu, done %llu)" DP_UNTOUCHED,
			       index, (unsigned long long)lane_offset(index),
			       (unsigned long long)copy->sequence,
			       (unsigned long long)copy->done);
	return control->found == DP_LANE_OPEN ? lane_add_pending(lanes, copy) : 0;
}

/* All lanes are read at once, unless one of them is bad. */
static int lanes_load(struct dp_lanes *lanes, struct dp_lane *copy, bool tolerant,
		      const struct dp_errmsg *errmsg)
{
	bool one_by_one = dp_badblocks_read(lanes->view, DP_LANES_OFFSET, copy,
					    DP_LANES * sizeof(*copy));
	int ret = 0;

	for (uint32_t i = 0; !ret && i < DP_LANES; i++) {
		if (one_by_one)
			ret = lane_read(lanes, i, &copy[i], errmsg);
		if (!ret)
			ret = lane_load(lanes, i, &copy[i], errmsg);
		if (tolerant && (ret == -EUCLEAN || ret == -EIO))
			ret = 0;
	}
	return ret;
}

int dp_lanes_load(struct dp_lanes *lanes, bool tolerant,
		  const struct dp_errmsg *errmsg)
{
	struct dp_lane *copy = malloc(DP_LANES * sizeof(*copy));
	int ret;

	assert(!lanes->pending);
	if (!copy)
		return -ENOMEM;
	ret = lanes_load(lanes, copy, tolerant, errmsg);
	free(copy);
	return ret;
}

size_t dp_lanes_pending(const struct dp_lanes *lanes)
{
	return lanes->pending_count;
}

const struct dp_lane_entry *dp_lanes_pending_entry(const struct dp_lanes *lanes,
						   size_t index)
{
	assert(index < lanes->pending_count);
	return &lanes->pending[index];
}

void dp_lanes_filter(struct dp_lanes *lanes,
		     bool (*fn)(void *arg, const struct dp_lane_entry *entry),
		     void *arg)
{
	size_t kept = 0;

	for (size_t i = 0; i < lanes->pending_count; i++)
		if (fn(arg, &lanes->pending[i]))
			lanes->pending[kept++] = lanes->pending[i];
	lanes->pending_count = kept;
}

void dp_lanes_patch(const struct dp_lanes *lanes, uint64_t addr, uint64_t size,
		    char *copy)
{
	for (size_t i = 0; i < lanes->pending_count; i++) {
		const struct dp_lane_entry *entry = &lanes->pending[i];

		if (entry->addr >= addr && entry->addr - addr < size)
			memcpy(copy + (entry->addr - addr), &entry->value, 8);
	}
}

static int lane_apply(struct dp_lanes *lanes,
		      const struct dp_lane_entry *entries, size_t count)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < count; i++) {
		char *to = lanes->base + entries[i].addr;

		assert(entries[i].addr % 8 == 0);
		dp_persist_store(lanes->persist, to, entries[i].value);
		ret = dp_persist_flush(lanes->persist, to, 8);
	}
	return ret;
}

static int lane_write_header(struct dp_lanes *lanes, uint32_t index,
			     const struct dp_lane *lane)
{
	struct dp_lane *to = lane_on_media(lanes, index);

	dp_persist_copy(lanes->persist, to, lane, HEADER_SIZE);
	return dp_persist_flush(lanes->persist, to, HEADER_SIZE);
}

static int lane_write_empty(struct dp_lanes *lanes, uint32_t index)
{
	const struct dp_lane_control *control = &lanes->lane[index];
	struct dp_lane empty = {
		.sequence = control->done,
		.epoch = lanes->batch_epoch,
	};

	/* `done` on media has the number of the torn batch already. */
	assert(control->done - control->sequence <= 1);
	empty.check = dp_lane_check(lanes->seed, index, &empty);
	return lane_write_header(lanes, index, &empty);
}

static int lane_write_done(struct dp_lanes *lanes, uint32_t index)
{
	uint64_t *done = &lane_on_media(lanes, index)->done;

	lanes->lane[index].done++;
	dp_persist_store(lanes->persist, done, lanes->lane[index].done);
	return dp_persist_flush(lanes->persist, done, sizeof(*done));
}

/* Set `done` to the sequence number of the torn batch, unless an earlier recovery,
 * which was interrupted, has done so. */
static int lane_use_up(struct dp_lanes *lanes, uint32_t index)
{
	const struct dp_lane_control *control = &lanes->lane[index];

	return control->sequence + 1 == control->done ? 0 :
	       lane_write_done(lanes, index);
}

static int lane_for_each_found(struct dp_lanes *lanes, enum dp_lane_state state,
			       int (*fn)(struct dp_lanes *lanes,
					 uint32_t index))
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < DP_LANES; i++)
		if (lanes->lane[i].found == state)
			ret = fn(lanes, i);
	return ret;
}

int dp_lanes_recover(struct dp_lanes *lanes, uint64_t epoch)
{
	int ret = 0, work = 0;

	lanes->batch_epoch = epoch;
	for (uint32_t i = 0; i < DP_LANES; i++) {
		/* D8: with a damaged lane the pool was not opened for writing. */
		assert(lanes->lane[i].found != DP_LANE_DAMAGED);
		work += lanes->lane[i].found != DP_LANE_CLOSED;
	}
	if (!work)
		return 0;
	ret = lane_apply(lanes, lanes->pending, lanes->pending_count);
	if (!ret)
		ret = lane_for_each_found(lanes, DP_LANE_TORN, lane_use_up);
	dp_persist_fence(lanes->persist);
	if (!ret)
		ret = lane_for_each_found(lanes, DP_LANE_TORN,
					  lane_write_empty);
	if (!ret)
		ret = lane_for_each_found(lanes, DP_LANE_OPEN, lane_write_done);
	dp_persist_fence(lanes->persist);
	free(lanes->pending);
	lanes->pending = NULL;
	lanes->pending_count = 0;
	return ret;
}

/* ----------------------------------------------------------------- in use */

void dp_lane_fetch(const struct dp_lanes *lanes, uint32_t near, uint32_t count)
{
	const char *lane = (const char *)lane_on_media(lanes, near % DP_LANES);
	uint64_t size = offsetof(struct dp_lane, entry) +
			count * sizeof(struct dp_lane_entry);

	for (uint64_t at = 0; at < size; at += DP_CACHE_LINE)
		__builtin_prefetch(lane + at, 1);
}

uint32_t dp_lane_take(struct dp_lanes *lanes, uint32_t near)
{
	near %= DP_LANES;
	for (uint32_t i = 0; i < DP_LANES; i++) {
		uint32_t index = (near + i) % DP_LANES;

		if (!pthread_mutex_trylock(&lanes->lane[index].mutex))
			return index;
	}
	pthread_mutex_lock(&lanes->lane[near].mutex);
	return near;
}

void dp_lane_release(struct dp_lanes *lanes, uint32_t index)
{
	assert(index < DP_LANES);
	pthread_mutex_unlock(&lanes->lane[index].mutex);
}

/* Write entries and header. After the fence the batch is committed. */
static int lane_commit(struct dp_lanes *lanes, uint32_t index,
		       const struct dp_lane_entry *entries, uint32_t count)
{
	struct dp_lane *to = lane_on_media(lanes, index);
	uint64_t size = count * sizeof(*entries);
	struct dp_lane lane;
	int ret;

	dp_persist_copy(lanes->persist, to->entry, entries, size);
	ret = dp_persist_flush(lanes->persist, to->entry, size);
	/* The check is computed while the entries are written back. Fill in the whole
	 * header, but only `count` entries. */
	lane.sequence = lanes->lane[index].done + 1;
	lane.epoch = lanes->batch_epoch;
	lane.count = count;
	lane.zero_0 = 0;
	memcpy(lane.entry, entries, size);
	lane.check = dp_lane_check(lanes->seed, index, &lane);
	if (!ret)
		ret = lane_write_header(lanes, index, &lane);
	dp_persist_fence(lanes->persist);
	return ret;
}

int dp_lane_run(struct dp_lanes *lanes, uint32_t index,
		const struct dp_lane_entry *entries, uint32_t count)
{
	int ret;

	assert(count && count <= DP_LANE_ENTRIES);
	assert(!lanes->pending);	/* D11: recovered before the first batch */
	ret = lane_commit(lanes, index, entries, count);
	if (ret)
		return ret;
	ret = lane_apply(lanes, entries, count);
	dp_persist_fence(lanes->persist);
	if (ret)
		return ret;
	ret = lane_write_done(lanes, index);
	dp_persist_fence(lanes->persist);
	return ret;
}
