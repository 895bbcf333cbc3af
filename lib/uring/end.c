/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns how a ring is left: by a detach, which takes everything of the adapter out
 * of the ring, or by daxpin_uring_abandon(), which waits until the kernel has freed
 * the ring.
 *
 *	attached, quarantined -> gone	[daxpin_uring_detach] no request in flight
 *	attached -> abandoned		[abandon_begin] closes the adapter's
 *					descriptor of the ring
 *	attached -> quarantined		[abandon_begin] the pipe is not in the table
 *	quarantined -> abandoned	[abandon_begin] every request is done, and the
 *					program can have no buffers in the ring; or a
 *					new pipe is in a new table
 *	abandoned -> gone		[abandon_end] the pipe has hung up
 *
 * Why the pipe proves that DMA has ended (C3). Its write end is in the ring's file
 * table and nowhere else. The kernel closes it for one of two reasons: it was taken
 * out of the table, or the ring was freed. The kernel frees a ring, first its
 * buffers and then its files, after the ring's last request has ended, and only when
 * the last descriptor and mapping of the ring are gone. While the adapter
 * has a descriptor of its own the second reason is impossible. So if the pipe hangs up
 * before the adapter closes its descriptor, the pipe was taken out of the table, and
 * this proves nothing. If the pipe is still in the table when the adapter closes its
 * descriptor, the kernel closes it only when it frees the ring: the program must not
 * change the tables of a ring that it abandons.
 *
 * That the pipe has not hung up is not enough: before Linux 6.13 a file that was
 * replaced stays open as long as an older request of the ring. So a new pipe
 * is put into the table before the descriptor is closed. A thread that must not do
 * that, because the ring has a single issuer or restrictions, reads the table in /proc.
 *
 * If the ring was attached by its index, the adapter has no descriptor of it. A hang-up
 * before the abandon may then have either reason, and the ring is quarantined as if its
 * table had been emptied.
 */
#include "uring/end.h"

#include <stdlib.h>
#include "uring/buffer_slots.h"
#include "uring/prep.h"
#include "util/cancel.h"
#include "util/detached.h"

int dp_uring_remove_lock(struct daxpin_uring *uring)
{
	int ret = 0;

	/* The caller may have put other files into these slots. */
	if (!dp_uring_pipe_is_hung_up(uring->pipe))
		ret = uring->own_files ? dp_uring_remove_files(&uring->link) :
		      dp_uring_put_files(&uring->link, uring->file_slot, NULL,
					 DAXPIN_URING_FILES);
	if (ret)
		return ret;
	dp_uring_close(uring->pipe);
	uring->pipe = -1;
	return 0;
}

void dp_uring_tear_down(struct daxpin_uring *uring)
{
	assert(!dp_uring_in_flight(uring) && !uring->requests.first);
	dp_uring_table_free(uring);
	dp_uring_unlink(&uring->link);
	uring->pool = NULL;
}

void dp_uring_end_info(const struct daxpin_uring *uring,
		       struct daxpin_uring_info *info)
{
	if (uring->end.is_quarantined)
		info->quarantined = dp_uring_in_flight(uring);
	info->lock_lost = !uring->end.is_begun &&
			  dp_uring_pipe_is_hung_up(uring->pipe);
	info->abandon_fd = uring->end.is_begun ? uring->pipe : -1;
}

static void end_tombstone(struct daxpin_uring *uring)
{
	static struct dp_detached_list detached;
	struct dp_detached oldest;

	assert(uring->pipe < 0);
	dp_uring_tear_down(uring);
	oldest = dp_detached_remember(&detached,
				      (struct dp_detached) { uring, NULL });
	free(oldest.handle);
}

/* What detach and abandon test first. -EOWNERDEAD: this is a child of fork(). */
static int end_enter(const struct daxpin_uring *uring)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	int ret = dp_uring_enter(uring);

	return ret ? ret : daxpin_pool_info(uring->pool, &info);
}

/*
 * In a forked child: close what it inherited, and change nothing in the ring,
 * which is its parent's. A mutex may be locked by a thread that the child does
 * not have, so what is in memory is left there.
 */
static void end_close_inherited(struct daxpin_uring *uring)
{
	dp_uring_table_close_inherited(uring);
	dp_uring_unlink(&uring->link);
	dp_uring_close(uring->pipe);
	uring->pipe = -1;
	uring->pool = NULL;
}

static void end_unregister(struct daxpin_uring *uring)
{
	int ret = daxpin_unregister(uring->registration);

	assert(!ret);
	end_tombstone(uring);
}

/* ----------------------------------------------------------------- abandon */

