/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin for io_uring: I/O between files and a pool. Each request holds its
 * extent from its prep to its last CQE. Uses daxpin.h only.
 *
 * The calls belong to the ring's thread, like those of liburing, except
 * daxpin_uring_of() and daxpin_uring_abandon(). Prep decides between fixed
 * buffers and plain reads and writes: the program's code is the same on
 * device-dax, fsdax and shmem.
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
#define DAXPIN_URING_NEED_FIXED	0x2u	/* EAGER, and fail if a segment cannot be
					   registered */

#define DAXPIN_URING_EAGER	0x4u	/* register all segments at the attach */
#define DAXPIN_URING_BUFFER_RANGE 0x8u	/* use buffer_slot and buffer_slots */
#define DAXPIN_URING_FILE_SLOT	0x10u	/* use file_slot */
#define DAXPIN_URING_NO_BUFFERS	0x20u	/* guard: the program registers no memory
					   of the pool with the ring */

#define DAXPIN_URING_PREPARED	0x40u	/* register only what is prepared, not in
					   daxpin_uring_reap() or _service() */

#define DAXPIN_URING_SLOTS_MAX	16384u	/* of a buffer table */
#define DAXPIN_URING_FILES	3u	/* slots of a file table that it takes */

/* If all but the size is zero, the adapter uses fixed buffers if possible, and
 * registers a file table. */
struct daxpin_uring_options {
	size_t size;			/* sizeof(struct daxpin_uring_options) */
	uint32_t flags;			/* DAXPIN_URING_... */
	uint32_t file_slot;		/* with FILE_SLOT: the first of
					   DAXPIN_URING_FILES consecutive free
					   slots of the ring's file table
					   (-EBUSY: one is in use; -EINVAL: the
					   table is too short). Without it 0, and
					   the adapter registers a table */
	const char *label;		/* reported by daxpin_holds(); copied. For
					   requests "read, " or "write, " precedes
					   it */
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
	uint32_t buffer_slot;		/* BUFFER_RANGE: the first of these slots
					   of the ring's buffer table; all must be
					   free (-EBUSY: one is in use) */
	uint32_t buffer_slots;		/* BUFFER_RANGE: their number. Without it:
					   the maximum size of the adapter's own
					   table; 0: a slot for each segment */
};

struct daxpin_uring_info {
	size_t size;			/* sizeof(struct daxpin_uring_info) */
	uint32_t fixed_segments;	/* registered as fixed buffers */
	uint32_t plain_segments;	/* the others */
	uint32_t file_slot;		/* the first of DAXPIN_URING_FILES */
	int fallback;			/* 0, or -errno: why a segment was last not
					   registered; -ENOMEM: RLIMIT_MEMLOCK */
	uint64_t registered_bytes;	/* charged to RLIMIT_MEMLOCK; shared
					   segments once for all rings */
	uint64_t in_flight;		/* requests prepared and not done */
	uint64_t registrations;		/* slots filled, since attach */
	uint64_t evictions;		/* slots emptied for another segment */
	uint64_t fallbacks;		/* plain requests, unless PLAIN is set */
	uint64_t needed_bytes;		/* to register all segments */
	uint64_t limit_bytes;		/* RLIMIT_MEMLOCK, for processes without
					   CAP_IPC_LOCK; UINT64_MAX: none */
	uint32_t buffer_slot;		/* the first of the range of buffer slots */
	uint32_t buffer_slots;		/* their number; 0: there is no range */
	uint64_t quarantined;		/* requests whose holds remain, because
					   daxpin_uring_abandon() returned -ENXIO */
	int lock_lost;			/* 1: the ring's file table was emptied; the
					   ring no longer keeps the pool locked if
					   the process dies */
	int abandon_fd;			/* while the ring is being abandoned: poll()
					   reports POLLHUP at the end; or -1 */
	uint32_t shared_segments;	/* of the fixed ones: registered once for
					   all rings of the process */
	int share_error;		/* 0, or -errno: why this ring registers for
					   itself; -EOPNOTSUPP: the kernel cannot
					   share (6.12 can at an attach, later ones
					   at any time) */
};

