/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's count of long-term pins. */
#ifndef PINS_H
#define PINS_H

#include <stdbool.h>

/* Returns the number of pages that are pinned long-term at the moment. */
long long pinned_pages(void);

/*
 * Waits until the number is as before; false: it is not after a minute. The kernel
 * releases the pages of a read shortly after the read has completed. Before Linux 6.15
 * the removal of a DAX file in between is a warning of the kernel.
 */
bool pins_await(long long before);

/* Is the number as before? Prints how many pages are still pinned. */
bool pins_are_back(long long before);

#endif
