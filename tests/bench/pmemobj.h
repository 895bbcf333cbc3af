/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PMDK's libpmemobj as a peer: its pool is a file that is removed at exit. If its
 * header was not installed at build time, object_require() prints this and ends the
 * program.
 */
#ifndef BENCH_PMEMOBJ_H
#define BENCH_PMEMOBJ_H

#include "bench.h"

#ifdef HAVE_PMEMOBJ
#include <fcntl.h>
#include <libpmemobj.h>
#include <unistd.h>

static inline void object_require(const struct bench *bench)
{
	(void)bench;
}

/* Creates a sparse file: a pool of that many bytes is about to be filled. */
static inline PMEMobjpool *object_pool(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	PMEMobjpool *pool;

	if (fd < 0 || ftruncate(fd, bytes))
		bench_die("%s: %m", path);
	close(fd);
	pool = pmemobj_create(path, "bench", 0, 0600);
	if (!pool)
		bench_die("pmemobj_create: %s", pmemobj_errormsg());
	return pool;
}

#else
static inline void object_require(const struct bench *bench)
{
	bench_skip("%s was not installed when this was built: it is libpmemobj, in Debian's libpmemobj-dev",
		   bench->peer);
}
#endif

#endif
