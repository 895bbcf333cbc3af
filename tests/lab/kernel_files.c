/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel_files [exchange | reflink]: facts of docs/kernel.md about files, their blocks,
 * locks and times, shown with plain system calls on the DAX filesystem that
 * DAXPIN_TEST_FSDAX names. Reads come from a disk that holds them until the test lets
 * them land.
 *
 * `reflink` makes an XFS with reflinks on the same device, in the lab only, and leaves
 * an empty one without reflinks.
 *
 * `exchange` causes a kernel warning. Afterwards the kernel's count of the users of a
 * page is wrong, and a wait for the end of its use never ends. So run it last.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>
#include "child.h"
#include "held_disk.h"

#define FILE_BYTES (UINT64_C(2) << 20)
#define LENGTH 65536u
#define CLONE_MS 10000 /* of a clone that need not wait */
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

static void map_again(struct file *file)
{
	file->memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
			    file->fd, 0);
	assert_ptr_not_equal(file->memory, MAP_FAILED);
}

static void make_file(struct file *file, const char *where)
{
	snprintf(file->path, sizeof(file->path), "%s/kernel-files-XXXXXX",
		 where);
	file->fd = mkstemp(file->path);
	assert_true(file->fd >= 0);
	assert_int_equal(ftruncate(file->fd, (off_t)FILE_BYTES), 0);
	map_again(file);
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

/* Starts a read into the file's first bytes, which the disk then has. */
static void start_read(struct io_uring *ring, int fd, const struct file *file)
{
	assert_int_equal(io_uring_queue_init(8, ring, 0), 0);
	io_uring_prep_read(io_uring_get_sqe(ring), fd, file->memory, LENGTH, 0);
	assert_int_equal(io_uring_submit(ring), 1);
	assert_true(held_disk_wait(&disk, 1));
}

/* Lets the read land. All bytes were read, wherever they are. */
static void land_read(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;

	assert_int_equal(held_disk_land(&disk), 0);
	assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
	assert_int_equal(cqe->res, LENGTH);
	io_uring_queue_exit(ring);
}

static void an_exchange_of_extents_does_not_wait_for_a_read(void **state)
{
	int fd = held_disk_open(&disk);
	struct file *file = *state, other;
	struct io_uring ring;

	if (!is_on_xfs()) {
		print_message("# skipped: %s is not XFS\n", directory);
		close(fd);
		skip();
	}
	fill_file(file, OLD_BYTE);
	make_file(&other, directory);
	fill_file(&other, OTHER_BYTE);
	start_read(&ring, fd, file);
	assert_true(exchange_extents(file, &other));
	assert_true(file_begins_with(file, OTHER_BYTE));
	land_read(&ring);
	/* The kernel reported success, but the bytes are in the other file. */
	assert_true(file_begins_with(file, OTHER_BYTE));
	assert_true(file_begins_with(&other, HELD_DISK_BYTE));
	remove_file(&other);
	close(fd);
}

/* ------------------------------------------------------------- K15: shared blocks */

struct clone {
	int from, to;
};

static int clone_file(void *arg, int fd)
{
	const struct clone *clone = arg;

	(void)fd;
	return ioctl(clone->to, FICLONE, clone->from) ? errno : 0;
}

/* Starts to clone the file during a read into it. Returns true if that waits. */
static bool clone_waits(struct clone *clone, struct child *child)
{
	int status;

	*child = fork_child(clone_file, clone);
	if (!child_ends_within(child, 300, &status))
		return true;
	assert_int_equal(status, 0);
	return false;
}

/* Returns true if the clone ends by itself. On 6.1 it does not (kernel.md K11). */
static bool clone_ends(struct child *child)
{
	int status;

	if (!child_ends_within(child, CLONE_MS, &status)) {
		print_message("# the end of the read does not wake the clone\n");
		stop_child(child);
		return false;
	}
	assert_int_equal(status, 0);
	return true;
}

static void a_clone_waits_for_a_read_into_a_mapped_file(void **state)
{
	int fd = held_disk_open(&disk);
	struct file *file = *state, other;
	struct io_uring ring;
	struct child child;

	fill_file(file, OLD_BYTE);
	make_file(&other, directory);
	start_read(&ring, fd, file);
	assert_true(clone_waits(&(struct clone){ file->fd, other.fd }, &child));
	land_read(&ring);
	if (clone_ends(&child))
		assert_true(file_begins_with(&other, HELD_DISK_BYTE));
	assert_true(file_begins_with(file, HELD_DISK_BYTE));
	remove_file(&other);
	close(fd);
}

/* Up to 6.12 the clone does not wait, so the store moves the block during the read. */
static void a_clone_of_an_unmapped_file_waits_on_new_kernels_only(void **state)
{
	const char *kernel = getenv("DAXPIN_TEST_KERNEL");
	int fd = held_disk_open(&disk);
	struct file *file = *state, other;
	struct io_uring ring;
	struct child child;
	bool waits;

	fill_file(file, OLD_BYTE);
	make_file(&other, directory);
	start_read(&ring, fd, file);
	assert_int_equal(munmap(file->memory, FILE_BYTES), 0);
	waits = clone_waits(&(struct clone){ file->fd, other.fd }, &child);
	map_again(file);
	assert_int_equal(waits, !strcmp(kernel, "idle-at-zero"));
	if (!waits)
		memset(file->memory, OTHER_BYTE, LENGTH);
	land_read(&ring);
	assert_true(!waits || clone_ends(&child));
	assert_true(file_begins_with(file, waits ? HELD_DISK_BYTE : OTHER_BYTE));
	assert_true(file_begins_with(&other, HELD_DISK_BYTE));
	remove_file(&other);
	close(fd);
}

static void a_read_into_a_shared_block_goes_to_a_block_of_its_own(void **state)
{
	int fd = held_disk_open(&disk);
	struct file *file = *state, other;
	struct io_uring ring;

	fill_file(file, OLD_BYTE);
	make_file(&other, directory);
	assert_int_equal(clone_file(&(struct clone){ file->fd, other.fd }, -1), 0);
	start_read(&ring, fd, file);
	/* The block that has the read is not shared any more, so no store moves it. */
	memset(file->memory, OTHER_BYTE, LENGTH);
	land_read(&ring);
	assert_true(file_begins_with(file, HELD_DISK_BYTE));
	assert_true(file_begins_with(&other, OLD_BYTE));
	remove_file(&other);
	close(fd);
}

static void a_store_to_a_shared_block_does_not_wait_for_a_pin(void **state)
{
	struct file *file = *state, other;
	struct iovec iov = { file->memory, 1 };
	unsigned char pinned = 0;
	int ends[2];

	fill_file(file, OLD_BYTE);
	make_file(&other, directory);
	assert_int_equal(clone_file(&(struct clone){ file->fd, other.fd }, -1), 0);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(vmsplice(ends[1], &iov, 1, 0), 1);
	memset(file->memory, OTHER_BYTE, LENGTH);
	assert_true(file_begins_with(file, OTHER_BYTE));
	assert_true(file_begins_with(&other, OLD_BYTE));
	/* The pinned page is not the file's any more. */
	assert_int_equal(read(ends[0], &pinned, 1), 1);
	assert_int_equal(pinned, OLD_BYTE);
	close(ends[0]);
	close(ends[1]);
	remove_file(&other);
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
	map_again(&file);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Makes another XFS on the filesystem's device. */
static int make_xfs(const char *reflinks)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "set -e; device=$(findmnt -no SOURCE %s); umount %s; "
		 "mkfs.xfs -f -q -m reflink=%s -d su=2m,sw=1 $device; "
		 "mount -t xfs -o dax=always $device %s; xfs_io -c 'extsize 2m' %s",
		 directory, directory, reflinks, directory, directory);
	return system(command) ? -1 : 0;
}

static int make_reflinks(void **state)
{
	(void)state;
	return make_xfs("1");
}

static int make_no_reflinks(void **state)
{
	(void)state;
	return make_xfs("0");
}

static int run_reflink(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_clone_waits_for_a_read_into_a_mapped_file),
		TEST(a_clone_of_an_unmapped_file_waits_on_new_kernels_only),
		TEST(a_read_into_a_shared_block_goes_to_a_block_of_its_own),
		TEST(a_store_to_a_shared_block_does_not_wait_for_a_pin),
	};

	if (!getenv("DAXPIN_TEST_KERNEL") || !is_on_xfs()) {
		printf("this makes an XFS on a device: only in the lab, with XFS\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, make_reflinks, make_no_reflinks);
}

int main(int argc, char **argv)
{
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
	if (argc > 1 && !strcmp(argv[1], "reflink"))
		return run_reflink();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
