/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests, from prep to their last CQE. */
#ifndef DP_URING_PREP_H
#define DP_URING_PREP_H

#include "uring/types.h"

/* The kernel has freed the ring: end all of its requests, whose CQEs were not
 * processed. The ring has no buffer slots any more. */
void dp_uring_requests_end(struct daxpin_uring *uring);

#endif
