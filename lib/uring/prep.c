/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: each holds its extents from prep to its last CQE, whatever its result
 * (I9, A5). Only this file decides whether a request names a buffer slot.
 */
#include <limits.h>
#include <sys/socket.h>
#include "uring/buffer_slots.h"
#include "uring/prep.h"
#include "util/cancel.h"

#define VECTORS_MAX	IOV_MAX		/* the kernel's UIO_MAXIOV */

struct piece {
	struct daxpin_extent extent;
	uint64_t offset;
	uint32_t length;
};

/* Take a hold, then check the range: the size of an extent cannot change while it is
 * held. */
static int prep_take(struct daxpin_uring *uring, struct daxpin_hold *hold,
		     struct daxpin_extent extent, uint64_t offset,
		     uint32_t length, uint32_t access, const char *label)
{
	int ret = daxpin_hold_labelled(uring->pool, extent, access, label,
				       hold);

	if (ret)
		return ret;
	if (length && offset <= hold->bytes && length <= hold->bytes - offset)
		return 0;
	daxpin_drop_labelled(uring->pool, hold);
	return -EINVAL;
}

static void prep_begin(struct daxpin_uring *uring, struct daxpin_uring_io *io,
		       int slot)
{
	struct daxpin_uring_io **first = &uring->requests.first;

	io->uring = uring;
	io->fixed = slot;
	io->next = *first;
	io->prev = first;
	if (io->next)
		io->next->prev = &io->next;
	*first = io;
	uring->requests.unfinished++;
}

static uint32_t prep_segment_of(const struct daxpin_uring *uring,
				struct daxpin_extent extent)
{
	return extent.addr >> uring->segment_shift;
}

/* The address of an offset that prep_take() has found to be inside the extent. */
static void *prep_memory_of(const struct daxpin_uring *uring,
			    struct daxpin_extent extent, uint64_t offset)
{
	uint64_t mask = (1ull << uring->segment_shift) - 1;
	char *base =
		dp_uring_segment_base(uring, prep_segment_of(uring, extent));

	return base + (extent.addr & mask) + offset;
}

/* The segment's slot if the request can name one (`can`); or -1. */
static int prep_use_slot(struct daxpin_uring *uring, uint32_t segment, bool can)
{
	if (can)
		return dp_uring_slot_use(uring, segment);
	dp_uring_slot_refused(uring);
	return -1;
}

/* Begin a request of one extent; *ret_at is the address of its memory. Inline, so that
 * the compiler does not store the piece in memory and load it from there again. */
static inline __attribute__((always_inline))
int prep_begin_one(struct daxpin_uring *uring, struct daxpin_uring_io *io,
			  const struct piece *piece, uint32_t access,
			  const char *label, bool can_be_fixed, void **ret_at)
{
	struct daxpin_extent extent = piece->extent;
	int ret = prep_take(uring, &io->hold, extent, piece->offset,
			    piece->length, access, label);

	if (ret)
		return ret;
	*ret_at = prep_memory_of(uring, extent, piece->offset);
	io->vec_count = 0;
	prep_begin(uring, io,
		   prep_use_slot(uring, prep_segment_of(uring, extent),
				 can_be_fixed));
	return 0;
}

static int prep_check_usable(const struct daxpin_uring *uring,
			     const struct daxpin_uring_io *io,
			     const struct io_uring_sqe *sqe)
{
	return !io || io->uring || !sqe ? -EINVAL : dp_uring_enter_ring(uring);
}

/*
 * Make a request of which the prep failed do nothing: the program has taken the sqe
 * from the queue, so the next submit submits it. Its user data must be 0. It may still
 * be that of an earlier request that used the same sqe, and then the CQE of the nop
 * would end that request, and drop its hold, while it is in flight.
 */
static void prep_make_nop(struct io_uring_sqe *sqe)
{
	io_uring_prep_nop(sqe);
	sqe->user_data = 0;
}

