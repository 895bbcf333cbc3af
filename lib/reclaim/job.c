/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim and refill jobs: the list of them, their beginning, their report and
 * their end. A job has a part for each of its segments (part.c), and ends when
 * all of them have ended.
 *
 * The library has no thread. The kernel's completions are processed by the next call
 * that polls: daxpin_job_wait(), a reserve that would be refused, and others. A hold
 * that would be refused only records them.
 * The ring writes the eventfd, so that the program calls daxpin_next_event(), which
 * polls, too. All of it runs under one mutex. No thread waits for pins, for a cache or
 * for the media while it has that mutex. It can wait for a short time: while
 * dp_job_begin() creates the rings, and in punch_make_room() until the kernel's thread
 * has read requests. dp_job_report() calls the program's function under it.
 */
#include <errno.h>
#include <stdlib.h>
#include "os/os.h"
#include "reclaim/job.h"
#include "util/cancel.h"

static void jobs_reap(struct dp_jobs *jobs)
{
	struct dp_completion completion;

	/* What a hold has left, see jobs_open_gates(). */
	dp_parts_continue(jobs);
	while (dp_punch_next(&jobs->punch, &completion)) {
		dp_parts_complete(jobs, &completion);
		dp_parts_continue(jobs);
	}
}

static void jobs_each_part(struct dp_jobs *jobs, void (*fn)(struct dp_part *part))
{
	for (struct daxpin_job *job = jobs->first; job; job = job->next)
		for (uint32_t i = 0; i < job->parts && job->open_parts &&
		     !job->blocking && !job->zero; i++)
			fn(&job->part[i]);
}

static bool jobs_want_free(const struct dp_jobs *jobs)
{
	for (const struct daxpin_job *job = jobs->first; job; job = job->next)
		for (uint32_t i = 0; i < job->parts && job->open_parts; i++)
			if (dp_part_wants_free(&job->part[i]))
				return true;
	return false;
}

/* Empty the caches of all threads if a reclaim needs that: while a cache has a block,
 * its chunk cannot be claimed. dp_spaces_gather() may sleep until other threads have
 * left their caches. It is called without the mutex, so that no other thread waits for
 * that. */
static void jobs_gather(struct dp_jobs *jobs, bool wanted)
{
	pthread_mutex_lock(&jobs->mutex);
	wanted |= jobs_want_free(jobs);
	pthread_mutex_unlock(&jobs->mutex);
	if (wanted)
		dp_spaces_gather(jobs->holes.spaces);
}

static void jobs_poll(struct dp_jobs *jobs)
{
	jobs_reap(jobs);
	jobs_each_part(jobs, dp_part_poll);
}

/* For a hold, which must not wait for anything (I33): it opens the gates of segments on
 * which the kernel has completed its work, and does nothing else. The ring has written
 * the eventfd for each completion that is recorded here, so the program calls
 * daxpin_next_event(), which takes the next steps. */
static void jobs_open_gates(struct dp_jobs *jobs)
{
	struct dp_completion completion;

	while (dp_punch_take(&jobs->punch, &completion))
		dp_parts_complete(jobs, &completion);
}

/* For a reserve: it does not advance reclaims in the state WAITING, because the caches
 * of threads were not emptied yet. The reserve does that later. */
static void jobs_poll_part(struct dp_part *part)
{
	if (dp_part_wants_free(part))
		dp_part_poll_kernel(part);
	else
		dp_part_poll(part);
}

static void jobs_poll_refills(struct dp_jobs *jobs)
{
	jobs_reap(jobs);
	jobs_each_part(jobs, jobs_poll_part);
}

void dp_jobs_poll(struct dp_jobs *jobs)
{
	if (!atomic_load(&jobs->under_way))
		return;
	jobs_gather(jobs, false);
	pthread_mutex_lock(&jobs->mutex);
	jobs_poll(jobs);
	pthread_mutex_unlock(&jobs->mutex);
}

/*
 * The kernel may have completed requests that no call has processed yet, so this polls
 * first. Then it sets events->refused. (A poll that opens a gate clears it, so setting
 * it before the poll would be useless.) Afterwards the caller tries for the last time.
 */
static void jobs_refused(struct dp_jobs *jobs, void (*poll)(struct dp_jobs *jobs))
{
	DP_UNCANCELLED();

	if (atomic_load(&jobs->under_way) &&
	    !pthread_mutex_trylock(&jobs->mutex)) {
		poll(jobs);
		pthread_mutex_unlock(&jobs->mutex);
	}
	dp_events_refused(jobs->events);
}

/* ----------------------------------------------------- refusals (C4, -EAGAIN) */

int dp_jobs_finish_hold(struct dp_jobs *jobs, uint64_t block, uint64_t generation,
			uint32_t count, uint64_t flags, int result)
{
	int ret = dp_state_finish_hold(jobs->states, block, generation, count, flags,
				       result);

	if (ret != -EAGAIN)
		return ret;
	jobs_refused(jobs, jobs_open_gates);
	return dp_state_hold(jobs->states, block, generation, count, flags);
}

