/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns which segments are fixed buffers of the ring, and by which slot. A slot is
 * filled at the first request into its segment, and goes to another segment when
 * slots or memory run out.
 *
 *	segment without a slot -> with one	[slots_fill]
 *	with one -> leaving			[slots_leave] a reclaim wants it
 *	with one, leaving -> without		[slots_forget] no request names it
 *	leaving -> with one			[dp_uring_slot_release] emptying failed;
 *						the next service call tries again
 *
 *  - Slot and segment name each other, or neither does.
 *  - A slot is emptied only while no request names it (users, counted from prep to
 *    the last CQE).
 *  - A slot protects nothing: memory is protected by the hold that every request
 *    has (A5). So the segment has no pins of ours once its slot is empty.
 *
 * Why no tags (KERNEL 4). A tag's CQE says that no request uses a registration
 * any more. Only our requests can name our slots, each is counted to its last
 * CQE, and the kernel posts that CQE before the tag's: the tag would tell late,
 * and in the user's queue, what is known here already. What the kernel still
 * does after it is to unpin, and kernels before 6.13 put that off behind older
 * requests of the whole ring, of whatever kind. Nothing of ours waits for it:
 * - another segment in the slot: requests find the new one, none has the old;
 * - a punch on tmpfs: it never waits for pins, and a pin that nobody names
 *   writes nothing. Its page is no longer the file's and is freed with the pin;
 * - reuse of an extent waits for holds, never for pins;
 * - device-dax never waits for pins, and fsdax has none here.
 * What may be seen of it: memory that is still charged to RLIMIT_MEMLOCK, so
 * that the next registration fails; then the request is plain.
 * The return of an unregister is no sign of anything and is not used as one.
 */
#include "uring/buffer_slots.h"

#include <stdlib.h>
#include <sys/resource.h>
#include "util/memlock.h"

/* Requests that a segment has to do without before another loses its slot: to
 * pin a segment costs as much as many requests gain. */
#define THRESHOLD_FOR_A_SLOT		64
/* And when it has been refused for want of memory. */
#define THRESHOLD_AFTER_FAILURE	4096
#define PROBE_BYTES		4096

static uint64_t slots_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

void dp_uring_table_info(const struct daxpin_uring *uring,
			 struct daxpin_uring_info *info)
{
	const struct dp_uring_table *table = &uring->table;

	info->fixed_segments = table->filled;
	info->plain_segments = uring->segments - table->filled;
	info->fallback = table->last_error;
	info->registered_bytes = table->filled_bytes;
	info->buffer_slot = table->first_number;
	info->buffer_slots = table->is_open ? table->slot_count : 0;
	info->registrations = table->fill_count;
	info->evictions = table->evict_count;
	info->fallbacks = table->fallback_count;
	info->limit_bytes = slots_memlock();
}

/* -------------------------------------------------------- fill and empty */

/* `fallback` of daxpin_uring_info(); a new reason is told to the log as well. */
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
 * The pin is announced before it is taken, for a segment with holes must not
 * have one: the kernel would fill them in again (KERNEL 0.13).
 */
static int slots_pin(struct daxpin_uring *uring, uint32_t index, uint32_t slot,
		     size_t bytes_max)
{
	struct daxpin_segment segment = slots_segment_at(uring, index);
	int ret = daxpin_registration_pin(uring->registration, index);

	/* -ENOSPC: it has holes. Like a job, they go; then it is tried again. */
	if (ret)
		return ret == -ENOSPC ? -EAGAIN : ret;
	if (segment.size > bytes_max)
		segment.size = bytes_max;
	ret = dp_uring_put_buffer(&uring->link,
				  uring->table.first_number + slot,
				  segment.base, segment.size);
	if (ret)
		daxpin_registration_revoked(uring->registration, index);
	return ret;
}

/* With or without (-1) a slot: its requests are counted from here on. */
static void slots_set_state(struct dp_uring_table *table, uint32_t index,
			    int slot)
{
	struct dp_uring_segment *state = &table->segment_of[index];

	*state = (struct dp_uring_segment) {
		.mapped_base = state->mapped_base, .slot_index = slot
	};
}

