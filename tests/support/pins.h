/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's balance of long-term pins. */
#ifndef PINS_H
#define PINS_H

#include <stdbool.h>

/* Pages that long-term pins hold just now. */
long long pinned_pages(void);

/* Are there as many as before? Says how many are not gone. */
bool pins_are_back(long long before);

#endif