/* One for each request in flight. It belongs to the caller, is zeroed before its
 * first use, and must not be moved until the request is done or the ring was
 * abandoned. Then it can be used again. */
struct daxpin_uring_io {
	struct daxpin_hold hold;
	struct daxpin_uring *uring;	/* NULL: not in use */
	/* The rest is the library's. */
	int fixed;			/* buffer slot, or -1 */
	uint32_t vec_count;
	struct daxpin_uring_vec *vec;
	struct daxpin_uring_io *next;	/* in flight in the same ring */
	struct daxpin_uring_io **prev;
	uint64_t reserved[4];
};

/* A piece of a vectored request. It belongs to the caller, is zeroed before its
 * first use except for the first three fields, and must not be moved until the
 * request is done. */
struct daxpin_uring_vec {
	struct daxpin_extent extent;
	uint64_t offset;
	uint32_t length;
	uint32_t flags;			/* 0 */
	struct daxpin_hold hold;	/* the library's */
	uint64_t reserved[2];		/* 0 */
};

/*
 * Attach a ring, before it does any I/O into the pool. The files that keep the
 * pool locked are put into the ring's table of registered files.
 * daxpin_uring_prepare() describes which segments become fixed buffers. Requests
 * into the others are plain: they have the same effect, but are slower. On failure
 * the ring is unchanged.
 *
 * Rings of every kind can be attached. Buffers that the program registers or
 * clones must not be memory of the pool: guard the ring instead. A ring that is
 * known by the index of a registered descriptor belongs to the thread that
 * attached it, because in another thread the index means another ring.
 *
 * Call it in the ring's thread. uring belongs to the library until a detach or an
 * abandon has returned 0; the pool cannot be closed before. options may be NULL,
 * and is copied.
 *
 * -E2BIG	options has a tail that is not zero and that this library does
 *		not know
 * -EACCES	the ring's restrictions (IORING_REGISTER_RESTRICTIONS) forbid it
 * -EBUSY	a slot is in use, or other threads in the ring hide whether it
 *		is; the ring has a file table, and DAXPIN_URING_FILE_SLOT is not
 *		set; it has a buffer table, and neither
 *		DAXPIN_URING_BUFFER_RANGE nor DAXPIN_URING_PLAIN is set
 * -EEXIST	the ring belongs to another thread
 * -EINVAL	pool, ring or ret_uring is NULL; an invalid option; a file or
 *		buffer table that is too short
 * -EIO		with DAXPIN_URING_NEED_FIXED, a page of the pool cannot be
 *		pinned, probably because it is bad
 * -EMFILE	RLIMIT_NOFILE is too low for four descriptors, or for the
 *		three files of the ring's table
 * -ENOMEM	out of memory; with DAXPIN_URING_NEED_FIXED, more than
 *		RLIMIT_MEMLOCK allows, and errmsg has the sum
 * -ENXIO	with DAXPIN_URING_FILE_SLOT, the ring has no file table
 * -EOPNOTSUPP	the pool is on a disk; with DAXPIN_URING_NEED_FIXED, fixed
 *		buffers are unavailable, or there are fewer slots than segments
 */
int daxpin_uring_attach(struct daxpin_pool *pool, struct io_uring *ring,
			const struct daxpin_uring_options *options,
			struct daxpin_uring **ret_uring);

/*
 * Put only the files that keep the pool locked into the ring, for a program that
 * prepares and processes its requests itself. The program may register memory of the
 * pool as buffers of the ring. The adapter does not know which, so a guard
 * counts as a pin of every segment, and nothing is reclaimed until the detach,
 * before which the program unregisters those buffers. With
 * DAXPIN_URING_NO_BUFFERS it promises to register none, and nothing counts as
 * pinned. Of the flags only FILE_SLOT, NO_BUFFERS and PLAIN are allowed. Threads
 * and lifetime as daxpin_uring_attach().
 *
 * -EAGAIN	without DAXPIN_URING_NO_BUFFERS, the kernel is punching or filling
 *		a part of the pool; DAXPIN_EVENT_RETRY follows
 * Others as daxpin_uring_attach().
 */
