/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inputs of both targets are records of 16 bytes, of which the last 8 are a number.
 * Mutations by libFuzzer alone would move the fields of the records, so most mutations
 * are made here, of one record at a time.
 */
#include "fuzz.h"

#define RECORD		16u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
			       unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size,
				 const uint8_t *b, size_t b_size, uint8_t *to,
				 size_t size_max, unsigned int seed);

static const uint64_t interesting[] = {
	0, 1, 2, 3, 4, 7, 8, 16, 47, 48, 63, 64, 65, 248, 255, 256, 511, 512,
	513, 576, 1023, 1024, 1025, 4095, 4096, 4097, 7679, 7680, 7681, 8190,
	8191, 8192, 16383, 16384, 0xffff, 0x10000, 0x10030, 0x20000, 0x3ffff,
	0x40000, 0x60000, 0x1000, 0x2000, 0x2008, 0x2058, 0xf0000, 0xf1000,
	0xf1008, 0xf1040, 0xf2000, 0x1f0000, 0x1f1000, 0x1f2000, 0xfffe,
	0x200000, 0x1fff000, 0x2000000, 0x2200000, 0x3fff000, 0x4000000,
	0x6000000, 0x20000000, 0x40000000, 0x80000000, 0xfffffff, 0x10000000,
	0xffffffff,
	1ull << 32, 1ull << 40, 1ull << 44, 1ull << 47, 1ull << 63, ~0ull, ~0ull - 1,
};

static uint32_t random_now;

static uint32_t below(uint32_t limit)
{
	random_now = random_now * 1664525 + 1013904223;
	return (random_now >> 8) % limit;
}

static uint64_t number(uint64_t was)
{
	uint64_t value = interesting[below(sizeof(interesting) /
					   sizeof(interesting[0]))];

	switch (below(5)) {
	case 0:
		return was + (int64_t)below(17) - 8;
	case 1:
		return was ^ 1ull << below(64);
	case 2:
		return value << below(64);
	case 3:
		return was ^ value << below(48);
	default:
		return value;
	}
}

static void change(uint8_t *record)
{
	uint64_t value;
	uint32_t index;

	switch (below(4)) {
	case 0:
		record[below(4)] = below(below(4) ? 40 : 256);
		break;
	case 1:
		memcpy(&index, record + 4, sizeof(index));
		index = number(index);
		memcpy(record + 4, &index, sizeof(index));
		break;
	case 2:
		memcpy(&value, record + 8, sizeof(value));
		value = number(value);
		memcpy(record + 8, &value, sizeof(value));
		break;
	default:
		LLVMFuzzerMutate(record, RECORD, RECORD);
	}
}

static size_t insert(uint8_t *data, size_t count, size_t count_max)
{
	size_t at = below(count + 1), from = count ? below(count) : 0;
	uint8_t record[RECORD] = { 0 };

	if (count >= count_max)
		return count;
	if (count)
		memcpy(record, data + from * RECORD, RECORD);
	if (!count || below(2)) {
		for (unsigned int i = 0; i < 4; i++)
			record[i] = below(40);
		change(record);
	}
	memmove(data + (at + 1) * RECORD, data + at * RECORD,
		(count - at) * RECORD);
	memcpy(data + at * RECORD, record, RECORD);
	return count + 1;
}

static size_t take_out(uint8_t *data, size_t count)
{
	size_t at;

	if (count < 2)
		return count;
	at = below(count);
	memmove(data + at * RECORD, data + (at + 1) * RECORD,
		(count - at - 1) * RECORD);
	return count - 1;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
			       unsigned int seed)
{
	size_t count = size / RECORD, count_max = size_max / RECORD;

	random_now = seed;
	for (uint32_t times = 1 + below(4); times; times--) {
		switch (below(8)) {
		case 0:
		case 1:
			count = insert(data, count, count_max);
			break;
		case 2:
			count = take_out(data, count);
			break;
		case 3:
			if (count)
				count = LLVMFuzzerMutate(data, count * RECORD,
							 count_max * RECORD) /
					RECORD;
			break;
		default:
			if (count)
				change(data + below(count) * RECORD);
		}
	}
	return count * RECORD;
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size,
				 const uint8_t *b, size_t b_size, uint8_t *to,
				 size_t size_max, unsigned int seed)
{
	size_t head, tail;

	random_now = seed;
	head = below(a_size / RECORD + 1) * RECORD;
	tail = below(b_size / RECORD + 1) * RECORD;
	head = dp_min(head, size_max);
	tail = dp_min(tail, (size_max - head) / RECORD * RECORD);
	memcpy(to, a, head);
	memcpy(to + head, b + b_size / RECORD * RECORD - tail, tail);
	return head + tail;
}
