/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cache: what reads, writes and evictions do with the index.
 *
 * The index has one word for each block of the volume. The states of a block, and the
 * function that makes each transition; A is the address of an extent:
 *
 *	0 ---read a miss [read_missing]--> A ---evict [cache_evict_block]--> 0
 *	any ---write [write_run]--> A|DIRTY ---write-back [end, back.c]--> A
 *	any ---zero, trim [zero_run]--> ZERO|DIRTY ---write-back [end]--> 0
 *	A|DIRTY ---bad memory [end]--> LOST
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
 *   hold the extents that they read, and their blocks are not reused before the drop.
 * - The contents of an extent are loaded by copy_out(), so that bad memory is an error
 *   of the request, and not a SIGBUS.
 * - A write is answered after its publish, so a flush has nothing to do.
 * - If a word has no DIRTY and no LOST, the disk has the same contents, durably. Only
 *   such words become 0, which means: read the disk.
 *
 * The blocks of a request are changed in runs, by one publish each. A thread that waits
 * for space has no lock, because write-back takes the locks of other blocks, and no
 * extent, because others may wait for the same: a run has as many blocks as there is
 * space for, and waits only for its first. The order of locks is those of a run, in
 * ascending order, then cache->mutex. A run does not go past the block with the last
 * lock.
 */
#include "engine.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------------ words */

_Atomic uint64_t *cache_word(struct cache *cache, uint64_t block)
{
	return &cache->words[block / INDEX_WORDS][block % INDEX_WORDS];
}

/* The bytes of the volume in a block: less in the last one. */
uint32_t cache_length(const struct cache *cache, uint64_t block)
{
	return least(cache->block, cache->size - block * cache->block);
}

static pthread_mutex_t *lock_of(struct cache *cache, uint64_t block)
{
	return &cache->locks[block / GROUP % LOCKS];
}

void cache_lock(struct cache *cache, uint64_t block)
{
	pthread_mutex_lock(lock_of(cache, block));
}

void cache_unlock(struct cache *cache, uint64_t block)
{
	pthread_mutex_unlock(lock_of(cache, block));
}

void cache_nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

/* While the kernel takes or gives memory of a segment its extents cannot be held. */
int cache_hold(struct cache *cache, uint64_t word, struct daxpin_extent *ret_extent)
{
	int ret;

	while ((ret = daxpin_hold_at(cache->pool, word & WORD_ADDR,
				     DAXPIN_HOLD_READ, ret_extent)) == -EAGAIN)
		cache_nap();
	return ret;
}

/* A request with this extent, or {0, 0}, has failed. Because of its memory, and not of
 * the disk? Then the library does not reserve it again. */
bool cache_is_bad(struct cache *cache, struct daxpin_extent extent)
{
	char *buffer = extent.addr ? malloc(cache->block) : NULL;
	bool bad = buffer && daxpin_read(cache->pool, extent, 0, cache->block,
					 buffer) == -EIO;

	free(buffer);
	return bad;
}

static int add_ops(struct cache *cache, const struct change *change,
		   struct daxpin_op *ops, size_t *count)
{
	struct daxpin_op retire = { .type = DAXPIN_OP_RETIRE };
	int ret = 0;

	ops[(*count)++] = (struct daxpin_op){
		.type = DAXPIN_OP_SET, .value = change->word,
		.extent = cache->index[change->block / INDEX_WORDS],
		.offset = change->block % INDEX_WORDS * 8,
	};
	if (change->fresh.addr)
		ops[(*count)++] = (struct daxpin_op){
			.type = DAXPIN_OP_KEEP, .extent = change->fresh };
	if (!(change->old & WORD_ADDR) || !((change->old ^ change->word) & WORD_ADDR))
		return 0;
	ret = daxpin_extent_at(cache->pool, change->old & WORD_ADDR, &retire.extent);
	ops[(*count)++] = retire;
	return ret;
}

/*
 * Replaces the words of up to RUN blocks, which are locked: keeps `fresh` if there is
 * one, and retires the old extent if the new word does not name it. After an error
 * nothing has changed.
 */
int cache_exchange(struct cache *cache, const struct change *change,
		   unsigned int count)
{
	struct daxpin_op ops[DAXPIN_OPS_MAX];
	size_t ops_count = 0;
	int ret = 0;

	if (!count)
		return 0;
	for (unsigned int i = 0; !ret && i < count; i++)
		ret = add_ops(cache, &change[i], ops, &ops_count);
	while (!ret && (ret = daxpin_publish(cache->pool, ops, ops_count, NULL,
					     NULL)) == -EAGAIN) {
		cache_nap();
		ret = 0;
	}
	if (ret)
		cache_say(cache, "block %llu cannot be changed: %s",
			  (unsigned long long)change->block, daxpin_strerror(ret));
	else
		back_changed(cache, change, count);
	return ret;
}