static __attribute__((cold))
int prep_refuse(struct io_uring_sqe *sqe, int error)
{
	assert(error < 0);
	if (sqe)
		prep_make_nop(sqe);
	return error;
}

/* ---------------------------------------------------------- read and write */

DP_EXPORT int daxpin_uring_prep_read(struct daxpin_uring *uring,
				     struct daxpin_uring_io *io,
				     struct io_uring_sqe *sqe, int fd,
				     struct daxpin_extent extent,
				     uint64_t offset, uint32_t length,
				     uint64_t file_offset)
{
	void *at;
	int ret = prep_check_usable(uring, io, sqe);

	if (!ret)
		ret = prep_begin_one(uring, io,
				     &(struct piece){ extent, offset, length },
				     DAXPIN_HOLD_WRITE, uring->read_label, true,
				     &at);
	if (ret)
		return prep_refuse(sqe, ret);
	if (io->fixed >= 0)
		io_uring_prep_read_fixed(sqe, fd, at, length, file_offset,
					 io->fixed);
	else
		io_uring_prep_read(sqe, fd, at, length, file_offset);
	return 0;
}

DP_EXPORT int daxpin_uring_prep_write(struct daxpin_uring *uring,
				      struct daxpin_uring_io *io,
				      struct io_uring_sqe *sqe, int fd,
				      struct daxpin_extent extent,
				      uint64_t offset, uint32_t length,
				      uint64_t file_offset)
{
	void *at;
	int ret = prep_check_usable(uring, io, sqe);

	if (!ret)
		ret = prep_begin_one(uring, io,
				     &(struct piece){ extent, offset, length },
				     DAXPIN_HOLD_READ, uring->write_label, true,
				     &at);
	if (ret)
		return prep_refuse(sqe, ret);
	if (io->fixed >= 0)
		io_uring_prep_write_fixed(sqe, fd, at, length, file_offset,
					  io->fixed);
	else
		io_uring_prep_write(sqe, fd, at, length, file_offset);
	return 0;
}

/* ----------------------------------------------------- many pieces at once */

/* Drop the holds of all pieces, even if a drop fails. Returns the first error. */
static int prep_drop_pieces(struct daxpin_uring *uring,
			    struct daxpin_uring_vec *vec, uint32_t count)
{
	int first = 0;

	for (uint32_t i = 0; i < count; i++) {
		int ret = daxpin_drop_labelled(uring->pool, &vec[i].hold);

		first = first ? first : ret;
	}
	return first;
}

static int prep_take_pieces(struct daxpin_uring *uring,
			    struct daxpin_uring_vec *vec, struct iovec *iov,
			    uint32_t count, uint32_t access, const char *label)
{
	for (uint32_t i = 0; i < count; i++) {
		int ret = prep_take(uring, &vec[i].hold, vec[i].extent,
				    vec[i].offset, vec[i].length, access,
				    label);

		if (ret) {
			prep_drop_pieces(uring, vec, i);
			return ret;
		}
		iov[i].iov_base = prep_memory_of(uring, vec[i].extent,
						 vec[i].offset);
		iov[i].iov_len = vec[i].length;
	}
	return 0;
}

/* One slot is all that a request can name. */
static int prep_use_slot_of_pieces(struct daxpin_uring *uring,
				   const struct daxpin_uring_vec *vec,
				   uint32_t count)
{
	uint32_t segment = prep_segment_of(uring, vec[0].extent);
	bool can = uring->has_vectors;

	for (uint32_t i = 1; i < count; i++)
		can &= prep_segment_of(uring, vec[i].extent) == segment;
	return prep_use_slot(uring, segment, can);
}

