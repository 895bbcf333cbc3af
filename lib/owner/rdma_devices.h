/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine's RDMA devices, as RDMA netlink lists them, and whether that list is
 * complete.
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
 * Count the devices that are in sysfs but not in the list, which the caller made
 * before; or -errno. These devices are being removed. A device that was added or
 * renamed since the list was made counts as well; the next call, with a new list,
 * corrects that. *ret_all: true if sysfs is proven to show every device.
 */
int dp_devices_count_unlisted(const struct dp_device_list *list, bool *ret_all);

/* Is it proven that no process on the machine has a uverbs file open or mapped? */
bool dp_devices_none_is_open(void);

/* Is it proven that the kernel has no RDMA? To be called if a socket of RDMA netlink
 * cannot be made. */
bool dp_devices_have_no_support(void);

#endif
