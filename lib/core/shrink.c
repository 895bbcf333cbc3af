/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removes the last segments of a pool that other threads use.
 *
 *	IN USE --> CLOSED --> LEAVING --> QUIET --> REMOVED
 *	   ^          |          |          |
 *	   |          v          v          v
 *	   '----------+----------'        CLOSED, if the superblock cannot be written
 *
 *	IN USE -> CLOSED	[dp_spaces_close]
 *	CLOSED -> LEAVING	[shrink_try]
 *	LEAVING -> QUIET	[shrink_pass_barrier]
 *	QUIET -> REMOVED	[dp_pool_shrink]
 *	CLOSED, LEAVING -> IN USE	[shrink_give_back]
 *
 * What is true in each:
 *
 *	CLOSED   no block of the segments can be reserved, and no object in a slab
 *	         there (I68), unless a thread had begun to reserve it; extents, objects,
 *	         holds, jobs and pins of them exist. The caller moves the extents and
 *	         objects. Only memory has changed, but for slabs that were freed
 *	LEAVING  no block is in use, so there is no extent, and none can be reserved:
 *	         no hold exists, and none can be taken. No job and no pin exists, and
 *	         none can begin (reclaim/leave.c)
 *	QUIET    in addition, on a DAX filesystem no process has a page of the files
 *	         pinned
 *	REMOVED  segment 0's superblock does not count them, and then they are unmapped,
 *	         truncated and unlinked
 *
 * Why no DMA reaches a segment that is unmapped (A1, A2): DMA under a hold ends before
 * the drop, an extent's blocks become free only at its last drop, and all blocks are
 * free. DMA by a registered buffer or a memory region needs a hold as well, and the pin
 * was given back, so the region does not exist any more. DMA that is under no hold, or
 * that an earlier owner began, pins pages: on a DAX filesystem the layout barrier has
 * waited for it, while nothing could begin, because the pages can be found only through
 * the mapping. On shmem the pages of a removed file belong to whoever pins them. A
 * device is neither unmapped nor given to anybody.
 *
 * After a crash the next open finds the old number of segments or the new one (D10). It
 * removes files that it does not count, see pool/grow.c.
 *
 * Invariants:
 *	I67	while a segment is closed no block of it is claimed
 *	I68	while a segment is closed no object of it is reserved
 *	D10	one write of segment 0's superblock removes all segments of a shrink
 *	D24	a file is truncated and unlinked after the superblock does not count it
 */
#include <errno.h>
#include <inttypes.h>
#include "core/shrink.h"
#include "core/slabs.h"
#include "os/os.h"
#include "owner/barrier.h"
#include "pool/shrink.h"
#include "reclaim/leave.h"
#include "util/probe.h"

#define PAUSE_MIN_NS	50000ull
#define PAUSE_MAX_NS	5000000ull

struct shrink {
	struct daxpin_pool *pool;
	const struct dp_shrink_request *request;
	const struct dp_errmsg *errmsg;
	uint32_t from, to;		/* the segments that are removed */
	uint64_t begin_ns, pause_ns;
	uint64_t left_blocks;		/* in use, when last counted */
	struct daxpin_shrink_wait wait;	/* what prevents the removal */
	struct dp_leave_obstacle obstacle;	/* that wait.holder may point to */
};

/* ------------------------------------------------------------ what is in the way */

static uint32_t shrink_reason(enum dp_state state)
{
	switch (state) {
	case DP_STATE_LIVE:
		return DAXPIN_SHRINK_LIVE;
	case DP_STATE_RESERVED:
		return DAXPIN_SHRINK_RESERVED;
	case DP_STATE_RETIRED:
		return DAXPIN_SHRINK_RETIRED;
	case DP_STATE_SLAB:
		return DAXPIN_SHRINK_OBJECTS;
	default:
		return DAXPIN_SHRINK_CHANGING;
	}
}

/* Describe the user of a block: an extent that begins there, its oldest labelled hold,
 * or a thread that is freeing or reserving it. */
