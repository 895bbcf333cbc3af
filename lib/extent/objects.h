/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small objects in memory: the state of each, the slabs that have them, and which slab
 * an object is reserved in. See objects.c for the protocol.
 */
#ifndef DP_OBJECTS_H
#define DP_OBJECTS_H

#include <pthread.h>
#include "extent/thread_slot.h"
#include "util/util.h"

#define DP_OBJECT_CLASSES	40u
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

/* private to objects.c */
struct dp_slab {
	_Atomic uint64_t addr;		/* in the pool */
	uint32_t first;			/* as in struct dp_object_class */
	uint64_t reciprocal;		/* 2^32 / size, rounded up */
	uint32_t size, count;		/* as in struct dp_object_class */
	uint32_t class;
	uint32_t words;			/* of states */
	_Atomic uint64_t *bits;		/* as on media, and DP_SLAB_MARK */
	struct dp_slab *made_before;	/* the list of all that were ever made */
	struct dp_slab *next, *before;	/* in a list of its class */
	bool is_listed_empty;		/* it is in the list of empty ones */
	_Atomic bool was_taken;		/* from its owner, by a shrink */
	DP_ALIGNED _Atomic uint32_t place;
	_Atomic uint32_t hint;		/* the word of states to search first */
	_Atomic uint32_t roots;		/* that name its objects */
	_Atomic bool has_bad;		/* objects in bad blocks */
	_Atomic uint64_t state[];	/* 32 objects each; then come the bits */
};

/* private to objects.c */
struct dp_objects {
	const _Atomic uint64_t *blocks;	/* of the pool; not owned */
	uint64_t mapped;		/* blocks for which there is memory */
	uint64_t most;			/* blocks for which there are addresses */
	uint32_t slab_blocks;
	_Atomic(struct dp_slab *) *slab_of;	/* by block of the pool */
	struct dp_object_class class[DP_OBJECT_CLASSES];
	_Atomic(struct dp_slab *) made;
	_Atomic uint64_t used;			/* see dp_objects_used() */
	_Atomic uint64_t withdrawn_from;	/* slabs from this address on are */
	struct dp_object_list {
		DP_ALIGNED pthread_mutex_t mutex;
		struct dp_slab *first;	/* PARTIAL, the newest first */
		struct dp_slab *empty;	/* PARTIAL, but empty */
		struct dp_slab *spare;
		uint32_t empty_count;
	} list[DP_OBJECT_CLASSES];
	struct dp_object_owner {
		DP_ALIGNED _Atomic(struct dp_slab *) slab[DP_OBJECT_CLASSES];
	} owner[DP_THREAD_SLOTS + 1];
};

/* An object that was found by its address. */
struct dp_object {
	struct dp_slab *slab;
	uint32_t index;			/* in the slab */
};

/* class: of DP_OBJECT_CLASSES, by size. blocks: that of dp_states_block_count(), so an
 * address is compared with the same number as a handle. most: how large it may become.
 * -ENOMEM and those of mmap(). */
int dp_objects_init(struct dp_objects *objects, const _Atomic uint64_t *blocks,
		    uint64_t most,
		    uint32_t slab_blocks, const struct dp_object_class *class);
/* While the pool is in use: map memory for more blocks, before *blocks is raised. */
int dp_objects_prepare(struct dp_objects *objects, uint64_t blocks);
void dp_objects_fini(struct dp_objects *objects);
/* In a forked child: free only what was not allocated by malloc(). */
void dp_objects_close_inherited(struct dp_objects *objects);

/* ------------------------------------------------------------------ slabs */

/* The slab that covers a block of the pool, or NULL. */
static inline struct dp_slab *dp_slab_at(const struct dp_objects *objects,
					 uint64_t block)
{
	return block < atomic_load_explicit(objects->blocks, memory_order_acquire) ?
	       atomic_load_explicit(&objects->slab_of[block], memory_order_acquire) :
	       NULL;
}

/* A slab for an extent at that address, with free objects only. It must be given to
 * dp_slab_add() or dp_slab_own(), or back to dp_slab_discard(). NULL: no memory. */
struct dp_slab *dp_slab_new(struct dp_objects *objects, uint32_t class,
			    uint64_t addr);
void dp_slab_discard(struct dp_objects *objects, struct dp_slab *slab);

/* At an open: the bits of one word on media. */
void dp_slab_restore(struct dp_slab *slab, uint32_t word, uint64_t bits);
/* The free objects that overlap these bytes of the slab must never be reserved. */
void dp_slab_bar(struct dp_objects *objects, struct dp_slab *slab, uint64_t begin,
		 uint64_t end);
