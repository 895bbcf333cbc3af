/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a test can hook into the machine: every store, flush and fence that may
 * reach the medium, and every moment at which another thread could run. The crash
 * simulator records the first and schedules its actors at the second.
 *
 * Inodes are part of the medium: a system call that changes one is a store to a
 * word of it, and fsync() a flush and a fence.
 */
#ifndef MACHINE_OBSERVER_H
#define MACHINE_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

struct machine_observer {
	/* Before a call of persist.h: other threads may run first. */
	void (*turn)(void);
	/* The thread sleeps; nothing changes until others have run. */
	void (*wait)(void);
	/* The observer makes the store; from NULL: zeroes. */
	void (*store)(void *to, const void *from, uint64_t size);
	void (*flush)(const void *from, uint64_t size);
	void (*fence)(void);
	/* What follows is done by the kernel or a device; false: no more. */
	void (*kernel)(bool begins);
};

#endif