static void shrink_describe(struct shrink *s, uint32_t segment, uint32_t block)
{
	struct daxpin_pool *pool = s->pool;
	uint64_t at = ((uint64_t)segment << dp_states_shift(&pool->states)) + block;
	struct dp_state_view view = dp_state_read(&pool->states, at);
	uint64_t bytes = view.state == DP_STATE_FREE ? DP_BLOCK_SIZE :
			 (uint64_t)dp_state_blocks(&pool->states, at) <<
				 DP_BLOCK_SHIFT;

	s->wait.reason = shrink_reason(view.state);
	s->wait.segment = segment;
	if (view.state != DP_STATE_FREE)
		s->wait.extent = dp_extent(pool, at, view.generation);
	if (view.state == DP_STATE_SLAB)
		s->wait.extent.gen = 0;
	s->wait.bytes = bytes;
	if (!view.count)
		return;
	s->obstacle.holder = (struct daxpin_holder) {
		.size = sizeof(s->obstacle.holder), .count = view.count,
		.extent = s->wait.extent,
	};
	dp_holders_oldest(&pool->holders, at << DP_BLOCK_SHIFT,
			  (at << DP_BLOCK_SHIFT) + 1, &s->obstacle.holder,
			  s->obstacle.label);
	s->obstacle.holder.segment = segment;
	s->wait.holder = &s->obstacle.holder;
}

static void shrink_describe_job(struct shrink *s, uint32_t segment)
{
	s->wait.reason = DAXPIN_SHRINK_JOB;
	s->wait.segment = segment;
}

/* Is a block of the segments in use? Then s->wait describes the first. */
static bool shrink_is_used(struct shrink *s)
{
	bool any = false;

	s->left_blocks = 0;
	for (uint32_t i = s->from; i < s->to; i++) {
		struct dp_leave_used used = dp_leave_find_used(&s->pool->jobs, i);

		if (!used.blocks)
			continue;
		if (!any && used.is_claimed)
			shrink_describe_job(s, i);
		else if (!any)
			shrink_describe(s, i, used.block);
		any = true;
		s->left_blocks += used.blocks;
	}
	return any;
}

static void shrink_describe_obstacle(struct shrink *s)
{
	static const uint32_t reasons[] = {
		[DP_LEAVE_JOB] = DAXPIN_SHRINK_JOB,
		[DP_LEAVE_HOLD] = DAXPIN_SHRINK_CHANGING,
		[DP_LEAVE_REGISTRATION] = DAXPIN_SHRINK_REGISTRATION,
	};

	s->wait.reason = reasons[s->obstacle.kind];
	s->wait.segment = s->obstacle.segment;
	if (s->obstacle.kind != DP_LEAVE_REGISTRATION)
		return;
	s->obstacle.holder.segment = s->obstacle.segment;
	s->wait.holder = &s->obstacle.holder;
}

/* CLOSED -> LEAVING. False: s->wait has the reason. */
static bool shrink_try(struct shrink *s)
{
	uint64_t before = s->left_blocks;
	bool is_used;

	s->wait = (struct daxpin_shrink_wait) { .size = sizeof(s->wait) };
	dp_jobs_poll(&s->pool->jobs);
	is_used = shrink_is_used(s);
	s->wait.left_bytes = s->left_blocks << DP_BLOCK_SHIFT;
	if (s->left_blocks != before)
		s->pause_ns = PAUSE_MIN_NS;
	if (is_used)
		return false;
	if (dp_leave_begin(&s->pool->jobs, s->from, s->to, &s->obstacle))
		return true;
	shrink_describe_obstacle(s);
	return false;
}

/* ---------------------------------------------------------------------- waiting */

static bool shrink_has_bad_objects(const struct shrink *s)
{
	const struct dp_slab *slab = dp_slab_at(&s->pool->objects,
						s->wait.extent.addr >> DP_BLOCK_SHIFT);

	return slab && dp_slab_has_bad(slab);
}

