/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin for io_uring: I/O between files and a pool, each request holding its
 * extent from prep to its last CQE. Written on daxpin.h alone.
 *
 * The calls belong to the ring's thread, as liburing's do. The one place that
 * decides between fixed buffers and plain reads and writes is prep: the
 * caller's code is the same on device-dax, fsdax and shmem.
 */
#ifndef DAXPIN_URING_H
#define DAXPIN_URING_H

#include <daxpin.h>
#include <liburing.h>

#ifdef __cplusplus
extern "C" {
#endif

struct daxpin_uring;

#define DAXPIN_URING_PLAIN	0x1u	/* register no buffers */
#define DAXPIN_URING_NEED_FIXED	0x2u	/* EAGER, and fail rather than fall back to
					   plain */

#define DAXPIN_URING_EAGER	0x4u	/* register at attach what can be */
#define DAXPIN_URING_BUFFER_RANGE 0x8u	/* a range of the ring's own table */

#define DAXPIN_URING_SLOTS_MAX	16384u	/* of a buffer table */
#define DAXPIN_URING_OWN_FILES	(-1)	/* the adapter registers a file table */
#define DAXPIN_URING_FILES	3u	/* slots that it takes in a file table */

struct daxpin_uring_options {
	size_t size;			/* sizeof(struct daxpin_uring_options) */
	uint32_t flags;			/* DAXPIN_URING_... */
	int file_slot;			/* the first of DAXPIN_URING_FILES free slots
					   beside each other in the ring's
					   registered-file table (-EBUSY: one is in
					   use; -EINVAL: the table ends before), or
					   OWN_FILES */
	const char *label;		/* shown by daxpin_holds(), with "read, "
					   or "write, " before it at the holds
					   of requests; copied */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	uint32_t buffer_slot;		/* BUFFER_RANGE: the first of these slots in
					   the table that the ring has; all must be
					   free (-EBUSY: one is in use) */
	uint32_t buffer_slots;		/* how many; else the most that the table of
					   the adapter's may have, 0: one a segment */
};

struct daxpin_uring_info {
	size_t size;			/* sizeof(struct daxpin_uring_info) */
	uint32_t fixed_segments;	/* registered as fixed buffers now */
	uint32_t plain_segments;	/* the others */
	int file_slot;			/* the first of DAXPIN_URING_FILES */
	int fallback;			/* 0, or the -errno that last kept a segment
					   from being fixed; -ENOMEM: memory to lock */
	uint64_t registered_bytes;	/* what RLIMIT_MEMLOCK is charged */
	uint64_t in_flight;		/* requests prepared and not done */
	uint64_t registrations;		/* slots filled, since attach */
	uint64_t evictions;		/* slots emptied for another segment */
	uint64_t fallbacks;		/* requests that went plain, but not by PLAIN */
	uint64_t needed_bytes;		/* to have all segments registered */
	uint64_t limit_bytes;		/* RLIMIT_MEMLOCK, which binds those who
					   lack CAP_IPC_LOCK; UINT64_MAX: none */
	uint32_t buffer_slot;		/* the range of buffer slots, */
	uint32_t buffer_slots;		/* 0: there is none */
};

/* Caller-owned, one per request in flight, zeroed once; reusable after done. */
struct daxpin_uring_io {
	struct daxpin_hold hold;
	struct daxpin_uring *uring;	/* NULL: not in use */
	int fixed;			/* the library's: buffer slot, or -1 */
	uint32_t vec_count;		/* the library's, as is vec */
	struct daxpin_uring_vec *vec;
};

/* A piece of a vectored request. Caller-owned, hold zeroed once; it stays where
 * it is until the request is done. */
struct daxpin_uring_vec {
	struct daxpin_extent extent;
	uint64_t offset;
	uint32_t length;
	struct daxpin_hold hold;	/* the library's */
};

/*
 * Attach a ring: what keeps the pool locked goes into its registered-file table,
 * before anything else. A segment becomes a fixed buffer at its first request, where
 * backing, kernel, slots and memory allow; see `fallback` and `fallbacks`.
 * Rings of every kind; the ring's thread, as all calls here. -EBUSY: a file or
 * buffer table is there already, or a slot is in use; -EEXIST: the ring is
 * another thread's; -ENOMEM: NEED_FIXED and RLIMIT_MEMLOCK, the sum needed is
 * in `errmsg`; -EOPNOTSUPP: a disk directory, or NEED_FIXED. On failure the
 * ring is as it was. It must not do I/O into the pool before this call.
 */
int daxpin_uring_attach(struct daxpin_pool *pool, struct io_uring *ring,
			const struct daxpin_uring_options *options,
			struct daxpin_uring **ret_uring);

/*
 * Only what keeps the pool locked, for a ring whose requests its owner prepares and
 * accounts for himself. Same errors. Ends with daxpin_uring_detach().
 */
int daxpin_uring_guard(struct daxpin_pool *pool, struct io_uring *ring,
		       const struct daxpin_uring_options *options,
		       struct daxpin_uring **ret_uring);

int daxpin_uring_info(const struct daxpin_uring *uring,
		      struct daxpin_uring_info *ret_info);

/*
 * Read `length` bytes at `file_offset` of fd into the extent at `offset`, or
 * write them from it. Takes a hold, fills the sqe; set user_data and sqe flags
 * afterwards. On an error the sqe is a no-op of the caller's to submit.
 * -EINVAL: the range is not inside the extent, or sqe is NULL (the submission
 * queue is full); else as daxpin_hold().
 */
int daxpin_uring_prep_read(struct daxpin_uring *uring,
			   struct daxpin_uring_io *io,
			   struct io_uring_sqe *sqe, int fd,
			   struct daxpin_extent extent, uint64_t offset,
			   uint32_t length, uint64_t file_offset);
int daxpin_uring_prep_write(struct daxpin_uring *uring,
			    struct daxpin_uring_io *io,
			    struct io_uring_sqe *sqe, int fd,
			    struct daxpin_extent extent, uint64_t offset,
			    uint32_t length, uint64_t file_offset);

/*
 * The same for up to 1024 pieces of any extents, each of which is held. iov has
 * room for `count` and stays, like vec, until the request is done. It is fixed
 * where the kernel can (Linux 6.15) and all pieces are in one segment.
 */
int daxpin_uring_prep_readv(struct daxpin_uring *uring,
			    struct daxpin_uring_io *io,
			    struct io_uring_sqe *sqe, int fd,
			    struct daxpin_uring_vec *vec, struct iovec *iov,
			    uint32_t count, uint64_t file_offset);
int daxpin_uring_prep_writev(struct daxpin_uring *uring,
			     struct daxpin_uring_io *io,
			     struct io_uring_sqe *sqe, int fd,
			     struct daxpin_uring_vec *vec, struct iovec *iov,
			     uint32_t count, uint64_t file_offset);

#define DAXPIN_URING_SEND_COPY	0x1u	/* no zero-copy: for sends of little, and
					   sockets that cannot (AF_UNIX) */

/*
 * Send from the extent: with zero-copy where it is a fixed buffer, and then the
 * hold ends with the second CQE, the notification; else by an ordinary send.
 * -EINVAL: MSG_ZEROCOPY, which keeps plain pages pinned without end. Else as
 * prep_write.
 */
int daxpin_uring_prep_send(struct daxpin_uring *uring,
			   struct daxpin_uring_io *io,
			   struct io_uring_sqe *sqe, int sockfd,
			   struct daxpin_extent extent, uint64_t offset,
			   uint32_t length, int msg_flags, uint32_t flags);

/*
 * A command of the file's driver (IORING_OP_URING_CMD) on a piece of the
 * extent, at *ret_memory: fill in sqe->cmd, with that address, afterwards.
 * Where the memory is a fixed buffer the sqe says so. access is that of the
 * hold, DAXPIN_HOLD_WRITE where the device writes into memory.
 */
int daxpin_uring_prep_cmd(struct daxpin_uring *uring,
			  struct daxpin_uring_io *io,
			  struct io_uring_sqe *sqe, int fd, uint32_t cmd_op,
			  struct daxpin_extent extent, uint64_t offset,
			  uint32_t length, uint32_t access, void **ret_memory);

/* 1: the request goes by a fixed buffer; 0: plain; -EINVAL: io is not in use. */
int daxpin_uring_is_fixed(const struct daxpin_uring_io *io);

/*
 * Account for one CQE of the request, whatever its result. 1: it was the last
 * and the hold is dropped; 0: more will come. -EINVAL, -ESTALE: it was the last, but
 * a daxpin_drop() too many had ended the hold; or io is not in use (-EINVAL).
 */
int daxpin_uring_done(struct daxpin_uring_io *io, const struct io_uring_cqe *cqe);

/*
 * Account for all that is in the completion queue, and advance it. find() says
 * which request a CQE belongs to, or NULL for one that is not of this library;
 * the hold is still there, so that what arrived can be looked at. The io is
 * free for another request when reap has returned, if IORING_CQE_F_MORE was
 * not set. Returns the number of CQEs, or the first error of a done; the
 * others are accounted for all the same.
 */
int daxpin_uring_reap(struct io_uring *ring,
		      struct daxpin_uring_io *(*find)(
			      const struct io_uring_cqe *cqe, void *arg),
		      void *arg);

/*
 * Give back the segments that a reclaim wants to punch; those that are refilled
 * may be fixed again from now on. Meanwhile their requests are plain. Call it in the ring's
 * thread when there was a DAXPIN_EVENT_REVOKE, or now and then. Without it no
 * segment that is a fixed buffer here can be reclaimed. -EEXIST: the ring is
 * another thread's; -EINVAL: a pin was taken or given back by a call of the caller's
 * on the adapter's registration. What was not done then is tried by the next call.
 */
int daxpin_uring_service(struct daxpin_uring *uring);

/* End a request whose SQE was never submitted. */
int daxpin_uring_abort(struct daxpin_uring_io *io);

/*
 * Take the buffers and the lock out of the ring and free uring: -ESTALE from then
 * on, which the library remembers of the last 64. Tables of the caller's stay, with
 * our slots empty. -EBUSY, and nothing is done, while a request is in flight;
 * -ENXIO, and nothing is done, if somebody emptied the ring's file table.
 * Kernels before 6.13 wait here for every request in the ring that uses a
 * registered file or buffer. Call it before the ring is freed: else the ring lives
 * on, and a request whose CQE is lost keeps its hold. NULL is fine.
 *
 * In a child of fork(), before daxpin_pool_close(): close the descriptors that the
 * adapter has of the ring, and return 0. The parent's ring stays attached.
 */
int daxpin_uring_detach(struct daxpin_uring *uring);

#ifdef __cplusplus
}
#endif
#endif
