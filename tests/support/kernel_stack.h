/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel function in which a process waits, from /proc/PID/task/TID/stack, which
 * only root can read. A test that needs a process to wait uses this instead of a delay.
 */
#ifndef KERNEL_STACK_H
#define KERNEL_STACK_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define KERNEL_STACK_HANG_S	600	/* limit of a wait that must end */

static inline bool kernel_stack_of_thread(pid_t pid, const char *tid,
					  const char *function)
{
	char path[320], text[4096];
	ssize_t size = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stack", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (size < 0)
		return false;
	text[size] = '\0';
	return strstr(text, function);
}

/*
 * Is a thread of the process, or an io_uring worker of it, in a function whose name
 * contains this?
 */
static inline bool kernel_stack_has(pid_t pid, const char *function)
{
	struct dirent *entry;
	bool found = false;
	char path[32];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' &&
			kernel_stack_of_thread(pid, entry->d_name, function);
	closedir(dir);
	return found;
}

/* Waits until kernel_stack_has() is true. Returns false if that takes too long. */
static inline bool kernel_stack_wait(pid_t pid, const char *function)
{
	for (int ms = 0; ms < KERNEL_STACK_HANG_S * 1000; ms++) {
		if (kernel_stack_has(pid, function))
			return true;
		usleep(1000);
	}
	return false;
}

#endif
