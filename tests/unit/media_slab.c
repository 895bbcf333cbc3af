/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format of slabs, as docs/format.md describes it: sizes, places and bit words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>
#include "media/slab.h"

static const uint8_t uuid_a[16] = "one pool's uuid";
static const uint8_t uuid_b[16] = "another's, like";

static uint64_t seed(void)
{
	return dp_layout_seed(uuid_a);
}

/* The table of docs/format.md: size, number of objects, words, first object. */
static const struct dp_slab_shape format[DP_SLAB_CLASSES] = {
	{ 16, 4052, 87, 704 }, { 32, 2036, 44, 384 }, { 48, 1360, 29, 256 },
	{ 64, 1021, 22, 192 }, { 80, 816, 18, 192 }, { 96, 681, 15, 128 },
	{ 112, 584, 13, 128 }, { 128, 511, 11, 128 }, { 144, 454, 10, 128 },
	{ 160, 408, 9, 128 }, { 176, 372, 8, 64 }, { 192, 341, 8, 64 },
	{ 208, 314, 7, 64 }, { 224, 292, 7, 64 }, { 240, 272, 6, 64 },
	{ 256, 255, 6, 64 }, { 288, 227, 5, 64 }, { 320, 204, 5, 64 },
	{ 352, 186, 4, 64 }, { 384, 170, 4, 64 }, { 416, 157, 4, 64 },
	{ 448, 146, 4, 64 }, { 480, 136, 3, 64 }, { 512, 127, 3, 64 },
	{ 576, 113, 3, 64 }, { 640, 102, 3, 64 }, { 704, 93, 2, 64 },
	{ 768, 85, 2, 64 }, { 832, 78, 2, 64 }, { 896, 73, 2, 64 },
	{ 960, 68, 2, 64 }, { 1024, 63, 2, 64 }, { 1152, 56, 2, 64 },
	{ 1280, 51, 2, 64 }, { 1408, 46, 1, 64 }, { 1536, 42, 1, 64 },
	{ 1664, 39, 1, 64 }, { 1792, 36, 1, 64 }, { 1920, 34, 1, 64 },
	{ 2048, 31, 1, 64 },
};

static void shapes_are_those_of_the_format(void **state)
{
	(void)state;
	for (uint32_t class = 0; class < DP_SLAB_CLASSES; class++) {
		struct dp_slab_shape shape = dp_slab_shape(class);

		assert_int_equal(shape.size, format[class].size);
		assert_int_equal(shape.objects, format[class].objects);
		assert_int_equal(shape.words, format[class].words);
		assert_int_equal(shape.first, format[class].first);
	}
}

/* 16 bytes or an eighth of the size is the most that an object wastes, if it has one
 * byte more than the class before has. */
static void the_sizes_of_classes_waste_at_most_an_eighth(void **state)
{
	uint32_t before = 0;

	(void)state;
	for (uint32_t class = 0; class < DP_SLAB_CLASSES; class++) {
		uint32_t has = dp_slab_class_size(class), waste = has - before - 1;

		assert_true(has > before && has % DP_SLAB_ALIGN == 0);
		assert_true(waste < 16 || waste * 8 <= has);
		before = has;
	}
	assert_int_equal(before, DP_SLAB_OBJECT_MAX);
}

/* One object more, and its bit, would not fit. */
static void a_slab_has_as_many_objects_as_fit(void **state)
{
	(void)state;
	for (uint32_t class = 0; class < DP_SLAB_CLASSES; class++) {
		struct dp_slab_shape shape = dp_slab_shape(class);
		uint32_t more = shape.objects + 1;
		uint32_t words = (more + 46) / 47, first = (words * 8 + 63) / 64 * 64;

		assert_true(shape.words * 47 >= shape.objects);
		assert_true((shape.words - 1) * 47 < shape.objects);
		assert_true(shape.first % DP_CACHE_LINE == 0 &&
			    shape.first >= shape.words * 8);
		assert_true(shape.first + shape.objects * shape.size <= DP_SLAB_SIZE);
		assert_true(first + more * shape.size > DP_SLAB_SIZE);
		assert_true(shape.objects <= DP_SLAB_OBJECTS_MAX &&
			    shape.words <= DP_SLAB_WORDS_MAX);
	}
}

