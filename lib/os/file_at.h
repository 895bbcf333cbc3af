/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading and writing a small file at an offset, who may read it, and what its
 * filesystem can do: system calls of pool/status.c and pool/judge.c alone. A simulation
 * replaces them, as those of os.h.
 */
#ifndef DP_FILE_AT_H
#define DP_FILE_AT_H

#include <sys/types.h>
#include "util/util.h"

/* Read up to `size` bytes. Returns the number, which is less at the end of the file. */
int64_t dp_os_read_at(int fd, void *to, uint64_t size, uint64_t offset);
/* Write all `size` bytes. */
int dp_os_write_at(int fd, const void *from, uint64_t size, uint64_t offset);
/* Give the file this group and these permission bits. If this process may not give it
 * the group, the bits of the group are left out. */
int dp_os_set_access(int fd, gid_t group, mode_t mode);
/* Can the filesystem name a file by a handle? XFS, ext4, btrfs, tmpfs and the like can,
 * 9p cannot. UNKNOWN: a filter of system calls does not let this process ask. */
enum dp_tristate dp_os_has_handles(int fd);

#endif
