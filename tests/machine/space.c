/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A punched chunk reads as zeroes. Under an observer its bytes stay in memory, since a
 * power failure may undo the punch: call machine_is_hole() before reading them.
 */
#include <errno.h>
#include "machine.h"
#include "space.h"

void machine_punch_chunk(uint32_t file, uint32_t chunk)
{
	machine_set(&machine_inode(file)->hole[chunk], 1);
	if (!machine.observer)
		machine_write(file, (uint64_t)chunk << DP_CHUNK_SHIFT, NULL,
			      DP_CHUNK_SIZE);
	if (machine.room != UINT64_MAX)
		machine.room++;
}

int machine_refill_chunk(uint32_t file, uint32_t chunk)
{
	struct machine_inode *inode = machine_inode(file);

	if (!inode->hole[chunk])
		return 0;
	if (!machine.room)
		return -ENOSPC;
	if (machine.room != UINT64_MAX)
		machine.room--;
	machine_set(&inode->hole[chunk], 0);
	return 0;
}

bool machine_is_hole(uint32_t file, uint64_t offset, uint64_t size)
{
	const struct machine_inode *inode = machine_inode(file);
	uint64_t end = (offset + size - 1) >> DP_CHUNK_SHIFT;

	for (uint64_t i = offset >> DP_CHUNK_SHIFT; i <= end; i++)
		if (inode->hole[i])
			return true;
	return false;
}

/* Size and holes are written back together. */
void machine_sync_inode(uint32_t file)
{
	const struct machine_inode *inode = machine_inode(file);

	if (!machine.observer)
		return;
	machine.observer->flush(&inode->size, (const char *)(inode + 1) -
					      (const char *)&inode->size);
	machine.observer->fence();
}
