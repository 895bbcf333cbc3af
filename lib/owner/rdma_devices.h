/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine's RDMA devices: which there are, as RDMA netlink lists them, and
 * whether that list is all.
 */
#ifndef DP_RDMA_DEVICES_H
#define DP_RDMA_DEVICES_H

#include "owner/netlink.h"

#define DP_DEVICE_NAME_MAX	64	/* with the NUL */

struct dp_device {
	uint32_t index;
	char name[DP_DEVICE_NAME_MAX];
};

/* Initially zero; the caller frees device, even on failure. */
struct dp_device_list {
	uint32_t count;
	struct dp_device *device;
};

int dp_devices_list(struct dp_netlink *netlink, struct dp_device_list *list);

/* 0: a device of that index is listed. -EINVAL: none is. */
int dp_device_check(struct dp_netlink *netlink, uint32_t index);

/* What a device is called now: its name, or "device INDEX". */
void dp_device_name(uint32_t index, char name[DP_DEVICE_NAME_MAX]);

/* Is it proven that every network namespace sees every device? */
bool dp_devices_are_shared(struct dp_netlink *netlink);

/*
 * How many devices sysfs has that are not in the list, which was made before:
 * those that are being removed. A device that came or was renamed meanwhile
 * counts too; the next look will tell. *ret_all: sysfs shows every one.
 */
int dp_devices_count_unlisted(const struct dp_device_list *list, bool *ret_all);

/* Is it proven that no process on the machine has a uverbs file open or mapped? */
bool dp_devices_none_is_open(void);

/* There is no socket of RDMA netlink. Is it proven that the kernel has no RDMA? */
bool dp_devices_have_no_support(void);

#endif
