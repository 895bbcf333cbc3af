/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small number for each thread, so that counters can be striped. The first
 * DP_STRIPES threads alive have one to themselves; the others share the last.
 */
#ifndef DP_STRIPE_H
#define DP_STRIPE_H

#define DP_STRIPES		64u
#define DP_STRIPE_SHARED	DP_STRIPES

/*
 * This thread's stripe + 1, or 0 before its first use. Each hold and drop reads
 * it, so it is where the thread pointer finds it without a call.
 */
extern _Thread_local unsigned int dp_stripe_mine
	__attribute__((tls_model("initial-exec")));

/* The first time. */
unsigned int dp_stripe_take(void);

/* This thread's stripe: 0 to DP_STRIPES - 1, or DP_STRIPE_SHARED. */
static inline unsigned int dp_stripe(void)
{
	return dp_stripe_mine ? dp_stripe_mine - 1 : dp_stripe_take();
}

#endif
