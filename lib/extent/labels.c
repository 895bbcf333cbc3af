/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The labelled holds of a pool, for reports: a table for each thread slot.
 *
 * A place of a table has a hold, or is free:
 *
 *	LISTED --add--> hold --remove, by this slot's thread--> LISTED
 *	                hold --remove, by another thread------> EMPTY --sweep--> LISTED
 *	                hold --read--> hold|READ --read--> hold
 *
 *	LISTED -> hold		[label_put] by the thread of the slot, with a store:
 *				free places are in a list that only it uses
 *	hold -> LISTED, EMPTY	[label_take_out] with a CAS, so one thread of several
 *				removes a hold. It waits while the place has READ
 *	hold <-> hold|READ	[label_pin, label_unpin] by a thread that reads the
 *				hold: its memory and its label belong to the caller,
 *				and are valid until the drop returns
 *	EMPTY -> LISTED		[label_sweep] by the thread of the slot, when its list
 *				is empty
 *
 * So an add has no locked operation, a removal has one, whichever thread makes it, and
 * a reader delays only the drop of the hold that it reads. The store of an add is a
 * release, with which the CAS of a reader and of a removal synchronize; so does the end
 * of a read with the removal.
 *
 * When a thread ends, its table remains: its holds can be dropped as before, and the
 * next thread with that slot uses the list of free places (thread_slot.c has the
 * fences). Threads without a slot of their own share a table; they take its lock to add
 * a hold, and remove holds as other threads do. A forked child gets EOWNERDEAD before
 * any of this.
 *
 * A table grows by as many places as it has, if a sweep finds less than half of them.
 * Its parts stay where they are until the pool is closed. A hold names its place by
 * table and index, and a removal compares the place with the address of the hold. So a
 * struct that was never added, a copy, and a hold of another pool are refused.
 *
 * Invariants:
 *	I37	labelled holds are listed here in addition to being counted, so listed
 *		and unlisted holds make up the count
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/labels.h"
#include "os/os.h"

/* What a place has that has no hold: 0 is EMPTY. The address of a hold is a multiple
 * of 8. */
#define PLACE_EMPTY	0u
#define PLACE_READ	1u		/* with a hold: a thread reads it */
#define PLACE_LISTED	2u		/* above it: the next free place + 1 */
#define PLACE_BITS	2u

static_assert(_Alignof(struct daxpin_hold) > (1u << PLACE_BITS) - 1, "bits of a place");

void dp_labels_init(struct dp_labels *labels)
{
	memset(labels, 0, sizeof(*labels));
}

void dp_labels_fini(struct dp_labels *labels)
{
	for (uint32_t i = 0; i <= DP_THREAD_SLOTS; i++)
		for (uint32_t j = 0; j < labels->table[i].parts; j++)
			free(atomic_load(&labels->table[i].part[j]));
}

/* ------------------------------------------------------------------ the places */

/* The number of places in this part; the same number is in all before it, except for
 * the first. */
static uint64_t label_part_places(uint32_t part)
{
	return part ? (uint64_t)DP_LABELS_FIRST << (part - 1) : DP_LABELS_FIRST;
}

/* NULL: there is no such place. */
static struct dp_label_place *label_place(struct dp_label_table *table, uint64_t index)
{
	uint32_t part = index < DP_LABELS_FIRST ? 0 :
			63 - __builtin_clzll(index / DP_LABELS_FIRST) + 1;
	struct dp_label_place *first;

	if (part >= DP_LABELS_PARTS)
		return NULL;
	first = atomic_load_explicit(&table->part[part], memory_order_acquire);
	return first ? first + (part ? index - label_part_places(part) : index) : NULL;
}

static void label_list_free_place(struct dp_label_table *table,
				  struct dp_label_place *place, uint64_t index)
{
	atomic_store_explicit(&place->content, table->free << PLACE_BITS | PLACE_LISTED,
			      memory_order_relaxed);
	table->free = index + 1;
}

/* List what other threads have emptied. Returns the number of places. */
static uint64_t label_sweep(struct dp_label_table *table)
{
	uint64_t found = 0, index = 0;

	assert(!table->free);
	for (uint32_t i = 0; i < table->parts; i++) {
		struct dp_label_place *place = atomic_load(&table->part[i]);

		for (uint64_t j = label_part_places(i); j; j--, place++, index++) {
			if (atomic_load_explicit(&place->content, memory_order_acquire))
				continue;
			label_list_free_place(table, place, index);
			found++;
		}
	}
	return found;
}

