/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A slot on media is a name and a word. While the word says none the name is
 * nothing, so a new name is made durable first, then the word. Looking a name
 * up is a search through the names' hashes in memory: a slot is found by what
 * it is called, and never moves.
 *
 * The mutex guards the fields of the slots. A claimed slot belongs to one
 * publish, which alone changes what it names.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/root.h"
#include "os/os.h"

#define ROOTS_SIZE	(DP_ROOTS * sizeof(struct dp_root))
#define WORD_OFFSET	offsetof(struct dp_root, word)

int dp_roots_init(struct dp_roots *roots, char *base,
		  const struct dp_bad_view *view, uint64_t seed,
		  struct dp_persist *persist)
{
	roots->slot = calloc(DP_ROOTS, sizeof(*roots->slot));
	if (!roots->slot)
		return -ENOMEM;
	pthread_mutex_init(&roots->mutex, NULL);
	roots->media = (struct dp_root *)(base + DP_ROOTS_OFFSET);
	roots->view = view;
	roots->seed = seed;
	roots->persist = persist;
	return 0;
}

void dp_roots_fini(struct dp_roots *roots)
{
	if (!roots->slot)
		return;
	pthread_mutex_destroy(&roots->mutex);
	free(roots->slot);
	roots->slot = NULL;
}

/* A name's hash says nothing of the slot, unlike its check on media. */
static uint64_t root_hash_of(const char name[DP_ROOT_NAME_MAX])
{
	return dp_root_name_check(0, 0, name);
}

/* ---------------------------------------------------------------- at open */

static int root_damaged(uint32_t slot, const char *what,
			const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "root slot %u at offset 0x%llx: %s; the pool was left untouched",
		       slot, DP_ROOTS_OFFSET + slot * sizeof(struct dp_root),
		       what);
}

/* 1 to 47 bytes, and zeroes: no other could be asked for. */
static bool root_is_padded(const char name[DP_ROOT_NAME_MAX])
{
	size_t length = strnlen(name, DP_ROOT_NAME_MAX);

	if (!length || length == DP_ROOT_NAME_MAX)
		return false;
	while (length < DP_ROOT_NAME_MAX && !name[length])
		length++;
	return length == DP_ROOT_NAME_MAX;
}

static int root_load(struct dp_roots *roots, uint32_t index,
		     const struct dp_root *media,
		     const struct dp_errmsg *errmsg)
{
	struct dp_root_slot *slot = &roots->slot[index];
	struct dp_root_word word;

	if (!dp_root_decode(roots->seed, index, media->word, &word))
		return root_damaged(index, "the word does not check out",
				    errmsg);
	if (!word.block)
		return 0;
	if (media->name_check !=
		    dp_root_name_check(roots->seed, index, media->name) ||
	    !root_is_padded(media->name))
		return root_damaged(index, "the name does not check out",
				    errmsg);
	memcpy(slot->name, media->name, sizeof(slot->name));
	slot->hash = root_hash_of(slot->name);
	slot->block = word.block;
	slot->gen = word.gen;
	return 0;
}

/* A slot under a name that cannot be asked for: it does not end with a NUL. */
static void root_go_around(struct dp_root_slot *slot)
{
	memset(slot, 0, sizeof(*slot));
	memset(slot->name, 0xff, sizeof(slot->name));
	slot->hash = root_hash_of(slot->name);
	slot->damaged = true;
}

/* What cannot be read is shown as zeroes: no word of it checks out (D6). */
static int root_read_slots(const struct dp_roots *roots, bool degraded,
			   struct dp_root *copy)
{
	int ret = dp_bad_read(roots->view, DP_ROOTS_OFFSET, copy, ROOTS_SIZE);

	if (ret != -EIO || !degraded)
		return ret;
	for (uint64_t at = 0; at < ROOTS_SIZE; at += DP_BLOCK_SIZE) {
		ret = dp_bad_read(roots->view, DP_ROOTS_OFFSET + at,
				  (char *)copy + at, DP_BLOCK_SIZE);
		if (ret == -EIO)
			memset((char *)copy + at, 0, DP_BLOCK_SIZE);
		else if (ret)
			return ret;
	}
	return 0;
}

