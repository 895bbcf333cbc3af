/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One contiguous, aligned range of addresses for all segments, so that a pool
 * address is a base and an offset.
 */
#ifndef DP_MAP_H
#define DP_MAP_H

#include "util/util.h"

struct dp_map {
	char *base;
	uint64_t size;
};

/* Reserve addresses and map nothing yet. align is a power of two. */
int dp_map_reserve(struct dp_map *map, uint64_t size, uint64_t align);
void dp_map_release(struct dp_map *map);

#define DP_MAP_READONLY	0x1u
#define DP_MAP_SYNC	0x2u	/* with MAP_SYNC, so that stores need no fsync
				   (fsdax) */

/* Map a file's first size bytes at offset of the range. */
int dp_map_file(struct dp_map *map, uint64_t offset, uint64_t size, int fd,
		uint32_t flags);

/* Replace what is mapped in a part of the range by addresses that cannot be
 * accessed. */
int dp_map_clear(struct dp_map *map, uint64_t offset, uint64_t size);
/* Map a file's first size bytes read-only, at any address; dp_os_unmap() ends it. */
int dp_map_peek(int fd, uint64_t size, void **ret_base);

#endif
