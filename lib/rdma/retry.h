/* SPDX-License-Identifier: BSD-3-Clause */
/* Asking the device again when it failed for a passing reason (C8). */
#ifndef DP_RDMA_RETRY_H
#define DP_RDMA_RETRY_H

#include <stdbool.h>

/* Begin with zeroes. */
struct dp_retry {
	unsigned int interruptions, refusals;
};

/* EINTR, EAGAIN or EBUSY, as -errno: the device may succeed when asked again. */
bool dp_retry_is_passing(int ret);
/*
 * After a call on the device returned ret: true if it must be asked again, and
 * then a pause is over; false if ret is the result. Sleeps, so hold no lock. errno
 * stays as it is. All pauses together take an eighth of a second.
 */
bool dp_retry(struct dp_retry *retry, int ret);

#endif
