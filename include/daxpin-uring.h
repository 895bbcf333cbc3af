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
#define DAXPIN_URING_NEED_FIXED	0x2u	/* fail rather than fall back to plain */

#define DAXPIN_URING_OWN_FILES	(-1)	/* the adapter registers a file table */

struct daxpin_uring_options {
	size_t size;			/* sizeof(struct daxpin_uring_options) */
	uint32_t flags;			/* DAXPIN_URING_... */
	int file_slot;			/* a free slot in the ring's registered-file
					   table for the owner lock (-EBUSY: it is
					   in use), or OWN_FILES */
	const char *label;		/* shown by daxpin_holds(), with "read, "
					   or "write, " before it at the holds
					   of requests; copied */
	char *why;			/* on failure: one sentence, cause and cure */
	size_t why_size;
};

struct daxpin_uring_info {
	size_t size;			/* sizeof(struct daxpin_uring_info) */
	uint32_t fixed_segments;	/* registered as fixed buffers */
	uint32_t plain_segments;	/* reached by plain reads and writes */
	int file_slot;			/* where the owner lock is */
	int fallback;			/* 0, or the -errno that ruled out fixed */
	uint64_t registered_bytes;	/* what RLIMIT_MEMLOCK is charged */
	uint64_t in_flight;		/* requests prepared and not done */
};

/* Caller-owned, one per request in flight, zeroed once; reusable after done. */
struct daxpin_uring_io {
	struct daxpin_hold hold;
	struct daxpin_uring *uring;	/* NULL: not in use */
	int fixed;			/* the library's: buffer slot, or -1 */
};

/*
 * Attach a ring: the owner lock goes into its registered-file table, before
 * anything else, and every segment becomes a fixed buffer where the backing
 * and the kernel allow. -EBUSY: the ring has a file or buffer table already
 * (name a slot; use DAXPIN_URING_PLAIN); -ENOMEM: RLIMIT_MEMLOCK, with the sum
 * needed in `why`; -EOPNOTSUPP: a disk directory. On failure the ring is as it
 * was. The ring must not do I/O into the pool before this call.
 */
int daxpin_uring_attach(struct daxpin_pool *pool, struct io_uring *ring,
			const struct daxpin_uring_options *options,
			struct daxpin_uring **ret_uring);

/*
 * Only the owner lock, for a ring whose requests its owner prepares and
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
 * Account for one CQE of the request, whatever its result. 1: it was the last
 * and the hold is dropped; 0: more will come.
 */
int daxpin_uring_done(struct daxpin_uring_io *io, const struct io_uring_cqe *cqe);

/*
 * Give back the segments that a reclaim wants to punch, and take again those
 * that are refilled; meanwhile their requests are plain. Call it in the ring's
 * thread when there was a DAXPIN_EVENT_REVOKE, or now and then. Without it no
 * segment that is a fixed buffer here can be reclaimed. Errors are the kernel's
 * (-ENOMEM: RLIMIT_MEMLOCK); what was not done then is tried by the next call.
 */
int daxpin_uring_service(struct daxpin_uring *uring);

/* End a request whose SQE was never submitted. */
int daxpin_uring_abort(struct daxpin_uring_io *io);

/*
 * Take the buffers and the lock out of the ring and free uring. -EBUSY, and
 * nothing is done, while a request is in flight. Kernels before 6.13 wait here
 * for every request in the ring that uses a registered file or buffer.
 * Must be called before the ring is freed. NULL is fine.
 */
int daxpin_uring_detach(struct daxpin_uring *uring);

#ifdef __cplusplus
}
#endif
#endif
