/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel_files [exchange]: facts of docs/kernel.md about files, their blocks, locks and
 * times, shown with plain system calls on the DAX filesystem that DAXPIN_TEST_FSDAX
 * names. Reads come from a disk that holds them until the test lets them land.
 *
 * `exchange` causes a kernel warning. Afterwards the kernel's count of the users of a
 * page is wrong, and a wait for the end of its use never ends. So run it last.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>
#include "child.h"
#include "held_disk.h"

#define FILE_BYTES (UINT64_C(2) << 20)
#define LENGTH 65536u
#define OLD_BYTE 0x11
#define OTHER_BYTE 0x22

/* A file on the DAX filesystem, all of it allocated and written, and mapped. */
struct file {
	char path[128];
	int fd;
	unsigned char *memory;
};

static const char *directory;
static struct held_disk disk;

static void make_file(struct file *file, const char *where)
{
	snprintf(file->path, sizeof(file->path), "%s/kernel-files-XXXXXX",
		 where);
	file->fd = mkstemp(file->path);
	assert_true(file->fd >= 0);
	assert_int_equal(ftruncate(file->fd, (off_t)FILE_BYTES), 0);
	file->memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_SHARED, file->fd, 0);
	assert_ptr_not_equal(file->memory, MAP_FAILED);
}

static void fill_file(struct file *file, unsigned char byte)
{
	assert_int_equal(fallocate(file->fd, 0, 0, (off_t)FILE_BYTES), 0);
	memset(file->memory, byte, FILE_BYTES);
	assert_int_equal(fsync(file->fd), 0);
}

static void remove_file(struct file *file)
{
	unlink(file->path);
	munmap(file->memory, FILE_BYTES);
	close(file->fd);
}

/* Are all of the first LENGTH bytes of the file equal to this one? */
static bool file_begins_with(const struct file *file, unsigned char byte)
{
	static unsigned char bytes[LENGTH];

	assert_int_equal(pread(file->fd, bytes, LENGTH, 0), LENGTH);
	return bytes[0] == byte && !memcmp(bytes, bytes + 1, LENGTH - 1);
}

static int setup(void **state)
{
	struct file *file = calloc(1, sizeof(*file));

	*state = file;
	if (!file || held_disk_make(&disk))
		return -1;
	make_file(file, directory);
	return 0;
}

/* A test that failed may have left a read in flight. */
static int teardown(void **state)
{
	int ret = held_disk_land(&disk);

	remove_file(*state);
	free(*state);
	return ret | held_disk_remove(&disk);
}

/* ----------------------------------------- K14: blocks move while hardware writes */

static bool exchange_extents(const struct file *file, const struct file *other)
{
	char command[320];

	snprintf(command, sizeof(command), "xfs_io -c 'swapext %s' %s",
		 other->path, file->path);
	return !system(command);
}

static bool is_on_xfs(void)
{
	const char *type = getenv("DAXPIN_TEST_FSTYPE");

	return type && !strcmp(type, "xfs");
}

static void an_exchange_of_extents_does_not_wait_for_a_read(void **state)
{
	int fd = held_disk_open(&disk);
	struct file *file = *state, other;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	if (!is_on_xfs()) {
		print_message("# skipped: %s is not XFS\n", directory);
		close(fd);
		skip();
	}
	fill_file(file, OLD_BYTE);
	make_file(&other, directory);
	fill_file(&other, OTHER_BYTE);
	assert_int_equal(io_uring_queue_init(8, &ring, 0), 0);
	io_uring_prep_read(io_uring_get_sqe(&ring), fd, file->memory, LENGTH, 0);
	assert_int_equal(io_uring_submit(&ring), 1);
	assert_true(held_disk_wait(&disk, 1));
	assert_true(exchange_extents(file, &other));
	assert_true(file_begins_with(file, OTHER_BYTE));
	assert_int_equal(held_disk_land(&disk), 0);
	assert_int_equal(io_uring_wait_cqe(&ring, &cqe), 0);
	assert_int_equal(cqe->res, LENGTH);
	/* The kernel reported success, but the bytes are in the other file. */
	assert_true(file_begins_with(file, OTHER_BYTE));
	assert_true(file_begins_with(&other, HELD_DISK_BYTE));
	io_uring_queue_exit(&ring);
	remove_file(&other);
	close(fd);
}

/* ------------------------------------------------ K17: holes of a full filesystem */

/* Allocates all free space. Returns the file that has it. */
static int fill_filesystem(void)
{
	char path[128];
	off_t end = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/kernel-files-XXXXXX", directory);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	for (off_t size = 1 << 30; size >= 4096; size /= 2)
		while (!fallocate(fd, 0, end, size))
			end += size;
	return fd;
}

static int store_to_it(void *arg)
{
	signal(SIGBUS, SIG_DFL); /* cmocka has a handler */
	*(volatile unsigned char *)arg = 1;
	return 0;
}

static void a_store_to_a_hole_of_a_full_filesystem_is_sigbus(void **state)
{
	int below = open(getenv("DAXPIN_TEST_DISK"), O_RDONLY | O_DIRECT);
	struct file *file = *state;
	int filler = fill_filesystem();
	int stored = run_child(store_to_it, file->memory);
	int got = (int)pread(below, file->memory, 4096, 0);
	int error = got < 0 ? errno : 0;

	close(filler);
	close(below);
	assert_int_equal(stored, -SIGBUS);
	assert_int_equal(got, -1);
	assert_int_equal(error, EFAULT);
}

