/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small number for each thread, so that counters can be striped. The first
 * DP_STRIPES threads alive have one to themselves; the others share the last.
 */
#ifndef DP_STRIPE_H
#define DP_STRIPE_H

#define DP_STRIPES		64u
#define DP_STRIPE_SHARED	DP_STRIPES

/* This thread's stripe: 0 to DP_STRIPES - 1, or DP_STRIPE_SHARED. */
unsigned int dp_stripe(void);

#endif
