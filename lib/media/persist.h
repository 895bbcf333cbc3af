/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes stores durable, as the granularity requires. This is the second seam: the crash
 * simulator replaces it and records stores, flushes and fences.
 *
 *	granularity	flush			fence
 *	BYTE		nothing			sfence, dsb
 *	CACHE_LINE	each line written back	sfence, dsb
 *	PAGE		msync()			nothing
 *
 * These are the rules of libpmem2, which the tests compare with. The instruction is the
 * first of CLWB, CLFLUSHOPT and CLFLUSH that CPUID reports; on arm64 it is DC CVAP if
 * AT_HWCAP has it, otherwise DC CVAC. Zeroes of 32 KiB or more, wipes and copies bypass
 * the caches. With BYTE these need the fence, too: x86 does not order them otherwise.
 * Not as in libpmem2:
 *
 *   - On arm64 a DMB precedes write-backs, and a DSB follows. libpmem2 has DMB ISHST,
 *     which orders stores and waits for no write-back.
 *   - BYTE is never chosen automatically. libpmem2 does that if each NVDIMM region
 *     reports the persistence domain cpu_cache; a wrong report loses data.
 *   - CACHE_LINE is not inferred from whether MAP_SYNC succeeds. The kind of the source
 *     decides, and failing to map a DAX filesystem with MAP_SYNC is an error.
 *   - No environment variable changes anything. libpmem2 has PMEM2_FORCE_GRANULARITY,
 *     PMEM_NO_CLWB, PMEM_NO_CLFLUSHOPT, PMEM_NO_MOVNT and others.
 *   - Stores that bypass the caches have 16 bytes. libpmem2 uses AVX or AVX-512 and, on
 *     Intel's CPUs without AVX-512, an sfence after 12 lines. On a Sapphire Rapids
 *     AVX-512 was not faster, and these fences made a copy six times slower.
 *   - msync() can fail. libpmem2 then aborts the process.
 *
 * With PAGE granularity a flush is msync() and can fail. The first error is kept
 * (dp_persist_error()), because it is then unknown what is on the medium.
 */
#ifndef DP_PERSIST_H
#define DP_PERSIST_H

#include "media/lines.h"

enum dp_granularity {		/* as enum daxpin_granularity */
	DP_GRANULARITY_BYTE = 1,
	DP_GRANULARITY_CACHE_LINE,
	DP_GRANULARITY_PAGE,
};

/* private to persist.c */
struct dp_persist {
	const int *pipe;
	enum dp_granularity granularity;
	_Atomic int error;
	struct dp_lines_method method;	/* NONE unless CACHE_LINE */
};

/*
 * -EOPNOTSUPP	CACHE_LINE, and the CPU reports no instruction for it
 */
int dp_persist_init(struct dp_persist *persist, enum dp_granularity granularity,
		    const struct dp_errmsg *errmsg);

static inline enum dp_granularity
dp_persist_granularity(const struct dp_persist *persist)
{
	return persist->granularity;
}

/* The pipe through which super.c reads, see pool.h; NULL until it is set. */
static inline void dp_persist_set_pipe(struct dp_persist *persist, const int pipe[2])
{
	persist->pipe = pipe;
}

static inline const int *dp_persist_pipe(const struct dp_persist *persist)
{
	return persist->pipe;
}

/* Store 8 aligned bytes to media. A power cut leaves all of them or none. */
void dp_persist_store(struct dp_persist *persist, void *to, uint64_t value);
void dp_persist_copy(struct dp_persist *persist, void *to, const void *from,
		     uint64_t size);
/* Zero the range, which is durable after a flush and a fence. With CACHE_LINE, stores
 * to large ranges bypass the caches. */
void dp_persist_zero(struct dp_persist *persist, void *to, uint64_t size);
/* Zero a range; durable when it returns. Except with PAGE, which can fail, the stores
 * bypass the caches. */
int dp_persist_wipe(struct dp_persist *persist, void *to, uint64_t size);

/* Copy a large range, past the caches if the granularity is not PAGE; durable after the
 * next fence, without a flush. An error is that of msync(). */
int dp_persist_copy_past(struct dp_persist *persist, void *to, const void *from,
			 uint64_t size);

/* Write the range back; durable after the next fence. */
int dp_persist_flush(struct dp_persist *persist, const void *from, uint64_t size);
void dp_persist_fence(struct dp_persist *persist);
/*
 * The same for ranges in many files: collect each range, then settle once. With PAGE,
 * collect does nothing, and settle syncs the whole filesystem of fd, instead of an
 * msync() for each range.
 */
int dp_persist_collect(struct dp_persist *persist, const void *from,
		       uint64_t size);
int dp_persist_settle(struct dp_persist *persist, int fd);
/* 0, or the error of the first flush that failed. */
int dp_persist_error(struct dp_persist *persist);

#endif
