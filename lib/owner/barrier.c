/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What breaks the layout of a DAX file waits until no page of it is pinned.
 * Of the calls that do, truncating a file to the size it has is the one that
 * changes nothing: no byte, no block, no extent (measured on XFS and ext4, 6.12
 * and 7.2; a punch past the end waits there too, but older ext4 returns before
 * it looks). It goes through a ring, because the call itself cannot be given a
 * deadline: in a worker of the ring's it waits interruptibly, and cancelling
 * the request ends it in milliseconds, with nothing done.
 *
 * While it waits the kernel holds the file's i_rwsem: nobody may read(),
 * write() or allocate here meanwhile. Loads, stores and faults go on.
 *
 * The deadline is for waiting, and a barrier that meets no pin does not wait:
 * as long as files come through, and for a second after, it goes on. A file is
 * said to be pinned only if the kernel was seen to wait for it: the cancel then
 * interrupts a call. If no worker has begun with any of the files (the machine
 * is busy), the barrier begins again and allows twice the time.
 */
#include <errno.h>
#include "os/os.h"
#include "os/ring.h"
#include "owner/barrier.h"

#define ENTRIES		32u		/* files at a time */
#define CANCEL		UINT64_MAX	/* user_data; else the file's index */
#define STEP_NS		(10 * 1000000ull)
#define GRACE_NS	(1000 * 1000000ull)
#define GRACE_MAX_NS	(16 * GRACE_NS)

struct passage {
	const struct dp_barrier *barrier;
	struct dp_patience *patience;
	struct dp_ring ring;
	uint32_t begun;
	uint32_t passed;
	uint32_t in_flight;		/* truncations without completion */
	bool waited;			/* the kernel did, for the pins of */
	uint32_t stuck;			/* this file */
	uint64_t moved_ns;		/* when a file last came through */
	uint64_t grace_ns;		/* for the next one after that */
};

static int barrier_file_of(const struct dp_barrier *barrier, uint32_t index,
			   struct stat *ret_stat)
{
	int fd = barrier->file(index, barrier->arg);
	int ret = dp_os_fstat(fd, ret_stat);

	assert(fd >= 0);
	return ret ? ret : fd;
}

/* --------------------------------------------------------------- one file */

static int barrier_begin(struct passage *p, uint32_t index)
{
	struct io_uring_sqe *sqe;
	struct stat st;
	int fd = barrier_file_of(p->barrier, index, &st);

	if (fd < 0)
		return fd;
	sqe = dp_ring_prepare(&p->ring);
	assert(sqe);
	sqe->opcode = DP_RING_FTRUNCATE;
	sqe->fd = fd;
	sqe->off = st.st_size;
	sqe->user_data = index;
	p->in_flight++;
	return dp_ring_submit(&p->ring);
}

/* Something interrupted a worker, and it was not us: once more. */
static int barrier_end(struct passage *p, const struct io_uring_cqe *cqe)
{
	/* Of a cancel before this pass: its files ended first. */
	if (cqe->user_data == CANCEL)
		return 0;
	assert(p->in_flight);
	p->in_flight--;
	if (!cqe->res) {
		p->passed++;
		p->moved_ns = dp_os_now_ns();
		return 0;
	}
	if (dp_ring_was_interrupted(cqe->res))
		return barrier_begin(p, cqe->user_data);
	return cqe->res;
}

/* ------------------------------------------------------------------- all */

static int barrier_wait_for_one(struct passage *p)
{
	struct io_uring_cqe cqe;
	int ret = dp_ring_next(&p->ring, STEP_NS, &cqe);

	if (ret > 0)
		return barrier_end(p, &cqe);
	if (!ret)
		ret = dp_patience_tell(p->patience, DP_OWNER_PINNED,
				       p->barrier->pid);
	if (ret == -ETIMEDOUT && dp_os_now_ns() - p->moved_ns < p->grace_ns)
		return 0;
	return ret;
}

static int barrier_pass_all(struct passage *p)
{
	int ret = 0;

	assert(!p->in_flight && !p->waited);
	p->begun = 0;
	p->passed = 0;
	p->moved_ns = dp_os_now_ns();
	while (!ret && p->passed < p->barrier->files) {
		while (!ret && p->begun < p->barrier->files &&
		       p->in_flight < ENTRIES)
			ret = barrier_begin(p, p->begun++);
		if (!ret)
			ret = barrier_wait_for_one(p);
	}
	return ret;
}

