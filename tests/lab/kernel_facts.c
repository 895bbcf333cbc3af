/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Facts of docs/kernel.md, shown with plain system calls on the lab's devices, without
 * what daxpin does because of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "child.h"
#include "kernel_stack.h"
#include "nobody.h"

#define FILE_BYTES (UINT64_C(8) << 20)
#define HALF (FILE_BYTES / 2)
#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
/* xfs_break_dax_layouts(), ext4_break_layouts() or dax_break_layout() */
#define WAITS_FOR_PINS "break_"
#define WAIT_STEPS 60000 /* of a millisecond: ends a test that hangs */

/* An unlinked file on the DAX filesystem, all of it allocated, mapped, and a ring. */
struct world {
	int fd;
	unsigned char *memory;
	struct io_uring ring;
	int pipe[2]; /* pins a page of the file while it has data */
};

static const char *directory;

static bool is_kernel(const char *kind)
{
	const char *kernel = getenv("DAXPIN_TEST_KERNEL");

	return kernel && !strcmp(kernel, kind);
}

/* On 6.1 any signal interrupts fallocate() on tmpfs (kernel.md K20). */
static int make_file(const char *where)
{
	char path[128];
	int fd, err;

	snprintf(path, sizeof(path), "%s/kernel-facts-XXXXXX", where);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	do
		err = posix_fallocate(fd, 0, FILE_BYTES);
	while (err == EINTR);
	assert_int_equal(err, 0);
	return fd;
}

static unsigned char *map_file(int fd)
{
	unsigned char *memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE,
				     MAP_SHARED, fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	if (!w || pipe(w->pipe) || io_uring_queue_init(8, &w->ring, 0))
		return -1;
	w->fd = make_file(directory);
	w->memory = map_file(w->fd);
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	close(w->pipe[0]);
	close(w->pipe[1]);
	io_uring_queue_exit(&w->ring);
	munmap(w->memory, FILE_BYTES);
	close(w->fd);
	free(w);
	return 0;
}

/* ------------------------------------------------------------ K1: long-term pins */

static void a_dax_file_allows_only_short_pins(void **state)
{
	struct world *w = *state;
	struct iovec iov = { w->memory, FILE_BYTES };
	const char *disk = getenv("DAXPIN_TEST_DISK");
	int fd;

	assert_int_equal(io_uring_register_buffers(&w->ring, &iov, 1),
			 -EOPNOTSUPP);
	if (!disk) {
		print_message("# skipped: DAXPIN_TEST_DISK names no disk\n");
		skip();
	}
	fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, w->memory, 4096, 0), 4096);
	assert_int_equal(w->memory[0], 0xa5);
	close(fd);
}

/* ------------------------------------------------------ K8, K9, K11: layout breaks */

enum { PUNCH_DATA = 1, LINKED_TIMEOUT, TIMEOUT, CANCEL };

static void pin_first_page(struct world *w)
{
	struct iovec iov = { w->memory, 1 };

	w->memory[0] = 1;
	assert_int_equal(vmsplice(w->pipe[1], &iov, 1, 0), 1);
}

static void unpin(struct world *w)
{
	char byte;

	assert_int_equal(read(w->pipe[0], &byte, 1), 1);
}

static struct io_uring_sqe *request(struct world *w, uint64_t data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	assert_non_null(sqe);
	io_uring_sqe_set_data64(sqe, data);
	return sqe;
}

static void prepare_punch(struct world *w, unsigned int flags)
{
	struct io_uring_sqe *sqe = request(w, PUNCH_DATA);

	io_uring_prep_fallocate(sqe, w->fd, PUNCH, (off_t)HALF, (off_t)HALF);
	io_uring_sqe_set_data64(sqe, PUNCH_DATA);
	sqe->flags |= flags;
}

