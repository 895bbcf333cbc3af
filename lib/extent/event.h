/* SPDX-License-Identifier: BSD-3-Clause */
/* Watches on blocks, notices, the queues of both, and their eventfd. */
#ifndef DP_EVENT_H
#define DP_EVENT_H

#include <pthread.h>
#include <daxpin.h>
#include "util/util.h"

#define DP_WATCH_BUCKETS 64u		/* at first */

/*
 * An event that is reported once, however often it is posted until it is taken.
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
	_Atomic bool refused;		/* a call; RETRY is owed */
	struct dp_notice retry;
};

int dp_events_init(struct dp_events *events);
void dp_events_fini(struct dp_events *events);
/* In a forked child: close its descriptor. The watches are its parent's. */
void dp_events_give_back(struct dp_events *events);
int dp_events_fd(const struct dp_events *events);

/*
 * Watch wanted->extent; the event has wanted->arg. still_busy(arg) runs with the
 * lock that dp_events_fire() takes: it asks the extent's state for a wake-up, or
 * returns false if none will come. -EINVAL, and *watch is as it was: it is in use.
 */
int dp_events_watch(struct dp_events *events, struct daxpin_watch *watch,
		    const struct daxpin_watch *wanted,
		    bool (*still_busy)(void *arg), void *arg);
/* 1: it was in use, 0: it was not. -EINVAL: it is in use with other events. */
int dp_events_unwatch(struct dp_events *events, struct daxpin_watch *watch);

/* The extent at that pool address became idle: its watches are events now. */
void dp_events_fire(struct dp_events *events, uint64_t addr);

/* The notice is the caller's, who withdraws it before it goes away. */
void dp_events_post(struct dp_events *events, struct dp_notice *notice);
void dp_events_withdraw(struct dp_events *events, struct dp_notice *notice);

/*
 * C4: a call is about to be refused, for a closed gate or for want of space. The
 * caller tries once more after this, and then returns the refusal.
 */
void dp_events_refused(struct dp_events *events);
/* What a refusal was about has changed: a gate is open, blocks are free, a job is
 * over. Call it after the change. No mutex unless a call was refused. */
void dp_events_tell_refused(struct dp_events *events);

bool dp_events_next(struct dp_events *events, struct daxpin_event *ret_event);
bool dp_events_arm(struct dp_events *events);

#endif
