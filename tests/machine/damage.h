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

/* Poison that the kernel's list does not have. A read() of it fails with EIO. */
struct machine_poison {
	uint32_t file;
	uint64_t offset;
	uint64_t size;
};

/* A line of the disk's badblocks file in sysfs. tmpfs has no such file. */
struct machine_bad {
	uint64_t sector;
	uint64_t count;
};

bool machine_is_poisoned(uint32_t file, uint64_t offset, uint64_t size);
/*
 * Does the list have a sector of one of these blocks? A block in a hole has no sectors.
 */
bool machine_is_bad(uint32_t file, uint64_t offset, uint64_t size);
/* Returns the address on the device of a byte of a file. */
uint64_t machine_physical(uint32_t file, uint64_t offset);

#endif
