/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hooks of a test: every store, flush and fence that can reach the medium, and every
 * moment at which another thread could run. The crash simulator records the former and
 * schedules its actors at the latter.
 *
 * Inodes are part of the medium: a system call that changes one is a store to a word of
 * it, and fsync() is a flush and a fence.
 */
#ifndef MACHINE_OBSERVER_H
#define MACHINE_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

struct machine_observer {
	/* Called before each call of persist.h: other threads may run first. */
	void (*turn)(void);
	/* The thread sleeps. Nothing changes until other threads have run. */
	void (*wait)(void);
	/* The observer makes the store. A `from` of NULL stores zeroes. */
	void (*store)(void *to, const void *from, uint64_t size);
	void (*flush)(const void *from, uint64_t size);
	void (*fence)(void);
	/*
	 * Stores between kernel(true) and kernel(false) are made by the kernel or a
	 * device.
	 */
	void (*kernel)(bool begins);
};

#endif
