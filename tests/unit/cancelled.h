/* SPDX-License-Identifier: BSD-3-Clause */
/* A call in a thread that is cancelled at one of the system calls in it. */
#ifndef CANCELLED_H
#define CANCELLED_H

#include <stdbool.h>

struct cancelled {
	unsigned int seen;		/* system calls until the cancellation */
	int ret;			/* what the call returned, if it did */
	bool returned;
	bool ended;			/* the cancellation ended the thread */
};

/*
 * Calls run(arg) in a new thread. With at 0 the cancellation is pending before the
 * call; otherwise it arrives in system call number `at`, counted from 1.
 */
struct cancelled call_cancelled_at(int (*run)(void *arg), void *arg, unsigned int at);

/* A call that is not a cancellation point, with its preparation and its clean-up. */
struct uncancelled_call {
	const char *name;
	void (*before)(void);
	int (*run)(void);
	void (*after)(int ret);
};

/*
 * Makes each call once for each of its system calls, with a cancellation in that one,
 * and asserts that the call returns. Calls use() after each. Returns the number of
 * system calls that they made.
 */
unsigned int cancel_each(const struct uncancelled_call *calls, unsigned int count,
			 void (*use)(void));

/*
 * Every wrapper of a system call calls this. With is_point the system call is a
 * cancellation point.
 */
void system_call(bool is_point);
/*
 * The number of system calls that the thread of call_cancelled_at() has made since they
 * were forgotten. For any thread.
 */
unsigned int system_calls_until_now(void);
void forget_system_calls(void);
/* A fake device calls this, since a real one may make a system call here. */
static inline void in_the_device(void)
{
	system_call(true);
}

/* Asserts that a call returned 0. */
void must(int ret);

#endif
