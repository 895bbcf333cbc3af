/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NBD_CACHE_METRICS_H
#define NBD_CACHE_METRICS_H

#include "cache.h"

/*
 * Writes the counts of the cache to the file, from a thread, until the stop, which
 * writes them once more. One cache a process. -ENAMETOOLONG; -EAGAIN: no thread.
 */
int metrics_start(struct cache *cache, const char *path,
		  void (*log)(const char *message));
void metrics_stop(void);

#endif
