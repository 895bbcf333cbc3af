/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format on media, bit by bit, as docs/format.md describes it. Golden values are
 * written out if a change of them would be a new format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "media/layout.h"

#define BLOCKS_MAX	((uint32_t)(DP_SEGMENT_SIZE_MAX >> DP_BLOCK_SHIFT))
#define POOL_BLOCKS_MAX	((uint64_t)DP_SEGMENTS_MAX * BLOCKS_MAX)

static const uint8_t uuid_a[16] = "one pool's uuid";
static const uint8_t uuid_b[16] = "another's, like";

static uint64_t seed(void)
{
	return dp_layout_seed(uuid_a);
}

/* The seed is fixed, so that a failure repeats. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct dp_root_word a_root(uint64_t block, uint32_t gen)
{
	return (struct dp_root_word) { block, gen, 0 };
}

/* ------------------------------------------------------- descriptor words */

static void check_round_trip(uint64_t block, struct dp_word word)
{
	struct dp_word back = { DP_KIND_INVALID, 0, 0, 0 };
	uint64_t raw = dp_word_encode(seed(), block, word);

	assert_true(raw);
	assert_true(dp_word_decode(seed(), block, raw, &back));
	assert_int_equal(back.kind, word.kind);
	assert_int_equal(back.blocks, word.blocks);
	assert_int_equal(back.gen, word.gen);
	assert_int_equal(back.class, word.class);
}

static void words_with_extreme_fields_decode_to_themselves(void **state)
{
	static const uint64_t block[] = {
		DP_CHUNK_BLOCKS, BLOCKS_MAX - 1, POOL_BLOCKS_MAX - 1
	};
	static const uint32_t blocks[] = {
		1, 2, BLOCKS_MAX - DP_CHUNK_BLOCKS, 1u << DP_WORD_LENGTH_BITS
	};
	static const uint32_t gen[] = { 0, 1, DP_WORD_GEN_MASK };

	(void)state;
	for (int b = 0; b < 3; b++)
		for (int g = 0; g < 3; g++) {
			check_round_trip(block[b], (struct dp_word) {
				DP_KIND_FREE, 1, gen[g], 0 });
			for (int n = 0; n < 4; n++)
				check_round_trip(block[b], (struct dp_word) {
					DP_KIND_DATA, blocks[n], gen[g], 0 });
			for (uint32_t c = 0; c < DP_SLAB_CLASSES; c++)
				check_round_trip(block[b], (struct dp_word) {
					DP_KIND_SLAB, DP_SLAB_BLOCKS, gen[g], c });
		}
}

static void word_fields_are_at_the_bits_of_the_format(void **state)
{
	struct dp_word word = { DP_KIND_DATA, 0x3ffff + 1, 0, 0 };
	uint64_t raw = dp_word_encode(seed(), 600, word);

	(void)state;
	assert_int_equal(raw & 0x3ffff, 0x3ffff);
	assert_int_equal(raw >> 18 & 3, DP_KIND_DATA);
	assert_int_equal(raw >> 36, 0);
	word = (struct dp_word) { DP_KIND_FREE, 1, 0xabcdef1, 0 };
	raw = dp_word_encode(seed(), 600, word);
	assert_int_equal(raw & 0x3ffff, 0);
	assert_int_equal(raw >> 18 & 3, DP_KIND_FREE);
	assert_int_equal(raw >> 36, 0xabcdef1);
}

static void word_drops_the_generation_above_28_bits(void **state)
{
	struct dp_word word = { DP_KIND_DATA, 7, 0xf0000005, 0 }, back;
	uint64_t raw = dp_word_encode(seed(), 600, word);

	(void)state;
	assert_true(dp_word_decode(seed(), 600, raw, &back));
	assert_int_equal(back.gen, 5);
	assert_int_equal(back.blocks, 7);
}

/* D6: a wiped page is detected, in any pool and at any block. */
static void word_of_zero_is_never_valid(void **state)
{
	uint64_t random = 0x9e3779b97f4a7c15;
	struct dp_word word;

	(void)state;
	for (uint64_t block = 0; block < BLOCKS_MAX; block++)
		assert_false(dp_word_decode(seed(), block, 0, &word));
	for (int i = 0; i < 100000; i++)
		assert_false(dp_word_decode(next_random(&random),
					    random % POOL_BLOCKS_MAX, 0,
					    &word));
}

