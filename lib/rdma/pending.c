/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns the two structures in which grants wait: a heap by deadline, of grants whose
 * peer was asked to return them, and a queue of grants that must be ended and that no
 * executor has.
 *
 *  - The cost of a service call that has nothing to do does not depend on the number of
 *    grants that wait: it reads the first entry of the heap and of the queue.
 *  - Space in the heap is reserved before a grant is given to the caller, so that
 *    asking the peer for it cannot fail.
 *
 * The heap is an array: no entry is due before its parent, the entry at half its index.
 * Index 0 is not used, so a grant whose heap_index is 0 is not in it.
 */
#include "rdma/pending.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define ROOM_FIRST	64u

void dp_pending_init(struct dp_pending *pending)
{
	pending->queue_end = &pending->queue_first;
}

void dp_pending_destroy(struct dp_pending *pending)
{
	assert(!pending->heap_count && !pending->queue_first);
	free(pending->heap);
	pending->heap = NULL;
	pending->heap_room = 0;
}

int dp_pending_reserve(struct dp_pending *pending, uint32_t grants)
{
	uint32_t room = pending->heap_room ? pending->heap_room : ROOM_FIRST;
	struct daxpin_grant **heap;

	if (pending->heap && grants < pending->heap_room)
		return 0;
	while (room <= grants)
		room *= 2;
	heap = realloc(pending->heap, room * sizeof(struct daxpin_grant *));
	if (!heap)
		return -ENOMEM;
	pending->heap = heap;
	pending->heap_room = room;
	return 0;
}

/* ---------------------------------------------------------------- the heap */

static void pending_put(struct dp_pending *pending, uint32_t index,
			struct daxpin_grant *grant)
{
	assert(index && index <= pending->heap_count);
	pending->heap[index] = grant;
	grant->pending.heap_index = index;
}

static bool pending_is_before(const struct daxpin_grant *a,
			      const struct daxpin_grant *b)
{
	return a->pending.due_ns < b->pending.due_ns;
}

/* Move the grant up until its parent is not due after it. */
static void pending_move_up(struct dp_pending *pending,
			    struct daxpin_grant *grant)
{
	uint32_t index = grant->pending.heap_index;
	struct daxpin_grant *parent;

	for (; index > 1; index /= 2) {
		parent = pending->heap[index / 2];
		if (!pending_is_before(grant, parent))
			break;
		pending_put(pending, index, parent);
	}
	pending_put(pending, index, grant);
}

/* Move the grant down until no child is due before it. */
static void pending_move_down(struct dp_pending *pending,
			      struct daxpin_grant *grant)
{
	uint32_t index = grant->pending.heap_index, child;

	for (; index <= pending->heap_count / 2; index = child) {
		child = 2 * index;
		if (child < pending->heap_count &&
		    pending_is_before(pending->heap[child + 1],
				      pending->heap[child]))
			child++;
		if (!pending_is_before(pending->heap[child], grant))
			break;
		pending_put(pending, index, pending->heap[child]);
	}
	pending_put(pending, index, grant);
}

static void pending_remove_from_heap(struct dp_pending *pending,
				     struct daxpin_grant *grant)
{
	uint32_t index = grant->pending.heap_index;
	struct daxpin_grant *last = pending->heap[pending->heap_count];

	assert(pending->heap[index] == grant);
	pending->heap_count--;
	grant->pending.heap_index = 0;
	if (last == grant)
		return;
	pending_put(pending, index, last);
	pending_move_up(pending, last);
	pending_move_down(pending, last);
}

void dp_pending_add(struct dp_pending *pending, struct daxpin_grant *grant,
		    uint64_t deadline_ns)
{
	assert(deadline_ns && !dp_pending_is_queued(grant));
	grant->pending.due_ns = deadline_ns;
	if (!grant->pending.heap_index) {
		assert(pending->heap_count + 1 < pending->heap_room);
		pending->heap_count++;
		pending_put(pending, pending->heap_count, grant);
	}
	pending_move_up(pending, grant);
	pending_move_down(pending, grant);
}

uint64_t dp_pending_deadline(const struct daxpin_grant *grant)
{
	return grant->pending.heap_index ? grant->pending.due_ns : 0;
}

uint64_t dp_pending_next_deadline(const struct dp_pending *pending)
{
	return pending->heap_count ? pending->heap[1]->pending.due_ns : 0;
}

struct daxpin_grant *dp_pending_expired(const struct dp_pending *pending,
					uint64_t now_ns)
{
	if (!pending->heap_count || pending->heap[1]->pending.due_ns > now_ns)
		return NULL;
	return pending->heap[1];
}

/* --------------------------------------------------------------- the queue */

void dp_pending_queue(struct dp_pending *pending, struct daxpin_grant *grant)
{
	assert(!grant->pending.heap_index && !dp_pending_is_queued(grant));
	grant->pending.next = NULL;
	grant->pending.prev = pending->queue_end;
	*pending->queue_end = grant;
	pending->queue_end = &grant->pending.next;
	pending->queue_count++;
}

bool dp_pending_is_queued(const struct daxpin_grant *grant)
{
	return grant->pending.prev;
}

static void pending_remove_from_queue(struct dp_pending *pending,
				      struct daxpin_grant *grant)
{
	assert(pending->queue_count && *grant->pending.prev == grant);
	*grant->pending.prev = grant->pending.next;
	if (grant->pending.next)
		grant->pending.next->pending.prev = grant->pending.prev;
	else
		pending->queue_end = grant->pending.prev;
	grant->pending.next = NULL;
	grant->pending.prev = NULL;
	pending->queue_count--;
}

void dp_pending_remove(struct dp_pending *pending, struct daxpin_grant *grant)
{
	if (grant->pending.heap_index)
		pending_remove_from_heap(pending, grant);
	if (dp_pending_is_queued(grant))
		pending_remove_from_queue(pending, grant);
}

struct daxpin_grant *dp_pending_first_queued(const struct dp_pending *pending)
{
	return pending->queue_first;
}

uint32_t dp_pending_queued(const struct dp_pending *pending)
{
	return pending->queue_count;
}
