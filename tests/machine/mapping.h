/* SPDX-License-Identifier: BSD-3-Clause */
/* The mappings of files: which byte of which file an address is. */
#ifndef MACHINE_MAPPING_H
#define MACHINE_MAPPING_H

#include "util/util.h"

struct machine_mapping {
	char *at;
	uint64_t size;			/* 0: not in use */
	uint32_t file;
	bool writable;
};

/* Returns the mapping of a file that contains all of these bytes, or NULL. */
const struct machine_mapping *machine_mapping_at(const void *at, uint64_t size);
void machine_mappings_forget(void);
void machine_mappings_expect_none(void);

#endif
