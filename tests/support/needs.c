/* SPDX-License-Identifier: BSD-3-Clause */
#include "needs.h"
#include "child.h"
#include "rings.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

#define PROBE_BYTES	(64u << 20)

static void skip_because(const char *reason)
{
	if (!reason)
		return;
	print_message("# skipped: %s\n", reason);
	skip();
}

static bool skip_all_because(const char *reason)
{
	if (reason)
		printf("1..0 # SKIP %s\n", reason);
	return reason;
}

/* Anonymous memory, with one byte stored. NULL: there is none. */
static char *map_memory(void)
{
	char *memory = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	*memory = 1;
	return memory;
}

/* -------------------------------------------------------------------- rings */

bool has_io_uring(void)
{
	return !lacks_io_uring();
}

bool skip_all_without_io_uring(void)
{
	return skip_all_because(lacks_io_uring());
}

void need_io_uring(void)
{
	skip_because(lacks_io_uring());
}

/* ------------------------------------------------------------------ seccomp */

/* A kernel with filters reads the filter, so a bad address is EFAULT. */
void need_seccomp(void)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) && errno != EFAULT)
		skip_because("filters of seccomp are unavailable here");
}

/* ------------------------------------------------------------------- memory */

static int read_byte(void *memory)
{
	return *(char *)memory;
}

static const char *lacks_wipe_on_fork(void)
{
	char *memory = map_memory();
	int byte;

	assert_non_null(memory);
	assert_int_equal(madvise(memory, 1, MADV_WIPEONFORK), 0);
	byte = run_child(read_byte, memory);
	munmap(memory, 1);
	assert_in_range(byte, 0, 1);
	return byte ? "madvise(MADV_WIPEONFORK) succeeds here and has no effect: a forked child cannot recognise that it is one" :
		      NULL;
}

void need_wipe_on_fork(void)
{
	skip_because(lacks_wipe_on_fork());
}

bool skip_all_without_wipe_on_fork(void)
{
	return skip_all_because(lacks_wipe_on_fork());
}

/* Is there data in the file after that call? */
static bool populates(int fd)
{
	long page = sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(madvise(memory, page, MADV_POPULATE_WRITE), 0);
	munmap(memory, page);
	return !lseek(fd, 0, SEEK_DATA);
}

void need_populate_write(void)
{
	int fd = memfd_create("daxpin-test", MFD_CLOEXEC);
	bool done;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sysconf(_SC_PAGESIZE)), 0);
	done = populates(fd);
	close(fd);
	skip_because(done ? NULL :
		     "madvise(MADV_POPULATE_WRITE) succeeds here and has no effect: files on tmpfs are holes until they are written");
}

void need_genuine_proc(void)
{
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	struct statfs filesystem;
	bool genuine = fd >= 0 && !fstatfs(fd, &filesystem) &&
		       filesystem.f_type == PROC_SUPER_MAGIC;

	if (fd >= 0)
		close(fd);
	skip_because(genuine ? NULL :
		     "what this process reads in /proc/self/stat is not from the kernel here, so its start time is unknown");
}

void need_process_vm(void)
{
	char from = 1, to = 0;
	const struct iovec local = { &from, 1 }, remote = { &to, 1 };

	if (process_vm_writev(getpid(), &local, 1, &remote, 1, 0) != 1 || to != 1)
		skip_because("process_vm_writev() is unavailable here");
}

/* Runs in a child. */
static int map_beyond_the_limit(void *arg)
{
	const struct rlimit limit = { PROBE_BYTES, PROBE_BYTES };

	(void)arg;
	return !setrlimit(RLIMIT_AS, &limit) &&
	       mmap(NULL, PROBE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		       MAP_FAILED;
}

void need_address_limit(void)
{
	skip_because(!run_child(map_beyond_the_limit, NULL) ? NULL :
		     "setrlimit(RLIMIT_AS) succeeds here and has no effect");
}