static void word_of_ones_is_never_valid(void **state)
{
	struct dp_word word;

	(void)state;
	for (uint64_t block = 0; block < BLOCKS_MAX; block++)
		assert_false(dp_word_decode(seed(), block, UINT64_MAX, &word));
}

/*
 * A check of 16 bits accepts one wrong word in 65536. These are fixed words that it
 * rejects.
 */
static void a_word_of_another_block_is_invalid(void **state)
{
	struct dp_word word = { DP_KIND_DATA, 3, 9, 0 }, back;
	uint64_t raw = dp_word_encode(seed(), 700, word);
	int passed = 0;

	(void)state;
	assert_false(dp_word_decode(seed(), 699, raw, &back));
	assert_false(dp_word_decode(seed(), 701, raw, &back));
	assert_false(dp_word_decode(seed(), 700 + BLOCKS_MAX, raw, &back));
	for (uint64_t b = 0; b < BLOCKS_MAX; b++)
		passed += dp_word_decode(seed(), b, raw, &back);
	assert_in_range(passed, 1, 1 + 16);
}

static void a_word_of_another_pool_is_invalid(void **state)
{
	struct dp_word word = { DP_KIND_FREE, 1, 0, 0 }, back;
	uint64_t other = dp_layout_seed(uuid_b);
	int passed = 0;

	(void)state;
	assert_int_not_equal(seed(), other);
	for (uint64_t b = 0; b < BLOCKS_MAX; b++)
		passed += dp_word_decode(other, b,
					 dp_word_encode(seed(), b, word),
					 &back);
	assert_in_range(passed, 0, 16);
}

static void a_word_with_a_flipped_bit_is_invalid(void **state)
{
	struct dp_word word = { DP_KIND_DATA, 129, 77, 0 }, back;
	uint64_t raw = dp_word_encode(seed(), 1234, word);

	(void)state;
	for (int bit = 0; bit < 64; bit++)
		assert_false(dp_word_decode(seed(), 1234, raw ^ 1ull << bit,
					    &back));
}

/*
 * Computes the right check for an invalid body, as a faulty writer could have stored
 * it.
 */
static uint64_t with_check(uint64_t block, uint64_t body, bool *ret_found)
{
	struct dp_word word;

	*ret_found = true;
	for (uint64_t check = 0; check <= 0xffff; check++)
		if (dp_word_decode(seed(), block, body | check << 20, &word))
			return body | check << 20;
	*ret_found = false;
	return 0;
}

static void a_word_of_an_unknown_kind_is_invalid(void **state)
{
	bool found;

	(void)state;
	for (uint64_t kind = 0; kind < 4; kind++) {
		uint64_t length = kind == DP_KIND_SLAB ? DP_SLAB_BLOCKS : 1;

		with_check(600, kind << DP_WORD_KIND_SHIFT | (length - 1), &found);
		assert_int_equal(found, kind >= 1);
	}
}

static void word_that_is_free_has_one_block(void **state)
{
	bool found;

	(void)state;
	with_check(600, (uint64_t)DP_KIND_FREE << DP_WORD_KIND_SHIFT | 1,
		   &found);
	assert_false(found);
}

static void word_of_a_slab_has_its_class_beside_the_length(void **state)
{
	struct dp_word word = { DP_KIND_SLAB, DP_SLAB_BLOCKS, 7, 37 };
	uint64_t raw = dp_word_encode(seed(), 600, word);

	(void)state;
	assert_int_equal(raw & 0xfff, 15);
	assert_int_equal(raw >> 12 & 63, 37);
	assert_int_equal(raw >> 18 & 3, 3);
}

static void word_of_a_slab_has_a_class_and_sixteen_blocks(void **state)
{
	const uint64_t slab = (uint64_t)DP_KIND_SLAB << DP_WORD_KIND_SHIFT;
	bool found;

	(void)state;
	with_check(600, slab | 39ull << 12 | 15, &found);
	assert_true(found);
	for (uint64_t class = 40; class < 64; class++) {
		with_check(600, slab | class << 12 | 15, &found);
		assert_false(found);
	}
	for (uint64_t length = 0; length < 4096; length += length < 32 ? 1 : 509) {
		with_check(600, slab | 5ull << 12 | length, &found);
		assert_int_equal(found, length == 15);
	}
}

