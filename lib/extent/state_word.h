/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The 64-bit word that is the state of an extent.
 *
 *	 63          24 23     6    5          4        3   2       1          0
 *	+--------------+--------+---------+-----------+-------+------------+---------+
 *	|  generation  | count  | exclusive | writers | state | publishing | waiters |
 *	+--------------+--------+---------+-----------+-------+------------+---------+
 *
 * These functions have no side effects. state.c describes the states and how words
 * change.
 */
#ifndef DP_STATE_WORD_H
#define DP_STATE_WORD_H

#include <errno.h>
#include "util/util.h"

#define DP_GENERATION_BITS	40
#define DP_GENERATION_MASK	((1ull << DP_GENERATION_BITS) - 1)
#define DP_COUNT_MAX	((1u << 18) - 1)

enum dp_state {			/* as enum daxpin_state */
	DP_STATE_FREE,		/* 0, so that a page of zeroes is valid */
	DP_STATE_RESERVED,
	DP_STATE_LIVE,
	DP_STATE_RETIRED,
	DP_STATE_SLAB,			/* see dp_word_is_slab() */
};

#define DP_WORD_WAITERS		(1ull << 0)
#define DP_WORD_PUBLISHING	(1ull << 1)
#define DP_WORD_STATE_SHIFT	2
#define DP_WORD_STATE		(3ull << DP_WORD_STATE_SHIFT)
#define DP_WORD_WRITERS		(1ull << 4)
#define DP_WORD_EXCLUSIVE	(1ull << 5)
#define DP_WORD_COUNT_SHIFT	6
#define DP_WORD_COUNT_ONE	(1ull << DP_WORD_COUNT_SHIFT)
#define DP_WORD_COUNT		((uint64_t)DP_COUNT_MAX << DP_WORD_COUNT_SHIFT)
#define DP_WORD_GENERATION_SHIFT	24

static_assert(DP_WORD_GENERATION_SHIFT + DP_GENERATION_BITS == 64, "the word is full");

/* Flags of a hold, which set the same bits of the word. */
#define DP_HOLD_WRITE		DP_WORD_WRITERS
/* -EBUSY if the extent is held or claimed. */
#define DP_HOLD_EXCLUSIVE	DP_WORD_EXCLUSIVE

static inline enum dp_state dp_word_state(uint64_t word)
{
	return (word & DP_WORD_STATE) >> DP_WORD_STATE_SHIFT;
}

static inline uint32_t dp_word_count(uint64_t word)
{
	return (word & DP_WORD_COUNT) >> DP_WORD_COUNT_SHIFT;
}

static inline uint64_t dp_word_generation(uint64_t word)
{
	return word >> DP_WORD_GENERATION_SHIFT;
}

/* The word of an extent without holds and flags. */
static inline uint64_t dp_word_idle(uint64_t generation, enum dp_state state)
{
	return generation << DP_WORD_GENERATION_SHIFT |
	       (uint64_t)state << DP_WORD_STATE_SHIFT;
}

static inline uint64_t dp_word_with_state(uint64_t word, enum dp_state state)
{
	return (word & ~DP_WORD_STATE) | (uint64_t)state << DP_WORD_STATE_SHIFT;
}

/* The only valid FREE word of the next generation. */
static inline uint64_t dp_word_next_generation(uint64_t word)
{
	return dp_word_idle((dp_word_generation(word) + 1) & DP_GENERATION_MASK,
			    DP_STATE_FREE);
}

/* The word after a cancel or a retire: FREE, or RETIRED while there are holds. */
static inline uint64_t dp_word_retired(uint64_t word)
{
	if (!dp_word_count(word))
		return dp_word_next_generation(word);
	return dp_word_with_state(word & ~DP_WORD_PUBLISHING, DP_STATE_RETIRED);
}

static inline uint64_t dp_word_with_holds(uint64_t word, uint32_t count,
					  uint64_t flags)
{
	return (word + count * DP_WORD_COUNT_ONE) | flags;
}

/* The word after a drop of `count` holds, which it has. */
static inline uint64_t dp_word_without_holds(uint64_t word, uint32_t count)
{
	uint64_t left = word - count * DP_WORD_COUNT_ONE;

	/* Likely enough for a branch: a CAS would wait for a conditional move. */
	if (__builtin_expect_with_probability(dp_word_count(left), 0, 0.999))
		return left;
	if (dp_word_state(word) == DP_STATE_RETIRED)
		return dp_word_next_generation(word);
	return left & ~(DP_WORD_WRITERS | DP_WORD_EXCLUSIVE | DP_WORD_WAITERS);
}

/* RESERVED or LIVE: only they have the upper bit of the state set when 1 is added. */
static inline bool dp_word_is_usable(uint64_t word)
{
	static_assert(DP_STATE_FREE == 0 && DP_STATE_RESERVED == 1 &&
		      DP_STATE_LIVE == 2 && DP_STATE_RETIRED == 3, "of two bits");
	return (word + (1ull << DP_WORD_STATE_SHIFT)) & 2ull << DP_WORD_STATE_SHIFT;
}

/*
 * An extent that is a slab of small objects: it is RETIRED without a hold, which no
 * other extent is. So each hold, drop, claim and cancel refuses it, by tests that it
 * makes for other reasons. No program has a handle of this generation.
 */
static inline bool dp_word_is_slab(uint64_t word)
{
	return dp_word_state(word) == DP_STATE_RETIRED && !dp_word_count(word);
}

static inline uint64_t dp_word_slab(uint64_t generation)
{
	return dp_word_idle(generation, DP_STATE_RETIRED);
}

/* The error of a call whose generation has ended or is retired; otherwise 0. */
static inline int dp_word_refuses(uint64_t word, uint64_t generation)
{
	if (dp_word_generation(word) != generation)
		return -ESTALE;
	if (dp_word_is_usable(word))
		return 0;
	if (dp_word_is_slab(word))
		return -EINVAL;
	return dp_word_state(word) == DP_STATE_RETIRED ? -EALREADY : -ESTALE;
}

/* C7: is this hold refused, because it or an existing hold is exclusive? */
static inline bool dp_word_excludes(uint64_t word, uint32_t count, uint64_t flags)
{
	if (word & DP_WORD_EXCLUSIVE)
		return true;
	return flags & DP_HOLD_EXCLUSIVE &&
	       (dp_word_count(word) || count > 1 || word & DP_WORD_PUBLISHING);
}

/* The error of a hold; otherwise 0. */
static inline int dp_word_refuses_hold(uint64_t word, uint64_t generation,
				       uint32_t count, uint64_t flags)
{
	int ret = dp_word_refuses(word, generation);

	assert(count <= DP_COUNT_MAX);
	if (!ret && dp_word_excludes(word, count, flags))
		ret = -EBUSY;
	/* Compared where it is in the word: a hold takes fewer instructions. */
	if (!ret && (word & DP_WORD_COUNT) >
		    (uint64_t)(DP_COUNT_MAX - count) << DP_WORD_COUNT_SHIFT)
		ret = -EOVERFLOW;
	return ret;
}

#endif
