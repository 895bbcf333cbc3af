/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The labelled holds of a pool: a table of them for each thread slot. A thread adds
 * holds to its own table without a lock. Any thread removes them, and reads them. See
 * labels.c.
 */
#ifndef DP_LABELS_H
#define DP_LABELS_H

#include <daxpin.h>
#include "extent/thread_slot.h"
#include "os/short_lock.h"
#include "util/util.h"

#define DP_LABELS_FIRST	32u		/* places in the first part of a table */
#define DP_LABELS_PARTS	24u		/* each has as many as all before it */

/* private to labels.c */
struct dp_label_place {
	_Atomic uintptr_t content;	/* a hold, or PLACE_... in labels.c */
	_Atomic uint64_t addr;		/* of the hold's extent */
};

/* private to labels.c */
struct dp_label_table {
	DP_ALIGNED struct dp_polled_lock lock;	/* of the table that threads share */
	uint32_t parts;
	uint64_t free;			/* the first free place + 1, or 0 */
	struct dp_label_place *_Atomic part[DP_LABELS_PARTS];
};

/* private to labels.c */
struct dp_labels {
	struct dp_label_table table[DP_THREAD_SLOTS + 1];
};

/* The places of labelled holds in a range of addresses, in the order of addresses. */
struct dp_label_list {
	size_t count, next, room;
	struct dp_label_entry {
		uint64_t addr;
		struct dp_label_place *place;
	} *entry;
};

typedef void dp_label_fn(const struct daxpin_hold *hold, void *arg);

void dp_labels_init(struct dp_labels *labels);
void dp_labels_fini(struct dp_labels *labels);

/* hold->extent, access and label are set, and the hold is already counted. -ENOMEM */
int dp_label_add(struct dp_labels *labels, struct daxpin_hold *hold);
/* -EINVAL: it was never added, or was removed already. */
int dp_label_remove(struct dp_labels *labels, struct daxpin_hold *hold);

/*
 * Call fn for each hold of an extent that begins in [begin, end), in no order. A drop
 * of the hold polls until fn returns, so fn must be short.
 */
void dp_labels_each(struct dp_labels *labels, uint64_t begin, uint64_t end,
		    dp_label_fn *fn, void *arg);

/* Make a list of the same holds. Later ones are not in it. -ENOMEM */
int dp_labels_list(struct dp_labels *labels, uint64_t begin, uint64_t end,
		   struct dp_label_list *ret_list);
/*
 * Call fn, as above, for those that are at this address now. Call it with addresses
 * that only grow.
 */
void dp_label_list_at(struct dp_label_list *list, uint64_t addr, dp_label_fn *fn,
		      void *arg);
void dp_label_list_free(struct dp_label_list *list);

#endif