static inline bool dp_slab_has_bad(const struct dp_slab *slab)
{
	return atomic_load(&slab->has_bad);
}

/* Make the slab known and, unless it is full, its objects available to all threads. */
void dp_slab_add(struct dp_objects *objects, struct dp_slab *slab);
/* Make the slab known, and make it the calling thread's current one. False: a shrink
 * has closed its segment, and the slab is CLOSING now. */
bool dp_slab_own(struct dp_objects *objects, struct dp_slab *slab);
/* After its extent was freed on media, and before its blocks are: the slab is
 * CLOSING. */
void dp_slab_forget(struct dp_objects *objects, struct dp_slab *slab);

/* The classes of which a slab was ever made, as bits. */
static inline uint64_t dp_objects_used(const struct dp_objects *objects)
{
	return atomic_load(&objects->used);
}

/* Of one class, take a slab without reserved or live objects out of use: one that was
 * kept, or the calling thread's current one. It is CLOSING then. NULL: none. */
struct dp_slab *dp_slab_take_empty(struct dp_objects *objects, uint32_t class);
/*
 * For a shrink, which has closed the space from a pool address on. The first call sets
 * that address. Then each call of dp_slab_withdraw() returns the next slab there that
 * has no reserved or live object, and is CLOSING now. after: the last one, or NULL.
 * When it has returned NULL no object is reserved there any more, but by a thread that
 * was already reserving in its current slab. Other slabs there become CLOSING when
 * their last object is freed.
 */
void dp_objects_withdraw_from(struct dp_objects *objects, uint64_t addr);
struct dp_slab *dp_slab_withdraw(struct dp_objects *objects, struct dp_slab *after);
/* The shrink has ended: slabs that are left there are used again. */
void dp_objects_reopen(struct dp_objects *objects);

/* At a close, when no other thread uses the pool: the next slab, of all classes, that
 * has no object on media. It is CLOSING then. after: the last one, or NULL. */
struct dp_slab *dp_slab_take_unused(struct dp_objects *objects,
				    struct dp_slab *after);

static inline uint64_t dp_slab_addr(const struct dp_slab *slab)
{
	return atomic_load_explicit(&slab->addr, memory_order_relaxed);
}

/* The pool address of its first object. */
static inline uint64_t dp_slab_first(const struct dp_slab *slab)
{
	return dp_slab_addr(slab) + slab->first;
}

static inline uint32_t dp_slab_class_of(const struct dp_slab *slab)
{
	return slab->class;
}

static inline uint32_t dp_slab_objects(const struct dp_slab *slab)
{
	return slab->count;
}

/* The slabs in use and the objects that are live on media; a snapshot. */
struct dp_object_counts {
	uint64_t slabs;
	uint64_t live;
};
struct dp_object_counts dp_objects_count(struct dp_objects *objects);

/* ---------------------------------------------------------------- objects */

/* Find the object that begins at an address. False: none does. */
static inline bool dp_object_find(const struct dp_objects *objects, uint64_t addr,
				  struct dp_object *ret_object)
{
	struct dp_slab *slab = dp_slab_at(objects, addr >> 12);
	uint64_t offset, index;

	if (!slab)
		return false;
	/* Whatever the index of another address is, it is not below count, or that
	 * object begins elsewhere. */
	offset = addr - dp_slab_first(slab);
	index = offset * slab->reciprocal >> 32;
	if (index >= slab->count || index * slab->size != offset)
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

static inline enum dp_object_state dp_object_state(struct dp_object object)
{
	uint64_t word = atomic_load_explicit(&object.slab->state[object.index / 32],
					     memory_order_acquire);

	return word >> object.index % 32 * 2 & 3;
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

/* The free objects of a word of states: the lower bit of each. */
static inline uint64_t dp_object_free_ones(uint64_t word)
{
	return ~(word | word >> 1) & 0x5555555555555555u;
}

/* FREE -> RESERVED of one object of a word of states. Any thread. */
static inline bool dp_slab_pop(struct dp_slab *slab, uint32_t at, uint64_t *ret_addr)
{
	_Atomic uint64_t *state = &slab->state[at];
	uint64_t word = atomic_load_explicit(state, memory_order_relaxed), found;

	/* Acquire: what the thread that freed the object did with it comes before. */
	do {
		found = dp_object_free_ones(word);
		if (!found)
			return false;
		found &= -found;
	} while (!atomic_compare_exchange_weak_explicit(state, &word, word | found,
							memory_order_acquire,
							memory_order_relaxed));
	*ret_addr = dp_slab_first(slab) + (uint64_t)slab->size *
		    (at * 32 + __builtin_ctzll(found) / 2);
	return true;
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
static inline bool dp_slab_seal(struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab->words; i++) {
		uint64_t word = dp_slab_empty_word(slab, i);

		if (atomic_compare_exchange_strong(&slab->state[i], &word, ~0ull))
			continue;
		while (i--)
			atomic_store(&slab->state[i], dp_slab_empty_word(slab, i));
		return false;
	}
	return true;
}

static inline uint32_t dp_slab_free_count(const struct dp_slab *slab)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < slab->words; i++) {
		uint64_t ones = dp_object_free_ones(dp_slab_state_word(slab, i));

		count += __builtin_popcountll(ones);
	}
	return count;
}

