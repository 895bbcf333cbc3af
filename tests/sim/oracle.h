/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine restarts with what is on the medium: recover, and report whether
 * that is one of the allowed states.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "world.h"

#define ORACLE_VERDICTS	(1u << 15)

/* States that were found to be right. */
struct oracle_verdict {
	uint64_t question;		/* a hash of the medium and its candidates */
	uint32_t match;
};

struct oracle {
	uint32_t segments;		/* of pools that a create may have made */
	uint64_t opens;			/* recoveries so far */
	uint64_t states;		/* judged states, each counted once */
	struct oracle_verdict verdict[ORACLE_VERDICTS];	/* the last judged states */
	struct media_trace trace;	/* of the recovery, to undo it */
	struct model seen;
	struct model again;
	char wrong[1200];		/* what was wrong with the last state */
};

/* Reads the contents of an open pool. Returns false if they are inconsistent. */
bool oracle_observe(struct oracle *oracle, struct daxpin_pool *pool,
		    struct model *ret_seen);
/* Two states are equal; payload that is not durable is not compared. */
bool oracle_is_same(const struct model *expected, const struct model *seen);
/* The same except for the owner. */
bool oracle_is_same_space(const struct model *expected,
			  const struct model *seen);
/* Describes the difference, for messages. */
void oracle_difference(const struct model *expected, const struct model *seen,
		       char *text, uint32_t size);

/*
 * Recovers the medium, restores it, and finds out which candidate the result is.
 * Returns false if it is none, or if recovery fails otherwise. A recovery depends only
 * on the medium, so the same medium with the same candidates is not recovered again.
 */
bool oracle_judge(struct oracle *oracle, const struct model *candidate,
		  uint32_t count, uint32_t *ret_match);

#endif
