/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which living process keeps a file: open, mapped, or in the file table of a
 * ring that it has. For messages: what /proc hides from us is not found.
 */
#ifndef DP_LOCK_HOLDER_H
#define DP_LOCK_HOLDER_H

#include <sys/types.h>
#include "util/util.h"

/*
 * Find a process that keeps the file that fd has open: its pid, or 0. Descriptors of
 * the calling process do not count, but its mappings and its rings do, since a forked
 * child inherits them with the pool.
 */
int dp_lock_holder_find(int fd, dev_t dev, ino_t ino);

/* True if the process does not exist, or if its main thread has exited (a zombie). */
bool dp_lock_holder_is_dead(int pid);

#endif
