/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which failures of a device are temporary, and how often the call is repeated.
 *
 *  - C8: after a signal (EINTR) or a temporary lack of a resource (EAGAIN, EBUSY) the
 *    call is repeated before any escalation: before a queue pair is moved to the error
 *    state, or memory is quarantined.
 *  - The number of tries has a bound, because some devices return EBUSY for as long as
 *    the cause remains.
 */
#include "grant/retry.h"

#include <errno.h>
#include <time.h>

/* A program with an interval timer can be interrupted many times in a row. */
#define INTERRUPTIONS_MAX	100u
/* 1 ms, 2 ms, ... 64 ms */
#define REFUSALS_MAX		7u
#define FIRST_PAUSE_NS		1000000

bool dp_retry_is_transient(int ret)
{
	return ret == -EINTR || ret == -EAGAIN || ret == -EBUSY;
}

bool dp_retry(struct dp_retry *retry, int ret)
{
	struct timespec pause = { 0 };
	int saved = errno;

	if (!dp_retry_is_transient(ret))
		return false;
	if (ret == -EINTR)
		return ++retry->interruptions < INTERRUPTIONS_MAX;
	if (retry->refusals == REFUSALS_MAX)
		return false;
	pause.tv_nsec = FIRST_PAUSE_NS << retry->refusals++;
	nanosleep(&pause, NULL);
	errno = saved;
	return true;
}
