/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labelled holds and registrations, for reports. Decisions use the counts in state.c
 * and gate.c, with two exceptions: a close reads the number of registrations, and a
 * reclaim reads their pins.
 *
 * A registration BY_SEGMENT has a pin for each segment:
 *
 *	none --> THERE --> THERE|WANTED --> none
 *
 *	none -> THERE		[dp_registration_pin]
 *	THERE -> THERE|WANTED	[dp_registrations_want], a reclaim needs it back
 *	THERE|WANTED -> THERE	[dp_registrations_unwant], the reclaim is over
 *	any -> none		[dp_registration_revoked], by the owner of the
 *				pin
 *
 * Invariants:
 *	A6	a reclaim wants a pin back before it punches the segment, and does not
 *		punch it before the pin is `none`
 *	I10	each pin that the library knows of is a registration of its segment
 *	I37	labelled holds are listed here in addition to being counted, so
 *		listed and unlisted holds make up the count
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "extent/holders.h"
#include "os/os.h"

#define PIN_THERE	0x1u
#define PIN_WANTED	0x2u

/* A shard that has LIST_HOLDS holds for each list gets LISTS_MORE times as many lists.
 * So most lists have at most one hold, and a search rarely reads holds of other
 * extents. */
#define LIST_HOLDS	1u
#define LISTS_MORE	4u

void dp_holders_init(struct dp_holders *holders)
{
	memset(holders, 0, sizeof(*holders));
	pthread_mutex_init(&holders->mutex, NULL);
	for (unsigned int i = 0; i < DP_HOLDER_SHARDS; i++) {
		holders->shard[i].list = &holders->shard[i].only_list;
		holders->shard[i].lists = 1;
	}
}

void dp_holders_fini(struct dp_holders *holders)
{
	assert(!holders->registrations);
	pthread_mutex_destroy(&holders->mutex);
	for (unsigned int i = 0; i < DP_HOLDER_SHARDS; i++)
		if (holders->shard[i].lists > 1)
			free(holders->shard[i].list);
}

static struct daxpin_hold **shard_list(const struct dp_holder_shard *shard,
				       uint64_t addr)
{
	/* The top bits of the hash chose the shard and are the same for all its holds,
	 * so lower bits choose the list. */
	return &shard->list[dp_holder_hash(addr) >> 24 & (shard->lists - 1)];
}

static void shard_link(struct dp_holder_shard *shard, struct daxpin_hold *hold)
{
	struct daxpin_hold **list = shard_list(shard, hold->extent.addr);

	hold->next = *list;
	hold->prev = list;
	if (hold->next)
		hold->next->prev = &hold->next;
	*list = hold;
}

/* Link the holds of the old lists into the new ones. */
static void shard_link_again(struct dp_holder_shard *shard,
			     struct daxpin_hold **list, uint32_t lists)
{
	struct daxpin_hold *hold, *next;

	for (uint32_t i = 0; i < lists; i++)
		for (hold = list[i]; hold; hold = next) {
			next = hold->next;
			shard_link(shard, hold);
		}
}

/*
 * Under the lock: keep the lists short, so that the holders of an extent are found in
 * the same time however many holds there are. If there is no memory the lists remain,
 * and are only slower.
 */
static void shard_grow(struct dp_holder_shard *shard)
{
	struct daxpin_hold **before = shard->list, **list;
	uint32_t lists = shard->lists;

	if (shard->holds < lists * LIST_HOLDS)
		return;
	list = calloc(lists * LISTS_MORE, sizeof(struct daxpin_hold *));
	if (!list)
		return;
	shard->list = list;
	shard->lists = lists * LISTS_MORE;
	shard_link_again(shard, before, lists);
	if (lists > 1)
		free(before);
	else
		shard->only_list = NULL;
}

