/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slabs of small objects: making them, giving them back, and reading them at an
 * open. extent/objects.h has the objects in them.
 */
#ifndef DP_SLABS_H
#define DP_SLABS_H

#include "core/handle.h"
#include "media/slab.h"

/* -ENOMEM and those of mmap(). */
int dp_slabs_init(struct daxpin_pool *pool);

/* An extent of a slab that an open reads. */
struct dp_slab_extent {
	uint32_t segment;
	uint32_t block;			/* in the segment */
	uint32_t class;
};

/*
 * At an open: read the bits of a slab's objects, as they will be when the pending lanes
 * are applied.
 *
 * -EIO      they are unreadable
 * -ENOMEM
 * -EUCLEAN  a word fails its check
 */
int dp_slab_load(struct daxpin_pool *pool, const struct dp_slab_extent *extent,
		 const struct dp_errmsg *errmsg);
/* At an open: objects in these bad blocks of the pool are never reserved. */
void dp_slabs_bar(struct daxpin_pool *pool, uint64_t block, uint32_t blocks);

/* True if a block of the object is known to be bad. */
bool dp_object_is_bad(struct daxpin_pool *pool, struct dp_object object);

/* Copy bytes of an object. The errors are those of dp_read(). Objects in blocks that
 * are found to be bad are never reserved again. */
int dp_object_copy(struct daxpin_pool *pool, struct dp_object object, uint64_t offset,
		   void *to, uint64_t length);

/*
 * Reserve an object of a class. zero: its bytes are 0, but not durable yet.
 *
 * -EAGAIN  there is no space, but a reclaim or refill is in progress
 * -EIO     the medium failed, now or earlier
 * -ENOMEM
 * -ENOSPC  there is no space for another slab
 */
int dp_object_allocate(struct daxpin_pool *pool, uint32_t class, bool zero,
		       uint64_t *ret_addr);
/* As dp_object_cancel(); and the slow path of it, if cancelled is true after
 * dp_object_try_cancel(). */
int dp_object_return(struct daxpin_pool *pool, struct dp_object object,
		     bool cancelled);
/* After an object was freed on media. */
void dp_object_end(struct daxpin_pool *pool, struct dp_object object);

/* Free the extents of empty slabs. False: there were none. */
bool dp_slabs_give_back(struct daxpin_pool *pool);
/* dp_allocate(), and again after the extents of empty slabs were freed if there is no
 * space. */
int dp_slabs_allocate(struct daxpin_pool *pool, uint32_t blocks, uint32_t flags,
		      struct daxpin_extent *ret_extent);
/* For a shrink that has closed the segments from this one on: no object is reserved
 * there, and extents of slabs are freed when they are empty. dp_objects_reopen() ends
 * that, whether the shrink has failed or not. */
void dp_slabs_withdraw(struct daxpin_pool *pool, uint32_t segment);
/* At a close: of all slabs without objects on media. */
void dp_slabs_close(struct daxpin_pool *pool);

#endif
