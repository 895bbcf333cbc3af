/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "space.h"

/* Sizes are multiples of 8 bytes, as blocks are. */
static uint64_t pattern_word(uint32_t seed, uint64_t index)
{
	return (seed * UINT64_C(0x9e3779b97f4a7c15)) ^
	       ((index + 1) * UINT64_C(0xbf58476d1ce4e5b9));
}

void pattern_fill(void *memory, uint64_t length, uint32_t seed)
{
	uint64_t *words = memory;
	uint64_t i;

	for (i = 0; i < length / 8; i++)
		words[i] = pattern_word(seed, i);
}

static unsigned int bytes_differ(uint64_t a, uint64_t b)
{
	unsigned int count = 0;
	uint64_t bits;

	for (bits = a ^ b; bits; bits >>= 8)
		count += (bits & 0xff) != 0;
	return count;
}

uint64_t pattern_wrong(const void *memory, uint64_t length, uint32_t seed)
{
	/* volatile, since devices write to it. */
	const volatile uint64_t *words = memory;
	uint64_t i, wrong = 0;

	for (i = 0; i < length / 8; i++)
		wrong += bytes_differ(words[i], pattern_word(seed, i));
	return wrong;
}

static _Noreturn void give_up(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(2);
}

static void free_space_add(struct free_space *free_space, struct daxpin_extent extent,
			   uint64_t size)
{
	if (free_space->count == free_space->room) {
		free_space->room = free_space->room ? 2 * free_space->room : 64;
		free_space->extents =
			reallocarray(free_space->extents, free_space->room,
				     sizeof(*free_space->extents));
		if (!free_space->extents)
			give_up("list of extents", -ENOMEM);
	}
	free_space->extents[free_space->count++] = extent;
	free_space->bytes += size;
}

void free_space_reserve(struct free_space *free_space, struct daxpin_pool *pool)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;
	uint64_t size = DAXPIN_BLOCK_SIZE;
	int err;

	memset(free_space, 0, sizeof(*free_space));
	free_space->pool = pool;
	err = daxpin_pool_info(pool, &info);
	if (err)
		give_up("daxpin_pool_info", err);
	while (size * 2 <= info.largest_extent)
		size *= 2;
	while (size >= DAXPIN_BLOCK_SIZE) {
		err = daxpin_reserve(pool, size, 0, &extent);
		if (!err)
			free_space_add(free_space, extent, size);
		else if (err == -ENOSPC || err == -EFBIG)
			size /= 2;
		else
			give_up("daxpin_reserve", err);
	}
}

void free_space_reserve_but(struct free_space *free_space, struct daxpin_pool *pool,
			    uint64_t room_bytes)
{
	struct daxpin_extent room;
	int err = daxpin_reserve(pool, room_bytes, 0, &room);

	if (err)
		give_up("daxpin_reserve", err);
	free_space_reserve(free_space, pool);
	err = daxpin_cancel(pool, room);
	if (err)
		give_up("daxpin_cancel", err);
}

void free_space_release(struct free_space *free_space)
{
	size_t i;
	int err;

	for (i = 0; i < free_space->count; i++) {
		err = daxpin_cancel(free_space->pool, free_space->extents[i]);
		if (err)
			give_up("daxpin_cancel", err);
	}
	free(free_space->extents);
	memset(free_space, 0, sizeof(*free_space));
}

uint64_t free_space_overlap(const struct free_space *free_space, uint64_t addr,
			    uint64_t length)
{
	uint64_t bytes = 0, begin, end;
	size_t i;

	for (i = 0; i < free_space->count; i++) {
		uint64_t size = 0;

		begin = free_space->extents[i].addr;
		daxpin_size(free_space->pool, free_space->extents[i], &size);
		end = begin + size < addr + length ? begin + size :
						     addr + length;
		if (begin < addr)
			begin = addr;
		if (begin < end)
			bytes += end - begin;
	}
	return bytes;
}
