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
 * Begin a job in a segment or all, with the fields up to `blocking` set. 0, or
 * why there can be no ring, and then nothing was begun.
 */
int dp_job_begin(struct daxpin_job *job, uint32_t segment);
bool dp_job_is_over(struct daxpin_job *job);
void dp_job_cancel(struct daxpin_job *job);
void dp_job_report(struct daxpin_job *job,
		   void (*fn)(const struct daxpin_job_part *part, void *arg),
		   void *arg, struct daxpin_job_summary *ret_summary);
/* Free a job that is over. */
void dp_job_end(struct daxpin_job *job);

/* Process the kernel's completions, and advance the parts that wait. Can be called at
 * any time, without the mutex. */
void dp_jobs_poll(struct dp_jobs *jobs);

/*
 * C4: a call that cannot have what it wants is refused by one of these three, and
 * DAXPIN_EVENT_RETRY is posted when that has changed. They never sleep.
 */

/* dp_state_hold(). -EAGAIN: the gate is closed. */
int dp_jobs_hold(struct dp_jobs *jobs, uint64_t block, uint64_t generation,
		 uint32_t count, unsigned int flags);
/*
 * After dp_spaces_try() has failed: with the refusal noted, from all free space.
 *
 * -EAGAIN  a job is reclaiming or refilling space
 * -ENOSPC  nothing in progress provides any; only a drop, a retire or a refill will
 */
int dp_jobs_space(struct dp_jobs *jobs, uint32_t blocks, uint64_t *ret_block);
/*
 * List a registration that pins all that it covers, which is that segment or all of
 * them.
 *
 * -EAGAIN  the kernel is punching or filling a part of that
 */
int dp_jobs_register(struct dp_jobs *jobs,
		     struct daxpin_registration *registration, uint32_t segment);
/*
 * 0: the registration may pin the segment.
 *
 * -EAGAIN    a job works on it or waits for it
 * -ENOSPC    it has holes, which only a refill will fill
 * -EALREADY, -EINVAL
 */
int dp_jobs_pin(struct dp_jobs *jobs, struct daxpin_registration *registration,
		uint32_t segment);

#endif
