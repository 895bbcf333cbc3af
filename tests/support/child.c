/* SPDX-License-Identifier: BSD-3-Clause */
#include "child.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* ---------------------------------------------------------------- messages */

bool send_message(int fd, const void *message, size_t size)
{
	return send(fd, message, size, MSG_NOSIGNAL) == (ssize_t)size;
}

bool receive_message(int fd, void *message, size_t size)
{
	return recv(fd, message, size, 0) == (ssize_t)size;
}

bool send_step(int fd)
{
	return send_message(fd, "", 1);
}

bool await_step(int fd)
{
	char byte;

	return receive_message(fd, &byte, 1);
}

/* ------------------------------------------------------------------- start */

struct child fork_child(int (*fn)(void *arg, int fd), void *arg)
{
	struct child child = { .result = 0 };
	int ends[2], ret;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				    ends), 0);
	/* Otherwise the child would print what is buffered a second time. */
	fflush(stdout);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (!child.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* A failed assertion must not run the rest of the tests. */
		setenv("CMOCKA_TEST_ABORT", "1", 1);
		close(ends[0]);
		ret = fn(arg, ends[1]);
		/* An exit status has eight bits. A larger result must not become 0. */
		_exit(ret < 0 || ret > 255 ? 255 : ret);
	}
	close(ends[1]);
	child.fd = ends[0];
	return child;
}

struct start {
	struct fixture *f;
	int (*fn)(struct fixture *f);
	int (*then)(struct fixture *f);
};

static int run_start(void *arg, int fd)
{
	const struct start *start = arg;
	int ret = start->fn(start->f);

	if (!send_message(fd, &ret, sizeof(ret)) || !await_step(fd) ||
	    !start->then)
		return 0;
	return -start->then(start->f);
}

struct child start_child(struct fixture *f, int (*fn)(struct fixture *f),
			 int (*then)(struct fixture *f))
{
	struct start start = { f, fn, then };
	struct child child = fork_child(run_start, &start);

	if (!receive_message(child.fd, &child.result, sizeof(child.result)))
		child.result = -EPIPE;
	return child;
}

void release_child(struct child *child)
{
	assert_true(send_step(child->fd));
}

struct call {
	int (*fn)(void *arg);
	void *arg;
};

static int run_call(void *arg, int fd)
{
	const struct call *call = arg;

	(void)fd;
	return call->fn(call->arg);
}

int run_child(int (*fn)(void *arg), void *arg)
{
	struct call call = { fn, arg };
	struct child child = fork_child(run_call, &call);

	return end_child(&child);
}

/* --------------------------------------------------------------------- end */

static int exit_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int end_child(struct child *child)
{
	int status;

	/*
	 * Close the socket first: otherwise a child that waits for a message would
	 * never end.
	 */
	close(child->fd);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	return exit_of(status);
}

bool child_ends_within(struct child *child, int ms, int *ret_status)
{
	pid_t pid = waitpid(child->pid, ret_status, WNOHANG);

	for (int waited = 0; waited < ms && !pid; waited += 10) {
		usleep(10000);
		pid = waitpid(child->pid, ret_status, WNOHANG);
	}
	assert_true(!pid || pid == child->pid);
	if (!pid)
		return false;
	close(child->fd);
	*ret_status = exit_of(*ret_status);
	return true;
}

int stop_child(struct child *child)
{
	kill(child->pid, SIGKILL);
	return end_child(child);
}

void kill_child(struct child *child)
{
	assert_int_equal(stop_child(child), -SIGKILL);
}

void kill_child_unreaped(const struct child *child)
{
	siginfo_t info;

	kill(child->pid, SIGKILL);
	assert_int_equal(waitid(P_PID, child->pid, &info, WEXITED | WNOWAIT),
			 0);
}
