/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One slab in memory: the states of its objects, their bits as on media, and its place.
 * objects.c has the slabs of a pool, and the protocol by which they change.
 */
#ifndef DP_EXTENT_SLAB_H
#define DP_EXTENT_SLAB_H

#include "util/util.h"

#define DP_OBJECTS_PER_BITS	47u	/* whose bits are in one word on media */
/* Of a word of bits in memory: it is to be written; and what is on media. */
#define DP_SLAB_MARK		(1ull << 63)
#define DP_SLAB_BITS		((1ull << DP_OBJECTS_PER_BITS) - 1)

enum dp_object_state {
	DP_OBJECT_FREE,
	DP_OBJECT_RESERVED,
	DP_OBJECT_LIVE,
	DP_OBJECT_CLAIMED,		/* for a publish; or never reserved */
};

/* Where the objects of a class are in a slab. */
struct dp_object_class {
	uint32_t size;			/* of an object, in bytes */
	uint32_t count;			/* of a slab's objects */
	uint32_t first;			/* offset of the first one in the slab */
};

enum dp_slab_place {
	DP_SLAB_NEW,			/* not in use yet, or not any more */
	DP_SLAB_OWNED,			/* the current slab of a thread slot */
	DP_SLAB_FULL,
	DP_SLAB_PARTIAL,		/* in the list of its class */
	DP_SLAB_WITHDRAWN,		/* in a segment that a shrink has closed */
	DP_SLAB_CLOSING,		/* empty: its extent is being freed */
};
/* In the same word, so that a free has one comparison for the usual case. */
#define DP_SLAB_PLACE		7u
#define DP_SLAB_HAS_BAD		8u	/* objects in bad blocks */
#define DP_SLAB_WAS_TAKEN	16u	/* from its owner, by a shrink */

/* private to objects.c */
struct dp_slab_links {
	struct dp_slab *made_before;	/* the list of all that were ever made */
	struct dp_slab *next, *before;	/* in a list of its class */
	bool is_listed_empty;		/* it is in the list of empty ones */
};

/* private to slab.c */
struct dp_slab {
	_Atomic uint64_t begin;		/* the pool address of its first object */
	uint64_t inverse;		/* see dp_slab_find() */
	uint64_t half_size;
	uint32_t shift;
	uint64_t count;			/* size, count, first: as in dp_object_class */
	uint32_t size, first;
	uint32_t class;
	uint32_t words;			/* of states */
	_Atomic uint64_t *bits;		/* as on media, and DP_SLAB_MARK */
	struct dp_slab_links links;
	DP_ALIGNED _Atomic uint32_t place;	/* and two flags */
	_Atomic uint32_t hint;		/* the word of states to search first */
	_Atomic uint32_t roots;		/* that name its objects */
	_Atomic uint64_t state[];	/* 32 objects each; then come the bits */
};

/* An object that was found by its address. */
struct dp_object {
	struct dp_slab *slab;
	uint64_t index;			/* in the slab */
};

/* Memory for a slab with objects of a class. It is NEW. NULL: no memory. free() it. */
struct dp_slab *dp_slab_make(uint32_t class, const struct dp_object_class *of);
/* Begin to use it for an extent at that address: all objects are free. */
void dp_slab_begin(struct dp_slab *slab, uint64_t addr);

/* At an open: the bits of one word on media. */
void dp_slab_restore(struct dp_slab *slab, uint32_t word, uint64_t bits);

/* ------------------------------------------------------------------ its place */

static inline enum dp_slab_place dp_slab_place(const struct dp_slab *slab)
{
	return atomic_load(&slab->place) & DP_SLAB_PLACE;
}

/* Under the mutex of its class, or before other threads know the slab. */
void dp_slab_set_place(struct dp_slab *slab, enum dp_slab_place place);
/* A flag stays while the place changes. */
static inline void dp_slab_set_flag(struct dp_slab *slab, uint32_t flag)
{
	atomic_fetch_or(&slab->place, flag);
}

static inline bool dp_slab_has_bad(const struct dp_slab *slab)
{
	return atomic_load(&slab->place) & DP_SLAB_HAS_BAD;
}

static inline bool dp_slab_was_taken(const struct dp_slab *slab)
{
	return atomic_load(&slab->place) & DP_SLAB_WAS_TAKEN;
}

static inline struct dp_slab_links *dp_slab_links(struct dp_slab *slab)
{
	return &slab->links;
}

/* The pool address of its first object. */
static inline uint64_t dp_slab_first(const struct dp_slab *slab)
{
	return atomic_load_explicit(&slab->begin, memory_order_relaxed);
}

static inline uint64_t dp_slab_addr(const struct dp_slab *slab)
{
	return dp_slab_first(slab) - slab->first;
}

