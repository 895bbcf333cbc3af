/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The root directory: up to DP_ROOTS names, each for one extent. In memory it
 * is a copy of what is on media, and which slots a publish has claimed (D18).
 */
#ifndef DP_ROOT_H
#define DP_ROOT_H

#include <pthread.h>
#include "media/badblocks.h"
#include "media/lane.h"
#include "media/layout.h"
#include "media/persist.h"

#define DP_ROOT_NAME_PARTS (DP_ROOT_NAME_MAX / sizeof(uint64_t))
#define DP_ROOT_PLACES	(2 * DP_ROOTS)	/* a power of two: half of them empty */

/* private to root.c */
struct dp_root_slot {
	/* What a search reads has a cache line. */
	_Atomic uint64_t name[DP_ROOT_NAME_PARTS] DP_ALIGNED;
	_Atomic uint64_t word;		/* 0: free, or not durable yet */
	uint32_t hash;			/* of the name, while it has one */
	_Atomic uint64_t claims DP_ALIGNED;
	bool counted;			/* in the roots of the extent's state */
	bool damaged;			/* a degraded open goes around it */
};

/* private to root.c */
struct dp_roots {
	struct dp_root *media;
	const struct dp_badblocks_view *view;	/* of segment 0, for reading it */
	uint64_t seed;
	struct dp_persist *persist;
	struct dp_root_slot *slot;
	pthread_mutex_t mutex DP_ALIGNED;	/* of the names */
	uint64_t free[DP_ROOTS / 64];		/* slots without one */
	_Atomic uint64_t version DP_ALIGNED;	/* odd while names change */
	_Atomic uint16_t place[DP_ROOT_PLACES];	/* by hash: a slot + 1, or 0 */
};

/* A slot, taken apart. */
struct dp_root_view {
	struct dp_root_word word;
	bool claimed;
	bool counted;
	bool damaged;
};

int dp_roots_init(struct dp_roots *roots, char *base,
		  const struct dp_badblocks_view *view, uint64_t seed,
		  struct dp_persist *persist);
void dp_roots_fini(struct dp_roots *roots);

/*
 * Read the directory as it will be when the pending lanes are applied. fn says
 * whether the extent that a root names is there and counts it. -EUCLEAN: a word
 * or a name does not check out; -EIO. If degraded such slots are gone around:
 * no name finds them, and no new one takes them.
 */
int dp_roots_load(struct dp_roots *roots, const struct dp_lanes *lanes,
		  bool degraded,
		  bool (*fn)(void *arg, struct dp_root_word word), void *arg,
		  const struct dp_errmsg *errmsg);

/* Would that value at that offset in segment 0 be a root word? */
bool dp_roots_accept(const struct dp_roots *roots, uint64_t offset,
		     uint64_t value);

/* What a name names: -ENOENT nothing. Takes no lock, unless names come and go. */
int dp_root_find(struct dp_roots *roots, const char *name,
		 struct dp_root_word *ret_word);

/*
 * Claim the slot of a name; make: take a free slot where it has none yet.
 * -EBUSY: another publish has it, *ret_slot says which; -ENOENT; -ENOSPC.
 */
int dp_root_claim(struct dp_roots *roots, const char *name, bool make,
		  uint32_t *ret_slot);
/* The claim ends and nothing happened. */
void dp_root_unclaim(struct dp_roots *roots, uint32_t slot);

/* The change of the slot's word that makes it name a block (0: nothing). */
struct dp_lane_entry dp_root_change(const struct dp_roots *roots, uint32_t slot,
				    struct dp_root_word word);
/* A claimed slot that named nothing: its name, durable after the next fence. */
int dp_root_write_name(struct dp_roots *roots, uint32_t slot);
bool dp_root_is_new(const struct dp_roots *roots, uint32_t slot);

/*
 * The claim ends and media says what the word says. Returns the block whose
 * state counted this root until now, or 0.
 */
uint64_t dp_root_settle(struct dp_roots *roots, uint32_t slot,
			struct dp_root_word word);

/* The name of a slot and what it says; false: it names nothing. */
bool dp_root_at(struct dp_roots *roots, uint32_t slot,
		char ret_name[DP_ROOT_NAME_MAX], struct dp_root_word *ret_word);

/* A slot of which no publish is under way. */
struct dp_root_view dp_root_view(const struct dp_roots *roots, uint32_t slot);

/* Of a claimed slot: the block whose state counts it, or 0. */
uint64_t dp_root_counted(const struct dp_roots *roots, uint32_t slot);

#endif