/* ------------------------------------------------------------ the table */

static void transposition_gives_each_block_a_word_of_its_own(void **state)
{
	uint8_t *seen = calloc(BLOCKS_MAX, 1);

	(void)state;
	assert_non_null(seen);
	for (uint64_t b = 0; b < BLOCKS_MAX; b++) {
		uint64_t offset = dp_word_offset(b);

		assert_int_equal(offset % 8, 0);
		assert_true(offset / 8 < BLOCKS_MAX);
		assert_false(seen[offset / 8]);
		seen[offset / 8] = 1;
	}
	free(seen);
}

static void transposition_stays_inside_the_page(void **state)
{
	(void)state;
	for (uint64_t b = 0; b < BLOCKS_MAX; b++)
		assert_int_equal(dp_word_offset(b) / DP_BLOCK_SIZE, b / 512);
}

static void neighbours_never_share_a_cache_line(void **state)
{
	(void)state;
	for (uint64_t b = 0; b + 1 < BLOCKS_MAX; b++)
		assert_int_not_equal(dp_word_offset(b) / DP_CACHE_LINE,
				     dp_word_offset(b + 1) / DP_CACHE_LINE);
}

static void transposition_matches_the_format(void **state)
{
	(void)state;
	assert_int_equal(dp_word_offset(0), 0);
	assert_int_equal(dp_word_offset(1), 64);
	assert_int_equal(dp_word_offset(63), 63 * 64);
	assert_int_equal(dp_word_offset(64), 8);
	assert_int_equal(dp_word_offset(511), 4096 - 8);
	assert_int_equal(dp_word_offset(512), 4096);
	assert_int_equal(dp_word_offset(513), 4096 + 64);
}

/* Golden words of docs/format.md. */
static void words_match_the_golden_values(void **state)
{
	uint8_t uuid[16];
	uint64_t format;

	(void)state;
	for (int i = 0; i < 16; i++)
		uuid[i] = i;
	format = dp_layout_seed(uuid);
	assert_int_equal(format, 0x8355e3a6f61770db);
	assert_int_equal(dp_word_encode(format, 512,
					(struct dp_word) { DP_KIND_FREE, 1, 0, 0 }),
			 0x0000000c87f40000);
	assert_int_equal(dp_word_encode(format, 513,
					(struct dp_word) { DP_KIND_DATA, 2, 5, 0 }),
			 0x000000524d080001);
	assert_int_equal(dp_pages_encode(format, 0, 0), 0x192f800000000000);
	assert_int_equal(dp_pages_encode(format, 0, 2), 0x0d25800000000002);
	assert_int_equal(dp_pages_encode(format, 65536 + 1, 3),
			 0x088b800000000003);
	assert_int_equal(dp_root_encode(format, 3, a_root(513, 5)),
			 0xba1e000500000201);
	assert_int_equal(dp_root_encode(format, 3, dp_root_of_object(0x200040)),
			 0x849d800000020004);
	assert_int_equal(dp_word_encode(format, 513, (struct dp_word) {
				 DP_KIND_SLAB, 16, 5, 37 }),
			 0x00000057373e500f);
}

/* On this CPU, and as on one without wide multiplications. */
static void find_words(uint64_t first, const uint64_t *page, uint64_t *ret_other)
{
	uint64_t plain[DP_PAGE_WORDS / 64];

	dp_words_find(seed(), first, page, ret_other);
	dp_words_find_plain(seed(), first, page, plain);
	assert_memory_equal(plain, ret_other, sizeof(plain));
}

/* A scan skips the words that decode as FREE with generation 0, and no others. */
static void a_scan_finds_every_word_that_is_not_free(void **state)
{
	const struct dp_word free_block = { DP_KIND_FREE, 1, 0, 0 };
	uint64_t page[DP_PAGE_WORDS], other[DP_PAGE_WORDS / 64], first = 1024;
	const uint64_t odd[] = {
		0, ~0ull, dp_word_encode(seed(), first + 600, free_block),
		dp_word_encode(seed(), first, (struct dp_word) {
			DP_KIND_FREE, 1, 1, 0 }),
	};

	(void)state;
	for (uint32_t b = 0; b < DP_PAGE_WORDS; b++)
		page[dp_word_offset(b) / 8] =
			dp_word_encode(seed(), first + b, free_block);
	find_words(first, page, other);
	for (uint32_t i = 0; i < DP_PAGE_WORDS / 64; i++)
		assert_int_equal(other[i], 0);
	for (uint32_t b = 0; b < DP_PAGE_WORDS; b++) {
		uint64_t *word = &page[dp_word_offset(b) / 8], was = *word;

		*word = odd[b % 4];
		find_words(first, page, other);
		for (uint32_t i = 0; i < DP_PAGE_WORDS / 64; i++)
			assert_int_equal(other[i],
					 i == b / 64 ? 1ull << b % 64 : 0);
		*word = was;
	}
}

