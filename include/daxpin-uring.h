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
#define DAXPIN_URING_FILE_SLOT	0x10u	/* the ring has a file table: file_slot */
#define DAXPIN_URING_NO_BUFFERS	0x20u	/* guard: no memory of the pool becomes a
					   buffer of the ring */

#define DAXPIN_URING_PREPARED	0x40u	/* register what is prepared, and never in
					   daxpin_uring_reap() or _service() */

#define DAXPIN_URING_SLOTS_MAX	16384u	/* of a buffer table */
#define DAXPIN_URING_FILES	3u	/* slots that it takes in a file table */

/* Zeroed except for the size: fixed buffers where possible, and a registered-file
 * table of the adapter's. */
struct daxpin_uring_options {
	size_t size;			/* sizeof(struct daxpin_uring_options) */
	uint32_t flags;			/* DAXPIN_URING_... */
	uint32_t file_slot;		/* FILE_SLOT: the first of DAXPIN_URING_FILES
					   free slots beside each other in the
					   ring's registered-file table (-EBUSY: one
					   is in use; -EINVAL: the table ends
					   before). Else 0: the adapter registers a
					   file table */
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
	uint32_t file_slot;		/* the first of DAXPIN_URING_FILES */
	int fallback;			/* 0, or the -errno that last kept a segment
					   from being fixed; -ENOMEM: memory to lock */
	uint64_t registered_bytes;	/* what RLIMIT_MEMLOCK is charged: for shared
					   segments once, for all rings */
	uint64_t in_flight;		/* requests prepared and not done */
	uint64_t registrations;		/* slots filled, since attach */
	uint64_t evictions;		/* slots emptied for another segment */
	uint64_t fallbacks;		/* requests that went plain, but not by PLAIN */
	uint64_t needed_bytes;		/* to have all segments registered */
	uint64_t limit_bytes;		/* RLIMIT_MEMLOCK, which binds those who
					   lack CAP_IPC_LOCK; UINT64_MAX: none */
	uint32_t buffer_slot;		/* the range of buffer slots, */
	uint32_t buffer_slots;		/* 0: there is none */
	uint64_t quarantined;		/* requests whose holds are kept, because
					   daxpin_uring_abandon() was -ENXIO */
	int lock_lost;			/* 1: the ring's file table was emptied, so
					   that the ring does not keep the pool
					   locked if the process dies */
	int abandon_fd;			/* while the ring is being abandoned: poll()
					   reports POLLHUP when it is over; or -1 */
	uint32_t shared_segments;	/* of the fixed ones: registered once for all
					   rings of the process that have them */
	int share_error;		/* 0, or the -errno that made this ring
					   register for itself; -EOPNOTSUPP: the
					   kernel does not share (Linux 6.12 does at
					   attach, later ones at any time) */
};

/* Caller-owned, one per request in flight, zeroed once. It stays where it is until
 * the request is done or the ring was abandoned, and can then be used again. */
struct daxpin_uring_io {
	struct daxpin_hold hold;
	struct daxpin_uring *uring;	/* NULL: not in use */
	/* All else is the library's. */
	int fixed;			/* buffer slot, or -1 */
	uint32_t vec_count;
	struct daxpin_uring_vec *vec;
	struct daxpin_uring_io *next;	/* in flight in the same ring */
	struct daxpin_uring_io **prev;
	uint64_t reserved[4];
};

/* A piece of a vectored request. Caller-owned, zeroed once except for the first
 * three fields; it stays where it is until the request is done. */
struct daxpin_uring_vec {
	struct daxpin_extent extent;
	uint64_t offset;
	uint32_t length;
	uint32_t flags;			/* 0 */
	struct daxpin_hold hold;	/* the library's */
	uint64_t reserved[2];		/* 0 */
};

/*
 * Attach a ring: what keeps the pool locked goes into its registered-file table,
 * before anything else. Which segments are fixed buffers is said at
 * daxpin_uring_prepare(); without them requests are plain, which is correct and
 * slower: see `fallback` and `fallbacks`.
 * Rings of every kind; the ring's thread, as all calls here except
 * daxpin_uring_of() and daxpin_uring_abandon(). On failure the ring is as it was.
 * The ring must not do I/O into the pool before this call. Buffers that its owner
 * registers or clones must not be memory of the pool: guard the ring for that.
 *
 * A ring that is known by the index of a registered descriptor alone belongs to the
 * thread that attached it, because in another thread the index means another ring.
 *
 * -EACCES      the ring has restrictions (IORING_REGISTER_RESTRICTIONS) that forbid
 *              what has to be registered
 * -EBUSY       a file or buffer table is there already, or a slot is in use
 * -EEXIST      the ring belongs to another thread
 * -ENOMEM      NEED_FIXED and RLIMIT_MEMLOCK: the sum needed is in `errmsg`
 * -EOPNOTSUPP  the pool is on a disk, or NEED_FIXED is impossible
 */
