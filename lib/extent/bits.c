/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free blocks of a segment and those in quarantine.
 *
 *	block:	FREE (bit set) --> TAKEN (bit clear) --> FREE
 *
 *	FREE -> TAKEN		[dp_bits_clear, dp_bits_take]
 *	TAKEN -> FREE		[dp_bits_set]
 *	either -> QUARANTINED	[dp_bits_close_off], at open; never FREE again
 *	TAKEN -> QUARANTINED	[dp_bits_quarantine_taken]; when the extent that has
 *				the block ends, the block stays taken
 *	QUARANTINED -> TAKEN	[dp_bits_release_taken], which undoes the last one
 *
 * Only one thread at a time changes words, so a change is a load and a store. The
 * words are atomic because other threads read them at the same time.
 *
 * Invariants:
 *	I18	blocks are freed once
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/bits.h"

#define WORD_BITS	64u

int dp_bits_init(struct dp_bits *bits, uint32_t blocks)
{
	uint32_t words = blocks / WORD_BITS;

	assert(blocks && blocks % WORD_BITS == 0);
	*bits = (struct dp_bits) { .blocks = blocks };
	bits->free = malloc(words * sizeof(*bits->free));
	if (!bits->free)
		return -ENOMEM;
	memset((void *)bits->free, 0xff, words * sizeof(*bits->free));
	atomic_init(&bits->free_count, blocks);
	return 0;
}

void dp_bits_fini(struct dp_bits *bits)
{
	free((void *)bits->free);
	free((void *)bits->quarantine);
	bits->free = NULL;
	bits->quarantine = NULL;
}

static uint64_t bits_load(const struct dp_bits *bits, uint32_t word)
{
	return atomic_load_explicit(&bits->free[word], memory_order_relaxed);
}

static void bits_store(struct dp_bits *bits, uint32_t word, uint64_t value)
{
	atomic_store_explicit(&bits->free[word], value, memory_order_relaxed);
}

/* A word of the bitmap of quarantined blocks, which exists. */
static uint64_t bits_quarantined(const struct dp_bits *bits, uint32_t word)
{
	return atomic_load_explicit(&bits->quarantine[word], memory_order_relaxed);
}

static void bits_set_quarantined(struct dp_bits *bits, uint32_t word, uint64_t value)
{
	atomic_store_explicit(&bits->quarantine[word], value, memory_order_relaxed);
}

/* Each block of the mask must have the other state. */
static inline void bits_change_word(struct dp_bits *bits, uint32_t word, uint64_t mask,
				    bool free)
{
	uint64_t was = bits_load(bits, word);

	assert((was & mask) == (free ? 0 : mask));	/* I18: freed exactly once */
	bits_store(bits, word, was ^ mask);
}

static void bits_count(struct dp_bits *bits, uint32_t count)
{
	assert(count <= bits->blocks);
	atomic_store_explicit(&bits->free_count, count, memory_order_relaxed);
}

/* The part of [block, end) that is in the word of `block`, as a mask. */
static uint64_t bits_mask(uint32_t block, uint32_t end, uint32_t *ret_next)
{
	uint32_t shift = block % WORD_BITS;
	uint32_t count = dp_min(end - block, WORD_BITS - shift);

	*ret_next = block + count;
	return (count == WORD_BITS ? ~0ull : (1ull << count) - 1) << shift;
}

/* Taken blocks become free, or free ones taken. Inlined, so that each has its loop. */
__attribute__((always_inline))
static inline void bits_change(struct dp_bits *bits, uint32_t block, uint32_t blocks,
			       bool free)
{
	uint32_t word = block / WORD_BITS, last = (block + blocks - 1) / WORD_BITS;
	uint64_t mask = ~0ull << block % WORD_BITS;

	assert(blocks && block + blocks <= bits->blocks);
	for (; word < last; word++, mask = ~0ull)
		bits_change_word(bits, word, mask, free);
	mask &= ~0ull >> (WORD_BITS - 1 - (block + blocks - 1) % WORD_BITS);
	bits_change_word(bits, last, mask, free);
}

void dp_bits_set(struct dp_bits *bits, uint32_t block, uint32_t blocks)
{
	assert(!dp_bits_quarantined_count(bits) ||
	       dp_bits_find_quarantined(bits, block, block + blocks, true) ==
	       block + blocks);
	bits_change(bits, block, blocks, true);
	bits_count(bits, dp_bits_free_count(bits) + blocks);
}

void dp_bits_clear(struct dp_bits *bits, uint32_t block, uint32_t blocks)
{
	bits_change(bits, block, blocks, false);
	bits_count(bits, dp_bits_free_count(bits) - blocks);
}

int dp_bits_take(struct dp_bits *bits, uint32_t block, uint32_t blocks)
{
	/* After dp_bits_close_off() blocks in quarantine are not free, so an extent
	 * that has such blocks would be refused here. */
	assert(!bits->quarantine_count);
	if (!dp_bits_are_free(bits, block, blocks))
		return -EUCLEAN;
	dp_bits_clear(bits, block, blocks);
	return 0;
}