static int label_grow(struct dp_label_table *table)
{
	uint64_t places = label_part_places(table->parts);
	uint64_t first = table->parts ? places : 0;
	struct dp_label_place *part;

	if (table->parts == DP_LABELS_PARTS)
		return -ENOMEM;
	part = aligned_alloc(DP_CACHE_LINE, places * sizeof(*part));
	if (!part)
		return -ENOMEM;
	memset(part, 0, places * sizeof(*part));
	for (uint64_t i = places; i; i--)
		label_list_free_place(table, &part[i - 1], first + i - 1);
	atomic_store_explicit(&table->part[table->parts++], part, memory_order_release);
	return 0;
}

/* Without memory for more places, those that the sweep found are enough. */
__attribute__((cold, noinline))
static int label_make_room(struct dp_label_table *table)
{
	uint64_t found = label_sweep(table);
	int ret = 0;

	if (!table->parts || found < label_part_places(table->parts) / 2)
		ret = label_grow(table);
	assert(ret || table->free);
	return table->free ? 0 : ret;
}

/* ------------------------------------------------------------ add and remove */

/* Into the first free place. */
static void label_put(struct dp_label_table *table, struct daxpin_hold *hold)
{
	uint64_t index = table->free - 1;
	struct dp_label_place *place = label_place(table, index);
	uintptr_t content = atomic_load_explicit(&place->content, memory_order_relaxed);

	assert(content & PLACE_LISTED);
	table->free = content >> PLACE_BITS;
	hold->place = index;
	atomic_store_explicit(&place->addr, hold->extent.addr, memory_order_relaxed);
	atomic_store_explicit(&place->content, (uintptr_t)hold, memory_order_release);
}

/* The table is shared, or has no free place. */
__attribute__((cold, noinline))
static int label_put_slowly(struct dp_label_table *table, struct daxpin_hold *hold)
{
	bool shared = hold->slot == DP_THREAD_SLOT_SHARED;
	int ret = 0;

	if (shared)
		dp_polled_lock_take(&table->lock);
	if (!table->free)
		ret = label_make_room(table);
	if (!ret)
		label_put(table, hold);
	if (shared)
		dp_polled_lock_release(&table->lock);
	return ret;
}

int dp_label_add(struct dp_labels *labels, struct daxpin_hold *hold)
{
	struct dp_label_table *table;

	/* The caller sees from `access`, which is not 0, that the struct is in use. */
	assert(hold->access && hold->label);
	hold->since_ns = dp_os_now_coarse_ns();
	hold->slot = dp_thread_slot();
	table = &labels->table[hold->slot];
	if (hold->slot == DP_THREAD_SLOT_SHARED || !table->free)
		return label_put_slowly(table, hold);
	label_put(table, hold);
	return 0;
}

/* Wait a little for a thread that reads a hold. This is not a cancellation point: a
 * hold whose drop is cancelled here would remain. */
__attribute__((cold, noinline))
static void label_pause(unsigned int *spins)
{
	if (++*spins < DP_SHORT_LOCK_SPINS)
		dp_cpu_relax();
	else
		dp_os_sleep_ns(DP_POLLED_LOCK_NS);
}

/* The first attempt failed: the place has `was`. */
__attribute__((cold, noinline))
static bool label_take_out_later(struct dp_label_place *place, struct daxpin_hold *hold,
				 uintptr_t content, uintptr_t was)
{
	unsigned int spins = 0;

	do {
		if (was != ((uintptr_t)hold | PLACE_READ))
			return false;
		label_pause(&spins);
		was = (uintptr_t)hold;
	} while (!atomic_compare_exchange_strong_explicit(&place->content, &was,
			content, memory_order_acq_rel, memory_order_relaxed));
	return true;
}

/* hold -> content. False: the place does not have this hold. */
static bool label_take_out(struct dp_label_place *place, struct daxpin_hold *hold,
			   uintptr_t content)
{
	uintptr_t was = (uintptr_t)hold;

	return atomic_compare_exchange_strong_explicit(&place->content, &was, content,
			memory_order_acq_rel, memory_order_relaxed) ||
	       label_take_out_later(place, hold, content, was);
}

int dp_label_remove(struct dp_labels *labels, struct daxpin_hold *hold)
{
	struct dp_label_table *table;
	struct dp_label_place *place;
	bool mine = hold->slot == dp_thread_slot_own() &&
		    hold->slot < DP_THREAD_SLOTS;

	if (hold->slot > DP_THREAD_SLOT_SHARED)
		return -EINVAL;
	table = &labels->table[hold->slot];
	place = label_place(table, hold->place);
	if (!place ||
	    !label_take_out(place, hold, !mine ? PLACE_EMPTY :
			    table->free << PLACE_BITS | PLACE_LISTED))
		return -EINVAL;
	if (mine)
		table->free = hold->place + 1;
	hold->access = 0;
	return 0;
}

/* ---------------------------------------------------------------- reading them */

