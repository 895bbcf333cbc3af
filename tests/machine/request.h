/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that were submitted and not completed. A seed decides in which order
 * they move on, and when each is completed.
 *
 *	LINKED	waits for the one before it in a chain	[machine_request_add]
 *	RUNNING	began, or may begin at any time;	[start]
 *		a fallocate() changes a chunk at a time
 *	DONE	has its result; no completion posted	[finish]
 *
 * What a kernel may do was measured on kernels from 6.1 to 7.3. A request that no
 * worker has begun is cancelled with ECANCELED. A punch that waits for pins can be
 * interrupted, and then did nothing; one that has changed something ends by itself.
 * A refill can end after a part of its chunks, interrupted or out of space. A punch
 * and the layout barrier wait while a page of the file is pinned, and where the
 * kernel forgets to wake them (6.1) until they are cancelled.
 */
#ifndef MACHINE_REQUEST_H
#define MACHINE_REQUEST_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>

#define MACHINE_REQUEST_NONE	UINT32_MAX

/* After the request before it in a chain, or NONE; its number. */
uint32_t machine_request_add(uint32_t ring, const struct io_uring_sqe *sqe,
			     uint32_t after);
/* One that can moves on. False: there is none. */
bool machine_requests_step(void);
/* Nothing is to move on now. */
bool machine_request_is_late(void);
/* All of a ring end, as they are; there are no completions. */
void machine_requests_drop(uint32_t ring);
void machine_requests_forget(void);

#endif