/* The sentence about s->wait: who is in the way, and how it ends. */
static int shrink_fail_busy(const struct shrink *s)
{
	const char *path = s->pool->media.source.path;
	const struct daxpin_shrink_wait *wait = &s->wait;
	const char *label = wait->holder ? wait->holder->label : NULL;

	switch (wait->reason) {
	case DAXPIN_SHRINK_LIVE:
	case DAXPIN_SHRINK_RESERVED:
	case DAXPIN_SHRINK_RETIRED:
		return dp_fail(s->errmsg, -EBUSY,
			       "segment %u of %s still has extents, the first at 0x%" PRIx64 " (%s%s%s), and %" PRIu64 " bytes are in use in all: %s",
			       wait->segment, path, wait->extent.addr,
			       wait->reason == DAXPIN_SHRINK_LIVE ? "live" :
			       wait->reason == DAXPIN_SHRINK_RESERVED ? "reserved" :
			       "retired", label ? ", held by " : "", label ? label : "",
			       wait->left_bytes, wait->reason == DAXPIN_SHRINK_LIVE ?
			       "move them with daxpin_foreach_in() and daxpin_copy(), or retire them" :
			       "wait with a later deadline for their cancel, KEEP or last drop");
	case DAXPIN_SHRINK_OBJECTS:
		return dp_fail(s->errmsg, -EBUSY,
			       "segment %u of %s still has small objects, the first in the slab at 0x%" PRIx64 ", and %" PRIu64 " bytes are in use in all: move or free the live ones (daxpin_foreach_object()), and wait with a later deadline for the KEEP or cancel of reserved ones%s",
			       wait->segment, path, wait->extent.addr, wait->left_bytes,
			       shrink_has_bad_objects(s) ?
			       "; objects in bad memory are in use until all others are gone and you close the pool and open it again" : "");
	case DAXPIN_SHRINK_REGISTRATION:
		return dp_fail(s->errmsg, -EBUSY,
			       "segment %u of %s is pinned by the registration \"%s\": let its owner give the pin back (DAXPIN_EVENT_REVOKE, or the service function of the adapter), or end it",
			       wait->segment, path, label);
	case DAXPIN_SHRINK_JOB:
		return dp_fail(s->errmsg, -EBUSY,
			       "a reclaim or refill works on segment %u of %s: wait for it, or cancel it",
			       wait->segment, path);
	default:
		return dp_fail(s->errmsg, -EBUSY,
			       "a thread is reserving, freeing or holding something in segment %u of %s: try again",
			       wait->segment, path);
	}
}

static bool shrink_medium_failed(const struct shrink *s)
{
	return dp_persist_error(&s->pool->media.persist);
}

static int shrink_fail_in_use(const struct shrink *s)
{
	if (!shrink_medium_failed(s))
		return shrink_fail_busy(s);
	return dp_fail(s->errmsg, -EIO,
		       "the medium has failed, so the segments from %u on of %s cannot be removed in this open, whatever uses them: close the pool and open it again",
		       s->from, s->pool->media.source.path);
}

static int shrink_report(struct shrink *s)
{
	const struct dp_shrink_request *request = s->request;

	s->wait.waited_ns = dp_os_now_ns() - s->begin_ns;
	if (!request->progress ||
	    !request->progress(s->pool, &s->wait, request->arg))
		return 0;
	return dp_fail(s->errmsg, -ECANCELED, "progress() has cancelled the shrink of %s",
		       s->pool->media.source.path);
}

/* Sleep, unless the deadline has passed or the medium has failed, after which no
 * segment can be removed: that stores true in *ret_over. */
static void shrink_sleep(struct shrink *s, bool *ret_over)
{
	uint64_t now_ns = dp_os_now_ns();

	*ret_over = now_ns >= s->request->deadline_ns || shrink_medium_failed(s);
	if (*ret_over)
		return;
	dp_os_sleep_ns(dp_min(s->pause_ns, s->request->deadline_ns - now_ns));
	s->pause_ns = dp_min(2 * s->pause_ns, PAUSE_MAX_NS);
}

/* The last attempt is after a progress(), which may have moved what was in the way. */
static int shrink_wait(struct shrink *s)
{
	bool is_last = false;
	int ret = 0;

	while (!ret && !shrink_try(s)) {
		if (is_last)
			return shrink_fail_in_use(s);
		ret = shrink_report(s);
		if (!ret)
			shrink_sleep(s, &is_last);
	}
	return ret;
}

/* --------------------------------------------------------------------- barrier */

static int shrink_barrier_file(uint32_t index, void *arg)
{
	const struct shrink *s = arg;

	return dp_segment_fd(&s->pool->media.segments, s->from + index);
}

static int shrink_barrier_progress(const struct dp_wait *wait, void *arg)
{
	struct shrink *s = arg;

	(void)wait;
	s->wait = (struct daxpin_shrink_wait) {
		.size = sizeof(s->wait), .reason = DAXPIN_SHRINK_PINNED,
		.segment = s->from,
	};
	return shrink_report(s);
}

