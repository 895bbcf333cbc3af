/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether there are rings: an emulator of user programs has none, and a container's
 * filter may forbid them. */
#ifndef RINGS_H
#define RINGS_H

#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The reason why there are none, or NULL. */
static inline const char *lacks_io_uring(void)
{
	static char reason[120];
	struct io_uring_params params = { .flags = 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (fd >= 0) {
		close(fd);
		return NULL;
	}
	/* Without descriptors or memory a test fails, as any other does. */
	if (errno != ENOSYS && errno != EPERM && errno != EACCES)
		return NULL;
	snprintf(reason, sizeof(reason), "io_uring is unavailable here: %s",
		 strerror(errno));
	return reason;
}

#endif