/* ------------------------------------------------------------------------- space */

/* Evicts the block if it is clean. With `wait`, even if its lock is taken. */
bool cache_evict_block(struct cache *cache, uint64_t block, bool wait)
{
	struct change change = { .block = block };
	bool evicted = false;

	if (wait)
		cache_lock(cache, block);
	else if (pthread_mutex_trylock(lock_of(cache, block)))
		return false;
	change.old = *cache_word(cache, block);
	if (change.old & WORD_ADDR && !(change.old & WORD_DIRTY))
		evicted = !cache_exchange(cache, &change, 1);
	cache_unlock(cache, block);
	return evicted;
}

/* Evicts the next clean block that was not read since the hand passed it. */
static bool evict(struct cache *cache)
{
	if (cache->disk < 0 || !cache->clean)
		return false;
	for (uint64_t n = 0; n < 2 * cache->blocks; n++) {
		uint64_t block = cache->hand++ % cache->blocks;
		uint64_t word = *cache_word(cache, block);

		if (!(word & WORD_ADDR) || word & WORD_DIRTY)
			continue;
		if (atomic_exchange(&cache->used[block], 0))
			continue;
		if (cache_evict_block(cache, block, false))
			return true;
	}
	return false;
}

static int try_reserve(struct cache *cache, struct daxpin_extent *ret_fresh)
{
	int ret = -ENOSPC;

	if (cache->extents++ < cache->limit)
		ret = daxpin_reserve(cache->pool, cache->block, 0, ret_fresh);
	if (ret)
		cache->extents--;
	return ret;
}

static void cancel(struct cache *cache, struct daxpin_extent fresh)
{
	daxpin_cancel(cache->pool, fresh);
	cache->extents--;
}

/* With `wait` the caller has no lock and no extent. */
static int reserve(struct cache *cache, bool wait, struct daxpin_extent *ret_fresh)
{
	bool failed = false;

	for (;;) {
		int ret = try_reserve(cache, ret_fresh);

		if (ret != -ENOSPC && ret != -EAGAIN)
			return ret;
		if (evict(cache))
			continue;
		if (!wait || (cache->disk < 0 && ret == -ENOSPC))
			return -ENOSPC;
		if (failed) {
			cache_say(cache, "the pool is full of dirty blocks, and the disk does not accept them");
			return -EIO;
		}
		failed = back_wait(cache);
	}
}

/* -------------------------------------------------------------------------- runs */

/* A request for [offset, offset + bytes), or the part of it that one publish does. */
struct run {
	enum cache_operation operation;
	uint64_t offset, bytes;
	uint64_t block;			/* the first */
	unsigned int count;		/* blocks */
	unsigned int locked;		/* blocks, by run_lock() */
	struct daxpin_extent extent[RUN];	/* reserved, or held by a reader */
};

static void run_cut(struct cache *cache, struct run *run, unsigned int count)
{
	run->count = count;
	run->bytes = count ? least(run->bytes, (run->block + count) * cache->block -
					       run->offset) : 0;
}

static void run_begin(struct cache *cache, struct run *run, uint64_t bytes,
		      uint64_t offset)
{
	uint64_t last = (offset + bytes - 1) / cache->block;

	run->offset = offset;
	run->bytes = bytes;
	run->block = offset / cache->block;
	run_cut(cache, run, least(least(last - run->block + 1, RUN),
				  GROUP * LOCKS - run->block % (GROUP * LOCKS)));
}

/* The part of the request in the i-th block. Returns its offset there. */
static uint32_t run_piece(struct cache *cache, const struct run *run, unsigned int i,
			  uint32_t *ret_count)
{
	uint64_t begin = (run->block + i) * cache->block, end = begin + cache->block;
	uint64_t from = run->offset > begin ? run->offset : begin;

	*ret_count = least(run->offset + run->bytes, end) - from;
	return from - begin;
}

static bool is_whole(struct cache *cache, const struct run *run, unsigned int i)
{
	uint32_t count;

	run_piece(cache, run, i, &count);
	return count == cache_length(cache, run->block + i);
}

/* Cuts the run if there is not enough space. */
static int run_reserve(struct cache *cache, struct run *run, bool wait)
{
	for (unsigned int i = 0; i < run->count; i++) {
		int ret = reserve(cache, wait && !i, &run->extent[i]);

		if (ret && !i)
			return ret;
		if (ret)
			run_cut(cache, run, i);
	}
	return 0;
}

