/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write-back: the queue of dirty blocks, oldest first, and the thread that empties it.
 *
 * A block whose word has WORD_DIRTY is either in the queue, once, or in the batch of
 * the thread. Only the thread clears the flag, and it has a block in one batch at a
 * time. So two versions of a block are never written to the disk at the same time. A
 * block is never read from the disk while it is written there: a read needs a word that
 * is 0, and no word of a batch is 0.
 *
 * start() takes a hold of its own on the extent, which end() drops after it has
 * compared the word: until then the extent's address cannot be used again, so an equal
 * word names the same extent and not a newer one at the same address. Client writes
 * meanwhile replace the extent, and the block remains dirty.
 *
 * If the pool's memory of a block cannot be read, the block is lost: its word becomes
 * WORD_LOST, so that the disk's older contents are not taken for it.
 */
#include "engine.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS	1000u
#define BATCH_BYTES	(4u << 20)	/* between two flushes of the disk */

struct batch {
	unsigned int count;
	struct piece {
		uint32_t block;
		uint64_t word;
		struct daxpin_extent extent;	/* held, unless addr is 0 */
		int error;
	} piece[BATCH_BYTES / CACHE_BLOCK_MIN];
};

/* ------------------------------------------------------- the queue and its counts */

static bool is_clean(uint64_t word)
{
	return (word & WORD_ADDR) && !(word & WORD_DIRTY);
}

/* The block is dirty, locked, and not in the queue. With the mutex. */
static void queue(struct cache *cache, uint64_t block)
{
	cache->next[block] = NO_BLOCK;
	if (cache->oldest == NO_BLOCK)
		cache->oldest = block;
	else
		cache->next[cache->newest] = block;
	cache->newest = block;
}

static void count(struct cache *cache, uint64_t old, uint64_t word)
{
	cache->clean += is_clean(word) - is_clean(old);
	cache->dirty += (word & WORD_DIRTY) - (old & WORD_DIRTY);
	cache->lost += !!(word & WORD_LOST) - !!(old & WORD_LOST);
	cache->evicted += is_clean(old) && !word;
	if (old & WORD_ADDR && (old ^ word) & WORD_ADDR)
		cache->extents--;
}

/* Words have changed. The blocks are locked. */
void back_changed(struct cache *cache, const struct change *change,
		  unsigned int changes)
{
	pthread_mutex_lock(&cache->mutex);
	for (unsigned int i = 0; i < changes; i++) {
		count(cache, change[i].old, change[i].word);
		if (change[i].word & ~change[i].old & WORD_DIRTY)
			queue(cache, change[i].block);
	}
	if (cache->dirty > cache->high && !cache->failing)
		pthread_cond_signal(&cache->work);
	pthread_mutex_unlock(&cache->mutex);
}

static void take(struct cache *cache, struct batch *batch)
{
	batch->count = 0;
	while (batch->count < BATCH_BYTES / cache->block &&
	       cache->oldest != NO_BLOCK) {
		batch->piece[batch->count++].block = cache->oldest;
		cache->oldest = cache->next[cache->oldest];
	}
}

/* -------------------------------------------------------------------- one batch */

/* For a disk that refuses a punch. */
static int write_zeroes(struct cache *cache, uint64_t block)
{
	static char zeroes[64 << 10] __attribute__((aligned(4096)));
	off_t at = block * cache->block, end = at + cache_length(cache, block);
	ssize_t done;

	for (; at < end; at += done) {
		done = pwrite(cache->disk, zeroes, least(end - at, sizeof(zeroes)),
			      at);
		if (done <= 0)
			return done ? -errno : -ENODATA;
	}
	return 0;
}

/* Makes blocks in a row zeroes. If they cannot be punched, each has its own error. */
static void zero(struct cache *cache, struct piece *piece, unsigned int count)
{
	off_t at = (off_t)piece->block * cache->block;
	off_t end = (off_t)piece[count - 1].block * cache->block +
		    cache_length(cache, piece[count - 1].block);

	if (!fallocate(cache->disk, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
		       end - at))
		return;
	for (unsigned int i = 0; i < count; i++)
		piece[i].error = write_zeroes(cache, piece[i].block);
}

/* A trim queues its blocks in order. */
static void zero_pieces(struct cache *cache, struct batch *batch)
{
	struct piece *piece = batch->piece;
	unsigned int first, i;

	for (first = 0; first < batch->count; first = i) {
		i = first + 1;
		if (!(piece[first].word & WORD_ZERO))
			continue;
		while (i < batch->count && piece[i].word & WORD_ZERO &&
		       piece[i].block == piece[i - 1].block + 1)
			i++;
		zero(cache, &piece[first], i - first);
	}
}

/* Returns the request, or NULL if none is needed or possible. */
static struct request *start(struct cache *cache, struct piece *piece,
			     struct ring *ring)
{
	piece->extent = (struct daxpin_extent){ 0 };
	cache_lock(cache, piece->block);
	piece->word = *cache_word(cache, piece->block);
	piece->error = piece->word & WORD_ZERO ? 0 :
		       cache_hold(cache, piece->word, &piece->extent);
	cache_unlock(cache, piece->block);
	if (piece->word & WORD_ZERO || piece->error)
		return NULL;
	return ring_add(ring, true, piece->extent, cache_length(cache, piece->block),
			(uint64_t)piece->block * cache->block);
}

