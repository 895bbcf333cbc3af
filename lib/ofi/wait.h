/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a thread waits that makes the progress itself. */
#ifndef DP_OFI_WAIT_H
#define DP_OFI_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* A time, CPU time of this thread, and a number of steps, until all are over. */
struct dp_wait {
	uint64_t end, cpu_end;
	unsigned int steps;
};

struct dp_wait dp_wait_for(uint64_t ms);
/* Is the time or the CPU time not over? */
bool dp_wait_has_time(const struct dp_wait *wait);
/* The same, or is a step left? Counts one. */
bool dp_waits(struct dp_wait *wait);

#endif
