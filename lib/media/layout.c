/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Encoding and checking of what is on media. Pure functions.
 * Keeps D6: a word of all zeroes or all ones is never valid.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "media/layout.h"

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

bool dp_word_unpack(uint64_t raw, struct dp_word *ret_word)
{
	uint32_t kind = raw >> DP_WORD_KIND_SHIFT & DP_WORD_KIND_MASK;

	if (kind == DP_KIND_INVALID || raw == UINT64_MAX)
		return false;
	ret_word->kind = kind;
	ret_word->blocks = (raw & ((1u << DP_WORD_LENGTH_BITS) - 1)) + 1;
	ret_word->gen = raw >> DP_WORD_GEN_SHIFT & DP_WORD_GEN_MASK;
	ret_word->class = 0;
	if (kind != DP_KIND_SLAB)
		return kind != DP_KIND_FREE || ret_word->blocks == 1;
	ret_word->class = (ret_word->blocks - 1) >> DP_SLAB_LENGTH_BITS;
	ret_word->blocks = (raw & ((1u << DP_SLAB_LENGTH_BITS) - 1)) + 1;
	return ret_word->blocks == DP_SLAB_BLOCKS &&
	       ret_word->class < DP_SLAB_CLASSES;
}

bool dp_word_decode(uint64_t seed, uint64_t block, uint64_t raw,
		    struct dp_word *ret_word)
{
	uint64_t check = raw & ~DP_WORD_BODY;

	if (check != dp_word_check_field(seed, block, raw))
		return false;
	return dp_word_unpack(raw, ret_word);
}

/* The loops follow the order of the words on media, see dp_word_offset(). The result is
 * local, so that it can be in registers. */
__attribute__((always_inline))
static inline void words_find(uint64_t seed, uint64_t first,
			      const uint64_t page[DP_PAGE_WORDS],
			      uint64_t ret_other[DP_PAGE_WORDS / 64])
{
	const uint64_t body = (uint64_t)DP_KIND_FREE << DP_WORD_KIND_SHIFT;
	uint64_t other[DP_PAGE_WORDS / 64] = { 0 };

	for (uint32_t line = 0; line < 64; line++)
		for (uint32_t i = 0; i < DP_PAGE_WORDS / 64; i++) {
			uint64_t raw = page[line * 8 + i];
			uint64_t block = first + i * 64 + line;

			other[i] |= (uint64_t)(raw != (body |
				dp_word_check_field(seed, block, body))) << line;
		}
	memcpy(ret_other, other, sizeof(other));
}

void dp_words_find_plain(uint64_t seed, uint64_t first,
			 const uint64_t page[DP_PAGE_WORDS],
			 uint64_t ret_other[DP_PAGE_WORDS / 64])
{
	words_find(seed, first, page, ret_other);
}

#if defined(__x86_64__)
/* The compiler makes one multiplication of eight: 0.6 ns a word instead of 1.4. */
__attribute__((target("avx512dq")))
static void words_find_wide(uint64_t seed, uint64_t first,
			    const uint64_t page[DP_PAGE_WORDS],
			    uint64_t ret_other[DP_PAGE_WORDS / 64])
{
	words_find(seed, first, page, ret_other);
}

static bool words_have_wide(void)
{
	return __builtin_cpu_supports("avx512dq");
}
#else
#define words_find_wide		dp_words_find_plain

static bool words_have_wide(void)
{
	return false;
}
#endif

void dp_words_find(uint64_t seed, uint64_t first,
		   const uint64_t page[DP_PAGE_WORDS],
		   uint64_t ret_other[DP_PAGE_WORDS / 64])
{
	if (words_have_wide())
		words_find_wide(seed, first, page, ret_other);
	else
		dp_words_find_plain(seed, first, page, ret_other);
}

#define PAGES_BITS	((1ull << DP_PAGES_WORD_BITS) - 1)
#define PAGES_ONE	(1ull << DP_PAGES_WORD_BITS)	/* so that no word is 0 (D6) */

uint64_t dp_pages_encode(uint64_t seed, uint64_t block, uint64_t bits)
{
	uint64_t body = bits | PAGES_ONE;

	assert(!(bits & ~PAGES_BITS));
	return body | dp_word_check(seed, block, body) << 48;
}

bool dp_pages_decode(uint64_t seed, uint64_t block, uint64_t raw,
		     uint64_t *ret_bits)
{
	*ret_bits = raw & PAGES_BITS;
	return raw == dp_pages_encode(seed, block, *ret_bits);
}

void dp_super_seal(struct dp_super *super)
{
	super->set_check = XXH3_64bits(super->segment_set,
				       sizeof(super->segment_set));
	super->check = XXH3_64bits(super, offsetof(struct dp_super, check));
	assert(dp_super_is_whole(super));
}

/* `check` covers the first 2048 bytes in every version. The segment set behind them is
 * covered by set_check, which is tested in this version only. */
bool dp_super_is_whole(const struct dp_super *super)
{
	if (memcmp(super->magic, DP_MAGIC, sizeof(super->magic)) ||
	    super->check != XXH3_64bits(super, offsetof(struct dp_super, check)))
		return false;
	return super->version != DP_VERSION ||
	       super->set_check == XXH3_64bits(super->segment_set,
					       sizeof(super->segment_set));
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

uint64_t dp_root_encode(uint64_t seed, uint32_t slot, struct dp_root_word word)
{
	uint64_t body = dp_root_pack(word);

	assert(slot < DP_ROOTS && word.block <= UINT32_MAX);
	assert(!word.object || (!(word.object & 15) && !word.gen &&
				word.object >> DP_BLOCK_SHIFT == word.block));
	return body | (hash_pair(seed, body, slot) & 0xffff) << 48;
}

bool dp_root_decode(uint64_t seed, uint32_t slot, uint64_t raw,
		    struct dp_root_word *ret_word)
{
	struct dp_root_word word = dp_root_unpack(raw);

	/* An object in block 0 would be in the superblock. */
	if (!word.block && (word.gen || raw & DP_ROOT_OBJECT))
		return false;
	*ret_word = word;
	return raw == dp_root_encode(seed, slot, word);
}

uint64_t dp_root_name_check(uint64_t seed, uint32_t slot,
			    const char name[DP_ROOT_NAME_MAX])
{
	return XXH3_64bits_withSeed(name, DP_ROOT_NAME_MAX, seed ^ slot);
}