int dp_roots_load(struct dp_roots *roots, const struct dp_lanes *lanes,
		  bool degraded,
		  bool (*fn)(void *arg, struct dp_root_word word), void *arg,
		  const struct dp_errmsg *errmsg)
{
	struct dp_root *copy = malloc(ROOTS_SIZE);
	int ret;

	if (!copy)
		return -ENOMEM;
	ret = root_read_slots(roots, degraded, copy);
	if (ret)
		ret = dp_bad_fail(roots->view, ret, DP_ROOTS_OFFSET, ROOTS_SIZE,
				  "segment 0: the root directory", errmsg);
	if (!ret)
		dp_lanes_patch(lanes, DP_ROOTS_OFFSET, ROOTS_SIZE,
			       (char *)copy);
	for (uint32_t i = 0; !ret && i < DP_ROOTS; i++) {
		struct dp_root_slot *slot = &roots->slot[i];

		ret = root_load(roots, i, &copy[i], errmsg);
		if (ret == -EUCLEAN && degraded) {
			root_go_around(slot);
			ret = 0;
		}
		if (!ret && slot->block)
			slot->counted = fn(arg, (struct dp_root_word) {
					   slot->block, slot->gen });
	}
	free(copy);
	return ret;
}

bool dp_roots_accept(const struct dp_roots *roots, uint64_t offset,
		     uint64_t value)
{
	uint64_t slot = (offset - DP_ROOTS_OFFSET) / sizeof(struct dp_root);
	struct dp_root_word word;

	return offset >= DP_ROOTS_OFFSET && slot < DP_ROOTS &&
	       offset % sizeof(struct dp_root) == WORD_OFFSET &&
	       dp_root_decode(roots->seed, slot, value, &word);
}

/* ----------------------------------------------------------------- by name */

/* The slot of a name, or of "": a free one. DP_ROOTS: there is none. */
static uint32_t root_search(const struct dp_roots *roots,
			    const char name[DP_ROOT_NAME_MAX])
{
	uint64_t hash = name[0] ? root_hash_of(name) : 0;
	uint32_t i;

	for (i = 0; i < DP_ROOTS; i++)
		if (roots->slot[i].hash == hash &&
		    !memcmp(roots->slot[i].name, name, DP_ROOT_NAME_MAX))
			break;
	return i;
}

static void root_pad(char padded[DP_ROOT_NAME_MAX], const char *name)
{
	size_t length = strlen(name);

	assert(length && length < DP_ROOT_NAME_MAX);
	memset(padded, 0, DP_ROOT_NAME_MAX);
	memcpy(padded, name, length);
}

int dp_root_find(struct dp_roots *roots, const char *name,
		 struct dp_root_word *ret_word)
{
	char padded[DP_ROOT_NAME_MAX];
	struct dp_root_word word = { 0, 0 };
	uint32_t slot;

	root_pad(padded, name);
	pthread_mutex_lock(&roots->mutex);
	slot = root_search(roots, padded);
	if (slot < DP_ROOTS)
		word = (struct dp_root_word) { roots->slot[slot].block,
					       roots->slot[slot].gen };
	pthread_mutex_unlock(&roots->mutex);
	if (!word.block)
		return -ENOENT;
	*ret_word = word;
	return 0;
}

/* ------------------------------------------------------------------ change */

static int root_claim_locked(struct dp_roots *roots,
			     const char name[DP_ROOT_NAME_MAX], bool make,
			     uint32_t *ret_slot)
{
	static const char none[DP_ROOT_NAME_MAX];
	uint32_t index = root_search(roots, name);
	bool known = index < DP_ROOTS;

	if (!known && !make)
		return -ENOENT;
	if (!known)
		index = root_search(roots, none);
	if (index == DP_ROOTS)
		return -ENOSPC;
	*ret_slot = index;
	if (roots->slot[index].claimed)
		return -EBUSY;
	if (!known) {
		/* D1: so dp_root_is_new(), and its name is written first. */
		assert(!roots->slot[index].block);
		memcpy(roots->slot[index].name, name, DP_ROOT_NAME_MAX);
		roots->slot[index].hash = root_hash_of(name);
	}
	roots->slot[index].claimed = true;
	return 0;
}

