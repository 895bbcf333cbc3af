/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty shutdowns: power failed before the platform had written all fenced stores to an
 * NVDIMM. Stores are then lost that a fence had made durable, and no order of stores
 * prevents this. The NVDIMMs count dirty shutdowns; a pool records their counts.
 */
#ifndef DP_SHUTDOWNS_H
#define DP_SHUTDOWNS_H

#include "media/layout.h"
#include "util/util.h"

/* The NVDIMMs of a medium, from sysfs. */
struct dp_shutdowns {
	uint64_t nvdimms;		/* a digest of their ids; 0: unknown */
	uint32_t mappings;		/* the number of NVDIMMs */
	uint64_t count[DP_NVDIMMS_MAX];	/* of each; the rest is 0 */
};

/* The NVDIMMs of a device-dax device, or of the block device under an open file. */
struct dp_shutdowns dp_shutdowns_of_device(const char *device);
struct dp_shutdowns dp_shutdowns_of_disk(int fd);

/*
 * Was there a dirty shutdown while the pool was not closed? Compares the counts in the
 * superblock with the present ones. Unknown if the present ones are unknown. Otherwise
 * DP_NO if the pool was closed. If it was not: unknown if the recorded ones are unknown
 * or of other NVDIMMs, or if a count is lower than before and none is higher.
 * *ret_mapping: if the NVDIMMs are the same and the result is not DP_NO, the index of
 * the count that differs.
 */
enum dp_tristate dp_shutdowns_compare(const struct dp_super *super,
				      const struct dp_shutdowns *now,
				      uint32_t *ret_mapping);

/*
 * Record the count in the superblock of an open, if it found the pool closed. Other
 * opens leave the recorded count, because otherwise a second crash would hide the
 * first.
 */
void dp_shutdowns_record(struct dp_super *super,
			 const struct dp_shutdowns *now);

#endif
