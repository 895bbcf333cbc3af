/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the programs unregister_ofi and unregister_ucx have in common: the memory of a
 * target and of a peer, and what arrives in the first from the second (rdma.md R10).
 */
#ifndef UNREGISTER_H
#define UNREGISTER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BYTES (UINT64_C(64) << 20)
#define PART (BYTES / 16) /* arrives before the memory is given back */
#define QUIET_S 3 /* after so long without a byte none is expected */

static unsigned char *target, *source;

static inline void require(bool true_that, const char *what, const char *error)
{
	if (true_that)
		return;
	printf("%s: %s\n", what, error);
	exit(1);
}

static inline void make_memory(void)
{
	target = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	source = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	require(target != MAP_FAILED && source != MAP_FAILED, "mmap", "failed");
	memset(target, 0, BYTES);
}

static inline uint64_t arrived(unsigned char value)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < BYTES; i++)
		count += target[i] == value;
	return count;
}

/* Has a part of the write arrived, at either end of the memory? */
static inline bool part_arrived(unsigned char value)
{
	const volatile unsigned char *bytes = target;

	return bytes[PART] == value || bytes[BYTES - 1 - PART] == value;
}

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/*
 * Calls step() until no byte has arrived for QUIET_S: a write may succeed before its
 * last byte has arrived. Returns the first result of step() that is not 0.
 */
static inline int await_write(int (*step)(void), unsigned char value)
{
	double since = now();
	uint64_t before = 0, count;
	int result = 0, one;

	while (now() - since < QUIET_S) {
		for (int i = 0; i < 1000; i++) {
			one = step();
			result = result ? result : one;
		}
		count = arrived(value);
		if (count != before)
			since = now();
		before = count;
	}
	return result;
}

static inline void await_part(int (*step)(void), unsigned char value)
{
	double end = now() + 60;

	while (!part_arrived(value) && now() < end)
		step();
	require(part_arrived(value), "the write",
		"nothing arrived in a minute");
}

#endif
