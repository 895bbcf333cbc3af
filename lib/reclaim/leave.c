/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments that leave the pool while it is open.
 *
 *	STAYING --[dp_leave_begin]--> LEAVING --[dp_leave_end]--> GONE
 *	   ^                             |
 *	   '-------[dp_leave_undo]-------'
 *
 *	STAYING  below jobs->leaving_from
 *	LEAVING  from leaving_from to gone_from. Their gates are closed, and each
 *	         segment's counter was 0 under its gate. No job has a part in them, and
 *	         no registration pins them. A pin is -EAGAIN, and a job leaves them out
 *	GONE     from gone_from on: as LEAVING, for the rest of this open. A pin is
 *	         -ENOSPC
 *
 * Invariants:
 *	(1) The gate is closed before the counter is read, and stays closed: no hold
 *	    exists, and none can be taken. (I31, I32) So no DMA under a hold reaches the
 *	    segment. (A1)
 *	(2) A segment that a registration has pinned does not leave. Its pin is wanted
 *	    back, for which DAXPIN_EVENT_REVOKE is posted. (A6)
 *	(3) Both are decided under jobs->mutex, under which pins and jobs begin as well:
 *	    they find leaving_from, or dp_leave_begin() finds them.
 * DMA that is under no hold is the caller's to wait for, before the segments are
 * unmapped (core/shrink.c).
 */
#include "reclaim/job.h"
#include "reclaim/leave.h"

/* ------------------------------------------------------------------ what is in use */

static uint8_t leave_flags_of(const struct dp_jobs *jobs, uint32_t segment,
			      uint32_t block)
{
	return dp_segment_chunk(&jobs->holes.media->segments, segment,
				block / DP_CHUNK_BLOCKS);
}

static uint32_t leave_hole_blocks(const struct dp_jobs *jobs, uint32_t segment)
{
	const struct dp_geometry *geometry = &jobs->holes.media->geometry;
	uint32_t blocks = 0;

	for (uint32_t i = dp_geometry_meta_blocks(geometry);
	     i < dp_geometry_blocks(geometry, segment); i += DP_CHUNK_BLOCKS)
		if (!(leave_flags_of(jobs, segment, i) & DP_CHUNK_BACKED))
			blocks += DP_CHUNK_BLOCKS;
	return blocks;
}

/* The first block in use, or the end of the segment. A hole's blocks are not free, and
 * belong to no extent. */
static uint32_t leave_first_used(struct dp_jobs *jobs, uint32_t segment)
{
	const struct dp_geometry *geometry = &jobs->holes.media->geometry;
	uint32_t block = dp_geometry_meta_blocks(geometry);
	uint32_t end = dp_geometry_blocks(geometry, segment);

	while (block < end) {
		block = dp_spaces_find_used(jobs->holes.spaces, segment, block, end);
		if (block < end &&
		    leave_flags_of(jobs, segment, block) & DP_CHUNK_BACKED)
			return block;
		if (block < end)
			block = (block / DP_CHUNK_BLOCKS + 1) * DP_CHUNK_BLOCKS;
	}
	return end;
}

/* For reports: blocks that change meanwhile may be counted or not. */
static uint32_t leave_count_used(const struct dp_jobs *jobs, uint32_t segment)
{
	const struct dp_geometry *geometry = &jobs->holes.media->geometry;
	const struct dp_bits *bits = dp_spaces_bits(jobs->holes.spaces, segment);
	uint32_t blocks = dp_geometry_blocks(geometry, segment);
	uint32_t others = dp_geometry_meta_blocks(geometry) +
			  dp_bits_free_count(bits) +
			  dp_bits_quarantined_count(bits) +
			  leave_hole_blocks(jobs, segment);

	return blocks > others ? blocks - others : 1;
}

struct dp_leave_used dp_leave_find_used(struct dp_jobs *jobs, uint32_t segment)
{
	const struct dp_geometry *geometry = &jobs->holes.media->geometry;
	struct dp_leave_used used = { .blocks = 0 };

	/* The flags of chunks change under the mutex. */
	pthread_mutex_lock(&jobs->mutex);
	used.block = leave_first_used(jobs, segment);
	if (used.block < dp_geometry_blocks(geometry, segment)) {
		used.blocks = leave_count_used(jobs, segment);
		used.is_claimed = leave_flags_of(jobs, segment, used.block) &
				  DP_CHUNK_CLAIMED;
	}
	pthread_mutex_unlock(&jobs->mutex);
	return used;
}

