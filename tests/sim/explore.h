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

struct kind {
	const char *name;
	const char *about;
	uint32_t segments;
	uint32_t levels;		/* crashes; only a recovery follows the last */
	uint32_t actors;		/* if more than 1, schedules are tried */
	uint32_t runs;			/* runs, each with other random numbers */
	uint32_t share;			/* number of states, in percent of the usual */
	/* Makes the medium on which runs begin; all of it is durable. */
	void (*setup)(struct world *world);
	/*
	 * Makes the calls; world->level crashes came before. It opens the pool, and
	 * calls world_ready() where cuts begin.
	 */
	void (*run)(struct world *world);
	/* If set, it is called instead of all runs and cuts. */
	bool (*special)(const struct kind *kind, const struct model *base,
			uint64_t seed, struct report *report);
};

struct explore_limits {
	uint64_t states;		/* of a usual kind; if more: a sample */
	uint64_t subsets;		/* of one cut; if more: a sample */
};

/* Tries a kind and prints errors to stdout. Returns false if there was one. */
bool explore_kind(const struct kind *kind, const struct explore_limits *limits,
		  uint64_t seed, struct report *report);

/* Prints the position in the current run to stdout, for an assertion that failed. */
void explore_print_place(void);

#endif
