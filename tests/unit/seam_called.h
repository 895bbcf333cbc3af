/* SPDX-License-Identifier: BSD-3-Clause */
/* Called before each call of the os seam: seam_wraps.py makes the wrappers. */
#ifndef SEAM_CALLED_H
#define SEAM_CALLED_H

void seam_called(const char *name);

#endif
