/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The check of everything on media: files, superblocks, and what audit checks.
 */
#ifndef DP_CHECK_H
#define DP_CHECK_H

#include "check/report.h"

/*
 * Check an open image; it stores nothing. 0: the check is complete. A negative result
 * is an error, which leaves it incomplete, or what the report's fn returned.
 */
int dp_check(struct dp_report *report, const struct dp_errmsg *errmsg);

#endif
