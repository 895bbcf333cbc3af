/* SPDX-License-Identifier: BSD-3-Clause */
/* Which memory regions of an RDMA device this process has, by the kernel's list. */
#ifndef DP_OFI_REGIONS_H
#define DP_OFI_REGIONS_H

#include <stdint.h>

/* Those of other processes that the kernel names are not counted. */
struct dp_regions {
	uint32_t own;		/* that a thread of this process registered */
	uint32_t unknown;	/* that no thread is named for: it has ended, or is in
				   another pid namespace */
};

/*
 * Count the regions of the device that has this name. *ret_regions is 0 in all fields
 * only if no region of this process existed at the time of the call.
 *
 * -EAGAIN	regions come and go so fast that no list was complete
 * -ENODEV	the device is not in the kernel's list: it is being removed, or belongs
 *		to another network namespace
 * -ENOMEM
 * -EOPNOTSUPP	the kernel is older than 5.14, and may leave out regions
 * others	RDMA netlink does not answer
 */
int dp_regions_count(const char *device, struct dp_regions *ret_regions);

#endif
