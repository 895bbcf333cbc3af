/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, which advances with each reading and sleep, and random numbers. */
#include "machine.h"
#include "os/os.h"

#define LOOK_NS		1000u

uint64_t dp_os_now_ns(void)
{
	return machine.now_ns += LOOK_NS;
}

uint64_t dp_os_now_coarse_ns(void)
{
	return machine.now_ns;
}

void dp_os_sleep_ns(uint64_t ns)
{
	machine.now_ns += ns;
	machine_ring_turn();
	if (machine.observer)
		machine.observer->wait();
}

/* There are no other threads, so a fence of all threads has nothing to do. */
bool dp_os_has_membarrier(void)
{
	return true;
}

bool dp_os_membarrier(void)
{
	return true;
}

int dp_os_random(void *to, size_t size)
{
	unsigned char *byte = to;

	for (size_t i = 0; i < size; i++) {
		machine.random = machine.random * 6364136223846793005u + 1;
		byte[i] = machine.random >> 56;
	}
	return 0;
}
