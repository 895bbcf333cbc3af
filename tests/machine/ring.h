/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's side of io_uring, below lib/os/ring.c: the queues of each ring, and how
 * the kernel treats requests (request.h).
 */
#ifndef MACHINE_RING_H
#define MACHINE_RING_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A uint8_t is a probability, in 256ths. If only `present` and `seed` are set, nothing
 * is delayed or fails.
 */
struct machine_ring_plan {
	bool present;			/* false: io_uring is unavailable */
	uint64_t seed;
	bool forgets;			/* pins do not wake requests, as on 6.1 */
	bool allocation_waits;		/* an allocation waits for pins, as on XFS */
	bool old;			/* before 6.9: cannot truncate */
	bool misses_every_second;	/* cancellation: it finds no request */
	uint64_t busy_until_ns;		/* until then no worker starts a request */
	uint64_t begins_after_ns;	/* a worker starts a request this much later */
	uint8_t late;			/* no request advances in a turn */
	uint8_t lost;			/* a cancellation misses a request */
	uint8_t interrupted;		/* a fallocate() gets a signal */
	uint8_t failed;			/* a fallocate() fails midway, EIO */
	uint8_t full;			/* a refill fails midway, ENOSPC */
};

/* Lets some requests advance, as other processors would. */
void machine_ring_turn(void);
/* Drops the ring's requests when its descriptor is closed. */
void machine_ring_close(uint32_t ring);
/* Completes a request of the ring. */
void machine_ring_post(uint32_t ring, uint64_t user_data, int result);
/* Frees all rings and requests, as a power failure does. */
void machine_rings_forget(void);
/* Can a request still punch a byte of this range? */
bool machine_may_be_punched(uint32_t file, uint64_t offset, uint64_t size);

#endif
