/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's side of io_uring, below the library's own lib/os/ring.c: the
 * queues of each ring, and how the kernel treats requests (request.h).
 */
#ifndef MACHINE_RING_H
#define MACHINE_RING_H

#include <stdbool.h>
#include <stdint.h>

/* The bytes are odds of 256; all zero: a calm kernel. */
struct machine_ring_plan {
	bool present;			/* else there is no io_uring */
	uint64_t seed;
	bool forgets;			/* to wake who waits for a pin, as 6.1 */
	bool allocation_waits;		/* for pins too, as on XFS */
	bool old;			/* before 6.9: does not truncate */
	uint64_t busy_until_ns;		/* no worker begins anything before */
	uint64_t begins_after_ns;	/* one begins so long after the submit */
	uint8_t late;			/* nothing moves on in a turn */
	uint8_t lost;			/* a cancellation misses a request */
	uint8_t interrupted;		/* a signal meets a fallocate() */
	uint8_t failed;			/* it fails with EIO, done in part */
	uint8_t full;			/* a refill: ENOSPC, done in part */
};

/* Other processors run for a moment: a request may move on. */
void machine_ring_turn(void);
/* The descriptor is closed. */
void machine_ring_close(uint32_t ring);
/* A request of it is completed. */
void machine_ring_post(uint32_t ring, uint64_t user_data, int result);
/* The machine is off: no ring and no request is left. */
void machine_rings_forget(void);
/* Can one of them still make a hole of a byte there? */
bool machine_may_be_punched(uint32_t file, uint64_t offset, uint64_t size);

#endif
