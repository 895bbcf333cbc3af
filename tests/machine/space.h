/* SPDX-License-Identifier: BSD-3-Clause */
/* Which chunks of a file are backed. fallocate() changes it chunk by chunk. */
#ifndef MACHINE_SPACE_H
#define MACHINE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

void machine_punch_chunk(uint32_t file, uint32_t chunk);
/* Returns 0 or -ENOSPC. */
int machine_refill_chunk(uint32_t file, uint32_t chunk);
/* Is a byte of the range in a hole? */
bool machine_is_hole(uint32_t file, uint64_t offset, uint64_t size);
/* Makes the inode durable, with its size and holes. */
void machine_sync_inode(uint32_t file);

#endif