/* The hold in this place, which stays there until label_unpin(). NULL: none. */
static struct daxpin_hold *label_pin(struct dp_label_place *place)
{
	uintptr_t was = atomic_load_explicit(&place->content, memory_order_relaxed);
	unsigned int spins = 0;

	while (was && !(was & PLACE_LISTED)) {
		if (was & PLACE_READ) {
			label_pause(&spins);
			was = atomic_load_explicit(&place->content,
						   memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(&place->content, &was,
					was | PLACE_READ, memory_order_acquire,
					memory_order_relaxed)) {
			return (struct daxpin_hold *)was;
		}
	}
	return NULL;
}

static void label_unpin(struct dp_label_place *place, struct daxpin_hold *hold)
{
	atomic_store_explicit(&place->content, (uintptr_t)hold, memory_order_release);
}

/* The place may have another hold by now, so look at the address in the hold. */
static void label_read(struct dp_label_place *place, uint64_t begin, uint64_t end,
		       dp_label_fn *fn, void *arg)
{
	struct daxpin_hold *hold = label_pin(place);

	if (!hold)
		return;
	if (hold->extent.addr >= begin && hold->extent.addr < end)
		fn(hold, arg);
	label_unpin(place, hold);
}

/* Call fn for the places of a table that have a hold in [begin, end). Returns what fn
 * returns, if that is not 0. */
static int label_each_place(struct dp_label_table *table, uint64_t begin, uint64_t end,
			    int (*fn)(struct dp_label_place *, uint64_t addr, void *),
			    void *arg)
{
	struct dp_label_place *place;
	uintptr_t content;
	uint64_t addr;
	int ret = 0;

	for (uint32_t i = 0; i < DP_LABELS_PARTS && !ret; i++) {
		place = atomic_load_explicit(&table->part[i], memory_order_acquire);
		if (!place)
			break;
		for (uint64_t j = label_part_places(i); j && !ret; j--, place++) {
			content = atomic_load_explicit(&place->content,
						       memory_order_acquire);
			addr = atomic_load_explicit(&place->addr, memory_order_relaxed);
			if (content && !(content & PLACE_LISTED) && addr >= begin &&
			    addr < end)
				ret = fn(place, addr, arg);
		}
	}
	return ret;
}

struct label_reader {
	uint64_t begin, end;
	dp_label_fn *fn;
	void *arg;
};

static int label_read_place(struct dp_label_place *place, uint64_t addr, void *arg)
{
	struct label_reader *reader = arg;

	(void)addr;
	label_read(place, reader->begin, reader->end, reader->fn, reader->arg);
	return 0;
}

void dp_labels_each(struct dp_labels *labels, uint64_t begin, uint64_t end,
		    dp_label_fn *fn, void *arg)
{
	struct label_reader reader = { begin, end, fn, arg };

	for (uint32_t i = 0; i <= DP_THREAD_SLOTS; i++)
		label_each_place(&labels->table[i], begin, end, label_read_place,
				 &reader);
}

/* ----------------------------------------------------------------- a list of them */

static int label_add_to_list(struct dp_label_place *place, uint64_t addr, void *arg)
{
	struct dp_label_list *list = arg;
	size_t room = list->room ? 2 * list->room : DP_LABELS_FIRST;
	void *entry;

	if (list->count == list->room) {
		entry = realloc(list->entry, room * sizeof(*list->entry));
		if (!entry)
			return -ENOMEM;
		list->entry = entry;
		list->room = room;
	}
	list->entry[list->count++] = (struct dp_label_entry) { addr, place };
	return 0;
}

static int label_compare(const void *a, const void *b)
{
	const struct dp_label_entry *one = a, *other = b;

	return (one->addr > other->addr) - (one->addr < other->addr);
}

int dp_labels_list(struct dp_labels *labels, uint64_t begin, uint64_t end,
		   struct dp_label_list *ret_list)
{
	struct dp_label_list list = { .count = 0 };
	int ret = 0;

	for (uint32_t i = 0; i <= DP_THREAD_SLOTS && !ret; i++)
		ret = label_each_place(&labels->table[i], begin, end, label_add_to_list,
				       &list);
	if (ret) {
		dp_label_list_free(&list);
		return ret;
	}
	if (list.count)
		qsort(list.entry, list.count, sizeof(*list.entry), label_compare);
	*ret_list = list;
	return 0;
}

void dp_label_list_at(struct dp_label_list *list, uint64_t addr, dp_label_fn *fn,
		      void *arg)
{
	while (list->next < list->count && list->entry[list->next].addr < addr)
		list->next++;
	for (; list->next < list->count && list->entry[list->next].addr == addr;
	     list->next++)
		label_read(list->entry[list->next].place, addr, addr + 1, fn, arg);
}

void dp_label_list_free(struct dp_label_list *list)
{
	free(list->entry);
}
