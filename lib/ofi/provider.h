/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Can a device of a provider write to memory by itself, also after the death of the
 * process? What the provider and the kernel answer.
 */
#ifndef DP_OFI_PROVIDER_H
#define DP_OFI_PROVIDER_H

#include <daxpin-ofi.h>
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The end of a sentence. */
#define DP_PROVIDER_CURE \
	"use a provider that copies with the CPU, such as tcp;ofi_rxm, or libdaxpin-rdma"

/* The provider says that a device of it accesses the memory: *what becomes a sentence
 * with the reason and the cure. */
bool dp_provider_names_device(const struct fi_info *info, char *what, size_t size);

/*
 * Search for a device file that this process has open or mapped, other than memory,
 * terminals and device-dax. 1: *name becomes its name. 0: there is none, so no device
 * can access memory on behalf of this process. -errno: /proc cannot be read.
 */
int dp_provider_find_device(char *name, size_t size);
/* The part of it that reads the lines of /proc/self/maps. */
int dp_provider_find_mapped(FILE *maps, char *name, size_t size);

#endif
