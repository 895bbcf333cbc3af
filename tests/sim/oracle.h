/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine restarts with what is on the medium: recover, and report whether
 * that is one of the allowed states.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include "world.h"

#define ORACLE_VERDICTS	(1u << 15)

/* What was judged, and found to be fine. */
struct oracle_verdict {
	uint64_t question;		/* a hash: the medium, and what it may be */
	uint32_t match;
};

struct oracle {
	uint32_t segments;		/* of pools that a create makes */
	uint64_t opens;			/* recoveries so far */
	uint64_t states;		/* that were judged, each once */
	struct oracle_verdict verdict[ORACLE_VERDICTS];	/* the last by its hash */
	struct media_trace trace;	/* of the recovery, to take it back */
	struct model seen;
	struct model again;
	char wrong[1200];		/* what was wrong with the last one */
};

/* What a pool holds, by its own account. False: it contradicts itself. */
bool oracle_observe(struct oracle *oracle, struct daxpin_pool *pool,
		    struct model *ret_seen);
/* Two states are equal; payload that is not durable is not compared. */
bool oracle_is_same(const struct model *expected, const struct model *seen);
/* The same except for the owner. */
bool oracle_is_same_space(const struct model *expected,
			  const struct model *seen);
/* Why not, for people. */
void oracle_difference(const struct model *expected, const struct model *seen,
		       char *text, uint32_t size);

/*
 * Recover the medium, which is then as it was, and find out which candidate it
 * was. False: none, or recovery is wrong in another way. A recovery depends on the
 * medium alone, so one that holds the same and may be the same is not recovered again.
 */
bool oracle_judge(struct oracle *oracle, const struct model *candidate,
		  uint32_t count, uint32_t *ret_match);

#endif
