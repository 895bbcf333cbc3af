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
 * the file waits for the same pins (measured on 6.1). On XFS the barrier punches a
 * block there, which changes nothing either. On ext4 such a punch returns without
 * waiting, so the barrier zeroes the block instead. ext4 then keeps that block,
 * unwritten and past the end, until the file is truncated, for example by the next
 * barrier of a later kernel. ext4 allocates the block after the wait, so ENOSPC also
 * means that the wait succeeded.
 *
 * W12: a wake-up is a hint. 6.1 does not wake the wait when direct I/O releases a
 * page, so a request that has not completed is cancelled and submitted again at
 * growing intervals (util/backoff.h). The cancellation is not an error, and the
 * deadline stays the same. A file has passed only when its own request has succeeded.
 *
 * While it waits the kernel holds the file's i_rwsem: no thread may read(), write()
 * or allocate here meanwhile. Loads, stores and faults continue.
 *
 * The deadline limits only the wait for pins. So after the deadline the barrier still
 * continues while files pass, and gives up when none has passed for a second. A file
 * is reported as pinned only if cancelling its request interrupted a call, which
 * proves that the kernel waited. If no request was interrupted, the machine may be too
 * busy to begin them, and the barrier begins again with twice that time.
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

/* The call that waits for the pins of each file. */
enum barrier_method {
	BY_TRUNCATE,
	BY_PUNCH_PAST_END,		/* XFS before Linux 6.9 */
	BY_ZERO_PAST_END,		/* ext4 before Linux 6.9 */
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
	bool back;			/* a request has ended without success since
					   the last cancellation */
	bool unbegun;			/* a worker had not begun one of these */
	bool waited;			/* the kernel waited for the pins of a file */
	uint32_t stuck;			/* the index of that file */
	uint64_t moved_ns;		/* when a file last passed */
	uint64_t grace_ns;		/* after the deadline: how long to wait for the
					   next file to pass */
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

/* Fill in the request for a file of that size. A block of a DAX filesystem is as large
 * as a page. */
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

/* Process a completion. A request that was interrupted or cancelled, usually by
 * barrier_recheck(), is submitted again. */
static int barrier_end(struct passage *p, const struct io_uring_cqe *cqe)
{
	/* The result of the cancellation itself is not needed. */
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
 * W12: cancel all requests at growing intervals; barrier_end() submits them again. If
 * no request has come back since the last cancellation, the next one is due after the
 * same interval: if it came earlier, a slow machine might not have begun a request by
 * then.
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

/* The result of a cancelled request shows whether the kernel waited in it. -ECANCELED
 * does not show that, because a request that no worker has begun also returns it. */
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
 * Without a ring, truncate in the calling thread. The caller must accept an unlimited
 * wait, because the library, which sends no signals, cannot end the call at a
 * deadline. It cannot repeat the call either (W12). On a kernel that does not wake
 * the call, any signal to the thread interrupts it, and the loop repeats it.
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

/* Choose the method for kernels before Linux 6.9, by filesystem. false: no method is
 * known for this one. */
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
