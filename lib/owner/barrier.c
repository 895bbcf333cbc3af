/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An operation that breaks the layout of a DAX file waits until no page of it is
 * pinned. Truncating a file to its present size is the one such operation that
 * changes nothing: no byte, no block, no extent (measured on XFS and ext4, 6.12
 * and 7.2). A ring submits it, because a deadline cannot end the plain call: in a
 * worker of the ring it waits interruptibly, and cancelling the request ends it in
 * milliseconds, with nothing done.
 *
 * Rings truncate since Linux 6.9. On older kernels a fallocate() past the end of
 * the file waits for the same pins (measured on 6.1): on XFS a punch there, which
 * changes nothing either; on ext4, which returns from that immediately, zeroing a
 * block there. ext4 then keeps that block, unwritten and past the end, until the
 * file is truncated, for example by the next barrier of a later kernel. ext4
 * allocates the block after the wait, so ENOSPC also means that the wait succeeded.
 *
 * W12: a wake-up is a hint. 6.1 does not wake the wait when direct I/O releases a
 * page, so a request that has not completed is cancelled and submitted again at
 * growing intervals (util/backoff.h). That is no failure and changes no deadline: a
 * file has passed only when its own request succeeded.
 *
 * While it waits the kernel holds the file's i_rwsem: no thread may read(), write()
 * or allocate here meanwhile. Loads, stores and faults continue.
 *
 * The deadline limits waiting, and a barrier that meets no pin does not wait: it
 * continues as long as files pass, and for a second longer. A file is reported as
 * pinned only if the kernel was seen to wait for it: the cancel then interrupts a
 * call. If no worker has begun with any of the files (the machine is busy), the
 * barrier begins again and allows twice the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include "media/layout.h"
#include "os/os.h"
#include "os/ring.h"
#include "owner/barrier.h"
#include "util/backoff.h"

#define ENTRIES		32u		/* files at a time */
#define CANCEL		UINT64_MAX	/* user_data; otherwise the file's index */
#define STEP_NS		(10 * 1000000ull)
#define GRACE_NS	(1000 * 1000000ull)
#define GRACE_MAX_NS	(16 * GRACE_NS)

/* What is asked of each file. */
enum barrier_method {
	BY_TRUNCATE,
	BY_PUNCH_PAST_END,		/* XFS before Linux 6.9 */
	BY_ZERO_PAST_END,		/* ext4 before it */
};

