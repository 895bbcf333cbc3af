/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of every kind (vectors, sends, commands), on every kind of ring. Other tests
 * handle a whole completion queue with one reap, and make calls after a ring has ended.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "uring_fixture.h"

#define BYTES	4096u
#define PIECES	3u

/* Constants of kernels that are newer than the oldest supported liburing. */
#define READV_FIXED		60
#define SOCKET_COMMAND_INQ	0	/* bytes that have arrived and were not read */

static bool is_supported(struct world *w, int opcode)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&w->ring);
	bool known;

	assert_non_null(probe);
	known = opcode <= probe->last_op &&
		probe->ops[opcode].flags & IO_URING_OP_SUPPORTED;
	io_uring_free_probe(probe);
	return known;
}

/* ---------------------------------------------------------------- vectored */

struct pieces {
	struct daxpin_uring_vec vec[PIECES];
	struct iovec iov[PIECES];
};

static struct pieces pieces_of(const struct daxpin_extent *extent)
{
	struct pieces pieces;

	memset(&pieces, 0, sizeof(pieces));
	for (uint32_t i = 0; i < PIECES; i++) {
		pieces.vec[i].extent = extent[i];
		pieces.vec[i].length = BYTES;
	}
	return pieces;
}

static int prep_pieces(struct world *w, struct daxpin_uring_io *io, int fd,
		       struct pieces *pieces, bool read)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	return read ? daxpin_uring_prep_readv(w->uring, io, sqe, fd,
					      pieces->vec, pieces->iov, PIECES,
					      0) :
		      daxpin_uring_prep_writev(w->uring, io, sqe, fd,
					       pieces->vec, pieces->iov,
					       PIECES, 0);
}

/*
 * Writes the pieces to a file, reads them back and compares. Returns whether both
 * requests used fixed buffers.
 */
static bool round_trip(struct world *w, const struct daxpin_extent *extent)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct pieces pieces = pieces_of(extent);
	int fd = scratch_file(), fixed;

	for (uint32_t i = 0; i < PIECES; i++)
		colour(w, extent[i], BYTES, 'a' + i);
	assert_int_equal(prep_pieces(w, &io, fd, &pieces, false), 0);
	fixed = daxpin_uring_is_fixed(&io);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_int_equal(daxpin_idle(w->f.pool, extent[i]), 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(finish(w, &io), PIECES * BYTES);
	for (uint32_t i = 0; i < PIECES; i++)
		colour(w, extent[i], BYTES, 0);
	assert_int_equal(prep_pieces(w, &io, fd, &pieces, true), 0);
	assert_int_equal(daxpin_uring_is_fixed(&io), fixed);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(finish(w, &io), PIECES * BYTES);
	for (uint32_t i = 0; i < PIECES; i++) {
		assert_true(has_colour(w, extent[i], BYTES, 'a' + i));
		assert_int_equal(daxpin_idle(w->f.pool, extent[i]), 1);
	}
	close(fd);
	return fixed;
}

static void a_vector_in_one_segment_is_fixed_if_the_kernel_supports_it(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent[PIECES];
	bool fixed;

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	for (uint32_t i = 0; i < PIECES; i++)
		extent[i] = live(&w->f, BYTES);
	fix(w, extent[0]);
	fixed = round_trip(w, extent);
	assert_int_equal(fixed, target != FSDAX && is_supported(w, READV_FIXED));
	assert_int_equal(info_of(w->uring).fallbacks, fixed ? 0 : 2);
}

static void a_vector_in_two_segments_is_plain(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent[PIECES];
	uint64_t first;

	assert_int_equal(attach(w, 0), 0);
	extent[0] = live(&w->f, BYTES);
	extent[1] = live(&w->f, BYTES);
	first = extent[0].addr / w->f.options.segment_size;
	do {
		extent[2] = live(&w->f, 8u << 20);
	} while (extent[2].addr / w->f.options.segment_size == first);
	assert_false(round_trip(w, extent));
}

/* Each piece is in an extent of its own. */
static struct pieces live_pieces(struct world *w,
				 struct daxpin_extent extent[PIECES])
{
	for (uint32_t i = 0; i < PIECES; i++)
		extent[i] = live(&w->f, BYTES);
	return pieces_of(extent);
}

