/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of small objects, and the slabs that have them. An object has a state of
 * two bits, and one CAS decides each change:
 *
 *	FREE --> RESERVED --> CLAIMED --> LIVE --> CLAIMED --> FREE
 *	  ^         |
 *	  `---------'
 *
 *	FREE -> RESERVED	[dp_slab_try_pop] of slab.h
 *	RESERVED -> FREE	[dp_object_cancel]
 *	RESERVED -> CLAIMED	[dp_object_claim] for a KEEP
 *	LIVE -> CLAIMED		[dp_object_claim] for a FREE, SET or ROOT
 *	CLAIMED -> LIVE		[dp_object_settle]: a KEEP is durable, a SET or a ROOT
 *				ends, or a FREE failed
 *	CLAIMED -> RESERVED	[dp_object_settle], for a KEEP that failed
 *	CLAIMED -> FREE		[dp_object_settle_freed], when a FREE is durable
 *	FREE -> CLAIMED		[dp_slab_bar]: the object is in a bad block, and is not
 *				reserved until the next open
 *
 * A slab:
 *
 *	NEW --> OWNED <--> FULL --> PARTIAL --> CLOSING --> NEW
 *	          ^                   |
 *	          `-------------------'
 *
 *	NEW -> OWNED		[dp_slab_own]: the current slab of a thread slot
 *	NEW -> FULL, PARTIAL	[dp_slab_add], at an open
 *	OWNED -> FULL		[objects_leave], if it has no free object
 *	FULL -> PARTIAL		[dp_object_freed], by a thread that has freed one
 *	PARTIAL -> OWNED	[objects_choose]
 *	PARTIAL -> CLOSING	[dp_object_freed], [dp_slab_take_empty]
 *	OWNED -> CLOSING	[dp_slab_take_empty], by its owner
 *	CLOSING -> NEW		[dp_slab_forget]
 *	OWNED, FULL, PARTIAL -> WITHDRAWN
 *				[objects_withdraw], when a shrink closes its segment
 *	WITHDRAWN -> FULL, PARTIAL
 *				[dp_objects_reopen], if the shrink has failed
 *	WITHDRAWN -> CLOSING	[objects_withdraw], [dp_object_freed]
 *	NEW -> CLOSING		[dp_slab_own], if a shrink has closed its segment
 *
 * The place of a slab changes under its class's mutex. Without the mutex a thread
 * reserves only in its own current slab. So while a thread has the mutex, a slab that
 * is PARTIAL can only become emptier, and one that is found empty stays empty until it
 * is CLOSING. Threads that share the last thread slot, and those that steal from
 * another thread's current slab, reserve under the mutex.
 *
 * A thread that frees an object changes the state first, and reads the place after
 * that. A thread that leaves a slab stores FULL first, and reads the states once more
 * afterwards. All four are seq_cst, so at least one of the two threads sees the other:
 * either the freeing thread finds FULL and puts the slab into the list, or the leaving
 * thread finds the free object and goes on with the slab. If both do, the second one
 * that gets the mutex finds that the place has changed. The same is true of the last
 * two threads that make a slab empty, each in another word: the one whose CAS is last
 * reads all words as empty.
 *
 * A WITHDRAWN slab is in no list and is no thread's current one, so no object is
 * reserved in it, but for one case: its owner may have read the address of the slab
 * before the shrink took it away, and reserves without the mutex at any later time.
 * Such a reserve is as good as an earlier one, and the shrink waits until that object
 * is freed as well. But it must not come after the slab was found empty. So a slab
 * that was taken becomes CLOSING only by dp_slab_seal(): a CAS of each word of states,
 * from one without objects in use to one without free objects. Either the owner's CAS
 * comes first, and the seal fails, or it finds no free object. The words stay so, and
 * the struct is not used for another slab before the close: at most one a class and
 * thread slot for each shrink. A thread that frees an object while a seal is tried may
 * see words as in use, so in a slab that was taken it always looks under the mutex.
 *
 * Invariants:
 *	I65	an object has one owner: only the CAS from FREE gives it to a caller
 *	I66	a slab is CLOSING only if no object of it is reserved, live or claimed,
 *		and then none is reserved in it any more
 *	I68	a slab that is WITHDRAWN, or was when its last object was freed, is used
 *		for no reserve that begins later, until dp_objects_reopen()
 *
 * A struct dp_slab is never freed before the close, so a thread with an address of an
 * object that was freed meanwhile reads a slab, even if it is another one by now.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "extent/objects.h"