void dp_holder_add(struct dp_holders *holders, struct daxpin_hold *hold)
{
	struct dp_holder_shard *shard;

	/* The caller sees from `access`, which is not 0, that the struct is in use. */
	assert(hold->access && hold->label);
	hold->owner = holders;
	hold->since_ns = dp_os_now_coarse_ns();
	hold->shard = dp_holder_shard(hold->extent.addr);
	shard = &holders->shard[hold->shard];
	dp_polled_lock_take(&shard->lock);
	shard_link(shard, hold);
	shard->holds++;
	shard_grow(shard);
	dp_polled_lock_release(&shard->lock);
}

/*
 * Two mistakes of callers are detected under the lock. If two threads drop one struct,
 * the second finds that prev is NULL. If the struct is a copy, *prev is not its
 * address; but prev of a copy may also point to freed memory, and daxpin.h forbids the
 * drop of such a copy. A hold of another pool is detected before, because its list is
 * under that pool's lock.
 */
int dp_holder_remove(struct dp_holders *holders, struct daxpin_hold *hold)
{
	struct dp_holder_shard *shard;
	bool listed;

	if (hold->owner != holders || hold->shard != dp_holder_shard(hold->extent.addr))
		return -EINVAL;
	shard = &holders->shard[hold->shard];
	dp_polled_lock_take(&shard->lock);
	listed = hold->prev && *hold->prev == hold;
	if (listed) {
		*hold->prev = hold->next;
		if (hold->next)
			hold->next->prev = hold->prev;
		hold->prev = NULL;
		hold->access = 0;
		shard->holds--;
	}
	dp_polled_lock_release(&shard->lock);
	return listed ? 0 : -EINVAL;
}

struct daxpin_registration *
dp_registration_make(struct daxpin_pool *pool, uint32_t segments,
		     uint32_t segment, bool by_segment, const char *label)
{
	struct daxpin_registration *registration =
		calloc(1, sizeof(*registration));

	if (!registration)
		return NULL;
	registration->pool = pool;
	registration->segment = segment;
	registration->segments = segments;
	registration->wanted.event = (struct daxpin_event) {
		.type = DAXPIN_EVENT_REVOKE, .registration = registration
	};
	snprintf(registration->label, sizeof(registration->label), "%s", label);
	if (!by_segment)
		return registration;
	registration->pin = calloc(segments, 1);
	if (registration->pin)
		return registration;
	free(registration);
	return NULL;
}

void dp_registration_free(struct daxpin_registration *registration)
{
	free(registration->pin);
	free(registration);
}

struct daxpin_pool *
dp_registration_pool(const struct daxpin_registration *registration)
{
	return registration->pool;
}

const char *dp_registration_label(const struct daxpin_registration *registration)
{
	return registration->label;
}

void dp_registration_set_maker(struct daxpin_registration *registration,
			       const void *maker, void *arg)
{
	registration->maker = maker;
	registration->maker_arg = arg;
}

void *dp_registration_arg(const struct daxpin_registration *registration,
			  const void *maker)
{
	return maker && registration->maker == maker ? registration->maker_arg :
						       NULL;
}

void dp_registration_set_rdma(struct daxpin_registration *registration,
			      struct dp_registration_rdma rdma)
{
	registration->rdma = rdma;
}

struct dp_registration_rdma
dp_registration_rdma(const struct daxpin_registration *registration)
{
	return registration->rdma;
}

void dp_registration_add(struct dp_holders *holders,
			 struct daxpin_registration *registration)
{
	registration->since_ns = dp_os_now_ns();
	/* It covers one segment or all of them. */
	assert(registration->segment < registration->segments ||
	       registration->segment == DAXPIN_ALL_SEGMENTS);
	pthread_mutex_lock(&holders->mutex);
	registration->next = holders->registration;
	registration->prev = &holders->registration;
	if (registration->next)
		registration->next->prev = &registration->next;
	holders->registration = registration;
	holders->registrations++;
	pthread_mutex_unlock(&holders->mutex);
}