/* Waits for a completion and returns its result. */
static int next_completion(struct world *w, uint64_t *ret_data)
{
	struct io_uring_cqe *cqe;
	int result;

	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	*ret_data = io_uring_cqe_get_data64(cqe);
	result = cqe->res;
	io_uring_cqe_seen(&w->ring, cqe);
	return result;
}

static void cancel_punch(struct world *w)
{
	struct io_uring_sqe *sqe = request(w, CANCEL);

	io_uring_prep_cancel64(sqe, PUNCH_DATA, 0);
	io_uring_sqe_set_data64(sqe, CANCEL);
	assert_int_equal(io_uring_submit(&w->ring), 1);
}

/* The result of a cancelled punch: -EINTR, or one of the kernel's internal codes. */
static bool is_interruption(int result)
{
	return result == -EINTR || (result <= -512 && result >= -516);
}

static void a_linked_timeout_does_not_end_a_punch(void **state)
{
	struct __kernel_timespec soon = { .tv_nsec = 10000000 },
				 later = { .tv_sec = 1 };
	struct world *w = *state;
	struct io_uring_sqe *sqe;
	int result, first;
	uint64_t data;

	pin_first_page(w);
	prepare_punch(w, IOSQE_IO_LINK);
	sqe = request(w, LINKED_TIMEOUT);
	io_uring_prep_link_timeout(sqe, &soon, 0);
	io_uring_sqe_set_data64(sqe, LINKED_TIMEOUT);
	sqe = request(w, TIMEOUT);
	io_uring_prep_timeout(sqe, &later, 0, 0);
	io_uring_sqe_set_data64(sqe, TIMEOUT);
	assert_int_equal(io_uring_submit(&w->ring), 3);
	/* A hundred times the linked timeout passes, except on 6.1. */
	first = next_completion(w, &data);
	print_message("# first completion: %d of request %d\n", first,
		      (int)data);
	if (data == TIMEOUT)
		cancel_punch(w);
	else
		assert_false(is_kernel("idle-at-zero"));
	for (int i = data == TIMEOUT ? 3 : 2; i > 0; i--) {
		result = next_completion(w, &data);
		print_message("# request %d: %d\n", (int)data, result);
		if (data == CANCEL)
			assert_int_equal(result, -EALREADY);
		if (data == PUNCH_DATA)
			assert_true(is_interruption(result));
	}
	assert_true(lseek(w->fd, 0, SEEK_END) == (off_t)FILE_BYTES);
	unpin(w);
}

static int read_file(void *arg, int fd)
{
	struct world *w = arg;
	char byte;

	return send_step(fd) && pread(w->fd, &byte, 1, 0) == 1 ? 0 : 1;
}

static char state_of(pid_t pid)
{
	char path[64], state = '?';
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
	fclose(file);
	return state;
}

static void await_state(pid_t pid, char state)
{
	for (int i = 0; i < WAIT_STEPS && state_of(pid) != state; i++)
		usleep(1000);
	assert_int_equal(state_of(pid), state);
}

