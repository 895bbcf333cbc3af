/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The root directory: up to DP_ROOTS names, each for one extent or object. In memory
 * there are a copy of the directory and a note of the slots that a publish has claimed
 * (D18).
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
	/* The fields that a search reads share a cache line. */
	_Atomic uint64_t name[DP_ROOT_NAME_PARTS] DP_ALIGNED;
	_Atomic uint64_t word;		/* 0: free, or not durable yet */
	uint32_t hash;			/* of the name, while it has one */
	_Atomic uint64_t claims DP_ALIGNED;
	bool counted;			/* the roots of its extent or slab include it */
	bool damaged;			/* skipped by a degraded open */
	bool in_doubt;			/* see dp_roots_write_gone() */
};

/* private to root.c */
struct dp_roots {
	struct dp_root *media;
	const struct dp_badblocks_view *view;	/* of segment 0, for reading it */
	uint64_t seed;
	struct dp_persist *persist;
	struct dp_root_slot *slot;
	pthread_mutex_t mutex DP_ALIGNED;	/* held while names change */
	uint64_t free[DP_ROOTS / 64];		/* slots without a name */
	_Atomic uint64_t version DP_ALIGNED;	/* odd while names change */
	_Atomic uint16_t place[DP_ROOT_PLACES];	/* by hash: a slot + 1, or 0 */
};

/* A slot, decoded. */
struct dp_root_view {
	struct dp_root_word word;
	bool claimed;
	bool counted;
	bool damaged;
	bool in_doubt;
};

int dp_roots_init(struct dp_roots *roots, char *base,
		  const struct dp_badblocks_view *view, uint64_t seed,
		  struct dp_persist *persist);
void dp_roots_fini(struct dp_roots *roots);

/* Does what a root names exist? */
enum dp_root_found {
	DP_ROOT_FOUND,
	DP_ROOT_LOST,			/* no; its blocks can be allocated again */
	DP_ROOT_IN_DOUBT,		/* only a repair can decide, because its words
					   are damaged: this open does not allocate its
					   blocks */
};

/*
 * Read the directory as it will be when the pending lanes are applied. fn returns
 * whether what a root names exists, and counts the root there. If it is not found,
 * the root is DP_ROOT_GONE in memory from now on. If degraded,
 * damaged slots are skipped: no name leads to them, and no new name uses them. The word
 * of one is passed to fn all the same, if its check is right.
 *
 * -EIO		the directory is unreadable
 * -ENOMEM
 * -EUCLEAN	the check of a word or of a name fails
 */
int dp_roots_load(struct dp_roots *roots, const struct dp_lanes *lanes,
		  bool degraded,
		  enum dp_root_found (*fn)(void *arg, struct dp_root_word word),
		  void *arg, const struct dp_errmsg *errmsg);

/*
 * Make the word of each root that is LOST durable as DP_ROOT_GONE. No block may have
 * been reused since dp_roots_load(). The word of a root that is IN_DOUBT stays, because
 * a repair may find what it names.
 *
 * -EIO
 */
int dp_roots_write_gone(struct dp_roots *roots);

/* Is that value, at that offset in segment 0, a valid root word? */
bool dp_roots_accept(const struct dp_roots *roots, uint64_t offset,
		     uint64_t value);

/*
 * Find the word of a name. Takes a lock only if names are added or removed again and
 * again meanwhile.
 *
 * -EINVAL		the name is empty
 * -ENAMETOOLONG	no root can have it
 * -ENOENT		there is none
 */
int dp_root_find(struct dp_roots *roots, const char *name,
		 struct dp_root_word *ret_word);

/*
 * Claim the slot of a name. make: if the name is new, take a free slot.
 *
 * -EBUSY	another publish has claimed the slot, which is in *ret_slot
 * -ENOENT	there is no such name, and make is false
 * -ENOSPC	all slots are in use
 */
int dp_root_claim(struct dp_roots *roots, const char *name, bool make,
		  uint32_t *ret_slot);
/* End the claim and change nothing. */
void dp_root_unclaim(struct dp_roots *roots, uint32_t slot);

/* The lane entry that changes the slot's word to this one; block 0 frees the slot. */
struct dp_lane_entry dp_root_change(const struct dp_roots *roots, uint32_t slot,
				    struct dp_root_word word);
/* Write the name of a claimed slot that is new; durable after the next fence. */
int dp_root_write_name(struct dp_roots *roots, uint32_t slot);
bool dp_root_is_new(const struct dp_roots *roots, uint32_t slot);

/*
 * End the claim after the word was written to media. Returns the word of the extent or
 * object that has counted this root until now; its block is 0 if there is none.
 */
struct dp_root_word dp_root_settle(struct dp_roots *roots, uint32_t slot,
			struct dp_root_word word);

/* The name and the word of a slot; false: it is free. The name of a damaged slot is
 * empty. */
bool dp_root_at(struct dp_roots *roots, uint32_t slot,
		char ret_name[DP_ROOT_NAME_MAX], struct dp_root_word *ret_word);

/* Does the root in a slot name this? */
bool dp_root_names(const struct dp_roots *roots, uint32_t slot,
		   struct dp_root_word word);

/* The fields of a slot. No publish may be in progress. */
struct dp_root_view dp_root_view(const struct dp_roots *roots, uint32_t slot);

/* The word of the extent or object that counts the root in a claimed slot; its block is
 * 0 if none does. */
struct dp_root_word dp_root_counted(const struct dp_roots *roots, uint32_t slot);

#endif