static int slots_fill(struct daxpin_uring *uring, uint32_t index, uint32_t slot)
{
	struct dp_uring_table *table = &uring->table;
	int ret;

	assert(table->slot_of[slot].segment_index == DP_URING_EMPTY);
	assert(table->segment_of[index].slot_index < 0);
	ret = slots_pin(uring, index, slot, SIZE_MAX);
	if (ret)
		return ret;
	table->slot_of[slot] = (struct dp_uring_slot) {
		.segment_index = index, .last_use = ++table->use_clock
	};
	slots_set_state(table, index, slot);
	table->filled++;
	table->fill_count++;
	table->filled_bytes += slots_segment_at(uring, index).size;
	return 0;
}

/*
 * The slot is empty, and no request names it. -EINVAL: the pin was given back by
 * a call of the caller's on our registration; the slot is forgotten all the same.
 */
static int slots_forget(struct daxpin_uring *uring, uint32_t slot)
{
	struct dp_uring_table *table = &uring->table;
	uint32_t index = table->slot_of[slot].segment_index;

	assert(index != DP_URING_EMPTY && !table->slot_of[slot].users);
	assert(table->segment_of[index].slot_index == (int)slot);
	table->slot_of[slot].segment_index = DP_URING_EMPTY;
	slots_set_state(table, index, -1);
	table->filled--;
	table->filled_bytes -= slots_segment_at(uring, index).size;
	return daxpin_registration_revoked(uring->registration, index);
}

/* A table that its owner took out in the meantime has no slots to empty. */
static int slots_empty(struct daxpin_uring *uring, uint32_t slot)
{
	int ret = dp_uring_put_buffer(
		&uring->link, uring->table.first_number + slot, NULL, 0);

	if (ret && ret != -ENXIO)
		return ret;
	return slots_forget(uring, slot);
}

/*
 * When its last request is done: nobody can name the segment any more. -EINVAL:
 * the pin is not ours, but that of a call of the caller's on our registration.
 */
static int slots_leave(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_segment *state = &uring->table.segment_of[index];

	if (state->slot_index < 0)
		return -EINVAL;
	state->is_leaving = true;
	if (uring->table.slot_of[state->slot_index].users)
		return 0;
	/* What memory holds is to be found out anew. */
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

/* The one whose last request was prepared the longest ago, with none going on. */
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

/* ------------------------------------------------------------- on demand */

/* An empty slot, at the cost of another segment if need be; or -1. */
static int slots_make_empty(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	int slot;

	if (table->filled < table->fill_limit)
		return slots_find_empty(table);
	slot = slots_find_idle(table);
	if (slot < 0 || slots_empty(uring, slot))
		return -1;
	table->evict_count++;
	return slot;
}

/* Is it the segment's turn to ask for a slot? */
static bool slots_is_due(struct dp_uring_table *table,
			 struct dp_uring_segment *state)
{
	uint32_t threshold = state->miss_threshold;

	if (table->filled >= table->fill_limit &&
	    threshold < THRESHOLD_FOR_A_SLOT)
		threshold = THRESHOLD_FOR_A_SLOT;
	if (state->misses++ < threshold)
		return false;
	state->misses = 0;
	return true;
}

static int slots_try_fill(struct daxpin_uring *uring, uint32_t index)
{
	int slot = slots_make_empty(uring);

	return slot < 0 ? -EBUSY : slots_fill(uring, index, slot);
}

/*
 * A slot for the segment. Where memory ran out for the first time, another
 * segment makes room at once: from now on it is one for one.
 */
static void slots_ask(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_segment *state = &table->segment_of[index];
	int ret;

	if (!slots_is_due(table, state))
		return;
	ret = slots_try_fill(uring, index);
	if (ret == -ENOMEM && table->fill_limit == table->slot_count &&
	    table->filled) {
		table->fill_limit = table->filled;
		ret = slots_try_fill(uring, index);
	}
	if (!ret)
		return;
	/* -EBUSY: all slots are in use; -EAGAIN: the segment has holes. */
	state->miss_threshold = THRESHOLD_FOR_A_SLOT;
	if (ret == -EBUSY || ret == -EAGAIN)
		return;
	state->miss_threshold = THRESHOLD_AFTER_FAILURE;
	slots_note_failure(uring, ret);
}

int dp_uring_slot_use(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_segment *state = &table->segment_of[index];

	assert(index < uring->segments);
	if (table->is_open && state->slot_index < 0)
		slots_ask(uring, index);
	if (state->slot_index < 0 || state->is_leaving) {
		table->fallback_count += table->is_wanted;
		return -1;
	}
	assert(table->slot_of[state->slot_index].segment_index == index);
	table->slot_of[state->slot_index].users++;
	table->slot_of[state->slot_index].last_use = ++table->use_clock;
	return table->first_number + state->slot_index;
}

/* The last request of a slot that is asked back gives it back. */
void dp_uring_slot_release(struct daxpin_uring *uring, int number)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_slot *slot =
		&table->slot_of[number - table->first_number];
	struct dp_uring_segment *state =
		&table->segment_of[slot->segment_index];

	assert(slot->users &&
	       state->slot_index == (int)(number - table->first_number));
	slot->users--;
	/* What fails here is tried again by the next service call. */
	if (state->is_leaving && !slot->users &&
	    slots_leave(uring, slot->segment_index))
		state->is_leaving = false;
}

