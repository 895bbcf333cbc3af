/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls about processes and threads. A simulation replaces them, as those of
 * os.h. */
#ifndef DP_PROCESS_H
#define DP_PROCESS_H

#include <stdbool.h>
#include "util/util.h"

/* 1: a process, or a thread of one, with that pid exists. */
int dp_os_pid_exists(int pid);
/* The calling thread's id, and whether a thread is one of this process's. */
int dp_os_thread(void);
bool dp_os_is_own_thread(int thread);
/* The same. UNKNOWN: a filter of system calls does not let this process ask. */
enum dp_tristate dp_os_has_thread(int thread);
/* Have these threads one table of descriptors? UNKNOWN: the kernel does not answer,
 * because it was built without kcmp(), or does not allow it. */
enum dp_tristate dp_os_share_files(int thread, int other);

#endif
