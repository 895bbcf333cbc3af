/* SPDX-License-Identifier: BSD-3-Clause */
/* A publish in progress: its operations are steps. See publish.c. */
#ifndef DP_BATCH_H
#define DP_BATCH_H

#include "core/handle.h"

enum {				/* what a step has and must release */
	HAS_CLAIM = 1,		/* the publishing bit */
	HAS_SLOT = 2,		/* a root slot */
	HAS_ROOT = 4,		/* it was added to the named extent's root count */
	HAS_HOLD = 8,
	HAS_SHARED = 16,	/* it uses the hold or claim of another step */
	HAS_OBJECT = 32,	/* the claim of an object */
};

/* The bits of batch.types. */
#define TYPE(type)	(1u << (type))
#define TYPES_OBJECT	(TYPE(DAXPIN_OP_OBJECT_KEEP) | TYPE(DAXPIN_OP_OBJECT_FREE))
#define TYPES_KEEP	(TYPE(DAXPIN_OP_KEEP) | TYPE(DAXPIN_OP_OBJECT_KEEP))
#define TYPES_CLAIMED	(TYPE(DAXPIN_OP_KEEP) | TYPE(DAXPIN_OP_RETIRE) | TYPES_OBJECT)

struct step {
	const struct daxpin_op *op;
	struct dp_handle handle;	/* block 0: a root that is removed */
	struct dp_lane_entry change;	/* not of an OBJECT_KEEP or OBJECT_FREE */
	struct dp_object object;	/* of a step that names one */
	uint32_t slot;
	uint32_t has;
};

/* The extent of the last SET, held or kept by this batch. */
struct target {
	struct dp_handle handle;	/* block 0: none */
	uint64_t bytes;
	bool has_bad;			/* a bad block */
};

struct batch {
	struct daxpin_pool *pool;
	struct step *step;
	size_t count;
	size_t begun;			/* steps that may have something to release */
	size_t found;			/* by the last search for a claim */
	const struct daxpin_op *failed;	/* NULL: no single operation */
	uint32_t types;			/* TYPE() of each step */
	bool first;			/* payloads or names are written first */
	struct target target;
	uint64_t *locks;		/* a bitmap of the locks to take */
	uint64_t locks_used;		/* which words of it are initialized */
};

/* Has the batch claimed that slot, so that it changes what the root names? */
static inline bool dp_batch_has_slot(const struct batch *batch, uint32_t slot)
{
	for (size_t i = 0; i < batch->begun; i++)
		if (batch->step[i].has & HAS_SLOT && batch->step[i].slot == slot)
			return true;
	return false;
}

#endif
