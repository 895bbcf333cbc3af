/* SPDX-License-Identifier: BSD-3-Clause */
/* For those files of the doctor that use a ring. */
#ifndef DOCTOR_RING_H
#define DOCTOR_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

/* What ends at all has ended long before. */
#define WAIT_LIMIT_MS	30000u

uint64_t ring_now_ms(void);

/*
 * The completion of the request with that user_data, within so many ms; others
 * are passed over. False: it did not come.
 */
bool ring_await(struct io_uring *ring, uint64_t user_data, unsigned int ms,
		int *ret_result);

#endif
