/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring's buffer table, before anything is in it. */
#ifndef DP_URING_BUFFER_TABLE_H
#define DP_URING_BUFFER_TABLE_H

#include "uring/types.h"

/* Make a table of empty slots. Returns 0, or -errno. Writes errmsg if the ring has a
 * table or restrictions. */
int dp_uring_make_table(const struct dp_uring_link *link, uint32_t slots,
			const struct daxpin_uring_options *options);
/* Check that a range of the program's table is free. Returns 0, or -errno. Writes
 * errmsg if it is not free, or there is no such range. */
int dp_uring_take_range(const struct dp_uring_link *link, uint32_t first,
			uint32_t count,
			const struct daxpin_uring_options *options);
/* The segments that the pool has now: a grow adds some. */
uint32_t dp_uring_count_segments(const struct daxpin_uring *uring);
/* Returns -ENOMEM, and writes to errmsg how many bytes an attach must register. */
int dp_uring_refuse_memory(uint64_t bytes,
			   const struct daxpin_uring_options *options);

#endif
