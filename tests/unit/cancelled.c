/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Wrappers, for ld's --wrap, that let a test cancel a thread in a chosen system call.
 * They cover every call of the os seam, except those that are made by syscall() or need
 * no kernel, and the libc functions that the adapters call and that make system calls.
 * syscall() is not a cancellation point, but a cancellation can arrive while the thread
 * is in it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "cancelled.h"
#include "frames.h"
#include "seam_called.h"

struct attempt {
	int (*run)(void *arg);
	void *arg;
	unsigned int at;
	struct cancelled is;
};

static _Thread_local struct attempt *mine;
static _Atomic unsigned int seen_now;

void must(int ret)
{
	assert_int_equal(ret, 0);
}

void system_call(bool is_point)
{
	if (!mine)
		return;
	atomic_fetch_add(&seen_now, 1);
	if (++mine->is.seen == mine->at)
		pthread_cancel(pthread_self());
	if (is_point)
		pthread_testcancel();
}

unsigned int system_calls_until_now(void)
{
	return atomic_load(&seen_now);
}

void forget_system_calls(void)
{
	atomic_store(&seen_now, 0);
}

/* These make no system call, or make it by syscall(), which is seen below. */
void seam_called(const char *name)
{
	static const char *const none[] = {
		"dp_os_futex_wake", "dp_os_now_ns", "dp_os_now_coarse_ns",
		"dp_os_pid", "dp_os_sleep_ns", "dp_os_thread", "dp_os_unmap",
	};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		if (!strcmp(name, none[i]))
			return;
	system_call(true);
}

static void *try_call(void *arg)
{
	struct attempt *attempt = arg;

	pthread_cleanup_push(leave_frames, NULL);
	mine = attempt;
	if (!attempt->at)
		pthread_cancel(pthread_self());
	attempt->is.ret = attempt->run(attempt->arg);
	mine = NULL;
	attempt->is.returned = true;
	pthread_testcancel();
	pthread_cleanup_pop(0);
	return NULL;
}

struct cancelled call_cancelled_at(int (*run)(void *arg), void *arg, unsigned int at)
{
	struct attempt attempt = { .run = run, .arg = arg, .at = at };
	pthread_t thread;
	void *result;

	if (pthread_create(&thread, NULL, try_call, &attempt) ||
	    pthread_join(thread, &result)) {
		fprintf(stderr, "no thread\n");
		_exit(1);
	}
	attempt.is.ended = result == PTHREAD_CANCELED;
	return attempt.is;
}

static int run_call(void *arg)
{
	const struct uncancelled_call *call = arg;

	return call->run();
}

static unsigned int cancel_one(const struct uncancelled_call *call, unsigned int at)
{
	struct uncancelled_call copy = *call;
	struct cancelled c;

	if (call->before)
		call->before();
	c = call_cancelled_at(run_call, &copy, at);
	if (!c.returned)
		fail_msg("%s, cancelled in its system call %u, did not return",
			 call->name, at);
	assert_int_equal(c.ended, at <= c.seen);
	call->after(c.ret);
	return c.seen;
}

unsigned int cancel_each(const struct uncancelled_call *calls, unsigned int count,
			 void (*use)(void))
{
	unsigned int total = 0;

	for (unsigned int i = 0; i < count; i++) {
		unsigned int seen = 0;

		for (unsigned int at = 0; !at || at <= seen; at++) {
			seen = cancel_one(&calls[i], at);
			use();
		}
		print_message("# %s: cancelled at each of %u system calls\n",
			      calls[i].name, seen);
		total += seen;
	}
	return total;
}

/* --------------------------------------------------------------------- libc */

#define WRAP(result, name, parameters, arguments)			\
	result __real_##name parameters;				\
	result __wrap_##name parameters;				\
	result __wrap_##name parameters					\
	{								\
		system_call(true);					\
		return __real_##name arguments;				\
	}

WRAP(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
WRAP(int, close, (int fd), (fd))
WRAP(int, pipe2, (int fd[2], int flags), (fd, flags))
WRAP(FILE *, fopen64, (const char *path, const char *mode), (path, mode))
WRAP(int, fstat64, (int fd, struct stat *to), (fd, to))
WRAP(void *, mmap64, (void *at, size_t size, int prot, int flags, int fd, off_t offset),
     (at, size, prot, flags, fd, offset))
WRAP(int, madvise, (void *at, size_t size, int advice), (at, size, advice))
WRAP(int, munmap, (void *at, size_t size), (at, size))
WRAP(int, nanosleep, (const struct timespec *for_, struct timespec *left), (for_, left))
WRAP(ssize_t, readlink, (const char *path, char *to, size_t size), (path, to, size))
WRAP(int, posix_fallocate64, (int fd, off_t offset, off_t size), (fd, offset, size))

/*
 * Callers pass fewer arguments than this file reads. AddressSanitizer would report the
 * rest as an access to the frame of the function that called.
 */
__attribute__((no_sanitize_address))
static long argument(va_list list)
{
	return va_arg(list, long);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

int __wrap_open64(const char *path, int flags, ...)
{
	va_list list;
	mode_t mode = 0;

	va_start(list, flags);
	if (flags & (O_CREAT | O_TMPFILE))
		mode = va_arg(list, mode_t);
	va_end(list);
	system_call(true);
	return __real_open64(path, flags, mode);
}

int __real_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...);

int __wrap_fcntl64(int fd, int what, ...)
{
	va_list list;
	long with;

	va_start(list, what);
	with = argument(list);
	va_end(list);
	system_call(true);
	return __real_fcntl64(fd, what, with);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/*
 * syscall() is not a cancellation point. Asynchronous cancellation would still end the
 * thread here.
 */
long __wrap_syscall(long number, ...)
{
	va_list list;
	long with[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		with[i] = argument(list);
	va_end(list);
	system_call(false);
	return __real_syscall(number, with[0], with[1], with[2], with[3],
			      with[4], with[5]);
}
