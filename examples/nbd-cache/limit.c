/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much of the pool the cache uses. The library gives back free chunks of 2 MiB, and
 * blocks are smaller, so a chunk is free only if all blocks in it are evicted. The
 * chunks with the highest addresses are emptied, and if others are filled meanwhile,
 * more of them in the next pass.
 *
 * The library changes a segment only at a moment when nothing in it is held, which
 * under load does not come by itself. So in each pass new requests wait, see
 * enter(), until the requests in progress have ended and the rest is done, or
 * TRY_MS have passed.
 */
#include "engine.h"
#include <errno.h>

#define TRY_MS	300u

static void set_limit(struct cache *cache, uint64_t usable, uint32_t percent)
{
	uint64_t blocks = usable / 100 * percent / cache->block;

	pthread_mutex_lock(&cache->mutex);
	cache->limit = percent == 100 ? UINT64_MAX : blocks ? blocks : 1;
	cache->low = blocks * cache->low_percent / 100;
	cache->high = blocks * cache->high_percent / 100;
	pthread_cond_signal(&cache->work);
	pthread_mutex_unlock(&cache->mutex);
}

/* Evicts the blocks at or above the address, and before that the write-back thread
 * writes what is dirty. -ETIMEDOUT */
static int evict_above(struct cache *cache, uint64_t addr, uint64_t deadline_ns)
{
	for (uint64_t block = 0; block < cache->blocks; block++) {
		uint64_t word = *cache_word(cache, block);

		while ((word & WORD_ADDR) >= addr && word & WORD_ADDR) {
			if (daxpin_deadline_ms(0) >= deadline_ns)
				return -ETIMEDOUT;
			if (word & WORD_DIRTY)
				back_wait(cache);
			else
				cache_evict_block(cache, block, true);
			word = *cache_word(cache, block);
		}
	}
	return 0;
}

/* Reclaims, or refills, that many bytes at most. Requests wait. */
static int run_job(struct cache *cache, uint64_t bytes, bool reclaim)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.bytes = bytes, .deadline_ns = daxpin_deadline_ms(TRY_MS),
	};
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;
	int ret;

	cache->paused = PAUSE_ALL;
	ret = (reclaim ? daxpin_reclaim : daxpin_refill)(cache->pool, &options, &job);
	if (ret)
		return ret;
	while (daxpin_job_wait(job, daxpin_deadline_ms(2)))
		ring_service_idle(cache);
	daxpin_job_report(job, NULL, NULL, &summary);
	daxpin_job_end(job);
	ret = summary.result;
	return ret == -EBUSY || ret == -ETIMEDOUT ? 0 : ret;	/* tried again */
}

/* Empties the pool above the address, which requests fill again, then once more while
 * they wait, and gives back what is free. */
static int give_back(struct cache *cache, uint64_t addr, uint64_t bytes,
		     uint64_t deadline_ns)
{
	uint64_t until;
	int ret = evict_above(cache, addr, deadline_ns);

	if (ret)
		return ret;
	until = daxpin_deadline_ms(TRY_MS);
	cache->paused = PAUSE_REQUESTS;
	while (cache->active && daxpin_deadline_ms(0) < until)
		cache_nap();
	evict_above(cache, addr, until);
	ret = run_job(cache, bytes, true);
	cache->paused = 0;
	return ret;
}

static uint64_t end_of_pool(struct cache *cache)
{
	struct daxpin_segment segment = { 0 };

	for (uint32_t i = 0; !daxpin_segment(cache->pool, i, &segment); i++)
		continue;
	return segment.addr + segment.size;
}

static uint64_t holes(struct cache *cache)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	daxpin_pool_info(cache->pool, &info);
	return info.hole_bytes;
}

static int shrink(struct cache *cache, uint64_t wanted, uint64_t deadline_ns)
{
	uint64_t end = cache->disk < 0 ? UINT64_MAX : end_of_pool(cache) - wanted;

	for (;;) {
		uint64_t missing = wanted - holes(cache);
		int ret = give_back(cache, end, missing, deadline_ns);

		if (ret || holes(cache) >= wanted)
			return ret;
		if (daxpin_deadline_ms(0) >= deadline_ns || !end || cache->disk < 0)
			return -ETIMEDOUT;
		end -= least(end, wanted - holes(cache));
	}
}

static int grow(struct cache *cache, uint64_t wanted, uint64_t deadline_ns)
{
	int ret = 0;

	while (!ret && holes(cache) > wanted) {
		ret = run_job(cache, holes(cache) - wanted, false);
		cache->paused = 0;
		if (!ret && daxpin_deadline_ms(0) >= deadline_ns)
			ret = -ETIMEDOUT;
	}
	return ret;
}

/* Called with the lock. */
static int resize(struct cache *cache, uint32_t percent, uint64_t deadline_ns)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t wanted;

	daxpin_pool_info(cache->pool, &info);
	wanted = info.usable_bytes / 100 * (100 - percent);
	wanted -= wanted % DAXPIN_CHUNK_SIZE;
	set_limit(cache, info.usable_bytes, percent);
	if (info.source == DAXPIN_SOURCE_DEVDAX || info.hole_bytes == wanted)
		return 0;
	return (info.hole_bytes > wanted ? grow : shrink)(cache, wanted, deadline_ns);
}

int cache_limit(struct cache *cache, uint32_t percent, uint32_t wait_ms,
		uint64_t *ret_hole_bytes)
{
	int ret;

	if (!percent || percent > 100)
		return -EINVAL;
	pthread_mutex_lock(&cache->resize);
	ret = resize(cache, percent, daxpin_deadline_ms(wait_ms));
	pthread_mutex_unlock(&cache->resize);
	*ret_hole_bytes = holes(cache);
	return ret;
}