static void a_vector_with_a_bad_piece_takes_no_hold(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent[PIECES];
	struct pieces pieces;
	struct io_uring_sqe sqe;

	assert_int_equal(attach(w, 0), 0);
	pieces = live_pieces(w, extent);
	pieces.vec[2].offset = 1;
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true),
			 -EINVAL);
	pieces.vec[2].offset = 0;
	pieces.vec[1].extent.gen++;
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true),
			 -ESTALE);
	pieces.vec[1].extent.gen--;
	/* Bits that a later version may define are refused, not ignored. */
	pieces.vec[2].flags = 1;
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true),
			 -EINVAL);
	pieces.vec[2].flags = 0;
	pieces.vec[0].reserved[1] = 1;
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true),
			 -EINVAL);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_int_equal(daxpin_idle(w->f.pool, extent[i]), 1);
	assert_int_equal(daxpin_uring_prep_readv(w->uring, &io, &sqe, 0,
						 pieces.vec, pieces.iov, 0, 0),
			 -EINVAL);
	assert_int_equal(sqe.opcode, IORING_OP_NOP);
	assert_int_equal(daxpin_uring_prep_readv(w->uring, &io, &sqe, 0,
						 pieces.vec, pieces.iov,
						 IOV_MAX + 1, 0), -EINVAL);
	assert_int_equal(info_of(w->uring).in_flight, 0);
}

/* Its address as an extent: alone, and as a piece of a vector. */
static void a_request_into_an_object_is_refused(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent[PIECES], object = { 0, 0 };
	struct io_uring_sqe sqe;
	struct pieces pieces;

	assert_int_equal(attach(w, 0), 0);
	pieces = live_pieces(w, extent);
	assert_int_equal(daxpin_object_reserve(w->f.pool, 64, 0, &object.addr), 0);
	assert_int_equal(daxpin_uring_prep_read(w->uring, &io, &sqe, w->pipe[0], object,
						0, 64, 0), -EINVAL);
	assert_int_equal(sqe.opcode, IORING_OP_NOP);
	assert_int_equal(daxpin_uring_prep_write(w->uring, &io, &sqe, w->pipe[1],
						 object, 0, 64, 0), -EINVAL);
	pieces.vec[1].extent = object;
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true), -EINVAL);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_int_equal(daxpin_idle(w->f.pool, extent[i]), 1);
	assert_int_equal(info_of(w->uring).in_flight, 0);
	assert_int_equal(daxpin_object_cancel(w->f.pool, object.addr), 0);
}

static void a_cancelled_vector_ends_its_holds_at_the_cqe(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent[PIECES];
	struct pieces pieces;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;

	assert_int_equal(attach(w, 0), 0);
	pieces = live_pieces(w, extent);
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true), 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	sqe = io_uring_get_sqe(&w->ring);
	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY);
	sqe->user_data = 7;
	assert_int_equal(io_uring_submit(&w->ring), 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
		if (cqe->user_data != 7) {
			assert_true(cqe->res < 0);
			assert_int_equal(daxpin_idle(w->f.pool, extent[2]), 0);
			assert_int_equal(daxpin_uring_done(&io, cqe), 1);
		}
		io_uring_cqe_seen(&w->ring, cqe);
	}
	for (uint32_t i = 0; i < PIECES; i++)
		assert_int_equal(daxpin_idle(w->f.pool, extent[i]), 1);
}

static void an_aborted_vector_leaves_no_hold(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent[PIECES];
	struct pieces pieces;

	assert_int_equal(attach(w, 0), 0);
	/* The same extent three times takes three holds. */
	for (uint32_t i = 0; i < PIECES; i++)
		extent[i] = i ? extent[0] : live(&w->f, BYTES);
	pieces = pieces_of(extent);
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true), 0);
	assert_int_equal(daxpin_holds(w->f.pool, extent[0], NULL, NULL),
			 PIECES);
	assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	assert_int_equal(daxpin_idle(w->f.pool, extent[0]), 1);
}

/* The mistake is reported once, and the teardown can detach the ring. */
static void an_excess_drop_is_reported_at_the_end_of_the_request(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent[PIECES];
	struct pieces pieces;

	assert_int_equal(attach(w, 0), 0);
	pieces = live_pieces(w, extent);
	assert_int_equal(prep_pieces(w, &io, w->pipe[0], &pieces, true), 0);
	assert_int_equal(daxpin_drop(w->f.pool, extent[1]), 0);
	assert_int_equal(daxpin_uring_abort(&io, NULL), -EINVAL);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_int_equal(daxpin_idle(w->f.pool, extent[i]), 1);
	assert_int_equal(info_of(w->uring).in_flight, 0);
	assert_null(io.uring);
}

/* -------------------------------------------------------------------- send */

/* Two ends of a TCP connection over loopback. */
static void connect_pair(int *ret_from, int *ret_to)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address,
				     &length), 0);
	*ret_from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*ret_from, (struct sockaddr *)&address,
				 length), 0);
	*ret_to = accept(listener, NULL, NULL);
	assert_true(*ret_to >= 0);
	close(listener);
}

