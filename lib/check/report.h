/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The findings of a check of a pool's media, reported one by one, counted, and, for
 * a repair, with the changes that cure them.
 */
#ifndef DP_REPORT_H
#define DP_REPORT_H

#include <daxpin.h>
#include "check/image.h"
#include "check/patch.h"

struct dp_report {
	daxpin_finding_fn *fn;		/* or NULL */
	void *arg;
	struct dp_patches *patches;	/* of a repair; otherwise NULL */
	struct dp_image *image;
	struct daxpin_check_summary summary;
};

/*
 * Report a finding; its `what` is made from the format. 1: cure it, by
 * dp_report_patch(); 0: go on; negative: stop.
 */
__attribute__((format(printf, 3, 4)))
int dp_report_finding(struct dp_report *report, struct daxpin_finding finding,
		      const char *format, ...);

/* Add a change of the loaded segment's metadata, or of a word of a slab, to the
 * repair. */
int dp_report_patch(struct dp_report *report, uint64_t offset, const void *new,
		    uint32_t length);

#endif
