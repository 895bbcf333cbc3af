/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free space of a segment: free runs by length under a lock, and a bitmap of
 * blocks that were freed while another thread had the lock.
 *
 * A drop must not wait, so it only tries the lock. If the lock is taken, the drop sets
 * the blocks' bits in `returned`. It then sets the bits in `returned_groups` of the
 * groups that have these words, and tries once more. Each thread that gets the lock
 * adds the returned blocks to the free runs before anything else, and after the release
 * it reads `returned_groups` again:
 *
 *	freeing thread				thread with the lock
 *	(1) sets bits of returned
 *	(2) sets bits of returned_groups	(4) releases the lock
 *	(3) tries the lock			(5) reads returned_groups
 *
 * All of (2) to (5) are seq_cst. If (3) found the lock taken, it comes before (4) in
 * the total order of these operations, so (5) reads the result of (2), and that thread
 * tries the lock again. So returned blocks stay in `returned` only while a thread has
 * the lock. tests/model/returns.pml searches the interleavings.
 *
 * A thread must not be refused while a run that it freed itself is still in `returned`.
 * Therefore `returns`, one counter for the pool, counts the segments with returned
 * blocks: a thread raises it before (2), and the thread that adds the blocks to the
 * free runs lowers it. A claim that found no space reads it, and if it is not 0 adds
 * the blocks of all segments (dp_space_settle()) before it is refused.
 *
 * Invariants:
 *	I14	an extent's state is final before its blocks can be found: the thread
 *		that adds the blocks to the free runs releases the lock, and the thread
 *		that claims them acquires it. The release in (1) pairs with the acquire
 *		in space_drain_word() (also I16)
 *	I28	a claim gets a run that is free from end to end, or nothing
 *	I33	freeing waits for no lock
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/space.h"

#define WORD_BITS	64u
#define GROUPS		64u

/* ----------------------------------------------------------- under the lock */

/* Make a free run available to searches. */
static void space_add(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	uint32_t length = dp_runs_add(&space->runs, block, blocks);

	if (!space->closed && length > dp_longest_get(space->longest, space->number))
		dp_longest_set(space->longest, space->number, length);
}

/* Add the blocks that are not in quarantine. */
static void space_add_usable(struct dp_space *space, uint32_t block,
			     uint32_t blocks)
{
	const struct dp_bits *bits = &space->bits;
	uint32_t end = block + blocks, to;

	if (!dp_bits_quarantined_count(bits)) {
		space_add(space, block, blocks);
		return;
	}
	while ((block = dp_bits_find_quarantined(bits, block, end, false)) < end) {
		to = dp_bits_find_quarantined(bits, block, end, true);
		space_add(space, block, to - block);
		block = to;
	}
}

/* Add the runs of one word of `returned`. */
static void space_drain_word(struct dp_space *space, uint32_t word)
{
	uint64_t bits = atomic_load_explicit(&space->returned[word],
					     memory_order_relaxed);
	uint32_t block = word * WORD_BITS, zeroes, ones;

	if (bits)
		bits = atomic_exchange_explicit(&space->returned[word], 0,
						memory_order_acquire);
	while (bits) {
		zeroes = __builtin_ctzll(bits);
		bits >>= zeroes;
		ones = ~bits ? (uint32_t)__builtin_ctzll(~bits) : WORD_BITS;
		space_add_usable(space, block + zeroes, ones);
		block += zeroes + ones;
		bits = ones == WORD_BITS ? 0 : bits >> ones;
	}
}

/* Add all returned blocks. */
static void space_drain(struct dp_space *space)
{
	uint32_t words = space->bits.blocks / WORD_BITS;
	uint64_t groups = atomic_exchange(&space->returned_groups, 0);
	uint32_t word, end;

	if (!groups)
		return;
	for (; groups; groups &= groups - 1) {
		word = __builtin_ctzll(groups) * space->group_words;
		end = dp_min(word + space->group_words, words);
		while (word < end)
			space_drain_word(space, word++);
	}
	atomic_fetch_sub(space->returns, 1);
}

static bool space_has_returned(struct dp_space *space)
{
	return atomic_load(&space->returned_groups);
}

static void space_enter(struct dp_space *space)
{
	dp_short_lock_take(&space->lock);
	if (space_has_returned(space))
		space_drain(space);
}

static void space_leave(struct dp_space *space)
{
	dp_short_lock_release(&space->lock);
	while (space_has_returned(space) && dp_short_lock_try(&space->lock)) {
		space_drain(space);
		dp_short_lock_release(&space->lock);
	}
}

/* ------------------------------------------------------------------ open, fini */

int dp_space_init(struct dp_space *space, uint32_t blocks)
{
	memset(space, 0, sizeof(*space));
	return dp_bits_init(&space->bits, blocks);
}

