/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changing what a check found damaged: after all waits of an open, and with a
 * way back.
 */
#ifndef DP_REPAIR_H
#define DP_REPAIR_H

#include "check/report.h"

/*
 * Check, and cure what may be cured. `backup` is the name of the file that has
 * the way back; it must not exist, and is made when something is to change. The
 * report's patches are the caller's to free.
 */
int dp_repair(struct dp_report *report, struct dp_pool_request *request,
	      const char *backup);

/* Put back what a backup has. */
int dp_repair_undo(struct dp_pool_request *request, const char *backup);

#endif