static void assert_receives(int fd, unsigned char byte)
{
	unsigned char bytes[BYTES];

	assert_int_equal(recv(fd, bytes, BYTES, MSG_WAITALL), BYTES);
	for (uint32_t i = 0; i < BYTES; i++)
		assert_int_equal(bytes[i], byte);
}

static void next_cqe(struct world *w, struct io_uring_cqe *ret_cqe)
{
	struct io_uring_cqe *cqe;

	assert_int_equal(io_uring_wait_cqe(&w->ring, &cqe), 0);
	memcpy(ret_cqe, cqe, sizeof(*cqe));
	io_uring_cqe_seen(&w->ring, cqe);
}

static void the_hold_of_a_send_ends_with_its_notification(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	struct io_uring_cqe cqe;
	int from, to;
	bool fixed;

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	connect_pair(&from, &to);
	extent = live(&w->f, BYTES);
	fix(w, extent);
	colour(w, extent, BYTES, 's');
	assert_int_equal(daxpin_uring_prep_send(w->uring, &io,
						io_uring_get_sqe(&w->ring),
						from, extent, 0, BYTES, 0, 0),
			 0);
	fixed = daxpin_uring_is_fixed(&io);
	assert_int_equal(fixed, target != FSDAX && is_supported(w, IORING_OP_SEND_ZC));
	assert_int_equal(io_uring_submit(&w->ring), 1);
	next_cqe(w, &cqe);
	assert_int_equal(cqe.res, BYTES);
	if (fixed) {
		/*
		 * The second completion reports that the socket no longer reads the
		 * memory.
		 */
		assert_true(cqe.flags & IORING_CQE_F_MORE);
		assert_int_equal(daxpin_uring_done(&io, &cqe), 0);
		assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
		assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
		next_cqe(w, &cqe);
		assert_true(cqe.flags & IORING_CQE_F_NOTIF);
	}
	assert_int_equal(daxpin_uring_done(&io, &cqe), 1);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	assert_receives(to, 's');
	close(from);
	close(to);
}

static void a_send_without_zerocopy_works_on_any_socket(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	int pair[2];

	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	extent = live(&w->f, BYTES);
	colour(w, extent, BYTES, 'c');
	assert_int_equal(daxpin_uring_prep_send(w->uring, &io,
						io_uring_get_sqe(&w->ring),
						pair[0], extent, 0, BYTES, 0,
						DAXPIN_URING_SEND_COPY), 0);
	assert_int_equal(daxpin_uring_is_fixed(&io), 0);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	assert_int_equal(finish(w, &io), BYTES);
	assert_receives(pair[1], 'c');
	close(pair[0]);
	close(pair[1]);
}

static int try_send(struct world *w, struct daxpin_extent extent,
		    uint32_t length, int msg_flags, uint32_t flags)
{
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe sqe = { .user_data = 7 };	/* of an earlier request */
	int ret = daxpin_uring_prep_send(w->uring, &io, &sqe, 0, extent, 0,
					 length, msg_flags, flags);

	assert_int_equal(sqe.opcode == IORING_OP_NOP, ret != 0);
	if (!ret)
		assert_int_equal(daxpin_uring_abort(&io, &sqe), 0);
	/* The SQE cannot be taken back, so it must be a no-op that names no request. */
	assert_int_equal(sqe.opcode, IORING_OP_NOP);
	assert_int_equal(sqe.user_data, 0);
	return ret;
}

static void a_bad_send_is_refused(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	assert_int_equal(try_send(w, extent, BYTES, MSG_ZEROCOPY, 0), -EINVAL);
	assert_int_equal(try_send(w, extent, BYTES, 0, 0x80), -EINVAL);
	assert_int_equal(try_send(w, extent, BYTES + 1, 0, 0), -EINVAL);
	assert_int_equal(try_send(w, extent, BYTES, MSG_NOSIGNAL, 0), 0);
}

/* ---------------------------------------------------------------- commands */

