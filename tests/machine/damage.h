/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damage of the medium: poison, which makes a read fail, and bad sectors, which the
 * kernel lists.
 */
#ifndef MACHINE_DAMAGE_H
#define MACHINE_DAMAGE_H

#include "util/util.h"

#define MACHINE_POISONS		4u
#define MACHINE_BADS		4u

/* The kernel does not know of it. A read() of it is an error. */
struct machine_poison {
	uint32_t file;
	uint64_t offset;
	uint64_t size;
};

/* A line of the disk's badblocks. tmpfs has none. */
struct machine_bad {
	uint64_t sector;
	uint64_t count;
};

bool machine_is_poisoned(uint32_t file, uint64_t offset, uint64_t size);
/* Is a sector of one of these blocks listed? */
bool machine_is_bad(uint32_t file, uint64_t offset, uint64_t size);
/* Returns the offset on the device of a byte of a file. */
uint64_t machine_physical(uint32_t file, uint64_t offset);

#endif