#include "os/os.h"

#define LIST_SEARCH	8u		/* slabs that are compared for the fullest */
/* Empty slabs of a class that are kept, 4 MiB: making one and freeing it takes as long
 * as 100 reserves. */
#define KEPT_MAX	64u

static_assert(DP_OBJECT_FREE == 0 && DP_OBJECT_CLAIMED == 3,
	      "see dp_object_free_ones()");

static uint64_t objects_table_size(const struct dp_objects *objects, uint64_t blocks)
{
	return blocks * sizeof(objects->slab_of[0]);
}

/* As dp_states_prepare(): the table has addresses for `most` blocks, and memory for
 * those of the pool. */
int dp_objects_prepare(struct dp_objects *objects, uint64_t blocks)
{
	uint64_t begin = objects_table_size(objects, objects->mapped);
	uint64_t end = objects_table_size(objects, blocks);
	void *base;
	int ret;

	assert(blocks <= objects->most);
	if (end <= begin)
		return 0;
	/* Anonymous memory is zeroed: no block has a slab. */
	ret = dp_os_map((char *)objects->slab_of + begin, end - begin,
			PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			&base);
	if (!ret)
		objects->mapped = blocks;
	return ret;
}

static void objects_set_classes(struct dp_objects *objects)
{
	uint32_t class = 0;

	for (uint32_t i = 0; i < DP_OBJECT_UNITS; i++) {
		while (objects->class[class].size < (i + 1) * DP_OBJECT_UNIT &&
		       class < DP_OBJECT_CLASSES - 1)
			class++;
		objects->class_of[i] = class;
	}
}

int dp_objects_init(struct dp_objects *objects, const _Atomic uint64_t *blocks,
		    uint64_t most, uint32_t slab_blocks,
		    const struct dp_object_class *class)
{
	void *base;
	int ret;

	objects->blocks = blocks;
	objects->most = most;
	objects->slab_blocks = slab_blocks;
	memcpy(objects->class, class, sizeof(objects->class));
	objects_set_classes(objects);
	ret = dp_os_map(NULL, objects_table_size(objects, most), PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, &base);
	if (ret)
		return ret;
	objects->slab_of = base;
	ret = dp_objects_prepare(objects, atomic_load(blocks));
	if (ret) {
		dp_objects_close_inherited(objects);
		return ret;
	}
	atomic_init(&objects->withdrawn_from, UINT64_MAX);
	for (uint32_t i = 0; i < DP_OBJECT_CLASSES; i++)
		pthread_mutex_init(&objects->list[i].mutex, NULL);
	return 0;
}

void dp_objects_close_inherited(struct dp_objects *objects)
{
	if (objects->slab_of)
		dp_os_unmap(objects->slab_of,
			    objects_table_size(objects, objects->most));
	objects->slab_of = NULL;
}

void dp_objects_fini(struct dp_objects *objects)
{
	struct dp_slab *slab = atomic_load(&objects->made), *before;

	if (!objects->slab_of)
		return;
	for (; slab; slab = before) {
		before = dp_slab_links(slab)->made_before;
		free(slab);
	}
	for (uint32_t i = 0; i < DP_OBJECT_CLASSES; i++)
		pthread_mutex_destroy(&objects->list[i].mutex);
	dp_objects_close_inherited(objects);
}

/* ------------------------------------------------------------------ the lists */

/* The slab that was made before this one. NULL: the newest. */
static struct dp_slab *objects_made_before(struct dp_objects *objects,
					   struct dp_slab *slab)
{
	return slab ? dp_slab_links(slab)->made_before : atomic_load(&objects->made);
}

static struct dp_object_list *slab_list(struct dp_objects *objects,
					const struct dp_slab *slab)
{
	return &objects->list[dp_slab_class_of(slab)];
}

static struct dp_slab **list_head(struct dp_object_list *list, struct dp_slab *slab)
{
	return dp_slab_links(slab)->is_listed_empty ? &list->empty : &list->first;
}

