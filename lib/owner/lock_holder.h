/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which living process keeps a file: open, mapped, or in the file table of a
 * ring that it has. For messages: what /proc hides from us is not found.
 */
#ifndef DP_LOCK_HOLDER_H
#define DP_LOCK_HOLDER_H

#include <sys/types.h>
#include "util/util.h"

/* The process that keeps the file that fd has open, or 0. This one does, if it has
 * inherited the pool. */
int dp_lock_holder_find(int fd, dev_t dev, ino_t ino);

/* No such process any more, or only its remains, which keep no files. */
bool dp_lock_holder_is_dead(int pid);

#endif
