/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small key-value store in a pool: keys of up to KV_KEY_MAX bytes, values of any size
 * up to the largest extent. When a put or a delete returns 0 it is durable; after a
 * crash each key has the value of its last put that returned, or of the one that was
 * interrupted. Any number of threads may use a store at the same time.
 *
 * Functions return 0 or -errno; those of daxpin_reserve() and daxpin_publish() are
 * passed on.
 */
#ifndef KV_H
#define KV_H

#include <daxpin.h>
#include <stddef.h>
#include <stdint.h>

#define KV_KEY_MAX	1024u

struct kv;

struct kv_bytes {
	const void *bytes;
	size_t size;
};

/*
 * Make a store in a pool that is open for writing and has no live extents or objects.
 * No other thread may use the pool meanwhile.
 *
 * -EEXIST	the pool has the root "kv"
 * -ENOTEMPTY, -EUCLEAN as kv_open()
 */
int kv_make(struct daxpin_pool *pool);

/*
 * Open the store in a pool that is open for writing. Reserves and changes nothing. The
 * pool remains the caller's, and must stay open until kv_close().
 *
 * -EMEDIUMTYPE	the root "kv" names something that is no store of this version
 * -ENOENT	the pool is empty: kv_make() can make a store
 * -ENOMEM
 * -ENOTEMPTY	the pool has live extents or objects, but no root "kv": they are
 *		another program's, or of a store whose root is damaged or was removed
 *		by a repair
 * -EUCLEAN	the head or a table of the store is missing, because a repair has
 *		removed it, or it is in a damaged part of the pool; or nothing is
 *		found in a pool that was opened with DAXPIN_POOL_DEGRADED
 */
int kv_open(struct daxpin_pool *pool, struct kv **ret_kv);
void kv_close(struct kv *kv);

/*
 * Replace the value of a key, or add the key.
 *
 * -EFBIG	the value is larger than the largest extent
 * -EINVAL	a key of 0 or more than KV_KEY_MAX bytes
 * -ENOSPC	no space in the pool; or no room for more keys
 */
int kv_put(struct kv *kv, struct kv_bytes key, struct kv_bytes value);

/*
 * Copy the value, at most `size` bytes of it, to `to`, and store its whole size in
 * *ret_size.
 *
 * -EINVAL	as kv_put()
 * -ENOENT	no such key
 */
int kv_get(struct kv *kv, struct kv_bytes key, void *to, size_t size,
	   size_t *ret_size);

/* A value that is held: hardware may read it until kv_drop(), even if the key is
 * replaced or deleted meanwhile. */
struct kv_hold {
	struct daxpin_extent extent;
	uint64_t offset;		/* of the value in the extent */
	uint64_t size;
};

/*
 * Hold a value for requests of an attached ring, or for write(2), instead of copying
 * it.
 *
 * -EAGAIN	the segment is being reclaimed; see daxpin_hold()
 * -ENOENT	no such key
 * -EOPNOTSUPP	the value is small, and thus in an object, which hardware must not
 *		access: use kv_get()
 */
int kv_hold(struct kv *kv, struct kv_bytes key, struct kv_hold *ret_hold);
int kv_drop(struct kv *kv, const struct kv_hold *hold);

/* Remove a key. -ENOENT: no such key. */
int kv_delete(struct kv *kv, struct kv_bytes key);

/*
 * Call fn for each key, in no particular order. Keys that are put or deleted meanwhile
 * may be reported or not. Ends when fn returns non-zero, and returns that. fn must not
 * put or delete; the bytes are valid until it returns.
 */
int kv_foreach(struct kv *kv,
	       int (*fn)(struct kv_bytes key, struct kv_bytes value, void *arg),
	       void *arg);

/*
 * Move what the store has at or above a pool address to other places, each in one
 * publish. For a shrink: while the pool shrinks, nothing is reserved in the segments to
 * be removed. Values that are held stay where they are until they are dropped.
 *
 * -EIO		the medium is bad where an item is
 * -ENOSPC	the rest of the pool is full; what was moved remains there
 */
int kv_move(struct kv *kv, uint64_t from);

/*
 * daxpin_pool_shrink() with kv_move(), while other threads use the store. Nothing else
 * may have live extents or objects in the segments to be removed. errmsg: may be NULL.
 *
 * -EBUSY	a value is held there, or another user of the pool is in the way, until
 *		the deadline; errmsg names it
 * those of kv_move() and of daxpin_pool_shrink()
 */
int kv_shrink(struct kv *kv, uint64_t size, uint64_t deadline_ns, char *errmsg,
	      size_t errmsg_size);

struct kv_counts {
	uint64_t keys;
	uint64_t slots;			/* of the hash tables */
	uint64_t removed;		/* slots of deleted keys, not reused yet */
	uint64_t leaked;		/* extents and objects of the pool that the
					   store does not use */
	uint64_t broken;		/* slots whose item is not live, or has
					   another key than its place says */
};

/* Compare the store with what is live in the pool. No other thread may use the store or
 * the pool meanwhile. -ENOMEM. */
int kv_check(struct kv *kv, struct kv_counts *ret_counts);

#endif