/* Each structure ends at or before the start of the next. */
static void metadata_structures_do_not_overlap(void **state)
{
	uint64_t small = DP_SMALL_SEGMENT_MAX, large = 2 * small;

	(void)state;
	assert_true(DP_SUPER_OFFSET + DP_SUPER_SIZE <= DP_PAGES_OFFSET);
	assert_true(DP_PAGES_OFFSET + DP_BLOCK_SIZE <= DP_ROOTS_OFFSET);
	assert_true(DP_LANES_END <= DP_TABLE_OFFSET);
	assert_int_equal(dp_layout_table_offset(small), DP_TABLE_OFFSET);
	assert_int_equal(DP_TABLE_OFFSET + small / DP_BLOCK_SIZE * 8,
			 DP_COPY_OFFSET);
	assert_true(DP_COPY_OFFSET + DP_SUPER_SIZE <=
		    dp_layout_meta_size(small));
	assert_int_equal(dp_layout_table_offset(large), DP_CHUNK_SIZE);
	assert_int_equal(dp_layout_table_offset(large) +
			 large / DP_BLOCK_SIZE * 8, dp_layout_meta_size(large));
}

/* ------------------------------------------------------------ page bitmap */

static void page_words_decode_to_themselves(void **state)
{
	uint64_t bits;

	(void)state;
	for (uint32_t i = 0; i < DP_PAGES_WORD_BITS; i++) {
		uint64_t raw = dp_pages_encode(seed(), 512 * i, 1ull << i);

		assert_true(dp_pages_decode(seed(), 512 * i, raw, &bits));
		assert_int_equal(bits, 1ull << i);
		assert_int_equal(raw >> 47 & 1, 1);
		assert_false(dp_pages_decode(seed(), 512 * i + 1, raw, &bits));
		for (int bit = 0; bit < 64; bit++)
			assert_false(dp_pages_decode(seed(), 512 * i,
						     raw ^ 1ull << bit, &bits));
	}
}

static void a_page_word_of_zero_is_never_valid(void **state)
{
	uint64_t random = 1, bits;

	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_false(dp_pages_decode(next_random(&random),
					     random % POOL_BLOCKS_MAX, 0,
					     &bits));
}

/* ------------------------------------------------------------- superblock */

static struct dp_super a_super(void)
{
	struct dp_super super = {
		.magic = DP_MAGIC,
		.version = DP_VERSION,
		.sequence = 7,
		.segment_size = DP_SEGMENT_SIZE_MIN,
		.size = DP_SEGMENT_SIZE_MIN,
	};

	memcpy(super.uuid, uuid_a, sizeof(super.uuid));
	return super;
}

static void a_sealed_superblock_is_valid(void **state)
{
	struct dp_super super = a_super();

	(void)state;
	assert_false(dp_super_is_whole(&super));
	dp_super_seal(&super);
	assert_true(dp_super_is_whole(&super));
}

static void a_superblock_with_any_byte_changed_is_invalid(void **state)
{
	struct dp_super super = a_super();
	uint8_t *bytes = (uint8_t *)&super;

	(void)state;
	dp_super_seal(&super);
	for (size_t i = 0; i < sizeof(super); i++) {
		bytes[i] ^= 0x10;
		assert_false(dp_super_is_whole(&super));
		bytes[i] ^= 0x10;
	}
	assert_true(dp_super_is_whole(&super));
}

static void a_superblock_of_zeroes_or_ones_is_invalid(void **state)
{
	struct dp_super super;

	(void)state;
	memset(&super, 0, sizeof(super));
	assert_false(dp_super_is_whole(&super));
	memset(&super, 0xff, sizeof(super));
	assert_false(dp_super_is_whole(&super));
}

