/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the page bitmap of a segment. A page has one transition, in three steps:
 *
 *	UNUSED --> USED		[dp_pages_begin], under the mutex:
 *
 *	all its words are FREE, generation 0		fence
 *	its bit in the bitmap, one 8-byte store		fence
 *	its bit in memory
 *
 * Keeps D19: a word of the table is stored after its page's bit is durable, so an
 * open that skips unused pages misses no extent. A power cut between the fences
 * leaves a formatted page that is unused; the next use formats it again. The bit in
 * memory is set with release and read with acquire: a thread that sees it may store
 * to the page.
 */
#include "media/pages.h"
#include "util/cancel.h"

void dp_pages_init(struct dp_pages *pages, uint32_t count, char *base,
		   uint64_t first_block, uint64_t seed,
		   struct dp_persist *persist)
{
	assert(count <= DP_PAGES_MAX);
	memset(pages, 0, sizeof(*pages));
	pages->count = count;
	pages->base = base;
	pages->first_block = first_block;
	pages->seed = seed;
	pages->persist = persist;
	pthread_mutex_init(&pages->mutex, NULL);
}

void dp_pages_fini(struct dp_pages *pages)
{
	pthread_mutex_destroy(&pages->mutex);
}

uint32_t dp_pages_next(const struct dp_pages *pages, uint32_t page)
{
	while (page < pages->count && !dp_pages_is_used(pages, page))
		page++;
	return page;
}

void dp_pages_assume(struct dp_pages *pages, uint32_t page)
{
	assert(page < pages->count);
	atomic_fetch_or_explicit(&pages->used[page / 64], 1ull << page % 64,
				 memory_order_release);
}

bool dp_pages_take(struct dp_pages *pages, uint32_t index, uint64_t raw)
{
	uint32_t first = index * DP_PAGES_WORD_BITS;
	uint64_t bits;

	assert(index < DP_PAGES_WORDS);
	if (!dp_pages_decode(pages->seed, pages->first_block + index, raw,
			     &bits))
		return false;
	if (bits && first + 63 - __builtin_clzll(bits) >= pages->count)
		return false;
	for (; bits; bits &= bits - 1)
		dp_pages_assume(pages, first + __builtin_ctzll(bits));
	return true;
}

/* The bits that word `index` of the bitmap must have, from those in memory. */
static uint64_t pages_bits(const struct dp_pages *pages, uint32_t index)
{
	uint32_t first = index * DP_PAGES_WORD_BITS;
	uint32_t end = dp_min(first + DP_PAGES_WORD_BITS, pages->count);
	uint64_t bits = 0;

	for (uint32_t page = first; page < end; page++)
		bits |= (uint64_t)dp_pages_is_used(pages, page) << (page - first);
	return bits;
}

uint64_t dp_pages_word(const struct dp_pages *pages, uint32_t index)
{
	return dp_pages_encode(pages->seed, pages->first_block + index,
			       pages_bits(pages, index));
}

static int pages_store(const struct dp_pages *pages, uint32_t index,
		       uint64_t bits)
{
	uint64_t *to = (uint64_t *)(pages->base + DP_PAGES_OFFSET) + index;

	assert(pages->base && index < DP_PAGES_WORDS);
	dp_persist_store(pages->persist, to,
			 dp_pages_encode(pages->seed,
					 pages->first_block + index, bits));
	return dp_persist_flush(pages->persist, to, sizeof(*to));
}

int dp_pages_format(const struct dp_pages *pages)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < DP_PAGES_WORDS; i++)
		ret = pages_store(pages, i, 0);
	return ret;
}

/* Set the page's bit in the bitmap on media, durably. */
static int pages_mark(const struct dp_pages *pages, uint32_t page)
{
	uint32_t index = page / DP_PAGES_WORD_BITS;
	uint64_t bit = 1ull << page % DP_PAGES_WORD_BITS;
	int ret = pages_store(pages, index, pages_bits(pages, index) | bit);

	dp_persist_fence(pages->persist);
	return ret;
}

static int pages_begin_locked(struct dp_pages *pages, uint32_t page,
			      int (*format)(const void *arg, uint32_t page),
			      const void *arg)
{
	int ret = format(arg, page);

	dp_persist_fence(pages->persist);
	if (!ret)
		ret = pages_mark(pages, page);
	if (!ret)
		dp_pages_assume(pages, page);
	return ret;
}

int dp_pages_begin(struct dp_pages *pages, uint32_t page,
		   int (*format)(const void *arg, uint32_t page),
		   const void *arg)
{
	DP_UNCANCELLED();
	int ret = 0;

	pthread_mutex_lock(&pages->mutex);
	if (!dp_pages_is_used(pages, page))
		ret = pages_begin_locked(pages, page, format, arg);
	assert(ret || dp_pages_is_used(pages, page));
	pthread_mutex_unlock(&pages->mutex);
	return ret;
}
