/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies from the pool's memory without a system call. A load of bad memory is SIGBUS
 * in the thread that loads. The handler then jumps back into copy_out() of that thread,
 * which calls daxpin_read() for the cause. A SIGBUS that is of no copy_out() gets the
 * action that SIGBUS had before.
 *
 * daxpin_read() alone would be a system call for each block of a request: for blocks of
 * 4 KiB more than twice the time of these copies.
 */
#include "engine.h"
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users;		/* caches that are open */
static struct sigaction before;
static _Thread_local sigjmp_buf *volatile copying;

static void do_before(int signal, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(signal);
	} else if (before.sa_handler == SIG_DFL || info->si_code > 0) {
		/* It ends the process; the kernel ignores no fault. */
		sigaction(SIGBUS, &before, NULL);
		raise(signal);		/* delivered when the handler returns */
	}
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *interrupted = context;

	if (!copying) {
		do_before(signal, info, context);
		return;
	}
	/* The jump does not do that, and SIGBUS would remain blocked. */
	pthread_sigmask(SIG_SETMASK, &interrupted->uc_sigmask, NULL);
	siglongjmp(*copying, 1);
}

void copy_start(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO,
	};

	pthread_mutex_lock(&mutex);
	if (!users++)
		sigaction(SIGBUS, &action, &before);
	pthread_mutex_unlock(&mutex);
}

void copy_stop(void)
{
	pthread_mutex_lock(&mutex);
	if (!--users)
		sigaction(SIGBUS, &before, NULL);
	pthread_mutex_unlock(&mutex);
}

static bool load(void *to, const void *from, uint32_t count)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0)) {
		copying = NULL;
		return false;
	}
	copying = &here;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(to, from, count);
	atomic_signal_fence(memory_order_seq_cst);
	copying = NULL;
	return true;
}

int copy_out(struct cache *cache, struct daxpin_extent extent, uint32_t at,
	     uint32_t count, void *to)
{
	const void *from = daxpin_ptr(cache->pool, extent, at);

	if (from && load(to, from, count))
		return 0;
	return daxpin_read(cache->pool, extent, at, count, to);
}
