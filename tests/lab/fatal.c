/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fatal FAULT: makes a sequence of calls that crashes the kernel, according to
 * docs/kernel.md K3 or docs/rdma.md R5. tests/lab/kernel_faults runs it, each time in a
 * new guest.
 *
 *   invalidate	a window of type 2 is invalidated twice
 *   region		the device is unbound under a region, which is then deregistered
 *   ring		the same under a registered buffer of io_uring
 *   write		like region, but a peer writes to the region instead
 *   namespace	like region, but `ndctl disable-namespace` takes the device away
 *   on-demand	the same under an on-demand region: the kernel must survive it
 *
 * A line in the kernel's log precedes the step that must be fatal, and another one
 * follows if the kernel survived. An oops is made a panic, so that it ends the guest.
 * Exit status 77: this kernel cannot do what comes before the fatal step.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include "rdma_ends.h"
#ifdef HAVE_URING
#include <liburing.h>
#endif

#define PINNED_BYTES (UINT64_C(64) << 20)
#define ON_DEMAND (ALL_ACCESS | IBV_ACCESS_ON_DEMAND)

static unsigned char *memory;
static sigjmp_buf after_sigbus;

static void require(bool true_that, const char *what)
{
	if (true_that)
		return;
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void cannot(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(77);
}

/* Writes a word to a file, and exits if that fails. */
static void write_word(const char *path, const char *word)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	require(fd >= 0, path);
	require(write(fd, word, strlen(word)) == (ssize_t)strlen(word), path);
	close(fd);
}

/* Writes to the console, which shows all that the kernel printed before it ended. */
static void log_line(const char *text)
{
	char line[128];

	snprintf(line, sizeof(line), "<4>daxpin: %s\n", text);
	write_word("/dev/kmsg", line);
}

static void open_ends(struct ends **ret_ends)
{
	void *state = NULL;

	require(!ends_setup(&state), "two ends of a connection");
	*ret_ends = state;
}

/* ----------------------------------------------------------------- faults */

static void invalidate_twice(void)
{
	struct ends *e;
	struct ibv_mw *mw;

	open_ends(&e);
	mw = bind_near_window(e);
	require(invalidate(e, mw->rkey) == IBV_WC_SUCCESS,
		"the first invalidate");
	log_line("fatal step");
	printf("the second invalidate: %d\n", invalidate(e, mw->rkey));
}

static void map_device(const char *device)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	require(fd >= 0, device);
	memory = mmap(NULL, PINNED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	require(memory != MAP_FAILED, "mmap");
	close(fd);
	memset(memory, OLD_PATTERN, PINNED_BYTES);
}

static void unbind(const char *device)
{
	write_word("/sys/bus/dax/drivers/device_dax/unbind",
		   strrchr(device, '/') + 1);
}

static void disable(const char *device)
{
	(void)device;
	require(!system("ndctl disable-namespace namespace0.0"), "ndctl");
}

static void jump(int signal)
{
	(void)signal;
	siglongjmp(after_sigbus, 1);
}

/* Removes the device from the kernel, and then requires that a load is SIGBUS. */
static void take_away(const char *device, void (*remove)(const char *device))
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	remove(device);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("removed after %ld ms\n",
	       (end.tv_sec - start.tv_sec) * 1000 +
		       (end.tv_nsec - start.tv_nsec) / 1000000);
	signal(SIGBUS, jump);
	if (!sigsetjmp(after_sigbus, 1))
		printf("a load returned %d\n",
		       *(volatile unsigned char *)memory);
	else
		printf("a load was SIGBUS\n");
	fflush(stdout);
}

static void remove_under_a_region(const char *device, int access, bool writes,
				  void (*remove)(const char *device))
{
	struct transfer write;
	struct ibv_mr *mr;
	struct ends *e;

	open_ends(&e);
	map_device(device);
	mr = ibv_reg_mr(e->nic.pd, memory, PINNED_BYTES, access);
	if (!mr)
		cannot("ibv_reg_mr()");
	take_away(device, remove);
	log_line("fatal step");
	if (writes) {
		write = far_write(e, 4096);
		write.remote = (uintptr_t)memory;
		write.rkey = mr->rkey;
		printf("a write: %d\n", wire_transfer(&e->far, &write));
	}
	printf("ibv_dereg_mr(): %d\n", ibv_dereg_mr(mr));
}

static void remove_under_a_ring(const char *device)
{
#ifdef HAVE_URING
	struct iovec iov;
	struct io_uring ring;

	require(!io_uring_queue_init(8, &ring, 0), "a ring");
	map_device(device);
	iov = (struct iovec){ memory, PINNED_BYTES };
	errno = -io_uring_register_buffers(&ring, &iov, 1);
	if (errno)
		cannot("io_uring_register_buffers()");
	take_away(device, unbind);
	log_line("fatal step");
	printf("io_uring_unregister_buffers(): %d\n",
	       io_uring_unregister_buffers(&ring));
#else
	(void)device;
	cannot("built without liburing");
#endif
}

/* ------------------------------------------------------------------- main */

int main(int argc, char **argv)
{
	const char *fault = argc == 2 ? argv[1] : "";
	const char *device = getenv("DAXPIN_TEST_DAX");

	rdma_device = getenv("DAXPIN_TEST_RDMA");
	if (!rdma_device || !device || !getenv("DAXPIN_TEST_KERNEL"))
		cannot("only in the lab's guest: tests/lab/kernel_faults");
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	write_word("/proc/sys/kernel/panic_on_oops", "1");
	if (!strcmp(fault, "invalidate"))
		invalidate_twice();
	else if (!strcmp(fault, "region"))
		remove_under_a_region(device, ALL_ACCESS, false, unbind);
	else if (!strcmp(fault, "write"))
		remove_under_a_region(device, ALL_ACCESS, true, unbind);
	else if (!strcmp(fault, "namespace"))
		remove_under_a_region(device, ALL_ACCESS, false, disable);
	else if (!strcmp(fault, "on-demand"))
		remove_under_a_region(device, ON_DEMAND, true, unbind);
	else if (!strcmp(fault, "ring"))
		remove_under_a_ring(device);
	else
		return 2;
	log_line("survived");
	return 0;
}
