/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread that does not run makes no progress, and its clock goes on. So a wait ends
 * only when the thread has also made a number of steps and has run for a part of the
 * time.
 */
#include "ofi/wait.h"

#include <assert.h>
#include <daxpin-ofi.h>
#include <time.h>

#define STEPS_MIN	1000
#define CPU_SHARE	40		/* the thread runs for 1/40 of the time */

static uint64_t wait_cpu_ns(void)
{
	struct timespec now;
	int ret = clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);

	assert(!ret);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct dp_wait dp_wait_for(uint64_t ms)
{
	return (struct dp_wait){
		.end = daxpin_deadline_ms(ms),
		.cpu_end = wait_cpu_ns() + ms * 1000000 / CPU_SHARE,
	};
}

bool dp_wait_has_time(const struct dp_wait *wait)
{
	return daxpin_deadline_ms(0) < wait->end || wait_cpu_ns() < wait->cpu_end;
}

bool dp_waits(struct dp_wait *wait)
{
	return wait->steps++ < STEPS_MIN || dp_wait_has_time(wait);
}