int dp_jobs_space(struct dp_jobs *jobs, uint32_t blocks, uint64_t *ret_block)
{
	jobs_refused(jobs, jobs_poll_refills);
	if (!dp_spaces_claim(jobs->holes.spaces, blocks, ret_block))
		return 0;
	/* These counters are read after events->refused was set. So a job that is
	 * counted here posts RETRY when it frees blocks or ends. */
	return atomic_load(&jobs->holes.claimed) || atomic_load(&jobs->refills) ?
	       -EAGAIN : -ENOSPC;
}

/* --------------------------------------------------------------- whole jobs */

void dp_jobs_init(struct dp_jobs *jobs, struct dp_pool *media,
		  struct dp_spaces *spaces, struct dp_states *states,
		  struct dp_events *events, struct dp_holders *holders)
{
	pthread_mutex_init(&jobs->mutex, NULL);
	jobs->holes.media = media;
	jobs->holes.spaces = spaces;
	jobs->states = states;
	jobs->events = events;
	jobs->holders = holders;
	jobs->leaving_from = jobs->gone_from = UINT32_MAX;
}

void dp_jobs_fini(struct dp_jobs *jobs)
{
	assert(!jobs->first);
	if (!jobs->events)
		return;
	dp_punch_close(&jobs->punch);
	pthread_mutex_destroy(&jobs->mutex);
}

void dp_jobs_close_inherited(struct dp_jobs *jobs)
{
	dp_punch_close(&jobs->punch);
}

static int job_make_parts(struct daxpin_job *job, uint32_t segment)
{
	bool all = segment == DAXPIN_ALL_SEGMENTS;

	job->parts = all ? job->jobs->holes.media->geometry.segments : 1;
	job->part = calloc(job->parts, sizeof(*job->part));
	if (!job->part)
		return -ENOMEM;
	for (uint32_t i = 0; i < job->parts; i++) {
		job->part[i].job = job;
		job->part[i].report.segment = all ? i : segment;
		job->part[i].report.result = -EINPROGRESS;
	}
	job->open_parts = job->parts;
	job->over.event.type = DAXPIN_EVENT_JOB;
	job->over.event.job = job;
	return 0;
}

/* Called with the mutex held. A job that is over is only used for its report, and need
 * not be in the list. */
static void job_unlist(struct daxpin_job *job)
{
	if (!job->prev)
		return;
	*job->prev = job->next;
	if (job->next)
		job->next->prev = job->prev;
	job->prev = NULL;
}

/* Called with the mutex held. Jobs that are over leave the list even if the program has
 * not ended them, so that it does not grow. */
static void job_list(struct dp_jobs *jobs, struct daxpin_job *job)
{
	struct daxpin_job *at, *next;

	for (at = jobs->first; at; at = next) {
		next = at->next;
		if (!at->open_parts)
			job_unlist(at);
	}
	job->next = jobs->first;
	job->prev = &jobs->first;
	if (job->next)
		job->next->prev = &job->next;
	jobs->first = job;
}

/* Called with the mutex held: leave out the segments that leave the pool. -ENOENT: that
 * is all. */
static int job_skip_leaving(struct daxpin_job *job)
{
	uint32_t end = job->jobs->leaving_from;

	if (job->part[0].report.segment >= end)
		return -ENOENT;
	if (job->parts > end)
		job->parts = job->open_parts = end;
	return 0;
}

int dp_job_begin(struct daxpin_job *job, uint32_t segment)
{
	struct dp_jobs *jobs = job->jobs;
	int ret = job_make_parts(job, segment);

	if (ret)
		return ret;
	jobs_gather(jobs, job->kind == DP_JOB_RECLAIM);
	pthread_mutex_lock(&jobs->mutex);
	ret = job_skip_leaving(job);
	if (!ret && !job->zero && !job->blocking && !jobs->punch.open)
		ret = dp_punch_open(&jobs->punch,
				    dp_file_fd(&jobs->holes.media->first),
				    dp_anchor_fd(&jobs->holes.media->anchor),
				    jobs->events->fd);
	if (ret) {
		pthread_mutex_unlock(&jobs->mutex);
		free(job->part);
		return ret;
	}
	job_list(jobs, job);
	atomic_fetch_add(&jobs->count, 1);
	atomic_fetch_add(&jobs->under_way, 1);
	atomic_fetch_add(&jobs->refills, job->kind == DP_JOB_REFILL);
	for (uint32_t i = 0; job->zero && i < job->parts; i++)
		dp_part_zero_free(&job->part[i]);
	if (job->blocking)
		for (uint32_t i = 0; i < job->parts; i++)
			dp_part_run_blocking(&job->part[i]);
	else
		jobs_poll(jobs);
	pthread_mutex_unlock(&jobs->mutex);
	return 0;
}

bool dp_job_is_over(struct daxpin_job *job)
{
	bool over;

	pthread_mutex_lock(&job->jobs->mutex);
	over = !job->open_parts;
	pthread_mutex_unlock(&job->jobs->mutex);
	return over;
}

