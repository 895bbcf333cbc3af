/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that were submitted and not completed. A seed decides in which order they
 * advance, and when each is completed.
 *
 *	LINKED	waits for the request before it in a chain	[machine_request_add]
 *	RUNNING	started, or may start at any time;	[start]
 *		a fallocate() changes one chunk in a step
 *	DONE	has its result; its completion is not posted yet	[finish]
 *
 * This is what was measured on kernels from 6.1 to 7.3. A request that no worker has
 * started is cancelled with ECANCELED. A punch that waits for pins can be interrupted,
 * and has then done nothing; one that has changed something completes. A refill can end
 * after a part of its chunks, interrupted or out of space. A punch and the layout
 * barrier wait while a page of the file is pinned; on 6.1, which may not wake them when
 * the pin ends, they wait until they are cancelled.
 */
#ifndef MACHINE_REQUEST_H
#define MACHINE_REQUEST_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>

#define MACHINE_REQUEST_NONE	UINT32_MAX

/* Adds a request that follows another in a chain, or NONE. Returns its number. */
uint32_t machine_request_add(uint32_t ring, const struct io_uring_sqe *sqe,
			     uint32_t after);
/* Advances one request. Returns false if none can advance. */
bool machine_requests_step(void);
/* Decides at random whether no request advances in this turn. */
bool machine_request_is_late(void);
/* Ends all requests of a ring in their present state, without completions. */
void machine_requests_drop(uint32_t ring);
void machine_requests_forget(void);

#endif
