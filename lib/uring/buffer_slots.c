/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns which segments are fixed buffers of the ring, and by which slot. A slot is
 * filled at attach, by daxpin_uring_prepare(), or by a reap or service call after
 * requests into its segment were plain; never in a prep. It is reused for another
 * segment when slots or memory are exhausted.
 *
 *	segment without a slot -> with one	[slots_fill]
 *	with one -> leaving			[slots_leave] a reclaim needs it
 *	with one, leaving -> without		[slots_forget] no request names it
 *	leaving -> with one			[slots_stay] no reclaim needs it now
 *	leaving -> with one			[dp_uring_slot_idle] emptying failed;
 *						the next service call tries again
 *
 *  - Slot and segment name each other, or neither does.
 *  - A slot is emptied only while no request names it (users, counted from prep to
 *    the last CQE).
 *  - A slot protects nothing: memory is protected by the hold of every request (A5).
 *  - The adapter has a pin of a segment from before its slot is filled until after the
 *    slot was emptied (A6).
 *
 * Why no tags: a tag's CQE reports that no request uses a registration any more.
 * Only requests of the adapter can name its slots, each is counted to its last CQE,
 * and the kernel posts that CQE before the tag's: the tag would report later, and
 * in the program's queue, what is already known here. After the last CQE the kernel
 * only has to unpin the pages, and kernels before 6.13 delay that until all older
 * requests of the ring have ended. Nothing depends on when it unpins:
 * - if another segment is put into the slot, new requests use that one, and no request
 *   uses the old one any more;
 * - a punch on tmpfs never waits for pins, and a pin without a request writes
 *   nothing. Its page no longer belongs to the file and is freed with the pin;
 * - reuse of an extent waits for holds, never for pins;
 * - device-dax never waits for pins, and fsdax has none here.
 * The only effect: memory may still be charged to RLIMIT_MEMLOCK, so that the next
 * registration fails; then the request is plain.
 * The return of an unregister proves nothing and is not used.
 */
#include "uring/buffer_slots.h"

#include <stdlib.h>
#include "uring/buffer_table.h"
#include "uring/share.h"
#include "util/memlock.h"

/* A segment is registered on demand after this many plain requests, because pinning it
 * costs more time than a fixed buffer saves in a few requests. */
#define THRESHOLD_FOR_A_SLOT		64
/* The same after a registration has failed, mostly for lack of memory. */
#define THRESHOLD_AFTER_FAILURE	4096
#define PROBE_BYTES			4096

void dp_uring_table_info(const struct daxpin_uring *uring,
			 struct daxpin_uring_info *info)
{
	const struct dp_uring_table *table = &uring->table;

	info->fixed_segments = table->filled;
	info->plain_segments = dp_uring_count_segments(uring) - table->filled;
	info->fallback = table->last_error;
	info->registered_bytes = table->filled_bytes;
	info->buffer_slot = table->first_number;
	info->buffer_slots = table->is_open ? table->slot_count : 0;
	info->registrations = table->fill_count;
	info->evictions = table->evict_count;
	info->fallbacks = table->fallback_count;
	info->limit_bytes = dp_memlock();
	info->shared_segments = table->shared;
	info->share_error = dp_uring_share_error(uring);
}

/* -------------------------------------------------------- fill and empty */

/* Store the reason why requests are plain, which daxpin_uring_info() returns as
 * `fallback`, and log it if it is another one than before. */
static void slots_note_failure(struct daxpin_uring *uring, int error)
{
	char message[400], text[DP_MEMLOCK_TEXT];

	if (uring->table.last_error == error)
		return;
	uring->table.last_error = error;
	snprintf(message, sizeof(message),
		 "a ring reads and writes without fixed buffers: %s",
		 error == -ENOMEM ? dp_memlock_text(text) : strerror(-error));
	daxpin_log(uring->pool, message);
}

static struct daxpin_segment slots_segment_at(const struct daxpin_uring *uring,
					      uint32_t index)
{
	struct daxpin_segment segment;
	int ret = daxpin_segment(uring->pool, index, &segment);

	assert(!ret);
	return segment;
}

/*
 * The pin is announced before it is taken, because a segment with holes must not
 * have one: the kernel would fill them in again (kernel.md K4).
 */
