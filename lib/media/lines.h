/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cache lines: the instructions that write them back to memory, and stores that bypass
 * the caches. No other file has such instructions, and which of them are used when is
 * the decision of persist.c.
 */
#ifndef DP_LINES_H
#define DP_LINES_H

#include "util/util.h"

enum dp_lines_instruction {
	DP_LINES_NONE,			/* nothing is written back */
	DP_LINES_CLFLUSH,		/* x86-64: write back and evict, in order */
	DP_LINES_CLFLUSHOPT,		/* the same, in any order */
	DP_LINES_CLWB,			/* write back, may stay in the cache */
	DP_LINES_CVAC,			/* arm64: to the point of coherency */
	DP_LINES_CVAP,			/* arm64: to the point of persistence */
};

struct dp_lines_method {
	enum dp_lines_instruction instruction;
	/* From one write-back to the next: DP_CACHE_LINE, or the size of the CPU's
	 * lines if they are smaller. */
	uint32_t step;
};

/*
 * The best method of an x86-64 CPU, from EDX of leaf 1 and EBX of leaf 7 of CPUID. NONE
 * if it has none: each such CPU has clflush, but a hypervisor can hide it.
 */
struct dp_lines_method dp_lines_method_x86(uint32_t leaf1_edx, uint32_t leaf7_ebx);
/* The best method of an arm64 CPU, from AT_HWCAP and its register CTR_EL0. */
struct dp_lines_method dp_lines_method_arm64(uint64_t hwcap, uint64_t ctr);
/* That of this CPU. */
struct dp_lines_method dp_lines_method(void);

/* The cache lines in which a range lies: the address of the first, and how many. */
struct dp_lines {
	uintptr_t first;
	uint64_t count;
};

/* Lines of `step` bytes, a power of two. */
static inline struct dp_lines dp_lines_of(const void *from, uint64_t size,
					  uint32_t step)
{
	const uintptr_t mask = (uintptr_t)step - 1;
	uintptr_t at = (uintptr_t)from;

	return (struct dp_lines) {
		.first = at & ~mask,
		.count = size ? ((at & mask) + size + mask) / step : 0,
	};
}

/*
 * Begin to write back each line of the range once, including what other threads have
 * stored there. It is in memory after the next dp_lines_await().
 */
void dp_lines_write_back(struct dp_lines_method method, const void *from,
			 uint64_t size);
/*
 * Copy bytes, or zero them, so that they are in memory after the next dp_lines_await().
 * On x86-64, stores to whole lines bypass the caches. The rest, on arm64 everything, is
 * stored as usual and written back. No other byte changes. The ranges of a copy must
 * not overlap.
 */
void dp_lines_copy(struct dp_lines_method method, void *to, const void *from,
		   uint64_t size);
void dp_lines_zero(struct dp_lines_method method, void *to, uint64_t size);
/* Wait until all that this thread has begun is in memory. */
void dp_lines_await(void);

#endif
