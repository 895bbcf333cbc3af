/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVMe drive that reads and writes the pool's memory: by commands that are passed
 * through to it, and by requests whose completions are polled for.
 *
 *	uring_nvme shmem|devdax|fsdax
 *
 * DAXPIN_TEST_NVME names the drive's block device, /dev/nvme0n1: it has blocks of
 * 512 bytes and a queue for polling, and what is on it is lost.
 */
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <sys/ioctl.h>
#include "uring_fixture.h"

#define BYTES		8192u
#define DEPTH		16u
#define WRITE_COMMAND	1	/* opcodes of the NVM command set */
#define READ_COMMAND	2
#define PASSING		(IORING_SETUP_SQE128 | IORING_SETUP_CQE32)

static const char *drive;

/* The character device for commands: ng0n1 for nvme0n1. */
static int open_for_commands(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/ng%s",
		 drive + strlen("/dev/nvme"));
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int open_for_blocks(void)
{
	int fd = open(drive, O_RDWR | O_DIRECT | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void use_ring(struct world *w, unsigned int flags)
{
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(2 * DEPTH, &w->ring, flags), 0);
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
}

static void leave_ring(struct world *w)
{
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
}

/* Waits for the only request, into or out of the extent. Returns its result. */
static int see_through(struct world *w, struct daxpin_uring_io *io,
		       struct daxpin_extent extent)
{
	int result;

	assert_int_equal(daxpin_uring_is_fixed(io), target != FSDAX);
	submit_one(w);
	/* Whatever the drive has done, this ends the hold. */
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	result = finish(w, io);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	return result;
}

/* ---------------------------------------------------------------- commands */

/* Makes a command for the BYTES bytes from block `lba` on. */
static struct nvme_uring_cmd command_of(int fd, unsigned char opcode,
					uint64_t lba, const void *memory)
{
	int namespace = ioctl(fd, NVME_IOCTL_ID);

	assert_true(namespace > 0);
	return (struct nvme_uring_cmd) {
		.opcode = opcode,
		.nsid = namespace,
		.addr = (uintptr_t)memory,
		.data_len = BYTES,
		.cdw10 = (uint32_t)lba,
		.cdw11 = lba >> 32,
		.cdw12 = BYTES / 512 - 1,
	};
}

#define PROBED		(4u << 20)	/* by a buffer that the test registers */

/* Some kernels return -EINVAL for a command on a small part of a large buffer. */
static int command_on_part_of_a_buffer(struct io_uring *ring, int fd)
{
	struct iovec buffer = { aligned_alloc(4096, PROBED), PROBED };
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int result;

	assert_non_null(buffer.iov_base);
	assert_int_equal(io_uring_register_buffers(ring, &buffer, 1), 0);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
	sqe->buf_index = 0;
	*(struct nvme_uring_cmd *)sqe->cmd =
		command_of(fd, READ_COMMAND, 0, buffer.iov_base);
	assert_int_equal(io_uring_submit_and_wait(ring, 1), 1);
	assert_int_equal(io_uring_peek_cqe(ring, &cqe), 0);
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	free(buffer.iov_base);
	return result;
}

/* Tests without the library whether the kernel can do what the library prepares. */
static void require_fixed_commands(int fd)
{
	struct io_uring ring;
	int result;

	if (target == FSDAX)
		return;
	assert_int_equal(io_uring_queue_init(2, &ring, PASSING), 0);
	result = command_on_part_of_a_buffer(&ring, fd);
	io_uring_queue_exit(&ring);
	if (result == -EINVAL) {
		close(fd);
		print_message("# skipped: this kernel refuses commands on a small part of a large registered buffer\n");
		skip();
	}
	assert_int_equal(result, 0);
}

static void prep(struct world *w, struct daxpin_uring_io *io, int fd,
		 unsigned char opcode, uint64_t lba,
		 struct daxpin_extent extent)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	uint32_t access = opcode == READ_COMMAND ? DAXPIN_HOLD_WRITE :
			  DAXPIN_HOLD_READ;
	struct nvme_uring_cmd *command;
	void *memory;

	assert_non_null(sqe);
	assert_int_equal(daxpin_uring_prep_cmd(w->uring, io, sqe, fd,
					       NVME_URING_CMD_IO, extent, 0,
					       BYTES, access, &memory), 0);
	assert_int_equal(daxpin_uring_is_fixed(io), target != FSDAX);
	command = (struct nvme_uring_cmd *)sqe->cmd;
	*command = command_of(fd, opcode, lba, memory);
	io_uring_sqe_set_data(sqe, io);
}

static int pass(struct world *w, int fd, unsigned char opcode, uint64_t lba,
		struct daxpin_extent extent)
{
	struct daxpin_uring_io io = { .uring = NULL };

	prep(w, &io, fd, opcode, lba, extent);
	return see_through(w, &io, extent);
}

static void a_command_moves_the_data(void **state)
{
	struct world *w = *state;
	struct daxpin_extent from, to;
	int fd = open_for_commands();

	require_fixed_commands(fd);
	use_ring(w, PASSING);
	from = live(&w->f, BYTES);
	to = live(&w->f, BYTES);
	colour(w, from, BYTES, 'n');
	colour(w, to, BYTES, 0);
	assert_int_equal(pass(w, fd, WRITE_COMMAND, 64, from), 0);
	assert_int_equal(pass(w, fd, READ_COMMAND, 64, to), 0);
	assert_true(has_colour(w, to, BYTES, 'n'));
	close(fd);
}

