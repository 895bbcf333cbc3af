/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real medium: the granularity decides what a store needs, lines.c has the
 * instructions, and pages are written back by msync().
 */
#include <errno.h>
#include "media/lines.h"
#include "media/persist.h"
#include "os/os.h"
#include "util/cancel.h"

/*
 * From this size on, a range is zeroed by stores that bypass the caches. They are
 * faster than ordinary stores and write-backs (64 KiB in 0.85 us; with the write-back
 * of the KEEP in 1.7 us instead of 3.2), but the CPU's next access to the range misses
 * the caches. If the CPU reads or writes all of the range soon, these misses cost more
 * than the stores have saved (6.0 us instead of 3.8). But a range of this size, which
 * would fill the first cache, is more likely to be filled by a device, or by the CPU in
 * small parts.
 */
#define ZERO_PAST_CACHES (32u << 10)

int dp_persist_init(struct dp_persist *persist, enum dp_granularity granularity,
		    const struct dp_errmsg *errmsg)
{
	memset(persist, 0, sizeof(*persist));
	persist->granularity = granularity;
	if (granularity != DP_GRANULARITY_CACHE_LINE)
		return 0;
	persist->method = dp_lines_method();
	if (persist->method.instruction == DP_LINES_NONE)
		return dp_fail(errmsg, -EOPNOTSUPP,
			       "this CPU reports no instruction that writes cache lines back: use page granularity, or byte granularity if the platform saves its caches");
	return 0;
}

void dp_persist_store(struct dp_persist *persist, void *to, uint64_t value)
{
	(void)persist;
	assert(!((uintptr_t)to & 7));
	atomic_store_explicit((_Atomic uint64_t *)to, value,
			      memory_order_release);
}

void dp_persist_copy(struct dp_persist *persist, void *to, const void *from,
		     uint64_t size)
{
	(void)persist;
	memcpy(to, from, size);
}

/* The fence is needed even if the zeroes need not be durable: these stores are not
 * ordered with those of the thread that gets the extent next. */
static void persist_zero_past(struct dp_persist *persist, void *to, uint64_t size)
{
	dp_lines_zero(persist->method, to, size);
	dp_lines_await();
}

void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size)
{
	if (persist->granularity != DP_GRANULARITY_CACHE_LINE ||
	    size < ZERO_PAST_CACHES)
		memset(to, 0, size);
	else
		persist_zero_past(persist, to, size);
}

/* Keep the first error. */
static int remember_error(struct dp_persist *persist, int ret)
{
	int none = 0;

	if (ret)
		atomic_compare_exchange_strong(&persist->error, &none, ret);
	return ret;
}

/* Not inlined, so that dp_persist_flush() saves no registers for it. */
__attribute__((noinline))
static int flush_pages(struct dp_persist *persist, const void *from,
		       uint64_t size)
{
	DP_UNCANCELLED();

	return remember_error(persist, dp_os_msync(from, size));
}

int dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size)
{
	if (persist->granularity == DP_GRANULARITY_PAGE) {
		memset(to, 0, size);
		return flush_pages(persist, to, size);
	}
	persist_zero_past(persist, to, size);
	return 0;
}

int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size)
{
	if (persist->granularity == DP_GRANULARITY_PAGE)
		return flush_pages(persist, from, size);
	dp_lines_write_back(persist->method, from, size);
	return 0;
}

int dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
			 uint64_t size)
{
	if (persist->granularity != DP_GRANULARITY_PAGE) {
		dp_lines_copy(persist->method, to, from, size);
		return 0;
	}
	memcpy(to, from, size);
	return flush_pages(persist, to, size);
}

void dp_persist_fence(struct dp_persist *persist)
{
	if (persist->granularity != DP_GRANULARITY_PAGE)
		dp_lines_await();
}

int dp_persist_collect(struct dp_persist *persist, const void *from,
		       uint64_t size)
{
	if (persist->granularity != DP_GRANULARITY_PAGE)
		dp_lines_write_back(persist->method, from, size);
	return 0;
}

int dp_persist_settle(struct dp_persist *persist, int fd)
{
	if (persist->granularity == DP_GRANULARITY_PAGE)
		return remember_error(persist, dp_os_syncfs(fd));
	dp_lines_await();
	return 0;
}

int dp_persist_error(struct dp_persist *persist)
{
	return atomic_load_explicit(&persist->error, memory_order_acquire);
}
