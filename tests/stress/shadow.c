/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each block has an owner's word: its generation, and the number of the extent's first
 * block (its head). The head has a second word, for the generation:
 *
 *	 63             24   23   22     16 15      0
 *	+-----------------+------+---------+---------+
 *	|   generation    | kept | endings |  holds  |
 *	+-----------------+------+---------+---------+
 *
 * A thread that takes over a block sets the old generation's second word to 0, which
 * is allowed only without holds, and only while a thread is ending the generation.
 * Other threads that take blocks of the same old generation find that it has ended.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "shadow.h"

#define HOLDS		UINT64_C(0xffff)
#define ENDING		(UINT64_C(1) << 16)
#define ENDINGS		(UINT64_C(0x7f) << 16)
#define KEPT		(UINT64_C(1) << 23)
#define GENERATION_SHIFT	24		/* in an owner's word: above the head */
#define HEAD		((UINT64_C(1) << GENERATION_SHIFT) - 1)

struct generation {
	_Atomic uint64_t word;
	_Atomic uint64_t gen;
	_Atomic uint32_t blocks;
};

static struct {
	_Atomic uint64_t *owner;	/* of each block; 0: none yet */
	struct generation *generation;	/* that begins at the block */
	uint64_t blocks;
	unsigned int seed;
	_Atomic uint64_t generations;
} shadow;

static void *map(uint64_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int shadow_init(uint64_t blocks, unsigned int seed)
{
	shadow.owner = map(blocks * sizeof(*shadow.owner));
	shadow.generation = map(blocks * sizeof(*shadow.generation));
	shadow.blocks = blocks;
	shadow.seed = seed;
	atomic_init(&shadow.generations, 0);
	return shadow.owner && shadow.generation && blocks <= HEAD ? 0 : -1;
}

void shadow_reset(void)
{
	memset((void *)shadow.owner, 0, shadow.blocks * sizeof(*shadow.owner));
	memset(shadow.generation, 0, shadow.blocks * sizeof(*shadow.generation));
}

void shadow_fini(void)
{
	munmap((void *)shadow.owner, shadow.blocks * sizeof(*shadow.owner));
	munmap(shadow.generation, shadow.blocks * sizeof(*shadow.generation));
}

uint64_t shadow_generations(void)
{
	return atomic_load_explicit(&shadow.generations, memory_order_relaxed);
}

/* Ends by _exit(), since exit() could wait for a lock that another thread has. */
void shadow_fail(const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "# stress: %s\n# stress: --seed %u\n", text,
		shadow.seed);
	_exit(1);
}

static uint64_t block_of(struct daxpin_extent extent)
{
	return extent.addr / DAXPIN_BLOCK_SIZE;
}

static uint64_t generation_of(uint64_t word)
{
	return word >> GENERATION_SHIFT;
}

static struct generation *generation_at(struct daxpin_extent extent)
{
	if (block_of(extent) >= shadow.blocks)
		shadow_fail("an extent at 0x%" PRIx64 ", past the pool",
			    extent.addr);
	return &shadow.generation[block_of(extent)];
}

static uint64_t load(_Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *word, uint64_t *was, uint64_t to)
{
	return atomic_compare_exchange_weak_explicit(word, was, to,
						     memory_order_relaxed,
						     memory_order_relaxed);
}

/* The generation that had the block must have released it. */
static void take_over(uint64_t owner, uint64_t block, uint64_t generation)
{
	_Atomic uint64_t *at = &shadow.generation[owner & HEAD].word;
	uint64_t word = load(at);

	do {
		if (generation_of(word) != generation_of(owner))
			return;
		if (word & HOLDS || !(word & ENDINGS))
			shadow_fail("overlap: block %" PRIu64 " of generation %" PRIu64
				    ", which has %" PRIu64 " holds and %" PRIu64
				    " threads ending it, was given to generation %" PRIu64,
				    block, generation_of(owner), word & HOLDS,
				    (word & ENDINGS) / ENDING, generation);
	} while (!swap(at, &word, 0));
}

struct named shadow_begin(struct daxpin_extent extent, uint32_t blocks)
{
	uint64_t id = 1 + atomic_fetch_add_explicit(&shadow.generations, 1,
						    memory_order_relaxed);
	uint64_t head = block_of(extent), nobody = 0;
	struct generation *generation = generation_at(extent);

	if (blocks > shadow.blocks - head)
		shadow_fail("generation %" PRIu64 " ends past the pool", id);
	for (uint64_t b = head; b < head + blocks; b++) {
		uint64_t was = atomic_exchange_explicit(&shadow.owner[b],
			id << GENERATION_SHIFT | head, memory_order_relaxed);

		if (was)
			take_over(was, b, id);
	}
	atomic_store_explicit(&generation->gen, extent.gen,
			      memory_order_relaxed);
	atomic_store_explicit(&generation->blocks, blocks,
			      memory_order_relaxed);
	if (!atomic_compare_exchange_strong_explicit(&generation->word, &nobody,
						     id << GENERATION_SHIFT,
						     memory_order_relaxed,
						     memory_order_relaxed))
		shadow_fail("overlap: generations %" PRIu64 " and %" PRIu64
			    " both begin at block %" PRIu64,
			    generation_of(nobody), id, head);
	return (struct named) { extent, id, blocks };
}

