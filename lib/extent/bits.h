/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which blocks of a segment are free and backed, and which are in quarantine: two
 * bitmaps in memory. Each open builds them; they are never on media.
 */
#ifndef DP_BITS_H
#define DP_BITS_H

#include "util/util.h"

/* private to bits.c */
struct dp_bits {
	uint32_t blocks;
	_Atomic uint32_t quarantine_count;
	_Atomic uint32_t free_count;
	_Atomic uint64_t *free;
	/* NULL while no block is in quarantine. */
	_Atomic uint64_t *_Atomic quarantine;
};

/* All blocks are free. A multiple of 64 blocks. -ENOMEM. */
int dp_bits_init(struct dp_bits *bits, uint32_t blocks);
void dp_bits_fini(struct dp_bits *bits);

/*
 * Functions that change bits are called by one thread at a time. Functions that read
 * them may run at the same time, and read each word as it was before or after a change.
 */

/* Free these blocks. None of them may be free or in quarantine before. */
void dp_bits_set(struct dp_bits *bits, uint32_t block, uint32_t blocks);
/* Take these blocks. All of them must be free before. */
void dp_bits_clear(struct dp_bits *bits, uint32_t block, uint32_t blocks);
/* The same, but -EUCLEAN if one of them is not free, and then nothing changes. */
int dp_bits_take(struct dp_bits *bits, uint32_t block, uint32_t blocks);

/* First block in [block, end) that is free (or, with free false, is not free); `end` if
 * there is none. */
uint32_t dp_bits_find(const struct dp_bits *bits, uint32_t block, uint32_t end,
		      bool free);
/* First block of the free run that has this free block. */
uint32_t dp_bits_begin(const struct dp_bits *bits, uint32_t block);
bool dp_bits_are_free(const struct dp_bits *bits, uint32_t block, uint32_t blocks);
static inline bool dp_bits_is_free(const struct dp_bits *bits, uint32_t block)
{
	assert(block < bits->blocks);
	return atomic_load_explicit(&bits->free[block / 64], memory_order_relaxed) >>
	       block % 64 & 1;
}
uint32_t dp_bits_free_count(const struct dp_bits *bits);
/* How many of these blocks are free: whole words of 64. */
uint32_t dp_bits_count_free(const struct dp_bits *bits, uint32_t block,
			    uint32_t blocks);

/*
 * Quarantine these blocks, before dp_bits_close_off(). From dp_bits_close_off() on they
 * are not free and not counted as free. An extent may own some of them. -ENOMEM.
 */
int dp_bits_quarantine(struct dp_bits *bits, uint32_t block, uint32_t blocks);
void dp_bits_close_off(struct dp_bits *bits);
/*
 * After dp_bits_close_off(): quarantine a block that is taken. -EALREADY: it was in
 * quarantine. -ENOMEM. dp_bits_release_taken() undoes this; the block stays taken.
 */
int dp_bits_quarantine_taken(struct dp_bits *bits, uint32_t block);
void dp_bits_release_taken(struct dp_bits *bits, uint32_t block);
bool dp_bits_is_quarantined(const struct dp_bits *bits, uint32_t block);
/* First block in [block, end) that is in quarantine (or, with quarantined false, is
 * not); `end` if there is none. */
uint32_t dp_bits_find_quarantined(const struct dp_bits *bits, uint32_t block,
				  uint32_t end, bool quarantined);
/* Blocks in quarantine: 0 before dp_bits_close_off(). */
static inline uint32_t dp_bits_quarantined_count(const struct dp_bits *bits)
{
	return atomic_load_explicit(&bits->quarantine_count, memory_order_relaxed);
}

#endif