int daxpin_uring_attach(struct daxpin_pool *pool, struct io_uring *ring,
			const struct daxpin_uring_options *options,
			struct daxpin_uring **ret_uring);

/*
 * Only what keeps the pool locked, for a ring whose owner prepares and accounts for
 * its requests. The owner may register memory of the pool as buffers of the ring,
 * and the adapter does not know which: a guard counts as a pin of every segment, so
 * that nothing of the pool is reclaimed, until the detach, before which the owner
 * takes those buffers out. With DAXPIN_URING_NO_BUFFERS there are none, and nothing
 * is pinned. Of the flags only FILE_SLOT, NO_BUFFERS and PLAIN.
 *
 * -EAGAIN  without NO_BUFFERS: a reclaim or refill of the pool is in the kernel;
 *          DAXPIN_EVENT_RETRY follows
 * The other errors are those of daxpin_uring_attach().
 */
int daxpin_uring_guard(struct daxpin_pool *pool, struct io_uring *ring,
		       const struct daxpin_uring_options *options,
		       struct daxpin_uring **ret_uring);

int daxpin_uring_info(const struct daxpin_uring *uring,
		      struct daxpin_uring_info *ret_info);

/*
 * Register the extent's segment as a fixed buffer of the ring now: the requests into
 * it that are prepared from then on are fixed. Extent {0, 0}: all segments that there
 * are slots and memory for. It pins memory, about 9 ms for 256 MiB of 4-KiB pages and
 * 1 ms of huge pages, or copies, in microseconds, what another ring of the process has
 * registered. A prep never does either. What is not prepared is registered by
 * daxpin_uring_reap() or daxpin_uring_service(), one segment a call, after 64 requests
 * into it were plain (one, where another ring has it), unless the ring was attached
 * with DAXPIN_URING_PREPARED. The ring's thread. 0: it is fixed, or was already.
 *
 * -EACCES      the ring's restrictions forbid it
 * -EAGAIN      a reclaim or refill works on the segment, or it has holes, which
 *              daxpin_refill() fills; DAXPIN_EVENT_RETRY follows. {0, 0}: of some
 *              segment; the others were registered
 * -EBUSY       all slots are in use by requests in flight; {0, 0}: or too few
 * -EEXIST      the ring belongs to another thread
 * -EINVAL      uring is NULL, or the extent is not in the pool
 * -ENOMEM      RLIMIT_MEMLOCK, or the kernel's memory
 * -EOPNOTSUPP  DAXPIN_URING_PLAIN, a guard, or no fixed buffers on this backing
 * -ESTALE      the extent's life is over, or uring was detached or abandoned
 */
int daxpin_uring_prepare(struct daxpin_uring *uring,
			 struct daxpin_extent extent);

/*
 * Read `length` bytes at `file_offset` of fd into the extent at `offset`, or
 * write them from it. Takes a hold, fills the sqe; set user_data and sqe flags
 * afterwards. On an error the sqe is a no-op of the caller's to submit.
 * Never set IOSQE_CQE_SKIP_SUCCESS: a request that succeeds would have no CQE, and
 * its hold would stay until the ring is abandoned.
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
 * Account for all that is in the completion queue of `ring`, and advance it. The
 * kernel is entered where it keeps completions back (IORING_SETUP_DEFER_TASKRUN,
 * _COOP_TASKRUN and _IOPOLL; an overflow of the queue), until the queue is empty.
 *
 * find() returns the request that a CQE belongs to, or NULL for one that is not of
 * this library; the hold is still there, so that what arrived can be read. ended()
 * (may be NULL) is called when the request's last CQE was accounted for and its
 * hold is dropped, so that its extent can be published or retired. The io can be
 * used for another request by then. The CQE has left the queue; ended() may use
 * the ring, and call daxpin_uring_reap().
 *
 * Then what a reclaim wants from `uring` is given back and a segment may be
 * registered, as by daxpin_uring_service(). find() may return requests of other pools that the same
 * ring is attached to; those need a daxpin_uring_service() of their own.
 *
 * Returns the number of CQEs, or the first error; the others are accounted for all
 * the same.
 *
 * -EINVAL, -ESTALE  an argument is NULL or `uring` is gone; or of a done
 * -EBADR            the kernel had no memory for a completion and dropped it: the
 *                   request keeps its hold until the ring is abandoned
 * -EEXIST           the ring belongs to another thread
 */
