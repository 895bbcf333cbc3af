/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of io_uring that the library itself needs: one thread prepares requests,
 * submits them and takes their completions. This file makes plain system calls, so that
 * the core does not need liburing and a simulation sees every call.
 *
 * The kernel reads and writes the heads and tails concurrently. Each load here of a
 * word that the kernel stores is an acquire and pairs with the kernel's release, and
 * each store here pairs with an acquire by the kernel. Nothing else is shared. If the
 * kernel has a thread for the ring, that thread may read the submission tail at any
 * time. So this file advances a private tail, and stores it to the shared one only when
 * all requests before it are filled in.
 */
#include <errno.h>
#include "os/os.h"
#include "os/ring.h"

/* How long the ring's thread polls before it sleeps. It uses a CPU meanwhile, so this
 * is the shortest time that can be set. To wake the thread costs one system call; in a
 * ring without a thread each submit costs one. */
#define POLL_MS		1

static _Atomic uint32_t *ring_word(const struct dp_ring *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)((char *)ring->rings + offset);
}

/* Slot i of the queue is always sqe i. */
static void ring_fill_array(struct dp_ring *ring)
{
	uint32_t *array = (uint32_t *)((char *)ring->rings +
				       ring->params.sq_off.array);

	for (uint32_t i = 0; i < ring->entries; i++)
		array[i] = i;
}

static int map_rings(struct dp_ring *ring)
{
	const struct io_uring_params *p = &ring->params;
	uint64_t sq_size = p->sq_off.array +
			   p->sq_entries * sizeof(uint32_t);
	uint64_t cq_size = p->cq_off.cqes +
			   p->cq_entries * sizeof(struct io_uring_cqe);
	uint64_t size = sq_size > cq_size ? sq_size : cq_size;
	void *base;
	int ret;

	ret = dp_os_ring_map(ring->fd, IORING_OFF_SQ_RING, size, &base);
	if (ret)
		return ret;
	ring->rings = base;
	ring->rings_size = size;
	size = p->sq_entries * sizeof(struct io_uring_sqe);
	ret = dp_os_ring_map(ring->fd, IORING_OFF_SQES, size, &base);
	if (ret)
		return ret;
	ring->sqe = base;
	ring->sqe_size = size;
	return 0;
}

int dp_ring_open(struct dp_ring *ring, uint32_t entries,
		 enum dp_ring_kind kind)
{
	const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
				IORING_FEAT_EXT_ARG;
	int ret;

	assert(dp_is_power_of_two(entries));
	memset(ring, 0, sizeof(*ring));
	ring->polled = kind == DP_RING_OWN_THREAD;
	if (ring->polled) {
		ring->params.flags = IORING_SETUP_SQPOLL;
		ring->params.sq_thread_idle = POLL_MS;
	}
	ring->fd = dp_os_ring_setup(entries, &ring->params);
	if (ring->fd < 0)
		return ring->fd;
	ring->entries = ring->params.sq_entries;
	assert(ring->entries == entries);
	ret = (ring->params.features & needed) == needed ? 0 : -EOPNOTSUPP;
	if (!ret)
		ret = map_rings(ring);
	if (ret) {
		dp_ring_close(ring);
		return ret;
	}
	ring_fill_array(ring);
	return 0;
}

void dp_ring_close(struct dp_ring *ring)
{
	if (ring->sqe)
		dp_os_unmap(ring->sqe, ring->sqe_size);
	if (ring->rings)
		dp_os_unmap(ring->rings, ring->rings_size);
	dp_os_close(ring->fd);
	memset(ring, 0, sizeof(*ring));
	ring->fd = -1;
}

/* The number of requests that were prepared and that the kernel has not read, whether
 * or not they were submitted. */
static uint32_t ring_unread(const struct dp_ring *ring)
{
	/* Pairs with the kernel's release when it has read an sqe. */
	uint32_t head =
		atomic_load_explicit(ring_word(ring, ring->params.sq_off.head),
				     memory_order_acquire);

	assert(ring->tail - head <= ring->entries);
	return ring->tail - head;
}

