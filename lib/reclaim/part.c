/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One part of a job: a segment whose free chunks become holes (reclaim), or
 * whose holes become free chunks (refill), as many at a time as one request to
 * the kernel has runs. All of it under jobs->mutex.
 *
 *            .--------------------------------------------------------.
 *            v                                                        |
 *	WAITING ----> KERNEL ----> COMPLETED ----> SETTLING (refill) ----+
 *	    |                         |                                  |
 *	    |                         '---- (reclaim, or nothing done) --+
 *	    v                                                            v
 *	  OVER <----------------------------------------------------------
 *
 *	WAITING -> KERNEL	[part_begin_request]
 *	WAITING -> OVER		[part_advance, part_try, dp_part_zero_free]
 *	KERNEL -> KERNEL	[part_continue], submitted again
 *	KERNEL -> COMPLETED	[part_after_kernel]
 *	COMPLETED -> SETTLING	[part_after_gate]
 *	COMPLETED -> WAITING, OVER	[part_end_round]
 *	SETTLING -> WAITING, OVER	[part_end_round]
 *	anything -> OVER is always [part_finish]
 *
 * What is true in each:
 *
 *	WAITING   nothing is claimed, no slot of in_kernel[] is taken and the gate
 *	          is not closed by this part. It waits for holds, for a
 *	          registration's pin, or for a slot.
 *	KERNEL    the gate is closed by this part, and the segment's counter was 0
 *	          under it; run[] is claimed; `pending` runs have not completed,
 *	          result[] has the results of the others.
 *	COMPLETED every run has completed and the gate is open again; run[] is still
 *	          claimed. A hold that finds the completions leaves the part in this
 *	          state, because the next steps take locks and wait for the ring's
 *	          thread (I33). The ring has written the eventfd, so the program makes
 *	          a call that takes them.
 *	SETTLING  the gate is open; run[] is still claimed; `pending`
 *	          completions of dp_punch_settle() are to come, and no run is used
 *	          before the last of them. A blocking job skips this state.
 *	OVER      as WAITING, and report.result is final.
 *
 * Invariants (docs/invariants.md has the numbers):
 *
 *	(1) The gate is closed before the counter is read, and stays closed until
 *	    the kernel has completed every run: no hold exists, and none can be
 *	    taken. (I31, I32) So no DMA under a hold reaches the file (A1).
 *	(2) A segment that a registration has pinned is not touched: the part wants
 *	    the pin back, for which DAXPIN_EVENT_REVOKE is posted, and waits. (A6)
 *	(3) A claimed chunk cannot be reserved until its run has ended. (I7)
 *	(4) For other DMA the kernel waits: a punch breaks the layout of the file, and
 *	    returns only when no page of it is pinned (fsdax). Claims and gate change
 *	    only after the completion. A deadline or a cancellation only asks the
 *	    kernel to complete the request early. (A1)
 *	(5) A punch that was interrupted, or cancelled before it began, has changed
 *	    nothing: the wait for pins comes before the first block is touched. Its
 *	    chunks are free again. (A7)
 *	(6) After any other failure it is unknown which blocks of a chunk exist. The
 *	    chunk is PARTIAL, and counts as a hole, until a later punch or fill of it
 *	    has succeeded. (D9) Each run has a result of its own, because one may
 *	    succeed after another has failed.
 *	(7) The kernel may fail to wake a request when a pin ends. So on fsdax a
 *	    request is cancelled and submitted again, at growing intervals: a timer
 *	    writes the eventfd, so that the program calls and this can be done. A
 *	    request that ends because of this is never reported as -ETIMEDOUT. (W12)
 */
#include <errno.h>
#include "os/os.h"
#include "reclaim/part.h"
#include "util/probe.h"

#define MS		1000000ull
#define GRACE_NS	(1000 * MS)	/* for a punch that meets no pin */
#define STEP_NS		(10 * MS)

static_assert(DP_PARTS_MAX * (DP_PART_RUNS + 8) < DP_PUNCH_COMPLETIONS,
	      "all completions have room");
static_assert(DP_PART_RUNS <= DP_PUNCH_RUNS, "a part is one request");

/* ----------------------------------------------------------------- helpers */

static bool part_is_shmem(const struct dp_part *part)
{
	return part->job->jobs->holes.media->source.kind == DP_SOURCE_SHMEM;
}

static struct dp_part **part_find_slot(struct dp_jobs *jobs)
{
	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (!jobs->in_kernel[i])
			return &jobs->in_kernel[i];
	return NULL;
}

static void part_leave_slot(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (jobs->in_kernel[i] == part)
			jobs->in_kernel[i] = NULL;
}