int daxpin_uring_guard(struct daxpin_pool *pool, struct io_uring *ring,
		       const struct daxpin_uring_options *options,
		       struct daxpin_uring **ret_uring);

/*
 * Describe the attachment; set ret_info->size first. In the ring's thread.
 *
 * -EINVAL	an argument is NULL
 * -ESTALE	uring was detached
 */
int daxpin_uring_info(const struct daxpin_uring *uring,
		      struct daxpin_uring_info *ret_info);

/*
 * Register the extent's segment as a fixed buffer of the ring, so that requests
 * that are prepared afterwards are fixed. Extent {0, 0}: all segments, as far
 * as there are slots and memory. Returns 0 even if it was a fixed buffer before.
 * It pins memory, about 9 ms for 256 MiB of 4 KiB pages and 1 ms of huge pages,
 * or copies in microseconds what another ring of the process has registered.
 *
 * A prep function never does either. Without this call daxpin_uring_reap() or
 * daxpin_uring_service() registers a segment after 64 plain requests into it
 * (one, if another ring has it), one segment in each call, unless the ring was
 * attached with DAXPIN_URING_PREPARED.
 *
 * -EACCES	the ring's restrictions (IORING_REGISTER_RESTRICTIONS) forbid it
 * -EAGAIN	the segment is being reclaimed or refilled, or a job waits for
 *		it, or it has holes, which daxpin_refill() fills;
 *		DAXPIN_EVENT_RETRY follows; of {0, 0}, this is so for some
 *		segment, and the others are registered
 * -EBUSY	requests in flight use all slots; of {0, 0}, there are fewer
 *		slots than segments, and all are filled
 * -EEXIST	the ring belongs to another thread
 * -EINVAL	uring is NULL; the extent is not in the pool
 * -EIO		a page of the segment cannot be pinned, probably because it is
 *		bad; with {0, 0}, a page of at least one segment, and the other
 *		segments are registered
 * -ENOMEM	out of memory, or more than RLIMIT_MEMLOCK allows
 * -EOPNOTSUPP	fixed buffers are unavailable; the ring is guarded, or attached
 *		with DAXPIN_URING_PLAIN
 * -ESTALE	the extent's generation has ended; uring was detached, or is
 *		being abandoned
 */
int daxpin_uring_prepare(struct daxpin_uring *uring,
			 struct daxpin_extent extent);

/*
 * Prepare sqe to read length bytes at file_offset of fd into the extent at
 * `offset`, or to write them to fd. Takes a hold, which ends with the request's
 * last CQE, or with daxpin_uring_abort(). Set user_data and flags of the
 * sqe afterwards, but never IOSQE_CQE_SKIP_SUCCESS: a successful request would
 * have no CQE, and its hold would remain until the ring is abandoned. On an
 * error the sqe is a no-op with user data 0, which the next submit sends: its CQE
 * belongs to no request. The result can be less than length. If fd is open with
 * O_DIRECT, offset, length and file_offset must be multiples of what the file
 * requires.
 *
 * -EINVAL	length is 0, or the range is not inside the extent; sqe is NULL,
 *		which io_uring_get_sqe() returns when the queue is full; io is in
 *		use; an argument is NULL
 * -ESTALE	the extent's generation has ended; uring was detached, or is
 *		being abandoned
 * Others as daxpin_hold_labelled().
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
 * room for count entries; iov and vec must not be moved until the request is
 * done. It is fixed if all pieces are in one segment and the kernel supports it
 * (Linux 6.15). On an error no piece is held.
 *
 * -EINVAL	count is 0 or above 1024; flags or reserved fields of a piece
 *		are not 0
 * Others as daxpin_uring_prep_read().
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

#define DAXPIN_URING_SEND_COPY	0x1u	/* no zero-copy: for short sends, and sockets
					   without it (AF_UNIX) */