static void a_command_gets_the_address_of_its_buffer(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe sqe;
	struct daxpin_extent extent;
	void *memory = NULL;

	need_fixed_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	fix(w, extent);
	assert_int_equal(daxpin_uring_prep_cmd(w->uring, &io, &sqe, 5, 77,
					       extent, 8, 16, DAXPIN_HOLD_READ,
					       &memory), 0);
	assert_ptr_equal(memory, daxpin_ptr(w->f.pool, extent, 8));
	assert_int_equal(sqe.opcode, IORING_OP_URING_CMD);
	assert_int_equal(sqe.fd, 5);
	assert_int_equal(sqe.cmd_op, 77);
	assert_int_equal(sqe.uring_cmd_flags & IORING_URING_CMD_FIXED,
			 target == FSDAX ? 0 : IORING_URING_CMD_FIXED);
	assert_int_equal(daxpin_uring_is_fixed(&io), target != FSDAX);
	assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	memory = NULL;
	assert_int_equal(daxpin_uring_prep_cmd(w->uring, &io, &sqe, 5, 77,
					       extent, 8, BYTES,
					       DAXPIN_HOLD_READ, &memory),
			 -EINVAL);
	assert_int_equal(daxpin_uring_prep_cmd(w->uring, &io, &sqe, 5, 77,
					       extent, 0, 1, 99, &memory),
			 -EINVAL);
	assert_null(memory);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
}

/* Waits until this many bytes have arrived at the socket. */
static void await_bytes(int socket, int bytes)
{
	int arrived = 0;

	for (int ms = 0; ms < 600000 && arrived < bytes; ms++) {
		assert_int_equal(ioctl(socket, FIONREAD, &arrived), 0);
		usleep(1000);
	}
	assert_int_equal(arrived, bytes);
}

/* The command reads the number of bytes in a socket. It does not access the extent. */
static void a_command_keeps_its_hold_until_its_cqe(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_sqe *sqe;
	struct daxpin_extent extent;
	struct io_uring_cqe cqe;
	void *memory;
	int from, to;

	assert_int_equal(attach(w, 0), 0);
	connect_pair(&from, &to);
	assert_int_equal(send(from, "12345", 5, 0), 5);
	extent = live(&w->f, BYTES);
	sqe = io_uring_get_sqe(&w->ring);
	assert_int_equal(daxpin_uring_prep_cmd(w->uring, &io, sqe, to,
					       SOCKET_COMMAND_INQ, extent, 0,
					       BYTES, DAXPIN_HOLD_WRITE,
					       &memory), 0);
	await_bytes(to, 5);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	next_cqe(w, &cqe);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	assert_int_equal(daxpin_uring_done(&io, &cqe), 1);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
	close(from);
	close(to);
	if (cqe.res == -EOPNOTSUPP || cqe.res == -EINVAL) {
		print_message("# skipped: this kernel has no socket commands\n");
		skip();
	}
	assert_int_equal(cqe.res, 5);
}

/* ---------------------------------------------------- a whole completion queue */

struct reaping {
	struct daxpin_uring_io io[4];
	struct world *w;
	struct daxpin_extent extent[4];
	int found;
};

static struct daxpin_uring_io *find_io(const struct io_uring_cqe *cqe,
				       void *arg)
{
	struct reaping *reaping = arg;

	if (cqe->user_data == 99)
		return NULL;
	/* The extent is still held. */
	assert_int_equal(daxpin_idle(reaping->w->f.pool,
				     reaping->extent[cqe->user_data]), 0);
	reaping->found++;
	return &reaping->io[cqe->user_data];
}

static void reap_handles_a_whole_completion_queue(void **state)
{
	struct world *w = *state;
	struct reaping reaping = { .w = w };
	struct io_uring_sqe *sqe;
	int fd = scratch_file();

	assert_int_equal(attach(w, 0), 0);
	assert_int_equal(daxpin_uring_reap(w->uring, &w->ring, find_io,
					   NULL, &reaping), 0);
	for (int i = 0; i < 4; i++) {
		reaping.extent[i] = live(&w->f, BYTES);
		sqe = io_uring_get_sqe(&w->ring);
		assert_int_equal(daxpin_uring_prep_write(w->uring,
							 &reaping.io[i], sqe,
							 fd, reaping.extent[i],
							 0, BYTES, 0), 0);
		sqe->user_data = i;
	}
	sqe = io_uring_get_sqe(&w->ring);
	io_uring_prep_nop(sqe);
	sqe->user_data = 99;
	assert_int_equal(io_uring_submit_and_wait(&w->ring, 5), 5);
	assert_int_equal(daxpin_uring_reap(w->uring, &w->ring, find_io,
					   NULL, &reaping), 5);
	assert_int_equal(reaping.found, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(daxpin_idle(w->f.pool, reaping.extent[i]), 1);
		assert_int_equal(daxpin_uring_is_fixed(&reaping.io[i]),
				 -EINVAL);
	}
	assert_int_equal(io_uring_cq_ready(&w->ring), 0);
	assert_int_equal(daxpin_uring_reap(w->uring, NULL, find_io, NULL, NULL),
			 -EINVAL);
	assert_int_equal(daxpin_uring_reap(w->uring, &w->ring, NULL, NULL, NULL),
			 -EINVAL);
	close(fd);
}

