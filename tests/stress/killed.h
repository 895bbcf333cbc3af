/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STRESS_KILLED_H
#define STRESS_KILLED_H

#include "world.h"

struct killed {
	uint64_t extents, objects;	/* that were live */
};

/*
 * Compares the pool, which is open again, with the shadow of the process that was
 * killed. Afterwards the shadow has what is live, and nothing else.
 */
void killed_compare(struct killed *ret);

/* No part of the pool may be a hole: each segment has a file with all its memory. */
void killed_check_files(const char *path);

#endif