/*
 * Send from the extent. If its segment is a fixed buffer the send is zero-copy,
 * and its hold ends with the second CQE, the notification. Otherwise it is an
 * ordinary send.
 *
 * -EINVAL	an unknown flag; MSG_ZEROCOPY, which keeps plain pages pinned as
 *		long as the peer likes
 * Others as daxpin_uring_prep_write().
 */
int daxpin_uring_prep_send(struct daxpin_uring *uring,
			   struct daxpin_uring_io *io,
			   struct io_uring_sqe *sqe, int sockfd,
			   struct daxpin_extent extent, uint64_t offset,
			   uint32_t length, int msg_flags, uint32_t flags);

/*
 * Prepare a command of the file's driver (IORING_OP_URING_CMD) on a piece of the
 * extent, and store its address in *ret_memory. Afterwards fill in sqe->cmd with that
 * address. The library sets up sqe for a fixed buffer if the memory is one. access is
 * that of the hold: DAXPIN_HOLD_WRITE if the device writes into the memory. Errors as
 * daxpin_uring_prep_write().
 */
int daxpin_uring_prep_cmd(struct daxpin_uring *uring,
			  struct daxpin_uring_io *io,
			  struct io_uring_sqe *sqe, int fd, uint32_t cmd_op,
			  struct daxpin_extent extent, uint64_t offset,
			  uint32_t length, uint32_t access, void **ret_memory);

/* 1: the request uses a fixed buffer; 0: it is plain. -EINVAL: io is not in use. */
int daxpin_uring_is_fixed(const struct daxpin_uring_io *io);

/*
 * Process one CQE of the request, whatever its result. 1: it was the last, and
 * the hold is dropped. 0: more will come.
 *
 * -EINVAL	io is not in use; the request is done, but an excess
 *		daxpin_drop() had ended its hold
 * -ESTALE	the request is done, but an excess daxpin_drop() had ended its
 *		hold, and the extent was freed
 */
int daxpin_uring_done(struct daxpin_uring_io *io, const struct io_uring_cqe *cqe);

/*
 * Process all CQEs in the completion queue of ring, and advance it. Enters the
 * kernel until the queue is empty if the kernel holds completions back
 * (IORING_SETUP_DEFER_TASKRUN, _COOP_TASKRUN and _IOPOLL; an overflow).
 *
 * find() returns the request of a CQE, or NULL if it is not of this library. The
 * hold still exists, so the data can be read. ended() (may be NULL) is called
 * after the request's last CQE, when its hold was dropped and the CQE has left
 * the queue: it can publish or retire the extent, use io for another request,
 * use the ring, and call daxpin_uring_reap().
 *
 * Then it does what daxpin_uring_service() does for uring. find() may return
 * requests of other pools that the same ring is attached to; call
 * daxpin_uring_service() for those.
 *
 * Returns the number of CQEs, or the first error; all CQEs are processed.
 *
 * -EACCES	the ring's restrictions (IORING_REGISTER_RESTRICTIONS) forbid it
 * -EBADR	the kernel had no memory for a completion and dropped it; the
 *		request keeps its hold until the ring is abandoned
 * -EEXIST	the ring belongs to another thread
 * -EINVAL	an argument is NULL; the program changed a pin of the adapter's
 *		registration
 * -ESTALE	uring was detached
 * Others as daxpin_uring_done().
 */
int daxpin_uring_reap(struct daxpin_uring *uring, struct io_uring *ring,
		      struct daxpin_uring_io *(*find)(
			      const struct io_uring_cqe *cqe, void *arg),
		      void (*ended)(struct daxpin_uring_io *io,
				    const struct io_uring_cqe *cqe, void *arg),
		      void *arg);

