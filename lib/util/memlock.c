/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel has two counts of pinned memory. RDMA is limited by the count of the
 * process (VmPin), io_uring by the count of the user, which is the sum of all processes
 * of the user and which no file shows. So the sum for this process may be below the
 * limit when a request is refused; the sentence says so.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "util/cancel.h"
#include "util/memlock.h"

/* The KiB of a line of /proc/self/status, or -1. */
static long long memlock_line(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	return line ? atoll(line + strlen(name)) : -1;
}

static int memlock_read_status(char *status, size_t size)
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -1;
	length = read(fd, status, size - 1);
	close(fd);
	status[length > 0 ? length : 0] = '\0';
	return 0;
}

uint64_t dp_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

static void memlock_limit(char *to, size_t size)
{
	uint64_t limit = dp_memlock();

	if (limit == UINT64_MAX)
		snprintf(to, size, "unlimited");
	else
		snprintf(to, size, "%llu KiB", (unsigned long long)limit >> 10);
}

const char *dp_memlock_text(char text[DP_MEMLOCK_TEXT])
{
	/* open() and read() are cancellation points, and no call of an adapter may end
	 * inside (C1). */
	DP_UNCANCELLED();
	long long pinned = -1, locked = -1;
	char status[4096], limit[32];

	memlock_limit(limit, sizeof(limit));
	if (!memlock_read_status(status, sizeof(status))) {
		pinned = memlock_line(status, "\nVmPin:");
		locked = memlock_line(status, "\nVmLck:");
	}
	if (pinned < 0 || locked < 0)
		snprintf(text, DP_MEMLOCK_TEXT,
			 "RLIMIT_MEMLOCK is %s, and what this process has pinned cannot be read in /proc",
			 limit);
	else
		snprintf(text, DP_MEMLOCK_TEXT,
			 "RLIMIT_MEMLOCK is %s, and this process has %lld KiB pinned and %lld KiB locked (io_uring counts all processes of the user together)",
			 limit, pinned, locked);
	return text;
}
