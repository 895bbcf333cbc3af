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
 * Each thread slot has two words that only grow: inc goes up before a 0->1 CAS,
 * dec after a 1->0, also by a hold whose CAS turned out not to be a 0->1.
 * Whoever closed the gate reads all decs, then all incs. A dec that was counted
 * is preceded by its inc, which is counted too, so incs >= decs; equal means
 * that nothing was held when the reading of incs began. Any other order, or one
 * signed word a slot, can show 0 while a hold migrates between slots. And with
 * the gate closed it stays so, because
 *
 *	hold:	inc up; CAS 0->1;  fence; read the gate
 *	closer:	gate up;           fence; read decs, incs
 *
 * so either the hold sees the gate and backs out by an ordinary, full drop, or
 * the closer sees its inc (I31).
 *
 * Invariants:
 *	D13	a hold reads the gate after its CAS, whatever the count was
 *	D16	idle is all decs read before all incs, and equal; raising dec is
 *		a drop's last access to the pool's memory, because a closer may
 *		unmap it right after
 *	D17	the gate is a count: who opens it first does not open it for all
 *	I23	one counter a segment, so that a close does not visit every
 *		extent
 *	I32	with the gate closed, a segment that was idle stays idle
 * tests/model/gate.pml searches the interleavings.
 */
#include <errno.h>
#include <sys/mman.h>
#include "extent/gate.h"
#include "os/os.h"

static uint64_t gate_table_size(const struct dp_gates *gates)
{
	return (uint64_t)gates->gate_count * sizeof(*gates->gate);
}

int dp_gates_init(struct dp_gates *gates, uint32_t segments)
{
	void *base;
	int ret;

	gates->gate_count = segments;
	/* Anonymous memory is zeroed, and only what is used becomes real. */
	ret = dp_os_map(NULL, gate_table_size(gates), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, &base);
	if (ret)
		return ret;
	gates->gate = base;
	return 0;
}

void dp_gates_fini(struct dp_gates *gates)
{
	if (!gates->gate)
		return;
	dp_os_unmap(gates->gate, gate_table_size(gates));
	gates->gate = NULL;
}

uint64_t dp_gate_busy(struct dp_gates *gates, uint32_t segment)
{
	struct dp_gate *gate = &gates->gate[segment];
	uint64_t incs = 0, decs = 0;

	assert(segment < gates->gate_count);
	for (unsigned int i = 0; i <= DP_THREAD_SLOTS; i++)
		decs += atomic_load_explicit(&gate->slot[i].dec,
					     memory_order_acquire);
	for (unsigned int i = 0; i <= DP_THREAD_SLOTS; i++)
		incs += atomic_load_explicit(&gate->slot[i].inc,
					     memory_order_acquire);
	assert(incs >= decs);
	return incs - decs;
}

void dp_gate_close(struct dp_gates *gates, uint32_t segment)
{
	assert(segment < gates->gate_count);
	atomic_fetch_add(&gates->gate[segment].closed, 1);
	dp_fence_after_rmw();
}

void dp_gate_open(struct dp_gates *gates, uint32_t segment)
{
	uint32_t was;

	assert(segment < gates->gate_count);
	was = atomic_fetch_sub(&gates->gate[segment].closed, 1);
	assert(was);
	(void)was;
}