/* ----------------------------------------------------------------------- leaving */

static bool leave_find_job(struct dp_jobs *jobs, uint32_t from, uint32_t to,
			   struct dp_leave_obstacle *ret_obstacle)
{
	for (uint32_t i = from; i < to; i++) {
		if (!dp_jobs_want(jobs, i))
			continue;
		*ret_obstacle = (struct dp_leave_obstacle) {
			.kind = DP_LEAVE_JOB, .segment = i,
		};
		return true;
	}
	return false;
}

/* Ask for all pins, and find the first. */
static bool leave_find_pin(struct dp_jobs *jobs, uint32_t from, uint32_t to,
			   struct dp_leave_obstacle *ret_obstacle)
{
	struct dp_leave_obstacle obstacle = { .kind = DP_LEAVE_REGISTRATION };
	bool any = false;

	for (uint32_t i = from; i < to; i++) {
		if (!dp_registrations_want(jobs->holders, i, jobs->events,
					   &obstacle.holder, obstacle.label) || any)
			continue;
		any = true;
		obstacle.segment = i;
		*ret_obstacle = obstacle;
		ret_obstacle->holder.label = ret_obstacle->label;
	}
	return any;
}

/* The gates are closed. */
static bool leave_find_hold(struct dp_jobs *jobs, uint32_t from, uint32_t to,
			    struct dp_leave_obstacle *ret_obstacle)
{
	for (uint32_t i = from; i < to; i++) {
		if (!dp_gate_busy(dp_state_gates(jobs->states), i))
			continue;
		*ret_obstacle = (struct dp_leave_obstacle) {
			.kind = DP_LEAVE_HOLD, .segment = i,
		};
		return true;
	}
	return false;
}

static void leave_open_gates(struct dp_jobs *jobs, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		dp_gate_open(dp_state_gates(jobs->states), i);
	dp_events_notify_refused(jobs->events);
}

/* Called with the mutex held. */
static bool leave_begin(struct dp_jobs *jobs, uint32_t from, uint32_t to,
			struct dp_leave_obstacle *ret_obstacle)
{
	if (leave_find_job(jobs, from, to, ret_obstacle) ||
	    leave_find_pin(jobs, from, to, ret_obstacle))
		return false;
	for (uint32_t i = from; i < to; i++)
		dp_gate_close(dp_state_gates(jobs->states), i);
	if (leave_find_hold(jobs, from, to, ret_obstacle)) {
		leave_open_gates(jobs, from, to);
		return false;
	}
	jobs->leaving_from = from;
	return true;
}

bool dp_leave_begin(struct dp_jobs *jobs, uint32_t from, uint32_t to,
		    struct dp_leave_obstacle *ret_obstacle)
{
	bool done;

	assert(from < to);
	pthread_mutex_lock(&jobs->mutex);
	assert(jobs->leaving_from == jobs->gone_from && to <= jobs->gone_from);
	done = leave_begin(jobs, from, to, ret_obstacle);
	pthread_mutex_unlock(&jobs->mutex);
	return done;
}

void dp_leave_undo(struct dp_jobs *jobs, uint32_t from, uint32_t to)
{
	pthread_mutex_lock(&jobs->mutex);
	assert(jobs->leaving_from == from);
	jobs->leaving_from = jobs->gone_from;
	leave_open_gates(jobs, from, to);
	pthread_mutex_unlock(&jobs->mutex);
}

void dp_leave_end(struct dp_jobs *jobs, uint32_t from, uint32_t to)
{
	pthread_mutex_lock(&jobs->mutex);
	assert(jobs->leaving_from == from);
	for (uint32_t i = from; i < to; i++) {
		/* What was true when they began to leave still is. */
		assert(!dp_gate_busy(dp_state_gates(jobs->states), i));
		assert(!dp_jobs_want(jobs, i));
		atomic_fetch_sub(&jobs->holes.blocks, leave_hole_blocks(jobs, i));
	}
	jobs->gone_from = from;
	pthread_mutex_unlock(&jobs->mutex);
}

void dp_leave_unwant(struct dp_jobs *jobs, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		dp_registrations_unwant(jobs->holders, i);
}
