/* SPDX-License-Identifier: BSD-3-Clause */
/* Did all that was made durable in a pool arrive on its NVDIMMs? */
#ifndef DP_FLUSHED_H
#define DP_FLUSHED_H

#include "media/shutdowns.h"
#include "pool/source.h"

/* What an open found out. */
struct dp_flushed {
	struct dp_shutdowns now;
	enum dp_tristate dirty;		/* some of it may not have arrived */
	uint32_t mapping;		/* of the NVDIMM that says so, in its region */
};

#define DP_FLUSHED_TEXT_SIZE	160u
/* What the NVDIMM that decided counts, and what it had; of the same NVDIMMs only. */
void dp_flushed_counts(const struct dp_flushed *flushed,
		       const struct dp_super *super,
		       char text[DP_FLUSHED_TEXT_SIZE]);

/*
 * By the superblock as it was found, which is all zero for a new pool, and any file of
 * the pool, or its device. needed: only if it did.
 *
 * -EUCLEAN     it may not have, or that is not recorded
 * -EOPNOTSUPP  this machine does not say
 */
int dp_flushed_look(struct dp_flushed *flushed, const struct dp_source *source,
		    int fd, const struct dp_super *super, bool needed,
		    const struct dp_errmsg *errmsg);

#endif