int dp_root_claim(struct dp_roots *roots, const char *name, bool make,
		  uint32_t *ret_slot)
{
	char padded[DP_ROOT_NAME_MAX];
	int ret;

	root_pad(padded, name);
	pthread_mutex_lock(&roots->mutex);
	ret = root_claim_locked(roots, padded, make, ret_slot);
	pthread_mutex_unlock(&roots->mutex);
	return ret;
}

/* What it names from now on; nothing: the slot is free. */
static void root_end_claim(struct dp_roots *roots, uint32_t index,
			   struct dp_root_word word)
{
	struct dp_root_slot *slot = &roots->slot[index];

	assert(slot->claimed);
	slot->claimed = false;
	slot->block = word.block;
	slot->gen = word.gen;
	if (word.block)
		return;
	memset(slot->name, 0, sizeof(slot->name));
	slot->hash = 0;
}

void dp_root_unclaim(struct dp_roots *roots, uint32_t slot)
{
	struct dp_root_slot *it = &roots->slot[slot];

	pthread_mutex_lock(&roots->mutex);
	root_end_claim(roots, slot,
		       (struct dp_root_word){ it->block, it->gen });
	pthread_mutex_unlock(&roots->mutex);
}

struct dp_lane_entry dp_root_change(const struct dp_roots *roots, uint32_t slot,
				    struct dp_root_word word)
{
	return (struct dp_lane_entry) {
		.addr = DP_ROOTS_OFFSET + slot * sizeof(struct dp_root) +
			WORD_OFFSET,
		.value = dp_root_encode(roots->seed, slot, word.block,
					word.gen),
	};
}

bool dp_root_is_new(const struct dp_roots *roots, uint32_t slot)
{
	assert(roots->slot[slot].claimed);
	return !roots->slot[slot].block;
}

int dp_root_write_name(struct dp_roots *roots, uint32_t slot)
{
	struct dp_root *to = &roots->media[slot];
	const char *name = roots->slot[slot].name;

	assert(dp_root_is_new(roots, slot));
	dp_persist_copy(roots->persist, to->name, name, DP_ROOT_NAME_MAX);
	dp_persist_store(roots->persist, &to->name_check,
			 dp_root_name_check(roots->seed, slot, name));
	return dp_persist_flush(roots->persist, to, sizeof(*to));
}

bool dp_root_at(struct dp_roots *roots, uint32_t slot,
		char ret_name[DP_ROOT_NAME_MAX], struct dp_root_word *ret_word)
{
	const struct dp_root_slot *it = &roots->slot[slot];
	bool named;

	pthread_mutex_lock(&roots->mutex);
	named = it->block && it->name[0];
	if (named) {
		memcpy(ret_name, it->name, DP_ROOT_NAME_MAX);
		*ret_word = (struct dp_root_word) { it->block, it->gen };
	}
	pthread_mutex_unlock(&roots->mutex);
	return named;
}

uint64_t dp_root_counted(const struct dp_roots *roots, uint32_t slot)
{
	const struct dp_root_slot *it = &roots->slot[slot];

	assert(it->claimed);
	return it->counted ? it->block : 0;
}

uint64_t dp_root_settle(struct dp_roots *roots, uint32_t slot,
			struct dp_root_word word)
{
	uint64_t was;

	pthread_mutex_lock(&roots->mutex);
	was = dp_root_counted(roots, slot);
	root_end_claim(roots, slot, word);
	roots->slot[slot].counted = word.block != 0;
	pthread_mutex_unlock(&roots->mutex);
	return was;
}
