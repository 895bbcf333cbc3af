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
 * Set the bits in memory from `raw`, the word with that index (below DP_PAGES_WORDS) of
 * the bitmap on media. False: its check fails, and no bit was set.
 */
bool dp_pages_take(struct dp_pages *pages, uint32_t index, uint64_t raw);
/* The value of a word of the bitmap for the bits in memory. */
uint64_t dp_pages_word(const struct dp_pages *pages, uint32_t index);

/* A used page remains used, and its words on media are formatted. */
static inline bool dp_pages_is_used(const struct dp_pages *pages, uint32_t page)
{
	assert(page < pages->count);
	return atomic_load_explicit(&pages->used[page / 64],
				    memory_order_acquire) >> page % 64 & 1;
}
/* The first used page at or after `page`, or the number of pages if there is none. */
uint32_t dp_pages_next(const struct dp_pages *pages, uint32_t page);
/* Mark a page as used in memory only. For a damaged word of the bitmap, whose bits were
 * derived from the pages. */
void dp_pages_assume(struct dp_pages *pages, uint32_t page);

/*
 * Begin to use a page: format() makes its words FREE. They are durable before the
 * page's bit, and the bit is durable when this returns 0 (D19). If several threads call
 * it, one formats the page and the others wait. On -errno format() or a flush failed,
 * and the page is unused in memory; its bit on media may be set.
 */
int dp_pages_begin(struct dp_pages *pages, uint32_t page,
		   int (*format)(const void *arg, uint32_t page),
		   const void *arg);

#endif
