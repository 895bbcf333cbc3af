# SPDX-License-Identifier: BSD-3-Clause
"""Bugs in writing cache lines back, and in stores that bypass the caches (D25): these lose
data only when power fails, or change a neighbour's bytes."""

LINES = ['tests/unit/media_lines']
PERSIST = ['tests/unit/media_persist']

MUTANTS = [
    ('clflush-despite-clwb', LINES, 'lib/media/lines.c',
     'lines are evicted, one after another, although the CPU has CLWB',
     'if (leaf7_ebx & EBX_CLWB)',
     'if (leaf7_ebx & EBX_CLWB && 0)',
     'the_method_of_x86_is_the_best_that_cpuid_reports'),
    ('point-of-coherency', LINES, 'lib/media/lines.c',
     'on arm64 lines stop at the point of coherency, before the one of persistence',
     'hwcap & HWCAP_HAS_CVAP ? DP_LINES_CVAP',
     'hwcap & HWCAP_HAS_CVAP && 0 ? DP_LINES_CVAP',
     'arm64_writes_back_to_the_point_of_persistence'),
    ('small-lines-left-out', LINES, 'lib/media/lines.c',
     'of lines with 32 bytes every second one is left out',
     '(uint32_t)dp_min(CTR_MIN_LINE(ctr), LINE)',
     'CTR_MIN_LINE(ctr) ? LINE : 0',
     'lines_smaller_than_those_of_the_library_are_written_back'),
    ('last-line-not-flushed', LINES, 'lib/media/lines.h',
     'a range that begins in the middle of a line leaves out its last one',
     '((at & mask) + size + mask) / step',
     '(size + mask) / step',
     'a_range_has_each_line_in_which_it_has_a_byte'),
    ('every-second-line', LINES, 'lib/media/lines.c',
     'a line is left out after each that is written back',
     'lines.count--, lines.first += step)',
     'lines.count--, lines.first += 2 * step)',
     'each_line_of_a_range_is_written_back_once'),
    ('no-fence', LINES, 'lib/media/lines.c',
     'nothing waits for write-backs',
     '"sfence"',
     '""',
     'waiting_is_a_fence'),
    ('ends-of-a-copy-not-flushed', LINES, 'lib/media/lines.c',
     'the first and last bytes of a copy stay in the cache',
     """			    uint64_t size)
{
	memcpy(to, from, size);
	dp_lines_write_back(method, to, size);
""",
     """			    uint64_t size)
{
	(void)method;
	memcpy(to, from, size);
""",
     'copies_and_zeroes_reach_memory'),
    ('ends-of-zeroes-not-flushed', LINES, 'lib/media/lines.c',
     'the first and last zeroes stay in the cache',
     """char *to, uint64_t size)
{
	memset(to, 0, size);
	dp_lines_write_back(method, to, size);
""",
     """char *to, uint64_t size)
{
	(void)method;
	memset(to, 0, size);
""",
     'copies_and_zeroes_reach_memory'),
    ('copy-past-the-end', LINES, 'lib/media/lines.c',
     'a copy overwrites the rest of its last line',
     """	lines_copy_past((char *)to + head, (const char *)from + head,
			(size - head) / LINE);""",
     """	lines_copy_past((char *)to + head, (const char *)from + head,
			(size - head + LINE - 1) / LINE);""",
     'copies_and_zeroes_change_no_other_byte'),
    ('zeroes-before-the-beginning', LINES, 'lib/media/lines.c',
     'zeroes overwrite the bytes before them in their first line',
     """	lines_zero_past((char *)to + head, (size - head) / LINE);""",
     """	lines_zero_past((char *)((uintptr_t)to & ~(uintptr_t)(LINE - 1)),
			(size + LINE - 1) / LINE);""",
     'copies_and_zeroes_change_no_other_byte'),
    ('zeroes-without-a-fence', PERSIST, 'lib/media/persist.c',
     "the next owner's bytes are overtaken by the zeroes",
     """	dp_lines_zero(persist->method, to, size);
	dp_lines_await();""",
     """	dp_lines_zero(persist->method, to, size);""",
     'large_zeroes_end_with_a_fence'),
    ('settled-without-a-fence', PERSIST, 'lib/media/persist.c',
     'a create returns before its superblocks are in memory',
     """		return remember_error(persist, dp_os_syncfs(fd));
	dp_lines_await();""",
     """		return remember_error(persist, dp_os_syncfs(fd));""",
     'a_fence_is_a_fence_of_the_cpu'),
    ('flush-does-nothing', PERSIST, 'lib/media/persist.c',
     'with cache line granularity nothing is written back',
     """		return flush_pages(persist, from, size);
	dp_lines_write_back(persist->method, from, size);""",
     """		return flush_pages(persist, from, size);""",
     'with_cache_line_granularity_a_flush_writes_lines_back'),
    ('bytes-are-written-back', PERSIST, 'lib/media/persist.c',
     'with byte granularity lines are written back for nothing',
     'if (granularity != DP_GRANULARITY_CACHE_LINE)',
     'if (granularity == DP_GRANULARITY_PAGE)',
     'with_byte_granularity_a_flush_does_nothing'),
    ('any-cpu-will-do', PERSIST, 'lib/media/persist.c',
     'a pool is opened for which this CPU can make nothing durable',
     'if (persist->method.instruction == DP_LINES_NONE)',
     'if (0)',
     'a_cpu_without_an_instruction_is_refused'),
]
