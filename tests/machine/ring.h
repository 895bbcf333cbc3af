/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's side of io_uring, below lib/os/ring.c: the queues of each ring, and how
 * the kernel treats requests (request.h).
 */
#ifndef MACHINE_RING_H
#define MACHINE_RING_H

#include <stdbool.h>
#include <stdint.h>

/* A uint8_t is a probability, in 256ths. All zero is a calm kernel. */
struct machine_ring_plan {
	bool present;			/* false: io_uring is unavailable */
	uint64_t seed;
	bool forgets;			/* to wake waiters for a pin, as Linux 6.1 */
	bool allocation_waits;		/* for pins, as on XFS */
	bool old;			/* before 6.9: cannot truncate */
	uint64_t busy_until_ns;		/* no worker starts a request before */
	uint64_t begins_after_ns;	/* a worker starts it so long after */
	uint8_t late;			/* no request advances in a turn */
	uint8_t lost;			/* a cancellation misses a request */
	uint8_t interrupted;		/* a fallocate() gets a signal */
	uint8_t failed;			/* a fallocate() fails midway, EIO */
	uint8_t full;			/* a refill fails midway, ENOSPC */
};

/* Other processors run for a moment: a request may advance. */
void machine_ring_turn(void);
/* The descriptor is closed. */
void machine_ring_close(uint32_t ring);
/* Completes a request of the ring. */
void machine_ring_post(uint32_t ring, uint64_t user_data, int result);
/* The machine is off: frees all rings and requests. */
void machine_rings_forget(void);
/* Can a request still punch a byte of this range? */
bool machine_may_be_punched(uint32_t file, uint64_t offset, uint64_t size);

#endif
