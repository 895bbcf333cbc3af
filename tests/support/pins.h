/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's count of long-term pins. */
#ifndef PINS_H
#define PINS_H

#include <stdbool.h>

/* Returns the number of pages that are pinned long-term at the moment. */
long long pinned_pages(void);

/* Is the number as before? Prints how many pages are still pinned. */
bool pins_are_back(long long before);

#endif
