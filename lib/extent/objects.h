/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slabs of a pool, and which of them an object is reserved in. See objects.c for
 * the protocol. slab.h has the states of the objects of a slab.
 */
#ifndef DP_OBJECTS_H
#define DP_OBJECTS_H

#include <pthread.h>
#include "extent/slab.h"
#include "extent/thread_slot.h"
#include "util/util.h"

#define DP_OBJECT_CLASSES	40u
#define DP_OBJECT_UNIT		16u	/* bytes; each size is a multiple of it */
#define DP_OBJECT_UNITS		128u	/* of the largest object */
/* private to objects.c */
struct dp_objects {
	const _Atomic uint64_t *blocks;	/* of the pool; not owned */
	uint64_t mapped;		/* blocks for which there is memory */
	uint64_t most;			/* blocks for which there are addresses */
	uint32_t slab_blocks;
	_Atomic(struct dp_slab *) *slab_of;	/* by block of the pool */
	uint8_t class_of[DP_OBJECT_UNITS];	/* by size, see dp_objects_class() */
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

/* The free objects that overlap these bytes of the slab must never be reserved. */
void dp_slab_bar(struct dp_objects *objects, struct dp_slab *slab, uint64_t begin,
		 uint64_t end);
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

/* The slabs in use and the objects that are live on media; a snapshot. */
struct dp_object_counts {
	uint64_t slabs;
	uint64_t partial;		/* with live objects, and others */
	uint64_t live;
	uint64_t live_bytes;
};
struct dp_object_counts dp_objects_count(struct dp_objects *objects);

/* ---------------------------------------------------------------- objects */

/* The class of the smallest objects that have `size` bytes, 1 to the largest size. */
static inline uint32_t dp_objects_class(const struct dp_objects *objects, uint64_t size)
{
	return objects->class_of[(size - 1) / DP_OBJECT_UNIT];
}

/* Find the object that begins at an address. False: none does. */
static inline bool dp_object_find(const struct dp_objects *objects, uint64_t addr,
				  struct dp_object *ret_object)
{
	struct dp_slab *slab = dp_slab_at(objects, addr >> 12);

	return slab && dp_slab_find(slab, addr, ret_object);
}

/* The fast path, a single attempt: reserve an object where the thread's current slab
 * was used last. False: use dp_object_try_all(), then dp_object_reserve(). */
static inline bool dp_object_try(struct dp_objects *objects, uint32_t class,
				 uint64_t *ret_addr)
{
	unsigned int slot = dp_thread_slot_mine - 1;
	struct dp_slab *slab;

	if (slot >= DP_THREAD_SLOTS)
		return false;
	slab = atomic_load_explicit(&objects->owner[slot].slab[class],
				    memory_order_relaxed);
	return slab && dp_slab_try(slab, ret_addr);
}
/* The same, anywhere in the current slab. */
bool dp_object_try_all(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr);

/* Reserve an object in a slab that exists: the thread's current one, or one of its
 * class's list, which then becomes the current one. False: there is none. */
bool dp_object_reserve(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr);
/* Reserve an object in a slab that is the current one of another thread. */
bool dp_object_steal(struct dp_objects *objects, uint32_t class, uint64_t *ret_addr);

/* After dp_object_try_cancel(), call dp_object_freed() unless dp_object_is_settled() is
 * true. *ret_closing: as for dp_object_cancel(). */
void dp_object_freed(struct dp_objects *objects, struct dp_object object,
		     struct dp_slab **ret_closing);

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

/* CLAIMED -> FREE. *ret_closing: as for dp_object_cancel(). */
void dp_object_settle_freed(struct dp_objects *objects, struct dp_object object,
			    struct dp_slab **ret_closing);

#endif
