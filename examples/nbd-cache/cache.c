/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cache: what reads, writes and evictions do with the index.
 *
 * The index has one word for each block of the volume. The states of a block, and the
 * function that makes each transition; A is the address of an extent:
 *
 *	0 ---read a miss [fill]--> A ---evict [evict_block]--> 0
 *	any ---write [write_piece]--> A|DIRTY ---write-back [end, back.c]--> A
 *	any ---zero, trim [zero_block]--> ZERO|DIRTY ---write-back [end]--> 0
 *
 * Without a disk there is no DIRTY and no ZERO: a write makes A, a zero makes 0, blocks
 * whose word is 0 are zeroes, and nothing is evicted.
 *
 * What is true, at every time and after every crash:
 *
 * - A word changes only in cache_exchange(), by one publish, under its block's lock.
 *   The publish keeps the new extent and retires the old one. So an extent that is live
 *   and not of the index itself is named by exactly one word, and a word with an
 *   address names a live extent of one block. A crash frees reserved extents, and
 *   leaves none that no word names.
 * - The contents of an extent never change after its publish. A write makes a new
 *   extent, so each block is of one write as a whole, and readers need no lock: they
 *   hold the extent that they read, and its blocks are not reused before they drop it.
 * - A write is answered after its publish, so a flush has nothing to do.
 * - If a word has no DIRTY, the disk has the same contents, durably. Only such words
 *   become 0, which means: read the disk.
 *
 * A thread that waits for space has no lock, because write-back takes the locks of
 * other blocks: each operation reserves its new extent first. The order of locks is a
 * block's lock, then cache->mutex; a thread has one block's lock at a time.
 */
#include "engine.h"
#include <errno.h>
#include <string.h>

static const struct daxpin_extent none;

/* ------------------------------------------------------------------------ words */

_Atomic uint64_t *cache_word(struct cache *cache, uint64_t block)
{
	return &cache->words[block / INDEX_WORDS][block % INDEX_WORDS];
}

/* The bytes of the volume in a block: less in the last one. */
uint32_t cache_length(const struct cache *cache, uint64_t block)
{
	uint64_t rest = cache->size - block * cache->block;

	return rest < cache->block ? rest : cache->block;
}

void cache_lock(struct cache *cache, uint64_t block)
{
	pthread_mutex_lock(&cache->locks[block % LOCKS]);
}

void cache_unlock(struct cache *cache, uint64_t block)
{
	pthread_mutex_unlock(&cache->locks[block % LOCKS]);
}

/*
 * Replaces a block's word, which is `old`: keeps `fresh` if there is one, and retires
 * the old extent if the new word does not name it. After an error nothing has changed.
 */
int cache_exchange(struct cache *cache, uint64_t block, uint64_t old,
		   struct daxpin_extent fresh, uint64_t word)
{
	struct daxpin_op ops[3] = { {
		.type = DAXPIN_OP_SET, .extent = cache->index[block / INDEX_WORDS],
		.offset = block % INDEX_WORDS * 8, .value = word,
	} };
	size_t count = 1;
	int ret = 0;

	if (fresh.addr)
		ops[count++] = (struct daxpin_op){
			.type = DAXPIN_OP_KEEP, .extent = fresh };
	if (old & WORD_ADDR && (old ^ word) & WORD_ADDR) {
		ops[count].type = DAXPIN_OP_RETIRE;
		ret = daxpin_extent_at(cache->pool, old & WORD_ADDR,
				       &ops[count++].extent);
	}
	if (!ret)
		ret = daxpin_publish(cache->pool, ops, count, NULL, NULL);
	if (ret) {
		cache_say(cache, "block %llu cannot be changed: %s",
			  (unsigned long long)block, daxpin_strerror(ret));
		return ret;
	}
	back_count(cache, old, word);
	if (word & WORD_DIRTY && !(old & WORD_DIRTY))
		back_queue(cache, block);
	return 0;
}

/* ------------------------------------------------------------------------- space */

/* Evicts the block if it is clean and no other thread is changing it. */
static bool evict_block(struct cache *cache, uint64_t block)
{
	bool evicted = false;
	uint64_t word;

	if (pthread_mutex_trylock(&cache->locks[block % LOCKS]))
		return false;
	word = *cache_word(cache, block);
	if (word & WORD_ADDR && !(word & WORD_DIRTY))
		evicted = !cache_exchange(cache, block, word, none, 0);
	cache_unlock(cache, block);
	return evicted;
}

static bool has_clean(struct cache *cache)
{
	bool clean;

	pthread_mutex_lock(&cache->mutex);
	clean = cache->disk >= 0 && cache->clean;
	pthread_mutex_unlock(&cache->mutex);
	return clean;
}

