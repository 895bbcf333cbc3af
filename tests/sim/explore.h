/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trying a kind of operation: run it, then cut the power everywhere in it.
 */
#ifndef SIM_EXPLORE_H
#define SIM_EXPLORE_H

#include "report.h"
#include "world.h"

#define EXPLORE_LEVELS	3u		/* crashes in a chain */
#define EXPLORE_STATES	3000u		/* of a usual kind, in the usual run */

/* A kind of operation. */
struct kind {
	const char *name;
	const char *about;
	uint32_t segments;
	uint32_t levels;		/* crashes; the last one is only recovered */
	uint32_t actors;		/* more than 1: try schedules */
	uint32_t runs;			/* with other random numbers each */
	uint32_t share;			/* of the states, in percent of a usual one */
	/* Make the medium on which it begins; all of it is durable. */
	void (*setup)(struct world *world);
	/*
	 * What is done; world->level crashes came before. It opens the pool,
	 * and calls world_ready() where cuts are to begin.
	 */
	void (*run)(struct world *world);
	/* For what is no run: everything is done here instead. */
	bool (*special)(const struct kind *kind, const struct model *base,
			uint64_t seed, struct report *report);
};

struct explore_limits {
	uint64_t states;		/* of a usual kind, about; sampled beyond */
	uint64_t subsets;		/* of one cut; sampled beyond */
};

/* Try a kind; what was wrong goes to stdout. False: something was. */
bool explore_kind(const struct kind *kind, const struct explore_limits *limits,
		  uint64_t seed, struct report *report);

/* Where the medium stands now, to stdout: for an assertion that failed. */
void explore_print_place(void);

#endif