int dp_space_open(struct dp_space *space, struct dp_longest *longest,
		  uint32_t number, _Atomic uint32_t *returns)
{
	uint32_t words = space->bits.blocks / WORD_BITS;
	int ret = dp_runs_init(&space->runs, &space->bits);

	if (ret)
		return ret;
	space->returned = calloc(words, sizeof(*space->returned));
	if (!space->returned)
		return -ENOMEM;
	space->group_words = (words - 1) / GROUPS + 1;
	space->longest = longest;
	space->number = number;
	space->returns = returns;
	dp_longest_set(longest, number, dp_runs_longest(&space->runs));
	return 0;
}

void dp_space_fini(struct dp_space *space)
{
	assert(dp_short_lock_is_open(&space->lock));
	assert(!space_has_returned(space));
	dp_bits_fini(&space->bits);
	dp_runs_fini(&space->runs);
	free((void *)space->returned);
	space->returned = NULL;
}

/* ------------------------------------------------------------- claim and free */

/*
 * Lower the bound after a search that failed. A successful search does not change the
 * bound, because the bounds of several segments share a cache line, and the next free
 * would raise it again.
 */
static void space_lower_bound(struct dp_space *space, uint32_t blocks)
{
	uint32_t bound = dp_min(dp_runs_longest(&space->runs), blocks - 1);

	if (bound < dp_longest_get(space->longest, space->number))
		dp_longest_lower(space->longest, space->number, bound);
}

int dp_space_claim(struct dp_space *space, uint32_t blocks, uint32_t *ret_block)
{
	bool found;

	assert(blocks);
	space_enter(space);
	/* The caller may have read the bound before the space was closed (I67). */
	found = !space->closed && dp_runs_take(&space->runs, blocks, ret_block);
	if (!found && !space->closed)
		space_lower_bound(space, blocks);
	space_leave(space);
	/* I28: a run ends in the segment that it began in. */
	assert(!found || blocks <= space->bits.blocks - *ret_block);
	return found ? 0 : -ENOSPC;
}

bool dp_space_claim_at(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	bool found;

	assert(blocks && block + blocks <= space->bits.blocks);
	space_enter(space);
	found = dp_runs_take_at(&space->runs, block, blocks);
	space_leave(space);
	return found;
}

/* (1) and (2). */
static void space_return(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	uint32_t end = block + blocks;
	uint64_t groups = 0;

	while (block < end) {
		uint32_t word = block / WORD_BITS, shift = block % WORD_BITS;
		uint32_t count = dp_min(end - block, WORD_BITS - shift);
		uint64_t mask = (~0ull >> (WORD_BITS - count)) << shift;
		uint64_t was = atomic_fetch_or_explicit(&space->returned[word], mask,
							memory_order_release);

		assert(!(was & mask));	/* I18: freed exactly once */
		(void)was;
		groups |= 1ull << word / space->group_words;
		block += count;
	}
	atomic_fetch_add(space->returns, 1);
	/* Only the thread that makes it nonzero counts; others undo their increment. */
	if (atomic_fetch_or(&space->returned_groups, groups))
		atomic_fetch_sub(space->returns, 1);
}

void dp_space_free(struct dp_space *space, uint32_t block, uint32_t blocks)
{
	assert(blocks && block + blocks <= space->bits.blocks);
	if (!dp_short_lock_try(&space->lock)) {
		space_return(space, block, blocks);
		if (!dp_short_lock_try(&space->lock))
			return;		/* (3): the thread with the lock adds them */
		space_drain(space);
	} else {
		space_add_usable(space, block, blocks);
	}
	space_leave(space);
}

/*
 * Called under the lock. A thread that frees the extent meanwhile marks the blocks in
 * `returned`, and whether they are in quarantine is read only under the lock. So if
 * this thread removes the mark of quarantine, no other thread has read it.
 */
static int space_quarantine(struct dp_space *space, uint32_t block,
			    dp_space_owned_fn *is_owned, void *arg)
{
	bool was_free = dp_runs_take_at(&space->runs, block, 1);
	int ret = dp_bits_quarantine_taken(&space->bits, block);

	if (ret && was_free)
		space_add(space, block, 1);
	if (ret || was_free || is_owned(arg))
		return ret;
	dp_bits_release_taken(&space->bits, block);
	return -ESTALE;
}

int dp_space_quarantine(struct dp_space *space, uint32_t block,
			dp_space_owned_fn *is_owned, void *arg)
{
	int ret;

	space_enter(space);
	ret = space_quarantine(space, block, is_owned, arg);
	space_leave(space);
	return ret;
}

void dp_space_close(struct dp_space *space, bool closed)
{
	space_enter(space);
	assert(space->closed != closed);
	space->closed = closed;
	dp_longest_set(space->longest, space->number,
		       closed ? 0 : dp_runs_longest(&space->runs));
	space_leave(space);
}

void dp_space_settle(struct dp_space *space)
{
	space_enter(space);
	space_leave(space);
}