static inline bool dp_slab_is_full(const struct dp_slab *slab)
{
	for (uint32_t i = 0; i < slab->words; i++)
		if (dp_object_free_ones(dp_slab_state_word(slab, i)))
			return false;
	return true;
}

/* Reserve in any word, beginning with the one that was used last. */
static inline bool dp_slab_reserve(struct dp_slab *slab, uint64_t *ret_addr)
{
	uint32_t hint = atomic_load_explicit(&slab->hint, memory_order_relaxed);

	for (uint32_t i = 0; i < slab->words; i++) {
		uint32_t at = hint + i < slab->words ? hint + i :
						       hint + i - slab->words;

		if (!dp_slab_pop(slab, at, ret_addr))
			continue;
		atomic_store_explicit(&slab->hint, at, memory_order_relaxed);
		return true;
	}
	return false;
}

/* The fast path: reserve an object where the thread's current slab was used last.
 * False: use dp_object_reserve(). */
static inline bool dp_object_try(struct dp_objects *objects, uint32_t class,
				 uint64_t *ret_addr)
{
	unsigned int slot = dp_thread_slot_own();
	struct dp_slab *slab;

	if (slot >= DP_THREAD_SLOTS)
		return false;
	slab = atomic_load_explicit(&objects->owner[slot].slab[class],
				    memory_order_relaxed);
	return slab && dp_slab_pop(slab, atomic_load_explicit(&slab->hint,
							      memory_order_relaxed),
				   ret_addr);
}

/* Reserve an object in a slab that exists: the thread's current one, or one of its
 * class's list, which then becomes the current one. False: there is none. */
bool dp_object_reserve(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr);
/* Reserve an object in a slab that is the current one of another thread. */
bool dp_object_steal(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr);

/* A single attempt of RESERVED -> FREE, inline. False: nothing was changed; call
 * dp_object_cancel(). *ret_word: the word of states as it was left. */
static inline bool dp_object_try_cancel(struct dp_object object, uint64_t *ret_word)
{
	_Atomic uint64_t *state = &object.slab->state[object.index / 32];
	uint32_t shift = object.index % 32 * 2;
	uint64_t word = atomic_load_explicit(state, memory_order_relaxed);

	if ((word >> shift & 3) != DP_OBJECT_RESERVED ||
	    dp_slab_has_bad(object.slab))
		return false;
	*ret_word = word ^ (uint64_t)DP_OBJECT_RESERVED << shift;
	return atomic_compare_exchange_strong(state, &word, *ret_word);
}

/* After that, call dp_object_freed() unless dp_object_is_settled() is true. `word` is
 * that of dp_object_try_cancel(). *ret_closing: as for dp_object_cancel(). */
void dp_object_freed(struct dp_objects *objects, struct dp_object object,
		     struct dp_slab **ret_closing);

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
	place = atomic_load(&slab->place);
	return !atomic_load(&slab->has_bad) &&
	       (place == DP_SLAB_OWNED ||
		(place == DP_SLAB_PARTIAL && !atomic_load(&slab->was_taken) &&
		 word != dp_slab_empty_word(slab, object.index / 32)));
}

/*
 * RESERVED -> FREE. If *ret_closing is not NULL afterwards, the caller must free the
 * extent of that slab, which is CLOSING now.
 *
 * -EBUSY   a publish has claimed it
 * -EINVAL  it is live
 * -ESTALE  it is free
 */
int dp_object_cancel(struct dp_objects *objects, struct dp_object object,
		     struct dp_slab **ret_closing);

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
/* CLAIMED -> FREE. *ret_closing: as for dp_object_cancel(). */
void dp_object_settle_freed(struct dp_objects *objects, struct dp_object object,
			    struct dp_slab **ret_closing);

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
