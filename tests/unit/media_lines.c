/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cache lines: which instruction writes them back, that each line of a range is written
 * back once, and that copies and zeroes change no other byte. On x86-64 the executed
 * instructions are seen by single-stepping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "media/lines.h"
#include "steps.h"

#define LINE	DP_CACHE_LINE
#define CLFLUSH		(1u << 19)	/* EDX of leaf 1 */
#define CLFLUSHOPT	(1u << 23)	/* EBX of leaf 7 */
#define CLWB		(1u << 24)
#define DCPOP		(1u << 16)	/* AT_HWCAP */

/* Copies and zeroes of these sizes at each alignment; the last two are long. */
#define SMALL_MAX	300u
static const uint64_t large[] = { 4096, 65536 + 77 };

static char memory[128 << 10] DP_ALIGNED, image[sizeof(memory)];
static char source[sizeof(memory)];
static struct steps steps;

/* ------------------------------------------------------------ which method */

static void expect_x86(uint32_t edx, uint32_t ebx)
{
	struct dp_lines_method method = dp_lines_method_x86(edx, ebx);
	enum dp_lines_instruction best = DP_LINES_NONE;

	if (edx & CLFLUSH)
		best = DP_LINES_CLFLUSH;
	if (ebx & CLFLUSHOPT)
		best = DP_LINES_CLFLUSHOPT;
	if (ebx & CLWB)
		best = DP_LINES_CLWB;
	assert_int_equal(method.instruction, best);
	assert_int_equal(method.step, LINE);
}

static void the_method_of_x86_is_the_best_that_cpuid_reports(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t edx = i & 1 ? CLFLUSH : 0;
		uint32_t ebx = (i & 2 ? CLFLUSHOPT : 0) | (i & 4 ? CLWB : 0);

		expect_x86(edx, ebx);
		expect_x86(edx | ~CLFLUSH, ebx | ~(CLFLUSHOPT | CLWB));
	}
}

static void expect_arm64(uint64_t hwcap, uint64_t ctr,
			 enum dp_lines_instruction instruction, uint32_t step)
{
	struct dp_lines_method method = dp_lines_method_arm64(hwcap, ctr);

	assert_int_equal(method.instruction, instruction);
	assert_int_equal(method.step, step);
}

static void arm64_writes_back_to_the_point_of_persistence(void **state)
{
	const uint64_t lines_of_64 = 4ull << 16;

	(void)state;
	expect_arm64(DCPOP, lines_of_64, DP_LINES_CVAP, LINE);
	expect_arm64(~0ull, ~0ull, DP_LINES_CVAP, LINE);
	expect_arm64(0, lines_of_64, DP_LINES_CVAC, LINE);
	expect_arm64(~(uint64_t)DCPOP, ~0ull, DP_LINES_CVAC, LINE);
}

/* Otherwise some lines would be left out. */
static void lines_smaller_than_those_of_the_library_are_written_back(void **state)
{
	(void)state;
	for (uint64_t log = 0; log < 4; log++)
		expect_arm64(DCPOP, log << 16 | 0xff00ffffull, DP_LINES_CVAP,
			     4u << log);
	for (uint64_t log = 4; log < 16; log++)
		expect_arm64(DCPOP, log << 16 | 0xff00ffffull, DP_LINES_CVAP, LINE);
}

/* ------------------------------------------------------- lines of a range */

/* The lines that have a byte of the range, byte by byte. */
static void expect_lines(uintptr_t from, uint64_t size, uint32_t step)
{
	struct dp_lines lines = dp_lines_of((const void *)from, size, step);
	uint64_t count = 0;

	for (uint64_t i = 0; i < size; i++)
		count += !i || (from + i) % step == 0;
	assert_int_equal(lines.count, count);
	if (count)
		assert_int_equal(lines.first, from - from % step);
}

static void a_range_has_each_line_in_which_it_has_a_byte(void **state)
{
	(void)state;
	for (uintptr_t at = 1 << 20; at < (1 << 20) + LINE; at++)
		for (uint64_t size = 0; size <= SMALL_MAX; size++) {
			expect_lines(at, size, LINE);
			expect_lines(at, size, 32);
		}
}

/* ------------------------------------------------ what the CPU executes */

static const enum step_kind kind_of_instruction[] = {
	[DP_LINES_CLFLUSH] = STEP_CLFLUSH,
	[DP_LINES_CLFLUSHOPT] = STEP_CLFLUSHOPT,
	[DP_LINES_CLWB] = STEP_CLWB,
};

static void expect_written_back(enum dp_lines_instruction instruction,
				const char *from, uint64_t size)
{
	struct dp_lines lines = dp_lines_of(from, size, LINE);

	steps_begin(&steps);
	dp_lines_write_back((struct dp_lines_method) { instruction, LINE }, from, size);
	steps_end();
	assert_int_equal(steps.count, lines.count);
	for (uint32_t i = 0; i < steps.count; i++) {
		assert_int_equal(steps.step[i].kind, kind_of_instruction[instruction]);
		assert_int_equal(steps.step[i].at, lines.first + i * (uint64_t)LINE);
	}
}

