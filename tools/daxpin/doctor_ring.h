/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by the files of `daxpin doctor` that use a ring. */
#ifndef DOCTOR_RING_H
#define DOCTOR_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

/* Far longer than any request takes that completes. */
#define WAIT_LIMIT_MS	30000u

uint64_t ring_now_ms(void);

/*
 * Wait up to `ms` milliseconds for the completion of the request with that user_data,
 * and discard others. False: it did not come.
 */
bool ring_await(struct io_uring *ring, uint64_t user_data, unsigned int ms,
		int *ret_result);

#endif
