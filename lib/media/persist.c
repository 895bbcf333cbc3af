/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real medium: libpmem2 writes cache lines back, and on arm64 this file adds the
 * barriers that libpmem2 lacks there. Pages are written back by msync() here, because
 * libpmem2 aborts the process when msync() fails.
 *
 * libpmem2 has a list of all mappings and a lock for it. If a process forks while
 * another thread holds that lock, the child would wait for it forever. So this file
 * calls libpmem2 for the list under a mutex of its own, which fork() takes as well.
 */
#include <errno.h>
#include <libpmem2.h>
#include <pthread.h>
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

/*
 * libpmem2 (1.13) ends write-backs on arm64 with dmb ishst, which orders stores.
 * Write-backs (dc cvap, dc cvac) are no stores: a DSB waits for them, and only a full
 * barrier orders them after a load of another cache line. Such a load is that of a
 * lock, by which this thread learns that another one has stored the data. On x86,
 * libpmem2's sfence is the first, and the locked instruction that takes a lock the
 * second.
 */
static inline void persist_order_flush(void)
{
#ifdef __aarch64__
	__asm__ volatile("dmb ish" : : : "memory");
#endif
}

static inline void persist_await_flushes(void)
{
#ifdef __aarch64__
	__asm__ volatile("dsb sy" : : : "memory");
#endif
}

static void persist_flush(struct dp_persist *persist, const void *from, uint64_t size)
{
	persist_order_flush();
	persist->flush(from, size);
}

static void persist_drain(struct dp_persist *persist)
{
	persist->drain();
	persist_await_flushes();
}

void dp_persist_init(struct dp_persist *persist,
		     enum dp_granularity granularity)
{
	memset(persist, 0, sizeof(*persist));
	persist->granularity = granularity;
}

static enum pmem2_granularity to_pmem2(enum dp_granularity granularity)
{
	switch (granularity) {
	case DP_GRANULARITY_BYTE:
		return PMEM2_GRANULARITY_BYTE;
	case DP_GRANULARITY_CACHE_LINE:
		return PMEM2_GRANULARITY_CACHE_LINE;
	case DP_GRANULARITY_PAGE:
		break;
	}
	return PMEM2_GRANULARITY_PAGE;
}

/* Held by a thread that makes libpmem2 access its list of mappings, or that forks. */
static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t list_once = PTHREAD_ONCE_INIT;

static void persist_lock_list(void)
{
	pthread_mutex_lock(&list_mutex);
}

static void persist_unlock_list(void)
{
	pthread_mutex_unlock(&list_mutex);
}

/* The child's only thread is the one that forked and holds the mutex. */
static void persist_guard_forks(void)
{
	pthread_atfork(persist_lock_list, persist_unlock_list,
		       persist_unlock_list);
}

static int persist_map(struct dp_persist *persist, int fd, void *base,
		       uint64_t size)
{
	struct pmem2_source *source;
	int ret = pmem2_source_from_fd(&source, fd);

	if (ret)
		return ret;
	pthread_once(&list_once, persist_guard_forks);
	persist_lock_list();
	ret = pmem2_map_from_existing(&persist->map, source, base, size,
				      to_pmem2(persist->granularity));
	persist_unlock_list();
	pmem2_source_delete(&source);
	return ret;
}

int dp_persist_bind(struct dp_persist *persist, int fd, void *base,
		    uint64_t size, const struct dp_errmsg *errmsg)
{
	int ret;

	assert(!persist->map);
	ret = persist_map(persist, fd, base, size);
	if (ret)
		goto fail;
	persist->flush = pmem2_get_flush_fn(persist->map);
	persist->drain = pmem2_get_drain_fn(persist->map);
	persist->set = pmem2_get_memset_fn(persist->map);
	persist->copy = pmem2_get_memcpy_fn(persist->map);
	return 0;
fail:
	/* libpmem2's own codes are beyond all errnos. */
	return dp_fail(errmsg, ret > PMEM2_E_UNKNOWN ? ret : -EIO,
		       "libpmem2 cannot use the mapping: %s",
		       pmem2_errormsg());
}

void dp_persist_fini(struct dp_persist *persist)
{
	if (!persist->map)
		return;
	persist_lock_list();
	pmem2_map_delete(&persist->map);
	persist_unlock_list();
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

void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size)
{
	if (persist->granularity != DP_GRANULARITY_CACHE_LINE ||
	    size < ZERO_PAST_CACHES)
		memset(to, 0, size);
	else
		/* The function ends with a fence, because these stores are not ordered
		   with those of the thread that gets the extent next. */
		persist->set(to, 0, size, PMEM2_F_MEM_NONTEMPORAL);
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
	persist->set(to, 0, size, PMEM2_F_MEM_NONTEMPORAL);
	persist_await_flushes();
	return 0;
}

int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size)
{
	if (persist->granularity == DP_GRANULARITY_PAGE)
		return flush_pages(persist, from, size);
	persist_flush(persist, from, size);
	return 0;
}

int dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
			 uint64_t size)
{
	if (persist->granularity != DP_GRANULARITY_PAGE) {
		persist->copy(to, from, size,
			      PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_NODRAIN);
		return 0;
	}
	memcpy(to, from, size);
	return flush_pages(persist, to, size);
}

void dp_persist_fence(struct dp_persist *persist)
{
	if (persist->granularity != DP_GRANULARITY_PAGE)
		persist_drain(persist);
}

int dp_persist_collect(struct dp_persist *persist, const void *from,
		       uint64_t size)
{
	if (persist->granularity != DP_GRANULARITY_PAGE)
		persist_flush(persist, from, size);
	return 0;
}

int dp_persist_settle(struct dp_persist *persist, int fd)
{
	if (persist->granularity == DP_GRANULARITY_PAGE)
		return remember_error(persist, dp_os_syncfs(fd));
	persist_drain(persist);
	return 0;
}

int dp_persist_error(struct dp_persist *persist)
{
	return atomic_load_explicit(&persist->error, memory_order_acquire);
}
