/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call that pthread_cancel() does not end halfway (C1): cancellation is off from
 * the line with DP_UNCANCELLED() to the end of its block, callbacks included.
 */
#ifndef DP_CANCEL_H
#define DP_CANCEL_H

#include <pthread.h>

static inline int dp_cancel_disable(void)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	return before;
}

static inline void dp_cancel_restore(const int *before)
{
	int unused;

	pthread_setcancelstate(*before, &unused);
}

#define DP_UNCANCELLED() \
	const int dp_cancel_before __attribute__((cleanup(dp_cancel_restore))) \
		= dp_cancel_disable()

#endif