static void run_cancel(struct cache *cache, struct run *run, unsigned int from)
{
	for (unsigned int i = from; i < run->count; i++)
		cancel(cache, run->extent[i]);
}

static void run_lock(struct cache *cache, struct run *run)
{
	run->locked = run->count;
	for (unsigned int i = 0; i < run->locked; i++)
		if (!i || !((run->block + i) % GROUP))
			cache_lock(cache, run->block + i);
}

/* Even if the run was cut meanwhile. */
static void run_unlock(struct cache *cache, const struct run *run)
{
	for (unsigned int i = 0; i < run->locked; i++)
		if (!i || !((run->block + i) % GROUP))
			cache_unlock(cache, run->block + i);
}

/* The first blocks of the run, which are locked, become its extents: reserved ones, or
 * {0, 0}. */
static int run_exchange(struct cache *cache, const struct run *run, unsigned int count,
			uint64_t flags)
{
	struct change change[RUN];
	unsigned int changes = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct change *next = &change[changes];

		*next = (struct change){
			.block = run->block + i, .fresh = run->extent[i],
			.old = *cache_word(cache, run->block + i),
			.word = run->extent[i].addr | flags,
		};
		changes += next->word != next->old;
	}
	return cache_exchange(cache, change, changes);
}

/* limit.c lets requests wait. */
static uint64_t enter(struct cache *cache)
{
	uint64_t since = daxpin_deadline_ms(0);

	for (;;) {
		cache->active++;
		if (!cache->paused)
			return since;
		cache->active--;
		cache_nap();
	}
}

/* A request: each step does the first blocks of its run, or none, and cuts the run
 * after them. */
static int each_run(struct cache *cache, enum cache_operation operation, char *buffer,
		    uint64_t count, uint64_t offset,
		    int (*step)(struct cache *cache, struct run *run, char *buffer))
{
	uint64_t since = enter(cache);
	struct run run;
	int ret = 0;

	run.operation = operation;
	for (; count && !ret; count -= run.bytes, offset += run.bytes) {
		run_begin(cache, &run, count, offset);
		ret = step(cache, &run, buffer);
		buffer = buffer ? buffer + run.bytes : NULL;
	}
	cache->active--;
	stats_observe(cache, run.operation, since);
	return ret;
}

/* ------------------------------------------------------------------------- reads */

/* Is the error of a request, after its report. */
static int disk_failed(struct cache *cache, uint64_t block, int error)
{
	cache_say(cache, "reading %u bytes of the disk at %llu failed: %s",
		  cache_length(cache, block),
		  (unsigned long long)block * cache->block,
		  error == -ENODATA ? "it ends there" : strerror(-error));
	return -EIO;
}

/* Reports it, and is the error of a request for a dirty block in bad memory. */
int cache_lost(struct cache *cache, uint64_t block)
{
	cache_say(cache, "the %u bytes at %llu are not on the disk, and the pool's memory of them is bad: reads fail until all of them are written or trimmed",
		  cache_length(cache, block),
		  (unsigned long long)block * cache->block);
	return -EIO;
}

/* Reads blocks into extents, the first `count` of the run. Returns how many are
 * read, before the first error. */
static unsigned int read_disk(struct cache *cache, const struct run *run,
			      unsigned int count, int *ret_error)
{
	struct ring *ring = ring_take(cache);
	unsigned int done = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint32_t length = cache_length(cache, run->block + i);
		char *to = daxpin_ptr(cache->pool, run->extent[i], 0);

		memset(to + length, 0, cache->block - length);
		ring_add(ring, false, run->extent[i], length,
			 (run->block + i) * cache->block);
	}
	ring_run(cache, ring);
	while (done < count && !ring->request[done].result)
		done++;
	if (done < count)
		*ret_error = disk_failed(cache, run->block + done,
					 ring->request[done].result);
	ring_put(cache, ring);
	return done;
}

/*
 * Holds the block, if that needs no disk. 1: done, with {0, 0} for zeroes; 0: the block
 * is not cached, or its word changed meanwhile, which cannot happen under the block's
 * lock. See daxpin_hold_at(3).
 */
static int hold_block(struct cache *cache, uint64_t block,
		      struct daxpin_extent *ret_extent)
{
	_Atomic uint64_t *where = cache_word(cache, block);
	uint64_t word = *where;
	int ret;