/* Evicts the next clean block that was not read since the hand passed it. */
bool cache_evict(struct cache *cache)
{
	if (!has_clean(cache))
		return false;
	for (uint64_t n = 0; n < 2 * cache->blocks; n++) {
		uint64_t block = cache->hand++ % cache->blocks;
		uint64_t word = *cache_word(cache, block);

		if (!(word & WORD_ADDR) || word & WORD_DIRTY)
			continue;
		if (atomic_exchange(&cache->used[block], 0))
			continue;
		if (evict_block(cache, block))
			return true;
	}
	return false;
}

/* The caller has no lock. */
static int reserve(struct cache *cache, struct daxpin_extent *ret_fresh)
{
	bool failed = false;

	for (;;) {
		int ret = daxpin_reserve(cache->pool, cache->block, 0, ret_fresh);

		if (ret != -ENOSPC && ret != -EAGAIN)
			return ret;
		if (cache_evict(cache))
			continue;
		if (cache->disk < 0)
			return -ENOSPC;
		if (failed) {
			cache_say(cache, "the pool is full of dirty blocks, and the disk does not accept them");
			return -EIO;
		}
		failed = back_wait(cache);
	}
}

/* ------------------------------------------------------------------------- reads */

static int read_disk(struct cache *cache, uint64_t block,
		     struct daxpin_extent fresh)
{
	uint32_t length = cache_length(cache, block);
	struct ring *ring = ring_take(cache);
	int ret;

	ring_read(cache, ring, 0, fresh, length, block * cache->block);
	ring_wait(cache, ring);
	ret = ring->request[0].result;
	ring_put(cache, ring);
	if (ret == (int)length)
		return 0;
	cache_say(cache, "reading %u bytes of the disk at %llu failed: %s", length,
		  (unsigned long long)block * cache->block,
		  ret < 0 ? strerror(-ret) : "it ends there");
	return -EIO;
}

/* Copies the present contents of the block, which has that word, to a new extent. */
static int fill(struct cache *cache, uint64_t block, uint64_t word,
		struct daxpin_extent fresh)
{
	char *to = daxpin_ptr(cache->pool, fresh, 0);
	uint32_t length = cache_length(cache, block);
	struct daxpin_extent old;
	int ret;

	if (word & WORD_ADDR) {
		ret = daxpin_extent_at(cache->pool, word & WORD_ADDR, &old);
		return ret ? ret : daxpin_read(cache->pool, old, 0, cache->block, to);
	}
	memset(to + length, 0, cache->block - length);
	if (!word && cache->disk >= 0)
		return read_disk(cache, block, fresh);
	memset(to, 0, length);
	return 0;
}

/*
 * Reads what needs no disk. 1: done; 0: the block is not cached, or its word changed
 * meanwhile, which cannot happen under the block's lock. See daxpin_hold_at(3).
 */
static int read_cached(struct cache *cache, uint64_t block, uint32_t at,
		       uint32_t count, void *to)
{
	_Atomic uint64_t *where = cache_word(cache, block);
	struct daxpin_extent extent;
	uint64_t word = *where;
	int ret;

	if (!(word & WORD_ADDR)) {
		if (!word && cache->disk >= 0)
			return 0;
		memset(to, 0, count);
		return 1;
	}
	ret = daxpin_hold_at(cache->pool, word & WORD_ADDR, DAXPIN_HOLD_READ,
			     &extent);
	if (ret)
		return ret == -ENOENT || ret == -EALREADY ? 0 : ret;
	if ((*where ^ word) & WORD_ADDR)
		ret = 0;
	else
		ret = daxpin_read(cache->pool, extent, at, count, to) ? : 1;
	daxpin_drop(cache->pool, extent);
	return ret;
}

static int read_missing(struct cache *cache, uint64_t block, uint32_t at,
			uint32_t count, void *to)
{
	struct daxpin_extent fresh;
	int cached, ret = reserve(cache, &fresh);
	uint64_t word;

	if (ret)
		return ret;
	cache_lock(cache, block);
	word = *cache_word(cache, block);
	cached = read_cached(cache, block, at, count, to);
	if (!cached)
		ret = fill(cache, block, word, fresh);
	if (!cached && !ret)
		ret = cache_exchange(cache, block, word, fresh, fresh.addr);
	if (!cached && !ret)
		memcpy(to, (char *)daxpin_ptr(cache->pool, fresh, 0) + at, count);
	cache_unlock(cache, block);
	if (cached || ret)
		daxpin_cancel(cache->pool, fresh);
	return cached < 0 ? cached : ret;
}

