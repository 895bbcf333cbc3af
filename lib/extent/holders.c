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
 *	I37	labelled holds are listed in labels.c in addition to being counted, so
 *		listed and unlisted holds make up the count
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "extent/holders.h"
#include "os/os.h"

#define PIN_THERE	0x1u
#define PIN_WANTED	0x2u

void dp_holders_init(struct dp_holders *holders)
{
	memset(holders, 0, sizeof(*holders));
	pthread_mutex_init(&holders->mutex, NULL);
	dp_labels_init(&holders->labels);
}

void dp_holders_fini(struct dp_holders *holders)
{
	assert(!holders->registrations);
	pthread_mutex_destroy(&holders->mutex);
	dp_labels_fini(&holders->labels);
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

struct holder_report {
	struct dp_held held;
	uint64_t now_ns;
	uint32_t labelled;		/* holds, reported until now */
	dp_holder_fn *fn;
	void *arg;
};

/* Other threads take holds after now_ns was read. An age of 0 is that of unlabelled
 * holds. */
static uint64_t holder_age(uint64_t now_ns, uint64_t since_ns)
{
	return now_ns > since_ns ? now_ns - since_ns : 1;
}

static void holder_report_label(const struct daxpin_hold *hold, void *arg)
{
	struct holder_report *report = arg;

	if (hold->extent.gen != report->held.extent.gen)
		return;
	report->labelled++;
	report->fn(&(struct daxpin_holder) {
		.size = sizeof(struct daxpin_holder),
		.extent = hold->extent,
		.age_ns = holder_age(report->now_ns, hold->since_ns),
		.access = hold->access,
		.count = 1,
		.label = hold->label,
		.segment = report->held.segment }, report->arg);
}

void dp_holders_of(struct dp_holders *holders, struct dp_label_list *list,
		   const struct dp_held *held, dp_holder_fn *fn, void *arg)
{
	struct holder_report report = { *held, dp_os_now_ns(), 0, fn, arg };
	uint64_t addr = held->extent.addr;

	if (list)
		dp_label_list_at(list, addr, holder_report_label, &report);
	else
		dp_labels_each(&holders->labels, addr, addr + 1, holder_report_label,
			       &report);
	if (held->count > report.labelled)
		fn(&(struct daxpin_holder) {
			.size = sizeof(struct daxpin_holder),
			.extent = held->extent,
			.count = held->count - report.labelled,
			.segment = held->segment }, arg);
}

struct holder_oldest {
	struct daxpin_hold hold;	/* access 0: none yet */
	char *label;
};

static void holder_find_oldest(const struct daxpin_hold *hold, void *arg)
{
	struct holder_oldest *oldest = arg;

	if (oldest->hold.access && hold->since_ns >= oldest->hold.since_ns)
		return;
	oldest->hold = *hold;
	/* The label is valid: a drop of this hold waits for this function. */
	snprintf(oldest->label, DAXPIN_LABEL_MAX, "%s", hold->label);
}

bool dp_holders_oldest(struct dp_holders *holders, uint64_t begin, uint64_t end,
		       struct daxpin_holder *ret_holder,
		       char label[DAXPIN_LABEL_MAX])
{
	struct holder_oldest oldest = { .hold = { .access = 0 }, .label = label };

	dp_labels_each(&holders->labels, begin, end, holder_find_oldest, &oldest);
	if (!oldest.hold.access)
		return false;
	*ret_holder = (struct daxpin_holder) {
		.size = sizeof(*ret_holder),
		.extent = oldest.hold.extent,
		.age_ns = holder_age(dp_os_now_ns(), oldest.hold.since_ns),
		.access = oldest.hold.access,
		.count = 1,
		.label = label,
	};
	return true;
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
