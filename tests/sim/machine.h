/* SPDX-License-Identifier: BSD-3-Clause */
/* What a test may ask of the simulated machine behind lib/os/os.h. */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include <stdint.h>

#define MACHINE_PATH	"/sim"		/* where the pool is */

/* The power was cut: another boot, no process of before. */
void machine_reboot(void);
/* What the library's random numbers are made from. */
void machine_seed(uint64_t seed);

uint64_t machine_random(uint64_t *state);

static inline uint64_t machine_below(uint64_t *state, uint64_t limit)
{
	return machine_random(state) % limit;
}

#endif
