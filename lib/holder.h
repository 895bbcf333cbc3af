/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who holds what, for people: labelled holds and registrations. The counts
 * that decide are in lease.c; nothing here decides anything but close.
 */
#ifndef DP_HOLDER_H
#define DP_HOLDER_H

#include <pthread.h>
#include <daxpin.h>
#include "util.h"

#define DP_HOLDER_SHARDS 64u

struct dp_holder_shard {
	pthread_mutex_t mutex;
	struct daxpin_hold *first;
} DP_ALIGNED;

struct daxpin_registration {
	struct daxpin_pool *pool;
	uint32_t segment;		/* or DAXPIN_ALL_SEGMENTS */
	uint64_t since_ns;
	char label[DAXPIN_LABEL_MAX];
	struct daxpin_registration *next;
};

struct dp_holders {
	struct dp_holder_shard shard[DP_HOLDER_SHARDS];
	pthread_mutex_t mutex;		/* of the registrations */
	struct daxpin_registration *registration;
	uint32_t registrations;
};

void dp_holders_init(struct dp_holders *holders);
void dp_holders_fini(struct dp_holders *holders);

/* hold->extent, access and label are set; it is held already. */
void dp_holder_add(struct dp_holders *holders, struct daxpin_hold *hold);
void dp_holder_remove(struct dp_holders *holders, struct daxpin_hold *hold);

void dp_registration_add(struct dp_holders *holders,
			 struct daxpin_registration *registration);
void dp_registration_remove(struct dp_holders *holders,
			    struct daxpin_registration *registration);
uint32_t dp_registration_count(struct dp_holders *holders);

/* Labelled holds of the extent; their number. */
uint32_t dp_holders_of(struct dp_holders *holders, struct daxpin_extent extent,
		       void (*fn)(const struct daxpin_holder *, void *),
		       void *arg);
void dp_registrations_of(struct dp_holders *holders, uint32_t segment,
			 void (*fn)(const struct daxpin_holder *, void *),
			 void *arg);

#endif
