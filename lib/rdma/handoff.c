/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which thread may end a grant that was given to the program's executor, and how long
 * its memory exists.
 *
 *	 31                             2      1         0
 *	+--------------------------------+-----------+---------+
 *	|  references                    | FORGOTTEN | CLAIMED |
 *	+--------------------------------+-----------+---------+
 *
 *	CLAIMED on		[dp_handoff_give]: the thread that clears it ends the
 *				grant
 *	CLAIMED off		[dp_handoff_begin] by the executor, [dp_handoff_take] by
 *				a revoke, [dp_handoff_refused] if the executor refused
 *	FORGOTTEN on		[dp_handoff_forget]
 *
 *  - One CAS clears CLAIMED, so an executor and a revoke never both end a grant. If an
 *    executor never runs the job, a revoke can still take the grant over.
 *  - An executor may run a job that was taken from it at any later time, even after the
 *    grant has ended and its attachment was detached. So each job counts as a
 *    reference, and the last one frees the memory of a forgotten grant. That is why
 *    this word is not protected by grants_lock, which is memory of the attachment.
 *  - A job that is never run keeps the memory of its grant, a few hundred bytes.
 */
#include "rdma/handoff.h"

#include <assert.h>
#include <stdlib.h>

#define CLAIMED		1u
#define FORGOTTEN	2u
#define REFERENCE	4u

/* acq_rel: the thread that frees the memory sees all earlier accesses. */
static uint32_t handoff_change(struct daxpin_grant *grant, uint32_t more,
			   uint32_t less, uint32_t clear, uint32_t set)
{
	uint32_t word = atomic_load_explicit(&grant->handoff.word,
					     memory_order_relaxed), to;

	do {
		/* This fails if an executor runs the same job twice. */
		assert(word + more >= less);
		to = ((word + more - less) & ~clear) | set;
	} while (!atomic_compare_exchange_weak_explicit(&grant->handoff.word, &word,
							to, memory_order_acq_rel,
							memory_order_relaxed));
	if (to & FORGOTTEN && to < REFERENCE)
		free(grant);
	return word;
}

void dp_handoff_give(struct daxpin_grant *grant)
{
	uint32_t was = handoff_change(grant, REFERENCE, 0, 0, CLAIMED);

	assert(!(was & (CLAIMED | FORGOTTEN)));
}

bool dp_handoff_begin(struct daxpin_grant *grant)
{
	return handoff_change(grant, 0, REFERENCE, CLAIMED, 0) & CLAIMED;
}

bool dp_handoff_refused(struct daxpin_grant *grant)
{
	return handoff_change(grant, 0, REFERENCE, CLAIMED, 0) & CLAIMED;
}

bool dp_handoff_take(struct daxpin_grant *grant)
{
	return handoff_change(grant, 0, 0, CLAIMED, 0) & CLAIMED;
}

void dp_handoff_ref(struct daxpin_grant *grant)
{
	handoff_change(grant, REFERENCE, 0, 0, 0);
}

void dp_handoff_unref(struct daxpin_grant *grant)
{
	handoff_change(grant, 0, REFERENCE, 0, 0);
}

void dp_handoff_forget(struct daxpin_grant *grant)
{
	handoff_change(grant, 0, 0, 0, FORGOTTEN);
}
