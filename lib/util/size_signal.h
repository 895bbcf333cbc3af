/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * At RLIMIT_FSIZE the kernel sends SIGXFSZ to the calling thread, which ends the
 * process unless the program handles it, and returns EFBIG. Callers of a library need
 * the errno only, so the signal is blocked meanwhile and removed.
 */
#ifndef DP_SIZE_SIGNAL_H
#define DP_SIZE_SIGNAL_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

static inline bool size_signal_block(sigset_t *ret_before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &set, ret_before);
	sigpending(&set);
	return sigismember(&set, SIGXFSZ);
}

/* was_pending: a SIGXFSZ was pending before the call. It is not of this call, so it is
 * not removed. */
static inline long size_signal_restore(long ret, const sigset_t *before,
				bool was_pending)
{
	const struct timespec now = { 0, 0 };
	int error = errno;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	if (ret < 0 && error == EFBIG && !was_pending)
		sigtimedwait(&set, NULL, &now);
	pthread_sigmask(SIG_SETMASK, before, NULL);
	errno = error;
	return ret;
}

#endif
