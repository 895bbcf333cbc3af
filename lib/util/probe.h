/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Static probes for tracers (perf, bpftrace, SystemTap). Each is a no-op instruction; a
 * note in the library has its address and the locations of its arguments. They are in
 * every build that has sys/sdt.h; the section PROBES of daxpin(7) is for their users.
 *
 * pool: the address of struct daxpin_pool, as an identifier. addr: a pool
 * address. A probe fires after the step that it reports, so probes of two threads may
 * fire in the opposite order of their steps. Arguments are values that the caller
 * already has. They must not be read from the pool's memory, because another thread may
 * have closed the pool.
 */
#ifndef DP_PROBE_H
#define DP_PROBE_H

#ifdef DP_HAVE_SDT
#include <sys/sdt.h>
#define DP_PROBE3(name, a, b, c)	DTRACE_PROBE3(daxpin, name, a, b, c)
#define DP_PROBE4(name, a, b, c, d)	DTRACE_PROBE4(daxpin, name, a, b, c, d)
#define DP_PROBE5(name, a, b, c, d, e)	\
	DTRACE_PROBE5(daxpin, name, a, b, c, d, e)
#define DP_PROBE6(name, a, b, c, d, e, f)	\
	DTRACE_PROBE6(daxpin, name, a, b, c, d, e, f)
#else
#define DP_PROBE3(name, a, b, c)	((void)(a), (void)(b), (void)(c))
#define DP_PROBE4(name, a, b, c, d)	(DP_PROBE3(name, a, b, c), (void)(d))
#define DP_PROBE5(name, a, b, c, d, e)	(DP_PROBE4(name, a, b, c, d), (void)(e))
#define DP_PROBE6(name, a, b, c, d, e, f)	\
	(DP_PROBE5(name, a, b, c, d, e), (void)(f))
#endif

/* [addr, addr + bytes) was reserved. */
#define DP_PROBE_RESERVE(pool, addr, generation, bytes) \
	DP_PROBE4(reserve, pool, addr, generation, bytes)

/* A reserve found no free run of so many bytes. */
#define DP_PROBE_NO_SPACE(pool, bytes, result) \
	DP_PROBE3(no_space, pool, bytes, result)

/* A publish of `count` operations begins; addr: the extent of the first operation. */
#define DP_PROBE_PUBLISH_BEGIN(pool, count, addr) \
	DP_PROBE3(publish_begin, pool, count, addr)

/* The publish has ended. Both probes fire in the thread that calls it, so the time
 * between them is the cost of durability. */
#define DP_PROBE_PUBLISH(pool, count, result) \
	DP_PROBE3(publish, pool, count, result)

/*
 * An open or create waits for `owner` (enum daxpin_owner) and has waited waited_ns.
 * There is no pool yet. Fires about every 10 ms.
 */
#define DP_PROBE_WAIT(owner, pid, waited_ns) \
	DP_PROBE3(wait, owner, pid, waited_ns)

/*
 * `holds` holds were taken at once, and the extent then had `count` holds. A hold that
 * meets a closed gate is reported as taken and then as dropped.
 */
#define DP_PROBE_HOLD(pool, addr, generation, holds, count, write) \
	DP_PROBE6(hold, pool, addr, generation, holds, count, write)

/* `holds` holds were dropped at once, and the extent then had `count` holds. */
#define DP_PROBE_DROP(pool, addr, generation, holds, count) \
	DP_PROBE5(drop, pool, addr, generation, holds, count)

/* The last hold of the extent was dropped. */
#define DP_PROBE_IDLE(pool, addr, generation) \
	DP_PROBE3(idle, pool, addr, generation)

/* The extent was retired or cancelled while it had `count` holds; if 0, it is free. */
#define DP_PROBE_RETIRE(pool, addr, generation, count) \
	DP_PROBE4(retire, pool, addr, generation, count)

/* [addr, addr + bytes) was given back to the filesystem, or result has the error. */
#define DP_PROBE_PUNCH(pool, addr, bytes, result) \
	DP_PROBE4(punch, pool, addr, bytes, result)

/* The same for taking it back from the filesystem. */
#define DP_PROBE_REFILL(pool, addr, bytes, result) \
	DP_PROBE4(refill, pool, addr, bytes, result)

/* A punch or refill was interrupted or cancelled; result: for example -EINTR. */
#define DP_PROBE_CANCEL(pool, addr, bytes, result) \
	DP_PROBE4(cancel, pool, addr, bytes, result)

/*
 * The device or kernel was asked to end a registration or grant over the range; result:
 * 0 if it has ended, or -errno. label is a string.
 */
#define DP_PROBE_REVOKE(pool, addr, bytes, label, result) \
	DP_PROBE5(revoke, pool, addr, bytes, label, result)

#endif