void dp_registration_remove(struct dp_holders *holders,
			    struct daxpin_registration *registration,
			    struct dp_events *events)
{
	pthread_mutex_lock(&holders->mutex);
	assert(holders->registrations && *registration->prev == registration);
	*registration->prev = registration->next;
	if (registration->next)
		registration->next->prev = registration->prev;
	holders->registrations--;
	pthread_mutex_unlock(&holders->mutex);
	/* No thread can post it now: only pins of listed registrations are wanted. */
	dp_events_withdraw(events, &registration->wanted);
}

uint32_t dp_registration_count(struct dp_holders *holders)
{
	uint32_t count;

	pthread_mutex_lock(&holders->mutex);
	count = holders->registrations;
	pthread_mutex_unlock(&holders->mutex);
	return count;
}

static bool registration_covers(const struct daxpin_registration *registration,
				uint32_t segment)
{
	return registration->segment == segment ||
	       registration->segment == DAXPIN_ALL_SEGMENTS;
}

static bool registration_may_pin(const struct daxpin_registration *registration,
				 uint32_t segment)
{
	return registration->pin && segment < registration->segments &&
	       registration_covers(registration, segment);
}

/* Call it under the mutex before a segment's flags change. */
static void registration_count_wanted(struct daxpin_registration *at,
				      uint8_t before, uint8_t after)
{
	int change = !!(after & PIN_WANTED) - !!(before & PIN_WANTED);
	uint32_t count = atomic_load_explicit(&at->wanted_segments,
					      memory_order_relaxed);

	assert(change >= 0 || count);
	atomic_store_explicit(&at->wanted_segments, count + change,
			      memory_order_relaxed);
}

int dp_registration_pin(struct dp_holders *holders,
			struct daxpin_registration *registration,
			uint32_t segment)
{
	int ret = 0;

	if (!registration_may_pin(registration, segment))
		return -EINVAL;
	pthread_mutex_lock(&holders->mutex);
	if (registration->pin[segment])
		ret = -EALREADY;
	else
		registration->pin[segment] = PIN_THERE;
	pthread_mutex_unlock(&holders->mutex);
	return ret;
}

int dp_registration_wanted(struct dp_holders *holders,
			   struct daxpin_registration *registration,
			   uint32_t *segment)
{
	uint32_t at = *segment;

	/* The fast path, because adapters call this often. A thread that has taken the
	   event finds the segment: events are posted and taken under a mutex. */
	if (!registration->pin ||
	    !atomic_load_explicit(&registration->wanted_segments,
				  memory_order_relaxed))
		return 0;
	pthread_mutex_lock(&holders->mutex);
	while (at < registration->segments &&
	       !(registration->pin[at] & PIN_WANTED))
		at++;
	pthread_mutex_unlock(&holders->mutex);
	if (at >= registration->segments)
		return 0;
	*segment = at;
	return 1;
}

int dp_registration_revoked(struct dp_holders *holders,
			    struct daxpin_registration *registration,
			    uint32_t segment)
{
	uint8_t was;

	if (!registration_may_pin(registration, segment))
		return -EINVAL;
	pthread_mutex_lock(&holders->mutex);
	was = registration->pin[segment];
	registration_count_wanted(registration, was, 0);
	registration->pin[segment] = 0;
	pthread_mutex_unlock(&holders->mutex);
	return was ? 0 : -EINVAL;
}

/* Want the segment's pin back. True: the registration pins the segment. A registration
 * that is not BY_SEGMENT pins all that it covers while it exists, and no event asks for
 * that pin. */
static bool registration_want(struct daxpin_registration *at, uint32_t segment,
			      struct dp_events *events)
{
	if (!registration_covers(at, segment))
		return false;
	if (!at->pin)
		return true;
	if (!at->pin[segment])
		return false;
	if (!(at->pin[segment] & PIN_WANTED))
		dp_events_post(events, &at->wanted);
	/* WANTED is never set without THERE: a revoked pin becomes 0 (A6). */
	assert(at->pin[segment] & PIN_THERE);
	registration_count_wanted(at, at->pin[segment], PIN_WANTED);
	at->pin[segment] |= PIN_WANTED;
	return true;
}

