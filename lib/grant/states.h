/* SPDX-License-Identifier: BSD-3-Clause */
/* The states of a grant, which are the same on verbs and on libfabric. */
#ifndef DP_GRANT_STATES_H
#define DP_GRANT_STATES_H

#include <stdbool.h>
#include <stdint.h>

enum dp_grant_state {
	DP_GRANT_OVER,		/* or new */
	DP_GRANT_OUT,		/* the peer may use it */
	DP_GRANT_ASKED,		/* asked back, the grace has not ended */
	DP_GRANT_QUEUED,	/* waits for a thread that ends it */
	DP_GRANT_ENDING,	/* a thread is ending it */
	DP_GRANT_QUARANTINED,	/* its access could not be ended */
};

/* May a grant move from one state to the other? */
bool dp_grant_may_become(uint32_t from, uint32_t to);

#endif