static void a_read_of_a_file_that_is_punched_cannot_be_killed(void **state)
{
	struct world *w = *state;
	struct child child;
	uint64_t data;
	int status;

	pin_first_page(w);
	prepare_punch(w, 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_true(kernel_stack_wait(getpid(), WAITS_FOR_PINS));
	child = fork_child(read_file, w);
	assert_true(await_step(child.fd));
	await_state(child.pid, 'D');
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	/* Stores and page faults of the file go on. */
	w->memory[HALF / 2] = 1;
	assert_false(child_ends_within(&child, 300, &status));
	assert_int_equal(state_of(child.pid), 'D');
	unpin(w);
	assert_int_equal(end_child(&child), -SIGKILL);
	assert_int_equal(next_completion(w, &data), 0);
	assert_int_equal(data, PUNCH_DATA);
}

/* Waits at most half a second. */
static bool punch_ends(struct world *w)
{
	struct __kernel_timespec limit = { .tv_nsec = 500000000 };
	struct io_uring_cqe *cqe;

	return !io_uring_wait_cqe_timeout(&w->ring, &cqe, &limit);
}

static void a_store_to_a_pinned_page_delays_the_punch(void **state)
{
	struct world *w = *state;
	uint64_t data;
	bool woken;

	pin_first_page(w);
	prepare_punch(w, 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_true(kernel_stack_wait(getpid(), WAITS_FOR_PINS));
	w->memory[1] = 1; /* maps the page again */
	unpin(w);
	woken = punch_ends(w);
	print_message("# the end of the pin %s the punch\n",
		      woken ? "ends" : "does not end");
	if (is_kernel("idle-at-zero"))
		assert_false(woken);
	assert_int_equal(munmap(w->memory, FILE_BYTES), 0);
	assert_int_equal(next_completion(w, &data), 0);
	assert_int_equal(data, PUNCH_DATA);
	w->memory = map_file(w->fd);
}

/* --------------------------------------------------------------- K19: SEEK_HOLE */

static void load_makes_data(const char *where)
{
	int fd = make_file(where);
	volatile unsigned char *memory = map_file(fd);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= FILE_BYTES);
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), 0);
	assert_int_equal(memory[0], 0);
	print_message("# %s: data at %lld after a load\n", where,
		      (long long)lseek(fd, 0, SEEK_DATA));
	assert_int_equal(lseek(fd, 0, SEEK_DATA), 0);
	assert_int_equal(munmap((void *)(uintptr_t)memory, FILE_BYTES), 0);
	close(fd);
}

static void a_load_turns_an_unwritten_block_into_data(void **state)
{
	(void)state;
	load_makes_data(directory);
	load_makes_data("/dev/shm");
}

/* ------------------------------------------ K33: limits of registered buffers */

#define BUFFERS_MAX 16384u

static void a_ring_has_at_most_16384_buffers(void **state)
{
	struct iovec *iov = calloc(BUFFERS_MAX + 1, sizeof(*iov));
	struct world *w = *state;
	void *memory = aligned_alloc(4096, 4096);

	assert_non_null(iov);
	for (unsigned int i = 0; i <= BUFFERS_MAX; i++)
		iov[i] = (struct iovec){ memory, 4096 };
	assert_int_equal(io_uring_register_buffers(&w->ring, iov,
						   BUFFERS_MAX + 1),
			 -EINVAL);
	assert_int_equal(io_uring_register_buffers(&w->ring, iov, BUFFERS_MAX),
			 0);
	assert_int_equal(io_uring_unregister_buffers(&w->ring), 0);
	free(memory);
	free(iov);
}

#define GIB (UINT64_C(1) << 30)
#define HUGE_BYTES (UINT64_C(2) << 20)

