/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's side of io_uring, below the library's own lib/os/ring.c: requests
 * that were submitted and not completed. A seed decides in which order they move
 * on, and when each is completed.
 *
 *	LINKED	waits for the one before it in a chain	[take_requests]
 *	RUNNING	began, or may begin at any time;	[start]
 *		a fallocate() changes a chunk at a time
 *	DONE	has its result; no completion posted	[finish]
 *
 * What it may do was measured on kernels from 6.1 to 7.2. A punch that has not
 * begun can be interrupted, and then did nothing; one that has begun ends by
 * itself. A refill can end after a part of its chunks, interrupted or out of
 * space. Both, and the layout barrier, wait while a page of the file is pinned.
 */
#ifndef MACHINE_RING_H
#define MACHINE_RING_H

#include <stdbool.h>
#include <stdint.h>

/* Odds of 256; all zero: a calm kernel. */
struct machine_ring_plan {
	bool present;			/* else there is no io_uring */
	uint64_t seed;
	uint8_t late;			/* nothing moves on in a turn */
	uint8_t lost;			/* a cancellation misses a request */
	uint8_t interrupted;		/* a signal meets a fallocate() */
	uint8_t failed;			/* it fails with EIO, done in part */
	uint8_t full;			/* a refill: ENOSPC, done in part */
};

/* Other processors run for a moment: a request may move on. */
void machine_ring_turn(void);
/* The descriptor is closed: what is in flight ends, done or not. */
void machine_ring_close(uint32_t ring);
/* The machine is off: no ring and no request is left. */
void machine_rings_forget(void);
/* Requests without completion. */
uint32_t machine_ring_pending(void);
/* Can one of them still make a hole of a byte there? */
bool machine_may_be_punched(uint32_t file, uint64_t offset, uint64_t size);

#endif
