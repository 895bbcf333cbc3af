/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "random.h"
#include "power.h"

#define PAGE_WORDS	512u
#define PAGES		(MEDIA_WORDS_MAX / PAGE_WORDS + 1)
/* Words shown of a state, and words tried alone or missing in a sample. */
#define DESCRIBED	24u

static void *sparse(uint64_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED) {
		perror("sim: no memory");
		exit(1);
	}
	return at;
}

static void *grow(void *array, uint32_t *max, size_t size)
{
	*max = *max ? *max * 2 : 64;
	array = realloc(array, *max * size);
	if (!array) {
		perror("sim: no memory");
		exit(1);
	}
	return array;
}

void power_init(struct power *power)
{
	memset(power, 0, sizeof(*power));
	power->slot = sparse(MEDIA_WORDS_MAX * sizeof(*power->slot));
	power->page = sparse(PAGES * sizeof(*power->page));
}

void power_fini(struct power *power)
{
	munmap(power->slot, MEDIA_WORDS_MAX * sizeof(*power->slot));
	munmap(power->page, PAGES * sizeof(*power->page));
	free(power->word);
	free(power->fresh);
}

static void forget_word(struct power *power, uint32_t slot)
{
	struct power_word *it = &power->word[slot];
	struct power_word *last = &power->word[power->words - 1];

	power->slot[it->word] = 0;
	power->page[it->word / PAGE_WORDS]--;
	if (it != last) {
		*it = *last;
		power->slot[it->word] = slot + 1;
	}
	power->words--;
}

void power_begin(struct power *power, const struct media_trace *trace)
{
	while (power->words)
		forget_word(power, power->words - 1);
	power->trace = trace;
	power->at = 0;
	power->fresh_count = 0;
}

void power_end(struct power *power)
{
	media_rewind(power->trace);
	power_begin(power, power->trace);
}

/* ------------------------------------------------------------------ events */

static uint32_t slot_of(struct power *power, const struct media_change *change)
{
	struct power_word *it;

	if (power->slot[change->word])
		return power->slot[change->word] - 1;
	if (power->words == power->words_max)
		power->word = grow(power->word, &power->words_max,
				   sizeof(*power->word));
	it = &power->word[power->words++];
	memset(it, 0, sizeof(*it));
	it->word = change->word;
	it->durable = change->was;
	power->slot[change->word] = power->words;
	power->page[change->word / PAGE_WORDS]++;
	return power->words - 1;
}

static void step_store(struct power *power, const struct media_event *event)
{
	for (uint32_t i = 0; i < event->count; i++) {
		const struct media_change *change =
			&power->trace->change[event->first + i];
		uint32_t slot = slot_of(power, change);
		struct power_word *it = &power->word[slot];

		if (it->values == POWER_VALUES) {
			fprintf(stderr, "sim: a word stored more than %u times without a fence: raise POWER_VALUES\n",
				POWER_VALUES);
			exit(1);
		}
		it->value[it->values++] = change->is;
		if (power->fresh_count == power->fresh_max)
			power->fresh = grow(power->fresh, &power->fresh_max,
					    sizeof(*power->fresh));
		power->fresh[power->fresh_count++] = slot;
	}
}

/* Flushes are of whole lines. */
static void step_flush(struct power *power, const struct media_event *event)
{
	uint32_t word = event->offset / 64 * 8;
	uint32_t end = (event->offset + event->size + 63) / 64 * 8;

	while (word < end) {
		uint32_t slot = power->slot[word];

		if (!power->page[word / PAGE_WORDS]) {
			word = (word / PAGE_WORDS + 1) * PAGE_WORDS;
			continue;
		}
		if (slot)
			power->word[slot - 1].flushed[event->actor] =
				power->word[slot - 1].values;
		word++;
	}
}

/* What this actor has flushed becomes durable. */
static void step_fence(struct power *power, const struct media_event *event)
{
	for (uint32_t i = power->words; i--;) {
		struct power_word *it = &power->word[i];
		uint32_t done = it->flushed[event->actor];

		if (!done)
			continue;
		it->durable = it->value[done - 1];
		media_poke(it->word, it->durable);
		it->values -= done;
		memmove(it->value, it->value + done, it->values * 8);
		for (uint32_t a = 0; a < MEDIA_ACTORS; a++)
			it->flushed[a] -= it->flushed[a] < done ?
					  it->flushed[a] : done;
		if (!it->values)
			forget_word(power, i);
	}
}

void power_step(struct power *power)
{
	const struct media_event *event = &power->trace->event[power->at++];

	power->fresh_count = 0;
	switch (event->what) {
	case MEDIA_STORE:
		step_store(power, event);
		break;
	case MEDIA_FLUSH:
		step_flush(power, event);
		break;
	case MEDIA_FENCE:
		step_fence(power, event);
		break;
	}
}

/* ------------------------------------------------------------------ states */

static void pick(struct power *power, uint32_t slot, uint32_t value)
{
	struct power_word *it = &power->word[slot];

	assert(value <= it->values);
	if (it->pick == value)
		return;
	it->pick = value;
	media_poke(it->word, value ? it->value[value - 1] : it->durable);
}

