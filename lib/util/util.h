/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small things that every module may use, in the adapters too. Bottom of the
 * layers. Each library links its own copy of util/ and exports none of it.
 */
#ifndef DP_UTIL_H
#define DP_UTIL_H

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DP_EXPORT	__attribute__((visibility("default")))
#define DP_CACHE_LINE	64
/* A function that costs less than a call of it, or whose arguments are constants. */
#define DP_INLINE	static inline __attribute__((always_inline))
#define DP_ALIGNED	__attribute__((aligned(DP_CACHE_LINE)))

/*
 * A locked read-modify-write is a full barrier on x86; elsewhere a fence is
 * needed between it and the loads after it.
 */
#ifdef __x86_64__
#define dp_fence_after_rmw()	atomic_signal_fence(memory_order_seq_cst)
#else
#define dp_fence_after_rmw()	atomic_thread_fence(memory_order_seq_cst)
#endif

/* In a loop that waits for another thread to store something. */
static inline void dp_cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Where a call that fails writes a sentence with the cause and the cure. Nothing is
 * written if text is NULL or size is 0. */
struct dp_errmsg {
	char *text;
	size_t size;
};

/* Call it at the entry of a public function, so that a sentence of an earlier call is
 * not taken for one of this call. */
static inline void dp_clear_errmsg(const struct dp_errmsg *errmsg)
{
	if (errmsg->text && errmsg->size)
		errmsg->text[0] = '\0';
}

/* Write the sentence and return error, so that callers can return the call. */
__attribute__((format(printf, 3, 4)))
static inline int dp_fail(const struct dp_errmsg *errmsg, int error,
			  const char *format, ...)
{
	va_list ap;

	assert(error < 0);
	if (errmsg && errmsg->text && errmsg->size) {
		va_start(ap, format);
		vsnprintf(errmsg->text, errmsg->size, format, ap);
		va_end(ap);
	}
	return error;
}

/* The program's log function, for messages that are not errors. fn may be NULL. */
struct dp_log {
	void (*fn)(const char *message, void *arg);
	void *arg;
};

/* Write a message that begins with the path of the pool. */
__attribute__((format(printf, 3, 4)))
static inline void dp_log_write(const struct dp_log *log, const char *path,
				const char *format, ...)
{
	char message[512];
	va_list ap;
	int length;

	if (!log->fn)
		return;
	length = snprintf(message, sizeof(message), "%.300s: ", path);
	va_start(ap, format);
	vsnprintf(message + length, sizeof(message) - length, format, ap);
	va_end(ap);
	log->fn(message, log->arg);
}

/* The errmsg and errmsg_size of a public struct of options. */
#define DP_ERRMSG_OF(options) \
	(&(struct dp_errmsg) { (options)->errmsg, (options)->errmsg_size })

/* "Could not be determined" is a result of its own (W11). */
enum dp_tristate {		/* as enum daxpin_tristate */
	DP_UNKNOWN,
	DP_NO,
	DP_YES,
};

/* YES if either is, NO if both are; otherwise UNKNOWN. */
static inline enum dp_tristate dp_tristate_or(enum dp_tristate a, enum dp_tristate b)
{
	if (a == DP_YES || b == DP_YES)
		return DP_YES;
	return a == DP_NO ? b : DP_UNKNOWN;
}

static inline uint64_t dp_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t dp_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t dp_round_up(uint64_t value, uint64_t unit)
{
	assert(unit && !(unit & (unit - 1)));
	return (value + unit - 1) & ~(unit - 1);
}

static inline bool dp_is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

/* The value of a lower-case hexadecimal digit, or -1. */
static inline int dp_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * A versioned struct begins with `size_t size`, the size that its owner was
 * compiled with. Fields that one side does not know are left as they are.
 */

/*
 * Copy the program's struct over the library's, which has `size` bytes and is
 * initialised.
 *
 * -EINVAL  its size is less than a size_t
 * -E2BIG   a byte that this library does not know is not zero
 */
int dp_copy_versioned(void *to, size_t size, const void *from);

/*
 * Fill the program's struct from the library's, which has `size` bytes, except for the
 * size field. -EINVAL: it is NULL or its size is less than a size_t.
 */
int dp_return_versioned(void *ret_to, const void *from, size_t size);

/*
 * Copy the options of a call as dp_copy_versioned() does. At the offset errmsg_at they
 * have the fields `errmsg` and `errmsg_size`, one after the other. C11: errmsg is
 * emptied, and written for -E2BIG.
 */
int dp_take_options(void *to, size_t size, const void *from, size_t errmsg_at);

#define DP_TAKE_OPTIONS(to, from) \
	dp_take_options(to, sizeof(*(to)), from, \
			offsetof(__typeof__(*(to)), errmsg))

/*
 * Call it at the end of a public function with its result, which it returns. C11: after
 * a success errmsg is empty; after a failure that has written no sentence it is `text`.
 */
static inline int dp_end_errmsg(const struct dp_errmsg *errmsg, int ret,
				const char *text)
{
	if (ret >= 0)
		dp_clear_errmsg(errmsg);
	else if (errmsg->text && errmsg->size && !errmsg->text[0])
		dp_fail(errmsg, ret, "%s", text);
	return ret;
}

#endif
