/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Labelled holds and registrations, for reports. Decisions use the counts in state.c
 * and gate.c, with two exceptions: a registration prevents a close, and its pin of a
 * segment prevents a reclaim there.
 */
#ifndef DP_HOLDER_H
#define DP_HOLDER_H

#include <pthread.h>
#include <daxpin.h>
#include "extent/event.h"
#include "extent/labels.h"
#include "util/util.h"

/* A verbs context, by the kernel's numbers. */
struct dp_registration_rdma {
	bool is_used;
	bool is_known;			/* its number is known */
	uint32_t device;
	uint32_t number;
};

/* private to holders.c */
struct daxpin_registration {
	struct daxpin_pool *pool;
	uint32_t segment;		/* or DAXPIN_ALL_SEGMENTS */
	uint64_t since_ns;
	char label[DAXPIN_LABEL_MAX];
	struct daxpin_registration *next, **prev;
	/* BY_SEGMENT: the flags of each segment; otherwise NULL. */
	uint8_t *pin;
	uint32_t segments;
	struct dp_notice wanted;	/* posted when a reclaim wants a pin back */
	_Atomic uint32_t wanted_segments;	/* the number of such segments */
	const void *maker;		/* see daxpin_registration_arg() */
	void *maker_arg;
	/* DMA that may outlive the owner lock. */
	struct dp_registration_rdma rdma;
};

/* private to holders.c */
struct dp_holders {
	struct dp_labels labels;
	pthread_mutex_t mutex;		/* of the registrations */
	struct daxpin_registration *registration;
	uint32_t registrations;
};

/* An extent, which has `count` holds, and its segment. */
struct dp_held {
	struct daxpin_extent extent;
	uint32_t segment;
	uint32_t count;
};

typedef void dp_holder_fn(const struct daxpin_holder *holder, void *arg);

void dp_holders_init(struct dp_holders *holders);
void dp_holders_fini(struct dp_holders *holders);

/* The labelled holds of the pool. */
static inline struct dp_labels *dp_holders_labels(struct dp_holders *holders)
{
	return &holders->labels;
}

/*
 * Make a registration of a segment or of DAXPIN_ALL_SEGMENTS. segments: the number that
 * the pool has. by_segment: the registration has a pin for each segment. It is not in
 * the list before dp_registration_add(). NULL: no memory.
 */
struct daxpin_registration *
dp_registration_make(struct daxpin_pool *pool, uint32_t segments,
		     uint32_t segment, bool by_segment, const char *label);
void dp_registration_free(struct daxpin_registration *registration);
struct daxpin_pool *
dp_registration_pool(const struct daxpin_registration *registration);
const char *dp_registration_label(const struct daxpin_registration *registration);
/* See daxpin_registration_arg(). Call it before the registration is added. */
void dp_registration_set_maker(struct daxpin_registration *registration,
			       const void *maker, void *arg);
void *dp_registration_arg(const struct daxpin_registration *registration,
			  const void *maker);
/* Set the verbs context that was recorded for it. Call it before it is added. */
void dp_registration_set_rdma(struct daxpin_registration *registration,
			      struct dp_registration_rdma rdma);
struct dp_registration_rdma
dp_registration_rdma(const struct daxpin_registration *registration);

void dp_registration_add(struct dp_holders *holders,
			 struct daxpin_registration *registration);
/* Remove it from the list, and withdraw its notice. */
void dp_registration_remove(struct dp_holders *holders,
			    struct daxpin_registration *registration,
			    struct dp_events *events);

/* These do the work of the public functions of the same names, see daxpin.h. */
int dp_registration_pin(struct dp_holders *holders,
			struct daxpin_registration *registration,
			uint32_t segment);
int dp_registration_wanted(struct dp_holders *holders,
			   struct daxpin_registration *registration,
			   uint32_t *segment);
int dp_registration_revoked(struct dp_holders *holders,
			    struct daxpin_registration *registration,
			    uint32_t segment);
/* Want the segment's pins back from all registrations. True: the segment is pinned, and
 * *ret_holder is the first registration, with its label in `label`. */
bool dp_registrations_want(struct dp_holders *holders, uint32_t segment,
			   struct dp_events *events,
			   struct daxpin_holder *ret_holder,
			   char label[DAXPIN_LABEL_MAX]);
/* The segment's pins are not wanted back any more. */
void dp_registrations_unwant(struct dp_holders *holders, uint32_t segment);

uint32_t dp_registration_count(struct dp_holders *holders);

/*
 * Call fn for the holders of an extent: each labelled hold, and all unlabelled holds as
 * one. list: from dp_labels_list(), if the holders of several extents are reported in
 * the order of their addresses; otherwise NULL.
 */
void dp_holders_of(struct dp_holders *holders, struct dp_label_list *list,
		   const struct dp_held *held, dp_holder_fn *fn, void *arg);
/* Find the oldest labelled hold in a range of pool addresses. False: there is none. The
 * caller sets the segment. */
bool dp_holders_oldest(struct dp_holders *holders, uint64_t begin, uint64_t end,
		       struct daxpin_holder *ret_holder,
		       char label[DAXPIN_LABEL_MAX]);
/* Call fn for the registrations of a segment, or with DAXPIN_ALL_SEGMENTS for all. */
void dp_registrations_of(struct dp_holders *holders, uint32_t segment,
			 void (*fn)(const struct daxpin_holder *, void *),
			 void *arg);

#endif