void dp_uring_slot_refused(struct daxpin_uring *uring)
{
	uring->table.fallback_count += uring->table.is_wanted;
}

/* Those that were refused may ask again; an eager table asks for them. */
static int slots_come_back(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_segment *state = &table->segment_of[index];
	int ret;

	if (state->slot_index >= 0)
		return 0;
	if (state->miss_threshold < THRESHOLD_AFTER_FAILURE)
		state->miss_threshold = 0;
	if (!table->is_eager || table->filled >= table->fill_limit)
		return 0;
	ret = slots_fill(uring, index, slots_find_empty(table));
	return ret == -EAGAIN ? 0 : ret;
}

int dp_uring_table_service(struct daxpin_uring *uring)
{
	int ret = 0;

	if (!uring->table.is_open)
		return 0;
	for (uint32_t i = 0; !ret && daxpin_registration_wanted(
				uring->registration, &i) > 0; i++)
		ret = slots_leave(uring, i);
	for (uint32_t i = 0; !ret && i < uring->segments; i++)
		ret = slots_come_back(uring, i);
	return ret;
}

/* ------------------------------------------------------------ open, close */

static int slots_allocate(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;

	table->segment_of = calloc(uring->segments, sizeof(*table->segment_of));
	table->slot_of = calloc(table->slot_count + 1, sizeof(*table->slot_of));
	if (!table->segment_of || !table->slot_of)
		return -ENOMEM;		/* the owner frees what there is */
	for (uint32_t i = 0; i < uring->segments; i++) {
		table->segment_of[i].mapped_base =
			slots_segment_at(uring, i).base;
		table->segment_of[i].slot_index = -1;
	}
	for (uint32_t i = 0; i < table->slot_count; i++)
		table->slot_of[i].segment_index = DP_URING_EMPTY;
	return 0;
}

void dp_uring_table_free(struct daxpin_uring *uring)
{
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
	    (!table->slot_count || table->slot_count > uring->segments))
		table->slot_count = uring->segments;
	if (table->is_own && table->slot_count > DAXPIN_URING_SLOTS_MAX)
		table->slot_count = DAXPIN_URING_SLOTS_MAX;
	if (!table->is_own)
		table->first_number = options->buffer_slot;
	table->fill_limit = table->slot_count;
}

/* An update would silently take the caller's buffer out of its slot. */
static int slots_take_range(struct daxpin_uring *uring,
			    const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	int number = dp_uring_taken_buffer(&uring->link, table->first_number,
					   table->slot_count), ret;

	if (number >= 0)
		return dp_fail(DP_ERRMSG_OF(options), -EBUSY,
			       "slot %d of the ring's buffer table is in use: name a range of free ones in buffer_slot and buffer_slots",
			       number);
	/* The last slot: is the table there, and long enough? */
	ret = dp_uring_put_buffer(&uring->link,
				  table->first_number + table->slot_count - 1,
				  NULL, 0);
	if (ret == -ENXIO || ret == -EINVAL)
		return dp_fail(
			DP_ERRMSG_OF(options), -EINVAL,
			"the ring has no buffer table with the slots %u to %u: register one with io_uring_register_buffers_sparse() first",
			table->first_number,
			table->first_number + table->slot_count - 1);
	return ret;
}