static void objects_follow_each_other_behind_the_words(void **state)
{
	(void)state;
	for (uint32_t class = 0; class < DP_SLAB_CLASSES; class++) {
		struct dp_slab_shape shape = dp_slab_shape(class);

		assert_int_equal(dp_slab_object_offset(&shape, 0), shape.first);
		assert_int_equal(dp_slab_object_offset(&shape, shape.objects - 1),
				 shape.first + (shape.objects - 1) * shape.size);
		assert_int_equal(dp_slab_word_offset(shape.words - 1),
				 (shape.words - 1) * 8);
	}
}

static void masks_have_a_bit_for_each_object(void **state)
{
	(void)state;
	for (uint32_t class = 0; class < DP_SLAB_CLASSES; class++) {
		struct dp_slab_shape shape = dp_slab_shape(class);
		uint32_t bits = 0;

		for (uint32_t word = 0; word < shape.words; word++) {
			uint64_t mask = dp_slab_word_mask(&shape, word);

			/* Bits from 0 on, without gaps. */
			assert_true(mask && !(mask & (mask + 1)));
			bits += __builtin_popcountll(mask);
		}
		assert_int_equal(bits, shape.objects);
	}
}

static void bit_words_decode_to_themselves(void **state)
{
	const uint64_t bits[] = { 0, 1, 1ull << 46, 0x5555, (1ull << 47) - 1 };
	uint64_t back;

	(void)state;
	for (int i = 0; i < 5; i++) {
		uint64_t raw = dp_slab_encode(seed(), 0x200008, bits[i]);

		assert_int_equal(raw & ((1ull << 47) - 1), bits[i]);
		assert_int_equal(raw >> 47 & 1, 1);
		assert_true(dp_slab_decode(seed(), 0x200008, raw, &back));
		assert_int_equal(back, bits[i]);
	}
}

static void a_bit_word_of_zeroes_is_never_valid(void **state)
{
	uint64_t bits;

	(void)state;
	for (uint64_t addr = 0x200000; addr < 0x400000; addr += 8)
		assert_false(dp_slab_decode(seed(), addr, 0, &bits));
}

static void a_bit_word_with_a_flipped_bit_is_invalid(void **state)
{
	uint64_t raw = dp_slab_encode(seed(), 0x200008, 0x1234), bits;

	(void)state;
	for (int bit = 0; bit < 64; bit++)
		assert_false(dp_slab_decode(seed(), 0x200008, raw ^ 1ull << bit,
					    &bits));
}

static void a_bit_word_of_another_place_or_pool_is_invalid(void **state)
{
	uint64_t raw = dp_slab_encode(seed(), 0x200008, 0x1234), bits;

	(void)state;
	assert_false(dp_slab_decode(seed(), 0x200000, raw, &bits));
	assert_false(dp_slab_decode(seed(), 0x200010, raw, &bits));
	assert_false(dp_slab_decode(seed(), 0x210008, raw, &bits));
	assert_false(dp_slab_decode(dp_layout_seed(uuid_b), 0x200008, raw, &bits));
}

/* The test vectors of docs/format.md. */
static void bit_words_match_the_golden_values(void **state)
{
	const uint64_t of_format = 0x8355e3a6f61770db;

	(void)state;
	assert_int_equal(dp_slab_encode(of_format, 0x200000, 0), 0xd119800000000000);
	assert_int_equal(dp_slab_encode(of_format, 0x200008, 5), 0x173c800000000005);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shapes_are_those_of_the_format),
		cmocka_unit_test(the_sizes_of_classes_waste_at_most_an_eighth),
		cmocka_unit_test(a_slab_has_as_many_objects_as_fit),
		cmocka_unit_test(objects_follow_each_other_behind_the_words),
		cmocka_unit_test(masks_have_a_bit_for_each_object),
		cmocka_unit_test(bit_words_decode_to_themselves),
		cmocka_unit_test(a_bit_word_of_zeroes_is_never_valid),
		cmocka_unit_test(a_bit_word_with_a_flipped_bit_is_invalid),
		cmocka_unit_test(a_bit_word_of_another_place_or_pool_is_invalid),
		cmocka_unit_test(bit_words_match_the_golden_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