/* The number of free chunks that this part may claim: the job leaves keep_blocks
 * free. */
static uint32_t part_spare_chunks(const struct dp_part *part)
{
	const struct daxpin_job *job = part->job;
	uint64_t free;

	if (job->kind == DP_JOB_REFILL)
		return 0;
	free = dp_spaces_free_count(job->jobs->holes.spaces);
	if (free <= job->keep_blocks)
		return 0;
	return (free - job->keep_blocks) / DP_CHUNK_BLOCKS;
}

static void part_find_holder(struct dp_part *part, uint64_t busy)
{
	struct dp_jobs *jobs = part->job->jobs;
	const struct dp_geometry *geometry = &jobs->holes.media->geometry;
	uint64_t begin = dp_geometry_begin(geometry, part->report.segment);
	uint64_t end = begin + geometry->segment_size;

	if (!dp_holders_oldest(jobs->holders, begin, end,
			       &part->holder, part->label))
		part->holder = (struct daxpin_holder) {
			.size = sizeof(part->holder), .count = busy,
		};
	part->holder.segment = part->report.segment;
}

/* ----------------------------------------------------- WAITING -> KERNEL, OVER */

static void part_finish(struct dp_part *part, int result)
{
	struct daxpin_job *job = part->job;
	struct dp_jobs *jobs = job->jobs;

	assert(part->state != DP_PART_OVER && job->open_parts);
	part->state = DP_PART_OVER;
	part->report.result = result;
	if (result)
		part->report.left_bytes = (uint64_t)DP_CHUNK_SIZE *
			dp_holes_candidates(&jobs->holes, part->report.segment,
					    job->kind, true);
	dp_registrations_unwant(jobs->holders, part->report.segment);
	if (!--job->open_parts) {
		atomic_fetch_sub(&jobs->under_way, 1);
		atomic_fetch_sub(&jobs->refills, job->kind == DP_JOB_REFILL);
		dp_events_post(jobs->events, &job->over);
	}
	/* A pin of the segment may be possible now; or it is certain that no space
	 * becomes available. */
	dp_events_notify_refused(jobs->events);
}

static bool part_is_fsdax(const struct dp_part *part)
{
	return part->job->jobs->holes.media->source.kind == DP_SOURCE_FSDAX;
}

/* Was the last request cancelled before a worker had begun some of its runs? */
static bool part_was_unbegun(const struct dp_part *part)
{
	for (uint32_t i = 0; i < part->request.runs; i++)
		if (part->result[i] == -ECANCELED)
			return true;
	return false;
}

/*
 * W12: decide when to cancel the request. On fsdax the kernel may wait for pins, so the
 * request is cancelled before the deadline, and submitted again. On tmpfs nothing waits
 * for pins, and a cancel would undo what was allocated (kernel.md K20).
 */
static void part_plan_recheck(struct dp_part *part, uint64_t now_ns)
{
	if (!part->backoff.interval_ns)
		part->backoff = dp_backoff_begin(now_ns);
	else
		dp_backoff_next(&part->backoff, now_ns, part_was_unbegun(part));
	part->looked = false;
	part->next_cancel_ns = part->request.cancel_ns;
	if (part_is_fsdax(part) && part->backoff.at_ns < part->job->deadline_ns)
		part->next_cancel_ns = part->backoff.at_ns;
}

/* Submit a request for the first `runs` runs. (If the job is blocking, part_block()
 * executes it instead.) The caller has closed the gate and claimed the runs. */
static void part_request(struct dp_part *part, uint32_t runs)
{
	struct daxpin_job *job = part->job;
	const struct dp_segments *segments = &job->jobs->holes.media->segments;
	const struct dp_geometry *geometry = &job->jobs->holes.media->geometry;
	uint32_t segment = part->report.segment;
	uint64_t now_ns = dp_os_now_ns(), soonest_ns = now_ns + GRACE_NS;

	part->state = DP_PART_KERNEL;
	part->pending = runs;
	part->request = (struct dp_request) {
		.attempt = ++job->jobs->attempts, .kind = job->kind,
		.fd = dp_segment_fd(segments, segment),
		.base = dp_geometry_base(geometry, segment),
		.run = part->run, .runs = runs,
		.cancel_ns = job->deadline_ns > soonest_ns ?
			     job->deadline_ns : soonest_ns,
	};
	part_plan_recheck(part, now_ns);
	if (!job->blocking)
		dp_punch_request(&job->jobs->punch, &part->request);
}

