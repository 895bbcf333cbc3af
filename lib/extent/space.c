/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free blocks of a segment and those in quarantine.
 *
 *	block:	FREE (bit set) --> TAKEN (bit clear) --> FREE
 *
 *	FREE -> TAKEN		[dp_space_claim], [dp_space_claim_at], under the
 *				mutex [dp_space_take], at open
 *	TAKEN -> FREE		[dp_space_free], by any thread, without the
 *				mutex
 *	either -> QUARANTINED	[dp_space_close_off], at open; never FREE again
 *
 * A drop must not sleep, so it sets bits without the mutex; because bits are
 * only cleared under it, a run that a searcher saw free stays free until it is
 * claimed, and a claim never has to be undone.
 *
 * Invariants:
 *	I14	an extent's state is final before its bits are set: the release
 *		in dp_space_free() pairs with the searcher's acquire (also I16)
 *	I18	blocks are freed once
 *	I28	a claim gets a run that is free from end to end, or nothing
 *	I33	freeing takes no lock
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/space.h"

#define WORD_BITS	64u

int dp_space_init(struct dp_space *space, uint32_t blocks)
{
	uint32_t words = blocks / WORD_BITS;

	assert(blocks && blocks % WORD_BITS == 0);
	space->bits = malloc(words * sizeof(*space->bits));
	if (!space->bits)
		return -ENOMEM;
	memset((void *)space->bits, 0xff, words * sizeof(*space->bits));
	pthread_mutex_init(&space->mutex, NULL);
	space->blocks = blocks;
	space->hint = 0;
	space->quarantine = NULL;
	space->quarantine_count = 0;
	atomic_init(&space->free_count, blocks);
	return 0;
}

void dp_space_fini(struct dp_space *space)
{
	if (!space->bits)
		return;
	pthread_mutex_destroy(&space->mutex);
	free((void *)space->bits);
	free(space->quarantine);
	space->bits = NULL;
	space->quarantine = NULL;
}

static uint64_t space_load_word(struct dp_space *space, uint32_t word)
{
	return atomic_load_explicit(&space->bits[word], memory_order_acquire);
}

/* The part of [block, end) that lies in block's word, as a mask. */
static uint64_t space_word_mask(uint32_t block, uint32_t end,
				uint32_t *ret_next)
{
	uint32_t shift = block % WORD_BITS;
	uint32_t count = dp_min(end - block, WORD_BITS - shift);

	*ret_next = block + count;
	return (count == WORD_BITS ? ~0ull : (1ull << count) - 1) << shift;
}

/* First block at or after `block` whose bit is `set`; `end` when none. */
static uint32_t space_find_bit(struct dp_space *space, uint32_t block,
			       uint32_t end, bool set)
{
	while (block < end) {
		uint64_t word = space_load_word(space, block / WORD_BITS);

		word = (set ? word : ~word) >> block % WORD_BITS;
		if (word)
			return dp_min(block + __builtin_ctzll(word), end);
		block = (block / WORD_BITS + 1) * WORD_BITS;
	}
	return end;
}

/* First run of that length that begins in [from, to); to when none. */
static uint32_t space_find_run(struct dp_space *space, uint32_t from,
			       uint32_t to, uint32_t blocks)
{
	uint32_t block = from, end;

	while (block < to) {
		block = space_find_bit(space, block, to, true);
		if (block >= to || blocks > space->blocks - block)
			return to;
		end = space_find_bit(space, block, block + blocks, false);
		if (end == block + blocks)
			return block;
		block = end;
	}
	return to;
}

static void space_clear_run(struct dp_space *space, uint32_t block,
			    uint32_t blocks)
{
	uint32_t end = block + blocks, next;

	for (; block < end; block = next) {
		uint32_t word = block / WORD_BITS;
		uint64_t mask = space_word_mask(block, end, &next);
		uint64_t was = atomic_fetch_and_explicit(&space->bits[word],
							 ~mask,
							 memory_order_acq_rel);

		assert((was & mask) == mask);
		(void)was;
	}
	atomic_fetch_sub_explicit(&space->free_count, blocks,
				  memory_order_relaxed);
}