/* A request that no worker has begun ends with -ECANCELED instead. */
static void barrier_end_cancelled(struct passage *p,
				  const struct io_uring_cqe *cqe)
{
	assert(p->in_flight);
	p->in_flight--;
	if (!cqe->res || cqe->res == -ECANCELED)
		return;
	p->waited = true;
	p->stuck = cqe->user_data;
}

/* Leave no worker behind that still holds a file and its i_rwsem. */
static void barrier_cancel(struct passage *p)
{
	struct io_uring_cqe cqe;
	int ret = 0;

	while (ret >= 0 && p->in_flight) {
		ret = dp_ring_cancel_all(&p->ring, CANCEL);
		while (ret >= 0 && p->in_flight &&
		       (ret = dp_ring_next(&p->ring, STEP_NS, &cqe)) > 0) {
			if (cqe.user_data != CANCEL)
				barrier_end_cancelled(p, &cqe);
		}
	}
}

static int barrier_pass_or_see_why(struct passage *p)
{
	int ret;

	do {
		ret = barrier_pass_all(p);
		/* Each file's own request came back: none is left to cancel. */
		assert(ret || !p->in_flight);
		barrier_cancel(p);
		p->grace_ns *= 2;
	} while (ret == -ETIMEDOUT && !p->waited &&
		 p->grace_ns <= GRACE_MAX_NS);
	return ret;
}

/* ----------------------------------------------------------- without a ring */

/*
 * In the caller's own thread, where he is ready to wait for ever: no signal of
 * ours could end the call at a deadline.
 */
static int barrier_pass_blocking(const struct dp_barrier *barrier)
{
	struct stat st;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < barrier->files; i++) {
		int fd = barrier_file_of(barrier, i, &st);

		do
			ret = fd < 0 ? fd : dp_os_truncate(fd, st.st_size);
		while (ret == -EINTR);
	}
	return ret;
}

static int barrier_without_ring(const struct dp_barrier *barrier,
				const struct dp_patience *patience, int error,
				const struct dp_why *why)
{
	if (patience->deadline_ns == UINT64_MAX && !patience->progress)
		return barrier_pass_blocking(barrier);
	return dp_fail(why, -ENOSYS,
		       "%s was not closed by its last owner, and whether DMA still reaches its files can only be waited for by io_uring, which cannot be had here (%s): allow io_uring (ftruncate by it is in Linux 6.9 and later), or open with no deadline and no progress function, which waits without end in the calling thread",
		       barrier->path, strerror(-error));
}

/* ------------------------------------------------------------------ verdict */

static int barrier_still_pinned(const struct passage *p,
				const struct dp_why *why)
{
	if (!p->waited)
		return dp_fail(why, -EBUSY,
			       "whether memory of %s is pinned could not be found out, since this machine's kernel did not begin to look within half a minute: open again when it is less busy",
			       p->barrier->path);
	return dp_fail(why, -EBUSY,
		       "memory of segment %u of %s is pinned: I/O from outside daxpin's rings that process %d, its last owner (0: unknown), or somebody else began has not ended: wait with a longer deadline, or end it",
		       p->stuck, p->barrier->path, p->barrier->pid);
}

int dp_barrier_pass(const struct dp_barrier *barrier,
		    struct dp_patience *patience, const struct dp_why *why)
{
	struct passage p = { .barrier = barrier, .patience = patience,
			     .grace_ns = GRACE_NS };
	int ret;

	assert(barrier->files && barrier->file);
	ret = dp_ring_open(&p.ring, ENTRIES, DP_RING_PLAIN);
	if (ret)
		return barrier_without_ring(barrier, patience, ret, why);
	ret = barrier_pass_or_see_why(&p);
	dp_ring_close(&p.ring);
	/* A kernel that does not know the request says so to the first. */
	if (ret == -EINVAL && !p.passed)
		return barrier_without_ring(barrier, patience, ret, why);
	if (ret == -ETIMEDOUT)
		return barrier_still_pinned(&p, why);
	if (ret == -ECANCELED)
		return dp_fail(why, ret,
			       "gave up waiting for pinned memory of %s",
			       barrier->path);
	if (ret)
		return dp_fail(why, ret, "the layout of %s cannot be broken: %s",
			       barrier->path, strerror(-ret));
	return 0;
}
