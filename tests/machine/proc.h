/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MACHINE_PROC_H
#define MACHINE_PROC_H

#include <sys/stat.h>

#define MACHINE_DEVICE	7	/* the device of all files: 0:7 */

/* stat() of a path outside of the pool. */
int machine_proc_stat(const char *path, struct stat *ret_stat);

#endif
