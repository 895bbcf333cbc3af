/* SPDX-License-Identifier: BSD-3-Clause */
/* One call at a time changes the size of a pool. */
#ifndef RESIZE_H
#define RESIZE_H

#include "fixture.h"

/*
 * Neither call may begin. The sentence is compared, because a shrink that began returns
 * -EBUSY at its deadline, too. Without a deadline it would wait for ever. Results are
 * counted in *ret_wrong and not asserted: an assertion would leave the library's call
 * that this runs in, and a close would wait for its end.
 */
static inline void try_to_resize(struct daxpin_pool *pool, uint64_t larger,
				 uint64_t smaller, uint32_t *ret_wrong)
{
	char errmsg[256] = "";
	const struct daxpin_shrink_options shrink = {
		.size = sizeof(shrink), .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	const struct daxpin_pool_options grow = {
		.size = sizeof(grow), .errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = daxpin_pool_shrink(pool, smaller, &shrink);

	if (ret != -EBUSY || !strstr(errmsg, "another call grows or shrinks")) {
		print_error("a shrink beside another call: %d, %s\n", ret, errmsg);
		++*ret_wrong;
	}
	ret = daxpin_pool_grow(pool, larger, &grow);
	if (ret != -EBUSY || !strstr(errmsg, "another call grows or shrinks")) {
		print_error("a grow beside another call: %d, %s\n", ret, errmsg);
		++*ret_wrong;
	}
}

#endif
