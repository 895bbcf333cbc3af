/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known about a provider of libfabric from its name. */
#ifndef DP_OFI_PROVIDER_H
#define DP_OFI_PROVIDER_H

#include <stdbool.h>

/* All that this provider does to memory is done by the CPU, in system calls of a
 * process that has the memory: after the death of the process nothing goes on. */
bool dp_ofi_copies_with_cpu(const char *name);

#endif