static int slots_announce(struct daxpin_uring *uring, uint32_t index)
{
	int ret = daxpin_registration_pin(uring->registration, index);

	/* -ENOSPC: the segment has holes, until a refill. -EAGAIN: a job works on it,
	 * until it ends. After both the caller tries again later. */
	return ret == -ENOSPC ? -EAGAIN : ret;
}

/* Assign the slot, or none (-1), and restart the count of the segment's requests. */
static void slots_set_state(struct dp_uring_table *table, uint32_t index,
			    int slot)
{
	struct dp_uring_segment *state = &table->segment_of[index];

	*state = (struct dp_uring_segment) {
		.mapped_base = state->mapped_base, .slot_index = slot,
		.miss_threshold = THRESHOLD_FOR_A_SLOT,
	};
}

/* Record that the slot has the segment. With is_shared it may be only in the source
 * yet, from which the slot is copied next. */
static void slots_record(struct daxpin_uring *uring, uint32_t index,
			 uint32_t slot, bool is_shared)
{
	struct dp_uring_table *table = &uring->table;

	assert(table->slot_of[slot].segment_index == DP_URING_EMPTY);
	assert(table->segment_of[index].slot_index < 0);
	table->slot_of[slot] = (struct dp_uring_slot) {
		.segment_index = index, .is_shared = is_shared,
		.last_use = ++table->use_clock
	};
	slots_set_state(table, index, slot);
	table->filled++;
	table->shared += is_shared;
	table->fill_count++;
	table->filled_bytes += slots_segment_at(uring, index).size;
}

/* -EIO: a page of the segment cannot be pinned (EFAULT). Each try pins all pages before
 * it, so a service call does not try again. */
static int slots_fill(struct daxpin_uring *uring, uint32_t index, uint32_t slot)
{
	const uint32_t number = uring->table.first_number + slot;
	struct daxpin_segment segment = slots_segment_at(uring, index);
	int ret = slots_announce(uring, index);
	bool is_shared;

	if (ret)
		return ret;
	is_shared = dp_uring_share_fill(uring, index, number);
	if (!is_shared)
		ret = dp_uring_put_buffer(&uring->link, number, segment.base,
					  segment.size);
	if (!ret) {
		slots_record(uring, index, slot, is_shared);
		return 0;
	}
	daxpin_registration_revoked(uring->registration, index);
	uring->table.segment_of[index].is_bad = ret == -EFAULT;
	return ret == -EFAULT ? -EIO : ret;
}

/*
 * Call it when the slot was emptied, or the ring is gone, and no request names it: this
 * gives the segment's pin back. -EINVAL: the program has given it back already, by a
 * call on the adapter's registration; the slot is free for another segment
 * nevertheless.
 */
static int slots_forget(struct daxpin_uring *uring, uint32_t slot)
{
	struct dp_uring_table *table = &uring->table;
	uint32_t index = table->slot_of[slot].segment_index;

	assert(index != DP_URING_EMPTY && !table->slot_of[slot].users);
	assert(table->segment_of[index].slot_index == (int)slot);
	if (table->slot_of[slot].is_shared) {
		dp_uring_share_give(uring, index);
		table->shared--;
	}
	table->slot_of[slot].segment_index = DP_URING_EMPTY;
	slots_set_state(table, index, -1);
	table->filled--;
	table->filled_bytes -= slots_segment_at(uring, index).size;
	return daxpin_registration_revoked(uring->registration, index);
}

/* -ENXIO: the program has unregistered the table meanwhile, so no slot is left. */
static int slots_empty(struct daxpin_uring *uring, uint32_t slot)
{
	int ret = dp_uring_put_buffer(
		&uring->link, uring->table.first_number + slot, NULL, 0);

	if (ret && ret != -ENXIO)
		return ret;
	return slots_forget(uring, slot);
}

/*
 * Let no new request name the segment's slot, and empty the slot when its last request
 * has ended. -EINVAL: the segment has no slot, so the program made the pin by a call on
 * the adapter's registration.
 */
static int slots_leave(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_segment *state = &uring->table.segment_of[index];

	if (state->slot_index < 0)
		return -EINVAL;
	state->is_leaving = true;
	if (uring->table.slot_of[state->slot_index].users)
		return 0;
	/* The amount of available memory must be determined again. */
	uring->table.fill_limit = uring->table.slot_count;
	return slots_empty(uring, state->slot_index);
}

