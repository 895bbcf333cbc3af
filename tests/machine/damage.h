/* SPDX-License-Identifier: BSD-3-Clause */
/* What is wrong with the medium: poison that a read meets, and bad sectors that
 * the kernel lists. */
#ifndef MACHINE_DAMAGE_H
#define MACHINE_DAMAGE_H

#include "util/util.h"

#define MACHINE_POISONS		4u
#define MACHINE_BADS		4u

/* Unknown to the kernel; a read of it by the kernel is an error. */
struct machine_poison {
	uint32_t file;
	uint64_t offset;
	uint64_t size;
};

/* A line of the disk's list of bad blocks; not on tmpfs. */
struct machine_bad {
	uint64_t sector;
	uint64_t count;
};

bool machine_is_poisoned(uint32_t file, uint64_t offset, uint64_t size);
/* A block of which a sector is listed. */
bool machine_is_bad(uint32_t file, uint64_t offset, uint64_t size);
/* Where on the device a byte of a file is. */
uint64_t machine_physical(uint32_t file, uint64_t offset);

#endif