static void list_add(struct dp_object_list *list, struct dp_slab *slab, bool empty)
{
	struct dp_slab_links *links = dp_slab_links(slab);
	struct dp_slab **head;

	links->is_listed_empty = empty;
	list->empty_count += empty;
	head = list_head(list, slab);
	links->before = NULL;
	links->next = *head;
	if (*head)
		dp_slab_links(*head)->before = slab;
	*head = slab;
}

static void list_remove(struct dp_object_list *list, struct dp_slab *slab)
{
	const struct dp_slab_links *links = dp_slab_links(slab);

	if (links->before)
		dp_slab_links(links->before)->next = links->next;
	else
		*list_head(list, slab) = links->next;
	if (links->next)
		dp_slab_links(links->next)->before = links->before;
	list->empty_count -= links->is_listed_empty;
}

/* A new slab of a class, which the pool has until the close. */
static struct dp_slab *objects_make(struct dp_objects *objects, uint32_t class)
{
	struct dp_slab *slab = dp_slab_make(class, &objects->class[class]);
	struct dp_slab_links *links;

	if (!slab)
		return NULL;
	links = dp_slab_links(slab);
	atomic_fetch_or(&objects->used, 1ull << class);
	links->made_before = atomic_load(&objects->made);
	while (!atomic_compare_exchange_weak(&objects->made, &links->made_before, slab))
		;
	return slab;
}

/* A spare one, or a new one. */
static struct dp_slab *slab_get(struct dp_objects *objects, uint32_t class)
{
	struct dp_object_list *list = &objects->list[class];
	struct dp_slab *slab;

	pthread_mutex_lock(&list->mutex);
	slab = list->spare;
	if (slab)
		list->spare = dp_slab_links(slab)->next;
	pthread_mutex_unlock(&list->mutex);
	return slab ? slab : objects_make(objects, class);
}

struct dp_slab *dp_slab_new(struct dp_objects *objects, uint32_t class, uint64_t addr)
{
	struct dp_slab *slab = slab_get(objects, class);

	if (!slab)
		return NULL;
	dp_slab_begin(slab, addr);
	return slab;
}

void dp_slab_discard(struct dp_objects *objects, struct dp_slab *slab)
{
	struct dp_object_list *list = slab_list(objects, slab);

	pthread_mutex_lock(&list->mutex);
	dp_slab_set_place(slab, DP_SLAB_NEW);
	if (!dp_slab_was_taken(slab)) {
		dp_slab_links(slab)->next = list->spare;
		list->spare = slab;
	}
	pthread_mutex_unlock(&list->mutex);
}

/* Release: a thread that finds the slab in the table sees all of its fields. */
static void slab_enter(struct dp_objects *objects, struct dp_slab *slab,
		       struct dp_slab *value)
{
	uint64_t block = dp_slab_addr(slab) >> 12;

	assert(block + objects->slab_blocks <= atomic_load(objects->blocks));
	for (uint32_t i = 0; i < objects->slab_blocks; i++)
		atomic_store_explicit(&objects->slab_of[block + i], value,
				      memory_order_release);
}

/* Under the mutex: the slab has a free object, or not. */
static void objects_list(struct dp_object_list *list, struct dp_slab *slab)
{
	dp_slab_set_place(slab, DP_SLAB_FULL);
	if (dp_slab_is_full(slab))
		return;
	dp_slab_set_place(slab, DP_SLAB_PARTIAL);
	list_add(list, slab, dp_slab_is_empty(slab));
}

void dp_slab_add(struct dp_objects *objects, struct dp_slab *slab)
{
	struct dp_object_list *list = slab_list(objects, slab);

	slab_enter(objects, slab, slab);
	pthread_mutex_lock(&list->mutex);
	objects_list(list, slab);
	pthread_mutex_unlock(&list->mutex);
}

/* The current slab of this thread's slot. */
static _Atomic(struct dp_slab *) *objects_current(struct dp_objects *objects,
						  uint32_t class)
{
	return &objects->owner[dp_thread_slot()].slab[class];
}

/* Under the mutex. */
static void objects_set_current(struct dp_objects *objects, struct dp_slab *slab)
{
	dp_slab_set_place(slab, DP_SLAB_OWNED);
	atomic_store(objects_current(objects, dp_slab_class_of(slab)), slab);
}