static int slots_find_empty(const struct dp_uring_table *table)
{
	for (uint32_t i = 0; i < table->slot_count; i++)
		if (table->slot_of[i].segment_index == DP_URING_EMPTY)
			return i;
	return -1;
}

/* The least recently used slot that has no request in flight; -1: there is none. */
static int slots_find_idle(const struct dp_uring_table *table)
{
	int oldest = -1;

	for (uint32_t i = 0; i < table->slot_count; i++) {
		const struct dp_uring_slot *slot = &table->slot_of[i];

		if (slot->segment_index == DP_URING_EMPTY || slot->users)
			continue;
		if (oldest < 0 ||
		    slot->last_use < table->slot_of[oldest].last_use)
			oldest = i;
	}
	return oldest;
}

/* ------------------------------------------------------ prepare, on demand */

/* Returns an empty slot. If fill_limit is reached and any slot is filled, this first
 * empties the least recently used slot that no request names. -1: requests name all
 * filled slots, no slot is empty, or emptying failed. */
static int slots_make_empty(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	int slot;

	if (table->filled < table->fill_limit || !table->filled)
		return slots_find_empty(table);
	slot = slots_find_idle(table);
	if (slot < 0 || slots_empty(uring, slot))
		return -1;
	table->evict_count++;
	return slot;
}

static int slots_try_fill(struct daxpin_uring *uring, uint32_t index)
{
	int slot = slots_make_empty(uring);

	return slot < 0 ? -EBUSY : slots_fill(uring, index, slot);
}

/*
 * Register the segment. When memory runs out for the first time, another segment's slot
 * is emptied for it, and the number of filled slots is a limit from then on. -EBUSY:
 * all slots are in use; -EAGAIN: the segment has holes, or a reclaim wants it.
 */
static int slots_fill_within_limit(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	int ret = slots_try_fill(uring, index);

	if (ret == -ENOMEM && table->fill_limit == table->slot_count &&
	    table->filled) {
		table->fill_limit = table->filled;
		ret = slots_try_fill(uring, index);
	}
	if (ret && ret != -EBUSY && ret != -EAGAIN)
		slots_note_failure(uring, ret);
	return ret;
}

/*
 * Let new requests name the slot of a segment again, if it was leaving. -EAGAIN: a
 * reclaim needs the segment. If the reclaim ended before the slot was emptied, because
 * a request still named it, the pin still exists: slots_announce() returns -EALREADY.
 */
static int slots_stay(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_segment *state = &uring->table.segment_of[index];
	int ret = state->is_leaving ? slots_announce(uring, index) : 0;

	assert(state->slot_index >= 0);
	if (ret && ret != -EALREADY)
		return ret;
	state->is_leaving = false;
	return 0;
}

int dp_uring_table_prepare(struct daxpin_uring *uring, uint32_t index)
{
	const struct dp_uring_table *table = &uring->table;

	assert(index < uring->most);
	if (!table->is_open)
		return -EOPNOTSUPP;
	return table->segment_of[index].slot_index < 0 ?
	       slots_fill_within_limit(uring, index) : slots_stay(uring, index);
}

/* There is no memory for more registrations. So from now on another slot is emptied
 * before a segment is registered. */
static void slots_note_no_memory(struct daxpin_uring *uring)
{
	slots_note_failure(uring, -ENOMEM);
	uring->table.fill_limit = uring->table.filled;
}

/* Register the segment if a slot is free, but take no other segment's. */
static int slots_fill_if_free(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;

	if (table->segment_of[index].slot_index >= 0)
		return slots_stay(uring, index);
	if (table->filled >= table->fill_limit)
		return -EBUSY;
	return slots_fill(uring, index, slots_find_empty(table));
}

/*
 * Register as many as there are slots and memory for. -EIO: some have pages that cannot
 * be pinned; -EAGAIN: some have holes, or a reclaim needs them; -EBUSY: there are fewer
 * slots than segments. What is registered stays.
 */
