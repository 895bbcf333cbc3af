/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel_can ABILITY...: exits 0 if the kernel has every ABILITY, otherwise 77 with a
 * sentence on what it lacks. For tests that cannot run at all without one:
 *
 *   io_uring         there are rings
 *   device-buffers   memory of device-dax can be registered with a ring (6.5)
 *   shmem-allocate   fallocate() on tmpfs continues at a signal
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "../support/rings.h"

#define BYTES		((size_t)2 << 20)

static int ring(void)
{
	struct io_uring_params params = { 0 };

	return (int)syscall(SYS_io_uring_setup, 4, &params);
}

static int ring_register(unsigned int what, void *arg, unsigned int count)
{
	return (int)syscall(SYS_io_uring_register, ring(), what, arg, count);
}

static bool io_uring(void)
{
	return !lacks_io_uring();
}

static bool device_buffers(void)
{
	const char *path = getenv("DAXPIN_TEST_DAX");
	int fd = path ? open(path, O_RDWR) : -1;
	struct iovec buffer = { .iov_len = BYTES };

	if (fd < 0)
		return true;		/* the test reports that itself */
	buffer.iov_base = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			       fd, 0);
	return buffer.iov_base != MAP_FAILED &&
	       !ring_register(IORING_REGISTER_BUFFERS, &buffer, 1);
}

static void ignore(int number)
{
	(void)number;
}

static bool shmem_allocate(void)
{
	const struct itimerval timer = { { 0, 5000 }, { 0, 5000 } }, off = { 0 };
	struct sigaction action = { .sa_handler = ignore };
	int fd = memfd_create("kernel_can", 0);
	bool done;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	done = !fallocate(fd, 0, 0, (off_t)64 << 20) || errno != EINTR;
	setitimer(ITIMER_REAL, &off, NULL);
	return done;
}

static const struct ability {
	const char *name;
	bool (*is_there)(void);
	const char *lack;
} abilities[] = {
	{ "io_uring", io_uring, "has no io_uring for this program" },
	{ "device-buffers", device_buffers,
	  "does not register device-dax memory with a ring (Linux 6.5 and later)" },
	{ "shmem-allocate", shmem_allocate,
	  "interrupts fallocate() on tmpfs at any signal" },
};

static bool has(const char *name)
{
	const size_t count = sizeof(abilities) / sizeof(abilities[0]);
	struct utsname system;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(abilities[i].name, name))
			continue;
		if (abilities[i].is_there())
			return true;
		uname(&system);
		printf("# skipped: Linux %s %s\n", system.release,
		       abilities[i].lack);
		return false;
	}
	fprintf(stderr, "kernel_can: unknown ability %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!has(argv[i]))
			return 77;
	return 0;
}
