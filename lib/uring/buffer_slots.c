/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which segments are fixed buffers of the ring: a slot is filled at the first
 * request into its segment, and goes to another segment when slots or memory
 * run out.
 *
 * A slot is only a faster way to name memory: what protects memory is the hold
 * that every request has of its own (A5). So a slot may be emptied, and its
 * segment be called free of pins, as soon as no request names it, and that is
 * counted here (in_flight, from prep to the last CQE).
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
#include <stdlib.h>
#include <sys/resource.h>
#include "uring/uring.h"

/* Requests that a segment has to do without before another loses its slot: to
 * pin a segment costs as much as many requests gain. */
#define PRICE_OF_A_SLOT		64
/* And when it has been refused for want of memory. */
#define PRICE_AFTER_FAILURE	4096
#define PROBE_BYTES		4096

static uint64_t memlock(void)
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
	info->fallback = table->fallback;
	info->registered_bytes = table->bytes;
	info->buffer_slot = table->first;
	info->buffer_slots = table->there ? table->slots : 0;
	info->registrations = table->registrations;
	info->evictions = table->evictions;
	info->fallbacks = table->fallbacks;
	info->limit_bytes = memlock();
}

/* -------------------------------------------------------- fill and empty */

static struct daxpin_segment segment_at(const struct daxpin_uring *uring,
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
static int pin(struct daxpin_uring *uring, uint32_t index, uint32_t slot,
	       size_t bytes_max)
{
	struct daxpin_segment segment = segment_at(uring, index);
	int ret = daxpin_registration_pin(uring->registration, index);

	if (ret)
		return ret;
	if (segment.size > bytes_max)
		segment.size = bytes_max;
	ret = dp_uring_put_buffer(&uring->link, uring->table.first + slot,
				  segment.base, segment.size);
	if (ret)
		daxpin_registration_revoked(uring->registration, index);
	return ret;
}

/* With or without (-1) a slot: its requests are counted from here on. */
static void give_seat(struct dp_uring_table *table, uint32_t index, int slot)
{
	struct dp_uring_seat *seat = &table->seat[index];

	*seat = (struct dp_uring_seat) { .base = seat->base, .slot = slot };
}

static int fill(struct daxpin_uring *uring, uint32_t index, uint32_t slot)
{
	struct dp_uring_table *table = &uring->table;
	int ret;

	assert(table->slot[slot].segment == DP_URING_EMPTY);
	assert(table->seat[index].slot < 0);
	ret = pin(uring, index, slot, SIZE_MAX);
	if (ret)
		return ret;
	table->slot[slot] = (struct dp_uring_slot) {
		.segment = index, .used = ++table->clock
	};
	give_seat(table, index, slot);
	table->filled++;
	table->registrations++;
	table->bytes += segment_at(uring, index).size;
	return 0;
}

/* Nobody names the slot, and nobody will. */
static void forget(struct daxpin_uring *uring, uint32_t slot)
{
	struct dp_uring_table *table = &uring->table;
	uint32_t index = table->slot[slot].segment;
	int ret;

	assert(index != DP_URING_EMPTY && !table->slot[slot].in_flight);
	table->slot[slot].segment = DP_URING_EMPTY;
	give_seat(table, index, -1);
	table->filled--;
	table->bytes -= segment_at(uring, index).size;
	ret = daxpin_registration_revoked(uring->registration, index);
	assert(!ret);
}

/* A table that its owner took out in the meantime has no slots to empty. */
static int empty(struct daxpin_uring *uring, uint32_t slot)
{
	int ret = dp_uring_put_buffer(&uring->link, uring->table.first + slot,
				      NULL, 0);

	if (ret && ret != -ENXIO)
		return ret;
	forget(uring, slot);
	return 0;
}

/* When its last request is done: nobody can name the segment any more. */
static int leave(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_seat *seat = &uring->table.seat[index];

	seat->leaving = true;
	if (uring->table.slot[seat->slot].in_flight)
		return 0;
	/* What memory holds is to be found out anew. */
	uring->table.room = uring->table.slots;
	return empty(uring, seat->slot);
}

static int find_empty(const struct dp_uring_table *table)
{
	for (uint32_t i = 0; i < table->slots; i++)
		if (table->slot[i].segment == DP_URING_EMPTY)
			return i;
	return -1;
}

/* The one whose last request was prepared the longest ago, with none going on. */
static int find_idle(const struct dp_uring_table *table)
{
	int oldest = -1;

	for (uint32_t i = 0; i < table->slots; i++) {
		const struct dp_uring_slot *slot = &table->slot[i];

		if (slot->segment == DP_URING_EMPTY || slot->in_flight)
			continue;
		if (oldest < 0 || slot->used < table->slot[oldest].used)
			oldest = i;
	}
	return oldest;
}

/* ------------------------------------------------------------- on demand */

/* An empty slot, at the cost of another segment if need be; or -1. */
static int make_room(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	int slot;

	if (table->filled < table->room)
		return find_empty(table);
	slot = find_idle(table);
	if (slot < 0 || empty(uring, slot))
		return -1;
	table->evictions++;
	return slot;
}

/* Is it the segment's turn to ask for a slot? */
static bool is_due(struct dp_uring_table *table, struct dp_uring_seat *seat)
{
	uint32_t price = seat->price;

	if (table->filled >= table->room && price < PRICE_OF_A_SLOT)
		price = PRICE_OF_A_SLOT;
	if (seat->asked++ < price)
		return false;
	seat->asked = 0;
	return true;
}

static int try_fill(struct daxpin_uring *uring, uint32_t index)
{
	int slot = make_room(uring);

	return slot < 0 ? -EBUSY : fill(uring, index, slot);
}

/*
 * A slot for the segment. Where memory ran out for the first time, another
 * segment makes room at once: from now on it is one for one.
 */
static void ask_for_slot(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_seat *seat = &table->seat[index];
	int ret;

	if (!is_due(table, seat))
		return;
	ret = try_fill(uring, index);
	if (ret == -ENOMEM && table->room == table->slots && table->filled) {
		table->room = table->filled;
		ret = try_fill(uring, index);
	}
	if (!ret)
		return;
	/* -EBUSY: all slots are in use; -EAGAIN: the segment has holes. */
	seat->price = PRICE_OF_A_SLOT;
	if (ret == -EBUSY || ret == -EAGAIN)
		return;
	seat->price = PRICE_AFTER_FAILURE;
	table->fallback = ret;
}

int dp_uring_slot_use(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_seat *seat = &table->seat[index];

	assert(index < uring->segments);
	if (table->there && seat->slot < 0)
		ask_for_slot(uring, index);
	if (seat->slot < 0 || seat->leaving) {
		table->fallbacks += table->wanted;
		return -1;
	}
	table->slot[seat->slot].in_flight++;
	table->slot[seat->slot].used = ++table->clock;
	return table->first + seat->slot;
}

/* The last request of a slot that is asked back gives it back. */
void dp_uring_slot_release(struct daxpin_uring *uring, int number)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_slot *slot = &table->slot[number - table->first];
	struct dp_uring_seat *seat = &table->seat[slot->segment];

	assert(slot->in_flight && seat->slot == (int)(number - table->first));
	slot->in_flight--;
	/* What fails here is tried again by the next service call. */
	if (seat->leaving && !slot->in_flight && leave(uring, slot->segment))
		seat->leaving = false;
}

