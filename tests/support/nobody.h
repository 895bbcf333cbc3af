/* SPDX-License-Identifier: BSD-3-Clause */
/* A child without root's privileges, with a small RLIMIT_MEMLOCK. */
#ifndef NOBODY_H
#define NOBODY_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#define NOBODY		65534

/*
 * For the child: drops all groups, and sets this uid and gid and this RLIMIT_MEMLOCK.
 */
bool become_poor(uid_t uid, rlim_t memlock_bytes);

/*
 * For the parent, before the fork: become_poor(NOBODY) may then read and write
 * everything below the path, and read the path itself, to which others must not write.
 */
int let_nobody_in(const char *path);

#endif
