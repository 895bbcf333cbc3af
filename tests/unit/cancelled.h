/* SPDX-License-Identifier: BSD-3-Clause */
/* A call in a thread that is cancelled at one of the system calls in it. */
#ifndef CANCELLED_H
#define CANCELLED_H

#include <stdbool.h>

struct cancelled {
	unsigned int seen;		/* system calls, up to the cancellation */
	int ret;			/* what the call returned, if it did */
	bool returned;
	bool ended;			/* the cancellation ended the thread */
};

/* Call run(arg) in a thread of its own. at 0: the cancellation is pending before;
 * else it comes in that system call, counted from 1. */
struct cancelled call_cancelled_at(int (*run)(void *arg), void *arg, unsigned int at);

/* A call that is no cancellation point, what it needs and what it left. */
struct uncancelled_call {
	const char *name;
	void (*before)(void);
	int (*run)(void);
	void (*after)(int ret);
};

/* Cancel each at each of its system calls: it must return. use() follows each. */
void cancel_each(const struct uncancelled_call *calls, unsigned int count,
		 void (*use)(void));

/* A call reaches a system call that may be a cancellation point, or is none. */
void system_call(bool is_point);

#endif
