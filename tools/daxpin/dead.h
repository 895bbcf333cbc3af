/* SPDX-License-Identifier: BSD-3-Clause */
/* daxpin holds --dead: what an owner that died has left behind. */
#ifndef DEAD_H
#define DEAD_H

/* Print it. Returns an exit status: 0 nothing is left, 1 something is, 2 unknown. */
int dead_run(const char *path, int json);

#endif
