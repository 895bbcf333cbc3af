/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each granularity does: fences and write-backs, seen by single-stepping on
 * x86-64, and msync().
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "media/persist.h"
#include "steps.h"

#define LINE	DP_CACHE_LINE
#define LARGE	(32u << 10)
#define BYTE	DP_GRANULARITY_BYTE
#define CACHE_LINE	DP_GRANULARITY_CACHE_LINE
#define PAGE	DP_GRANULARITY_PAGE

int __wrap_dp_os_msync(const void *from, uint64_t size);
struct dp_lines_method __real_dp_lines_method(void);
struct dp_lines_method __wrap_dp_lines_method(void);

static char memory[2 * LARGE] DP_ALIGNED, source[2 * LARGE];
static struct steps steps;
static struct dp_persist persist;
static uint32_t msyncs;
static bool no_method;

int __wrap_dp_os_msync(const void *from, uint64_t size)
{
	assert_ptr_equal(from, memory);
	assert_int_equal(size, LINE);
	msyncs++;
	return 0;
}

struct dp_lines_method __wrap_dp_lines_method(void)
{
	return no_method ? (struct dp_lines_method) { DP_LINES_NONE, LINE } :
			   __real_dp_lines_method();
}

static void begin(enum dp_granularity granularity)
{
	assert_int_equal(dp_persist_init(&persist, granularity, NULL), 0);
	msyncs = 0;
	steps_begin(&steps);
}

/* Steps that are write-backs, and fences. */
static uint32_t count(bool fences)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < steps.count; i++)
		if (steps.step[i].kind != STEP_PAST)
			found += fences == (steps.step[i].kind == STEP_FENCE);
	return found;
}

static bool ends_with_a_fence(void)
{
	return steps.count && steps.step[steps.count - 1].kind == STEP_FENCE;
}

static void need_steps(void)
{
	if (!steps_possible())
		skip();
}

static void with_byte_granularity_a_flush_does_nothing(void **state)
{
	(void)state;
	need_steps();
	begin(BYTE);
	assert_int_equal(dp_persist_flush(&persist, memory, LARGE), 0);
	assert_int_equal(dp_persist_collect(&persist, memory, LARGE), 0);
	steps_end();
	assert_int_equal(steps.count, 0);
}

static void with_cache_line_granularity_a_flush_writes_lines_back(void **state)
{
	(void)state;
	need_steps();
	begin(CACHE_LINE);
	assert_int_equal(dp_persist_flush(&persist, memory + 1, LINE), 0);
	assert_int_equal(dp_persist_collect(&persist, memory + 1, 2 * LINE), 0);
	steps_end();
	assert_int_equal(count(false), 2 + 3);
	assert_int_equal(count(true), 0);
}

static void a_fence_is_a_fence_of_the_cpu(void **state)
{
	(void)state;
	need_steps();
	for (enum dp_granularity g = BYTE; g < PAGE; g++) {
		begin(g);
		dp_persist_fence(&persist);
		steps_end();
		assert_int_equal(steps.count, 1);
		assert_true(ends_with_a_fence());
		begin(g);
		assert_int_equal(dp_persist_settle(&persist, -1), 0);
		steps_end();
		assert_int_equal(steps.count, 1);
		assert_true(ends_with_a_fence());
	}
}

static void with_page_granularity_a_flush_is_msync(void **state)
{
	(void)state;
	assert_int_equal(dp_persist_init(&persist, PAGE, NULL), 0);
	msyncs = 0;
	assert_int_equal(dp_persist_flush(&persist, memory, LINE), 0);
	assert_int_equal(msyncs, 1);
	assert_int_equal(dp_persist_wipe(&persist, memory, LINE), 0);
	assert_int_equal(msyncs, 2);
	assert_int_equal(dp_persist_copy_past(&persist, memory, source, LINE), 0);
	assert_int_equal(msyncs, 3);
	assert_int_equal(dp_persist_collect(&persist, memory, LINE), 0);
	dp_persist_fence(&persist);
	assert_int_equal(msyncs, 3);
}

static void with_page_granularity_no_line_is_written_back(void **state)
{
	(void)state;
	need_steps();
	begin(PAGE);
	dp_persist_flush(&persist, memory, LINE);
	dp_persist_wipe(&persist, memory, LINE);
	dp_persist_copy_past(&persist, memory, source, LINE);
	dp_persist_zero(&persist, memory, LARGE);
	dp_persist_collect(&persist, memory, LINE);
	dp_persist_fence(&persist);
	steps_end();
	assert_int_equal(steps.count, 0);
}

/* Otherwise the next owner of the memory could overtake the zeroes. */
static void large_zeroes_end_with_a_fence(void **state)
{
	(void)state;
	need_steps();
	begin(CACHE_LINE);
	dp_persist_zero(&persist, memory, LARGE);
	steps_end();
	assert_int_equal(steps.count, LARGE / 16 + 1);
	assert_true(ends_with_a_fence());
	begin(CACHE_LINE);
	dp_persist_zero(&persist, memory, LARGE - 1);
	steps_end();
	assert_int_equal(steps.count, 0);
}

static void a_wipe_ends_with_a_fence(void **state)
{
	(void)state;
	need_steps();
	for (enum dp_granularity g = BYTE; g < PAGE; g++) {
		begin(g);
		assert_int_equal(dp_persist_wipe(&persist, memory + 8, 2 * LINE), 0);
		steps_end();
		assert_int_equal(count(false), g == BYTE ? 0 : 2);
		assert_int_equal(count(true), 1);
		assert_true(ends_with_a_fence());
	}
}

static void a_copy_bypasses_the_caches_and_waits_for_the_fence(void **state)
{
	(void)state;
	need_steps();
	for (enum dp_granularity g = BYTE; g < PAGE; g++) {
		begin(g);
		dp_persist_copy_past(&persist, memory, source, 2 * LINE);
		steps_end();
		assert_int_equal(steps.count, 8);
		assert_int_equal(count(true), 0);
	}
}

static void a_cpu_without_an_instruction_is_refused(void **state)
{
	char text[256] = "";
	const struct dp_errmsg errmsg = { text, sizeof(text) };

	(void)state;
	no_method = true;
	assert_int_equal(dp_persist_init(&persist, CACHE_LINE, &errmsg), -EOPNOTSUPP);
	assert_non_null(strstr(text, "page granularity"));
	assert_int_equal(dp_persist_init(&persist, BYTE, &errmsg), 0);
	assert_int_equal(dp_persist_init(&persist, PAGE, &errmsg), 0);
	no_method = false;
	assert_int_equal(dp_persist_init(&persist, CACHE_LINE, &errmsg), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_byte_granularity_a_flush_does_nothing),
		cmocka_unit_test(with_cache_line_granularity_a_flush_writes_lines_back),
		cmocka_unit_test(a_fence_is_a_fence_of_the_cpu),
		cmocka_unit_test(with_page_granularity_a_flush_is_msync),
		cmocka_unit_test(with_page_granularity_no_line_is_written_back),
		cmocka_unit_test(large_zeroes_end_with_a_fence),
		cmocka_unit_test(a_wipe_ends_with_a_fence),
		cmocka_unit_test(a_copy_bypasses_the_caches_and_waits_for_the_fence),
		cmocka_unit_test(a_cpu_without_an_instruction_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
