/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One part of a job: a segment whose free chunks become holes (reclaim), or
 * whose holes become free chunks (refill), as many at a time as one request to
 * the kernel has runs. All of it under jobs->mutex.
 *
 *            .------------------------------------------.
 *            v                                          |
 *	WAITING ----> KERNEL ----> SETTLING (refill) ------+
 *	    |           |                                  |
 *	    |           '---- (reclaim, or nothing done) --+
 *	    v                                              v
 *	  OVER <--------------------------------------------
 *
 *	WAITING -> KERNEL	[part_begin_request]
 *	WAITING -> OVER		[part_advance, part_try, dp_part_zero_free]
 *	KERNEL -> KERNEL	[part_after_kernel], submitted again
 *	KERNEL -> SETTLING	[part_after_kernel]
 *	KERNEL -> WAITING, OVER	[part_end_round]
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
 *	SETTLING  the gate is open again; run[] is still claimed; of the runs that
 *	          were filled `pending` are not known to be durable yet.
 *	OVER      as WAITING, and report.result is final.
 *
 * Invariants (docs/invariants.md has the numbers):
 *
 *	(1) The gate is closed before the counter is read, and stays closed until
 *	    the kernel has completed every run: no hold exists, and none can be
 *	    taken. (I31, I32) So no DMA under a hold reaches the file (A1).
 *	(2) A segment that a registration has pinned is not touched: the pin is
 *	    asked back, and the part waits. (A6)
 *	(3) A claimed chunk cannot be reserved until its run has ended. (I7)
 *	(4) For other DMA the kernel waits: a punch breaks the layout of the file, and
 *	    returns only when no page of it is pinned (fsdax). Only the completion
 *	    ends that wait: a deadline or a cancellation requests it, and changes
 *	    neither claims nor gate. (A1)
 *	(5) A punch that was interrupted, or cancelled before it began, has changed
 *	    nothing: the wait for pins comes before the first block is touched. Its
 *	    chunks are free again. (A7)
 *	(6) After any other failure a chunk is in doubt, and counts as a hole until
 *	    it is one or is backed. (D9) Each run completes separately, because
 *	    one may succeed after another has failed.
 *	(7) A wake-up by the kernel is a hint: requests are cancelled and submitted
 *	    again at growing intervals, for which the eventfd is written from
 *	    time to time. The end of a request that was cancelled for this is
 *	    never mistaken for the deadline. (W12)
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

/* Free chunks that this part may take from those who reserve. */
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

/* Had some runs of the last request not begun when it was ended? */
static bool part_was_unbegun(const struct dp_part *part)
{
	for (uint32_t i = 0; i < part->request.runs; i++)
		if (part->result[i] == -ECANCELED)
			return true;
	return false;
}

/*
 * W12: if the kernel may wait for pins, the request is submitted again before the
 * deadline. On tmpfs nothing waits for them, and a cancel would undo what was
 * allocated (kernel.md K20).
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

/* The gate is closed, and part->run is claimed. */
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
 * true: the segment is in use, and part->holder has the reason. false: its
 * gate is closed now. A pin is not asked back while a hold exists, because a
 * request through that registration may have that hold.
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

/* false: it waits only for a slot, or lost the free chunks to a reserve, so its
 * deadline does not end it. */
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
	return false;			/* a reserve was faster: look again */
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

/* Nothing is claimed by this part any more. */
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
	/* Otherwise we ended it to look again, or the cancellation of another part
	 * of the same file did. */
}

/*
 * W12: did all runs end with nothing done because they were to be submitted again?
 * Then they are, and the gate stays closed: to close it there had to be a
 * moment without a hold. If the deadline has passed meanwhile it ends the next
 * request, which has its second, and not this one.
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

/* The kernel has answered every request of the runs. */
static void part_after_kernel(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	assert(part->state == DP_PART_KERNEL && !part->pending);
	if (part_is_recheck(part)) {
		dp_punch_forget(&jobs->punch, &part->request);
		part_request(part, part->request.runs);
		return;
	}
	dp_gate_open(dp_state_gates(jobs->states), part->report.segment);
	if (part->job->blocking) {
		part_end_round(part);
		return;
	}
	dp_punch_forget(&jobs->punch, &part->request);
	if (part->job->kind == DP_JOB_RECLAIM || !part_runs_done(part)) {
		part_end_round(part);
		return;
	}
	/* Even if a run failed: the others are going to be used. */
	part->state = DP_PART_SETTLING;
	part->pending = dp_punch_settle(&jobs->punch, &part->request,
					part->result, part_is_shmem(part));
}

static void part_take_result(struct dp_part *part,
			     const struct dp_completion *completion)
{
	part->result[completion->run] = completion->result;
	if (!part->pending)
		part_after_kernel(part);
}

static void part_take_settled(struct dp_part *part,
			      const struct dp_completion *completion)
{
	for (uint32_t i = 0; i < part->request.runs; i++)
		if (!part->result[i] &&
		    (i == completion->run || !part_is_shmem(part)))
			part->result[i] = completion->result;
	if (!part->pending)
		part_end_round(part);
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

/* Cancel the request: to submit it again, because its time has passed, or because the
 * job was cancelled. After the deadline it is not cancelled to be submitted again: each
 * request has at least GRACE_NS. */
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
 * On device-dax there is only this to do: a claimed chunk cannot be reserved, and
 * no hold in the segment is of its blocks, so gate and counter do not matter.
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

/* Claims, gate and part belong to this thread: it needs no mutex meanwhile. */
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
	part_after_kernel(part);
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