/* All are held, and the request has begun; or none is. */
static int prep_begin_pieces(struct daxpin_uring *uring,
			     struct daxpin_uring_io *io,
			     struct daxpin_uring_vec *vec, struct iovec *iov,
			     uint32_t count, bool read)
{
	int ret;

	if (!vec || !iov || !count || count > VECTORS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++)
		if (vec[i].reserved[0] || vec[i].reserved[1] || vec[i].flags)
			return -EINVAL;
	ret = prep_take_pieces(uring, vec, iov, count,
			       read ? DAXPIN_HOLD_WRITE : DAXPIN_HOLD_READ,
			       read ? uring->read_label : uring->write_label);
	if (ret)
		return ret;
	io->vec = vec;
	io->vec_count = count;
	prep_begin(uring, io, prep_use_slot_of_pieces(uring, vec, count));
	return 0;
}

static int prep_pieces(struct daxpin_uring *uring, struct daxpin_uring_io *io,
		       struct io_uring_sqe *sqe, int fd,
		       struct daxpin_uring_vec *vec, struct iovec *iov,
		       uint32_t count, uint64_t file_offset, bool read)
{
	int ret = prep_check_usable(uring, io, sqe);

	if (!ret)
		ret = prep_begin_pieces(uring, io, vec, iov, count, read);
	if (ret)
		return prep_refuse(sqe, ret);
	if (read)
		io_uring_prep_readv(sqe, fd, iov, count, file_offset);
	else
		io_uring_prep_writev(sqe, fd, iov, count, file_offset);
	if (io->fixed >= 0) {
		sqe->opcode = read ? DP_URING_OP_READV_FIXED :
			      DP_URING_OP_WRITEV_FIXED;
		sqe->buf_index = io->fixed;
	}
	return 0;
}

DP_EXPORT int daxpin_uring_prep_readv(struct daxpin_uring *uring,
				      struct daxpin_uring_io *io,
				      struct io_uring_sqe *sqe, int fd,
				      struct daxpin_uring_vec *vec,
				      struct iovec *iov, uint32_t count,
				      uint64_t file_offset)
{
	return prep_pieces(uring, io, sqe, fd, vec, iov, count, file_offset,
			   true);
}

DP_EXPORT int daxpin_uring_prep_writev(struct daxpin_uring *uring,
				       struct daxpin_uring_io *io,
				       struct io_uring_sqe *sqe, int fd,
				       struct daxpin_uring_vec *vec,
				       struct iovec *iov, uint32_t count,
				       uint64_t file_offset)
{
	return prep_pieces(uring, io, sqe, fd, vec, iov, count, file_offset,
			   false);
}

/* ------------------------------------------------------ sockets, commands */

/*
 * If there is no slot it is an ordinary send, which copies: a zero-copy send of plain
 * memory would keep its pages as long as the peer likes, and delay every punch on
 * fsdax (kernel.md K6). MSG_ZEROCOPY is refused because it does the same.
 */
DP_EXPORT int daxpin_uring_prep_send(struct daxpin_uring *uring,
				     struct daxpin_uring_io *io,
				     struct io_uring_sqe *sqe, int fd,
				     struct daxpin_extent extent,
				     uint64_t offset, uint32_t length,
				     int msg_flags, uint32_t flags)
{
	void *at;
	int ret = prep_check_usable(uring, io, sqe);

	if (msg_flags & MSG_ZEROCOPY || flags & ~DAXPIN_URING_SEND_COPY)
		ret = -EINVAL;
	if (!ret)
		ret = prep_begin_one(
			uring, io, &(struct piece){ extent, offset, length },
			DAXPIN_HOLD_READ, uring->send_label,
			uring->has_send_zc && !(flags & DAXPIN_URING_SEND_COPY),
			&at);
	if (ret)
		return prep_refuse(sqe, ret);
	if (io->fixed >= 0)
		io_uring_prep_send_zc_fixed(sqe, fd, at, length, msg_flags, 0,
					    io->fixed);
	else
		io_uring_prep_send(sqe, fd, at, length, msg_flags);
	return 0;
}

