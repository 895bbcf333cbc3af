/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Child processes of a test. A child is killed when its parent dies, exits with what
 * its function returns, and aborts when a cmocka assertion fails in it. Child and
 * parent exchange messages over a socket. When one process has ended, the other
 * receives the end of the file.
 */
#ifndef CHILD_H
#define CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/wait.h>

struct fixture;

struct child {
	pid_t pid;
	int fd;			/* the parent's end of the socket */
	int result;		/* start_child(): what fn returned */
};

/* Starts a child that runs fn(arg, fd), where fd is its end of the socket. */
struct child fork_child(int (*fn)(void *arg, int fd), void *arg);

/*
 * Starts a child that runs fn(f), and waits until fn has returned: `result` is its
 * result. The child then waits for release_child(), runs `then`, if not NULL, and exits
 * with the negated result.
 */
struct child start_child(struct fixture *f, int (*fn)(struct fixture *f),
			 int (*then)(struct fixture *f));
void release_child(struct child *child);

/*
 * Runs fn(arg) in a child and waits for its end. Returns the exit status, or -signal.
 */
int run_child(int (*fn)(void *arg), void *arg);

/*
 * Messages of a fixed size, for both processes. They return false if the other process
 * has ended.
 */
bool send_message(int fd, const void *message, size_t size);
bool receive_message(int fd, void *message, size_t size);

/* send_step() sends a message of one byte, and await_step() waits for one. */
bool send_step(int fd);
bool await_step(int fd);

/* Waits for the child's end and reaps it. Returns the exit status, or -signal. */
int end_child(struct child *child);

/*
 * The same within ms milliseconds. Returns false, without reaping it, if it lives
 * longer.
 */
bool child_ends_within(struct child *child, int ms, int *ret_status);

/* Both kill the child and reap it. kill_child() asserts that the signal ended it. */
int stop_child(struct child *child);
void kill_child(struct child *child);

/* Kills the child and waits until it is dead, without reaping it. */
void kill_child_unreaped(const struct child *child);

#endif
