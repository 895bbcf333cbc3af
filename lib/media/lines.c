/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The instructions for cache lines. They are inline assembly with a clobber of all
 * memory, so that the compiler moves no store past them. Stores that bypass the caches
 * are intrinsics, so that the compiler knows what they change; clang's sanitizers check
 * them, those of gcc 12 do not.
 */
#include "media/lines.h"

#define LINE	DP_CACHE_LINE

/* ------------------------------------------------------------- which method */

#define EDX_CLFLUSH	(1u << 19)
#define EBX_CLFLUSHOPT	(1u << 23)
#define EBX_CLWB	(1u << 24)

struct dp_lines_method dp_lines_method_x86(uint32_t leaf1_edx, uint32_t leaf7_ebx)
{
	struct dp_lines_method method = { DP_LINES_NONE, LINE };

	if (leaf7_ebx & EBX_CLWB)
		method.instruction = DP_LINES_CLWB;
	else if (leaf7_ebx & EBX_CLFLUSHOPT)
		method.instruction = DP_LINES_CLFLUSHOPT;
	else if (leaf1_edx & EDX_CLFLUSH)
		method.instruction = DP_LINES_CLFLUSH;
	return method;
}

#define HWCAP_HAS_CVAP	(1u << 16)	/* HWCAP_DCPOP */
/* The smallest line of all data caches: a logarithm of words of 4 bytes. */
#define CTR_MIN_LINE(ctr)	(4u << ((ctr) >> 16 & 15))

struct dp_lines_method dp_lines_method_arm64(uint64_t hwcap, uint64_t ctr)
{
	return (struct dp_lines_method) {
		.instruction = hwcap & HWCAP_HAS_CVAP ? DP_LINES_CVAP : DP_LINES_CVAC,
		.step = (uint32_t)dp_min(CTR_MIN_LINE(ctr), LINE),
	};
}

/* Inlined with a constant `one`, so it costs no call for each line. */
DP_INLINE void lines_each(const void *from, uint64_t size, uint32_t step,
			  void (*one)(uintptr_t line))
{
	struct dp_lines lines = dp_lines_of(from, size, step);

	for (; lines.count; lines.count--, lines.first += step)
		one(lines.first);
}

#if defined(__x86_64__)

/* ------------------------------------------------------------------ x86-64 */

#include <cpuid.h>
#include <emmintrin.h>

struct dp_lines_method dp_lines_method(void)
{
	unsigned int eax, ebx, ecx, edx, edx1 = 0, ebx7 = 0;

	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		edx1 = edx;
	if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		ebx7 = ebx;
	return dp_lines_method_x86(edx1, ebx7);
}

DP_INLINE void line_clflush(uintptr_t line)
{
	__asm__ volatile("clflush (%0)" : : "r" (line) : "memory");
}

DP_INLINE void line_clflushopt(uintptr_t line)
{
	__asm__ volatile("clflushopt (%0)" : : "r" (line) : "memory");
}

DP_INLINE void line_clwb(uintptr_t line)
{
	__asm__ volatile("clwb (%0)" : : "r" (line) : "memory");
}

/* A line that another thread has stored needs no fence here: the locked instruction
 * that took its lock is one. */
void dp_lines_write_back(struct dp_lines_method method, const void *from,
			 uint64_t size)
{
	switch (method.instruction) {
	case DP_LINES_CLWB:
		lines_each(from, size, LINE, line_clwb);
		break;
	case DP_LINES_CLFLUSHOPT:
		lines_each(from, size, LINE, line_clflushopt);
		break;
	case DP_LINES_CLFLUSH:
		lines_each(from, size, LINE, line_clflush);
		break;
	default:
		assert(method.instruction == DP_LINES_NONE);
	}
}

/* Also for stores that bypass the caches, which x86 does not order otherwise, and after
 * clflush, which would not need it. */
void dp_lines_await(void)
{
	__asm__ volatile("sfence" : : : "memory");
}