static int read_piece(struct cache *cache, uint64_t block, uint32_t at,
		      uint32_t count, void *to)
{
	int ret = read_cached(cache, block, at, count, to);

	if (ret < 0)
		return ret;
	if (cache->disk >= 0 && !cache->used[block])
		cache->used[block] = 1;
	if (ret) {
		cache->hits++;
		return 0;
	}
	cache->misses++;
	return read_missing(cache, block, at, count, to);
}

/* ------------------------------------------------------------------------ writes */

/* from NULL: zeroes. */
static void put(void *to, const void *from, uint32_t count)
{
	if (from)
		memcpy(to, from, count);
	else
		memset(to, 0, count);
}

static int write_piece(struct cache *cache, uint64_t block, uint32_t at,
		       uint32_t count, const void *from)
{
	uint64_t word, dirty = cache->disk < 0 ? 0 : WORD_DIRTY;
	uint32_t length = cache_length(cache, block);
	struct daxpin_extent fresh;
	char *to;
	int ret = reserve(cache, &fresh);

	if (ret)
		return ret;
	to = daxpin_ptr(cache->pool, fresh, 0);
	cache_lock(cache, block);
	word = *cache_word(cache, block);
	if (count < length)
		ret = fill(cache, block, word, fresh);
	else
		memset(to + length, 0, cache->block - length);
	if (!ret) {
		put(to + at, from, count);
		ret = cache_exchange(cache, block, word, fresh, fresh.addr | dirty);
	}
	cache_unlock(cache, block);
	if (ret)
		daxpin_cancel(cache->pool, fresh);
	return ret;
}

static int zero_block(struct cache *cache, uint64_t block)
{
	uint64_t word, zero = cache->disk < 0 ? 0 : WORD_ZERO | WORD_DIRTY;
	int ret = 0;

	cache_lock(cache, block);
	word = *cache_word(cache, block);
	if (word != zero)
		ret = cache_exchange(cache, block, word, none, zero);
	cache_unlock(cache, block);
	return ret;
}

/* ------------------------------------------------------------------ the front end */

/* The part of the range in its first block. */
static uint32_t first_piece(struct cache *cache, uint64_t count, uint64_t offset)
{
	uint32_t piece = cache->block - offset % cache->block;

	return piece < count ? piece : count;
}

int cache_read(struct cache *cache, void *to, uint64_t count, uint64_t offset)
{
	uint32_t piece;
	int ret = 0;

	for (; count && !ret; count -= piece, offset += piece) {
		piece = first_piece(cache, count, offset);
		ret = read_piece(cache, offset / cache->block, offset % cache->block,
				 piece, to);
		to = (char *)to + piece;
	}
	return ret;
}

int cache_write(struct cache *cache, const void *from, uint64_t count,
		uint64_t offset)
{
	uint32_t piece;
	int ret = 0;

	for (; count && !ret; count -= piece, offset += piece) {
		piece = first_piece(cache, count, offset);
		ret = write_piece(cache, offset / cache->block,
				  offset % cache->block, piece, from);
		from = (const char *)from + piece;
	}
	return ret;
}

static int zero(struct cache *cache, uint64_t count, uint64_t offset, bool parts)
{
	uint32_t piece;
	int ret = 0;

	for (; count && !ret; count -= piece, offset += piece) {
		uint64_t block = offset / cache->block;

		piece = first_piece(cache, count, offset);
		if (piece == cache_length(cache, block))
			ret = zero_block(cache, block);
		else if (parts && !cache_is_zero(cache, offset))
			ret = write_piece(cache, block, offset % cache->block,
					  piece, NULL);
	}
	return ret;
}

int cache_zero(struct cache *cache, uint64_t count, uint64_t offset)
{
	return zero(cache, count, offset, true);
}

int cache_trim(struct cache *cache, uint64_t count, uint64_t offset)
{
	return zero(cache, count, offset, false);
}

bool cache_is_zero(struct cache *cache, uint64_t offset)
{
	uint64_t word = *cache_word(cache, offset / cache->block);

	return word & WORD_ZERO || (!word && cache->disk < 0);
}

void cache_counts(struct cache *cache, struct cache_counts *ret_counts)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	daxpin_pool_info(cache->pool, &info);
	pthread_mutex_lock(&cache->mutex);
	*ret_counts = (struct cache_counts){
		.hits = cache->hits, .misses = cache->misses,
		.clean = cache->clean, .dirty = cache->dirty,
		.extents = cache->extents,
		.written_back = cache->written_back, .evicted = cache->evicted,
		.disk_errors = cache->disk_errors, .reading = cache->reading,
		.retired_bytes = info.retired_bytes,
	};
	pthread_mutex_unlock(&cache->mutex);
}
