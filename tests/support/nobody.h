/* SPDX-License-Identifier: BSD-3-Clause */
/* A child without root's privileges, with a small RLIMIT_MEMLOCK. */
#ifndef NOBODY_H
#define NOBODY_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#define NOBODY		65534

/*
 * The child calls this. It drops all groups, and sets this uid, gid and RLIMIT_MEMLOCK.
 */
bool drop_privileges(uid_t uid, rlim_t memlock_bytes);

/*
 * The parent calls this before the fork. A child that called drop_privileges(NOBODY)
 * may then list the path and the directories below it, and read and write all files in
 * them. It may not add files, since only the owner may write to a directory.
 */
int allow_nobody(const char *path);

#endif