/* The four stores to a line follow one another, so that the CPU writes all of it. */
static void lines_copy_past(char *to, const char *from, uint64_t count)
{
	for (; count; count--, to += LINE, from += LINE) {
		const __m128i *in = (const __m128i *)from;
		__m128i *out = (__m128i *)to;
		__m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
		__m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);

		_mm_stream_si128(out, a);
		_mm_stream_si128(out + 1, b);
		_mm_stream_si128(out + 2, c);
		_mm_stream_si128(out + 3, d);
	}
}

static void lines_zero_past(char *to, uint64_t count)
{
	const __m128i zero = _mm_setzero_si128();

	for (__m128i *out = (__m128i *)to; count; count--, out += 4) {
		_mm_stream_si128(out, zero);
		_mm_stream_si128(out + 1, zero);
		_mm_stream_si128(out + 2, zero);
		_mm_stream_si128(out + 3, zero);
	}
}

/* Where the first whole line of a range begins, or the range's end. */
static uint64_t lines_head(const void *to, uint64_t size)
{
	return dp_min(-(uintptr_t)to & (LINE - 1), size);
}

static void lines_copy_rest(struct dp_lines_method method, char *to, const char *from,
			    uint64_t size)
{
	memcpy(to, from, size);
	dp_lines_write_back(method, to, size);
}

void dp_lines_copy(struct dp_lines_method method, void *to, const void *from,
		   uint64_t size)
{
	uint64_t head = lines_head(to, size), tail = (size - head) % LINE;
	char *end = (char *)to + size - tail;

	lines_copy_rest(method, to, from, head);
	lines_copy_past((char *)to + head, (const char *)from + head,
			(size - head) / LINE);
	lines_copy_rest(method, end, (const char *)from + size - tail, tail);
}

static void lines_zero_rest(struct dp_lines_method method, char *to, uint64_t size)
{
	memset(to, 0, size);
	dp_lines_write_back(method, to, size);
}

void dp_lines_zero(struct dp_lines_method method, void *to, uint64_t size)
{
	uint64_t head = lines_head(to, size), tail = (size - head) % LINE;

	lines_zero_rest(method, to, head);
	lines_zero_past((char *)to + head, (size - head) / LINE);
	lines_zero_rest(method, (char *)to + size - tail, tail);
}

#elif defined(__aarch64__)

/* ------------------------------------------------------------------- arm64 */

#include <sys/auxv.h>

struct dp_lines_method dp_lines_method(void)
{
	uint64_t ctr;

	__asm__("mrs %0, ctr_el0" : "=r" (ctr));
	return dp_lines_method_arm64(getauxval(AT_HWCAP), ctr);
}

DP_INLINE void line_cvac(uintptr_t line)
{
	__asm__ volatile("dc cvac, %0" : : "r" (line) : "memory");
}

/* dc cvap, which assemblers accept only if told that the CPU has it. */
DP_INLINE void line_cvap(uintptr_t line)
{
	__asm__ volatile("sys #3, c7, c12, #1, %0" : : "r" (line) : "memory");
}

/*
 * A full barrier comes first. Write-backs are no stores: only it orders them after a
 * load of another cache line. Such a load is that of a lock, by which this thread
 * learns that another one has stored the data.
 */
void dp_lines_write_back(struct dp_lines_method method, const void *from,
			 uint64_t size)
{
	if (method.instruction == DP_LINES_NONE)
		return;
	__asm__ volatile("dmb ish" : : : "memory");
	if (method.instruction == DP_LINES_CVAP) {
		lines_each(from, size, method.step, line_cvap);
	} else {
		assert(method.instruction == DP_LINES_CVAC);
		lines_each(from, size, method.step, line_cvac);
	}
}

/* A DMB orders stores; only a DSB waits for write-backs. */
void dp_lines_await(void)
{
	__asm__ volatile("dsb sy" : : : "memory");
}

/* Non-temporal stores are a hint on arm64 and may stay in a cache, so they would have
 * to be written back, too. */
void dp_lines_copy(struct dp_lines_method method, void *to, const void *from,
		   uint64_t size)
{
	memcpy(to, from, size);
	dp_lines_write_back(method, to, size);
}

void dp_lines_zero(struct dp_lines_method method, void *to, uint64_t size)
{
	memset(to, 0, size);
	dp_lines_write_back(method, to, size);
}

#else
#error "lib/media/lines.c writes cache lines back on x86-64 and arm64 only"
#endif
