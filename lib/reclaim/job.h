/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim and refill jobs. See job.c, and part.c for the order of steps.
 */
#ifndef DP_JOB_H
#define DP_JOB_H

#include "reclaim/part.h"

void dp_jobs_init(struct dp_jobs *jobs, struct dp_pool *media,
		  struct dp_spaces *spaces, struct dp_states *states,
		  struct dp_events *events, struct dp_holders *holders);
void dp_jobs_fini(struct dp_jobs *jobs);
/* In a forked child: close its descriptors. The jobs are its parent's. */
void dp_jobs_close_inherited(struct dp_jobs *jobs);

/*
 * Begin a job in one segment, or in all with DAXPIN_ALL_SEGMENTS. The caller has set
 * the fields of the job up to `blocking`. Segments that leave the pool are left out. On
 * an error nothing was begun: -ENOMEM, -ENOENT if no segment is left, or the errno with
 * which the ring could not be opened.
 */
int dp_job_begin(struct daxpin_job *job, uint32_t segment);
bool dp_job_is_over(struct daxpin_job *job);
void dp_job_cancel(struct daxpin_job *job);
void dp_job_report(struct daxpin_job *job,
		   void (*fn)(const struct daxpin_job_part *part, void *arg),
		   void *arg, struct daxpin_job_summary *ret_summary);
/* Free a job that is over. */
void dp_job_end(struct daxpin_job *job);

/* Call fn for each job that dp_job_end() has not freed, with the sums of its parts,
 * under the mutex. */
void dp_jobs_each(struct dp_jobs *jobs,
		  void (*fn)(const struct daxpin_job *job, uint64_t done_bytes,
			     uint64_t left_bytes, void *arg), void *arg);

/* Process the kernel's completions, and advance the parts that wait. Can be called at
 * any time, without the mutex. */
void dp_jobs_poll(struct dp_jobs *jobs);

/*
 * C4: these four functions return -EAGAIN or -ENOSPC if what the caller needs is
 * unavailable now, and DAXPIN_EVENT_RETRY is posted when that has changed.
 * A hold never sleeps (I33): it takes the jobs' mutex only if that is possible
 * at once. The others can sleep.
 */

/* Do what dp_state_finish_hold() does. If the gate is closed, record the kernel's
 * completions, which may open it, and try again. -EAGAIN: the gate is still closed. */
int dp_jobs_finish_hold(struct dp_jobs *jobs, uint64_t block, uint64_t generation,
			uint32_t count, uint64_t flags, int result);
/* The same for a hold that has not been attempted. */
static inline int dp_jobs_hold(struct dp_jobs *jobs, uint64_t block,
			       uint64_t generation, uint32_t count,
			       uint64_t flags)
{
	return dp_jobs_finish_hold(jobs, block, generation, count, flags,
				   DP_STATE_UNDECIDED);
}
/*
 * Call it after dp_spaces_try() has failed. It notes the refusal, and then claims
 * blocks from all free space, including the caches of other threads.
 *
 * -EAGAIN  a job is reclaiming or refilling space
 * -ENOSPC  no job in progress will provide space: only a drop, a retire or a new refill
 *          can
 */
int dp_jobs_space(struct dp_jobs *jobs, uint32_t blocks, uint64_t *ret_block);
/* Is a part of a job in that segment not over? The caller has jobs->mutex. */
bool dp_jobs_want(const struct dp_jobs *jobs, uint32_t segment);
/*
 * Add a registration without separate pins to the list. It pins all the memory that it
 * covers: `segment`, or with DAXPIN_ALL_SEGMENTS every segment.
 *
 * -EAGAIN  the kernel is punching or filling chunks of a segment that it covers, or
 *          segments are leaving the pool
 * -ENOENT  the segment has left the pool
 */
int dp_jobs_register(struct dp_jobs *jobs,
		     struct daxpin_registration *registration, uint32_t segment);
/*
 * Record that the registration pins the segment. Only after 0 may its owner pin it.
 *
 * -EAGAIN    a job works on the segment or waits for it, or it is leaving the pool
 * -ENOSPC    the segment has holes, which only a refill will fill, or has left the pool
 * -EALREADY  the registration pins the segment already
 * -EINVAL    there is no such segment, or the registration has no separate pin of it
 */
int dp_jobs_pin(struct dp_jobs *jobs, struct daxpin_registration *registration,
		uint32_t segment);

#endif