/*
 * find() returns a daxpin_uring_io that is not in use for the first completion. Reap
 * must still handle the others.
 */
static void reap_continues_after_a_completion_of_an_unused_io(void **state)
{
	struct world *w = *state;
	struct reaping reaping = { .w = w };
	struct io_uring_sqe *sqe;
	int fd = scratch_file();

	assert_int_equal(attach(w, 0), 0);
	for (int i = 0; i < 2; i++) {
		reaping.extent[i] = live(&w->f, BYTES);
		assert_int_equal(daxpin_hold(w->f.pool, reaping.extent[i],
					     DAXPIN_HOLD_READ), 0);
		sqe = io_uring_get_sqe(&w->ring);
		io_uring_prep_nop(sqe);
		if (i)
			assert_int_equal(daxpin_uring_prep_write(
				w->uring, &reaping.io[1], sqe, fd,
				reaping.extent[1], 0, BYTES, 0), 0);
		sqe->user_data = i;
	}
	assert_int_equal(io_uring_submit_and_wait(&w->ring, 2), 2);
	assert_int_equal(daxpin_uring_reap(w->uring, &w->ring, find_io,
					   NULL, &reaping),
			 -EINVAL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(daxpin_drop(w->f.pool, reaping.extent[i]), 0);
		assert_int_equal(daxpin_idle(w->f.pool, reaping.extent[i]), 1);
	}
	assert_int_equal(info_of(w->uring).in_flight, 0);
	close(fd);
}

/* The adapter identifies a request by the address of its struct. */
static void done_and_abort_refuse_a_copy_of_a_request(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io[3] = { { .uring = NULL } }, copy;
	struct io_uring_cqe cqe = { .res = 0 };
	struct daxpin_extent extent;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	for (int i = 0; i < 3; i++)
		start_read(w, &io[i], extent);
	copy = io[1];
	assert_int_equal(daxpin_uring_done(&copy, &cqe), -EINVAL);
	assert_int_equal(daxpin_uring_abort(&copy, NULL), -EINVAL);
	assert_int_equal(info_of(w->uring).in_flight, 3);
	assert_int_equal(daxpin_holds(w->f.pool, extent, NULL, NULL), 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(write(w->pipe[1], "x", 1), 1);
		assert_int_equal(finish(w, &io[i]), 1);
		/* The request of this copy may have ended by now. */
		assert_int_equal(daxpin_uring_done(&copy, &cqe), -EINVAL);
		assert_int_equal(info_of(w->uring).in_flight, 2 - i);
	}
}

/* ------------------------------------------------------------ kinds of ring */

static const struct {
	const char *name;
	unsigned int flags;
	int result;			/* what a read from a pipe returns */
} kinds[] = {
	{ "plain", 0, 5 },
	{ "SQPOLL", IORING_SETUP_SQPOLL, 5 },
	{ "SINGLE_ISSUER", IORING_SETUP_SINGLE_ISSUER, 5 },
	{ "SINGLE_ISSUER, DEFER_TASKRUN",
	  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 5 },
	{ "SQPOLL, SINGLE_ISSUER",
	  IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER, 5 },
	{ "COOP_TASKRUN", IORING_SETUP_COOP_TASKRUN, 5 },
	{ "SQE128, CQE32", IORING_SETUP_SQE128 | IORING_SETUP_CQE32, 5 },
	{ "R_DISABLED", IORING_SETUP_R_DISABLED, 5 },
	{ "R_DISABLED, SINGLE_ISSUER, DEFER_TASKRUN",
	  IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
	  IORING_SETUP_DEFER_TASKRUN, 5 },
	{ "R_DISABLED, SQPOLL",
	  IORING_SETUP_R_DISABLED | IORING_SETUP_SQPOLL, 5 },
	/*
	 * The kernel refuses a file that cannot be polled, when the request is
	 * submitted.
	 */
	{ "IOPOLL", IORING_SETUP_IOPOLL, -EOPNOTSUPP },
	{ "IOPOLL, SQPOLL", IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL,
	  -EOPNOTSUPP },
	{ "IOPOLL, SINGLE_ISSUER, DEFER_TASKRUN",
	  IORING_SETUP_IOPOLL | IORING_SETUP_SINGLE_ISSUER |
	  IORING_SETUP_DEFER_TASKRUN, -EOPNOTSUPP },
};

