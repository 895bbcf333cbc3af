/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Going through a rewound trace event by event, and what the medium may hold
 * if the power is cut there. The memory model:
 *
 *  - A store is in the cache. Its words reach the medium at any time from then
 *    on, each aligned 8 bytes for itself and in any order: lines are evicted
 *    when they like, and tear.
 *  - So a word that was stored several times may be at any of the values that
 *    it went through since it was last durable.
 *  - A flush and then a fence by the same actor make what the flush found
 *    durable: older values are impossible from then on. A flush alone promises
 *    nothing.
 *
 * This allows more than x86 does, where a line holds a prefix of what was
 * stored to it: what survives here survives there.
 *
 * A state is one choice of a value for each word that is not durable. Those
 * possible at two neighbouring cuts are the same but for what the event between
 * them adds, so at a store only the states in which one of its own words has
 * arrived are new, and flushes and fences add none. Going through all stores
 * like this makes every state of every cut exactly once.
 */
#ifndef SIM_POWER_H
#define SIM_POWER_H

#include "media.h"

#define POWER_VALUES	12u

struct power_word {
	uint64_t durable;
	uint64_t value[POWER_VALUES];	/* later ones, oldest first */
	uint32_t word;
	uint32_t values;
	uint32_t pick;			/* 0: durable, else value[pick - 1] */
	uint32_t flushed[MEDIA_ACTORS];	/* values that a flush has caught */
};

struct power {
	const struct media_trace *trace;
	uint32_t at;			/* events done */
	uint32_t words;			/* that are not durable */
	uint32_t words_max;
	struct power_word *word;
	uint32_t *slot;			/* of each word of the medium, + 1 */
	uint32_t *page;			/* words of each page not durable */
	uint32_t *fresh;		/* slots that the last event changed */
	uint32_t fresh_count;
	uint32_t fresh_max;
	/* The odometer, or the sampler. */
	bool all;			/* not only what the last event added */
	bool started;
	uint32_t sample;
	uint32_t samples;		/* 0: every state */
	uint32_t turn;
	uint64_t random;
};

void power_init(struct power *power);
void power_fini(struct power *power);

/* The medium is as it was before the trace. */
void power_begin(struct power *power, const struct media_trace *trace);
/* The next event happens; the medium holds what is durable. */
void power_step(struct power *power);
/* As before the trace. */
void power_end(struct power *power);

/* How many states the last event added (all: how many there are), limit at most. */
uint64_t power_count(const struct power *power, bool all, uint64_t limit);
/*
 * Go through them: every one, or, where samples is not 0 and there are more,
 * that many. First come the simple ones: everything, nothing else, and each
 * word alone or missing.
 */
void power_first(struct power *power, bool all, uint32_t samples,
		 uint64_t seed);
/* Put the next one on the medium; false: there are no more, all is durable. */
bool power_next(struct power *power);

/* Of several words at most one is missing, or at most one has arrived. */
bool power_is_simple(const struct power *power);
/* The choice that is on the medium now, for people. */
void power_describe(const struct power *power, char *text, uint32_t size);

#endif