static int open_device(void)
{
	const char *device = getenv("DAXPIN_TEST_DAX");
	int fd;

	if (!device) {
		print_message("# skipped: DAXPIN_TEST_DAX names no device\n");
		skip();
	}
	fd = open(device, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Maps the device's first 2 MiB repeatedly, since the device may have fewer bytes. */
static unsigned char *map_repeatedly(int fd, uint64_t bytes)
{
	unsigned char *reserved = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *memory;

	assert_ptr_not_equal(reserved, MAP_FAILED);
	memory = reserved + HUGE_BYTES - (uintptr_t)reserved % HUGE_BYTES;
	for (uint64_t at = 0; at < bytes; at += HUGE_BYTES)
		assert_ptr_not_equal(
			mmap(memory + at, HUGE_BYTES, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, fd, 0),
			MAP_FAILED);
	return memory;
}

/* Returns the result of registering that many bytes. */
static int register_bytes(struct world *w, void *memory, uint64_t bytes)
{
	struct iovec iov = { memory, bytes };
	int result = io_uring_register_buffers(&w->ring, &iov, 1);

	print_message("# %llu bytes: %s\n", (unsigned long long)bytes,
		      strerror(-result));
	if (!result)
		assert_int_equal(io_uring_unregister_buffers(&w->ring), 0);
	return result;
}

static void a_buffer_has_a_maximal_size(void **state)
{
	const bool large = is_kernel("idle-at-zero");
	int fd = open_device();
	unsigned char *memory = map_repeatedly(fd, GIB + HUGE_BYTES);

	if (register_bytes(*state, memory, GIB) == -EOPNOTSUPP) {
		print_message("# skipped: no buffers on device-dax (K2)\n");
		skip();
	}
	assert_int_equal(register_bytes(*state, memory, GIB + HUGE_BYTES),
			 large ? 0 : -EFAULT);
	/* This length is refused before any page is pinned. */
	assert_int_equal(register_bytes(*state, memory, 1024 * GIB + 4096),
			 large ? -EINVAL : -EFAULT);
	assert_int_equal(munmap(memory, GIB + HUGE_BYTES), 0);
	close(fd);
}

/* ------------------------------------- K31: completions that need a system call */

static void a_completion_appears_when_the_ring_is_entered(void **state)
{
	struct world *w = *state;
	struct io_uring ring;
	char byte = 0;

	assert_int_equal(io_uring_queue_init(8, &ring, IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN |
					     IORING_SETUP_TASKRUN_FLAG), 0);
	io_uring_prep_read(io_uring_get_sqe(&ring), w->pipe[0], &byte, 1, 0);
	assert_int_equal(io_uring_submit(&ring), 1);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	for (int i = 0; i < WAIT_STEPS &&
			!(*(volatile unsigned int *)ring.sq.kflags &
			  IORING_SQ_TASKRUN); i++)
		usleep(1000);
	assert_true(*ring.sq.kflags & IORING_SQ_TASKRUN);
	assert_int_equal(io_uring_cq_ready(&ring), 0);
	assert_int_equal(io_uring_get_events(&ring), 0);
	assert_int_equal(io_uring_cq_ready(&ring), 1);
	assert_int_equal(byte, 'x');
	io_uring_queue_exit(&ring);
}

/* ----------------------------------------- K33: how registered memory is charged */

#define LITTLE_BYTES (UINT64_C(1) << 20)

/* The exit status is the number of the step that failed. */
static int register_part_of_a_huge_page(void *arg)
{
	struct iovec huge = { arg, 4096 }, small = { NULL, 4096 };
	struct io_uring ring;
	int err;

	small.iov_base = aligned_alloc(4096, 4096);
	if (!small.iov_base || !drop_privileges(NOBODY, LITTLE_BYTES) ||
	    io_uring_queue_init(8, &ring, 0))
		return 1;
	if (io_uring_register_buffers(&ring, &small, 1) ||
	    io_uring_unregister_buffers(&ring))
		return 2;
	err = io_uring_register_buffers(&ring, &huge, 1);
	return err == -ENOMEM ? 0 : 3;
}

static void a_buffer_is_charged_by_whole_huge_pages(void **state)
{
	unsigned char *memory;
	int fd;

	(void)state;
	if (geteuid() != 0) {
		print_message("# skipped: only root can become another user\n");
		skip();
	}
	fd = open_device();
	memory = map_repeatedly(fd, HUGE_BYTES);
	assert_int_equal(run_child(register_part_of_a_huge_page, memory), 0);
	assert_int_equal(munmap(memory, HUGE_BYTES), 0);
	close(fd);
}

/* ------------------------------------------- K25: descriptors in a socket's queue */

#define DESCRIPTORS_MAX 253u
#define FEW 16u

/* Sends descriptor 0 so many times in one message. Returns 0 or errno. */
static int send_descriptors(int fd, unsigned int count)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE((DESCRIPTORS_MAX + 1) * sizeof(int))];
	} control = { .bytes = "" };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(count * sizeof(int));
	return sendmsg(fd, &message, MSG_NOSIGNAL) == 1 ? 0 : errno;
}