DP_EXPORT int daxpin_uring_prep_cmd(struct daxpin_uring *uring,
				    struct daxpin_uring_io *io,
				    struct io_uring_sqe *sqe, int fd,
				    uint32_t cmd_op,
				    struct daxpin_extent extent,
				    uint64_t offset, uint32_t length,
				    uint32_t access, void **ret_memory)
{
	void *at;
	int ret = prep_check_usable(uring, io, sqe);

	if (!ret && !ret_memory)
		ret = -EINVAL;
	if (!ret)
		ret = prep_begin_one(uring, io,
				     &(struct piece){ extent, offset, length },
				     access, uring->command_label, true, &at);
	if (ret)
		return prep_refuse(sqe, ret);
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = cmd_op;
	if (io->fixed >= 0) {
		sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
		sqe->buf_index = io->fixed;
	}
	*ret_memory = at;
	return 0;
}

DP_EXPORT int daxpin_uring_is_fixed(const struct daxpin_uring_io *io)
{
	return io && io->uring ? io->fixed >= 0 : -EINVAL;
}

/* ------------------------------------------------------------- completions */

/* False for a copy of the struct: the list of the ring points to the original. */
static bool prep_is_in_use(const struct daxpin_uring_io *io)
{
	return io && io->uring && io->prev && *io->prev == io;
}

/* The request has ended, or was never submitted. */
static int prep_end(struct daxpin_uring_io *io)
{
	struct daxpin_uring *uring = io->uring;
	int ret;

	if (io->vec_count)
		ret = prep_drop_pieces(uring, io->vec, io->vec_count);
	else
		ret = daxpin_drop_labelled(uring->pool, &io->hold);
	if (ret == -EOWNERDEAD)
		return ret;
	/* Any other error means that an excess drop had ended the hold. */
	assert(uring->requests.unfinished && *io->prev == io);
	uring->requests.unfinished--;
	*io->prev = io->next;
	if (io->next)
		io->next->prev = io->prev;
	io->prev = NULL;
	if (io->fixed >= 0)
		dp_uring_slot_release(uring, io->fixed);
	io->uring = NULL;
	return ret;
}

void dp_uring_requests_end(struct daxpin_uring *uring)
{
	struct daxpin_uring_io *io;
	int ret;

	while ((io = uring->requests.first)) {
		io->fixed = -1;
		/* An excess drop cannot be reported any more. */
		ret = prep_end(io);
		assert(ret != -EOWNERDEAD && uring->requests.first != io);
	}
	assert(!uring->requests.unfinished);
}

DP_EXPORT int daxpin_uring_done(struct daxpin_uring_io *io,
				const struct io_uring_cqe *cqe)
{
	int ret;

	if (!prep_is_in_use(io) || !cqe)
		return -EINVAL;
	if (cqe->flags & IORING_CQE_F_MORE)
		return 0;
	ret = prep_end(io);
	return ret ? ret : 1;
}

DP_EXPORT int daxpin_uring_abort(struct daxpin_uring_io *io,
				 struct io_uring_sqe *sqe)
{
	if (!prep_is_in_use(io))
		return -EINVAL;
	if (sqe)
		prep_make_nop(sqe);
	return prep_end(io);
}

/* ------------------------------------------------------ a completion queue */

/* IORING_CQE_F_32: this CQE has 32 bytes. The oldest supported liburing does not define
 * it. */
#define CQE_IS_BIG		(1u << 15)

/* A copy of a CQE, which is valid after the CQE has left the queue. */
union reap_cqe {
	struct io_uring_cqe cqe;
	unsigned char bytes[2 * sizeof(struct io_uring_cqe)];
};

struct reap {
	struct io_uring *ring;
	struct daxpin_uring_io *(*find)(const struct io_uring_cqe *cqe,
					void *arg);
	void (*ended)(struct daxpin_uring_io *io,
		      const struct io_uring_cqe *cqe, void *arg);
	void *arg;
	bool was_entered;		/* since the last CQE was found */
};

