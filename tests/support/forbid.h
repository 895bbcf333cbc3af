/* SPDX-License-Identifier: BSD-3-Clause */
/* A system call that fails from here on, as a container's filter makes it. */
#ifndef FORBID_H
#define FORBID_H

#include <sys/syscall.h>

/* In this process, for good; -errno where there is no seccomp. */
int forbid(unsigned int call, int error);

#endif