/* The sentences of the barrier are about an open. */
static int shrink_fail_barrier(const struct shrink *s, int error)
{
	const char *path = s->pool->media.source.path;

	switch (error) {
	case -ECANCELED:
		return dp_fail(s->errmsg, error,
			       "progress() has cancelled the shrink of %s", path);
	case -EBUSY:
		return dp_fail(s->errmsg, error,
			       "memory of a segment from %u on of %s is pinned by I/O that daxpin does not know, of this process or another, or the kernel did not say within half a minute that it is not: wait with a later deadline, or end the I/O",
			       s->from, path);
	case -ENOSYS:
		return dp_fail(s->errmsg, error,
			       "whether memory of %s is pinned can only be waited for by io_uring, which is unavailable here: allow it, or shrink with DAXPIN_NO_DEADLINE and without progress(), which waits without end in the calling thread",
			       path);
	default:
		return dp_fail(s->errmsg, error,
			       "the layout of the files of %s cannot be broken: %s",
			       path, strerror(-error));
	}
}

/* LEAVING -> QUIET */
static int shrink_pass_barrier(struct shrink *s)
{
	struct dp_wait_policy policy = {
		.deadline_ns = s->request->deadline_ns,
		.progress = s->request->progress ? shrink_barrier_progress : NULL,
		.arg = s,
	};
	const struct dp_barrier barrier = {
		.path = s->pool->media.source.path, .files = s->to - s->from,
		.file = shrink_barrier_file, .arg = s,
	};
	const struct dp_errmsg silent = { NULL, 0 };
	int ret;

	if (s->pool->media.source.kind != DP_SOURCE_FSDAX)
		return 0;
	dp_wait_begin(&policy);
	ret = dp_barrier_pass(&barrier, &policy, &silent);
	return ret ? shrink_fail_barrier(s, ret) : 0;
}

/* ------------------------------------------------------------------ the whole */

/* CLOSED, LEAVING -> IN USE */
static int shrink_give_back(struct shrink *s, bool is_leaving, int error)
{
	if (is_leaving)
		dp_leave_undo(&s->pool->jobs, s->from, s->to);
	dp_leave_unwant(&s->pool->jobs, s->from, s->to);
	dp_spaces_reopen(&s->pool->spaces, s->from, s->to);
	dp_objects_reopen(&s->pool->objects);
	/* Reserves that were refused meanwhile may succeed now. */
	dp_events_notify_refused(&s->pool->events);
	return error;
}

static bool shrink_is_held(const struct shrink *s)
{
	for (uint32_t i = s->from; i < s->to; i++)
		if (dp_gate_busy(dp_state_gates(&s->pool->states), i))
			return true;
	return false;
}

/* QUIET -> REMOVED */
static int shrink_remove(struct shrink *s)
{
	int ret;

	/* What was true in LEAVING still is. */
	assert(!shrink_is_used(s) && !shrink_is_held(s));
	ret = dp_pool_shrink(&s->pool->media, s->from, s->errmsg);
	if (ret)
		return ret;
	assert(dp_spaces_open_count(&s->pool->spaces) == s->from);
	dp_leave_end(&s->pool->jobs, s->from, s->to);
	dp_spaces_end_close(&s->pool->spaces);
	/* There are no slabs, but a grow may make room for some. */
	dp_objects_reopen(&s->pool->objects);
	return 0;
}

int dp_shrink(struct daxpin_pool *pool, const struct dp_shrink_request *request,
	      const struct dp_errmsg *errmsg)
{
	struct shrink s = {
		.pool = pool, .request = request, .errmsg = errmsg,
		.from = request->segments, .to = dp_pool_in_set(&pool->media),
		.begin_ns = dp_os_now_ns(), .pause_ns = PAUSE_MIN_NS,
	};
	int ret;

	assert(s.from && s.from < s.to);
	if (dp_spaces_open_count(&pool->spaces) != s.to)
		return dp_fail(errmsg, -EIO,
			       "an earlier shrink could not write the superblock of %s: close the pool and open it again",
			       pool->media.source.path);
	dp_spaces_close(&pool->spaces, s.from, s.to);
	dp_slabs_withdraw(pool, s.from);
	ret = shrink_wait(&s);
	if (ret)
		return shrink_give_back(&s, false, ret);
	ret = shrink_pass_barrier(&s);
	return ret ? shrink_give_back(&s, true, ret) : shrink_remove(&s);
}
