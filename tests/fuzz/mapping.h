/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the two seams: which file's byte stands at an address. */
#ifndef FUZZ_MAPPING_H
#define FUZZ_MAPPING_H

#include "util/util.h"

#define MAPPINGS 16

struct mapping {
	char *at;
	uint64_t size;			/* 0: not in use */
	uint32_t file;
	bool writable;
};

/* The file mapping that has all of these bytes, or NULL. */
const struct mapping *mapping_at(const void *at, uint64_t size);

#endif
