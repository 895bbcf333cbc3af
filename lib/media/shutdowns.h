/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty shutdowns: power that failed before everything on its way to an NVDIMM had
 * arrived there. Then bytes are missing that were fenced, which no order of stores
 * can make up for. The NVDIMMs count them; a pool records what they had counted.
 */
#ifndef DP_SHUTDOWNS_H
#define DP_SHUTDOWNS_H

#include "media/layout.h"
#include "util/util.h"

/* What sysfs says of the NVDIMMs under a medium. */
struct dp_shutdowns {
	uint64_t nvdimms;		/* which ones; 0: it is not known */
	uint32_t mappings;		/* how many */
	uint64_t count[DP_NVDIMMS_MAX];	/* of each; zeroes past these */
};

/* A device-dax device; the block device under an open file. */
struct dp_shutdowns dp_shutdowns_of_device(const char *device);
struct dp_shutdowns dp_shutdowns_of_disk(int fd);

/*
 * Was there one while the pool was not closed, by its superblock and what is counted
 * now? Unknown where either is not known, or is of other NVDIMMs, or one counts less
 * than before and none more. *ret_mapping: of the one that decided, where they are the
 * same NVDIMMs and the answer is not DP_NO.
 */
enum dp_tristate dp_shutdowns_compare(const struct dp_super *super,
				      const struct dp_shutdowns *now,
				      uint32_t *ret_mapping);

/*
 * For the superblock of an open: only one that found the pool closed records the
 * count. The others keep what is there, or a second crash would hide the first.
 */
void dp_shutdowns_record(struct dp_super *super,
			 const struct dp_shutdowns *now);

#endif
