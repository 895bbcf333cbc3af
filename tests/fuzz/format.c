/* SPDX-License-Identifier: BSD-3-Clause */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "format.h"

static uint64_t pair(uint64_t seed, uint64_t a, uint64_t b)
{
	const uint64_t both[2] = { a, b };

	return XXH3_64bits_withSeed(both, 16, seed);
}

uint64_t format_seed(const uint8_t uuid[16])
{
	return XXH3_64bits(uuid, 16);
}

uint64_t format_super_check(const struct dp_super *super)
{
	return XXH3_64bits(super, 2040);
}

uint64_t format_set_check(const struct dp_super *super)
{
	return XXH3_64bits((const char *)super + 2048, 2048);
}

uint64_t format_meta_size(uint64_t segment_size)
{
	return segment_size > 512 << 20 ? 4 << 20 : 2 << 20;
}

uint64_t format_table_offset(uint64_t segment_size)
{
	return segment_size > 512 << 20 ? 0x200000 : 0xf0000;
}

uint64_t format_word_offset(uint64_t segment_size, uint64_t block)
{
	return format_table_offset(segment_size) + block / 512 * 4096 +
	       (block % 64 * 8 + block % 512 / 64) * 8;
}

/* The 16 bits of a word of the table, of the page bitmap or of a slab. */
static uint64_t mix(uint64_t seed, uint64_t block, uint64_t rest)
{
	uint64_t mixed = (rest ^ seed) + block * 0x9e3779b97f4a7c15u;

	for (unsigned int round = 0; round < 2; round++) {
		mixed ^= mixed >> 32;
		mixed *= 0xd6e8feb86659fd93u;
	}
	return mixed >> 48;
}

uint64_t format_word_sealed(uint64_t seed, uint64_t block, uint64_t word)
{
	word &= ~0xffff00000ull;
	return word | mix(seed, block, word) << 20;
}

uint64_t format_pages_sealed(uint64_t seed, uint64_t block, uint64_t word)
{
	word &= 0xffffffffffffull;
	return word | mix(seed, block, word) << 48;
}

uint64_t format_slab_sealed(uint64_t seed, uint64_t addr, uint64_t word)
{
	word &= 0xffffffffffffull;
	return word | mix(seed, addr / 8, word) << 48;
}

uint64_t format_root_sealed(uint64_t seed, uint32_t slot, uint64_t word)
{
	word &= 0xffffffffffffull;
	return word | pair(seed, word, slot) << 48;
}

uint64_t format_name_check(uint64_t seed, uint32_t slot, const char name[48])
{
	return XXH3_64bits_withSeed(name, 48, seed ^ slot);
}

uint64_t format_lane_check(uint64_t seed, uint32_t index,
			   const struct dp_lane *lane)
{
	uint64_t count = lane->count < 248 ? lane->count : 248;

	return XXH3_64bits_withSeed((const char *)lane + 128, count * 16,
				    XXH3_64bits_withSeed(lane, 24,
							 seed ^ index));
}