static void part_begin_request(struct dp_part *part, uint32_t runs,
			       struct dp_part **slot)
{
	for (uint32_t i = 0; i < runs; i++)
		part->job->budget -= part->run[i].chunks;
	if (!part->job->blocking)
		*slot = part;
	part_request(part, runs);
}

/*
 * True: the segment is in use, and part->holder is what uses it. False: it is idle, and
 * this has closed its gate. While there is a hold, this wants no pin back: the request
 * that has the hold may need the pin.
 */
static bool part_is_in_use(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;
	uint32_t segment = part->report.segment;
	uint64_t busy;

	dp_gate_close(dp_state_gates(jobs->states), segment);
	busy = dp_gate_busy(dp_state_gates(jobs->states), segment);
	if (!busy && !dp_registrations_want(jobs->holders, segment,
					    jobs->events, &part->holder,
					    part->label))
		return false;
	dp_gate_open(dp_state_gates(jobs->states), segment);
	dp_events_notify_refused(jobs->events);
	if (busy)
		part_find_holder(part, busy);
	return true;
}

/* False: all slots are taken, or a reserve claimed the free chunks first. A part that
 * waits for this is not ended by its deadline. */
static bool part_try(struct dp_part *part)
{
	struct daxpin_job *job = part->job;
	struct dp_jobs *jobs = job->jobs;
	uint32_t segment = part->report.segment;
	uint32_t free_chunks = part_spare_chunks(part);
	struct dp_part **slot = part_find_slot(jobs);
	uint32_t runs;

	if (!job->budget || !dp_holes_candidates(&jobs->holes, segment,
						 job->kind, free_chunks)) {
		part_finish(part, 0);
		return true;
	}
	if (!slot)
		return false;
	part->holder = (struct daxpin_holder) { .count = 0 };
	if (part_is_in_use(part))
		return true;
	runs = dp_holes_claim(&jobs->holes, segment, job->kind,
			      dp_min(job->budget, UINT32_MAX), free_chunks,
			      part->run, DP_PART_RUNS);
	if (runs) {
		part_begin_request(part, runs, slot);
		return true;
	}
	dp_gate_open(dp_state_gates(jobs->states), segment);
	dp_events_notify_refused(jobs->events);
	return false;			/* a reserve claimed them first: try again */
}

static void part_advance(struct dp_part *part)
{
	struct daxpin_job *job = part->job;

	assert(part->state == DP_PART_WAITING);
	if (job->cancelled)
		part_finish(part, -ECANCELED);
	else if (part_try(part) && part->state == DP_PART_WAITING &&
		 dp_os_now_ns() >= job->deadline_ns)
		part_finish(part, -EBUSY);
}

/* ------------------------------------------- KERNEL, SETTLING -> WAITING, OVER */

static enum dp_claim_end part_run_end(const struct dp_part *part, uint32_t run)
{
	if (!part->result[run])
		return DP_CLAIM_DONE;
	return part->job->kind == DP_JOB_RECLAIM &&
	       dp_ring_was_interrupted(part->result[run]) ?
	       DP_CLAIM_UNCHANGED : DP_CLAIM_PARTIAL;
}

static uint32_t part_runs_done(const struct dp_part *part)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < part->request.runs; i++)
		count += !part->result[i];
	return count;
}

/* The combined result; -EINTR and the like only if no run did worse. */
static int part_error(const struct dp_part *part)
{
	int error = 0;

	for (uint32_t i = 0; i < part->request.runs; i++)
		if (!error || dp_ring_was_interrupted(error))
			error = part->result[i] ? part->result[i] : error;
	return error;
}

static void part_probe_run(const struct dp_part *part, struct dp_run run,
			   int result)
{
	const struct daxpin_job *job = part->job;
	uint64_t addr = dp_geometry_begin(&job->jobs->holes.media->geometry,
					  part->report.segment) +
			((uint64_t)run.chunk << DP_CHUNK_SHIFT);
	uint64_t bytes = (uint64_t)run.chunks << DP_CHUNK_SHIFT;

	if (dp_ring_was_interrupted(result))
		DP_PROBE_CANCEL(job->pool, addr, bytes, result);
	else if (job->kind == DP_JOB_RECLAIM)
		DP_PROBE_PUNCH(job->pool, addr, bytes, result);
	else
		DP_PROBE_REFILL(job->pool, addr, bytes, result);
}

