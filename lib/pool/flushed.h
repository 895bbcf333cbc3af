/* SPDX-License-Identifier: BSD-3-Clause */
/* Did everything that was made durable in a pool reach its NVDIMMs? */
#ifndef DP_FLUSHED_H
#define DP_FLUSHED_H

#include "media/shutdowns.h"
#include "pool/source.h"

/* The result of an open. */
struct dp_flushed {
	struct dp_shutdowns now;
	enum dp_tristate dirty;		/* some of it may not have arrived */
	uint32_t mapping;		/* the NVDIMM whose count differs, in its
					   region */
};

#define DP_FLUSHED_TEXT_SIZE	160u
/* Write the present count of the NVDIMM `mapping`, and the recorded one. The text is
 * meaningful only if the record is of the same NVDIMMs. */
void dp_flushed_counts(const struct dp_flushed *flushed,
		       const struct dp_super *super,
		       char text[DP_FLUSHED_TEXT_SIZE]);

/*
 * super: as it was on media; zeroes for a new pool. fd: any file of the pool, or its
 * device. If needed is set it fails unless everything reached the NVDIMMs:
 *
 * -EOPNOTSUPP  this machine does not report it
 * -EUCLEAN     something may be missing, or the pool has no record
 */
int dp_flushed_check(struct dp_flushed *flushed, const struct dp_source *source,
		     int fd, const struct dp_super *super, bool needed,
		     const struct dp_errmsg *errmsg);

#endif
