/* SPDX-License-Identifier: BSD-3-Clause */
/* Reserving all free space of a pool, and patterns that identify a writer. */
#ifndef SPACE_H
#define SPACE_H

#include <daxpin.h>

/* Fills memory with a pattern, and counts the bytes that differ from it. */
void pattern_fill(void *memory, uint64_t length, uint32_t seed);
uint64_t pattern_wrong(const void *memory, uint64_t length, uint32_t seed);

/* All free space of a pool, reserved. */
struct free_space {
	struct daxpin_pool *pool;
	struct daxpin_extent *extents;
	size_t count, room;
	uint64_t bytes;
};

/* Reserves until no block is free. */
void free_space_reserve(struct free_space *free_space, struct daxpin_pool *pool);
/* The same, but leaves so little that freed blocks are soon reused. */
void free_space_reserve_but(struct free_space *free_space, struct daxpin_pool *pool,
			    uint64_t room_bytes);
/* Returns how many bytes of [addr, addr + length) it reserved. */
uint64_t free_space_overlap(const struct free_space *free_space, uint64_t addr,
			    uint64_t length);
void free_space_release(struct free_space *free_space);

#endif