/*
 * The file table was emptied, or may have been, so nothing will show when the ring has
 * ended. It can be abandoned nevertheless if every request is done, and if the program
 * can have no buffers in it. Slots of the adapter that cannot be emptied then are
 * harmless: no request names them, now or later.
 */
static int abandon_without_sign(struct daxpin_uring *uring)
{
	uring->end.is_quarantined = dp_uring_in_flight(uring) ||
				    uring->has_own_buffers;
	if (uring->end.is_quarantined)
		return -ENXIO;
	dp_uring_table_close(uring);
	return 0;
}

/* A new pipe in the place of the old one; nothing is changed on an error. */
static int abandon_renew_pipe(struct daxpin_uring *uring)
{
	const uint32_t slot = uring->file_slot + DAXPIN_URING_FILES - 1;
	int ends[2], ret = dp_uring_pipe(ends);

	if (ret)
		return ret;
	ret = dp_uring_put_files(&uring->link, slot, &ends[1], 1);
	dp_uring_close(ends[1]);
	if (ret) {
		dp_uring_close(ends[0]);
		return ret;
	}
	dp_uring_close(uring->pipe);
	uring->pipe = ends[0];
	return 0;
}

/* For a thread that may not change the ring's tables. */
static int abandon_look_at_table(struct daxpin_uring *uring)
{
	const uint32_t slot = uring->file_slot + DAXPIN_URING_FILES - 1;

	switch (dp_uring_has_pipe(&uring->link, slot, uring->pipe)) {
	case DP_YES:
		return 0;
	case DP_NO:
		return abandon_without_sign(uring);
	default:
		return -EBUSY;
	}
}

/* 0: the pipe is in the table, or the ring can do no DMA any more. */
static int abandon_check_sign(struct daxpin_uring *uring)
{
	int ret;

	if (dp_uring_pipe_is_hung_up(uring->pipe))
		return abandon_without_sign(uring);
	ret = abandon_renew_pipe(uring);
	/* There is no table, or a shorter one. */
	if (ret == -ENXIO || ret == -EINVAL)
		return abandon_without_sign(uring);
	return ret == -EEXIST || ret == -EACCES ?
	       abandon_look_at_table(uring) : ret;
}

static int abandon_begin(struct daxpin_uring *uring)
{
	int ret;

	assert(!uring->end.is_begun && uring->pipe >= 0);
	ret = abandon_check_sign(uring);
	if (ret)
		return ret;
	dp_uring_unlink(&uring->link);
	uring->end.is_begun = true;
	/* The program has registered another table, and the new pipe is in it. */
	uring->end.is_quarantined = false;
	return 0;
}

/* /proc does not show the table of a ring while a thread is in a system call on it
 * (-EBUSY), so read it again until the deadline. */
static int abandon_begin_until(struct daxpin_uring *uring, uint64_t deadline_ns)
{
	int ret;

	while ((ret = abandon_begin(uring)) == -EBUSY &&
	       daxpin_deadline_ms(0) < deadline_ns)
		dp_uring_pipe_await(uring->pipe, daxpin_deadline_ms(1));
	return ret;
}

/* The kernel has freed the ring. */
static void abandon_end(struct daxpin_uring *uring)
{
	assert(uring->end.is_begun && !uring->end.is_quarantined);
	dp_uring_table_forget(uring);
	dp_uring_requests_end(uring);
	dp_uring_close(uring->pipe);
	uring->pipe = -1;
	end_unregister(uring);
}

DP_EXPORT int daxpin_uring_abandon(struct daxpin_uring *uring,
				   uint64_t deadline_ns)
{
	DP_UNCANCELLED();
	int ret;

	if (!uring)
		return 0;
	ret = end_enter(uring);
	if (!ret && !uring->end.is_begun)
		ret = abandon_begin_until(uring, deadline_ns);
	if (!ret)
		ret = dp_uring_pipe_await(uring->pipe, deadline_ns);
	if (!ret)
		abandon_end(uring);
	return ret;
}

/* ------------------------------------------------------------------ detach */

DP_EXPORT int daxpin_uring_detach(struct daxpin_uring *uring)
{
	DP_UNCANCELLED();
	int ret;

	if (!uring)
		return 0;
	ret = end_enter(uring);
	if (ret == -EOWNERDEAD) {
		end_close_inherited(uring);
		return 0;
	}
	if (ret)
		return ret;
	if (uring->end.is_begun)
		return daxpin_uring_abandon(uring, 0);
	if (dp_uring_in_flight(uring))
		return -EBUSY;
	ret = dp_uring_table_close(uring);
	if (!ret)
		ret = dp_uring_remove_lock(uring);
	if (!ret)
		end_unregister(uring);
	return ret;
}