uint32_t dp_bits_find(const struct dp_bits *bits, uint32_t block, uint32_t end,
		      bool free)
{
	while (block < end) {
		uint64_t word = bits_load(bits, block / WORD_BITS);

		word = (free ? word : ~word) >> block % WORD_BITS;
		if (word)
			return dp_min(block + __builtin_ctzll(word), end);
		block = (block / WORD_BITS + 1) * WORD_BITS;
	}
	return end;
}

uint32_t dp_bits_begin(const struct dp_bits *bits, uint32_t block)
{
	uint32_t word = block / WORD_BITS;
	uint64_t taken = ~bits_load(bits, word) << (WORD_BITS - 1 - block % WORD_BITS);

	assert(dp_bits_is_free(bits, block));
	if (taken)
		return block - __builtin_clzll(taken) + 1;
	while (word && !~bits_load(bits, word - 1))
		word--;
	if (!word)
		return 0;
	return word * WORD_BITS - __builtin_clzll(~bits_load(bits, word - 1));
}

bool dp_bits_are_free(const struct dp_bits *bits, uint32_t block, uint32_t blocks)
{
	assert(blocks && block + blocks <= bits->blocks);
	return dp_bits_find(bits, block, block + blocks, false) == block + blocks;
}

uint32_t dp_bits_free_count(const struct dp_bits *bits)
{
	return atomic_load_explicit(&bits->free_count, memory_order_relaxed);
}

uint32_t dp_bits_count_free(const struct dp_bits *bits, uint32_t block,
			    uint32_t blocks)
{
	uint32_t count = 0;

	assert(block % WORD_BITS == 0 && blocks % WORD_BITS == 0 &&
	       block + blocks <= bits->blocks);
	for (uint32_t i = 0; i < blocks; i += WORD_BITS)
		count += __builtin_popcountll(bits_load(bits, (block + i) / WORD_BITS));
	return count;
}

/* ------------------------------------------------------------- quarantine */

/* A thread that reads `quarantine` at the same time sees no bitmap, or a zeroed one. */
static int bits_need_quarantine(struct dp_bits *bits)
{
	_Atomic uint64_t *bitmap;

	if (bits->quarantine)
		return 0;
	bitmap = calloc(bits->blocks / WORD_BITS, sizeof(*bitmap));
	bits->quarantine = bitmap;
	return bitmap ? 0 : -ENOMEM;
}

int dp_bits_quarantine(struct dp_bits *bits, uint32_t block, uint32_t blocks)
{
	uint32_t end = block + blocks, next;
	int ret = bits_need_quarantine(bits);

	assert(blocks && end <= bits->blocks);
	assert(!bits->quarantine_count);	/* not yet closed off */
	if (ret)
		return ret;
	for (; block < end; block = next) {
		uint32_t word = block / WORD_BITS;

		bits_set_quarantined(bits, word, bits_quarantined(bits, word) |
						 bits_mask(block, end, &next));
	}
	return 0;
}

void dp_bits_close_off(struct dp_bits *bits)
{
	uint32_t words = bits->quarantine ? bits->blocks / WORD_BITS : 0;
	uint32_t free = dp_bits_free_count(bits);

	assert(!bits->quarantine_count);
	for (uint32_t i = 0; i < words; i++) {
		uint64_t mask = bits_quarantined(bits, i), was = bits_load(bits, i);

		bits_store(bits, i, was & ~mask);
		bits->quarantine_count += __builtin_popcountll(mask);
		free -= __builtin_popcountll(was & mask);
	}
	bits_count(bits, free);
}

bool dp_bits_is_quarantined(const struct dp_bits *bits, uint32_t block)
{
	assert(block < bits->blocks);
	return bits->quarantine &&
	       bits_quarantined(bits, block / WORD_BITS) >> block % WORD_BITS & 1;
}

int dp_bits_quarantine_taken(struct dp_bits *bits, uint32_t block)
{
	uint32_t word = block / WORD_BITS;
	int ret = bits_need_quarantine(bits);

	assert(!dp_bits_is_free(bits, block));
	if (ret)
		return ret;
	if (dp_bits_is_quarantined(bits, block))
		return -EALREADY;
	bits_set_quarantined(bits, word, bits_quarantined(bits, word) |
					 1ull << block % WORD_BITS);
	bits->quarantine_count++;
	return 0;
}

void dp_bits_release_taken(struct dp_bits *bits, uint32_t block)
{
	uint32_t word = block / WORD_BITS;

	assert(dp_bits_is_quarantined(bits, block) && !dp_bits_is_free(bits, block));
	bits_set_quarantined(bits, word, bits_quarantined(bits, word) &
					 ~(1ull << block % WORD_BITS));
	bits->quarantine_count--;
}

uint32_t dp_bits_find_quarantined(const struct dp_bits *bits, uint32_t block,
				  uint32_t end, bool quarantined)
{
	if (!bits->quarantine)
		return quarantined ? end : block;
	while (block < end && dp_bits_is_quarantined(bits, block) != quarantined)
		block++;
	return block;
}