static void a_message_takes_253_descriptors(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	assert_int_equal(send_descriptors(ends[0], DESCRIPTORS_MAX), 0);
	assert_int_equal(send_descriptors(ends[0], DESCRIPTORS_MAX + 1), EINVAL);
	close(ends[0]);
	close(ends[1]);
}

/* The exit status is the number of the step that failed. */
static int send_more_than_the_limit(void *arg)
{
	const struct rlimit few = { FEW, FEW };
	int ends[2], err = 0;
	unsigned int sent = 0;

	(void)arg;
	if (!drop_privileges(NOBODY, LITTLE_BYTES) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) ||
	    setrlimit(RLIMIT_NOFILE, &few))
		return 1;
	while (sent <= FEW && !(err = send_descriptors(ends[0], 1)))
		sent++;
	if (!err)
		err = send_descriptors(ends[0], 1);
	return err == ETOOMANYREFS ? 0 : 2;
}

static void a_user_queues_descriptors_up_to_a_limit(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# skipped: only root can become another user\n");
		skip();
	}
	assert_int_equal(run_child(send_more_than_the_limit, NULL), 0);
}

/* ------------------------------------------------- K35: where a thread is cancelled */

static void in_write(const struct world *w)
{
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
}

static void in_msync(const struct world *w)
{
	msync(w->memory, 4096, MS_SYNC);
}

static void in_open(const struct world *w)
{
	(void)w;
	close(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

static void in_nanosleep(const struct world *w)
{
	const struct timespec time = { .tv_nsec = 1000 };

	(void)w;
	nanosleep(&time, NULL);
}

static void in_syscall(const struct world *w)
{
	syscall(SYS_write, w->pipe[1], "x", 1);
}

static void in_disabled_write(const struct world *w)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	in_write(w);
	pthread_setcancelstate(before, NULL);
}

struct cancelled {
	const struct world *w;
	void (*call)(const struct world *w);
};

static void *call_with_a_cancel_pending(void *arg)
{
	const struct cancelled *cancelled = arg;

	pthread_cancel(pthread_self());
	cancelled->call(cancelled->w);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return NULL;
}

/* Is a thread with a pending cancel cancelled in this call? */
static bool ends_thread(const struct world *w, void (*call)(const struct world *w))
{
	struct cancelled cancelled = { w, call };
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, call_with_a_cancel_pending,
					&cancelled), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	return result == PTHREAD_CANCELED;
}

static void a_thread_is_cancelled_in_some_calls(void **state)
{
	const struct world *w = *state;

	assert_true(ends_thread(w, in_write));
	assert_true(ends_thread(w, in_msync));
	assert_true(ends_thread(w, in_open));
	assert_true(ends_thread(w, in_nanosleep));
	assert_false(ends_thread(w, in_syscall));
	assert_false(ends_thread(w, in_disabled_write));
}

/* ------------------------------------------------------------------ main */

int main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_dax_file_allows_only_short_pins),
		TEST(a_linked_timeout_does_not_end_a_punch),
		TEST(a_read_of_a_file_that_is_punched_cannot_be_killed),
		TEST(a_store_to_a_pinned_page_delays_the_punch),
		cmocka_unit_test(a_load_turns_an_unwritten_block_into_data),
		TEST(a_completion_appears_when_the_ring_is_entered),
		TEST(a_ring_has_at_most_16384_buffers),
		TEST(a_buffer_has_a_maximal_size),
		cmocka_unit_test(a_buffer_is_charged_by_whole_huge_pages),
		cmocka_unit_test(a_message_takes_253_descriptors),
		cmocka_unit_test(a_user_queues_descriptors_up_to_a_limit),
		TEST(a_thread_is_cancelled_in_some_calls),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!directory) {
		printf("DAXPIN_TEST_FSDAX names no DAX filesystem: run it in the lab (./dev lab)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