static inline uint32_t dp_slab_class_of(const struct dp_slab *slab)
{
	return slab->class;
}

static inline uint32_t dp_slab_objects(const struct dp_slab *slab)
{
	return slab->count;
}

static inline uint32_t dp_slab_object_size(const struct dp_slab *slab)
{
	return slab->size;
}

/* ------------------------------------------------------------------- an object */

static inline uint64_t dp_object_rotate(uint64_t value, uint32_t shift)
{
	return value >> shift | value << (-shift & 63);
}

/*
 * Find the object of the slab that begins at a pool address. False: none does.
 *
 * Its offset is index * size, and size is odd << shift. Modulo 2^64 there is an inverse
 * of that odd number, and offset * inverse is index << shift. Each step can be undone,
 * so no other offset has the same result: if it is not a multiple of size, or is
 * outside the slab, what the steps make of it is not below count.
 */
static inline bool dp_slab_find(struct dp_slab *slab, uint64_t addr,
				struct dp_object *ret_object)
{
	uint64_t index = dp_object_rotate((addr - dp_slab_first(slab)) * slab->inverse,
					  slab->shift);

	if (index >= slab->count)
		return false;
	*ret_object = (struct dp_object) { slab, index };
	return true;
}

static inline uint64_t dp_object_addr(struct dp_object object)
{
	return dp_slab_first(object.slab) +
	       (uint64_t)object.index * object.slab->size;
}

static inline uint32_t dp_object_size(struct dp_object object)
{
	return object.slab->size;
}

/* Where its state is in its word of states. */
static inline uint32_t dp_object_state_shift(struct dp_object object)
{
	return object.index * 2 % 64;
}

static inline enum dp_object_state dp_object_state(struct dp_object object)
{
	uint64_t word = atomic_load_explicit(&object.slab->state[object.index / 32],
					     memory_order_acquire);

	return word >> dp_object_state_shift(object) & 3;
}

static inline _Atomic uint64_t *dp_object_bits(struct dp_object object)
{
	return &object.slab->bits[object.index / DP_OBJECTS_PER_BITS];
}

static inline uint64_t dp_object_bit(struct dp_object object)
{
	return 1ull << object.index % DP_OBJECTS_PER_BITS;
}

/* Is it live on media? A publish in progress may change that. */
static inline bool dp_object_is_on_media(struct dp_object object)
{
	return atomic_load_explicit(dp_object_bits(object), memory_order_relaxed) &
	       dp_object_bit(object);
}

/* ------------------------------------------------------------------ its states */

/* The free objects of a word of states: the lower bit of each. */
static inline uint64_t dp_object_free_ones(uint64_t word)
{
	return ~(word | word >> 1) & 0x5555555555555555u;
}

/* A single attempt of FREE -> RESERVED of one object of a word of states. Any thread.
 * False: *word, which was read before, is as it is now, or it has no free object. */
static inline bool dp_slab_try_pop(struct dp_slab *slab, uint32_t at, uint64_t *word,
				   uint64_t *ret_addr)
{
	uint64_t found = dp_object_free_ones(*word), bit;

	if (!found)
		return false;
	/* Acquire: what the thread that freed the object did with it comes before. */
	bit = __builtin_ctzll(found);
	if (!atomic_compare_exchange_strong_explicit(&slab->state[at], word,
						     *word | 1ull << bit,
						     memory_order_acquire,
						     memory_order_relaxed))
		return false;
	/* A state has two bits, so a bit's number is twice that of its object. */
	*ret_addr = dp_slab_first(slab) + slab->half_size * (at * 64ull + bit);
	return true;
}

static inline uint64_t dp_slab_read_states(const struct dp_slab *slab, uint32_t at)
{
	return atomic_load_explicit(&slab->state[at], memory_order_relaxed);
}

/* The same, until it succeeds or the word has no free object. */
static inline bool dp_slab_pop(struct dp_slab *slab, uint32_t at, uint64_t *ret_addr)
{
	uint64_t word = dp_slab_read_states(slab, at);

	while (dp_object_free_ones(word))
		if (dp_slab_try_pop(slab, at, &word, ret_addr))
			return true;
	return false;
}

static inline uint64_t dp_slab_state_word(const struct dp_slab *slab, uint32_t at)
{
	return atomic_load(&slab->state[at]);
}

/* A word in which no object is in use. Those past the last object are CLAIMED. */
static inline uint64_t dp_slab_empty_word(const struct dp_slab *slab, uint32_t at)
{
	uint32_t objects = slab->count - at * 32;

	return objects >= 32 ? 0 : ~0ull << objects * 2;
}

static inline bool dp_slab_is_empty(const struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab->words; i++)
		if (dp_slab_state_word(slab, i) != dp_slab_empty_word(slab, i))
			return false;
	return true;
}

