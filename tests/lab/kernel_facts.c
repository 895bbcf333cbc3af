/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Facts of docs/kernel.md, shown with plain system calls on the lab's devices, without
 * what daxpin does because of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "child.h"
#include "kernel_stack.h"

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

/* Needs no memory: the length is refused before any page is pinned. */
static void a_buffer_has_a_maximal_size(void **state)
{
	static const uint64_t over[] = { (UINT64_C(1) << 30) + 4096,
					 (UINT64_C(1) << 40) + 4096 };
	struct world *w = *state;
	struct iovec iov = { w->memory, 0 };
	int result[2];

	for (int i = 0; i < 2; i++) {
		iov.iov_len = over[i];
		result[i] = io_uring_register_buffers(&w->ring, &iov, 1);
		print_message("# %llu bytes: %s\n", (unsigned long long)over[i],
			      strerror(-result[i]));
	}
	/* Where 1 GiB is the limit, both have the same result. */
	assert_true(result[0] == -EFAULT || result[0] == -EOPNOTSUPP);
	assert_true(result[1] == -EFAULT || result[1] == -EINVAL);
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
		TEST(a_ring_has_at_most_16384_buffers),
		TEST(a_buffer_has_a_maximal_size),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!directory) {
		printf("DAXPIN_TEST_FSDAX names no DAX filesystem: run it in the lab (./dev lab)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