	*ret_extent = (struct daxpin_extent){ 0 };
	if (word & WORD_LOST)
		return cache_lost(cache, block);
	if (!(word & WORD_ADDR))
		return word || cache->disk < 0;
	ret = cache_hold(cache, word, ret_extent);
	if (ret)
		return ret == -ENOENT || ret == -EALREADY ? 0 : ret;
	if (!((*where ^ word) & WORD_ADDR))
		return 1;
	daxpin_drop(cache->pool, *ret_extent);
	return 0;
}

/* After hold_block(). */
static int copy_held(struct cache *cache, struct daxpin_extent extent, uint32_t at,
		     uint32_t count, void *to)
{
	if (extent.addr)
		return copy_out(cache, extent, at, count, to);
	memset(to, 0, count);
	return 0;
}

static void drop_held(struct cache *cache, struct daxpin_extent extent)
{
	if (extent.addr)
		daxpin_drop(cache->pool, extent);
}

/* There is no space: one block that is not cached is read past the cache. */
static int read_through(struct cache *cache, struct run *run, void *to)
{
	uint32_t count, at = run_piece(cache, run, 0, &count);
	uint32_t length = cache_length(cache, run->block);
	char *buffer = aligned_alloc(DAXPIN_BLOCK_SIZE, cache->block);
	ssize_t done;

	if (!buffer)
		return -ENOMEM;
	done = pread(cache->disk, buffer, length, run->block * cache->block);
	memcpy(to, buffer + at, count);
	free(buffer);
	run_cut(cache, run, 1);
	cache->misses++;
	return done == (ssize_t)length ? 0 :
	       disk_failed(cache, run->block, done < 0 ? -errno : -ENODATA);
}

/* Blocks in a row that are not cached, beginning with the first. */
static unsigned int count_missing(struct cache *cache, const struct run *run)
{
	unsigned int count = 0;

	while (cache->disk >= 0 && count < run->count &&
	       !*cache_word(cache, run->block + count))
		count++;
	return count;
}

/* The words are 0 and locked. Makes clean blocks of what can be read of the disk. If
 * the memory of an extent is bad, cuts the run before its block, which is then read
 * again. */
static int fetch(struct cache *cache, struct run *run, char *to)
{
	int error = 0, copied = 0;
	unsigned int done = read_disk(cache, run, run->count, &error);
	int ret = run_exchange(cache, run, done, 0);

	for (unsigned int i = 0; !ret && !copied && i < done; i++) {
		uint32_t count, at = run_piece(cache, run, i, &count);

		copied = copy_out(cache, run->extent[i], at, count, to);
		to += count;
	}
	if (error && cache_is_bad(cache, run->extent[done]))
		error = 0;
	run_cancel(cache, run, ret ? 0 : done);
	cache->misses += done;
	run_cut(cache, run, done);
	ret = ret ? ret : copied;
	return ret ? ret : error;
}

/* Does nothing if the first block is cached now. */
static int read_missing(struct cache *cache, struct run *run, char *to)
{
	int ret = 0;

	run->operation = CACHE_READ_MISS;
	run_lock(cache, run);
	run_cut(cache, run, count_missing(cache, run));
	if (run->count && !run_reserve(cache, run, false))
		ret = fetch(cache, run, to);
	else if (run->count)
		ret = read_through(cache, run, to);
	run_unlock(cache, run);
	return ret;
}

/* It is no error if the block is clean, or has another extent by now. */
static int bad_memory(struct cache *cache, uint64_t block, struct daxpin_extent extent)
{
	if (cache->disk >= 0 && cache_evict_block(cache, block, true))
		return 0;
	if ((*cache_word(cache, block) & WORD_ADDR) != extent.addr)
		return 0;
	return cache_lost(cache, block);
}

/*
 * Reads the first blocks that need no disk, or else those that do. All holds are taken
 * before the first copy, and dropped after the last one: a locked instruction between
 * two copies would wait for the stores of the first.
 */
static int read_run(struct cache *cache, struct run *run, char *to)
{
	unsigned int held = 0, done = 0;
	uint32_t count;
	int ret = 1;

	while (held < run->count && ret > 0) {
		ret = hold_block(cache, run->block + held, &run->extent[held]);
		held += ret > 0;
	}
	if (!held && !ret)
		return read_missing(cache, run, to);
	for (; done < held && ret >= 0; done++, to += count) {
		uint32_t at = run_piece(cache, run, done, &count);

		if (done + 1 < held)
			__builtin_prefetch(daxpin_ptr(cache->pool,
						      run->extent[done + 1], 0));
		ret = copy_held(cache, run->extent[done], at, count, to);
		if (cache->disk >= 0 && !cache->used[run->block + done])
			cache->used[run->block + done] = 1;
	}
	for (unsigned int i = 0; i < held; i++)
		drop_held(cache, run->extent[i]);
	if (ret == -EIO && done) {
		done--;
		ret = bad_memory(cache, run->block + done, run->extent[done]);
	}
	cache->hits += done;
	run_cut(cache, run, done);
	return ret < 0 ? ret : 0;
}

