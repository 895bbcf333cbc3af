/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A slot on media has a name and a word. While the word names no block the name is
 * ignored, so a new name is made durable before its word. A slot is found by its name
 * through a hash table in memory, and never moves.
 *
 *	FREE --> NEW --> NAMED --> FREE
 *	          |
 *	          `---> FREE
 *
 *	FREE -> NEW	[root_take], claimed by the publish that adds the name:
 *			the slot has its name, and word 0
 *	NEW -> NAMED	[dp_root_settle]
 *	NEW -> FREE	[dp_root_unclaim]
 *	NAMED -> NAMED	[dp_root_settle] to another extent: one store of the word
 *	NAMED -> FREE	[dp_root_settle] to block 0
 *
 * Names are added and removed under the mutex; a search takes no lock. `version` is odd
 * while names change. A search is valid if version was even before it and unchanged
 * after it: each store of a change is a release after the store that makes version
 * odd, and each load of a search is an acquire before the second load of version. So a
 * search that read any store of a change finds version changed, and a search that read
 * none saw the names from before it. After LOOKUP_TRIES invalid searches the thread
 * takes the mutex, under which names do not change: a thread that was preempted in the
 * middle of a change does not make others spin.
 *
 * version does not protect the word of a slot: the word is changed by one store, and
 * the slot had the name when the word was loaded.
 *
 * claims: bit 0 is set while a publish has claimed the slot; then only that publish
 * changes it (D18). The other bits count how often the slot's name has changed. A claim
 * is a CAS from a value that was loaded while the slot had the wanted name. If the name
 * was removed meanwhile, the count differs and the CAS fails.
 */
#include <errno.h>
#include <stdlib.h>
#include "media/root.h"
#include "os/os.h"

#define ROOTS_SIZE	(DP_ROOTS * sizeof(struct dp_root))
#define WORD_OFFSET	offsetof(struct dp_root, word)

/* In a slot's claims. */
#define CLAIMED		1ull
#define NAMES_ONE	2ull

static const struct dp_root_word root_gone = { .block = DP_ROOT_GONE };

/* After this many searches that a change of names made invalid, take the mutex. */
#define LOOKUP_TRIES	8u

int dp_roots_init(struct dp_roots *roots, char *base,
		  const struct dp_badblocks_view *view, uint64_t seed,
		  struct dp_persist *persist)
{
	size_t size = DP_ROOTS * sizeof(*roots->slot);

	roots->slot = aligned_alloc(DP_CACHE_LINE, size);
	if (!roots->slot)
		return -ENOMEM;
	memset(roots->slot, 0, size);
	memset(roots->free, 0xff, sizeof(roots->free));
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

/* A padded name, in the 8-byte parts in which it is loaded and stored. */
struct name {
	uint64_t part[DP_ROOT_NAME_PARTS];
	uint32_t parts;			/* the last one has the first NUL; those after
					   it are not read by a search */
	uint32_t hash;
};

static uint64_t name_part(const char *text, size_t length)
{
	uint64_t part = 0;
	uint32_t begin, end;

	if (length >= sizeof(part)) {
		memcpy(&part, text, sizeof(part));
		return part;
	}
	if (length < sizeof(begin)) {
		for (size_t i = 0; i < length; i++)
			part |= (uint64_t)(uint8_t)text[i] << i * 8;
		return part;
	}
	/* The first and the last four bytes, which may overlap. */
	memcpy(&begin, text, sizeof(begin));
	memcpy(&end, text + length - sizeof(end), sizeof(end));
	return begin | (uint64_t)end << (length - sizeof(end)) * 8;
}

/* Set all but the parts that a search does not read. -EINVAL: the text is empty.
 * -ENAMETOOLONG. */
static int name_read(struct name *name, const char *text)
{
	size_t length = strnlen(text, DP_ROOT_NAME_MAX), at = 0;
	uint64_t hash = 0;

	if (!length || length == DP_ROOT_NAME_MAX)
		return length ? -ENAMETOOLONG : -EINVAL;
	name->parts = 0;
	do {
		uint64_t part = name_part(text + at, length - at);

		name->part[name->parts++] = part;
		hash = (hash ^ part) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 32;
		at += sizeof(part);
	} while (at <= length);
	name->hash = hash;
	return 0;
}

/* For a text that is a name. */
static void name_pad(struct name *name, const char *text)
{
	int ret;

	memset(name->part, 0, sizeof(name->part));
	ret = name_read(name, text);
	assert(!ret);
	(void)ret;
}

/* ------------------------------------------------- a slot, and those named */

static struct dp_root_word root_word(const struct dp_roots *roots,
				     uint32_t slot)
{
	uint64_t packed = atomic_load_explicit(&roots->slot[slot].word,
					       memory_order_acquire);

	return dp_root_unpack(packed);
}

static void root_set_word(struct dp_roots *roots, uint32_t slot,
			  struct dp_root_word word)
{
	atomic_store_explicit(&roots->slot[slot].word, dp_root_pack(word),
			      memory_order_release);
}

static bool root_has_name(const struct dp_root_slot *slot,
			  const struct name *name)
{
	/* All parts after the first NUL are padding. */
	for (uint32_t i = 0; i < name->parts; i++)
		if (name->part[i] != atomic_load_explicit(&slot->name[i],
							  memory_order_acquire))
			return false;
	return true;
}

static void root_load_name(const struct dp_root_slot *slot, struct name *ret)
{
	for (uint32_t i = 0; i < DP_ROOT_NAME_PARTS; i++)
		ret->part[i] = atomic_load_explicit(&slot->name[i],
						    memory_order_acquire);
}

static void root_set_name(struct dp_root_slot *slot, const struct name *name)
{
	for (uint32_t i = 0; i < DP_ROOT_NAME_PARTS; i++)
		atomic_store_explicit(&slot->name[i], name->part[i],
				      memory_order_release);
}

/* The entry at a place of the hash table, modulo its size: a slot + 1, or 0. */
static uint32_t root_place(const struct dp_roots *roots, uint32_t at)
{
	return atomic_load_explicit(&roots->place[at % DP_ROOT_PLACES],
				    memory_order_acquire);
}

static void root_set_place(struct dp_roots *roots, uint32_t at, uint32_t what)
{
	atomic_store_explicit(&roots->place[at % DP_ROOT_PLACES], what,
			      memory_order_release);
}

/* The slot of a name. DP_ROOTS: there is none, or names are changing. */
static uint32_t root_search(const struct dp_roots *roots,
			    const struct name *name)
{
	uint32_t what;

	for (uint32_t i = 0; i < DP_ROOT_PLACES; i++) {
		what = root_place(roots, name->hash + i);
		if (!what)
			break;
		if (root_has_name(&roots->slot[what - 1], name))
			return what - 1;
	}
	return DP_ROOTS;
}

/* Add a slot to the hash table. If two slots have the same name, which only damage can
 * cause, a search finds the first. */
static void root_list(struct dp_roots *roots, uint32_t slot)
{
	uint32_t at = roots->slot[slot].hash;

	while (root_place(roots, at))
		at++;
	root_set_place(roots, at, slot + 1);
}

/* Remove a slot from the hash table. Later entries move into the gap, because a search
 * ends at an empty place. */
static void root_unlist(struct dp_roots *roots, uint32_t slot)
{
	uint32_t gap = roots->slot[slot].hash, at, what, home;

	while (root_place(roots, gap) != slot + 1)
		gap++;
	for (at = gap + 1; (what = root_place(roots, at)); at++) {
		home = roots->slot[what - 1].hash;
		if ((at - home) % DP_ROOT_PLACES < (at - gap) % DP_ROOT_PLACES)
			continue;
		root_set_place(roots, gap, what);
		gap = at;
	}
	root_set_place(roots, gap, 0);
}

/* ---------------------------------------------------------------- at open */

static int root_damaged(uint32_t slot, const char *what,
			const struct dp_errmsg *errmsg)
{
	return dp_fail(errmsg, -EUCLEAN,
		       "root slot %u at offset 0x%llx: %s" DP_UNTOUCHED,
		       slot, DP_ROOTS_OFFSET + slot * sizeof(struct dp_root),
		       what);
}

/* Is it 1 to 47 bytes and then only zeroes? Callers can search for such names only. */
static bool root_is_padded(const char name[DP_ROOT_NAME_MAX])
{
	size_t length = strnlen(name, DP_ROOT_NAME_MAX);

	if (!length || length == DP_ROOT_NAME_MAX)
		return false;
	while (length < DP_ROOT_NAME_MAX && !name[length])
		length++;
	return length == DP_ROOT_NAME_MAX;
}

static void root_mark_used(struct dp_roots *roots, uint32_t slot)
{
	roots->free[slot / 64] &= ~(1ull << slot % 64);
}

static int root_load(struct dp_roots *roots, uint32_t index,
		     const struct dp_root *media,
		     const struct dp_errmsg *errmsg)
{
	struct dp_root_slot *slot = &roots->slot[index];
	struct dp_root_word word;
	struct name name;

	if (!dp_root_decode(roots->seed, index, media->word, &word))
		return root_damaged(index, "the word fails its check",
				    errmsg);
	if (!word.block)
		return 0;
	root_set_word(roots, index, word);
	if (media->name_check !=
		    dp_root_name_check(roots->seed, index, media->name) ||
	    !root_is_padded(media->name))
		return root_damaged(index, "the name fails its check",
				    errmsg);
	name_pad(&name, media->name);
	root_set_name(slot, &name);
	slot->hash = name.hash;
	root_list(roots, index);
	root_mark_used(roots, index);
	return 0;
}

/* Skip a damaged slot: no name leads to it, and it is not free. If its word is good, it
 * counts for what it names, which a repair of the name may give back (D14). */
static void root_skip_damaged(struct dp_roots *roots, uint32_t slot)
{
	roots->slot[slot].damaged = true;
	root_mark_used(roots, slot);
}

static void root_note_found(struct dp_roots *roots, uint32_t slot,
			    enum dp_root_found found)
{
	roots->slot[slot].counted = found == DP_ROOT_FOUND;
	roots->slot[slot].in_doubt = found == DP_ROOT_IN_DOUBT;
	if (found != DP_ROOT_FOUND)
		root_set_word(roots, slot, root_gone);
}

/* If degraded, unreadable blocks are zeroes, so that the check of each word fails
 * (D6). */
static int root_read_slots(const struct dp_roots *roots, bool degraded,
			   struct dp_root *copy)
{
	int ret = dp_badblocks_read(roots->view, DP_ROOTS_OFFSET, copy,
				    ROOTS_SIZE);

	if (ret != -EIO || !degraded)
		return ret;
	for (uint64_t at = 0; at < ROOTS_SIZE; at += DP_BLOCK_SIZE) {
		ret = dp_badblocks_read(roots->view, DP_ROOTS_OFFSET + at,
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
		  enum dp_root_found (*fn)(void *arg, struct dp_root_word word),
		  void *arg, const struct dp_errmsg *errmsg)
{
	struct dp_root *copy = malloc(ROOTS_SIZE);
	int ret;

	if (!copy)
		return -ENOMEM;
	ret = root_read_slots(roots, degraded, copy);
	if (ret)
		ret = dp_badblocks_fail(roots->view, ret, DP_ROOTS_OFFSET,
					ROOTS_SIZE,
					"segment 0: the root directory",
					errmsg);
	if (!ret)
		dp_lanes_patch(lanes, DP_ROOTS_OFFSET, ROOTS_SIZE,
			       (char *)copy);
	for (uint32_t i = 0; !ret && i < DP_ROOTS; i++) {
		ret = root_load(roots, i, &copy[i], errmsg);
		if (ret == -EUCLEAN && degraded) {
			root_skip_damaged(roots, i);
			ret = 0;
		}
		if (!ret && root_word(roots, i).block)
			root_note_found(roots, i, fn(arg, root_word(roots, i)));
	}
	free(copy);
	return ret;
}

/*
 * A root's word has 15 bits of its extent's generation, and none for an object. So a
 * word that remained would name another extent once its block was reused often enough,
 * or the next object at that address (D14). What is IN_DOUBT is not reused in this
 * open, and each later open that can reuse it comes here first.
 */
int dp_roots_write_gone(struct dp_roots *roots)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < DP_ROOTS; i++) {
		uint64_t *word = &roots->media[i].word;
		uint64_t gone = dp_root_encode(roots->seed, i, root_gone);

		if (!dp_root_names(roots, i, root_gone) || *word == gone ||
		    roots->slot[i].in_doubt)
			continue;
		dp_persist_store(roots->persist, word, gone);
		ret = dp_persist_flush(roots->persist, word, sizeof(*word));
	}
	dp_persist_fence(roots->persist);
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

/* The result of a search for a name. */
struct lookup {
	uint64_t version;
	uint32_t slot;			/* or DP_ROOTS */
	struct dp_root_word word;	/* block 0: no such name */
};

static uint64_t roots_version(const struct dp_roots *roots)
{
	return atomic_load_explicit(&roots->version, memory_order_acquire);
}

/* False: names changed during the search. */
DP_INLINE bool root_try_lookup(const struct dp_roots *roots, const struct name *name,
			       struct lookup *ret_lookup)
{
	ret_lookup->version = roots_version(roots);
	ret_lookup->slot = root_search(roots, name);
	ret_lookup->word = (struct dp_root_word) { 0, 0, 0 };
	if (ret_lookup->slot < DP_ROOTS)
		ret_lookup->word = root_word(roots, ret_lookup->slot);
	return !(ret_lookup->version & 1) &&
	       roots_version(roots) == ret_lookup->version;
}

__attribute__((noinline))
static void root_lookup_again(struct dp_roots *roots, const struct name *name,
			      struct lookup *ret_lookup)
{
	bool still;

	for (uint32_t i = 1; i < LOOKUP_TRIES; i++)
		if (root_try_lookup(roots, name, ret_lookup))
			return;
	pthread_mutex_lock(&roots->mutex);
	still = root_try_lookup(roots, name, ret_lookup);
	/* Names change only under the mutex. */
	assert(still);
	pthread_mutex_unlock(&roots->mutex);
}

DP_INLINE void root_lookup(struct dp_roots *roots, const struct name *name,
			   struct lookup *ret_lookup)
{
	if (!root_try_lookup(roots, name, ret_lookup))
		root_lookup_again(roots, name, ret_lookup);
}

int dp_root_find(struct dp_roots *roots, const char *text,
		 struct dp_root_word *ret_word)
{
	struct name name;
	struct lookup lookup;
	int ret = name_read(&name, text);

	if (ret)
		return ret;
	root_lookup(roots, &name, &lookup);
	if (!lookup.word.block)
		return -ENOENT;
	*ret_word = lookup.word;
	return 0;
}

static bool root_try_at(const struct dp_roots *roots, uint32_t slot,
			struct name *ret_name, struct dp_root_word *ret_word)
{
	uint64_t version = roots_version(roots);

	*ret_word = root_word(roots, slot);
	root_load_name(&roots->slot[slot], ret_name);
	return !(version & 1) && roots_version(roots) == version;
}

bool dp_root_at(struct dp_roots *roots, uint32_t slot,
		char ret_name[DP_ROOT_NAME_MAX], struct dp_root_word *ret_word)
{
	struct dp_root_word word;
	struct name name;
	bool still = false;

	for (uint32_t i = 0; !still && i < LOOKUP_TRIES; i++)
		still = root_try_at(roots, slot, &name, &word);
	if (!still) {
		pthread_mutex_lock(&roots->mutex);
		still = root_try_at(roots, slot, &name, &word);
		assert(still);
		pthread_mutex_unlock(&roots->mutex);
	}
	if (!word.block)
		return false;
	memcpy(ret_name, name.part, DP_ROOT_NAME_MAX);
	*ret_word = word;
	return true;
}

/* ------------------------------------------------------------------ change */

/* Called under the mutex before each change of names; roots_changed() after it. */
static void roots_change(struct dp_roots *roots)
{
	uint64_t version = atomic_load_explicit(&roots->version,
						memory_order_relaxed);

	assert(!(version & 1));
	atomic_store_explicit(&roots->version, version + 1,
			      memory_order_relaxed);
}

static void roots_changed(struct dp_roots *roots)
{
	uint64_t version = atomic_load_explicit(&roots->version,
						memory_order_relaxed);

	assert(version & 1);
	atomic_store_explicit(&roots->version, version + 1,
			      memory_order_release);
}

static uint64_t root_load_claim(const struct dp_roots *roots, uint32_t slot)
{
	return atomic_load_explicit(&roots->slot[slot].claims,
				    memory_order_acquire);
}

/* End the claim. renamed: the slot has lost its name. */
static void root_end_claim(struct dp_roots *roots, uint32_t slot, bool renamed)
{
	uint64_t claim = root_load_claim(roots, slot);

	assert(claim & CLAIMED);
	claim &= ~CLAIMED;
	atomic_store_explicit(&roots->slot[slot].claims,
			      renamed ? claim + NAMES_ONE : claim,
			      memory_order_release);
}

/* A free slot, or DP_ROOTS. */
static uint32_t roots_find_free(const struct dp_roots *roots)
{
	for (uint32_t i = 0; i < DP_ROOTS / 64; i++)
		if (roots->free[i])
			return i * 64 + __builtin_ctzll(roots->free[i]);
	return DP_ROOTS;
}

/* Under the mutex: take a free slot for a new name, and claim it. */
static int root_take(struct dp_roots *roots, const struct name *name,
		     uint32_t *ret_slot)
{
	uint32_t index = roots_find_free(roots);
	struct dp_root_slot *slot = &roots->slot[index];

	if (index == DP_ROOTS)
		return -ENOSPC;
	/* D1: the word is 0, so dp_root_is_new() is true until dp_root_settle(), and
	 * the publish writes the name before the word. */
	assert(!root_word(roots, index).block);
	root_mark_used(roots, index);
	/* The slot is unclaimed. The CAS of a thread that found it by its last name
	   fails, because the count changes. */
	atomic_store_explicit(&slot->claims, root_load_claim(roots, index) +
			      NAMES_ONE + CLAIMED, memory_order_release);
	roots_change(roots);
	root_set_name(slot, name);
	slot->hash = name->hash;
	root_list(roots, index);
	roots_changed(roots);
	*ret_slot = index;
	return 0;
}

/* -EAGAIN: another thread has just added the name. */
static int root_make(struct dp_roots *roots, const struct name *name,
		     uint32_t *ret_slot)
{
	int ret = -EAGAIN;

	pthread_mutex_lock(&roots->mutex);
	if (root_search(roots, name) == DP_ROOTS)
		ret = root_take(roots, name, ret_slot);
	pthread_mutex_unlock(&roots->mutex);
	return ret;
}

/* Claim the slot that a search found. -EAGAIN: names have changed since. */
static int root_try_claim(struct dp_roots *roots, const struct lookup *lookup)
{
	uint64_t claim = root_load_claim(roots, lookup->slot);

	/* If version is unchanged, the slot had the name when claim was loaded. */
	if (roots_version(roots) != lookup->version)
		return -EAGAIN;
	if (claim & CLAIMED)
		return -EBUSY;
	return atomic_compare_exchange_strong_explicit(
		       &roots->slot[lookup->slot].claims, &claim, claim | CLAIMED,
		       memory_order_acq_rel, memory_order_relaxed) ?
	       0 : -EAGAIN;
}

int dp_root_claim(struct dp_roots *roots, const char *text, bool make,
		  uint32_t *ret_slot)
{
	struct name name;
	struct lookup lookup;
	int ret;

	name_pad(&name, text);
	do {
		root_lookup(roots, &name, &lookup);
		if (lookup.slot < DP_ROOTS)
			ret = root_try_claim(roots, &lookup);
		else
			ret = make ? root_make(roots, &name, &lookup.slot) :
			      -ENOENT;
	} while (ret == -EAGAIN);
	*ret_slot = lookup.slot;
	return ret;
}

/* Free a claimed slot. */
static void root_free(struct dp_roots *roots, uint32_t index)
{
	static const struct name none;

	pthread_mutex_lock(&roots->mutex);
	roots_change(roots);
	root_unlist(roots, index);
	root_set_name(&roots->slot[index], &none);
	root_set_word(roots, index, (struct dp_root_word) { 0, 0, 0 });
	root_end_claim(roots, index, true);
	roots_changed(roots);
	roots->free[index / 64] |= 1ull << index % 64;
	pthread_mutex_unlock(&roots->mutex);
}

void dp_root_unclaim(struct dp_roots *roots, uint32_t slot)
{
	if (dp_root_is_new(roots, slot))
		root_free(roots, slot);
	else
		root_end_claim(roots, slot, false);
}

struct dp_lane_entry dp_root_change(const struct dp_roots *roots, uint32_t slot,
				    struct dp_root_word word)
{
	return (struct dp_lane_entry) {
		.addr = DP_ROOTS_OFFSET + slot * sizeof(struct dp_root) +
			WORD_OFFSET,
		.value = dp_root_encode(roots->seed, slot, word),
	};
}

bool dp_root_is_new(const struct dp_roots *roots, uint32_t slot)
{
	assert(root_load_claim(roots, slot) & CLAIMED);
	return !root_word(roots, slot).block;
}

int dp_root_write_name(struct dp_roots *roots, uint32_t slot)
{
	struct dp_root *to = &roots->media[slot];
	struct name name;

	assert(dp_root_is_new(roots, slot));
	root_load_name(&roots->slot[slot], &name);
	dp_persist_copy(roots->persist, to->name, name.part, DP_ROOT_NAME_MAX);
	dp_persist_store(roots->persist, &to->name_check,
			 dp_root_name_check(roots->seed, slot,
					    (const char *)name.part));
	return dp_persist_flush(roots->persist, to, sizeof(*to));
}

struct dp_root_word dp_root_counted(const struct dp_roots *roots, uint32_t slot)
{
	static const struct dp_root_word none;

	assert(root_load_claim(roots, slot) & CLAIMED);
	return roots->slot[slot].counted ? root_word(roots, slot) : none;
}

struct dp_root_word dp_root_settle(struct dp_roots *roots, uint32_t slot,
			struct dp_root_word word)
{
	struct dp_root_word was = dp_root_counted(roots, slot);

	roots->slot[slot].counted = word.block != 0;
	if (word.block) {
		root_set_word(roots, slot, word);
		root_end_claim(roots, slot, false);
	} else {
		root_free(roots, slot);
	}
	return was;
}

bool dp_root_names(const struct dp_roots *roots, uint32_t slot,
		   struct dp_root_word word)
{
	return dp_root_pack(root_word(roots, slot)) == dp_root_pack(word);
}

struct dp_root_view dp_root_view(const struct dp_roots *roots, uint32_t slot)
{
	return (struct dp_root_view) {
		.word = root_word(roots, slot),
		.claimed = root_load_claim(roots, slot) & CLAIMED,
		.counted = roots->slot[slot].counted,
		.damaged = roots->slot[slot].damaged,
		.in_doubt = roots->slot[slot].in_doubt,
	};
}
