/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches, notices, and the queue of events.
 *
 *	watch:	NONE --> WAITING --> READY --> NONE
 *
 *	NONE -> WAITING		[dp_events_watch], the extent is held
 *	NONE -> READY		[dp_events_watch], it is not
 *	WAITING -> READY	[dp_events_fire], the last hold was dropped
 *	READY -> NONE		[dp_events_next], the caller has the event
 *	any -> NONE		[dp_events_unwatch], [dp_events_fini]
 *
 *	notice:	not posted --[dp_events_post]--> posted
 *		           <--[dp_events_next], [dp_events_withdraw]--
 *
 * A WAITING watch is in the list of its bucket, a READY one in the queue; one in state
 * NONE is in neither and belongs to the caller. Everything here is under events->mutex
 * except for `armed` and `refused`, which are atomic. While there is memory for it,
 * there are at least as many buckets as WAITING watches, so that a drop reads few
 * watches of other extents.
 *
 * No event is lost (I21, I38, I44). Two races are possible:
 *
 * Watch against drop: the watcher puts the watch into its bucket and only then
 * sets the extent's waiters bit, both under the mutex. A drop that clears the
 * bit takes the mutex afterwards and finds the watch; an earlier drop left a
 * count of 0, which the watcher sees.
 *
 * Arm against fire: the consumer sets armed, then reads the queue; fire queues,
 * then takes armed by an exchange. Both hold the mutex while they access the
 * queue, so one of the two sees the other's store.
 *
 * A watch may fire although a new hold was taken meanwhile: an event means that the
 * extent was idle, and daxpin_idle() returns whether it is now.
 *
 * tests/model/event.pml searches the interleavings.
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/event.h"
#include "os/os.h"
#include "util/cancel.h"

#define BUCKETS_MORE	4u		/* the factor by which their number grows */

enum watch_state {
	WATCH_NONE,
	WATCH_WAITING,
	WATCH_READY,
};

int dp_events_init(struct dp_events *events)
{
	memset(events, 0, sizeof(*events));
	events->waiting = events->few_waiting;
	events->buckets = DP_WATCH_BUCKETS;
	events->ready_end = &events->ready;
	events->notice_end = &events->notice;
	events->retry.event.type = DAXPIN_EVENT_RETRY;
	events->fd = dp_os_eventfd();
	if (events->fd < 0)
		return events->fd;
	pthread_mutex_init(&events->mutex, NULL);
	return 0;
}

int dp_events_fd(const struct dp_events *events)
{
	return events->fd;
}

static struct daxpin_watch **event_bucket(struct dp_events *events,
					  uint64_t addr)
{
	/* Large extents begin at multiples of their size, so all bits of the address
	 * must influence the bucket. */
	uint64_t hash = (addr >> 12) * 0x9e3779b97f4a7c15ull;

	return &events->waiting[hash >> 32 & (events->buckets - 1)];
}

static void event_unlink_watch(struct dp_events *events,
			       struct daxpin_watch *watch)
{
	assert(watch->state != WATCH_NONE && *watch->prev == watch);
	*watch->prev = watch->next;
	if (watch->next)
		watch->next->prev = watch->prev;
	else if (watch->state == WATCH_READY)
		events->ready_end = watch->prev;
	events->waiting_count -= watch->state == WATCH_WAITING;
	watch->state = WATCH_NONE;
}

static void event_forget_all(struct daxpin_watch **head,
			     struct dp_events *events)
{
	while (*head)
		event_unlink_watch(events, *head);
}

/* Reset all watches, so that a later unwatch or watch finds them unused. */
void dp_events_fini(struct dp_events *events)
{
	for (uint32_t i = 0; i < events->buckets; i++)
		event_forget_all(&events->waiting[i], events);
	event_forget_all(&events->ready, events);
	assert(events->ready_end == &events->ready && !events->waiting_count);
	if (events->waiting != events->few_waiting)
		free(events->waiting);
	dp_os_close(events->fd);
	pthread_mutex_destroy(&events->mutex);
}

void dp_events_close_inherited(struct dp_events *events)
{
	dp_os_close(events->fd);
}

static void event_make_ready(struct dp_events *events,
			     struct daxpin_watch *watch)
{
	/* It is in no list, and the queue's end is a NULL link. */
	assert(watch->state == WATCH_NONE && !*events->ready_end);
	watch->state = WATCH_READY;
	watch->next = NULL;
	watch->prev = events->ready_end;
	*events->ready_end = watch;
	events->ready_end = &watch->next;
}

/* The only cancellation point that a drop can reach. */
static void event_signal(struct dp_events *events)
{
	DP_UNCANCELLED();

	dp_os_eventfd_signal(events->fd);
}

static void event_signal_if_armed(struct dp_events *events)
{
	if (atomic_exchange(&events->armed, 0))
		event_signal(events);
}

static void event_link_waiting(struct dp_events *events,
			       struct daxpin_watch *watch)
{
	struct daxpin_watch **head = event_bucket(events, watch->extent.addr);

	watch->next = *head;
	watch->prev = head;
	if (watch->next)
		watch->next->prev = &watch->next;
	*head = watch;
}

/* Make more buckets. If there is no memory, keep the present ones: a drop then reads
 * more watches. */