/* liburing 2.3 declares io_uring_enable_rings() without defining it. */
static int enable(struct io_uring *ring)
{
	return syscall(__NR_io_uring_register, ring->ring_fd,
		       IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

/* Registers the extent's segment and makes two reads by that fixed buffer. */
static void read_by_ring(struct world *w, struct daxpin_extent extent,
			 int result)
{
	struct daxpin_uring_io io = { .uring = NULL };

	fix(w, extent);
	for (int i = 0; i < 2; i++) {
		memset(daxpin_ptr(w->f.pool, extent, 0), 0, 5);
		start_read(w, &io, extent);
		assert_int_equal(daxpin_uring_is_fixed(&io), target != FSDAX);
		assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
		if (result > 0)
			assert_int_equal(write(w->pipe[1], "late", 5), 5);
		assert_int_equal(finish(w, &io), result);
		assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
		assert_string_equal(daxpin_ptr(w->f.pool, extent, 0),
				    result > 0 ? "late" : "");
	}
}

static void rings_of_every_kind_can_be_attached(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, BYTES);

	need_fixed_buffers(w);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int ret;

		io_uring_queue_exit(&w->ring);
		ret = io_uring_queue_init(8, &w->ring, kinds[i].flags);
		if (ret) {
			assert_int_equal(io_uring_queue_init(8, &w->ring, 0),
					 0);
			print_message("# skipped: %s: %s\n", kinds[i].name,
				      strerror(-ret));
			continue;
		}
		print_message("# %s\n", kinds[i].name);
		assert_int_equal(attach(w, 0), 0);
		if (kinds[i].flags & IORING_SETUP_R_DISABLED)
			assert_int_equal(enable(&w->ring), 0);
		read_by_ring(w, extent, kinds[i].result);
		assert_int_equal(daxpin_uring_service(w->uring), 0);
		assert_int_equal(daxpin_uring_detach(w->uring), 0);
		w->uring = NULL;
	}
}

/* The application gives only the index of the registered ring descriptor. */
static void a_ring_given_by_its_registered_index_can_be_attached(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	struct io_uring view;
	int ret = io_uring_register_ring_fd(&w->ring);

	need_fixed_buffers(w);
	assert_int_equal(ret, 1);
	view = w->ring;
	view.ring_fd = -1;
	ret = daxpin_uring_attach(w->f.pool, &view, &options, &w->uring);
	if (ret == -EINVAL) {
		print_message("# skipped: io_uring_register() takes no ring index\n");
		skip();
	}
	assert_int_equal(ret, 0);
	read_by_ring(w, live(&w->f, BYTES), 5);
}

static void a_descriptor_that_is_not_a_ring_is_refused(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_options options = uring_options(w, 0);
	struct io_uring none = { .ring_fd = w->pipe[0], .enter_ring_fd = -1 };

	assert_true(daxpin_uring_attach(w->f.pool, &none, &options,
					&w->uring) < 0);
	assert_true(strlen(w->f.errmsg) > 0);
	none.ring_fd = -1;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &none, &options,
					     &w->uring), -EBADF);
	assert_true(strlen(w->f.errmsg) > 0);
}

struct other_thread {
	struct world *w;
	int attached, served, detached;
};

static void *attach_or_detach_there(void *arg)
{
	struct other_thread *other_thread = arg;
	struct daxpin_uring_options options = uring_options(other_thread->w, 0);
	struct daxpin_uring *uring;

	if (other_thread->w->uring) {
		other_thread->detached = daxpin_uring_detach(other_thread->w->uring);
		return NULL;
	}
	other_thread->attached = daxpin_uring_attach(other_thread->w->f.pool,
						     &other_thread->w->ring, &options,
						     &uring);
	return NULL;
}

static void a_single_issuer_ring_is_refused_in_other_threads(void **state)
{
	struct world *w = *state;
	struct other_thread other_thread = { .w = w };
	pthread_t thread;

	need_fixed_buffers(w);
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &w->ring,
					     IORING_SETUP_SINGLE_ISSUER), 0);
	assert_int_equal(pthread_create(&thread, NULL, attach_or_detach_there,
					&other_thread), 0);
	pthread_join(thread, NULL);
	assert_int_equal(other_thread.attached, -EEXIST);
	assert_non_null(strstr(w->f.errmsg, "another thread"));
	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	assert_int_equal(pthread_create(&thread, NULL, attach_or_detach_there,
					&other_thread), 0);
	pthread_join(thread, NULL);
	assert_int_equal(other_thread.detached, -EEXIST);
	/*
	 * The failed calls of the other thread changed nothing, so the ring works here.
	 */
	read_by_ring(w, live(&w->f, BYTES), 5);
}

static void *call_service_there(void *arg)
{
	struct other_thread *other_thread = arg;

	other_thread->served = daxpin_uring_service(other_thread->w->uring);
	return NULL;
}

/*
 * A reclaim requests a segment. Only a call in the thread of the ring can give it back.
 */