/* Writes at most RUN pieces. */
static void write_pieces(struct cache *cache, struct piece *piece, unsigned int count,
			 struct ring *ring)
{
	struct request *request[RUN];

	ring->count = 0;
	for (unsigned int i = 0; i < count; i++)
		request[i] = start(cache, &piece[i], ring);
	ring_run(cache, ring);
	for (unsigned int i = 0; i < count; i++)
		if (request[i])
			piece[i].error = request[i]->result;
}

/* What the disk has is durable, or this piece has an error. */
static int end(struct cache *cache, struct piece *piece)
{
	struct change change = {
		.block = piece->block, .old = piece->word,
		.word = piece->word & WORD_ZERO ? 0 : piece->word & ~WORD_DIRTY,
	};
	bool bad = piece->error && cache_is_bad(cache, piece->extent), same;

	if (bad)
		change.word = WORD_LOST;
	cache_lock(cache, piece->block);
	same = *cache_word(cache, piece->block) == piece->word;
	if (piece->error == -EALREADY && !same)
		piece->error = 0;	/* it was retired before its request began */
	if (same && (!piece->error || bad))
		piece->error = cache_exchange(cache, &change, 1);
	if (same && bad && !piece->error)
		cache_lost(cache, piece->block);
	if (!same || piece->error) {
		pthread_mutex_lock(&cache->mutex);
		queue(cache, piece->block);
		pthread_mutex_unlock(&cache->mutex);
	}
	cache_unlock(cache, piece->block);
	if (piece->extent.addr)
		daxpin_drop(cache->pool, piece->extent);
	return bad ? 0 : piece->error;
}

/* Writes the batch. Returns the number of blocks that failed. */
static unsigned int write_batch(struct cache *cache, struct batch *batch,
				int *ret_error)
{
	struct ring *ring = ring_take(cache);
	uint64_t since = daxpin_deadline_ms(0);
	unsigned int failed = 0;
	int ret;

	for (unsigned int i = 0; i < batch->count; i += RUN)
		write_pieces(cache, &batch->piece[i], least(RUN, batch->count - i),
			     ring);
	zero_pieces(cache, batch);
	ret = fdatasync(cache->disk) ? -errno : 0;
	for (unsigned int i = 0; i < batch->count; i++) {
		struct piece *piece = &batch->piece[i];

		if (!piece->error)
			piece->error = ret;
		if (end(cache, piece)) {
			*ret_error = piece->error;
			failed++;
		}
	}
	ring_put(cache, ring);
	stats_observe(cache, CACHE_WRITE_BACK, since);
	return failed;
}

/* -------------------------------------------------------------------- the thread */

static bool has_work(const struct cache *cache, bool behind)
{
	return cache->oldest != NO_BLOCK &&
	       (cache->waiters || cache->dirty > cache->high ||
		((behind || cache->stop) && cache->dirty > cache->low));
}

static void wait_ms(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ms)
{
	uint64_t ns = daxpin_deadline_ms(ms);
	struct timespec until = { ns / 1000000000, ns % 1000000000 };

	pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &until);
}

/* Reports the first failure of a series, and its end. */
static void report(struct cache *cache, unsigned int failed, int error)
{
	if (failed && !cache->failing)
		cache_say(cache, "write-back to the disk failed: %s; the blocks remain dirty, and it is tried again",
			  strerror(-error));
	if (!failed && cache->failing)
		cache_say(cache, "write-back to the disk succeeds again");
	cache->failing = failed;
}

/* One batch. Called with the mutex, which it releases meanwhile. */
static bool pass(struct cache *cache)
{
	unsigned int failed;
	struct batch batch;
	int error = 0;

	take(cache, &batch);
	pthread_mutex_unlock(&cache->mutex);
	while (cache->paused == PAUSE_ALL)
		cache_nap();
	failed = write_batch(cache, &batch, &error);
	pthread_mutex_lock(&cache->mutex);
	report(cache, failed, error);
	cache->written_back += batch.count - failed;
	cache->disk_errors += failed;
	cache->failures += failed && failed == batch.count;
	pthread_cond_broadcast(&cache->progress);
	return !failed;
}

void *back_run(void *arg)
{
	struct cache *cache = arg;
	bool behind = false, works = true;

	pthread_mutex_lock(&cache->mutex);
	while (!cache->stop || (works && has_work(cache, true))) {
		if (!has_work(cache, behind)) {
			behind = false;
			pthread_cond_wait(&cache->work, &cache->mutex);
			continue;
		}
		behind = true;
		works = pass(cache);
		if (works || cache->stop)
			continue;
		wait_ms(&cache->work, &cache->mutex, RETRY_MS);
		works = true;		/* so that the end begins with a trial */
	}
	pthread_mutex_unlock(&cache->mutex);
	return NULL;
}

/*
 * There is no space, and nothing to evict. Returns after some progress of write-back,
 * or after a while, because space also becomes free in other ways: other requests end,
 * and readers drop retired extents. True: write-back has failed meanwhile.
 */
bool back_wait(struct cache *cache)
{
	uint64_t failures;
	bool failed;

	pthread_mutex_lock(&cache->mutex);
	failures = cache->failures;
	cache->waiters++;
	pthread_cond_signal(&cache->work);
	wait_ms(&cache->progress, &cache->mutex, 20);
	cache->waiters--;
	failed = cache->failures != failures;
	pthread_mutex_unlock(&cache->mutex);
	return failed;
}
