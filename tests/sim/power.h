/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Going through a rewound trace event by event, and what the medium may hold
 * if the power is cut there. The memory model:
 *
 *  - A store is in the cache. Its words reach the medium at any time from then
 *    on, each aligned 8 bytes separately and in any order, because a cache line may be
 *    evicted at any time, and need not reach the medium as a whole.
 *  - So a word that was stored several times may be at any of the values that
 *    were stored to it since it was last durable.
 *  - A flush and then a fence by the same actor make what the flush found
 *    durable: older values are impossible from then on. A flush alone promises
 *    nothing.
 *
 * This allows more than x86 does, where a line holds a prefix of what was
 * stored to it. So code that is correct here is correct on x86.
 *
 * A state is one choice of a value for each word that is not durable. A store adds
 * only the states in which one of its own words has reached the medium; flushes and
 * fences add none. So it is enough to try, at each store, the states that it adds:
 * that makes every state of every cut exactly once.
 */
#ifndef SIM_POWER_H
#define SIM_POWER_H

#include "media.h"

#define POWER_VALUES	12u

struct power_word {
	uint64_t durable;
	uint64_t value[POWER_VALUES];	/* stored since then, oldest first */
	uint32_t word;
	uint32_t values;
	uint32_t pick;			/* 0: the durable value, else value[pick - 1] */
	uint32_t flushed[MEDIA_ACTORS];	/* how many values the last flush wrote back */
};

struct power {
	const struct media_trace *trace;
	uint32_t at;			/* events done */
	uint32_t words;			/* words that are not durable */
	uint32_t words_max;
	struct power_word *word;
	uint32_t *slot;			/* for each word of the medium: index + 1 */
	uint32_t *page;			/* for each page: words not durable */
	uint32_t *fresh;		/* slots that the last event changed */
	uint32_t fresh_count;
	uint32_t fresh_max;
	/* The position in the states that are tried: all of them, or a sample. */
	bool all;			/* even states that existed before */
	bool started;
	uint32_t sample;
	uint32_t samples;		/* 0: every state */
	uint32_t turn;
	uint64_t random;
};

void power_init(struct power *power);
void power_fini(struct power *power);

/* Starts. The medium is as it was before the trace. */
void power_begin(struct power *power, const struct media_trace *trace);
/* Applies the next event. The medium holds what is durable. */
void power_step(struct power *power);
/* Restores the medium as it was before the trace. */
void power_end(struct power *power);

/*
 * Returns how many states the last event added, or if `all`, how many there are; at
 * most `limit`.
 */
uint64_t power_count(const struct power *power, bool all, uint64_t limit);
/*
 * Prepares power_next() to try all states, or, if samples is not 0 and there are more,
 * that many of them: first the simple ones, with every word new, none new, and one word
 * alone or missing, then random ones.
 */
void power_first(struct power *power, bool all, uint32_t samples,
		 uint64_t seed);
/* Puts the next state on the medium. Returns false after the last one. */
bool power_next(struct power *power);

/* Is at most one of several new words missing, or at most one present? */
bool power_is_simple(const struct power *power);
/* Prints the choice that is on the medium, for messages. */
void power_describe(const struct power *power, char *text, uint32_t size);

#endif
