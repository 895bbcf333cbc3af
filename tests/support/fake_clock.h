/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The library's clock, which a test can advance, so that a deadline passes when the
 * test decides. For programs that are linked with -Wl,--wrap=dp_os_now_ns.
 */
#ifndef FAKE_CLOCK_H
#define FAKE_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

static _Atomic uint64_t clock_ahead_ns;
static _Atomic uint64_t clock_stopped_ns;	/* 0: the clock runs */

uint64_t __real_dp_os_now_ns(void);
uint64_t __wrap_dp_os_now_ns(void);
uint64_t __wrap_dp_os_now_ns(void)
{
	const uint64_t stopped_ns = atomic_load(&clock_stopped_ns);

	return (stopped_ns ? stopped_ns : __real_dp_os_now_ns()) +
	       atomic_load(&clock_ahead_ns);
}

static inline void advance_clock(uint64_t ms)
{
	atomic_fetch_add(&clock_ahead_ns, ms * 1000000);
}

/* From now on no time passes except by advance_clock(). */
static inline void stop_clock(void)
{
	atomic_store(&clock_stopped_ns, __real_dp_os_now_ns());
}

/* For the start of a test whose deadline the kernel checks, by its own clock. */
static inline void restore_clock(void)
{
	atomic_store(&clock_ahead_ns, 0);
	atomic_store(&clock_stopped_ns, 0);
}

#endif
