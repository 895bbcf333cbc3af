/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bounds of the longest free run, for each segment and for each group of 64.
 *
 * A segment's bound is written only under the segment's lock, by a plain store. It may
 * be too high but never too low; a thread whose search of the segment fails lowers it.
 *
 * A thread that raises a segment's bound raises the bound of its group afterwards. A
 * searching thread that finds no segment of the group with the wanted length lowers the
 * group's bound: it reads the group's word, then the bounds of the segments, and
 * replaces the word by their maximum with a CAS. The upper half of the word counts the
 * raises, so that the CAS fails if the bound was raised meanwhile. Without that count a
 * raise to a value that the word had already would be lost:
 *
 *	searching thread		freeing thread
 *	reads the group: 9
 *	reads the segment: 2
 *					raises the segment to 9
 *					the group is 9: nothing to do
 *	replaces 9 by 2			a free run of 9 is not found
 *
 * Invariants:
 *	I61	after dp_longest_set() neither the segment's bound nor its group's is
 *		lower than what was set, until the next dp_longest_set() of that
 *		segment
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/longest.h"

#define GROUP_SHIFT	6u
#define RAISE_ONE	(1ull << 32)

static uint32_t longest_groups(const struct dp_longest *longest)
{
	return ((longest->segments - 1) >> GROUP_SHIFT) + 1;
}

int dp_longest_init(struct dp_longest *longest, uint32_t segments)
{
	assert(segments);
	longest->segments = segments;
	longest->segment = calloc(segments, sizeof(*longest->segment));
	longest->group = calloc(longest_groups(longest), sizeof(*longest->group));
	if (longest->segment && longest->group)
		return 0;
	dp_longest_fini(longest);
	return -ENOMEM;
}

void dp_longest_fini(struct dp_longest *longest)
{
	free((void *)longest->segment);
	free((void *)longest->group);
	longest->segment = NULL;
	longest->group = NULL;
}

uint32_t dp_longest_get(const struct dp_longest *longest, uint32_t segment)
{
	assert(segment < longest->segments);
	return atomic_load(&longest->segment[segment]);
}

static void longest_raise_group(struct dp_longest *longest, uint32_t group,
				uint32_t blocks)
{
	uint64_t word = atomic_load(&longest->group[group]), to;

	do {
		uint32_t bound = word;

		to = (word - bound) + RAISE_ONE + (bound < blocks ? blocks : bound);
	} while (!atomic_compare_exchange_weak(&longest->group[group], &word, to));
}

void dp_longest_set(struct dp_longest *longest, uint32_t segment, uint32_t blocks)
{
	bool raises = blocks > dp_longest_get(longest, segment);

	atomic_store(&longest->segment[segment], blocks);
	if (raises)
		longest_raise_group(longest, segment >> GROUP_SHIFT, blocks);
}

static void longest_lower_group(struct dp_longest *longest, uint32_t group)
{
	uint64_t word = atomic_load(&longest->group[group]);
	uint32_t first = group << GROUP_SHIFT, most = 0;
	uint32_t end = dp_min(first + (1u << GROUP_SHIFT), longest->segments);

	for (uint32_t i = first; i < end; i++) {
		uint32_t bound = atomic_load(&longest->segment[i]);

		most = bound > most ? bound : most;
	}
	/* It fails if another thread has raised or lowered the word. */
	if (most < (uint32_t)word)
		atomic_compare_exchange_strong(&longest->group[group], &word,
					       (word & ~(RAISE_ONE - 1)) + most);
}

void dp_longest_lower(struct dp_longest *longest, uint32_t segment, uint32_t blocks)
{
	assert(blocks <= dp_longest_get(longest, segment));
	dp_longest_set(longest, segment, blocks);
	longest_lower_group(longest, segment >> GROUP_SHIFT);
}

/* The first segment in [from, to), all of one group, that may have such a run. */
static uint32_t longest_find_in(const struct dp_longest *longest, uint32_t from,
				uint32_t to, uint32_t blocks)
{
	while (from < to && dp_longest_get(longest, from) < blocks)
		from++;
	return from;
}

static uint32_t longest_group(const struct dp_longest *longest, uint32_t group)
{
	return atomic_load(&longest->group[group]);
}

uint32_t dp_longest_find(struct dp_longest *longest, uint32_t from, uint32_t to,
			 uint32_t blocks)
{
	assert(to <= longest->segments && blocks);
	while (from < to) {
		uint32_t group = from >> GROUP_SHIFT, found;
		uint32_t begin = group << GROUP_SHIFT;
		uint32_t end = dp_min(begin + (1u << GROUP_SHIFT), to);

		if (longest_group(longest, group) < blocks) {
			from = end;
			continue;
		}
		found = longest_find_in(longest, from, end, blocks);
		if (found < end)
			return found;
		if (from == begin)
			longest_lower_group(longest, group);
		from = end;
	}
	return to;
}

uint32_t dp_longest_of_all(const struct dp_longest *longest)
{
	uint32_t groups = longest_groups(longest), most = 0;

	for (uint32_t i = 0; i < groups; i++) {
		uint32_t bound = longest_group(longest, i);

		most = bound > most ? bound : most;
	}
	return most;
}