/* ------------------------------------ K23: what the exit of a process waits for */

static unsigned char *target;

/* In a child: locks the file by a descriptor of its own. */
static bool lock_by_itself(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	return fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB);
}

static int read_synchronously(void *arg, int fd)
{
	struct file *file = arg;
	int from = held_disk_open(&disk);

	(void)fd;
	return lock_by_itself(file->path) && from >= 0 &&
	       pread(from, target, LENGTH, 0) == LENGTH ? 0 : 1;
}

static int read_by_aio(void *arg, int fd)
{
	struct file *file = arg;
	int from = held_disk_open(&disk);
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)from,
		.aio_buf = (uintptr_t)target, .aio_nbytes = LENGTH,
	}, *requests = &request;
	aio_context_t context = 0;

	(void)fd;
	if (!lock_by_itself(file->path) || from < 0 ||
	    syscall(SYS_io_setup, 1, &context) ||
	    syscall(SYS_io_submit, context, 1, &requests) != 1)
		return 1;
	for (;;)
		pause();
}

static void exit_waits_for(struct file *file, int (*read)(void *arg, int fd))
{
	struct child child;
	int status;

	fill_file(file, OLD_BYTE);
	target = file->memory;
	child = fork_child(read, file);
	assert_true(held_disk_wait(&disk, 1));
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_false(child_ends_within(&child, 300, &status));
	assert_true(flock(file->fd, LOCK_EX | LOCK_NB));
	assert_int_equal(held_disk_land(&disk), 0);
	assert_int_equal(end_child(&child), -SIGKILL);
	assert_int_equal(flock(file->fd, LOCK_EX | LOCK_NB), 0);
	assert_true(file_begins_with(file, HELD_DISK_BYTE));
	assert_int_equal(flock(file->fd, LOCK_UN), 0);
}

static void a_killed_process_waits_for_its_read_and_its_aio(void **state)
{
	exit_waits_for(*state, read_synchronously);
	exit_waits_for(*state, read_by_aio);
}

/* ------------------------------------------------------------ K27: kinds of locks */

static int lock_record(int fd, int command, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_len = 1 };

	return fcntl(fd, command, &lock) ? -errno : 0;
}

/* In a child, because a process never conflicts with its own record locks. */
static int is_locked(void *arg)
{
	struct file *file = arg;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

	if (fcntl(file->fd, F_GETLK, &lock))
		return 255;
	return lock.l_type == F_UNLCK ? 0 : lock.l_pid == -1 ? 2 : 1;
}

static void a_record_lock_ends_when_any_descriptor_is_closed(void **state)
{
	struct file *file = *state;
	int second = open(file->path, O_RDWR | O_CLOEXEC);

	assert_true(second >= 0);
	assert_int_equal(lock_record(file->fd, F_SETLK, F_WRLCK), 0);
	assert_int_equal(run_child(is_locked, file), 1);
	close(second);
	assert_int_equal(run_child(is_locked, file), 0);
	/* A lock of the open file description remains, but names no process. */
	second = open(file->path, O_RDWR | O_CLOEXEC);
	assert_int_equal(lock_record(file->fd, F_OFD_SETLK, F_WRLCK), 0);
	close(second);
	assert_int_equal(run_child(is_locked, file), 2);
}

/* ----------------------------------------- K37: what a store does to a file's times */

static bool store_sets_the_time(const char *where)
{
	const struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
	struct file file;
	struct stat st;

	make_file(&file, where);
	fill_file(&file, OLD_BYTE);
	assert_int_equal(munmap(file.memory, FILE_BYTES), 0);
	file.memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			   file.fd, 0);
	assert_ptr_not_equal(file.memory, MAP_FAILED);
	/* A load maps the page: on shmem it is writable then. */
	assert_int_equal(*(volatile unsigned char *)file.memory, OLD_BYTE);
	assert_int_equal(futimens(file.fd, old), 0);
	file.memory[0] = OTHER_BYTE;
	assert_int_equal(msync(file.memory, FILE_BYTES, MS_SYNC), 0);
	assert_int_equal(fstat(file.fd, &st), 0);
	remove_file(&file);
	return st.st_mtim.tv_sec != old[1].tv_sec;
}

static void a_store_to_a_mapped_page_of_shmem_sets_no_time(void **state)
{
	(void)state;
	assert_false(store_sets_the_time("/dev/shm"));
	assert_true(store_sets_the_time(directory));
}

/* ------------------------------------------------------------------ main */

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_store_to_a_hole_of_a_full_filesystem_is_sigbus),
		TEST(a_killed_process_waits_for_its_read_and_its_aio),
		TEST(a_record_lock_ends_when_any_descriptor_is_closed),
		TEST(a_store_to_a_mapped_page_of_shmem_sets_no_time),
	};
	const struct CMUnitTest exchange[] = {
		TEST(an_exchange_of_extents_does_not_wait_for_a_read),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!directory || !getenv("DAXPIN_TEST_DISK")) {
		printf("DAXPIN_TEST_FSDAX names no DAX filesystem, or DAXPIN_TEST_DISK no disk: run it in the lab (./dev lab)\n");
		return 77;
	}
	if (argc > 1 && !strcmp(argv[1], "exchange"))
		return cmocka_run_group_tests(exchange, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
