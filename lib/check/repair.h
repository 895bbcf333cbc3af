/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repairs what a check found damaged, after all waits of an open except for the layout
 * barrier. The backup that it writes can undo it.
 */
#ifndef DP_REPAIR_H
#define DP_REPAIR_H

#include "check/report.h"

/*
 * Check, and make the agreed changes. `backup` is the name of the file with the former
 * contents; it must not exist, and is created if there is a change. The caller frees
 * the report's patches.
 */
int dp_repair(struct dp_report *report, struct dp_pool_request *request,
	      const char *backup);

/* Put back what a backup has. */
int dp_repair_undo(struct dp_pool_request *request, const char *backup);

#endif
