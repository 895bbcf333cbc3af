/* SPDX-License-Identifier: BSD-3-Clause */
/* What the file of a driver can do, by its device number and sysfs. */
#ifndef DP_OFI_DEVICE_FILE_H
#define DP_OFI_DEVICE_FILE_H

#include <stdbool.h>

#define DP_RDMA_NAME_MAX	64	/* with the NUL */

enum dp_device_kind {
	DP_DEVICE_NONE,		/* memory, a terminal, device-dax, or no device */
	DP_DEVICE_CONNECTS,	/* /dev/infiniband/rdma_cm: no memory is registered */
	DP_DEVICE_UVERBS,	/* a verbs context, which memory is registered by */
	DP_DEVICE_OTHER,	/* it may let a device access memory */
};

/* st has the type and the device number of a file that is open or mapped. */
struct statx;
enum dp_device_kind dp_device_kind(const struct statx *st);

/* The name that the RDMA device of a uverbs file has now. false: sysfs does not show
 * it. */
bool dp_device_rdma_name(const struct statx *st, char name[DP_RDMA_NAME_MAX]);

#endif