/*
 * The kernel has completions, or may have, that appear in the queue only when
 * the ring is entered. It sets a flag for those of task work only if the ring was
 * made with IORING_SETUP_TASKRUN_FLAG.
 */
static bool reap_is_kept_back(const struct io_uring *ring)
{
	const unsigned int silent =
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN;
	unsigned int sq_flags = IO_URING_READ_ONCE(*ring->sq.kflags);

	if (sq_flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN) ||
	    ring->flags & IORING_SETUP_IOPOLL)
		return true;
	return ring->flags & silent &&
	       !(ring->flags & IORING_SETUP_TASKRUN_FLAG);
}

/* 0, -EAGAIN: the queue is empty, or -errno. */
static int reap_next(struct reap *reap, struct io_uring_cqe **ret_cqe)
{
	int ret = io_uring_peek_cqe(reap->ring, ret_cqe);

	if (ret == -EAGAIN && !reap->was_entered &&
	    reap_is_kept_back(reap->ring)) {
		reap->was_entered = true;
		ret = io_uring_get_events(reap->ring);
		/* A ring that was never enabled has no completions. */
		if (ret < 0 && ret != -EINTR && ret != -EBADFD)
			return ret;
		ret = io_uring_peek_cqe(reap->ring, ret_cqe);
	}
	return ret;
}

/*
 * The CQE leaves the queue before ended() is called, which may use the ring and
 * call daxpin_uring_reap() again.
 */
static int reap_one(struct reap *reap, struct io_uring_cqe *cqe)
{
	struct daxpin_uring_io *io = reap->find(cqe, reap->arg);
	bool is_big = reap->ring->flags & IORING_SETUP_CQE32 ||
		      cqe->flags & CQE_IS_BIG;
	union reap_cqe copy;
	bool was_in_use = io && io->uring;
	int ret = 0;

	/* Two copies of constant size, because one of variable size would be a call. */
	memcpy(copy.bytes, cqe, sizeof(*cqe));
	if (is_big)
		memcpy(copy.bytes + sizeof(*cqe), cqe + 1, sizeof(*cqe));
	io_uring_cqe_seen(reap->ring, cqe);
	reap->was_entered = false;
	if (io)
		ret = daxpin_uring_done(io, &copy.cqe);
	if (was_in_use && !io->uring && reap->ended)
		reap->ended(io, &copy.cqe, reap->arg);
	return ret < 0 ? ret : 0;
}

/* Give back what a reclaim wants, as daxpin_uring_service() does. */
static int reap_serve(struct daxpin_uring *uring)
{
	uint32_t segment = 0;

	int ret = 0;

	/* ended() may have detached the ring, or begun to abandon it: then do
	 * nothing. */
	if (dp_uring_enter_ring(uring))
		return 0;
	if (daxpin_registration_wanted(uring->registration, &segment) > 0)
		ret = dp_uring_table_service(uring);
	dp_uring_table_fill_on_demand(uring);
	return ret;
}

DP_EXPORT int
daxpin_uring_reap(struct daxpin_uring *uring, struct io_uring *ring,
		  struct daxpin_uring_io *(*find)(const struct io_uring_cqe *cqe,
						  void *arg),
		  void (*ended)(struct daxpin_uring_io *io,
				const struct io_uring_cqe *cqe, void *arg),
		  void *arg)
{
	DP_UNCANCELLED();
	struct reap reap = {
		.ring = ring, .find = find, .ended = ended, .arg = arg
	};
	struct io_uring_cqe *cqe;
	int error = dp_uring_enter(uring), count = 0, ret;

	if (error || !ring || !find)
		return error ? error : -EINVAL;
	while (!(ret = reap_next(&reap, &cqe))) {
		ret = reap_one(&reap, cqe);
		error = error ? error : ret;
		count++;
	}
	if (!error && ret != -EAGAIN)
		error = ret;
	ret = reap_serve(uring);
	error = error ? error : ret;
	return error ? error : count;
}
