/* SPDX-License-Identifier: BSD-3-Clause */
/* RLIMIT_MEMLOCK, and how much of it is used, for the adapters' error messages. */
#ifndef DP_MEMLOCK_H
#define DP_MEMLOCK_H

#include <stdint.h>

#define DP_MEMLOCK_TEXT	256u

/* RLIMIT_MEMLOCK in bytes; UINT64_MAX: none. */
uint64_t dp_memlock(void);

/*
 * Write RLIMIT_MEMLOCK and how much this process has pinned and locked, as a clause of
 * a sentence, and return it. It says so if a number cannot be read.
 */
const char *dp_memlock_text(char text[DP_MEMLOCK_TEXT]);

#endif