static struct daxpin_holder
registration_holder(const struct daxpin_registration *at)
{
	return (struct daxpin_holder) {
		.size = sizeof(struct daxpin_holder),
		.age_ns = dp_os_now_ns() - at->since_ns,
		.access = DAXPIN_HOLD_READ | DAXPIN_HOLD_WRITE,
		.count = 1,
		.label = at->label,
		.segment = at->segment,
	};
}

bool dp_registrations_want(struct dp_holders *holders, uint32_t segment,
			   struct dp_events *events,
			   struct daxpin_holder *ret_holder,
			   char label[DAXPIN_LABEL_MAX])
{
	struct daxpin_registration *at;
	bool any = false;

	pthread_mutex_lock(&holders->mutex);
	for (at = holders->registration; at; at = at->next) {
		if (!registration_want(at, segment, events) || any)
			continue;
		any = true;
		memcpy(label, at->label, DAXPIN_LABEL_MAX);
		*ret_holder = registration_holder(at);
		ret_holder->label = label;
	}
	pthread_mutex_unlock(&holders->mutex);
	return any;
}

void dp_registrations_unwant(struct dp_holders *holders, uint32_t segment)
{
	struct daxpin_registration *at;

	pthread_mutex_lock(&holders->mutex);
	for (at = holders->registration; at; at = at->next) {
		if (!registration_may_pin(at, segment))
			continue;
		registration_count_wanted(at, at->pin[segment], 0);
		at->pin[segment] &= ~PIN_WANTED;
	}
	pthread_mutex_unlock(&holders->mutex);
}

/*
 * If there are very many holds, neither the head of a list nor its first hold is in the
 * processor's caches, and the address of the hold is in the head. This prefetches the
 * heads, or the first holds, of several extents together. The lock keeps the lists in
 * place.
 */
static void holders_fetch(struct dp_holders *holders, const struct dp_held *held,
			  uint32_t count, bool heads)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t addr = held[i].extent.addr;
		struct dp_holder_shard *shard =
			&holders->shard[dp_holder_shard(addr)];
		struct daxpin_hold **list;

		dp_polled_lock_take(&shard->lock);
		list = shard_list(shard, addr);
		__builtin_prefetch(heads ? (void *)list : *list);
		if (!heads && *list)
			__builtin_prefetch(&(*list)->label);
		dp_polled_lock_release(&shard->lock);
	}
}

static uint32_t holders_report(struct dp_holders *holders, const struct dp_held *held,
			       uint64_t now_ns, dp_holder_fn *fn, void *arg)
{
	const struct daxpin_extent extent = held->extent;
	struct dp_holder_shard *shard =
		&holders->shard[dp_holder_shard(extent.addr)];
	uint32_t count = 0;

	dp_polled_lock_take(&shard->lock);
	for (struct daxpin_hold *hold = *shard_list(shard, extent.addr); hold;
	     hold = hold->next) {
		if (hold->extent.addr != extent.addr ||
		    hold->extent.gen != extent.gen)
			continue;
		count++;
		fn(&(struct daxpin_holder) {
			.size = sizeof(struct daxpin_holder),
			.extent = extent,
			.age_ns = now_ns - hold->since_ns,
			.access = hold->access,
			.count = 1,
			.label = hold->label,
			.segment = held->segment }, arg);
	}
	dp_polled_lock_release(&shard->lock);
	return count;
}