static bool is_fresh(const struct power *power)
{
	for (uint32_t i = 0; i < power->fresh_count; i++) {
		const struct power_word *it = &power->word[power->fresh[i]];

		if (it->pick == it->values)
			return true;
	}
	return false;
}

/* Multiplies, but returns at most about `limit`. */
static uint64_t times(uint64_t a, uint64_t b, uint64_t limit)
{
	return a > limit / b ? limit : a * b;
}

uint64_t power_count(const struct power *power, bool all, uint64_t limit)
{
	uint64_t total = 1, old = 1;

	for (uint32_t i = 0; i < power->words && total < limit; i++)
		total = times(total, power->word[i].values + 1, limit);
	if (all || total >= limit)
		return total;
	if (!power->fresh_count)
		return 0;
	/* Excludes states in which every new word has an older value. */
	for (uint32_t i = 0; i < power->words; i++)
		old *= power->word[i].values + 1;
	for (uint32_t i = 0; i < power->fresh_count; i++) {
		uint32_t values = power->word[power->fresh[i]].values;

		old = old / (values + 1) * values;
	}
	return total - old;
}

void power_first(struct power *power, bool all, uint32_t samples, uint64_t seed)
{
	uint64_t count = power_count(power, all, 1ull << 32);

	power->all = all;
	power->started = false;
	power->sample = 0;
	power->samples = samples && count > samples ? samples : 0;
	power->random = seed;
	power->turn = random_below(&power->random, power->words + 1);
	if (!all && !power->fresh_count)
		power->samples = power->sample = 1;	/* nothing new */
}

static void pick_all(struct power *power, bool newest)
{
	for (uint32_t i = 0; i < power->words; i++)
		pick(power, i, newest ? power->word[i].values : 0);
}

static bool count_up(struct power *power)
{
	for (uint32_t i = 0; i < power->words; i++) {
		if (power->word[i].pick < power->word[i].values) {
			pick(power, i, power->word[i].pick + 1);
			return true;
		}
		pick(power, i, 0);
	}
	return false;
}

static bool next_of_all(struct power *power)
{
	if (!power->started) {
		power->started = true;
		if (power->all)
			return true;	/* nothing arrived */
	}
	while (count_up(power))
		if (power->all || is_fresh(power))
			return true;
	return false;
}

/* Each word independently, with a probability that is chosen for the sample. */
static void pick_random(struct power *power)
{
	uint64_t odds = 1 + random_below(&power->random, 7);

	for (uint32_t i = 0; i < power->words; i++) {
		uint32_t values = power->word[i].values;
		bool arrived = random_below(&power->random, 8) < odds;

		if (arrived && values > 1)
			pick(power, i, 1 + random_below(&power->random,
							 values));
		else
			pick(power, i, arrived ? values : 0);
	}
}

static bool next_sample(struct power *power)
{
	uint32_t sample = power->sample++, some;

	if (sample >= power->samples) {
		pick_all(power, false);
		return false;
	}
	/* Each word in turn, from a random one on. */
	some = (power->turn + sample / 3) % power->words;
	switch (sample < 2 ? sample : 2 + sample % 3) {
	case 0:		/* everything */
		pick_all(power, true);
		break;
	case 1:		/* nothing, or only new words */
		pick_all(power, false);
		for (uint32_t i = 0; i < power->fresh_count && !power->all; i++)
			pick(power, power->fresh[i],
			     power->word[power->fresh[i]].values);
		break;
	case 2:		/* one is missing */
		pick_all(power, true);
		pick(power, some, power->word[some].values - 1);
		break;
	case 3:		/* one has arrived */
		pick_all(power, false);
		pick(power, some, power->word[some].values);
		break;
	default:
		pick_random(power);
	}
	if (!power->all && !is_fresh(power)) {
		some = power->fresh[random_below(&power->random,
						  power->fresh_count)];
		pick(power, some, power->word[some].values);
	}
	return true;
}

bool power_next(struct power *power)
{
	return power->samples ? next_sample(power) : next_of_all(power);
}

bool power_is_simple(const struct power *power)
{
	uint32_t missing = 0, arrived = 0;

	for (uint32_t i = 0; i < power->words; i++) {
		missing += power->word[i].pick < power->word[i].values;
		arrived += power->word[i].pick > 0;
	}
	return power->words > 3 && (missing <= 1 || arrived <= 1);
}

void power_describe(const struct power *power, char *text, uint32_t size)
{
	char place[80];
	uint32_t at = 0, shown = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < power->words && at < size - 1; i++) {
		const struct power_word *it = &power->word[i];
		uint64_t value = it->pick ? it->value[it->pick - 1] :
				 it->durable;

		if (shown++ == DESCRIBED) {
			at += snprintf(text + at, size - at,
				       "#     and %u words more\n",
				       power->words - i);
			break;
		}
		at += snprintf(text + at, size - at,
			       "#     %s %s: 0x%016llx\n",
			       it->pick == it->values ? "arrived" :
			       it->pick ? "partly " : "missing",
			       media_place(it->word * 8ull, place),
			       (unsigned long long)value);
	}
}
