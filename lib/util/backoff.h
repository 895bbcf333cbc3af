/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * W12: when to check again a request that waits in the kernel. Some kernels (6.1 is
 * one) do not wake a call that waits for a pin when the pin ends (kernel.md K11). So
 * such a request is cancelled and submitted again: first after 100 ms, because few pins
 * last longer, then at intervals that double up to a second. The intervals grow because
 * each attempt unmaps the whole file, and its pages must be faulted in again.
 *
 * A request that is cancelled before any worker has begun it shows that the
 * machine is busy, and not that something is pinned. The next request gets twice the
 * time, up to 16 seconds: with a limit of one second, no request would ever begin on a
 * slow machine.
 */
#ifndef DP_BACKOFF_H
#define DP_BACKOFF_H

#include "util/util.h"

#define DP_BACKOFF_FIRST_NS	(100 * 1000000ull)
#define DP_BACKOFF_MAX_NS	(10 * DP_BACKOFF_FIRST_NS)
#define DP_BACKOFF_BUSY_NS	(160 * DP_BACKOFF_FIRST_NS)

struct dp_backoff {
	uint64_t at_ns;
	uint64_t interval_ns;
};

static inline struct dp_backoff dp_backoff_begin(uint64_t now_ns)
{
	return (struct dp_backoff) {
		.at_ns = now_ns + DP_BACKOFF_FIRST_NS,
		.interval_ns = DP_BACKOFF_FIRST_NS,
	};
}

/* Call it when the request is submitted again. unbegun: no worker had begun the
 * cancelled request, or a part of it. */
static inline void dp_backoff_next(struct dp_backoff *backoff, uint64_t now_ns,
				   bool unbegun)
{
	backoff->interval_ns = dp_min(2 * backoff->interval_ns,
				      unbegun ? DP_BACKOFF_BUSY_NS :
					      DP_BACKOFF_MAX_NS);
	backoff->at_ns = now_ns + backoff->interval_ns;
}

#endif