static void each_line_of_a_range_is_written_back_once(void **state)
{
	enum dp_lines_instruction best = dp_lines_method().instruction;

	(void)state;
	if (!steps_possible())
		skip();
	for (enum dp_lines_instruction i = DP_LINES_CLFLUSH; i <= best; i++)
		for (uint32_t at = 0; at < LINE; at += 21)
			for (uint64_t size = 0; size <= SMALL_MAX; size += 7)
				expect_written_back(i, memory + at, size);
	expect_written_back(best, memory + 8, 8);
	expect_written_back(best, memory + LINE - 1, 2);
	expect_written_back(best, memory + 1, 65536);
}

static void without_a_method_no_line_is_written_back(void **state)
{
	(void)state;
	if (!steps_possible())
		skip();
	steps_begin(&steps);
	dp_lines_write_back((struct dp_lines_method) { DP_LINES_NONE, LINE },
			    memory + 1, SMALL_MAX);
	steps_end();
	assert_int_equal(steps.count, 0);
}

static void waiting_is_a_fence(void **state)
{
	(void)state;
	if (!steps_possible())
		skip();
	steps_begin(&steps);
	dp_lines_await();
	steps_end();
	assert_int_equal(steps.count, 1);
	assert_int_equal(steps.step[0].kind, STEP_FENCE);
}

/* Steps of one kind at this line. */
static uint32_t count_at(enum step_kind kind, uintptr_t line)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < steps.count; i++)
		count += steps.step[i].kind == kind &&
			 steps.step[i].at / LINE == line / LINE;
	return count;
}

/* A whole line is stored past the caches, by four stores of 16 bytes; any other one is
 * written back once. */
static void expect_reaches_memory(enum dp_lines_instruction instruction,
				  const char *to, uint64_t size)
{
	struct dp_lines lines = dp_lines_of(to, size, LINE);
	uint32_t past = 0, back = 0;

	for (uint64_t i = 0; i < lines.count; i++) {
		uintptr_t line = lines.first + i * LINE;
		bool whole = line >= (uintptr_t)to &&
			     line + LINE <= (uintptr_t)to + size;

		assert_int_equal(count_at(STEP_PAST, line), whole ? 4 : 0);
		past += whole ? 4 : 0;
		if (!instruction)
			continue;
		assert_int_equal(count_at(kind_of_instruction[instruction], line),
				 !whole);
		back += !whole;
	}
	assert_int_equal(steps.count, past + back);
}

static void expect_both_reach_memory(enum dp_lines_instruction instruction, char *to,
				     uint64_t size)
{
	const struct dp_lines_method method = { instruction, LINE };

	steps_begin(&steps);
	dp_lines_copy(method, to, source, size);
	steps_end();
	expect_reaches_memory(instruction, to, size);
	steps_begin(&steps);
	dp_lines_zero(method, to, size);
	steps_end();
	expect_reaches_memory(instruction, to, size);
}

static void copies_and_zeroes_reach_memory(void **state)
{
	enum dp_lines_instruction best = dp_lines_method().instruction;

	(void)state;
	if (!steps_possible())
		skip();
	for (enum dp_lines_instruction i = DP_LINES_NONE; i <= best; i++)
		for (uint32_t at = 0; at < LINE; at += 9)
			for (uint64_t size = 0; size <= SMALL_MAX; size += 23)
				expect_both_reach_memory(i, memory + at, size);
}

/* --------------------------------------------------------------- the bytes */

static void fill_randomly(char *to, uint64_t size, uint32_t seed)
{
	for (uint64_t i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		to[i] = (char)(seed >> 24);
	}
}

/* A copy and zeroes; the memory around them is as before. */
static void expect_bytes(uint32_t at, uint64_t size)
{
	struct dp_lines_method method = dp_lines_method();
	const char *from = source + (at * 7 + size) % LINE;

	memcpy(image + at, from, size);
	dp_lines_copy(method, memory + at, from, size);
	dp_lines_await();
	assert_memory_equal(memory, image, at + size + 2 * LINE);
	memset(image + at, 0, size);
	dp_lines_zero(method, memory + at, size);
	dp_lines_await();
	assert_memory_equal(memory, image, at + size + 2 * LINE);
}

static void expect_small_and_large_bytes(uint32_t at)
{
	for (uint32_t size = 0; size <= SMALL_MAX; size++) {
		fill_randomly(memory, SMALL_MAX + 4 * LINE, at + size);
		memcpy(image, memory, SMALL_MAX + 4 * LINE);
		expect_bytes(at, size);
	}
	for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++) {
		memset(memory, (int)at, sizeof(memory));
		memset(image, (int)at, sizeof(image));
		expect_bytes(at, large[i]);
	}
}

static void copies_and_zeroes_change_no_other_byte(void **state)
{
	(void)state;
	fill_randomly(source, sizeof(source), 1);
	for (uint32_t at = LINE; at < 2 * LINE; at++)
		expect_small_and_large_bytes(at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_method_of_x86_is_the_best_that_cpuid_reports),
		cmocka_unit_test(arm64_writes_back_to_the_point_of_persistence),
		cmocka_unit_test(
			lines_smaller_than_those_of_the_library_are_written_back),
		cmocka_unit_test(a_range_has_each_line_in_which_it_has_a_byte),
		cmocka_unit_test(each_line_of_a_range_is_written_back_once),
		cmocka_unit_test(without_a_method_no_line_is_written_back),
		cmocka_unit_test(waiting_is_a_fence),
		cmocka_unit_test(copies_and_zeroes_reach_memory),
		cmocka_unit_test(copies_and_zeroes_change_no_other_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
