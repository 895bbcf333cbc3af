/* SPDX-License-Identifier: BSD-3-Clause */
/* Watches on blocks, the queue of events, and the eventfd that tells of it. */
#ifndef DP_EVENT_H
#define DP_EVENT_H

#include <pthread.h>
#include <daxpin.h>
#include "util.h"

#define DP_WATCH_BUCKETS 64u

struct dp_events {
	pthread_mutex_t mutex;
	int fd;
	_Atomic int armed;
	struct daxpin_watch *waiting[DP_WATCH_BUCKETS];
	struct daxpin_watch *ready;
	struct daxpin_watch **ready_end;
};

int dp_events_init(struct dp_events *events);
void dp_events_fini(struct dp_events *events);

/*
 * Watch a block. still_busy(arg) runs with the lock that dp_events_fire()
 * takes: it asks the lease for a wake-up, or says that there is none to come.
 */
void dp_events_watch(struct dp_events *events, struct daxpin_watch *watch,
		     bool (*still_busy)(void *arg), void *arg);
bool dp_events_unwatch(struct dp_events *events, struct daxpin_watch *watch);

/* The extent at that pool address became idle: its watches are events now. */
void dp_events_fire(struct dp_events *events, uint64_t addr);

bool dp_events_next(struct dp_events *events, struct daxpin_event *ret_event);
bool dp_events_arm(struct dp_events *events);

#endif