static void the_magic_detects_a_text_mode_copy(void **state)
{
	(void)state;
	assert_int_equal(sizeof(DP_MAGIC) - 1, 8);
	assert_memory_equal(DP_MAGIC, "DAXPIN\r\n", 8);
}

/* ---------------------------------------------------------- roots and lanes */

static void root_word_has_block_generation_and_check(void **state)
{
	uint64_t word = dp_root_encode(seed(), 5, a_root(0x89abcdef, 0x765c321));
	struct dp_root_word back;

	(void)state;
	assert_int_equal(word & UINT32_MAX, 0x89abcdef);
	assert_int_equal(word >> 32 & 0xffff, 0x4321);
	assert_int_equal(word, dp_root_encode(seed(), 5,
					      a_root(0x89abcdef, 0x4321)));
	assert_true(dp_root_decode(seed(), 5, word, &back));
	assert_int_equal(back.block, 0x89abcdef);
	assert_int_equal(back.gen, 0x4321);
	assert_int_equal(back.object, 0);
}

static void root_word_of_an_object_has_its_address_and_bit_47(void **state)
{
	const uint64_t addr[] = { 0x200040, 0xffffffffff0, 0x1000 };
	struct dp_root_word back;

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint64_t word = dp_root_encode(seed(), 5,
					       dp_root_of_object(addr[i]));

		assert_int_equal(word & 0xffffffffffff, addr[i] / 16 | 1ull << 47);
		assert_true(dp_root_decode(seed(), 5, word, &back));
		assert_int_equal(back.object, addr[i]);
		assert_int_equal(back.block, addr[i] / 4096);
		assert_int_equal(back.gen, 0);
		assert_false(dp_root_decode(seed(), 6, word, &back));
		assert_false(dp_root_decode(seed(), 5, word ^ 1ull << 47, &back));
	}
}

/* Find a check for which the word passes; ret_found is false if there is none. */
static void try_root(uint64_t body, bool *ret_found)
{
	struct dp_root_word word;

	*ret_found = false;
	for (uint64_t check = 0; check < 65536; check++)
		*ret_found |= dp_root_decode(seed(), 5, body | check << 48, &word);
}

static void a_root_word_that_names_no_object_is_invalid(void **state)
{
	bool found;

	(void)state;
	try_root(1ull << 47 | 0x20004, &found);
	assert_true(found);
	for (int bit = 40; bit < 47; bit++) {
		try_root(1ull << 47 | 0x20004 | 1ull << bit, &found);
		assert_false(found);
	}
	/* The last line of block 0, and address 0. */
	try_root(1ull << 47 | 0xff, &found);
	assert_false(found);
	try_root(1ull << 47, &found);
	assert_false(found);
}

static void root_word_of_another_slot_or_pool_differs(void **state)
{
	uint64_t word = dp_root_encode(seed(), 5, a_root(600, 1));
	int same = 0;

	(void)state;
	for (uint32_t slot = 0; slot < DP_ROOTS; slot++)
		same += word == dp_root_encode(seed(), slot, a_root(600, 1));
	assert_int_equal(same, 1);
	assert_int_not_equal(word, dp_root_encode(dp_layout_seed(uuid_b), 5,
						  a_root(600, 1)));
}

static void root_word_of_no_root_is_not_zero(void **state)
{
	int zeroes = 0;

	(void)state;
	for (uint32_t slot = 0; slot < DP_ROOTS; slot++)
		zeroes += !dp_root_encode(seed(), slot, a_root(0, 0));
	assert_int_equal(zeroes, 0);
}

static struct dp_lane *a_lane(void)
{
	struct dp_lane *lane = calloc(1, sizeof(*lane));

	assert_non_null(lane);
	lane->sequence = 9;
	lane->epoch = 3;
	lane->count = 2;
	lane->entry[0] = (struct dp_lane_entry) { 0x200000, 1 };
	lane->entry[1] = (struct dp_lane_entry) { 0x200008, 2 };
	lane->entry[2] = (struct dp_lane_entry) { 0x200010, 3 };
	return lane;
}

/* Flips a bit in each byte of [from, to). Is each flip detected? */
static bool check_covers(struct dp_lane *lane, size_t from, size_t to)
{
	uint64_t was = dp_lane_check(seed(), 4, lane);
	uint8_t *bytes = (uint8_t *)lane;
	bool covers = true;

	for (size_t i = from; i < to; i++) {
		bytes[i] ^= 1;
		if (lane->count <= DP_LANE_ENTRIES)
			covers &= dp_lane_check(seed(), 4, lane) != was;
		bytes[i] ^= 1;
	}
	return covers;
}