/*
 * Unregister the segments that a reclaim needs, each after its last request has ended.
 * Until a refill their requests are plain; after it they may become fixed buffers
 * again. Then register a segment that is due, see daxpin_uring_prepare(). Call it in
 * the ring's thread after a DAXPIN_EVENT_REVOKE of this ring, unless
 * daxpin_uring_reap() is called. Otherwise no segment that is a fixed buffer here can
 * be reclaimed. After an error the next call does the rest.
 *
 * -EACCES	the ring's restrictions (IORING_REGISTER_RESTRICTIONS) forbid it
 * -EEXIST	the ring belongs to another thread
 * -EINVAL	uring is NULL; the program changed a pin of the adapter's
 *		registration
 * -ESTALE	uring was detached, or is being abandoned
 */
int daxpin_uring_service(struct daxpin_uring *uring);

/*
 * The ring of a DAXPIN_EVENT_REVOKE, or NULL for other events. A thread that
 * calls daxpin_uring_reap() regularly needs no event; wake one that waits for
 * completions of this ring. Any thread, while the ring is attached.
 */
struct daxpin_uring *daxpin_uring_of(const struct daxpin_event *event);

/*
 * End a request that was not submitted. sqe is its entry, which becomes a no-op with
 * user data 0, because the next submit sends it; or NULL if it is in no queue. Errors
 * as daxpin_uring_done().
 */
int daxpin_uring_abort(struct daxpin_uring_io *io, struct io_uring_sqe *sqe);

/*
 * Take the buffers and the lock out of the ring and free uring. NULL is allowed. Later
 * calls with uring are -ESTALE; the library remembers the last 64. Tables of the
 * program remain, with the adapter's slots empty. If the program has emptied the file
 * table, it is not changed. Kernels before 6.13 wait here for every request in the ring
 * that uses a registered file or buffer. Call it before freeing the ring: otherwise the
 * ring lives on, and a request whose CQE is lost keeps its hold until the ring is
 * abandoned.
 *
 * In a child of fork(), before daxpin_pool_close(): close the adapter's
 * descriptors of the ring, and return 0. The parent's ring remains attached.
 *
 * -EACCES	the ring's restrictions (IORING_REGISTER_RESTRICTIONS) forbid
 *		it; free the ring and abandon it
 * -EBUSY	a request is in flight, and nothing was done
 * -EEXIST	the ring belongs to another thread
 * -EINVAL	the program changed a pin of the adapter's registration
 * -ESTALE	uring was detached
 * -ETIMEDOUT	the ring is being abandoned, and the kernel has not freed it yet
 */
int daxpin_uring_detach(struct daxpin_uring *uring);

/*
 * Give up a ring that cannot be detached because its thread has ended, it was
 * freed with requests in flight, or completions are lost. Free the ring with
 * io_uring_queue_exit(), or close every descriptor and mapping of it, before
 * this call or soon after it. NULL is allowed.
 *
 * The first call closes the adapter's descriptor of the ring. When the kernel
 * has ended the ring's last request and freed the ring, the holds of all
 * requests are dropped and uring is freed. The call waits for this until the
 * deadline. Call it again after -ETIMEDOUT, or when `abandon_fd` of
 * daxpin_uring_info() reports POLLHUP. Meanwhile only daxpin_uring_done(),
 * _abort(), _reap(), _info() and _detach() are possible, nothing may be
 * registered with the ring or unregistered, and requests with their memory must
 * not be moved. A process with a copy of the descriptor, such as a child of
 * fork(), keeps the ring.
 *
 * Any thread, but not while another call with this uring or its requests is in
 * progress.
 *
 * -EBUSY	nothing was done, because the calling thread is not that of the
 *		single-issuer ring, and the ring's file table cannot be read in
 *		/proc; another thread attached the ring by its index
 * -EMFILE	nothing was done, because two descriptors are needed
 * -ENXIO	the ring's file table was emptied while it was attached, or the
 *		ring was attached by its index and has been freed, so the end of
 *		its requests cannot be detected; the holds of requests in flight
 *		remain, and are counted in `quarantined`; each ends with
 *		daxpin_uring_done(), and when all have ended a detach succeeds
 * -ESTALE	uring was detached, or abandoned to the end
 * -ETIMEDOUT	the kernel has not freed the ring yet
 */
int daxpin_uring_abandon(struct daxpin_uring *uring, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif
#endif