static void a_defer_taskrun_ring_gives_segments_back_in_its_thread(void **state)
{
	struct world *w = *state;
	struct other_thread other_thread = { .w = w };
	struct daxpin_job *job;
	pthread_t thread;

	need_reclaimable_buffers(w);
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &w->ring,
					     IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN), 0);
	assert_int_equal(attach(w, DAXPIN_URING_NEED_FIXED), 0);
	assert_int_equal(info_of(w->uring).fixed_segments, 2);
	job = begin_reclaim(w, 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(50)),
			 -ETIMEDOUT);
	assert_int_equal(pthread_create(&thread, NULL, call_service_there,
					&other_thread), 0);
	pthread_join(thread, NULL);
	assert_int_equal(other_thread.served, -EEXIST);
	assert_int_equal(info_of(w->uring).fixed_segments, 2);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(50)),
			 -ETIMEDOUT);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	end_reclaim(job);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
}

/* After a reclaim requested a segment, no new request uses its fixed buffer. */
static void a_segment_that_a_reclaim_requests_gets_no_fixed_requests(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io[2] = { { .uring = NULL } };
	struct daxpin_extent extent = live(&w->f, BYTES);
	struct daxpin_job *job;

	need_reclaimable_buffers(w);
	assert_int_equal(attach(w, 0), 0);
	fix(w, extent);
	start_read(w, &io[0], extent);
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(finish(w, &io[0]), 1);
	/*
	 * No extent of the segment is held, so the reclaim requests it immediately. New
	 * holds are still allowed.
	 */
	job = begin_reclaim(w, 0);
	start_read(w, &io[0], extent);
	assert_int_equal(daxpin_uring_is_fixed(&io[0]), 1);
	assert_int_equal(daxpin_uring_service(w->uring), 0);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
	assert_int_equal(daxpin_uring_prep_write(w->uring, &io[1],
						 io_uring_get_sqe(&w->ring),
						 w->pipe[1], extent, 0, 5, 0),
			 0);
	assert_int_equal(daxpin_uring_is_fixed(&io[1]), 0);
	assert_int_equal(daxpin_uring_abort(&io[1], NULL), 0);
	assert_int_equal(write(w->pipe[1], "late", 5), 5);
	/*
	 * The completion of the last request gives the segment back, and then it is
	 * punched.
	 */
	assert_int_equal(finish(w, &io[0]), 5);
	assert_int_equal(info_of(w->uring).fixed_segments, 0);
	end_reclaim(job);
	assert_string_equal(daxpin_ptr(w->f.pool, extent, 0), "late");
}

/* ------------------------------------------------------------ after the end */

static void done_and_abort_after_the_detach_are_einval(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct io_uring_cqe cqe = { .res = 0 };

	assert_int_equal(attach(w, 0), 0);
	start_read(w, &io, live(&w->f, BYTES));
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	assert_int_equal(finish(w, &io), 1);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(daxpin_uring_done(&io, &cqe), -EINVAL);
	assert_int_equal(daxpin_uring_abort(&io, NULL), -EINVAL);
	assert_int_equal(daxpin_uring_is_fixed(&io), -EINVAL);
	assert_int_equal(daxpin_uring_service(NULL), -EINVAL);
	assert_int_equal(daxpin_uring_info(NULL, NULL), -EINVAL);
}

static struct daxpin_uring *attach_and_detach(struct world *w)
{
	struct daxpin_uring *gone;

	assert_int_equal(attach(w, 0), 0);
	gone = w->uring;
	assert_int_equal(daxpin_uring_detach(gone), 0);
	w->uring = NULL;
	return gone;
}

/* The library remembers at least 64 detached rings. */
static void calls_on_a_detached_ring_are_estale(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_info info = { .size = sizeof(info) };
	struct daxpin_extent extent = live(&w->f, BYTES);
	struct daxpin_uring_vec vec = { .extent = extent, .length = 4096 };
	struct daxpin_uring *gone = attach_and_detach(w);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
	struct daxpin_uring_io io = { .uring = NULL };
	int fd = w->pipe[0];
	struct iovec iov;
	void *at;

	for (int i = 1; i < 64; i++)
		assert_ptr_not_equal(attach_and_detach(w), gone);
	assert_int_equal(daxpin_uring_info(gone, &info), -ESTALE);
	assert_int_equal(daxpin_uring_service(gone), -ESTALE);
	assert_int_equal(daxpin_uring_detach(gone), -ESTALE);
	assert_int_equal(daxpin_uring_prep_read(gone, &io, sqe, fd, extent, 0,
						4096, 0), -ESTALE);
	assert_int_equal(daxpin_uring_prep_write(gone, &io, sqe, fd, extent, 0,
						 4096, 0), -ESTALE);
	assert_int_equal(daxpin_uring_prep_readv(gone, &io, sqe, fd, &vec, &iov,
						 1, 0), -ESTALE);
	assert_int_equal(daxpin_uring_prep_send(gone, &io, sqe, fd, extent, 0,
						4096, 0, 0), -ESTALE);
	assert_int_equal(daxpin_uring_prep_cmd(gone, &io, sqe, fd, 0, extent, 0,
					       4096, DAXPIN_HOLD_READ, &at),
			 -ESTALE);
	assert_int_equal(sqe->opcode, IORING_OP_NOP);
	assert_int_equal(daxpin_uring_is_fixed(&io), -EINVAL);
}