/* A command that the drive refuses ends like any other. */
static void a_refused_command_ends_its_hold(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent;
	int fd = open_for_commands();

	require_fixed_commands(fd);
	use_ring(w, PASSING);
	extent = live(&w->f, BYTES);
	colour(w, extent, BYTES, 'k');
	/* An NVMe status, not an errno: the block is beyond the last one. */
	assert_true(pass(w, fd, READ_COMMAND, 1ull << 40, extent) > 0);
	assert_true(has_colour(w, extent, BYTES, 'k'));
	close(fd);
}

static struct daxpin_uring_io *find_io(const struct io_uring_cqe *cqe,
				       void *arg)
{
	(void)arg;
	assert_int_equal(cqe->res, 0);
	return io_uring_cqe_get_data(cqe);
}

static void reap_all(struct world *w, uint32_t count)
{
	struct io_uring_cqe *cqe;

	while (count) {
		int ret = io_uring_wait_cqe(&w->ring, &cqe);

		assert_int_equal(ret, 0);
		ret = daxpin_uring_reap(w->uring, &w->ring, find_io, NULL,
					NULL);
		assert_in_range(ret, 1, count);
		count -= ret;
	}
}

static void many_commands_can_be_in_flight(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io[DEPTH] = { { .uring = NULL } };
	struct daxpin_extent from[DEPTH], to[DEPTH];
	int fd = open_for_commands();

	require_fixed_commands(fd);
	use_ring(w, PASSING);
	for (uint32_t i = 0; i < DEPTH; i++) {
		from[i] = live(&w->f, BYTES);
		to[i] = live(&w->f, BYTES);
		colour(w, from[i], BYTES, 'A' + i);
		colour(w, to[i], BYTES, 0);
		prep(w, &io[i], fd, WRITE_COMMAND, i * 16, from[i]);
	}
	assert_int_equal(io_uring_submit(&w->ring), DEPTH);
	reap_all(w, DEPTH);
	for (uint32_t i = 0; i < DEPTH; i++)
		prep(w, &io[i], fd, READ_COMMAND, i * 16, to[i]);
	assert_int_equal(io_uring_submit(&w->ring), DEPTH);
	reap_all(w, DEPTH);
	for (uint32_t i = 0; i < DEPTH; i++) {
		assert_true(has_colour(w, to[i], BYTES, 'A' + i));
		assert_int_equal(daxpin_idle(w->f.pool, from[i]), 1);
		assert_int_equal(daxpin_idle(w->f.pool, to[i]), 1);
	}
	assert_int_equal(info_of(w->uring).in_flight, 0);
	close(fd);
}

/* ------------------------------------------------------------------- polled */

static int read_or_write(struct world *w, int fd, struct daxpin_extent extent,
			 bool read)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	int ret = read ? daxpin_uring_prep_read(w->uring, &io, sqe, fd, extent,
						0, BYTES, 1 << 20) :
			 daxpin_uring_prep_write(w->uring, &io, sqe, fd, extent,
						 0, BYTES, 1 << 20);

	assert_int_equal(ret, 0);
	return see_through(w, &io, extent);
}

/* A drive that cannot be polled would return -EOPNOTSUPP. */
static void polled_rings_read_and_write(void **state)
{
	static const unsigned int flags[] = {
		IORING_SETUP_IOPOLL,
		IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL,
		IORING_SETUP_IOPOLL | IORING_SETUP_SINGLE_ISSUER |
		IORING_SETUP_DEFER_TASKRUN,
	};
	struct world *w = *state;
	struct daxpin_extent from = live(&w->f, BYTES);
	struct daxpin_extent to = live(&w->f, BYTES);
	int fd = open_for_blocks();

	for (uint32_t i = 0; i < 3; i++) {
		use_ring(w, flags[i]);
		colour(w, from, BYTES, 'p' + i);
		colour(w, to, BYTES, 0);
		assert_int_equal(read_or_write(w, fd, from, false), BYTES);
		assert_int_equal(read_or_write(w, fd, to, true), BYTES);
		assert_true(has_colour(w, to, BYTES, 'p' + i));
		leave_ring(w);
	}
	close(fd);
}

static void a_polled_ring_passes_commands(void **state)
{
	struct world *w = *state;
	struct daxpin_extent from = live(&w->f, BYTES);
	struct daxpin_extent to = live(&w->f, BYTES);
	int fd = open_for_commands();

	require_fixed_commands(fd);
	use_ring(w, PASSING | IORING_SETUP_IOPOLL);
	colour(w, from, BYTES, 'q');
	colour(w, to, BYTES, 0);
	assert_int_equal(pass(w, fd, WRITE_COMMAND, 4096, from), 0);
	assert_int_equal(pass(w, fd, READ_COMMAND, 4096, to), 0);
	assert_true(has_colour(w, to, BYTES, 'q'));
	close(fd);
}

/* -------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_moves_the_data),
		TEST(a_refused_command_ends_its_hold),
		TEST(many_commands_can_be_in_flight),
		TEST(polled_rings_read_and_write),
		TEST(a_polled_ring_passes_commands),
	};

	drive = getenv("DAXPIN_TEST_NVME");
	if (!drive || strncmp(drive, "/dev/nvme", strlen("/dev/nvme")))
		return skip_all("needs DAXPIN_TEST_NVME, an NVMe drive to overwrite");
	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	return cmocka_run_group_tests_name("uring_nvme", tests, NULL, NULL);
}