bool dp_slab_own(struct dp_objects *objects, struct dp_slab *slab)
{
	struct dp_object_list *list = slab_list(objects, slab);
	struct dp_slab *was;
	bool is_withdrawn;

	slab_enter(objects, slab, slab);
	pthread_mutex_lock(&list->mutex);
	is_withdrawn = dp_slab_addr(slab) >= atomic_load(&objects->withdrawn_from);
	if (is_withdrawn) {
		dp_slab_set_place(slab, DP_SLAB_CLOSING);
	} else {
		/* Another thread of the shared slot may have got one meanwhile. */
		was = atomic_load(objects_current(objects, dp_slab_class_of(slab)));
		if (was)
			objects_list(list, was);
		objects_set_current(objects, slab);
	}
	pthread_mutex_unlock(&list->mutex);
	return !is_withdrawn;
}

void dp_slab_forget(struct dp_objects *objects, struct dp_slab *slab)
{
	assert(dp_slab_place(slab) == DP_SLAB_CLOSING);
	slab_enter(objects, slab, NULL);
	dp_slab_discard(objects, slab);
}

/* --------------------------------------------------------------------- reserve */

/* Under the mutex: leave the current slab if it is full. False: it is not. */
static bool objects_leave(struct dp_objects *objects, struct dp_slab *slab)
{
	dp_slab_set_place(slab, DP_SLAB_FULL);
	if (!dp_slab_is_full(slab)) {
		dp_slab_set_place(slab, DP_SLAB_OWNED);
		return false;
	}
	atomic_store(objects_current(objects, dp_slab_class_of(slab)), NULL);
	return true;
}

/* Under the mutex: the fullest of the first slabs of the list, or an empty one, becomes
 * the current one. */
static struct dp_slab *objects_choose(struct dp_objects *objects, uint32_t class)
{
	struct dp_object_list *list = &objects->list[class];
	struct dp_slab *best = NULL, *slab = list->first;
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; slab && i < LIST_SEARCH;
	     i++, slab = dp_slab_links(slab)->next) {
		uint32_t count = dp_slab_free_count(slab);

		if (count >= least)
			continue;
		best = slab;
		least = count;
	}
	if (!best)
		best = list->empty;
	if (!best)
		return NULL;
	list_remove(list, best);
	objects_set_current(objects, best);
	return best;
}

bool dp_object_try_all(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr)
{
	unsigned int slot = dp_thread_slot_own();
	struct dp_slab *slab;

	if (slot == DP_THREAD_SLOT_SHARED)
		return false;
	slab = atomic_load_explicit(&objects->owner[slot].slab[class],
				    memory_order_relaxed);
	return slab && dp_slab_reserve(slab, ret_addr);
}

bool dp_object_reserve(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr)
{
	struct dp_object_list *list = &objects->list[class];
	struct dp_slab *slab;
	bool found = false;

	pthread_mutex_lock(&list->mutex);
	slab = atomic_load(objects_current(objects, class));
	if (!slab)
		slab = objects_choose(objects, class);
	while (slab && !found) {
		found = dp_slab_reserve(slab, ret_addr);
		if (!found && objects_leave(objects, slab))
			slab = objects_choose(objects, class);
	}
	pthread_mutex_unlock(&list->mutex);
	return found;
}

bool dp_object_steal(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr)
{
	struct dp_object_list *list = &objects->list[class];
	bool found = false;

	pthread_mutex_lock(&list->mutex);
	for (uint32_t i = 0; !found && i <= DP_THREAD_SLOT_SHARED; i++) {
		struct dp_slab *slab = atomic_load(&objects->owner[i].slab[class]);

		found = slab && dp_slab_reserve(slab, ret_addr);
	}
	pthread_mutex_unlock(&list->mutex);
	return found;
}

/* ------------------------------------------------------------------------ free */

/* Under the mutex, if the slab is empty. False: a late reserve has taken an object. */
static bool objects_close(struct dp_object_list *list, struct dp_slab *slab)
{
	bool was_taken = dp_slab_was_taken(slab);

	if (was_taken && !dp_slab_seal(slab))
		return false;
	if (dp_slab_place(slab) == DP_SLAB_PARTIAL)
		list_remove(list, slab);
	dp_slab_set_place(slab, DP_SLAB_CLOSING);
	assert(was_taken || dp_slab_is_empty(slab));
	return true;
}

/* Under the mutex: an empty slab is kept unless there are enough of them. True: it is
 * CLOSING now. */