static int slots_fill_all(struct daxpin_uring *uring, bool is_service)
{
	int ret = 0, failed = 0;

	/* A prep finds the addresses of segments that a grow has added without this. */
	uring->segments = dp_uring_count_segments(uring);
	/* A service call does not raise the limit that a lack of memory has set. */
	if (!is_service)
		uring->table.fill_limit = uring->table.slot_count;
	for (uint32_t i = 0; !ret && i < uring->segments; i++) {
		if (is_service && uring->table.segment_of[i].is_bad)
			continue;
		ret = slots_fill_if_free(uring, i);
		if (ret == -EIO || (ret == -EAGAIN && !failed))
			failed = ret;
		ret = ret == -EIO || ret == -EAGAIN ? 0 : ret;
	}
	ret = ret ? ret : failed;
	if (ret == -ENOMEM)
		slots_note_no_memory(uring);
	else if (ret && ret != -EBUSY && ret != -EAGAIN)
		slots_note_failure(uring, ret);
	return ret;
}

int dp_uring_table_prepare_all(struct daxpin_uring *uring)
{
	return uring->table.is_open ? slots_fill_all(uring, false) : -EOPNOTSUPP;
}

void dp_uring_slot_missed(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_segment *state = &table->segment_of[index];

	table->fallback_count += table->is_wanted;
	if (!table->is_on_demand || state->is_leaving)
		return;
	state->misses++;
	if (table->asking == DP_URING_EMPTY &&
	    (state->misses == 1 || state->misses >= state->miss_threshold))
		table->asking = index;
}

/* Copy the registration of another ring, which costs no pin. Takes no other segment's
 * slot. */
static void slots_fill_by_copy(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	uint32_t slot;

	if (table->filled >= table->fill_limit || slots_announce(uring, index))
		return;
	slot = slots_find_empty(table);
	if (dp_uring_share_fill_at_once(uring, index,
					table->first_number + slot))
		slots_record(uring, index, slot, true);
	else
		daxpin_registration_revoked(uring->registration, index);
}

void dp_uring_table_fill_on_demand(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	uint32_t index = table->asking;
	struct dp_uring_segment *state;
	int ret;

	if (!table->is_open || index == DP_URING_EMPTY)
		return;
	table->asking = DP_URING_EMPTY;
	state = &table->segment_of[index];
	if (state->slot_index >= 0)
		return;
	if (state->misses < state->miss_threshold) {
		slots_fill_by_copy(uring, index);
		return;
	}
	state->misses = 0;
	ret = slots_fill_within_limit(uring, index);
	if (ret)
		state->miss_threshold = ret == -EBUSY || ret == -EAGAIN ?
					THRESHOLD_FOR_A_SLOT :
					THRESHOLD_AFTER_FAILURE;
}

void dp_uring_slot_idle(struct daxpin_uring *uring, uint32_t index)
{
	/* What fails here is tried again by the next service call. */
	if (slots_leave(uring, index))
		uring->table.segment_of[index].is_leaving = false;
}

void dp_uring_slot_refused(struct daxpin_uring *uring)
{
	uring->table.fallback_count += uring->table.is_wanted;
}

int dp_uring_table_service(struct daxpin_uring *uring)
{
	int ret = 0;

	if (!uring->table.is_open)
		return 0;
	for (uint32_t i = 0; !ret && daxpin_registration_wanted(
				uring->registration, &i) > 0; i++)
		ret = slots_leave(uring, i);
	/* An eager table also registers segments whose holes were refilled. */
	if (!ret && uring->table.is_eager)
		ret = slots_fill_all(uring, true);
	return ret == -EAGAIN || ret == -EBUSY || ret == -EIO ? 0 : ret;
}

/* ------------------------------------------------------------ open, close */

static int slots_allocate(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;

	char *base = slots_segment_at(uring, 0).base;

	table->segment_of = calloc(uring->most, sizeof(*table->segment_of));
	table->slot_of = calloc(table->slot_count + 1, sizeof(*table->slot_of));
	if (!table->segment_of || !table->slot_of)
		return -ENOMEM;		/* dp_uring_table_free() frees the other */
	for (uint32_t i = 0; i < uring->most; i++) {
		table->segment_of[i].mapped_base =
			base + ((uint64_t)i << uring->segment_shift);
		slots_set_state(table, i, -1);
	}
	for (uint32_t i = 0; i < table->slot_count; i++)
		table->slot_of[i].segment_index = DP_URING_EMPTY;
	return 0;
}

void dp_uring_table_close_inherited(struct daxpin_uring *uring)
{
	dp_uring_share_close_inherited(uring);
}

void dp_uring_table_free(struct daxpin_uring *uring)
{
	dp_uring_share_leave(uring);
	free(uring->table.segment_of);
	free(uring->table.slot_of);
}