/* Under the mutex: make a slab without objects in use one without free objects. False:
 * an object is in use, and nothing was changed. */
bool dp_slab_seal(struct dp_slab *slab);
/* End the use of all objects, which only this thread knows any more. */
void dp_slab_clear(struct dp_slab *slab);
uint32_t dp_slab_free_count(const struct dp_slab *slab);
bool dp_slab_is_full(const struct dp_slab *slab);

/* Reserve where an object was reserved last, in a single attempt. */
static inline bool dp_slab_try(struct dp_slab *slab, uint64_t *ret_addr)
{
	uint32_t at = atomic_load_explicit(&slab->hint, memory_order_relaxed);
	uint64_t word = dp_slab_read_states(slab, at);

	return dp_slab_try_pop(slab, at, &word, ret_addr);
}
/* Reserve in any word, beginning with that one. */
bool dp_slab_reserve(struct dp_slab *slab, uint64_t *ret_addr);

/* A single attempt of RESERVED -> FREE, inline. False: nothing was changed; call
 * dp_object_cancel(). *ret_word: the word of states as it was left. */
static inline bool dp_object_try_cancel(struct dp_object object, uint64_t *ret_word)
{
	_Atomic uint64_t *state = &object.slab->state[object.index / 32];
	uint32_t shift = dp_object_state_shift(object);
	uint64_t word = atomic_load_explicit(state, memory_order_relaxed);

	if ((word >> shift & 3) != DP_OBJECT_RESERVED ||
	    dp_slab_has_bad(object.slab))
		return false;
	*ret_word = word ^ (uint64_t)DP_OBJECT_RESERVED << shift;
	return atomic_compare_exchange_strong(state, &word, *ret_word);
}

/*
 * True if a free has nothing else to do. The slab is the current one of a thread slot;
 * or it is in the list of its class, and another object of the word was still in use,
 * so that the thread that frees that one finds out whether the slab is empty.
 */
static inline bool dp_object_is_settled(struct dp_object object, uint64_t word)
{
	struct dp_slab *slab = object.slab;
	uint32_t place;

	dp_fence_after_rmw();
	place = atomic_load(&slab->place);	/* without a flag */
	return place == DP_SLAB_OWNED ||
	       (place == DP_SLAB_PARTIAL &&
		word != dp_slab_empty_word(slab, object.index / 32));
}

/* One change of state. The errors are those of dp_object_claim(). */
int dp_object_change(struct dp_object object, enum dp_object_state from,
		     enum dp_object_state to);

/*
 * Claim an object for a publish: its state must be `from`.
 *
 * -EBUSY   another publish has claimed it
 * -EINVAL  it is RESERVED instead of LIVE, or the reverse
 * -ESTALE  it is free
 */
int dp_object_claim(struct dp_object object, enum dp_object_state from);
/* End the claim: CLAIMED -> LIVE or RESERVED. */
void dp_object_settle(struct dp_object object, enum dp_object_state to);

/* ------------------------------------------------------------ bits on media */

/* The pool address of the word on media that has the object's bit. */
static inline uint64_t dp_object_bits_addr(struct dp_object object)
{
	return dp_slab_addr(object.slab) + object.index / DP_OBJECTS_PER_BITS * 8;
}

/* Change the object's bit, and mark the word as changed. The caller has the lock of
 * the word, which orders the changes, here and below. */
static inline void dp_object_toggle(struct dp_object object)
{
	_Atomic uint64_t *word = dp_object_bits(object);
	uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);

	atomic_store_explicit(word, (bits ^ dp_object_bit(object)) | DP_SLAB_MARK,
			      memory_order_relaxed);
}

/* If the word that has the object's bit is marked, clear the mark; *ret_bits are the
 * bits to write. The caller has the lock of the word. */
static inline bool dp_object_take_change(struct dp_object object, uint64_t *ret_bits)
{
	_Atomic uint64_t *word = dp_object_bits(object);
	uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);

	if (!(bits & DP_SLAB_MARK))
		return false;
	*ret_bits = bits & DP_SLAB_BITS;
	atomic_store_explicit(word, *ret_bits, memory_order_relaxed);
	return true;
}

/* Is an object live on media? */
bool dp_slab_has_bits(const struct dp_slab *slab);
uint32_t dp_slab_live_count(const struct dp_slab *slab);

/* The number of roots that name objects of the slab. */
static inline void dp_slab_add_root(struct dp_slab *slab)
{
	atomic_fetch_add(&slab->roots, 1);
}
static inline void dp_slab_remove_root(struct dp_slab *slab)
{
	uint32_t was = atomic_fetch_sub(&slab->roots, 1);

	assert(was);
	(void)was;
}
static inline uint32_t dp_slab_roots(struct dp_slab *slab)
{
	return atomic_load(&slab->roots);
}

#endif
