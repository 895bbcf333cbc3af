/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The check of everything on media: files, superblocks, and what audit checks.
 */
#ifndef DP_CHECK_H
#define DP_CHECK_H

#include "check/report.h"

/*
 * Check an open image; stores nothing. Negative: the result is unknown, with a
 * sentence, or the result of the report's fn.
 */
int dp_check(struct dp_report *report, const struct dp_errmsg *errmsg);

#endif