static void slots_choose_size(struct daxpin_uring *uring,
			      const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;

	table->slot_count = options->buffer_slots;
	table->is_own = !(options->flags & DAXPIN_URING_BUFFER_RANGE);
	if (table->is_own &&
	    (!table->slot_count || table->slot_count > uring->most))
		table->slot_count = uring->most;
	if (table->is_own && table->slot_count > DAXPIN_URING_SLOTS_MAX)
		table->slot_count = DAXPIN_URING_SLOTS_MAX;
	if (!table->is_own)
		table->first_number = options->buffer_slot;
	table->fill_limit = table->slot_count;
}

static int slots_probe_segment(struct daxpin_uring *uring, uint32_t index)
{
	const uint32_t number = uring->table.first_number;
	int ret = slots_announce(uring, index);

	if (ret)
		return ret;
	ret = dp_uring_put_buffer(&uring->link, number,
				  slots_segment_at(uring, index).base,
				  PROBE_BYTES);
	if (!ret)
		ret = dp_uring_put_buffer(&uring->link, number, NULL, 0);
	daxpin_registration_revoked(uring->registration, index);
	return ret;
}

/*
 * One page shows whether this kernel accepts buffers on this backing. Segments with
 * holes are not tried. A page that cannot be pinned may be bad, so then a page of the
 * next segment is tried.
 */
static int slots_probe(struct daxpin_uring *uring)
{
	bool all_tried = true;
	int ret = -EAGAIN;

	for (uint32_t i = 0; (ret == -EAGAIN || ret == -EFAULT) &&
			     i < uring->segments; i++) {
		ret = slots_probe_segment(uring, i);
		all_tried &= ret != -EAGAIN;
	}
	return ret == -EAGAIN || ret == -ENOMEM || (ret == -EFAULT && !all_tried) ?
	       0 : ret;
}

static int slots_needs_more(struct daxpin_uring *uring,
			    const struct daxpin_uring_options *options)
{
	if (!(options->flags & DAXPIN_URING_NEED_FIXED) ||
	    uring->table.slot_count >= uring->segments)
		return 0;
	return dp_fail(DP_ERRMSG_OF(options), -EOPNOTSUPP,
		       "%u segments do not fit into %u slots: leave out DAXPIN_URING_NEED_FIXED",
		       uring->segments, uring->table.slot_count);
}

/* Give the pins of all segments back. Call it only if no request can name a slot. */
static void slots_forget_all(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;

	for (uint32_t i = 0; i < table->slot_count; i++)
		if (table->slot_of[i].segment_index != DP_URING_EMPTY)
			slots_forget(uring, i);
	assert(!table->filled && !table->filled_bytes && !table->shared);
}

int dp_uring_table_close(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	int ret = 0;

	if (!table->is_open)
		return 0;
	for (uint32_t i = 0; !ret && i < table->slot_count; i++)
		if (table->slot_of[i].segment_index != DP_URING_EMPTY)
			ret = slots_empty(uring, i);
	if (!ret && table->is_own)
		ret = dp_uring_remove_buffers(&uring->link);
	if (ret && ret != -ENXIO)
		return ret;
	assert(!table->filled && !table->filled_bytes);
	table->is_open = false;
	return 0;
}

void dp_uring_table_forget(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;

	if (!table->is_open)
		return;
	for (uint32_t i = 0; i < table->slot_count; i++)
		table->slot_of[i].users = 0;
	/* The errors of slots_forget() are ignored: they only mean that the program has
	 * given the pin back before. */
	slots_forget_all(uring);
	table->is_open = false;
}

/* An attach failed: empty its slots or, if that fails, remove the whole table. A slot
 * that stays filled is harmless, because no request names it. */
static void slots_undo_open(struct daxpin_uring *uring)
{
	if (!dp_uring_table_close(uring))
		return;
	if (uring->table.is_own)
		dp_uring_remove_buffers(&uring->link);
	dp_uring_table_forget(uring);
}

/* -EAGAIN: each segment has holes or is in a reclaim, so there is nothing to copy. */
static int slots_take_all(struct daxpin_uring *uring)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < uring->segments; i++) {
		if (slots_announce(uring, i))
			continue;
		ret = dp_uring_share_take(uring, i);
		if (ret)
			daxpin_registration_revoked(uring->registration, i);
		else
			slots_record(uring, i, i, true);
	}
	return !ret && !uring->table.filled ? -EAGAIN : ret;
}

