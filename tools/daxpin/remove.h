/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REMOVE_H
#define REMOVE_H

#include "show.h"

/* Remove the files of the pool, which is open, and close it. The directory remains. */
int remove_open_pool(struct show *show);

#endif