static bool ring_is_shown(const struct dp_ring *ring)
{
	/* The kernel does not store this word. */
	return atomic_load_explicit(ring_word(ring, ring->params.sq_off.tail),
				    memory_order_relaxed) == ring->tail;
}

struct io_uring_sqe *dp_ring_prepare(struct dp_ring *ring)
{
	struct io_uring_sqe *sqe;

	if (ring_unread(ring) == ring->entries)
		return NULL;
	sqe = &ring->sqe[ring->tail++ & (ring->entries - 1)];
	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

static int ring_hand_over(struct dp_ring *ring)
{
	int ret;

	for (uint32_t count; (count = ring_unread(ring));) {
		ret = dp_os_ring_enter(ring->fd, count, 0, 0);
		if (ret < 0 && ret != -EINTR)
			return ret;
	}
	return 0;
}

/* The load is seq_cst, as was the store of the tail. The kernel's thread sets its sleep
 * flag and then reads the tail once more. So either this load sees the flag, or the
 * kernel's thread sees the new tail. */
static int ring_wake(struct dp_ring *ring)
{
	uint32_t flags =
		atomic_load(ring_word(ring, ring->params.sq_off.flags));
	int ret = 0;

	if (ring_unread(ring) && flags & IORING_SQ_NEED_WAKEUP)
		ret = dp_os_ring_enter(ring->fd, 0, IORING_ENTER_SQ_WAKEUP, 0);
	return ret < 0 ? ret : 0;
}

int dp_ring_submit(struct dp_ring *ring)
{
	atomic_store(ring_word(ring, ring->params.sq_off.tail), ring->tail);
	return ring->polled ? ring_wake(ring) : ring_hand_over(ring);
}

int dp_ring_make_room(struct dp_ring *ring, uint32_t requests)
{
	int ret = 0;

	assert(requests <= ring->entries && ring_is_shown(ring));
	if (!ring->polled)
		return ring_hand_over(ring);
	while (ret >= 0 && ring->entries - ring_unread(ring) < requests)
		ret = dp_os_ring_enter(ring->fd, 0, IORING_ENTER_SQ_WAKEUP |
				       IORING_ENTER_SQ_WAIT, 0);
	return ret < 0 ? ret : 0;
}

static bool ring_take(struct dp_ring *ring, struct io_uring_cqe *ret_cqe)
{
	const struct io_cqring_offsets *off = &ring->params.cq_off;
	_Atomic uint32_t *head_word = ring_word(ring, off->head);
	/* The kernel does not store this word. */
	uint32_t head = atomic_load_explicit(head_word, memory_order_relaxed);
	/* Pairs with the kernel's release when it has written a cqe. */
	uint32_t tail = atomic_load_explicit(ring_word(ring, off->tail),
					     memory_order_acquire);
	const struct io_uring_cqe *cqe = (const struct io_uring_cqe *)
		((char *)ring->rings + off->cqes);

	if (head == tail)
		return false;
	memcpy(ret_cqe, &cqe[head & (ring->params.cq_entries - 1)],
	       sizeof(*ret_cqe));
	/* Pairs with the kernel's acquire before it writes there again. */
	atomic_store_explicit(head_word, head + 1, memory_order_release);
	return true;
}

int dp_ring_next(struct dp_ring *ring, uint64_t wait_ns,
		 struct io_uring_cqe *ret_cqe)
{
	int ret;

	assert(ring_is_shown(ring));
	if (ring_take(ring, ret_cqe))
		return 1;
	if (ring->polled && !wait_ns)
		return 0;
	ret = dp_os_ring_enter(ring->fd, 0, 0, wait_ns);
	if (ret < 0 && ret != -ETIME && ret != -EINTR)
		return ret;
	return ring_take(ring, ret_cqe);
}

int dp_ring_cancel_all(struct dp_ring *ring, uint64_t user_data)
{
	struct io_uring_sqe *sqe = dp_ring_prepare(ring);

	assert(sqe);
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->fd = -1;
	sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
	sqe->user_data = user_data;
	return dp_ring_submit(ring);
}

bool dp_ring_was_interrupted(int result)
{
	return result == -EINTR || result == -ECANCELED ||
	       (result <= -512 && result >= -516);
}