static void event_grow(struct dp_events *events)
{
	struct daxpin_watch **before = events->waiting, *watch, *next;
	uint32_t buckets = events->buckets;
	struct daxpin_watch **more =
		calloc((size_t)buckets * BUCKETS_MORE, sizeof(*more));

	if (!more)
		return;
	events->waiting = more;
	events->buckets = buckets * BUCKETS_MORE;
	for (uint32_t i = 0; i < buckets; i++)
		for (watch = before[i]; watch; watch = next) {
			next = watch->next;
			event_link_waiting(events, watch);
		}
	if (before != events->few_waiting)
		free(before);
}

static void event_make_wait(struct dp_events *events,
			    struct daxpin_watch *watch,
			    const struct daxpin_watch *wanted)
{
	if (events->waiting_count >= events->buckets)
		event_grow(events);
	watch->extent = wanted->extent;
	watch->arg = wanted->arg;
	watch->owner = events;
	watch->state = WATCH_WAITING;
	events->waiting_count++;
	event_link_waiting(events, watch);
}

int dp_events_watch(struct dp_events *events, struct daxpin_watch *watch,
		    const struct daxpin_watch *wanted,
		    bool (*still_busy)(void *arg), void *arg)
{
	pthread_mutex_lock(&events->mutex);
	/* Tested under the mutex, because two threads may use one watch by mistake. A
	 * watch that is linked twice corrupts both lists. */
	if (watch->state != WATCH_NONE) {
		pthread_mutex_unlock(&events->mutex);
		return -EINVAL;
	}
	event_make_wait(events, watch, wanted);
	if (!still_busy(arg)) {
		event_unlink_watch(events, watch);
		event_make_ready(events, watch);
		event_signal_if_armed(events);
	}
	pthread_mutex_unlock(&events->mutex);
	return 0;
}

int dp_events_unwatch(struct dp_events *events, struct daxpin_watch *watch)
{
	int ret = 0;

	pthread_mutex_lock(&events->mutex);
	if (watch->state != WATCH_NONE)
		ret = watch->owner == events ? 1 : -EINVAL;
	if (ret == 1)
		event_unlink_watch(events, watch);
	pthread_mutex_unlock(&events->mutex);
	return ret;
}

void dp_events_fire(struct dp_events *events, uint64_t addr)
{
	struct daxpin_watch *watch, *next;
	bool any = false;

	pthread_mutex_lock(&events->mutex);
	for (watch = *event_bucket(events, addr); watch; watch = next) {
		next = watch->next;
		if (watch->extent.addr != addr)
			continue;
		assert(watch->state == WATCH_WAITING);
		event_unlink_watch(events, watch);
		event_make_ready(events, watch);
		any = true;
	}
	if (any)
		event_signal_if_armed(events);
	pthread_mutex_unlock(&events->mutex);
}

void dp_events_post(struct dp_events *events, struct dp_notice *notice)
{
	pthread_mutex_lock(&events->mutex);
	if (!notice->posted) {
		notice->posted = true;
		notice->next = NULL;
		notice->prev = events->notice_end;
		assert(!*events->notice_end);
		*events->notice_end = notice;
		events->notice_end = &notice->next;
		event_signal_if_armed(events);
	}
	pthread_mutex_unlock(&events->mutex);
}

/*
 * seq_cst, two-sided: a thread that will be refused sets `refused` and then tries once
 * more; a thread that opens a gate or frees blocks does so and then reads `refused`. At
 * least one of the two sees the other's store.
 */
void dp_events_refused(struct dp_events *events)
{
	atomic_store(&events->refused, true);
}

void dp_events_post_retry(struct dp_events *events)
{
	if (atomic_exchange(&events->refused, false))
		dp_events_post(events, &events->retry);
}

/* Remove a notice from its place in the queue. */
static void event_take_notice(struct dp_events *events,
			      struct dp_notice *notice)
{
	/* `posted` means that it is queued. */
	assert(notice->posted && *notice->prev == notice);
	*notice->prev = notice->next;
	if (notice->next)
		notice->next->prev = notice->prev;
	else
		events->notice_end = notice->prev;
	notice->posted = false;
}

void dp_events_withdraw(struct dp_events *events, struct dp_notice *notice)
{
	pthread_mutex_lock(&events->mutex);
	if (notice->posted)
		event_take_notice(events, notice);
	pthread_mutex_unlock(&events->mutex);
}

/* Watches come before notices, because the caller cannot reuse the memory of a watch
 * before its event was taken. */
bool dp_events_next(struct dp_events *events, struct daxpin_event *ret_event)
{
	struct daxpin_watch *watch;
	struct dp_notice *notice;

	pthread_mutex_lock(&events->mutex);
	watch = events->ready;
	notice = events->notice;
	if (watch) {
		assert(watch->state == WATCH_READY);
		event_unlink_watch(events, watch);
		*ret_event = (struct daxpin_event) {
			.type = DAXPIN_EVENT_IDLE, .watch = watch
		};
	} else if (notice) {
		event_take_notice(events, notice);
		*ret_event = notice->event;
	}
	pthread_mutex_unlock(&events->mutex);
	return watch || notice;
}

bool dp_events_arm(struct dp_events *events)
{
	bool waiting;

	pthread_mutex_lock(&events->mutex);
	atomic_store(&events->armed, 1);
	waiting = events->ready || events->notice;
	pthread_mutex_unlock(&events->mutex);
	return waiting;
}