/* End the claims of all runs. Afterwards this part has claimed nothing. */
static void part_end_runs(struct dp_part *part)
{
	struct daxpin_job *job = part->job;

	for (uint32_t i = 0; i < part->request.runs; i++) {
		enum dp_claim_end end = part_run_end(part, i);

		part_probe_run(part, part->run[i], part->result[i]);
		dp_holes_end(&job->jobs->holes, part->report.segment, job->kind,
			     part->run[i], end);
		if (end == DP_CLAIM_DONE)
			part->report.done_bytes += (uint64_t)DP_CHUNK_SIZE *
						   part->run[i].chunks;
		else
			job->budget += part->run[i].chunks;
	}
	dp_events_notify_refused(job->jobs->events);
}

/* End the request: the part waits for its next round, or is over. */
static void part_end_round(struct dp_part *part)
{
	struct daxpin_job *job = part->job;
	int error = part_error(part);

	part_leave_slot(part);
	if (!dp_ring_was_interrupted(error))
		part->backoff = (struct dp_backoff) { .interval_ns = 0 };
	part_end_runs(part);
	part->state = DP_PART_WAITING;
	if (!error)
		return;
	if (!dp_ring_was_interrupted(error))
		part_finish(part, error);
	else if (job->cancelled)
		part_finish(part, -ECANCELED);
	else if (!part->looked && dp_os_now_ns() >= job->deadline_ns)
		part_finish(part, -ETIMEDOUT);
	/* Otherwise the part stays WAITING: the request was cancelled to be submitted
	 * again, or by the cancellation of another job's request on the same file. */
}

/*
 * W12: were all runs interrupted because the request was cancelled to be submitted
 * again? Then the caller submits them again, with the gate still closed: if it opened,
 * the part would have to wait again until no extent of the segment is held. Even if the
 * deadline has passed meanwhile, one more request is submitted, which has GRACE_NS.
 */
static bool part_is_recheck(const struct dp_part *part)
{
	if (!part->looked || part->job->cancelled)
		return false;
	for (uint32_t i = 0; i < part->request.runs; i++)
		if (!dp_ring_was_interrupted(part->result[i]))
			return false;
	return true;
}

/* Call it when every run has completed, unless the part is to be submitted again. It
 * takes no lock and makes no system call. */
static void part_after_kernel(struct dp_part *part)
{
	assert(part->state == DP_PART_KERNEL && !part->pending);
	part->state = DP_PART_COMPLETED;
	dp_gate_open(dp_state_gates(part->job->jobs->states),
		     part->report.segment);
}

static void part_after_gate(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	assert(part->state == DP_PART_COMPLETED && !part->pending);
	if (part->job->blocking) {
		part_end_round(part);
		return;
	}
	dp_punch_forget(&jobs->punch, &part->request);
	if (part->job->kind == DP_JOB_RECLAIM || !part_runs_done(part)) {
		part_end_round(part);
		return;
	}
	/* This is done even if some runs failed, because the others will be used. */
	part->state = DP_PART_SETTLING;
	part->pending = dp_punch_settle(&jobs->punch, &part->request,
					part->result, part_is_shmem(part));
}

/* Take the next step of a part for which no completion is to come. */
static void part_continue(struct dp_part *part)
{
	assert(!part->pending);
	if (part->state == DP_PART_SETTLING) {
		part_end_round(part);
		return;
	}
	if (part->state == DP_PART_KERNEL && part_is_recheck(part)) {
		dp_punch_forget(&part->job->jobs->punch, &part->request);
		part_request(part, part->request.runs);
		return;
	}
	if (part->state == DP_PART_KERNEL)
		part_after_kernel(part);
	part_after_gate(part);
}

void dp_parts_continue(struct dp_jobs *jobs)
{
	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (jobs->in_kernel[i] && !jobs->in_kernel[i]->pending)
			part_continue(jobs->in_kernel[i]);
}

static void part_take_result(struct dp_part *part,
			     const struct dp_completion *completion)
{
	part->result[completion->run] = completion->result;
	if (!part->pending && !part_is_recheck(part))
		part_after_kernel(part);
}

static void part_take_settled(struct dp_part *part,
			      const struct dp_completion *completion)
{
	for (uint32_t i = 0; i < part->request.runs; i++)
		if (!part->result[i] &&
		    (i == completion->run || !part_is_shmem(part)))
			part->result[i] = completion->result;
}

void dp_parts_complete(struct dp_jobs *jobs,
		       const struct dp_completion *completion)
{
	struct dp_part *part = NULL;

	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (jobs->in_kernel[i] &&
		    jobs->in_kernel[i]->request.attempt == completion->attempt)
			part = jobs->in_kernel[i];
	if (!part || completion->type > DP_COMPLETION_SETTLE)
		return;
	assert(part->pending && completion->run < part->request.runs);
	part->pending--;
	if (completion->type == DP_COMPLETION_RUN)
		part_take_result(part, completion);
	else
		part_take_settled(part, completion);
}

