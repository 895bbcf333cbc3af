/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes a system call fail from now on, as a container's seccomp filter does. */
#ifndef FORBID_H
#define FORBID_H

#include <sys/syscall.h>

/* Lasts until this process ends. Returns -errno if seccomp is unavailable. */
int forbid(unsigned int call, int error);

/* From now on every other system call kills this process. Returns as forbid(). */
int forbid_all_but(unsigned int call);

#endif