/* Another ring gets the same descriptor number. The detach must not change it. */
static void a_ring_that_was_freed_first_can_be_detached(void **state)
{
	struct world *w = *state;
	struct io_uring other;
	char byte = 1;
	struct iovec iov = { &byte, 1 };
	int fd = w->ring.ring_fd;

	assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &other, 0), 0);
	assert_int_equal(other.ring_fd, fd);
	assert_int_equal(io_uring_register_files(&other, &w->pipe[0], 1), 0);
	assert_int_equal(io_uring_register_buffers(&other, &iov, 1), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
	assert_int_equal(io_uring_unregister_files(&other), 0);
	assert_int_equal(io_uring_unregister_buffers(&other), 0);
	w->ring = other;
	assert_int_equal(fixture_reopen(&w->f), 0);
}

/*
 * The read is still in flight although its completion can no longer be read, so the
 * extent is not reused.
 */
static void a_ring_freed_during_a_read_keeps_its_hold(void **state)
{
	struct world *w = *state;
	struct daxpin_uring_io io = { .uring = NULL };
	struct daxpin_extent extent;
	volatile char *memory;

	assert_int_equal(attach(w, 0), 0);
	extent = live(&w->f, BYTES);
	memory = daxpin_ptr(w->f.pool, extent, 0);
	memory[0] = 0;
	start_read(w, &io, extent);
	io_uring_queue_exit(&w->ring);
	assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
	assert_int_equal(publish(&w->f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_uring_detach(w->uring), -EBUSY);
	assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 0);
	/* The read does land. */
	assert_int_equal(write(w->pipe[1], "x", 1), 1);
	for (int i = 0; i < 60000 && memory[0] != 'x'; i++)
		usleep(10000);
	assert_int_equal(memory[0], 'x');
	assert_int_equal(daxpin_uring_abort(&io, NULL), 0);
	assert_int_equal(daxpin_idle(w->f.pool, extent), 1);
}

/* -------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* uring_prep shmem|devdax|fsdax */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_vector_in_one_segment_is_fixed_if_the_kernel_supports_it),
		TEST(a_vector_in_two_segments_is_plain),
		TEST(a_vector_with_a_bad_piece_takes_no_hold),
		TEST(a_request_into_an_object_is_refused),
		TEST(a_cancelled_vector_ends_its_holds_at_the_cqe),
		TEST(an_aborted_vector_leaves_no_hold),
		TEST(an_excess_drop_is_reported_at_the_end_of_the_request),
		TEST(the_hold_of_a_send_ends_with_its_notification),
		TEST(a_send_without_zerocopy_works_on_any_socket),
		TEST(a_bad_send_is_refused),
		TEST(a_command_gets_the_address_of_its_buffer),
		TEST(a_command_keeps_its_hold_until_its_cqe),
		TEST(reap_handles_a_whole_completion_queue),
		TEST(reap_continues_after_a_completion_of_an_unused_io),
		TEST(done_and_abort_refuse_a_copy_of_a_request),
		TEST(rings_of_every_kind_can_be_attached),
		TEST(a_ring_given_by_its_registered_index_can_be_attached),
		TEST(a_descriptor_that_is_not_a_ring_is_refused),
		TEST(a_single_issuer_ring_is_refused_in_other_threads),
		TEST(a_defer_taskrun_ring_gives_segments_back_in_its_thread),
		TEST(a_segment_that_a_reclaim_requests_gets_no_fixed_requests),
		TEST(done_and_abort_after_the_detach_are_einval),
		TEST(calls_on_a_detached_ring_are_estale),
		TEST(a_ring_that_was_freed_first_can_be_detached),
		TEST(a_ring_freed_during_a_read_keeps_its_hold),
	};

	if (!choose_target(argc > 1 ? argv[1] : "shmem"))
		return 0;
	return cmocka_run_group_tests_name("uring_prep", tests, NULL, NULL);
}
