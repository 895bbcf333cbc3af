/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A private io_uring for calls that may wait for pins: a thread can submit, watch and
 * cancel them without waiting itself.
 */
#ifndef DP_RING_H
#define DP_RING_H

#include <linux/io_uring.h>
#include "util/util.h"

/* Since Linux 6.9. The kernel headers of the build may be older and lack it. */
#define DP_RING_FTRUNCATE	55

/* Belongs to one thread at a time. */
struct dp_ring {
	int fd;
	uint32_t entries;		/* requests that fit at once */
	uint32_t tail;			/* after the last that was prepared */
	bool polled;			/* DP_RING_OWN_THREAD */
	void *rings;			/* the heads and tails of both queues, and
					   the completions */
	uint64_t rings_size;
	struct io_uring_sqe *sqe;
	uint64_t sqe_size;
	struct io_uring_params params;
};

enum dp_ring_kind {
	/* A request belongs to the thread that submits it. The exit of that thread
	 * cancels the request, or waits for it in the kernel. */
	DP_RING_PLAIN,
	/* Requests belong to a thread that the kernel creates for this ring. It
	 * lives as long as the ring and the process do. It may read the timespec
	 * of a request only after dp_ring_submit() has returned. */
	DP_RING_OWN_THREAD,
};

/*
 * A ring for that many requests, a power of two.
 *
 * -EPERM, -EACCES, -ENOSYS  io_uring is unavailable (sysctl, seccomp)
 * -EAGAIN                   no thread can be created for it
 * -EOPNOTSUPP               a kernel before 5.11
 */
int dp_ring_open(struct dp_ring *ring, uint32_t entries,
		 enum dp_ring_kind kind);
/* Whatever is in flight is cancelled, but may end later than this returns. */
void dp_ring_close(struct dp_ring *ring);

/* Wait until `requests` requests can be prepared. Call it when each prepared request
 * has been submitted. */
int dp_ring_make_room(struct dp_ring *ring, uint32_t requests);
/* A zeroed request to fill in, or NULL: make room first. */
struct io_uring_sqe *dp_ring_prepare(struct dp_ring *ring);
/* Submit everything that was prepared. */
int dp_ring_submit(struct dp_ring *ring);
/* One completion: 1, or 0 when none came within wait_ns. */
int dp_ring_next(struct dp_ring *ring, uint64_t wait_ns,
		 struct io_uring_cqe *ret_cqe);

/* Ask for the end of all requests; each still gives its completion. */
int dp_ring_cancel_all(struct dp_ring *ring, uint64_t user_data);

/*
 * The request was interrupted and did nothing. 6.12 and 7.2 can return the kernel's
 * internal codes for "restart the call", -512 to -516 (kernel.md K8).
 */
bool dp_ring_was_interrupted(int result);

#endif