int daxpin_uring_reap(struct daxpin_uring *uring, struct io_uring *ring,
		      struct daxpin_uring_io *(*find)(
			      const struct io_uring_cqe *cqe, void *arg),
		      void (*ended)(struct daxpin_uring_io *io,
				    const struct io_uring_cqe *cqe, void *arg),
		      void *arg);

/*
 * Give back the segments that a reclaim wants to punch; those that are refilled
 * may be fixed again from now on. Meanwhile their requests are plain. Then register
 * a segment that is due, see daxpin_uring_prepare(). Call it in
 * the ring's thread after a DAXPIN_EVENT_REVOKE of this ring, where no
 * daxpin_uring_reap() does it. Without it no segment that is a fixed buffer here can
 * be reclaimed. What was not done on an error is tried by the next call.
 *
 * -EACCES  the ring's restrictions forbid it
 * -EEXIST  the ring belongs to another thread
 * -EINVAL  a pin was taken or given back by a call of the caller's on the adapter's
 *          registration
 */
int daxpin_uring_service(struct daxpin_uring *uring);

/*
 * The ring that a DAXPIN_EVENT_REVOKE means, or NULL: it is another event, or means
 * no ring. A thread that calls daxpin_uring_reap() again and again needs no event;
 * wake the one that waits for completions of this ring. Any thread, while the ring
 * is attached.
 */
struct daxpin_uring *daxpin_uring_of(const struct daxpin_event *event);

/* End a request whose SQE was never submitted. */
int daxpin_uring_abort(struct daxpin_uring_io *io);

/*
 * Take the buffers and the lock out of the ring and free uring: -ESTALE from then
 * on, which the library remembers of the last 64. Tables of the caller's stay, with
 * our slots empty; a file table that was emptied is not touched. Kernels before 6.13
 * wait here for every request in the ring that uses a registered file or buffer.
 * Call it before the ring is freed: else the ring lives on, and a request whose CQE
 * is lost keeps its hold, until the ring is abandoned. NULL is fine.
 *
 * In a child of fork(), before daxpin_pool_close(): close the descriptors that the
 * adapter has of the ring, and return 0. The parent's ring stays attached.
 *
 * -EACCES     the ring's restrictions forbid it: free the ring and abandon it
 * -EBUSY      a request is in flight; nothing was done
 * -EEXIST     the ring belongs to another thread; nothing was done
 * -ETIMEDOUT  the ring is being abandoned, and that is not over
 */
int daxpin_uring_detach(struct daxpin_uring *uring);

/*
 * The other way to leave a ring, when detach is impossible: the ring's thread is
 * gone, or the ring was freed with requests in flight, or completions are lost
 * (IOSQE_CQE_SKIP_SUCCESS). Free the ring with io_uring_queue_exit(), or close every
 * descriptor and mapping of it, before this call or soon after it.
 *
 * The first call closes the adapter's descriptor of the ring. When the kernel has
 * ended the ring's last request and freed the ring, all its requests end: their
 * holds are dropped, and uring is freed as by a detach. No completion is needed for
 * that. Until the deadline this call waits for it; call it again after -ETIMEDOUT,
 * or when `abandon_fd` of daxpin_uring_info() reports POLLHUP. Meanwhile only
 * daxpin_uring_done(), _abort(), _reap(), _info() and _detach() are possible, and
 * nothing may be registered with the ring or unregistered from it any more. A
 * process that has a copy of the descriptor, such as a child of fork(), keeps the
 * ring. Requests, with their memory, stay where they are until this returns 0.
 *
 * Any thread, but not while another call with this uring or its requests is under
 * way. NULL is fine.
 *
 * -ETIMEDOUT  the kernel has not freed the ring
 * -EBUSY      the file table of a ring with a single issuer, which is another thread,
 *             cannot be read in /proc: the ring is in a system call, or there is no
 *             /proc. Or a ring that was attached by its index belongs to another
 *             thread. Nothing was done
 * -EMFILE     no descriptor is left, of which two are needed; nothing was done
 * -ENXIO      the ring's file table was emptied while it was attached, so that the
 *             kernel's sign of its end is lost: the holds are kept and counted in
 *             `quarantined`. Each ends with daxpin_uring_done(); when all have
 *             ended, or of a guarded ring when its owner's buffers are gone,
 *             detach works. Also where a ring that was attached by its index is
 *             freed before this call
 * -ESTALE     the ring was detached or abandoned
 */
int daxpin_uring_abandon(struct daxpin_uring *uring, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif
#endif
