/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A look at everything on media: files, superblocks, and what audit looks at.
 */
#ifndef DP_CHECK_H
#define DP_CHECK_H

#include "check/report.h"

/*
 * Walk an open image; stores nothing. Negative: it cannot be told, with a
 * sentence, or what the report's fn returned.
 */
int dp_check(struct dp_report *report, const struct dp_errmsg *errmsg);

#endif