void dp_job_cancel(struct daxpin_job *job)
{
	jobs_gather(job->jobs, false);
	pthread_mutex_lock(&job->jobs->mutex);
	job->cancelled = true;
	for (uint32_t i = 0; i < job->parts; i++)
		dp_part_cancel(&job->part[i]);
	jobs_poll(job->jobs);
	pthread_mutex_unlock(&job->jobs->mutex);
}

static bool job_had_work(const struct daxpin_job_part *report)
{
	return report->result || report->done_bytes || report->left_bytes;
}

void dp_job_report(struct daxpin_job *job,
		   void (*fn)(const struct daxpin_job_part *part, void *arg),
		   void *arg, struct daxpin_job_summary *ret_summary)
{
	*ret_summary = (struct daxpin_job_summary) { .result = 0 };
	pthread_mutex_lock(&job->jobs->mutex);
	for (uint32_t i = 0; i < job->parts; i++) {
		const struct dp_part *part = &job->part[i];
		struct daxpin_job_part report = part->report;

		if (!job_had_work(&report))
			continue;
		report.size = sizeof(report);
		report.holder = part->holder.count ? &part->holder : NULL;
		if (fn)
			fn(&report, arg);
		ret_summary->segments++;
		ret_summary->done_bytes += report.done_bytes;
		ret_summary->left_bytes += report.left_bytes;
		if (!ret_summary->result)
			ret_summary->result = report.result;
	}
	pthread_mutex_unlock(&job->jobs->mutex);
}

void dp_jobs_each(struct dp_jobs *jobs,
		  void (*fn)(const struct daxpin_job *job, uint64_t done_bytes,
			     uint64_t left_bytes, void *arg), void *arg)
{
	pthread_mutex_lock(&jobs->mutex);
	for (const struct daxpin_job *job = jobs->first; job; job = job->next) {
		uint64_t done = 0, left = 0;

		for (uint32_t i = 0; i < job->parts; i++) {
			done += job->part[i].report.done_bytes;
			left += job->part[i].report.left_bytes;
		}
		fn(job, done, left, arg);
	}
	pthread_mutex_unlock(&jobs->mutex);
}

void dp_job_end(struct daxpin_job *job)
{
	struct dp_jobs *jobs = job->jobs;

	pthread_mutex_lock(&jobs->mutex);
	assert(!job->open_parts);
	job_unlist(job);
	pthread_mutex_unlock(&jobs->mutex);
	dp_events_withdraw(jobs->events, &job->over);
	atomic_fetch_sub(&jobs->count, 1);
	free(job->part);
	free(job);
}

bool dp_jobs_want(const struct dp_jobs *jobs, uint32_t segment)
{
	for (const struct daxpin_job *job = jobs->first; job; job = job->next)
		for (uint32_t i = 0; i < job->parts; i++)
			if (job->part[i].report.segment == segment &&
			    job->part[i].state != DP_PART_OVER)
				return true;
	return false;
}

/* Is the kernel processing a part whose segment is this one, or any part if the
 * registration covers all segments? */
static bool jobs_are_in_kernel(const struct dp_jobs *jobs, uint32_t segment)
{
	for (const struct daxpin_job *job = jobs->first; job; job = job->next)
		for (uint32_t i = 0; i < job->parts; i++)
			if (job->part[i].state == DP_PART_KERNEL &&
			    (segment == DAXPIN_ALL_SEGMENTS ||
			     segment == job->part[i].report.segment))
				return true;
	return false;
}

/*
 * The check and the addition are made under the mutex. So either a part finds the
 * registration before it submits its request, or this function finds the part (A6). In
 * the second case RETRY is posted when that request has ended.
 */
int dp_jobs_register(struct dp_jobs *jobs,
		     struct daxpin_registration *registration, uint32_t segment)
{
	int ret = 0;

	pthread_mutex_lock(&jobs->mutex);
	if (segment != DAXPIN_ALL_SEGMENTS && segment >= jobs->gone_from) {
		ret = -ENOENT;
	} else if (jobs_are_in_kernel(jobs, segment) ||
		   jobs->leaving_from != jobs->gone_from) {
		dp_events_refused(jobs->events);
		ret = -EAGAIN;
	} else {
		dp_registration_add(jobs->holders, registration);
	}
	pthread_mutex_unlock(&jobs->mutex);
	return ret;
}

int dp_jobs_pin(struct dp_jobs *jobs, struct daxpin_registration *registration,
		uint32_t segment)
{
	int ret;

	if (segment >= jobs->holes.media->geometry.segments)
		return -EINVAL;
	pthread_mutex_lock(&jobs->mutex);
	if (segment >= jobs->gone_from)
		ret = -ENOSPC;
	else if (dp_jobs_want(jobs, segment) || segment >= jobs->leaving_from)
		ret = -EAGAIN;
	else if (dp_holes_any(&jobs->holes, segment))
		ret = -ENOSPC;
	else
		ret = dp_registration_pin(jobs->holders, registration, segment);
	/* Jobs end and fill holes under this mutex, and then post RETRY. */
	if (ret == -EAGAIN || ret == -ENOSPC)
		dp_events_refused(jobs->events);
	pthread_mutex_unlock(&jobs->mutex);
	return ret;
}
