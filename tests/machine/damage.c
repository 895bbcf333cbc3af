/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

bool machine_is_poisoned(uint32_t file, uint64_t offset, uint64_t size)
{
	for (uint32_t i = 0; i < machine.poisons; i++) {
		const struct machine_poison *p = &machine.poison[i];

		if (p->size && p->file == file &&
		    offset < p->offset + p->size &&
		    p->offset < offset + size)
			return true;
	}
	return false;
}

/*
 * Each file has a range of 2 * MACHINE_FILE_MAX bytes of the device. There are 4 KiB
 * between its chunks, so that no two are contiguous.
 */
uint64_t machine_physical(uint32_t file, uint64_t offset)
{
	return file * 2 * MACHINE_FILE_MAX + offset +
	       (offset >> DP_CHUNK_SHIFT) * 4096;
}

/* Does the list have one of the eight sectors that begin with `first`? */
static bool is_listed(uint64_t first)
{
	const uint64_t sectors_max = UINT64_MAX / 512;

	for (uint32_t i = 0; i < machine.bads; i++) {
		const struct machine_bad *b = &machine.bad[i];

		if (b->count && b->count <= sectors_max &&
		    b->sector <= sectors_max - b->count &&
		    b->sector < first + 8 && first < b->sector + b->count)
			return true;
	}
	return false;
}

bool machine_is_bad(uint32_t file, uint64_t offset, uint64_t size)
{
	for (uint64_t at = offset & ~4095ull; machine.bads && at < offset + size;
	     at += 4096)
		if (!machine_inode(file)->hole[at >> DP_CHUNK_SHIFT] &&
		    is_listed(machine_physical(file, at) / 512))
			return true;
	return false;
}
