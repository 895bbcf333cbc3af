/* SPDX-License-Identifier: BSD-3-Clause */
/* A child without root's rights, with little memory that it may lock. */
#ifndef NOBODY_H
#define NOBODY_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#define NOBODY		65534

/* In the child: it has no groups, this uid and gid, and this RLIMIT_MEMLOCK. */
bool become_poor(uid_t uid, rlim_t memlock_bytes);

/* In the parent, before: what is below the path may be read and written by
 * become_poor(NOBODY), and the path only read: others must not write there. */
int let_nobody_in(const char *path);

#endif
