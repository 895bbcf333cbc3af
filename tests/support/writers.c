/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include "writers.h"

void writers_stamp(void *memory, uint64_t size, uint32_t serial)
{
	uint64_t *words = memory;

	for (uint64_t i = 0; i < size / 8; i++)
		words[i] = (uint64_t)serial << 32 | i;
}

void writers_fill(struct writers *writers, void *memory, uint64_t size,
		  uint32_t serial)
{
	writers->serial[0] = serial;
	writers->count = 1;
	writers_stamp(memory, size, serial);
}

bool writers_are_full(const struct writers *writers)
{
	return writers->count == WRITERS_MAX;
}

void writers_add(struct writers *writers, uint32_t serial)
{
	assert(!writers_are_full(writers));
	writers->serial[writers->count] = serial;
	/* A process that is killed between the two has granted nothing yet. */
	__atomic_store_n(&writers->count, writers->count + 1, __ATOMIC_RELEASE);
}

static bool is_of(const struct writers *writers, uint32_t serial)
{
	for (uint32_t i = 0; i < writers->count; i++)
		if (writers->serial[i] == serial)
			return true;
	return false;
}

uint64_t writers_find_other(const struct writers *writers, const void *memory,
			    uint64_t size, uint32_t *ret_serial)
{
	/* volatile, since devices write to it. */
	const volatile uint64_t *words = memory;
	uint32_t serial, last = writers->serial[0];

	for (uint64_t i = 0; i < size / 8; i++) {
		serial = (uint32_t)(words[i] >> 32);
		if (serial != last && !is_of(writers, serial)) {
			*ret_serial = serial;
			return i * 8;
		}
		last = serial;
	}
	return size;
}
