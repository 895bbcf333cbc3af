/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking up space in a pool, and patterns to know one's own bytes by. */
#ifndef SPACE_H
#define SPACE_H

#include <daxpin.h>

/* Fill memory with a pattern; count the bytes that are not of it. */
void pattern_fill(void *memory, uint64_t length, uint32_t seed);
uint64_t pattern_wrong(const void *memory, uint64_t length, uint32_t seed);

/* All the free space of a pool, reserved. */
struct hoard {
	struct daxpin_pool *pool;
	struct daxpin_extent *extents;
	size_t count, room;
	uint64_t bytes;
};

/* Reserve until the pool has not one block to give. */
void hoard_take(struct hoard *hoard, struct daxpin_pool *pool);
/* How many bytes of [addr, addr + length) it got hold of. */
uint64_t hoard_overlap(const struct hoard *hoard, uint64_t addr,
		       uint64_t length);
void hoard_release(struct hoard *hoard);

/* The part of the hoard that lies in [addr, addr + length). */
void hoard_fill(const struct hoard *hoard, uint64_t addr, uint64_t length,
		uint32_t seed);
uint64_t hoard_wrong(const struct hoard *hoard, uint64_t addr, uint64_t length,
		     uint32_t seed);

#endif
