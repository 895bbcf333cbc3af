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
#include "util/util.h"

/* The end of a sentence. */
#define DP_PROVIDER_CURE \
	"use a provider that copies with the CPU, such as tcp;ofi_rxm, or libdaxpin-rdma"

/* The RDMA device that the provider says it uses, or NULL. It may be no RDMA device:
 * dp_provider_check_context() finds that out. */
const char *dp_provider_rdma_device(const struct fi_info *info);

/* Does the provider say that it uses a device, without its name? DEVICE, and *what
 * becomes a sentence; otherwise UNKNOWN. */
enum daxpin_ofi_writer dp_provider_asked(const struct fi_info *info, char *what,
					 size_t size);

/* The sentence about WRITER_RDMA. */
void dp_provider_describe_rdma(const struct fi_info *info, char *what, size_t size);

/* Which device files are not reported, besides memory, terminals and device-dax. */
enum dp_ignored {
	DP_IGNORE_HARMLESS,	/* no others */
	DP_IGNORE_RDMA,		/* those of RDMA */
};

/* st has the type and the device number of a file that is open or mapped. */
struct statx;
bool dp_provider_is_harmless(const struct statx *st, enum dp_ignored ignored);

/* A device file that this process has open or mapped; without a name: a verbs context
 * that it has closed, and that another process keeps open. */
struct dp_device_found {
	char name[64];
	char reason[200];		/* of RDMA devices: why memory may be registered
					   with them; otherwise empty */
};

/*
 * Search for a device file that this process has open or mapped, other than memory,
 * terminals and device-dax, and other than those of RDMA if daxpin_rdma_use() shows
 * that no memory is registered there. 1: *ret_found describes it. 0: there is none, so
 * no device accesses memory for this process, as far as the kernel shows it (DEVX is
 * not seen). -errno: /proc or RDMA netlink cannot be read.
 */
int dp_provider_find_device(struct dp_device_found *ret_found);
/*
 * For a provider that names its device, while a domain of it is open: does all memory
 * that this process registers with the device belong to one verbs context, and does
 * the process have no other device open? 0, or a sentence and -EOPNOTSUPP if not;
 * another -errno if /proc cannot be read.
 */
int dp_provider_check_context(const struct fi_info *info,
			      const struct dp_errmsg *errmsg);
/* The part of dp_provider_find_device() that reads the lines of /proc/self/maps. */
int dp_provider_find_mapped(FILE *maps, char *name, size_t size);

#endif
