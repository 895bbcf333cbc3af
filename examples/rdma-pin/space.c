/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "narrate.h"
#include "space.h"

/* Lengths are multiples of 8 bytes, as blocks are. */
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
	/* volatile, since hardware writes to it. */
	const volatile uint64_t *words = memory;
	uint64_t i, wrong = 0;

	for (i = 0; i < length / 8; i++)
		wrong += bytes_differ(words[i], pattern_word(seed, i));
	return wrong;
}

static void hoard_add(struct hoard *hoard, struct daxpin_extent extent,
		      uint64_t size)
{
	if (hoard->count == hoard->room) {
		hoard->room = hoard->room ? 2 * hoard->room : 64;
		hoard->extents = reallocarray(hoard->extents, hoard->room,
					      sizeof(*hoard->extents));
		if (!hoard->extents)
			give_up("no memory for a list of extents");
	}
	hoard->extents[hoard->count++] = extent;
	hoard->bytes += size;
}

void hoard_take(struct hoard *hoard, struct daxpin_pool *pool)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;
	uint64_t size = DAXPIN_BLOCK_SIZE;
	int err;

	memset(hoard, 0, sizeof(*hoard));
	hoard->pool = pool;
	err = daxpin_pool_info(pool, &info);
	if (err)
		give_up("daxpin_pool_info: %s", strerror(-err));
	while (size * 2 <= info.largest_extent)
		size *= 2;
	while (size >= DAXPIN_BLOCK_SIZE) {
		err = daxpin_reserve(pool, size, 0, &extent);
		if (!err)
			hoard_add(hoard, extent, size);
		else if (err == -ENOSPC || err == -EFBIG)
			size /= 2;
		else
			give_up("daxpin_reserve: %s", strerror(-err));
	}
}

void hoard_release(struct hoard *hoard)
{
	size_t i;
	int err;

	for (i = 0; i < hoard->count; i++) {
		err = daxpin_cancel(hoard->pool, hoard->extents[i]);
		if (err)
			give_up("daxpin_cancel: %s", strerror(-err));
	}
	free(hoard->extents);
	memset(hoard, 0, sizeof(*hoard));
}

/* The part of an extent that lies in a range: its size, and its offset in the extent. */
struct part {
	uint64_t length, in_extent;
};

static struct part cut(const struct hoard *hoard, size_t index, uint64_t addr,
		       uint64_t length)
{
	const struct daxpin_extent extent = hoard->extents[index];
	uint64_t begin = extent.addr, end, size = 0;

	daxpin_size(hoard->pool, extent, &size);
	end = begin + size < addr + length ? begin + size : addr + length;
	if (begin < addr)
		begin = addr;
	if (begin >= end)
		return (struct part){ 0 };
	return (struct part){
		.length = end - begin,
		.in_extent = begin - extent.addr,
	};
}

uint64_t hoard_overlap(const struct hoard *hoard, uint64_t addr,
		       uint64_t length)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < hoard->count; i++)
		bytes += cut(hoard, i, addr, length).length;
	return bytes;
}

void hoard_fill(const struct hoard *hoard, uint64_t addr, uint64_t length,
		uint32_t seed)
{
	struct part part;
	size_t i;

	for (i = 0; i < hoard->count; i++) {
		part = cut(hoard, i, addr, length);
		if (part.length)
			pattern_fill(daxpin_ptr(hoard->pool, hoard->extents[i],
						part.in_extent),
				     part.length, seed);
	}
}

uint64_t hoard_wrong(const struct hoard *hoard, uint64_t addr, uint64_t length,
		     uint32_t seed)
{
	uint64_t wrong = 0;
	struct part part;
	size_t i;

	for (i = 0; i < hoard->count; i++) {
		part = cut(hoard, i, addr, length);
		if (part.length)
			wrong += pattern_wrong(daxpin_ptr(hoard->pool,
							  hoard->extents[i],
							  part.in_extent),
					       part.length, seed);
	}
	return wrong;
}