/* Empty the slots whose segment this ring did not take: they were copied, too. */
static int slots_empty_others(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	uint32_t first = 0, i = 0;
	int ret = 0;

	for (; !ret && i < table->slot_count; i++)
		if (table->slot_of[i].segment_index != DP_URING_EMPTY) {
			ret = dp_uring_empty_buffers(&uring->link, first, i - first);
			first = i + 1;
		}
	return ret ? ret : dp_uring_empty_buffers(&uring->link, first, i - first);
}

/* The ring has no table yet. */
static int slots_take_and_copy_all(struct daxpin_uring *uring, bool need)
{
	struct dp_uring_table *table = &uring->table;
	int taken = slots_take_all(uring);
	int ret = taken == -ENOMEM && table->filled && !need ? 0 : taken;

	if (!ret)
		ret = dp_uring_share_copy_table(uring);
	if (ret) {
		slots_forget_all(uring);
		return ret;
	}
	table->is_open = true;
	if (taken)
		slots_note_no_memory(uring);
	return 0;
}

/*
 * Make an eager table with a slot for each segment in one step, as a copy of the
 * source's table. False: this was impossible, and everything was undone. The caller
 * then registers the segments one by one, and reports the errors of that.
 */
static bool slots_copy_table(struct daxpin_uring *uring, bool need)
{
	struct dp_uring_table *table = &uring->table;

	if (!table->is_eager || !table->is_own ||
	    table->slot_count < uring->segments ||
	    slots_take_and_copy_all(uring, need))
		return false;
	if (!slots_empty_others(uring))
		return true;
	slots_undo_open(uring);
	return false;
}

static int slots_fill_eagerly(struct daxpin_uring *uring,
			      const struct daxpin_uring_options *options)
{
	bool need = options->flags & DAXPIN_URING_NEED_FIXED;
	int ret = dp_uring_table_prepare_all(uring);

	if (ret == -ENOMEM && need)
		return dp_uring_refuse_memory(uring->needed_bytes, options);
	if (ret == -EIO && need)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "a page of the pool cannot be pinned, probably because it is bad: leave out DAXPIN_URING_NEED_FIXED");
	return ret == -ENOMEM || ret == -EAGAIN || ret == -EBUSY || ret == -EIO ?
	       0 : ret;
}

static int slots_open_table(struct daxpin_uring *uring,
			    const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	int ret = slots_needs_more(uring, options);

	if (ret || slots_copy_table(uring, options->flags &
					   DAXPIN_URING_NEED_FIXED))
		return ret;
	ret = table->is_own ?
	      dp_uring_make_table(&uring->link, table->slot_count, options) :
	      dp_uring_take_range(&uring->link, table->first_number,
				  table->slot_count, options);
	if (ret)
		return ret;
	table->is_open = true;
	ret = slots_probe(uring);
	if (!ret && table->is_eager)
		ret = slots_fill_eagerly(uring, options);
	if (ret)
		slots_undo_open(uring);
	return ret;
}

int dp_uring_table_open(struct daxpin_uring *uring, bool can_be_fixed,
			const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	bool need = options->flags & DAXPIN_URING_NEED_FIXED;
	int ret;

	table->asking = DP_URING_EMPTY;
	table->is_wanted = !(options->flags & DAXPIN_URING_PLAIN);
	table->is_on_demand = table->is_wanted &&
			      !(options->flags & DAXPIN_URING_PREPARED);
	table->is_eager = need || options->flags & DAXPIN_URING_EAGER;
	if (table->is_wanted)
		slots_choose_size(uring, options);
	ret = slots_allocate(uring);
	if (ret || !table->is_wanted)
		return ret;
	ret = can_be_fixed ? slots_open_table(uring, options) : -EOPNOTSUPP;
	/* With these two, this backing or kernel has no fixed buffers. */
	if (ret != -EOPNOTSUPP && ret != -EFAULT)
		return ret;
	if (need && !(options->errmsg && options->errmsg_size &&
		      options->errmsg[0]))
		dp_fail(DP_ERRMSG_OF(options), ret,
			"no fixed buffers on this backing and kernel: leave out DAXPIN_URING_NEED_FIXED");
	if (need)
		return ret;
	slots_note_failure(uring, ret);
	return 0;
}