int dp_space_claim(struct dp_space *space, uint32_t blocks, uint32_t *ret_block)
{
	uint32_t block, to = space->blocks;

	assert(blocks);
	if (dp_space_free_count(space) < blocks)
		return -ENOSPC;
	pthread_mutex_lock(&space->mutex);
	block = space_find_run(space, space->hint, to, blocks);
	if (block == to) {
		to = space->hint;
		block = space_find_run(space, 0, to, blocks);
	}
	if (block < to) {
		space_clear_run(space, block, blocks);
		space->hint = (block + blocks) % space->blocks;
	}
	pthread_mutex_unlock(&space->mutex);
	if (block >= to)
		return -ENOSPC;
	/* I28: a run ends in the segment that it began in. */
	assert(blocks <= space->blocks - block);
	*ret_block = block;
	return 0;
}

bool dp_space_claim_at(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	uint32_t end = block + blocks;
	bool free;

	assert(blocks && end <= space->blocks);
	pthread_mutex_lock(&space->mutex);
	free = space_find_bit(space, block, end, false) == end;
	if (free)
		space_clear_run(space, block, blocks);
	pthread_mutex_unlock(&space->mutex);
	return free;
}

/* What of the mask goes back to the free blocks. */
static uint64_t space_without_quarantine(const struct dp_space *space,
					 uint32_t word, uint64_t mask)
{
	return space->quarantine ? mask & ~space->quarantine[word] : mask;
}

static uint32_t space_count_returning(const struct dp_space *space,
				      uint32_t block, uint32_t blocks)
{
	uint32_t end = block + blocks, next, count = 0;

	if (!space->quarantine)
		return blocks;
	for (; block < end; block = next) {
		uint64_t mask = space_word_mask(block, end, &next);

		count += __builtin_popcountll(space_without_quarantine(
			space, block / WORD_BITS, mask));
	}
	return count;
}

void dp_space_free(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	uint32_t returning = space_count_returning(space, block, blocks);
	uint32_t end = block + blocks, next, was_free;

	assert(blocks && end <= space->blocks);
	/* Counted first: whoever sees a bit must not count below zero. */
	was_free = atomic_fetch_add_explicit(&space->free_count, returning,
					     memory_order_relaxed);
	/* A claim counts its blocks off before anybody can free them. */
	assert(returning <= space->blocks - was_free);
	(void)was_free;
	for (; block < end; block = next) {
		uint32_t word = block / WORD_BITS;
		uint64_t mask = space_without_quarantine(
			space, word, space_word_mask(block, end, &next));
		uint64_t was = atomic_fetch_or_explicit(&space->bits[word], mask,
							memory_order_release);

		assert(!(was & mask));	/* I18: freed exactly once */
		(void)was;
	}
}

int dp_space_take(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	assert(block + blocks <= space->blocks);
	/* Later, blocks in quarantine would be taken for lost ones. */
	assert(!space->quarantine_count);
	if (space_find_bit(space, block, block + blocks, false) !=
	    block + blocks)
		return -EUCLEAN;
	space_clear_run(space, block, blocks);
	return 0;
}

int dp_space_quarantine(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	uint32_t end = block + blocks, next;

	assert(blocks && end <= space->blocks);
	assert(!space->quarantine_count);	/* not yet closed off */
	if (!space->quarantine)
		space->quarantine = calloc(space->blocks / WORD_BITS,
					   sizeof(*space->quarantine));
	if (!space->quarantine)
		return -ENOMEM;
	for (; block < end; block = next)
		space->quarantine[block / WORD_BITS] |=
			space_word_mask(block, end, &next);
	return 0;
}

void dp_space_close_off(struct dp_space *space)
{
	uint32_t words = space->quarantine ? space->blocks / WORD_BITS : 0;

	assert(!space->quarantine_count);
	for (uint32_t i = 0; i < words; i++) {
		uint64_t mask = space->quarantine[i];
		uint64_t was = atomic_fetch_and_explicit(&space->bits[i], ~mask,
							 memory_order_relaxed);

		space->quarantine_count += __builtin_popcountll(mask);
		atomic_fetch_sub_explicit(&space->free_count,
					  __builtin_popcountll(was & mask),
					  memory_order_relaxed);
	}
}

bool dp_space_is_quarantined(const struct dp_space *space, uint32_t block)
{
	assert(block < space->blocks);
	return space->quarantine &&
	       space->quarantine[block / WORD_BITS] >> block % WORD_BITS & 1;
}

bool dp_space_is_free(struct dp_space *space, uint32_t block)
{
	assert(block < space->blocks);
	return space_load_word(space, block / WORD_BITS) >> block % WORD_BITS &
	       1;
}

uint32_t dp_space_free_count(struct dp_space *space)
{
	return atomic_load_explicit(&space->free_count, memory_order_relaxed);
}

uint32_t dp_space_quarantined_count(const struct dp_space *space)
{
	return space->quarantine_count;
}
