/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/mman.h>
#include "os/os.h"
#include "pool/map.h"

int dp_map_reserve(struct dp_map *map, uint64_t size, uint64_t align)
{
	uintptr_t begin, aligned;
	void *base;
	int ret;

	assert(size && dp_is_power_of_two(align));
	size = dp_round_up(size, align);
	ret = dp_os_map(NULL, size + align, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, &base);
	if (ret)
		return ret;
	begin = (uintptr_t)base;
	aligned = dp_round_up(begin, align);
	if (aligned > begin)
		dp_os_unmap(base, aligned - begin);
	if (aligned < begin + align)
		dp_os_unmap((void *)(aligned + size), begin + align - aligned);
	map->base = (char *)aligned;
	map->size = size;
	return 0;
}

void dp_map_release(struct dp_map *map)
{
	if (map->base)
		dp_os_unmap(map->base, map->size);
	map->base = NULL;
}

int dp_map_file(struct dp_map *map, uint64_t offset, uint64_t size, int fd,
		uint32_t flags)
{
	int protection = PROT_READ;
	int type = MAP_SHARED;
	void *base;

	assert(offset + size <= map->size);
	if (!(flags & DP_MAP_READONLY))
		protection |= PROT_WRITE;
	if (flags & DP_MAP_SYNC)
		type = MAP_SHARED_VALIDATE | MAP_SYNC;
	return dp_os_map(map->base + offset, size, protection,
			 type | MAP_FIXED, fd, &base);
}

int dp_map_clear(struct dp_map *map, uint64_t offset, uint64_t size)
{
	void *base;

	assert(offset + size <= map->size);
	return dp_os_map(map->base + offset, size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
			 -1, &base);
}

int dp_map_peek(int fd, uint64_t size, void **ret_base)
{
	return dp_os_map(NULL, size, PROT_READ, MAP_SHARED, fd, ret_base);
}