static bool objects_close_surplus(struct dp_object_list *list, struct dp_slab *slab)
{
	if (dp_slab_place(slab) != DP_SLAB_PARTIAL || !dp_slab_is_empty(slab))
		return false;
	if (list->empty_count < KEPT_MAX) {
		list_remove(list, slab);
		list_add(list, slab, true);
		return false;
	}
	return objects_close(list, slab);
}

/* Under the mutex, after an object was freed. True: the slab is CLOSING now. */
static bool objects_close_freed(struct dp_object_list *list, struct dp_slab *slab)
{
	if (dp_slab_place(slab) == DP_SLAB_WITHDRAWN)
		return dp_slab_is_empty(slab) && objects_close(list, slab);
	return objects_close_surplus(list, slab);
}

void dp_object_freed(struct dp_objects *objects, struct dp_object object,
		     struct dp_slab **ret_closing)
{
	struct dp_slab *slab = object.slab;
	struct dp_object_list *list = slab_list(objects, slab);
	enum dp_slab_place place = dp_slab_place(slab);
	uint32_t at = object.index / 32;

	*ret_closing = NULL;
	if (place != DP_SLAB_FULL && place != DP_SLAB_PARTIAL &&
	    place != DP_SLAB_WITHDRAWN)
		return;
	if (place != DP_SLAB_FULL && !dp_slab_was_taken(slab) &&
	    (dp_slab_state_word(slab, at) != dp_slab_empty_word(slab, at) ||
	     !dp_slab_is_empty(slab)))
		return;
	pthread_mutex_lock(&list->mutex);
	if (dp_slab_place(slab) == DP_SLAB_FULL)
		objects_list(list, slab);
	if (objects_close_freed(list, slab))
		*ret_closing = slab;
	pthread_mutex_unlock(&list->mutex);
}

int dp_object_cancel(struct dp_objects *objects, struct dp_object object,
		     struct dp_slab **ret_closing)
{
	int ret = dp_object_change(object, DP_OBJECT_RESERVED, DP_OBJECT_FREE);

	if (!ret)
		dp_object_freed(objects, object, ret_closing);
	return ret;
}

void dp_object_settle_freed(struct dp_objects *objects, struct dp_object object,
			    struct dp_slab **ret_closing)
{
	int ret = dp_object_change(object, DP_OBJECT_CLAIMED, DP_OBJECT_FREE);

	assert(!ret);
	(void)ret;
	dp_object_freed(objects, object, ret_closing);
}

/* Under the mutex, so that no seal is being tried. */
void dp_slab_bar(struct dp_objects *objects, struct dp_slab *slab, uint64_t begin,
		 uint64_t end)
{
	struct dp_object_list *list = slab_list(objects, slab);
	uint64_t first = dp_slab_addr(slab) + begin;
	uint64_t last = dp_slab_addr(slab) + end;

	/* Before the objects are looked at: one that is freed later is tested then. */
	dp_slab_set_flag(slab, DP_SLAB_HAS_BAD);
	pthread_mutex_lock(&list->mutex);
	for (uint32_t i = 0; i < dp_slab_objects(slab); i++) {
		struct dp_object object = { slab, i };
		uint64_t addr = dp_object_addr(object);

		if (addr < last && addr + dp_object_size(object) > first)
			dp_object_change(object, DP_OBJECT_FREE, DP_OBJECT_CLAIMED);
	}
	pthread_mutex_unlock(&list->mutex);
}

/* ---------------------------------------------------------------- empty slabs */

struct dp_slab *dp_slab_take_empty(struct dp_objects *objects, uint32_t class)
{
	struct dp_object_list *list = &objects->list[class];
	struct dp_slab *slab;

	pthread_mutex_lock(&list->mutex);
	slab = atomic_load(objects_current(objects, class));
	if (slab && dp_slab_is_empty(slab)) {
		atomic_store(objects_current(objects, class), NULL);
		dp_slab_set_place(slab, DP_SLAB_PARTIAL);
		list_add(list, slab, true);
	} else {
		slab = list->empty;
	}
	if (slab && (!dp_slab_is_empty(slab) || !objects_close(list, slab)))
		slab = NULL;
	pthread_mutex_unlock(&list->mutex);
	return slab;
}