struct passage {
	const struct dp_barrier *barrier;
	enum barrier_method by;
	struct dp_wait_policy *policy;
	struct dp_ring ring;
	uint32_t begun;
	uint32_t passed;
	uint32_t in_flight;		/* requests without completion */
	struct dp_backoff backoff;	/* when to submit again */
	bool back;			/* some request, since it was last done */
	bool unbegun;			/* one of those that no worker had begun */
	bool waited;			/* the kernel waited for the pins of a file */
	uint32_t stuck;			/* the index of that file */
	uint64_t moved_ns;		/* when a file last passed */
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

/* For a file of that size; blocks of a DAX filesystem are pages. */
static void barrier_fill(struct io_uring_sqe *sqe, enum barrier_method by,
			 uint64_t size)
{
	if (by == BY_TRUNCATE) {
		sqe->opcode = DP_RING_FTRUNCATE;
		sqe->off = size;
		return;
	}
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->off = dp_round_up(size, DP_BLOCK_SIZE);
	sqe->addr = DP_BLOCK_SIZE;
	sqe->len = FALLOC_FL_KEEP_SIZE | (by == BY_PUNCH_PAST_END ?
					  FALLOC_FL_PUNCH_HOLE :
					  FALLOC_FL_ZERO_RANGE);
}

static int barrier_begin(struct passage *p, uint32_t index)
{
	struct io_uring_sqe *sqe;
	struct stat st;
	int fd = barrier_file_of(p->barrier, index, &st);

	if (fd < 0)
		return fd;
	sqe = dp_ring_prepare(&p->ring);
	assert(sqe);
	barrier_fill(sqe, p->by, st.st_size);
	sqe->fd = fd;
	sqe->user_data = index;
	p->in_flight++;
	return dp_ring_submit(&p->ring);
}

static bool barrier_is_passed(const struct passage *p, int result)
{
	return !result || (p->by == BY_ZERO_PAST_END && result == -ENOSPC);
}

/* A request whose worker was interrupted, perhaps by this file, is submitted again. */
static int barrier_end(struct passage *p, const struct io_uring_cqe *cqe)
{
	/* The cancelled requests carry the result, not the cancel. */
	if (cqe->user_data == CANCEL)
		return 0;
	assert(p->in_flight);
	p->in_flight--;
	if (barrier_is_passed(p, cqe->res)) {
		p->passed++;
		p->moved_ns = dp_os_now_ns();
		return 0;
	}
	p->back = true;
	p->unbegun |= cqe->res == -ECANCELED;
	if (dp_ring_was_interrupted(cqe->res))
		return barrier_begin(p, cqe->user_data);
	return cqe->res;
}

/* ------------------------------------------------------------------- all */

/*
 * W12: each of the requests completes, and barrier_end() submits them again. A
 * cancellation may miss all of them; then nothing is known, and the interval stays
 * the same: if it were shorter, the next cancellation would come before a slow
 * machine has begun a request.
 */
static int barrier_recheck(struct passage *p)
{
	uint64_t now_ns = dp_os_now_ns();

	if (now_ns < p->backoff.at_ns)
		return 0;
	if (p->back)
		dp_backoff_next(&p->backoff, now_ns, p->unbegun);
	else
		p->backoff.at_ns = now_ns + p->backoff.interval_ns;
	p->back = p->unbegun = false;
	return dp_ring_cancel_all(&p->ring, CANCEL);
}

static int barrier_wait_for_one(struct passage *p)
{
	struct io_uring_cqe cqe;
	int ret = dp_ring_next(&p->ring, STEP_NS, &cqe);

	if (ret > 0)
		return barrier_end(p, &cqe);
	if (!ret)
		ret = dp_wait_report(p->policy, DP_OWNER_PINNED,
				     p->barrier->pid);
	if (ret == -ETIMEDOUT && dp_os_now_ns() - p->moved_ns < p->grace_ns)
		ret = 0;
	return ret ? ret : barrier_recheck(p);
}

static int barrier_pass_all(struct passage *p)
{
	int ret = 0;

	assert(!p->in_flight && !p->waited);
	p->begun = 0;
	p->passed = 0;
	p->moved_ns = dp_os_now_ns();
	p->backoff.at_ns = p->moved_ns + p->backoff.interval_ns;
	p->back = true;
	p->unbegun = false;
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
	if (!dp_ring_was_interrupted(cqe->res) || cqe->res == -ECANCELED)
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

static int barrier_pass_or_probe(struct passage *p)
{
	int ret;

	do {
		ret = barrier_pass_all(p);
		/* Each file's own request has completed: none is left to cancel. */
		assert(ret || !p->in_flight);
		barrier_cancel(p);
		p->grace_ns *= 2;
	} while (ret == -ETIMEDOUT && !p->waited &&
		 p->grace_ns <= GRACE_MAX_NS);
	return ret;
}

/* ----------------------------------------------------------- without a ring */

/*
 * In the caller's thread, if the caller accepts an unlimited wait: no signal of the
 * library could end the call at a deadline. Nor can it be started again (W12): on a
 * kernel that does not wake it, any signal to the thread does that.
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
				const struct dp_wait_policy *policy, int error,
				const struct dp_errmsg *errmsg)
{
	if (policy->deadline_ns == UINT64_MAX && !policy->progress)
		return barrier_pass_blocking(barrier);
	return dp_fail(errmsg, -ENOSYS,
		       "%s was not closed by its last owner, and whether DMA still reaches its files can only be waited for by io_uring, which is unavailable here (%s): allow io_uring (this filesystem needs Linux 6.9 or later), or open with no deadline and no progress function, which waits without end in the calling thread",
		       barrier->path, strerror(-error));
}

/* ------------------------------------------------------------------ verdict */

static int barrier_still_pinned(const struct passage *p,
				const struct dp_errmsg *errmsg)
{
	if (!p->waited)
		return dp_fail(errmsg, -EBUSY,
			       "whether memory of %s is pinned is unknown, because this machine is so busy that its kernel did not begin to check within half a minute: open again when it is less busy",
			       p->barrier->path);
	return dp_fail(errmsg, -EBUSY,
		       "memory of segment %u of %s is pinned: I/O from outside daxpin's rings that process %d, its last owner (0: unknown), or another process began has not ended: wait with a later deadline, or end it",
		       p->stuck, p->barrier->path, p->barrier->pid);
}

/* Before Linux 6.9, by what was seen to wait there. false: nothing was. */
static bool barrier_find_other_method(struct passage *p)
{
	struct stat st;
	uint64_t magic;
	int fd = barrier_file_of(p->barrier, 0, &st);

	if (fd < 0 || dp_os_filesystem(fd, &magic))
		return false;
	if (magic == XFS_SUPER_MAGIC)
		p->by = BY_PUNCH_PAST_END;
	else if (magic == EXT4_SUPER_MAGIC)
		p->by = BY_ZERO_PAST_END;
	return p->by != BY_TRUNCATE;
}

/* The filesystem or the kernel does not support it: the first result shows that. */
static bool barrier_is_unknown(const struct passage *p, int result)
{
	return !p->passed && (result == -EINVAL || result == -EOPNOTSUPP);
}

static int barrier_pass_somehow(struct passage *p)
{
	int ret = barrier_pass_or_probe(p);

	if (!barrier_is_unknown(p, ret) || !barrier_find_other_method(p))
		return ret;
	p->grace_ns = GRACE_NS;
	p->waited = false;
	return barrier_pass_or_probe(p);
}

int dp_barrier_pass(const struct dp_barrier *barrier,
		    struct dp_wait_policy *policy,
		    const struct dp_errmsg *errmsg)
{
	struct passage p = { .barrier = barrier, .policy = policy,
			     .backoff = dp_backoff_begin(dp_os_now_ns()),
			     .grace_ns = GRACE_NS };
	int ret;

	assert(barrier->files && barrier->file);
	ret = dp_ring_open(&p.ring, ENTRIES, DP_RING_PLAIN);
	if (ret)
		return barrier_without_ring(barrier, policy, ret, errmsg);
	ret = barrier_pass_somehow(&p);
	dp_ring_close(&p.ring);
	if (barrier_is_unknown(&p, ret))
		return barrier_without_ring(barrier, policy, ret, errmsg);
	if (ret == -ETIMEDOUT)
		return barrier_still_pinned(&p, errmsg);
	if (ret == -ECANCELED)
		return dp_fail(errmsg, ret,
			       "gave up waiting for pinned memory of %s",
			       barrier->path);
	if (ret)
		return dp_fail(errmsg, ret,
			       "the layout of %s cannot be broken: %s",
			       barrier->path, strerror(-ret));
	return 0;
}