void dp_uring_slot_refused(struct daxpin_uring *uring)
{
	uring->table.fallbacks += uring->table.wanted;
}

/* Those that were refused may ask again; an eager table asks for them. */
static int come_back(struct daxpin_uring *uring, uint32_t index)
{
	struct dp_uring_table *table = &uring->table;
	struct dp_uring_seat *seat = &table->seat[index];
	int ret;

	if (seat->slot >= 0)
		return 0;
	if (seat->price < PRICE_AFTER_FAILURE)
		seat->price = 0;
	if (!table->eager || table->filled >= table->room)
		return 0;
	ret = fill(uring, index, find_empty(table));
	return ret == -EAGAIN ? 0 : ret;
}

int dp_uring_table_service(struct daxpin_uring *uring)
{
	int ret = 0;

	if (!uring->table.there)
		return 0;
	for (uint32_t i = 0; !ret && daxpin_registration_wanted(
				uring->registration, &i) > 0; i++)
		ret = leave(uring, i);
	for (uint32_t i = 0; !ret && i < uring->segments; i++)
		ret = come_back(uring, i);
	return ret;
}

/* ------------------------------------------------------------ open, close */

static int allocate(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;

	table->seat = calloc(uring->segments, sizeof(*table->seat));
	table->slot = calloc(table->slots + 1, sizeof(*table->slot));
	if (!table->seat || !table->slot)
		return -ENOMEM;		/* the owner frees what there is */
	for (uint32_t i = 0; i < uring->segments; i++) {
		table->seat[i].base = segment_at(uring, i).base;
		table->seat[i].slot = -1;
	}
	for (uint32_t i = 0; i < table->slots; i++)
		table->slot[i].segment = DP_URING_EMPTY;
	return 0;
}

void dp_uring_table_free(struct daxpin_uring *uring)
{
	free(uring->table.seat);
	free(uring->table.slot);
}

static void choose_size(struct daxpin_uring *uring,
			const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;

	table->slots = options->buffer_slots;
	table->own = !(options->flags & DAXPIN_URING_BUFFER_RANGE);
	if (table->own && (!table->slots || table->slots > uring->segments))
		table->slots = uring->segments;
	if (table->own && table->slots > DAXPIN_URING_SLOTS_MAX)
		table->slots = DAXPIN_URING_SLOTS_MAX;
	if (!table->own)
		table->first = options->buffer_slot;
	table->room = table->slots;
}