void dp_holders_of(struct dp_holders *holders, const struct dp_held *held,
		   uint32_t count, dp_holder_fn *fn, void *arg)
{
	uint64_t now_ns = dp_os_now_ns();
	uint32_t labelled;

	if (count > 1) {
		holders_fetch(holders, held, count, true);
		holders_fetch(holders, held, count, false);
	}
	for (uint32_t i = 0; i < count; i++) {
		labelled = holders_report(holders, &held[i], now_ns, fn, arg);
		if (held[i].count > labelled)
			fn(&(struct daxpin_holder) {
				.size = sizeof(struct daxpin_holder),
				.extent = held[i].extent,
				.count = held[i].count - labelled,
				.segment = held[i].segment }, arg);
	}
}

/* Find a hold in one list that is older than *oldest_ns. */
static bool list_find_older(const struct daxpin_hold *hold, uint64_t begin,
			    uint64_t end, uint64_t *oldest_ns,
			    struct daxpin_hold *ret_hold,
			    char label[DAXPIN_LABEL_MAX])
{
	bool any = false;

	for (; hold; hold = hold->next) {
		if (hold->extent.addr < begin || hold->extent.addr >= end ||
		    hold->since_ns >= *oldest_ns)
			continue;
		any = true;
		*oldest_ns = hold->since_ns;
		*ret_hold = *hold;
		/* The label is valid: a drop of this hold waits for the lock. */
		snprintf(label, DAXPIN_LABEL_MAX, "%s", hold->label);
	}
	return any;
}

static bool holder_find_older(struct dp_holder_shard *shard, uint64_t begin,
			      uint64_t end, uint64_t *oldest_ns,
			      struct daxpin_hold *ret_hold,
			      char label[DAXPIN_LABEL_MAX])
{
	bool any = false;

	dp_polled_lock_take(&shard->lock);
	for (uint32_t i = 0; i < shard->lists; i++)
		any |= list_find_older(shard->list[i], begin, end, oldest_ns,
				       ret_hold, label);
	dp_polled_lock_release(&shard->lock);
	return any;
}

bool dp_holders_oldest(struct dp_holders *holders, uint64_t begin, uint64_t end,
		       struct daxpin_holder *ret_holder,
		       char label[DAXPIN_LABEL_MAX])
{
	uint64_t oldest_ns = UINT64_MAX;
	struct daxpin_hold hold = { .access = 0 };
	bool any = false;

	for (uint32_t i = 0; i < DP_HOLDER_SHARDS; i++)
		any |= holder_find_older(&holders->shard[i], begin, end,
					 &oldest_ns, &hold, label);
	if (!any)
		return false;
	*ret_holder = (struct daxpin_holder) {
		.size = sizeof(*ret_holder),
		.extent = hold.extent,
		.age_ns = dp_os_now_ns() - oldest_ns,
		.access = hold.access,
		.count = 1,
		.label = label,
	};
	return true;
}

void dp_holders_each(struct dp_holders *holders,
		     void (*fn)(const struct daxpin_hold *hold, void *arg), void *arg)
{
	for (uint32_t i = 0; i < DP_HOLDER_SHARDS; i++) {
		struct dp_holder_shard *shard = &holders->shard[i];

		dp_polled_lock_take(&shard->lock);
		for (uint32_t j = 0; shard->holds && j < shard->lists; j++)
			for (const struct daxpin_hold *hold = shard->list[j]; hold;
			     hold = hold->next)
				fn(hold, arg);
		dp_polled_lock_release(&shard->lock);
	}
}

void dp_registrations_of(struct dp_holders *holders, uint32_t segment,
			 void (*fn)(const struct daxpin_holder *, void *),
			 void *arg)
{
	struct daxpin_registration *at;
	struct daxpin_holder holder;

	pthread_mutex_lock(&holders->mutex);
	for (at = holders->registration; at; at = at->next) {
		if (segment != DAXPIN_ALL_SEGMENTS &&
		    !registration_covers(at, segment))
			continue;
		holder = registration_holder(at);
		fn(&holder, arg);
	}
	pthread_mutex_unlock(&holders->mutex);
}