int cache_read(struct cache *cache, void *to, uint64_t count, uint64_t offset)
{
	return each_run(cache, CACHE_READ_HIT, to, count, offset, read_run);
}

/* ------------------------------------------------------------------------ writes */

/* Copies the present contents of the i-th block, which is locked, to its extent. */
static int fill(struct cache *cache, const struct run *run, unsigned int i)
{
	struct run one = { .block = run->block + i, .extent = { run->extent[i] } };
	struct daxpin_extent old;
	int ret = hold_block(cache, one.block, &old);

	if (ret > 0) {
		ret = copy_held(cache, old, 0, cache->block,
				daxpin_ptr(cache->pool, one.extent[0], 0));
		drop_held(cache, old);
		if (ret != -EIO || cache->disk < 0)
			return ret;
		if (*cache_word(cache, one.block) & WORD_DIRTY)
			return cache_lost(cache, one.block);
		ret = 0;
	}
	if (!ret)
		read_disk(cache, &one, 1, &ret);
	return ret;
}

/* Makes the contents of the i-th block, which is locked. from NULL: zeroes. */
static int put(struct cache *cache, const struct run *run, unsigned int i,
	       const char *from)
{
	uint32_t count, at = run_piece(cache, run, i, &count);
	char *to = daxpin_ptr(cache->pool, run->extent[i], 0);
	int ret = 0;

	if (is_whole(cache, run, i))
		memset(to + count, 0, cache->block - count);
	else
		ret = fill(cache, run, i);
	if (!ret && from)
		memcpy(to + at, from + ((run->block + i) * cache->block + at -
					run->offset), count);
	else if (!ret)
		memset(to + at, 0, count);
	return ret;
}

/* from NULL: zeroes. */
static int write_run(struct cache *cache, struct run *run, char *from)
{
	int ret = run_reserve(cache, run, true);

	if (ret)
		return ret;
	run_lock(cache, run);
	for (unsigned int i = 0; !ret && i < run->count; i++)
		ret = put(cache, run, i, from);
	ret = ret ? : run_exchange(cache, run, run->count,
				   cache->disk < 0 ? 0 : WORD_DIRTY);
	run_unlock(cache, run);
	if (ret)
		run_cancel(cache, run, 0);
	return ret;
}

int cache_write(struct cache *cache, const void *from, uint64_t count,
		uint64_t offset)
{
	return each_run(cache, CACHE_WRITE, (char *)from, count, offset, write_run);
}

/* The run consists of whole blocks. */
static int zero_blocks(struct cache *cache, struct run *run)
{
	int ret;

	memset(run->extent, 0, sizeof(run->extent));
	run_lock(cache, run);
	ret = run_exchange(cache, run, run->count,
			   cache->disk < 0 ? 0 : WORD_ZERO | WORD_DIRTY);
	run_unlock(cache, run);
	return ret;
}

/* Does the whole blocks at the beginning, or leaves one that is not whole. */
static int trim_run(struct cache *cache, struct run *run, char *nothing)
{
	(void)nothing;
	if (run->count > 1 && !is_whole(cache, run, run->count - 1))
		run_cut(cache, run, run->count - 1);
	if (is_whole(cache, run, 0))
		return zero_blocks(cache, run);
	run_cut(cache, run, 1);
	return 0;
}

static int zero_run(struct cache *cache, struct run *run, char *nothing)
{
	(void)nothing;
	if (is_whole(cache, run, 0))
		return trim_run(cache, run, NULL);
	run_cut(cache, run, 1);
	return cache_is_zero(cache, run->offset) ? 0 : write_run(cache, run, NULL);
}

int cache_zero(struct cache *cache, uint64_t count, uint64_t offset)
{
	return each_run(cache, CACHE_ZERO, NULL, count, offset, zero_run);
}

int cache_trim(struct cache *cache, uint64_t count, uint64_t offset)
{
	return each_run(cache, CACHE_ZERO, NULL, count, offset, trim_run);
}

bool cache_is_zero(struct cache *cache, uint64_t offset)
{
	uint64_t word = *cache_word(cache, offset / cache->block);

	return word & WORD_ZERO || (!word && cache->disk < 0);
}
