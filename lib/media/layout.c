/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encoding and checking of what stands on media. Pure functions.
 * Keeps D6: zero is never a valid word.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "media/layout.h"

#define WORD_BODY	(~(DP_WORD_CHECK_MASK << DP_WORD_CHECK_SHIFT))

uint64_t dp_layout_digest(const void *bytes, size_t size)
{
	return XXH3_64bits(bytes, size);
}

uint64_t dp_layout_seed(const uint8_t uuid[16])
{
	return XXH3_64bits(uuid, 16);
}

static uint64_t hash_pair(uint64_t seed, uint64_t a, uint64_t b)
{
	const uint64_t pair[2] = { a, b };

	return XXH3_64bits_withSeed(pair, sizeof(pair), seed);
}

static uint64_t word_check(uint64_t seed, uint64_t block, uint64_t raw)
{
	uint64_t check = hash_pair(seed, raw & WORD_BODY, block);

	return (check & DP_WORD_CHECK_MASK) << DP_WORD_CHECK_SHIFT;
}

uint64_t dp_word_encode(uint64_t seed, uint64_t block, struct dp_word word)
{
	uint64_t raw;

	assert(word.kind == DP_KIND_FREE || word.kind == DP_KIND_DATA);
	assert(word.blocks >= 1 && word.blocks <= 1u << DP_WORD_LENGTH_BITS);
	assert(word.kind != DP_KIND_FREE || word.blocks == 1);
	raw = (word.blocks - 1) |
	      (uint64_t)word.kind << DP_WORD_KIND_SHIFT |
	      (word.gen & DP_WORD_GEN_MASK) << DP_WORD_GEN_SHIFT;
	return raw | word_check(seed, block, raw);
}

bool dp_word_decode(uint64_t seed, uint64_t block, uint64_t raw,
		    struct dp_word *ret_word)
{
	uint64_t check = raw & ~WORD_BODY;
	uint32_t kind = raw >> DP_WORD_KIND_SHIFT & DP_WORD_KIND_MASK;

	if (check != word_check(seed, block, raw))
		return false;
	if (kind < DP_KIND_FREE || kind > DP_KIND_SLAB)
		return false;
	ret_word->kind = kind;
	ret_word->blocks = (raw & ((1u << DP_WORD_LENGTH_BITS) - 1)) + 1;
	if (kind == DP_KIND_SLAB)
		ret_word->blocks = (raw & ((1u << DP_SLAB_LENGTH_BITS) - 1)) + 1;
	ret_word->gen = raw >> DP_WORD_GEN_SHIFT & DP_WORD_GEN_MASK;
	return kind != DP_KIND_FREE || ret_word->blocks == 1;
}

void dp_super_seal(struct dp_super *super)
{
	super->check = XXH3_64bits(super, offsetof(struct dp_super, check));
	assert(dp_super_is_whole(super));
}

bool dp_super_is_whole(const struct dp_super *super)
{
	if (memcmp(super->magic, DP_MAGIC, sizeof(super->magic)))
		return false;
	return super->check ==
	       XXH3_64bits(super, offsetof(struct dp_super, check));
}

uint64_t dp_lane_check(uint64_t seed, uint32_t index, const struct dp_lane *lane)
{
	uint64_t header;

	assert(index < DP_LANES && lane->count <= DP_LANE_ENTRIES);
	header = XXH3_64bits_withSeed(lane, offsetof(struct dp_lane, check),
				      seed ^ index);
	return XXH3_64bits_withSeed(lane->entry,
				    lane->count * sizeof(lane->entry[0]),
				    header);
}

uint64_t dp_root_encode(uint64_t seed, uint32_t slot, uint64_t block,
			uint32_t gen)
{
	uint64_t body = block | (gen & DP_ROOT_GEN_MASK) << 32;

	assert(slot < DP_ROOTS && block <= UINT32_MAX);
	return body | (hash_pair(seed, body, slot) & 0xffff) << 48;
}

bool dp_root_decode(uint64_t seed, uint32_t slot, uint64_t raw,
		    struct dp_root_word *ret_word)
{
	uint64_t block = raw & UINT32_MAX;
	uint32_t gen = raw >> 32 & DP_ROOT_GEN_MASK;

	if (raw != dp_root_encode(seed, slot, block, gen) || (!block && gen))
		return false;
	*ret_word = (struct dp_root_word) { block, gen };
	return true;
}

uint64_t dp_root_name_check(uint64_t seed, uint32_t slot,
			    const char name[DP_ROOT_NAME_MAX])
{
	return XXH3_64bits_withSeed(name, DP_ROOT_NAME_MAX, seed ^ slot);
}