static void lane_check_covers_header_and_entries(void **state)
{
	struct dp_lane *lane = a_lane();
	size_t entries = offsetof(struct dp_lane, entry);

	(void)state;
	assert_true(check_covers(lane, 0, offsetof(struct dp_lane, check)));
	assert_true(check_covers(lane, entries,
				 entries + 2 * sizeof(lane->entry[0])));
	free(lane);
}

/* `done` is written after the commit, and the bytes after the entries are old. */
static void lane_check_excludes_done_and_the_rest(void **state)
{
	struct dp_lane *lane = a_lane();
	uint64_t was = dp_lane_check(seed(), 4, lane);

	(void)state;
	lane->done = 9;
	lane->entry[2].value = 4;
	assert_int_equal(dp_lane_check(seed(), 4, lane), was);
	free(lane);
}

static void lane_check_of_another_lane_or_pool_differs(void **state)
{
	struct dp_lane *lane = a_lane();
	uint64_t was = dp_lane_check(seed(), 4, lane);

	(void)state;
	for (uint32_t i = 0; i < DP_LANES; i++)
		assert_int_equal(dp_lane_check(seed(), i, lane) == was, i == 4);
	assert_int_not_equal(dp_lane_check(dp_layout_seed(uuid_b), 4, lane),
			     was);
	free(lane);
}

static void a_lane_of_zeroes_is_invalid(void **state)
{
	static const struct dp_lane lane;

	(void)state;
	for (uint32_t i = 0; i < DP_LANES; i++)
		assert_int_not_equal(dp_lane_check(seed(), i, &lane), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_with_extreme_fields_decode_to_themselves),
		cmocka_unit_test(word_fields_are_at_the_bits_of_the_format),
		cmocka_unit_test(word_drops_the_generation_above_28_bits),
		cmocka_unit_test(word_of_zero_is_never_valid),
		cmocka_unit_test(word_of_ones_is_never_valid),
		cmocka_unit_test(a_word_of_another_block_is_invalid),
		cmocka_unit_test(a_word_of_another_pool_is_invalid),
		cmocka_unit_test(a_word_with_a_flipped_bit_is_invalid),
		cmocka_unit_test(a_word_of_an_unknown_kind_is_invalid),
		cmocka_unit_test(word_that_is_free_has_one_block),
		cmocka_unit_test(word_of_a_slab_has_its_class_beside_the_length),
		cmocka_unit_test(word_of_a_slab_has_a_class_and_sixteen_blocks),
		cmocka_unit_test(transposition_gives_each_block_a_word_of_its_own),
		cmocka_unit_test(transposition_stays_inside_the_page),
		cmocka_unit_test(neighbours_never_share_a_cache_line),
		cmocka_unit_test(transposition_matches_the_format),
		cmocka_unit_test(metadata_structures_do_not_overlap),
		cmocka_unit_test(words_match_the_golden_values),
		cmocka_unit_test(a_scan_finds_every_word_that_is_not_free),
		cmocka_unit_test(page_words_decode_to_themselves),
		cmocka_unit_test(a_page_word_of_zero_is_never_valid),
		cmocka_unit_test(a_sealed_superblock_is_valid),
		cmocka_unit_test(a_superblock_with_any_byte_changed_is_invalid),
		cmocka_unit_test(a_superblock_of_zeroes_or_ones_is_invalid),
		cmocka_unit_test(the_magic_detects_a_text_mode_copy),
		cmocka_unit_test(root_word_has_block_generation_and_check),
		cmocka_unit_test(root_word_of_an_object_has_its_address_and_bit_47),
		cmocka_unit_test(a_root_word_that_names_no_object_is_invalid),
		cmocka_unit_test(root_word_of_another_slot_or_pool_differs),
		cmocka_unit_test(root_word_of_no_root_is_not_zero),
		cmocka_unit_test(lane_check_covers_header_and_entries),
		cmocka_unit_test(lane_check_excludes_done_and_the_rest),
		cmocka_unit_test(lane_check_of_another_lane_or_pool_differs),
		cmocka_unit_test(a_lane_of_zeroes_is_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
