/* SPDX-License-Identifier: BSD-3-Clause */
/* The wrappers that seam_wraps.py makes call this before each function of os.h. */
#ifndef SEAM_CALLED_H
#define SEAM_CALLED_H

void seam_called(const char *name);

#endif