/* An update would silently take the caller's buffer out of its slot. */
static int take_range(struct daxpin_uring *uring,
		      const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	int number = dp_uring_taken_buffer(&uring->link, table->first,
					   table->slots), ret;

	if (number >= 0)
		return dp_fail(DP_WHY_OF(options), -EBUSY,
			       "slot %d of the ring's buffer table is in use: name a range of free ones in buffer_slot and buffer_slots",
			       number);
	/* The last slot: is the table there, and long enough? */
	ret = dp_uring_put_buffer(&uring->link,
				  table->first + table->slots - 1, NULL, 0);
	if (ret == -ENXIO || ret == -EINVAL)
		return dp_fail(DP_WHY_OF(options), -EINVAL,
			       "the ring has no buffer table with the slots %u to %u: register one with io_uring_register_buffers_sparse() first",
			       table->first, table->first + table->slots - 1);
	return ret;
}

static int make_table(struct daxpin_uring *uring,
		      const struct daxpin_uring_options *options)
{
	int ret;

	if (!uring->table.own)
		return take_range(uring, options);
	ret = dp_uring_make_buffers(&uring->link, uring->table.slots);
	if (ret == -EBUSY)
		return dp_fail(DP_WHY_OF(options), ret,
			       "the ring has a buffer table already: name a range of free slots of it (DAXPIN_URING_BUFFER_RANGE), or attach with DAXPIN_URING_PLAIN");
	return ret;
}

/*
 * One page tells what this kernel says to buffers on this backing. Segments
 * with holes are not asked.
 */
static int probe(struct daxpin_uring *uring)
{
	int ret = -EAGAIN;

	for (uint32_t i = 0; ret == -EAGAIN && i < uring->segments; i++) {
		ret = pin(uring, i, 0, PROBE_BYTES);
		if (ret)
			continue;
		ret = dp_uring_put_buffer(&uring->link, uring->table.first,
					  NULL, 0);
		daxpin_registration_revoked(uring->registration, i);
	}
	return ret == -EAGAIN || ret == -ENOMEM ? 0 : ret;
}

static int refuse_memory(struct daxpin_uring *uring,
			 const struct daxpin_uring_options *options)
{
	return dp_fail(DP_WHY_OF(options), -ENOMEM,
		       "fixed buffers for the pool lock %llu KiB, RLIMIT_MEMLOCK is %llu KiB: raise it (ulimit -l), or leave out DAXPIN_URING_NEED_FIXED",
		       (unsigned long long)uring->needed_bytes >> 10,
		       (unsigned long long)memlock() >> 10);
}

/* As many as there are slots and memory for, or all. */
static int fill_all(struct daxpin_uring *uring,
		    const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	bool need = options->flags & DAXPIN_URING_NEED_FIXED;
	int ret = 0;

	for (uint32_t i = 0; i < uring->segments &&
	     table->filled < table->slots; i++) {
		ret = fill(uring, i, find_empty(table));
		if (ret && ret != -EAGAIN)
			break;
		ret = 0;
	}
	if (ret == -ENOMEM && need)
		return refuse_memory(uring, options);
	if (ret != -ENOMEM)
		return ret;
	table->fallback = ret;
	table->room = table->filled;
	return 0;
}

static int needs_more_slots(struct daxpin_uring *uring,
			    const struct daxpin_uring_options *options)
{
	if (!(options->flags & DAXPIN_URING_NEED_FIXED) ||
	    uring->table.slots >= uring->segments)
		return 0;
	return dp_fail(DP_WHY_OF(options), -EOPNOTSUPP,
		       "%u segments do not fit into %u slots: leave out DAXPIN_URING_NEED_FIXED",
		       uring->segments, uring->table.slots);
}

int dp_uring_table_close(struct daxpin_uring *uring)
{
	struct dp_uring_table *table = &uring->table;
	int ret = 0;

	if (!table->there)
		return 0;
	for (uint32_t i = 0; !ret && i < table->slots; i++)
		if (table->slot[i].segment != DP_URING_EMPTY)
			ret = empty(uring, i);
	if (!ret && table->own)
		ret = dp_uring_remove_buffers(&uring->link);
	if (ret && ret != -ENXIO)
		return ret;
	table->there = false;
	return 0;
}

/* What only tells that this backing or kernel has no fixed buffers. */
static bool is_not_supported(int error)
{
	return error == -EOPNOTSUPP || error == -EFAULT;
}

static int open_table(struct daxpin_uring *uring,
		      const struct daxpin_uring_options *options)
{
	struct dp_uring_table *table = &uring->table;
	int ret = make_table(uring, options);

	if (ret)
		return ret;
	table->there = true;
	ret = probe(uring);
	if (!ret)
		ret = needs_more_slots(uring, options);
	if (!ret && table->eager)
		ret = fill_all(uring, options);
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

	table->wanted = !(options->flags & DAXPIN_URING_PLAIN);
	table->eager = need || options->flags & DAXPIN_URING_EAGER;
	if (table->wanted)
		choose_size(uring, options);
	ret = allocate(uring);
	if (ret || !table->wanted)
		return ret;
	ret = can_be_fixed ? open_table(uring, options) : -EOPNOTSUPP;
	if (!is_not_supported(ret))
		return ret;
	if (need && !(options->why && options->why_size && options->why[0]))
		dp_fail(DP_WHY_OF(options), ret,
			"no fixed buffers on this backing and kernel: leave out DAXPIN_URING_NEED_FIXED");
	if (need)
		return ret;
	table->fallback = ret;
	return 0;
}
