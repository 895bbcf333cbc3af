/* SPDX-License-Identifier: BSD-3-Clause */
/* Watches on blocks, notices, the queues of both, and their eventfd. */
#ifndef DP_EVENT_H
#define DP_EVENT_H

#include <pthread.h>
#include <daxpin.h>
#include "util/util.h"

#define DP_WATCH_BUCKETS 64u		/* at first */

/*
 * An event that is reported once, even if it is posted several times before that.
 * Its owner sets `event`; the rest is private to event.c.
 */
struct dp_notice {
	struct daxpin_event event;
	bool posted;
	struct dp_notice *next, **prev;
};

/* private to event.c */
struct dp_events {
	pthread_mutex_t mutex;
	int fd;
	_Atomic int armed;
	struct daxpin_watch *few_waiting[DP_WATCH_BUCKETS];
	struct daxpin_watch **waiting;	/* by address: few_waiting, or allocated */
	uint32_t buckets;		/* a power of two */
	uint32_t waiting_count;		/* in all of them */
	struct daxpin_watch *ready;
	struct daxpin_watch **ready_end;
	struct dp_notice *notice;	/* posted, the oldest first */
	struct dp_notice **notice_end;
	_Atomic bool refused;		/* a call was refused, so RETRY must follow */
	struct dp_notice retry;
};

int dp_events_init(struct dp_events *events);
void dp_events_fini(struct dp_events *events);
/* In a forked child: close the descriptor. The watches belong to the parent. */
void dp_events_close_inherited(struct dp_events *events);
int dp_events_fd(const struct dp_events *events);

/*
 * Watch wanted->extent; the event has wanted->arg. still_busy(arg) is called under the
 * mutex that dp_events_fire() takes: it sets the waiters bit of the extent's state and
 * returns true, or returns false if the extent is idle. -EINVAL: *watch is in use, and
 * was not changed.
 */
int dp_events_watch(struct dp_events *events, struct daxpin_watch *watch,
		    const struct daxpin_watch *wanted,
		    bool (*still_busy)(void *arg), void *arg);
/* Returns 1 if the watch was in use, 0 if it was not. -EINVAL: another pool uses it. */
int dp_events_unwatch(struct dp_events *events, struct daxpin_watch *watch);

/* The extent at that pool address has become idle: queue the events of its watches. */
void dp_events_fire(struct dp_events *events, uint64_t addr);

/* The notice belongs to the caller, who must withdraw it before freeing it. */
void dp_events_post(struct dp_events *events, struct dp_notice *notice);
void dp_events_withdraw(struct dp_events *events, struct dp_notice *notice);

/*
 * C4: note that a call is about to be refused, because of a closed gate or for lack of
 * space. The caller then tries once more, and returns the refusal only if that fails,
 * too.
 */
void dp_events_refused(struct dp_events *events);
/* Post RETRY if a refusal was noted. Only dp_events_notify_refused() calls it. */
void dp_events_post_retry(struct dp_events *events);
/* Call it after a change that a refused call may wait for: a gate was opened, blocks
 * were freed, a job has ended. Takes no mutex unless a call was refused. */
static inline void dp_events_notify_refused(struct dp_events *events)
{
	dp_fence_after_rmw();
	if (atomic_load(&events->refused))
		dp_events_post_retry(events);
}

bool dp_events_next(struct dp_events *events, struct daxpin_event *ret_event);
bool dp_events_arm(struct dp_events *events);

#endif