/* Cancel the request, for one of three reasons: to submit it again, because cancel_ns
 * has passed, or because the job was cancelled. The first is no reason after the
 * deadline, so the last request runs until cancel_ns, which is GRACE_NS or more after
 * its submit. */
static void part_end_request(struct dp_part *part, uint64_t now_ns)
{
	const struct daxpin_job *job = part->job;
	bool early = now_ns < job->deadline_ns;

	if (!early && !job->cancelled && now_ns < part->request.cancel_ns) {
		part->next_cancel_ns = part->request.cancel_ns;
		return;
	}
	part->looked |= early;
	part->next_cancel_ns = now_ns + STEP_NS;
	dp_punch_cancel(&job->jobs->punch, &part->request);
}

bool dp_part_wants_free(const struct dp_part *part)
{
	return part->state == DP_PART_WAITING &&
	       part->job->kind == DP_JOB_RECLAIM;
}

void dp_part_poll(struct dp_part *part)
{
	if (part->state == DP_PART_WAITING)
		part_advance(part);
	if (part->state == DP_PART_WAITING)
		dp_punch_tick(&part->job->jobs->punch, DP_TICK_SHORT);
	dp_part_poll_kernel(part);
}

void dp_part_poll_kernel(struct dp_part *part)
{
	uint64_t now_ns = dp_os_now_ns();

	if (part->state != DP_PART_KERNEL)
		return;
	if (part_is_fsdax(part))
		dp_punch_tick(&part->job->jobs->punch, DP_TICK_LONG);
	if (now_ns >= part->next_cancel_ns)
		part_end_request(part, now_ns);
}

void dp_part_cancel(struct dp_part *part)
{
	if (part->state == DP_PART_KERNEL)
		part->next_cancel_ns = 0;
}

/* ------------------------------------------------------ without a private ring */

/*
 * On device-dax a job only zeroes free chunks. The gate and the counter of the segment
 * do not matter: a chunk is claimed only if no extent has blocks in it, and it cannot
 * be reserved while it is claimed.
 */
void dp_part_zero_free(struct dp_part *part)
{
	struct daxpin_job *job = part->job;
	struct dp_jobs *jobs = job->jobs;
	struct dp_pool *media = jobs->holes.media;
	uint32_t segment = part->report.segment;
	uint32_t chunks = dp_geometry_chunks(&media->geometry, segment);
	char *base = dp_geometry_base(&media->geometry, segment);

	for (uint32_t i = dp_geometry_meta_chunks(&media->geometry);
	     i < chunks && job->budget && part_spare_chunks(part); i++) {
		struct dp_run run = { i, 1 };

		if (!dp_holes_claim_one(&jobs->holes, part->report.segment, i,
					job->kind, true))
			continue;
		pthread_mutex_unlock(&jobs->mutex);
		dp_persist_wipe(&media->persist,
				base + ((uint64_t)i << DP_CHUNK_SHIFT),
				DP_CHUNK_SIZE);
		pthread_mutex_lock(&jobs->mutex);
		dp_holes_end(&jobs->holes, part->report.segment, job->kind, run,
			     DP_CLAIM_UNCHANGED);
		part->report.done_bytes += DP_CHUNK_SIZE;
		job->budget--;
	}
	dp_events_notify_refused(jobs->events);
	part_finish(part, 0);
}

/* Execute the request in this thread, without the mutex. That is safe because no other
 * thread changes this part, ends its claims or opens the gate for it. */
static void part_block(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	pthread_mutex_unlock(&jobs->mutex);
	for (uint32_t i = 0; i < part->request.runs; i++) {
		int ret = dp_punch_here(&part->request, i);

		if (!ret && part->job->kind == DP_JOB_REFILL)
			ret = dp_punch_settle_here(&part->request, i,
						   part_is_shmem(part));
		part->result[i] = ret;
	}
	pthread_mutex_lock(&jobs->mutex);
	part->pending = 0;
	part_continue(part);
}

void dp_part_run_blocking(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	while (part->state != DP_PART_OVER) {
		if (part->state == DP_PART_KERNEL) {
			part_block(part);
			continue;
		}
		part_advance(part);
		if (part->state != DP_PART_WAITING)
			continue;
		pthread_mutex_unlock(&jobs->mutex);
		dp_os_sleep_ns(STEP_NS);
		if (part->job->kind == DP_JOB_RECLAIM)
			dp_spaces_gather(jobs->holes.spaces);
		pthread_mutex_lock(&jobs->mutex);
	}
}
