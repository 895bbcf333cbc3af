/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * If pthread_cancel() ended a thread inside a call, mutexes would stay locked, extents
 * claimed and a protocol half done, permanently (C1). A public function in
 * which something can block begins with DP_UNCANCELLED(): cancellation is disabled
 * from there to the end of the block, callbacks included. But a thread that calls
 * nothing but daxpin must be cancellable: functions that wait or work for long, and the
 * one that begins a watch, begin with DP_CANCEL_POINT() instead. A pending cancellation
 * then ends the thread before the function has done anything, and at no other place.
 * Functions that end or give back something never have DP_CANCEL_POINT(), nor do those
 * that are called while a watch exists, because the watch may be on the thread's stack.
 * Public functions with neither macro reach no cancellation point. They may wait only
 * by dp_os_futex_wait() and dp_os_sleep_ns(), which are no such points. If they call
 * something that is one, which is rare (to signal the event descriptor, to read a job),
 * an internal function with DP_UNCANCELLED() does that. Disabling cancellation and
 * enabling it again takes two locked operations, which would double the cost of each
 * hold and drop. A publish is such a function too, but it is also a cancellation point:
 * it begins with DP_CANCEL_POINT_ONLY(), and msync() and the reads below it are
 * protected where they are called.
 * tests/lint/cancel.py has the list of functions.
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

static inline int dp_cancel_act_and_disable(void)
{
	pthread_testcancel();
	return dp_cancel_disable();
}

#define DP_CANCEL_POINT_ONLY() pthread_testcancel()

#define DP_CANCEL_POINT() \
	const int dp_cancel_before \
		__attribute__((cleanup(dp_cancel_restore), unused)) = \
			dp_cancel_act_and_disable()

#define DP_UNCANCELLED() \
	const int dp_cancel_before \
		__attribute__((cleanup(dp_cancel_restore), unused)) = \
			dp_cancel_disable()

#endif
