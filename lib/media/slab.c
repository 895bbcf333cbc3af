/* SPDX-License-Identifier: BSD-3-Clause */
#include "media/slab.h"

#define SLAB_BITS	((1ull << DP_SLAB_WORD_OBJECTS) - 1)
#define SLAB_ONE	(1ull << DP_SLAB_WORD_OBJECTS)	/* no word is 0 (D6) */

static uint32_t slab_words(uint32_t objects)
{
	return (objects + DP_SLAB_WORD_OBJECTS - 1) / DP_SLAB_WORD_OBJECTS;
}

/* The first cache line behind the words. */
static uint32_t slab_first(uint32_t objects)
{
	uint32_t end = slab_words(objects) * sizeof(uint64_t);

	return (end + DP_CACHE_LINE - 1) / DP_CACHE_LINE * DP_CACHE_LINE;
}

struct dp_slab_shape dp_slab_shape(uint32_t class)
{
	uint32_t size = dp_slab_class_size(class);
	uint32_t objects = DP_SLAB_SIZE / size;

	while (slab_first(objects) + objects * size > DP_SLAB_SIZE)
		objects--;
	assert(objects <= DP_SLAB_OBJECTS_MAX &&
	       slab_words(objects) <= DP_SLAB_WORDS_MAX);
	return (struct dp_slab_shape) {
		.size = size, .objects = objects,
		.words = slab_words(objects), .first = slab_first(objects),
	};
}

uint64_t dp_slab_word_mask(const struct dp_slab_shape *shape, uint32_t word)
{
	uint32_t before = word * DP_SLAB_WORD_OBJECTS;

	assert(word < shape->words);
	if (shape->objects - before >= DP_SLAB_WORD_OBJECTS)
		return SLAB_BITS;
	return (1ull << (shape->objects - before)) - 1;
}

uint64_t dp_slab_encode(uint64_t seed, uint64_t addr, uint64_t bits)
{
	uint64_t body = bits | SLAB_ONE;

	assert(!(bits & ~SLAB_BITS));
	return body | dp_word_check(seed, addr / sizeof(uint64_t), body) << 48;
}

bool dp_slab_decode(uint64_t seed, uint64_t addr, uint64_t raw, uint64_t *ret_bits)
{
	*ret_bits = raw & SLAB_BITS;
	return raw == dp_slab_encode(seed, addr, *ret_bits);
}
