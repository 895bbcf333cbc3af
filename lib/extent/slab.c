/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of a slab. objects.c begins with the protocol by which they change. */
#include <errno.h>
#include <stdlib.h>
#include "extent/slab.h"

static uint32_t slab_words_of_bits(uint32_t objects)
{
	return (objects + DP_OBJECTS_PER_BITS - 1) / DP_OBJECTS_PER_BITS;
}

/* The inverse of an odd number modulo 2^64. It is its own inverse modulo 8, and each
 * step doubles the number of bits. */
static uint64_t slab_inverse(uint64_t odd)
{
	uint64_t inverse = odd;

	for (uint32_t bits = 3; bits < 64; bits *= 2)
		inverse *= 2 - odd * inverse;
	assert(odd * inverse == 1);
	return inverse;
}

/* The words are after the struct. */
struct dp_slab *dp_slab_make(uint32_t class, const struct dp_object_class *of)
{
	uint32_t words = (of->count + 31) / 32;
	uint64_t size = sizeof(struct dp_slab) +
			(words + slab_words_of_bits(of->count)) * sizeof(uint64_t);
	struct dp_slab *slab = aligned_alloc(DP_CACHE_LINE,
					     dp_round_up(size, DP_CACHE_LINE));

	if (!slab)
		return NULL;
	memset(slab, 0, size);
	slab->class = class;
	slab->size = of->size;
	slab->half_size = of->size / 2;
	slab->count = of->count;
	slab->first = of->first;
	slab->shift = __builtin_ctz(of->size);
	slab->inverse = slab_inverse(of->size >> slab->shift);
	slab->words = words;
	slab->bits = slab->state + words;
	return slab;
}

void dp_slab_begin(struct dp_slab *slab, uint64_t addr)
{
	assert(dp_slab_place(slab) == DP_SLAB_NEW && !dp_slab_roots(slab));
	atomic_store_explicit(&slab->begin, addr + slab->first, memory_order_relaxed);
	dp_slab_clear(slab);
	for (uint32_t i = 0; i < slab_words_of_bits(slab->count); i++)
		atomic_store_explicit(&slab->bits[i], 0, memory_order_relaxed);
	atomic_store_explicit(&slab->hint, 0, memory_order_relaxed);
	atomic_fetch_and(&slab->place, ~DP_SLAB_HAS_BAD);
}

void dp_slab_clear(struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab->words; i++)
		atomic_store_explicit(&slab->state[i], dp_slab_empty_word(slab, i),
				      memory_order_relaxed);
}

void dp_slab_set_place(struct dp_slab *slab, enum dp_slab_place place)
{
	/* A full fence on all processors, see objects.c. */
	atomic_fetch_xor(&slab->place, dp_slab_place(slab) ^ place);
	dp_fence_after_rmw();
}

/* ----------------------------------------------------------------- bits on media */

bool dp_slab_has_bits(const struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab_words_of_bits(slab->count); i++)
		if (atomic_load_explicit(&slab->bits[i], memory_order_relaxed))
			return true;
	return false;
}

uint32_t dp_slab_live_count(const struct dp_slab *slab)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < slab_words_of_bits(slab->count); i++)
		count += __builtin_popcountll(DP_SLAB_BITS &
				atomic_load_explicit(&slab->bits[i],
						     memory_order_relaxed));
	return count;
}

/* Bit i of the lower half becomes bit 2 * i. */
static uint64_t slab_spread(uint64_t bits)
{
	bits = (bits | bits << 16) & 0x0000ffff0000ffff;
	bits = (bits | bits << 8) & 0x00ff00ff00ff00ff;
	bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0f;
	bits = (bits | bits << 2) & 0x3333333333333333;
	return (bits | bits << 1) & 0x5555555555555555;
}

/* No other thread knows the slab, so no locked operation is needed. */
void dp_slab_restore(struct dp_slab *slab, uint32_t word, uint64_t bits)
{
	uint32_t index = word * DP_OBJECTS_PER_BITS;

	assert(!bits || index + 63 - __builtin_clzll(bits) < slab->count);
	atomic_store_explicit(&slab->bits[word], bits, memory_order_relaxed);
	while (bits) {
		uint32_t at = index / 32, first = index % 32;
		uint64_t live = slab_spread((uint32_t)(bits << first));

		static_assert(DP_OBJECT_LIVE == 2, "the upper bit of a state");
		atomic_store_explicit(&slab->state[at], live << 1 |
				      dp_slab_read_states(slab, at),
				      memory_order_relaxed);
		bits >>= 32 - first;
		index += 32 - first;
	}
}

/* ------------------------------------------------------------------------ states */

bool dp_slab_seal(struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab->words; i++) {
		uint64_t word = dp_slab_empty_word(slab, i);

		if (atomic_compare_exchange_strong(&slab->state[i], &word, ~0ull))
			continue;
		while (i--)
			atomic_store(&slab->state[i], dp_slab_empty_word(slab, i));
		return false;
	}
	return true;
}

uint32_t dp_slab_free_count(const struct dp_slab *slab)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < slab->words; i++) {
		uint64_t ones = dp_object_free_ones(dp_slab_state_word(slab, i));

		count += __builtin_popcountll(ones);
	}
	return count;
}

bool dp_slab_is_full(const struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab->words; i++)
		if (dp_object_free_ones(dp_slab_state_word(slab, i)))
			return false;
	return true;
}

bool dp_slab_reserve(struct dp_slab *slab, uint64_t *ret_addr)
{
	uint32_t hint = atomic_load_explicit(&slab->hint, memory_order_relaxed);

	for (uint32_t i = 0; i < slab->words; i++) {
		uint32_t at = hint + i < slab->words ? hint + i :
						       hint + i - slab->words;

		if (!dp_slab_pop(slab, at, ret_addr))
			continue;
		atomic_store_explicit(&slab->hint, at, memory_order_relaxed);
		return true;
	}
	return false;
}

/* The error of a change from `from`, if the object has another state. */
static int object_refuses(enum dp_object_state is, enum dp_object_state from)
{
	if (is == from)
		return 0;
	if (is == DP_OBJECT_FREE)
		return -ESTALE;
	return is == DP_OBJECT_CLAIMED ? -EBUSY : -EINVAL;
}

int dp_object_change(struct dp_object object, enum dp_object_state from,
		     enum dp_object_state to)
{
	_Atomic uint64_t *state = &object.slab->state[object.index / 32];
	uint32_t shift = dp_object_state_shift(object);
	uint64_t word = atomic_load_explicit(state, memory_order_relaxed), now;
	int ret;

	do {
		ret = object_refuses(word >> shift & 3, from);
		if (ret)
			return ret;
		now = word ^ (uint64_t)(from ^ to) << shift;
	} while (!atomic_compare_exchange_weak(state, &word, now));
	dp_fence_after_rmw();
	return 0;
}

int dp_object_claim(struct dp_object object, enum dp_object_state from)
{
	assert(from == DP_OBJECT_RESERVED || from == DP_OBJECT_LIVE);
	return dp_object_change(object, from, DP_OBJECT_CLAIMED);
}

void dp_object_settle(struct dp_object object, enum dp_object_state to)
{
	int ret = dp_object_change(object, DP_OBJECT_CLAIMED, to);

	assert(!ret && (to == DP_OBJECT_RESERVED || to == DP_OBJECT_LIVE));
	(void)ret;
}

