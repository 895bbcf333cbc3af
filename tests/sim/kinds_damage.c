/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damage that no order of stores can cause must be found: a word that was lost (zero,
 * as in a page that was wiped), and a word with an inverted bit, of the table, of the
 * page bitmap and of the roots. In a page of the table that is not in use nothing is
 * damage: the pool opens. A pool that opens always has its old contents.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/handle.h"
#include "kinds.h"
#include "machine/machine.h"
#include "random.h"
#include "oracle.h"
#include "media/table.h"

#define FREE_WORDS	16u		/* among the first blocks, and among all */
#define MISSED_MAX	2u

struct damage {
	const struct model *base;
	struct oracle oracle;
	struct report *report;
	uint64_t seed;
	uint32_t missed;
};

/* The bit of the page bitmap for the page that has the word of a block of segment 0. */
static bool page_is_used(uint64_t block)
{
	uint64_t page = block / 512, word;

	memcpy(&word, media_base() + DP_PAGES_OFFSET + page / 47 * 8,
	       sizeof(word));
	return word >> page % 47 & 1;
}

static bool has_its_old_contents(struct damage *damage, struct daxpin_pool *pool)
{
	return oracle_observe(&damage->oracle, pool, &damage->oracle.seen) &&
	       oracle_is_same_space(damage->base, &damage->oracle.seen);
}

/*
 * The open must be refused. A few may be accepted, because a wrong word has the right
 * 16-bit check by chance, once in 65536; a zero never has.
 */
static bool damage_is_right(struct damage *damage, uint64_t value, int ret)
{
	if (ret == -EUCLEAN && !damage->oracle.trace.events)
		return true;
	return value && !ret && damage->missed++ < MISSED_MAX;
}

/*
 * Stores the value, opens, and restores the old value. If `ignored`, an open does not
 * read this word.
 */
static bool try_word(struct damage *damage, uint64_t offset, uint64_t value,
		     bool ignored, const char *what)
{
	struct daxpin_pool *pool = NULL;
	char errmsg[300] = "", place[80];
	struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	uint64_t was = ((uint64_t *)media_base())[offset / 8];
	bool right = false;
	int ret;

	media_poke(offset / 8, value);
	machine_reboot();
	media_begin(&damage->oracle.trace, false);
	ret = daxpin_pool_open(MACHINE_POOL, &options, &pool);
	damage->report->states++;
	damage->oracle.opens++;
	if (ignored)
		right = !ret && has_its_old_contents(damage, pool);
	else
		right = damage_is_right(damage, value, ret);
	if (!ret)
		world_abandon(pool);
	media_end(&damage->oracle.trace);
	media_rewind(&damage->oracle.trace);
	media_poke(offset / 8, was);
	if (!right)
		printf("# %s, %s: open returned %d: %s\n",
		       media_place(offset, place), what, ret, errmsg);
	return right;
}

/* Tries a lost word, the word with each bit inverted, and the word of another block. */
static bool try_damage(struct damage *damage, uint64_t offset, uint64_t other,
		       bool ignored)
{
	uint64_t value = ((uint64_t *)media_base())[offset / 8];
	char what[40];

	if (!try_word(damage, offset, 0, ignored, "zero instead of a word"))
		return false;
	for (uint32_t bit = 0; bit < 64; bit++) {
		snprintf(what, sizeof(what), "bit %u inverted", bit);
		if (!try_word(damage, offset, value ^ 1ull << bit, ignored,
			      what))
			return false;
	}
	return try_word(damage, offset, ((uint64_t *)media_base())[other / 8],
			ignored, "the word of another place");
}

static bool try_block(struct damage *damage, uint64_t block)
{
	return try_damage(damage, DP_TABLE_OFFSET + dp_word_offset(block),
			  DP_TABLE_OFFSET + dp_word_offset(block ^ 64),
			  !page_is_used(block));
}

static bool try_root(struct damage *damage, uint32_t slot)
{
	uint64_t offset = DP_ROOTS_OFFSET + slot * sizeof(struct dp_root) +
			  offsetof(struct dp_root, word);

	return try_damage(damage, offset, offset + sizeof(struct dp_root),
			  false);
}

/* Each word of segment 0's page bitmap. */
static bool try_pages(struct damage *damage)
{
	for (uint32_t i = 0; i < DP_PAGES_WORDS; i++) {
		uint64_t at = DP_PAGES_OFFSET + i * 8;

		if (!try_damage(damage, at, i ? at - 8 : at + 8, false))
			return false;
	}
	return true;
}

static bool try_table(struct damage *damage)
{
	uint64_t random = damage->seed;

	for (uint32_t i = 0; i < damage->base->extents; i++)
		if (!try_block(damage, damage->base->extent[i].addr >> 12))
			return false;
	for (uint32_t i = 0; i < 2 * FREE_WORDS; i++)
		if (!try_block(damage, DP_CHUNK_BLOCKS +
			       random_below(&random, i % 2 ? 7000 : 1024)))
			return false;
	return true;
}

static bool try_roots(struct damage *damage)
{
	/* Three slots that name something, and some that do not. */
	for (uint32_t slot = 0; slot < 6; slot++)
		if (!try_root(damage, slot))
			return false;
	return true;
}

static void setup_rooted_pool(struct world *world)
{
	struct world_extent list[3];

	setup_left_pool(world);
	if (world_is_wrong(world) || world_list(world, list, 3) < 3)
		return;
	for (uint32_t i = 0; i < 3; i++)
		world_root(world, i, &list[i]);
}

static bool damage_words(const struct kind *kind, const struct model *base,
			 uint64_t seed, struct report *report)
{
	struct damage *damage = calloc(1, sizeof(*damage));
	bool fine;

	if (!damage)
		return false;
	damage->base = base;
	damage->report = report;
	damage->seed = seed;
	fine = try_table(damage) && try_pages(damage) && try_roots(damage);
	report->recoveries += damage->oracle.opens;
	report->failed = !fine;
	if (!fine)
		printf("# repeat: sim --kind %s --seed %llu\n", kind->name,
		       (unsigned long long)seed);
	media_trace_free(&damage->oracle.trace);
	free(damage);
	return fine;
}

static const struct kind list[] = {
	{ "damage", "words that are lost or wrong are refused", 1, 1, 1, 1, 100,
	  setup_rooted_pool, NULL, damage_words },
};

const struct kind_list kinds_damage = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};
