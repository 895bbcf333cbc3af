/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of a segment's descriptor table are used: the bitmap on media, and the
 * same bits in memory.
 */
#ifndef DP_PAGES_H
#define DP_PAGES_H

#include <pthread.h>
#include "media/layout.h"
#include "media/persist.h"

struct dp_pages {
	/* Private to pages.c. */
	uint32_t count;			/* pages of the table */
	char *base;			/* of the segment */
	struct dp_persist *persist;
	uint64_t seed;
	uint64_t first_block;		/* of the segment, in the pool */
	pthread_mutex_t mutex;		/* of threads that begin a page */
	_Atomic uint64_t used[DP_PAGES_MAX / 64];
};

/* No page is used. base and persist may be NULL if no page will be begun. */
void dp_pages_init(struct dp_pages *pages, uint32_t count, char *base,
		   uint64_t first_block, uint64_t seed,
		   struct dp_persist *persist);
void dp_pages_fini(struct dp_pages *pages);

/* A bitmap without a used page; durable after the next fence. */
int dp_pages_format(const struct dp_pages *pages);

/*
 * Take the bits of word `index` (below DP_PAGES_WORDS) of the bitmap from what stands
 * there. False: it does not check out, and nothing is taken.
 */
bool dp_pages_take(struct dp_pages *pages, uint32_t index, uint64_t raw);
/* The value of a word of the bitmap for the bits in memory. */
uint64_t dp_pages_word(const struct dp_pages *pages, uint32_t index);

/* A page that is seen as used stays so, and its words on media were formatted. */
bool dp_pages_is_used(const struct dp_pages *pages, uint32_t page);
/* The first used page from there on; behind the last one: how many pages there are. */
uint32_t dp_pages_next(const struct dp_pages *pages, uint32_t page);
/* In memory alone: what a damaged word of the bitmap said was found out otherwise. */
void dp_pages_assume(struct dp_pages *pages, uint32_t page);

/*
 * Begin to use a page: format() makes its words FREE, which is durable before its bit
 * is, and the bit is durable when this returns 0 (D19). Of several threads one formats,
 * and the others wait for it. -errno: format() or a flush failed, and the page is not
 * used.
 */
int dp_pages_begin(struct dp_pages *pages, uint32_t page,
		   int (*format)(const void *arg, uint32_t page),
		   const void *arg);

#endif
