/* SPDX-License-Identifier: BSD-3-Clause */
/* ublk devices: the kernel does not show which memory they have pinned. */
#ifndef UBLK_H
#define UBLK_H

/* How many ublk devices there are; -1: sysfs is not mounted here. */
int ublk_count_devices(void);
/*
 * How many files of the driver are open. sysfs does not show a deleted device, but its
 * pins last while a process has it open. -1: the kernel does not show the number.
 */
int ublk_count_files(void);

#endif
