/* SPDX-License-Identifier: BSD-3-Clause */
#include "grant/states.h"

#include <assert.h>

/* The states in which a revoke can begin. */
#define FREE_STATES	(1u << DP_GRANT_OUT | 1u << DP_GRANT_ASKED | \
			 1u << DP_GRANT_QUARANTINED)

bool dp_grant_may_become(uint32_t from, uint32_t to)
{
	static const uint32_t may_be_from[] = {
		[DP_GRANT_OVER] = 1u << DP_GRANT_ENDING,
		[DP_GRANT_OUT] = 1u << DP_GRANT_OVER,
		[DP_GRANT_ASKED] = FREE_STATES,
		[DP_GRANT_QUEUED] = FREE_STATES,
		[DP_GRANT_ENDING] = FREE_STATES | 1u << DP_GRANT_QUEUED,
		[DP_GRANT_QUARANTINED] = 1u << DP_GRANT_ENDING,
	};

	assert(to < sizeof(may_be_from) / sizeof(may_be_from[0]));
	return may_be_from[to] >> from & 1u;
}