/* The slab is no thread's current one any more. */
static void objects_take(struct dp_objects *objects, struct dp_slab *slab)
{
	uint32_t class = dp_slab_class_of(slab);

	for (uint32_t i = 0; i <= DP_THREAD_SLOT_SHARED; i++)
		if (atomic_load(&objects->owner[i].slab[class]) == slab)
			atomic_store(&objects->owner[i].slab[class], NULL);
}

static bool slab_is_unused(const struct dp_slab *slab)
{
	enum dp_slab_place place = dp_slab_place(slab);

	return !dp_slab_has_bits(slab) && place != DP_SLAB_NEW &&
	       place != DP_SLAB_CLOSING;
}

struct dp_slab *dp_slab_take_unused(struct dp_objects *objects, struct dp_slab *after)
{
	struct dp_slab *slab = objects_made_before(objects, after);

	while (slab && !slab_is_unused(slab))
		slab = objects_made_before(objects, slab);
	if (!slab)
		return NULL;
	if (dp_slab_place(slab) == DP_SLAB_PARTIAL)
		list_remove(slab_list(objects, slab), slab);
	objects_take(objects, slab);
	/* Objects that are reserved now end with the process's use of the pool. */
	dp_slab_clear(slab);
	dp_slab_set_place(slab, DP_SLAB_CLOSING);
	return slab;
}

/* ------------------------------------------------------- segments that leave */

void dp_objects_withdraw_from(struct dp_objects *objects, uint64_t addr)
{
	atomic_store(&objects->withdrawn_from, addr);
}

/* Under the mutex. True: the slab is CLOSING now. */
static bool objects_withdraw(struct dp_objects *objects, struct dp_slab *slab)
{
	struct dp_object_list *list = slab_list(objects, slab);
	enum dp_slab_place place = dp_slab_place(slab);

	if (place != DP_SLAB_OWNED && place != DP_SLAB_FULL && place != DP_SLAB_PARTIAL)
		return false;
	if (place == DP_SLAB_OWNED) {
		objects_take(objects, slab);
		dp_slab_set_flag(slab, DP_SLAB_WAS_TAKEN);
	} else if (place == DP_SLAB_PARTIAL) {
		list_remove(list, slab);
	}
	dp_slab_set_place(slab, DP_SLAB_WITHDRAWN);
	return dp_slab_is_empty(slab) && objects_close(list, slab);
}

/* A slab that is made meanwhile, in blocks that were claimed before: if its class's
 * mutex is taken here first, dp_slab_own() finds withdrawn_from. */
struct dp_slab *dp_slab_withdraw(struct dp_objects *objects, struct dp_slab *after)
{
	struct dp_slab *slab = objects_made_before(objects, after);
	bool is_closing = false;

	for (; slab; slab = objects_made_before(objects, slab)) {
		struct dp_object_list *list = slab_list(objects, slab);

		pthread_mutex_lock(&list->mutex);
		if (dp_slab_addr(slab) >= atomic_load(&objects->withdrawn_from))
			is_closing = objects_withdraw(objects, slab);
		pthread_mutex_unlock(&list->mutex);
		if (is_closing)
			break;
	}
	return slab;
}

void dp_objects_reopen(struct dp_objects *objects)
{
	struct dp_slab *slab = NULL;

	atomic_store(&objects->withdrawn_from, UINT64_MAX);
	while ((slab = objects_made_before(objects, slab))) {
		struct dp_object_list *list = slab_list(objects, slab);

		pthread_mutex_lock(&list->mutex);
		if (dp_slab_place(slab) == DP_SLAB_WITHDRAWN)
			objects_list(list, slab);
		pthread_mutex_unlock(&list->mutex);
	}
}

struct dp_object_counts dp_objects_count(struct dp_objects *objects)
{
	struct dp_object_counts counts = { .slabs = 0 };
	struct dp_slab *slab = NULL;

	while ((slab = objects_made_before(objects, slab))) {
		uint32_t live = dp_slab_live_count(slab);

		if (dp_slab_place(slab) == DP_SLAB_NEW)
			continue;
		counts.slabs++;
		counts.partial += live && live < dp_slab_objects(slab);
		counts.live += live;
		counts.live_bytes += (uint64_t)live * dp_slab_object_size(slab);
	}
	assert(counts.partial <= counts.slabs);
	return counts;
}
