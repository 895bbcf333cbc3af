/* SPDX-License-Identifier: BSD-3-Clause */
/* Repeats a call of the device after a temporary failure (C8). */
#ifndef DP_GRANT_RETRY_H
#define DP_GRANT_RETRY_H

#include <stdbool.h>

/* The caller initializes it with zeroes. */
struct dp_retry {
	unsigned int interruptions, refusals;
};

/* -EINTR, -EAGAIN or -EBUSY: the call may succeed if it is repeated. */
bool dp_retry_is_transient(int ret);
/*
 * Called after a call of the device has returned ret. True: repeat the call; the pause
 * is over. False: ret is the result. Sleeps, so hold no lock. errno does not change.
 * All pauses together take an eighth of a second.
 */
bool dp_retry(struct dp_retry *retry, int ret);

#endif
