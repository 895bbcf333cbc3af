/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The segment counter and the gate.
 *
 *	OPEN (closed is 0) --[dp_gate_close]--> CLOSED (by 1 or more)
 *	     <--[dp_gate_open, the last]------
 *
 *	a hold on an extent of the segment:  OPEN	succeeds
 *					     CLOSED	backs out with -EAGAIN
 *	clones and drops:		     succeed in both
 *
 * Each thread slot has two words that only grow. A thread increments inc before a CAS
 * that takes the count of an extent from 0, and dec after a CAS that takes it to 0,
 * or if it has incremented inc but its CAS has failed. The thread that closed the
 * gate (the closer) reads all decs, then all incs. Each dec that it reads comes after
 * the matching inc, which it reads as well, so incs >= decs; equal means that nothing
 * was held when it began to read the incs. With any other order, or one signed word
 * for each slot, the sum can be 0 while an extent is held, if holds are taken in one
 * slot and dropped in another during the call. While the gate is closed, a segment
 * that was idle stays idle, because
 *
 *	hold:	increment inc; CAS 0->n;  fence; read the gate
 *	closer:	increment the gate;       fence; read decs, incs
 *
 * so either the hold reads that the gate is closed and backs out by an ordinary drop,
 * or the closer reads its inc (I31).
 *
 * Invariants:
 *	D13	a hold reads the gate after its CAS, whatever the count was
 *	D16	idle means that the sum of all decs, read before all incs, is equal to
 *		the sum of the incs. The increment of dec is a drop's last access to
 *		the pool's memory, because a closer may unmap the memory immediately
 *		afterwards
 *	D17	the gate is a count: it opens when the last closer has opened it
 *	I23	one counter for each segment, so that a close does not read every
 *		extent
 *	I32	with the gate closed, a segment that was idle stays idle
 * tests/model/gate.pml searches the interleavings.
 */
#include <errno.h>
#include <sys/mman.h>
#include "extent/gate.h"
#include "os/os.h"

static uint64_t gate_counters(const struct dp_gates *gates)
{
	return gates->slot_counters * (DP_THREAD_SLOT_SHARED + 1);
}

static uint64_t gate_table_size(const struct dp_gates *gates)
{
	return gate_counters(gates) * sizeof(*gates->counter) +
	       gates->gate_count * sizeof(*gates->closed);
}

int dp_gates_init(struct dp_gates *gates, uint32_t segments)
{
	void *base;
	int ret;

	gates->gate_count = segments;
	gates->slot_counters = dp_round_up(segments, DP_CACHE_LINE /
						     sizeof(*gates->counter));
	/* Anonymous memory is zeroed, and is allocated only where it is used. */
	ret = dp_os_map(NULL, gate_table_size(gates), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, &base);
	if (ret)
		return ret;
	gates->counter = base;
	gates->closed = (void *)(gates->counter + gate_counters(gates));
	return 0;
}

void dp_gates_fini(struct dp_gates *gates)
{
	if (!gates->counter)
		return;
	dp_os_unmap(gates->counter, gate_table_size(gates));
	gates->counter = NULL;
}

uint64_t dp_gate_busy(struct dp_gates *gates, uint32_t segment)
{
	uint64_t incs = 0, decs = 0;

	assert(segment < gates->gate_count);
	for (unsigned int i = 0; i <= DP_THREAD_SLOTS; i++)
		decs += atomic_load_explicit(&dp_gate_counter(gates, segment, i)->dec,
					     memory_order_acquire);
	for (unsigned int i = 0; i <= DP_THREAD_SLOTS; i++)
		incs += atomic_load_explicit(&dp_gate_counter(gates, segment, i)->inc,
					     memory_order_acquire);
	assert(incs >= decs);
	return incs - decs;
}

void dp_gate_close(struct dp_gates *gates, uint32_t segment)
{
	assert(segment < gates->gate_count);
	atomic_fetch_add(&gates->closed[segment], 1);
	dp_fence_after_rmw();
}

void dp_gate_open(struct dp_gates *gates, uint32_t segment)
{
	uint32_t was;

	assert(segment < gates->gate_count);
	was = atomic_fetch_sub(&gates->closed[segment], 1);
	assert(was);
	(void)was;
}

void dp_gates_close(struct dp_gates *gates)
{
	for (uint32_t i = 0; i < gates->gate_count; i++)
		dp_gate_close(gates, i);
}

void dp_gates_open(struct dp_gates *gates)
{
	for (uint32_t i = 0; i < gates->gate_count; i++)
		dp_gate_open(gates, i);
}
