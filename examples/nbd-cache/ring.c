/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rings of the cache. The adapter holds the extent of each request from its prep to
 * its completion, and the ring keeps the pool locked until then, even if the process is
 * killed: so the next server opens the pool only when no request of this one can still
 * write into it.
 *
 * If a ring fails, requests in flight can no longer be awaited, and the process ends.
 * The next server has everything that was answered, as after any crash.
 */
#include "engine.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int ring_open(struct cache *cache, struct ring *ring, char *errmsg, size_t size)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options), .label = "nbd-cache",
		.errmsg = errmsg, .errmsg_size = size,
	};
	int ret = io_uring_queue_init(RUN, &ring->ring, 0);

	if (ret)
		return ret;
	ret = daxpin_uring_attach(cache->pool, &ring->ring, &options, &ring->uring);
	if (ret)
		io_uring_queue_exit(&ring->ring);
	return ret;
}

void ring_close(struct cache *cache, struct ring *ring)
{
	int ret;

	if (!ring->uring)
		return;
	ret = daxpin_uring_detach(ring->uring);
	if (ret)
		cache_say(cache, "a ring cannot be detached: %s",
			  daxpin_strerror(ret));
	io_uring_queue_exit(&ring->ring);
	ring->uring = NULL;
}

struct ring *ring_take(struct cache *cache)
{
	struct ring *ring;

	pthread_mutex_lock(&cache->mutex);
	while (!cache->idle)
		pthread_cond_wait(&cache->ring_idle, &cache->mutex);
	ring = cache->idle;
	cache->idle = ring->next;
	cache->busy++;
	pthread_mutex_unlock(&cache->mutex);
	ring->count = 0;
	return ring;
}

void ring_put(struct cache *cache, struct ring *ring)
{
	pthread_mutex_lock(&cache->mutex);
	ring->next = cache->idle;
	cache->idle = ring;
	cache->busy--;
	pthread_cond_signal(&cache->ring_idle);
	pthread_mutex_unlock(&cache->mutex);
}

struct request *ring_add(struct ring *ring, bool write, struct daxpin_extent extent,
			 uint32_t length, uint64_t offset)
{
	struct request *request = &ring->request[ring->count++];

	request->extent = extent;
	request->offset = offset;
	request->length = length;
	request->write = write;
	request->result = -EAGAIN;
	return request;
}

/* After an error of the prep, the entry is a no-op that belongs to no request. */
static void prepare(struct cache *cache, struct ring *ring, struct request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);

	request->result = (request->write ? daxpin_uring_prep_write :
					    daxpin_uring_prep_read)(
		ring->uring, &request->io, sqe, cache->disk, request->extent, 0,
		request->length, request->offset);
	if (request->result)
		return;
	io_uring_sqe_set_data(sqe, request);
	ring->in_flight++;
}

static struct daxpin_uring_io *find(const struct io_uring_cqe *cqe, void *arg)
{
	struct request *request = io_uring_cqe_get_data(cqe);

	(void)arg;
	return request ? &request->io : NULL;
}

static void ended(struct daxpin_uring_io *io, const struct io_uring_cqe *cqe,
		  void *arg)
{
	struct request *request = io_uring_cqe_get_data(cqe);
	struct ring *ring = arg;

	(void)io;
	request->result = cqe->res < 0 ? cqe->res : 0;
	if (cqe->res >= 0 && (uint32_t)cqe->res < request->length)
		request->result = -ENODATA;
	ring->in_flight--;
}

/* Submits what was prepared, and returns when the ring has no request in flight. */
static void submit(struct cache *cache, struct ring *ring)
{
	int ret;

	do {
		ret = io_uring_submit_and_wait(&ring->ring, ring->in_flight ? 1 : 0);
		if (ret == -EINTR || ret == -EAGAIN || ret == -EBUSY)
			ret = 0;
		if (ret >= 0)
			ret = daxpin_uring_reap(ring->uring, &ring->ring, find,
						ended, ring);
		if (ret < 0) {
			cache_say(cache, "a ring failed, and the server ends: %s",
				  strerror(-ret));
			abort();
		}
	} while (ring->in_flight);
}

/* Does all requests. While memory is given back some must wait, see cache_hold(). */
void ring_run(struct cache *cache, struct ring *ring)
{
	bool again;

	do {
		again = false;
		for (unsigned int i = 0; i < ring->count; i++)
			if (ring->request[i].result == -EAGAIN)
				prepare(cache, ring, &ring->request[i]);
		submit(cache, ring);
		for (unsigned int i = 0; i < ring->count; i++)
			again |= ring->request[i].result == -EAGAIN;
		if (again)
			cache_nap();
	} while (again);
}

/* Gives back the segments that idle rings have pinned. Busy rings do so in submit(). */
void ring_service_idle(struct cache *cache)
{
	pthread_mutex_lock(&cache->mutex);
	for (struct ring *ring = cache->idle; ring; ring = ring->next) {
		int ret = daxpin_uring_service(ring->uring);

		if (ret)
			cache_say(cache, "a ring cannot give memory back: %s",
				  daxpin_strerror(ret));
	}
	pthread_mutex_unlock(&cache->mutex);
}
