/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a test needs of the kernel. An emulator of user programs has some calls not at
 * all, and reports success for others and does nothing; a container's filter forbids
 * some. Each of these functions tries it, and if it has no effect skips the test with a
 * reason.
 */
#ifndef NEEDS_H
#define NEEDS_H

#include <stdbool.h>

bool has_io_uring(void);
/* For main(), which cannot skip(): returns true after printing that all is skipped. */
bool skip_all_without_io_uring(void);
void need_io_uring(void);

/* Filters of seccomp, which forbid() installs. */
void need_seccomp(void);

/* MADV_WIPEONFORK: by it the library recognises a forked child. */
void need_wipe_on_fork(void);
/* As skip_all_without_io_uring(). */
bool skip_all_without_wipe_on_fork(void);

/* MADV_POPULATE_WRITE: without it a file on tmpfs is a hole until its pages are
 * written. */
void need_populate_write(void);

/* The kernel's own text about this process, from which the library reads its start
 * time. */
void need_genuine_proc(void);

/* process_vm_writev(), by which a process stores into another one. */
void need_process_vm(void);

/* RLIMIT_AS. */
void need_address_limit(void);

#endif