void shadow_hold(struct named named)
{
	_Atomic uint64_t *at = &generation_at(named.extent)->word;
	uint64_t word = load(at);

	do {
		if (generation_of(word) != named.generation)
			shadow_fail("overlap: generation %" PRIu64 " is held, and "
				    "block %" PRIu64 " is generation %" PRIu64 "'s",
				    named.generation, block_of(named.extent),
				    generation_of(word));
	} while (!swap(at, &word, word + 1));
}

void shadow_drop(struct named named)
{
	uint64_t was = atomic_fetch_sub_explicit(
		&generation_at(named.extent)->word, 1, memory_order_relaxed);

	if (generation_of(was) != named.generation || !(was & HOLDS))
		shadow_fail("overlap: generation %" PRIu64 " is held, and block %"
			    PRIu64 " is generation %" PRIu64 "'s", named.generation,
			    block_of(named.extent), generation_of(was));
}

uint32_t shadow_holds(struct named named)
{
	uint64_t word = load(&generation_at(named.extent)->word);

	return generation_of(word) == named.generation ? word & HOLDS : 0;
}

bool shadow_any_held(void)
{
	for (uint64_t b = 0; b < shadow.blocks; b++)
		if (load(&shadow.generation[b].word) & HOLDS)
			return true;
	return false;
}

/* Returns false if the word belongs to another generation now. */
static bool change(struct named named, uint64_t add, uint64_t set)
{
	_Atomic uint64_t *at = &generation_at(named.extent)->word;
	uint64_t word = load(at);

	do {
		if (generation_of(word) != named.generation)
			return false;
	} while (!swap(at, &word, (word + add) | set));
	return true;
}

bool shadow_ending(struct named named)
{
	return change(named, ENDING, 0);
}

void shadow_not_ended(struct named named)
{
	change(named, -ENDING, 0);
}

void shadow_kept(struct named named)
{
	change(named, 0, KEPT);
}

bool shadow_is_over(struct named named)
{
	return generation_of(load(&generation_at(named.extent)->word)) !=
	       named.generation;
}

bool shadow_may_be_over(struct named named)
{
	uint64_t word = load(&generation_at(named.extent)->word);

	return generation_of(word) != named.generation || word & ENDINGS;
}

struct named shadow_find(struct daxpin_extent extent)
{
	struct generation *generation = generation_at(extent);
	uint64_t word = load(&generation->word);
	uint64_t gen = load(&generation->gen);

	if (!word || gen != extent.gen)
		shadow_fail("block %" PRIu64 ": gen %" PRIx64
			    " is held, generation %" PRIu64 " with gen %" PRIx64
			    " is there",
			    block_of(extent), extent.gen, generation_of(word),
			    gen);
	return (struct named) { extent, generation_of(word),
			       atomic_load_explicit(&generation->blocks,
						    memory_order_relaxed) };
}

void shadow_removed(uint64_t block)
{
	for (; block < shadow.blocks; block++) {
		uint64_t word = load(&shadow.generation[block].word);

		if (word && (word & HOLDS || !(word & ENDINGS)))
			shadow_fail("block %" PRIu64 " was removed with generation %"
				    PRIu64 ", which has %" PRIu64 " holds and %" PRIu64
				    " threads ending it", block, generation_of(word),
				    word & HOLDS, (word & ENDINGS) / ENDING);
	}
}

enum shadow_state shadow_look(uint64_t block, struct named *ret_named)
{
	struct generation *generation = &shadow.generation[block];
	uint64_t word = load(&generation->word);

	*ret_named = (struct named) {
		{ block * DAXPIN_BLOCK_SIZE, load(&generation->gen) },
		generation_of(word),
		atomic_load_explicit(&generation->blocks, memory_order_relaxed),
	};
	if (!word || (word & ENDINGS && !(word & HOLDS)))
		return SHADOW_OVER;
	if (word & ENDINGS)
		return SHADOW_RETIRED;
	return word & KEPT ? SHADOW_LIVE : SHADOW_RESERVED;
}

void shadow_forget(struct named named)
{
	atomic_store_explicit(&generation_at(named.extent)->word, 0,
			      memory_order_relaxed);
}

void shadow_reopened(struct named *named, struct daxpin_extent extent)
{
	named->extent = extent;
	atomic_store_explicit(&generation_at(extent)->gen, extent.gen,
			      memory_order_relaxed);
}
