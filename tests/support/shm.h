/* SPDX-License-Identifier: BSD-3-Clause */
/* The directory for pools on shmem. tests/unit/tap removes what is left there. */
#ifndef SHM_H
#define SHM_H

#include <stdlib.h>

static inline const char *shm_directory(void)
{
	const char *directory = getenv("DAXPIN_TEST_SHM");

	return directory ? directory : "/dev/shm";
}

#endif