static int slots_make_table(struct daxpin_uring *uring,
			    const struct daxpin_uring_options *options)
{
	int ret;

	if (!uring->table.is_own)
		return slots_take_range(uring, options);
	ret = dp_uring_make_buffers(&uring->link, uring->table.slot_count);
	if (ret == -EACCES)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "the ring has restrictions (IORING_REGISTER_RESTRICTIONS) that forbid a buffer table: attach before io_uring_enable_rings(), allow IORING_REGISTER_BUFFERS2, IORING_REGISTER_BUFFERS_UPDATE and IORING_UNREGISTER_BUFFERS, or attach with DAXPIN_URING_PLAIN");
	if (ret == -EBUSY)
		return dp_fail(DP_ERRMSG_OF(options), ret,
			       "the ring has a buffer table already: name a range of free slots of it (DAXPIN_URING_BUFFER_RANGE), or attach with DAXPIN_URING_PLAIN");
	return ret;
}

/*
 * One page tells what this kernel says to buffers on this backing. Segments
 * with holes are not asked.
 */
static int slots_probe(struct daxpin_uring *uring)
{
	int ret = -EAGAIN;

	for (uint32_t i = 0; ret == -EAGAIN && i < uring->segments; i++) {
		ret = slots_pin(uring, i, 0, PROBE_BYTES);
		if (ret)
			continue;
		ret = dp_uring_put_buffer(&uring->link,
					  uring->table.first_number, NULL, 0);
		daxpin_registration_revoked(uring->registration, i);
	}
	return ret == -EAGAIN || ret == -ENOMEM ? 0 : ret;
}

static int slots_refuse_memory(struct daxpin_uring *uring,
			       const struct daxpin_uring_options *options)
{
	char text[DP_MEMLOCK_TEXT];

	return dp_fail(DP_ERRMSG_OF(options), -ENOMEM,
		       "fixed buffers for the pool need %llu KiB; %s: raise it (ulimit -l; systemd: LimitMEMLOCK=), give CAP_IPC_LOCK, or leave out DAXPIN_URING_NEED_FIXED",
		       (unsigned long long)uring->needed_bytes >> 10,
		       dp_memlock_text(text));
}

/* As many as there are slots and memory for, or all. */
static int slots_fill_all(struct daxpin_uring *uring,
			  const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	bool need = options->flags & DAXPIN_URING_NEED_FIXED;
	int ret = 0;

	for (uint32_t i = 0; i < uring->segments &&
	     table->filled < table->slot_count; i++) {
		ret = slots_fill(uring, i, slots_find_empty(table));
		if (ret && ret != -EAGAIN)
			break;
		ret = 0;
	}
	if (ret == -ENOMEM && need)
		return slots_refuse_memory(uring, options);
	if (ret != -ENOMEM)
		return ret;
	slots_note_failure(uring, ret);
	table->fill_limit = table->filled;
	return 0;
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

	for (uint32_t i = 0; table->is_open && i < table->slot_count; i++) {
		if (table->slot_of[i].segment_index == DP_URING_EMPTY)
			continue;
		table->slot_of[i].users = 0;
		/* A pin that others gave back is over all the same. */
		slots_forget(uring, i);
	}
	assert(!table->filled && !table->filled_bytes);
	table->is_open = false;
}

/* What only tells that this backing or kernel has no fixed buffers. */
static bool slots_is_not_supported(int error)
{
	return error == -EOPNOTSUPP || error == -EFAULT;
}

static int slots_open_table(struct daxpin_uring *uring,
			    const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	int ret = slots_make_table(uring, options);

	if (ret)
		return ret;
	table->is_open = true;
	ret = slots_probe(uring);
	if (!ret)
		ret = slots_needs_more(uring, options);
	if (!ret && table->is_eager)
		ret = slots_fill_all(uring, options);
	if (ret)
		dp_uring_table_close(uring);
	return ret;
}

int dp_uring_table_open(struct daxpin_uring *uring, bool can_be_fixed,
			const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	bool need = options->flags & DAXPIN_URING_NEED_FIXED;
	int ret;

	table->is_wanted = !(options->flags & DAXPIN_URING_PLAIN);
	table->is_eager = need || options->flags & DAXPIN_URING_EAGER;
	if (table->is_wanted)
		slots_choose_size(uring, options);
	ret = slots_allocate(uring);
	if (ret || !table->is_wanted)
		return ret;
	ret = can_be_fixed ? slots_open_table(uring, options) : -EOPNOTSUPP;
	if (!slots_is_not_supported(ret))
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
