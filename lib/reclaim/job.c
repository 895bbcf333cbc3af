/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How free space becomes a hole, and comes back, segment by segment:
 *
 *	shut its gate; read its counter: not 0, open again, wait	(I31, I32)
 *	a registration has the segment pinned: ask for it, open, wait	(A6)
 *	claim free chunks: from here on they are nobody's		(I7)
 *	ask the kernel: one request for each run of chunks
 *	its answer: chunks are holes, or free again; open the gate
 *
 * Under the gate and with the counter at 0 no hold is out and none can be taken,
 * so no DMA that daxpin licensed reaches the file (A1). For what it did not
 * license the kernel waits: a punch breaks the layout of the file, and returns
 * only when no page of it is pinned (fsdax). The answer is the only end of that
 * wait; until it comes claims and gate stay, whatever the deadline says.
 *
 * A request that was interrupted, or cancelled before it began, has changed
 * nothing (A7): the wait for pins comes before the first block is touched. So its
 * chunks are free again. After any other failure a chunk is in doubt, and counts
 * as a hole until it is one or is backed (D9). Each run has an answer of its own,
 * since one may be done after another has failed.
 *
 * punch.c asks, by a private ring, since a thread that waits in fallocate() can be
 * ended by nothing but a signal.
 *
 * There is no thread for all this. What the kernel has answered is taken by
 * whoever comes by: daxpin_next_event(), whose eventfd the ring writes; a hold
 * that met a shut gate; daxpin_job_wait(). All under one mutex, which nobody
 * keeps while he sleeps.
 */
#include <errno.h>
#include <stdlib.h>
#include "os/os.h"
#include "reclaim/job.h"
#include "util/probe.h"

#define MS		1000000ull
#define GRACE_NS	(1000 * MS)	/* for a punch that meets no pin */
#define STEP_NS		(10 * MS)

static_assert(DP_PARTS_MAX * (DP_PART_RUNS + 8) < DP_PUNCH_ANSWERS,
	      "all answers have room");
static_assert(DP_PART_RUNS <= DP_PUNCH_RUNS, "a part is one request");

/* ------------------------------------------------------------ a part's steps */

/* seq_cst: whoever opens a gate or frees a chunk looks at retry afterwards,
 * and who was refused tries again after setting it: not both miss. */
void dp_jobs_tell_refused(struct dp_jobs *jobs)
{
	if (atomic_exchange(&jobs->retry, false))
		dp_events_post(jobs->events, &jobs->retry_notice);
}

static void finish(struct dp_part *part, int result)
{
	struct daxpin_job *job = part->job;
	struct dp_jobs *jobs = job->jobs;

	assert(part->state != DP_PART_OVER && job->open_parts);
	part->state = DP_PART_OVER;
	part->report.result = result;
	if (result)
		part->report.left_bytes = (uint64_t)DP_CHUNK_SIZE *
			dp_holes_candidates(&jobs->holes, part->report.segment,
					    job->way, true);
	dp_registrations_unwant(jobs->holders, part->report.segment);
	if (--job->open_parts)
		return;
	atomic_fetch_sub(&jobs->under_way, 1);
	dp_events_post(jobs->events, &job->over);
}

static void find_holder(struct dp_part *part, uint64_t busy)
{
	struct dp_jobs *jobs = part->job->jobs;
	uint64_t size = jobs->holes.media->segment_size;
	uint64_t begin = part->report.segment * size;

	if (!dp_holders_oldest(jobs->holders, begin, begin + size,
			       &part->report.holder, part->label))
		part->report.holder = (struct daxpin_holder) { .count = busy };
	part->report.holder.segment = part->report.segment;
}

/* Free chunks that this part may take from those who reserve. */
static uint32_t spare(const struct dp_part *part)
{
	const struct daxpin_job *job = part->job;
	uint64_t free = 0;

	if (job->way == DP_WAY_REFILL)
		return 0;
	for (uint32_t i = 0; i < job->jobs->holes.media->segments; i++)
		free += dp_space_free_count(&job->jobs->holes.space[i]);
	if (free <= job->keep_blocks)
		return 0;
	return (free - job->keep_blocks) / DP_CHUNK_BLOCKS;
}

static struct dp_part **free_slot(struct dp_jobs *jobs)
{
	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (!jobs->in_kernel[i])
			return &jobs->in_kernel[i];
	return NULL;
}

static void leave_slot(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (jobs->in_kernel[i] == part)
			jobs->in_kernel[i] = NULL;
}

static bool is_shmem(const struct dp_part *part)
{
	return part->job->jobs->holes.media->source.kind == DP_SOURCE_SHMEM;
}

/* The gate is shut, and what is in part->run is claimed. */
static void ask_kernel(struct dp_part *part, uint32_t runs,
		       struct dp_part **slot)
{
	struct daxpin_job *job = part->job;
	const struct dp_pool *media = job->jobs->holes.media;
	const struct dp_segment *segment = &media->segment[part->report.segment];
	uint64_t soonest_ns = dp_os_now_ns() + GRACE_NS;

	part->state = DP_PART_KERNEL;
	part->pending = runs;
	part->request = (struct dp_request) {
		.attempt = ++job->jobs->attempts, .way = job->way,
		.fd = segment->fd, .base = segment->base,
		.run = part->run, .runs = runs,
		.cancel_ns = job->deadline_ns > soonest_ns ?
			     job->deadline_ns : soonest_ns,
	};
	part->again_ns = part->request.cancel_ns;
	for (uint32_t i = 0; i < runs; i++)
		job->budget -= part->run[i].chunks;
	if (job->blocking)
		return;
	*slot = part;
	dp_punch_ask(&job->jobs->punch, &part->request);
}

/*
 * Is the segment in use? Then by whom is in part->report.holder. Else its gate is
 * shut now. Nobody is asked for his registration while a hold is out, since a
 * request of his may be what holds.
 */
static bool is_in_use(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;
	uint32_t segment = part->report.segment;
	uint64_t busy;

	dp_gate_shut(jobs->leases, segment);
	busy = dp_segment_busy(jobs->leases, segment);
	if (!busy && !dp_registrations_want(jobs->holders, segment,
					    jobs->events, &part->report.holder,
					    part->label))
		return false;
	dp_gate_open(jobs->leases, segment);
	dp_jobs_tell_refused(jobs);
	if (busy)
		find_holder(part, busy);
	return true;
}

/* false: it waits for nothing but its turn. */
static bool try(struct dp_part *part)
{
	struct daxpin_job *job = part->job;
	struct dp_jobs *jobs = job->jobs;
	uint32_t segment = part->report.segment, free_chunks = spare(part);
	struct dp_part **slot = free_slot(jobs);
	uint32_t runs;

	if (!job->budget || !dp_holes_candidates(&jobs->holes, segment, job->way,
						 free_chunks)) {
		finish(part, 0);
		return true;
	}
	if (!slot)
		return false;
	part->report.holder = (struct daxpin_holder) { .count = 0 };
	if (is_in_use(part))
		return true;
	runs = dp_holes_claim(&jobs->holes, segment, job->way,
			      dp_min(job->budget, UINT32_MAX), free_chunks,
			      part->run, DP_PART_RUNS);
	if (runs) {
		ask_kernel(part, runs, slot);
		return true;
	}
	dp_gate_open(jobs->leases, segment);
	dp_jobs_tell_refused(jobs);
	return false;			/* a reserve was faster: look again */
}

static void advance(struct dp_part *part)
{
	struct daxpin_job *job = part->job;

	assert(part->state == DP_PART_WAITING);
	if (job->cancelled)
		finish(part, -ECANCELED);
	else if (try(part) && part->state == DP_PART_WAITING &&
		 dp_os_now_ns() >= job->deadline_ns)
		finish(part, -EBUSY);
}

static enum dp_way_end end_of(const struct dp_part *part, uint32_t run)
{
	if (!part->result[run])
		return DP_WAY_DONE;
	return part->job->way == DP_WAY_RECLAIM &&
	       dp_ring_was_interrupted(part->result[run]) ?
	       DP_WAY_UNCHANGED : DP_WAY_DOUBT;
}

static uint32_t runs_done(const struct dp_part *part)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < part->request.runs; i++)
		count += !part->result[i];
	return count;
}

/* Of its runs together; that one was interrupted says less than any other. */
static int error_of(const struct dp_part *part)
{
	int error = 0;

	for (uint32_t i = 0; i < part->request.runs; i++)
		if (!error || dp_ring_was_interrupted(error))
			error = part->result[i] ? part->result[i] : error;
	return error;
}

static void probe_run(const struct dp_part *part, struct dp_run run, int result)
{
	const struct daxpin_job *job = part->job;
	uint64_t addr = part->report.segment *
			job->jobs->holes.media->segment_size +
			((uint64_t)run.chunk << DP_CHUNK_SHIFT);
	uint64_t bytes = (uint64_t)run.chunks << DP_CHUNK_SHIFT;

	if (dp_ring_was_interrupted(result))
		DP_PROBE_CANCEL(job->pool, addr, bytes, result);
	else if (job->way == DP_WAY_RECLAIM)
		DP_PROBE_PUNCH(job->pool, addr, bytes, result);
	else
		DP_PROBE_REFILL(job->pool, addr, bytes, result);
}

/* Nothing is claimed by this part any more. */
static void end_runs(struct dp_part *part)
{
	struct daxpin_job *job = part->job;

	for (uint32_t i = 0; i < part->request.runs; i++) {
		enum dp_way_end end = end_of(part, i);

		probe_run(part, part->run[i], part->result[i]);
		dp_holes_end(&job->jobs->holes, part->report.segment, job->way,
			     part->run[i], end);
		if (end == DP_WAY_DONE)
			part->report.done_bytes += (uint64_t)DP_CHUNK_SIZE *
						   part->run[i].chunks;
		else
			job->budget += part->run[i].chunks;
	}
	if (error_of(part) == -ENOSPC)
		job->jobs->full = true;
	else if (runs_done(part))
		job->jobs->full = false;
	dp_jobs_tell_refused(job->jobs);
}

/* To the next round, or over. */
static void end_round(struct dp_part *part)
{
	struct daxpin_job *job = part->job;
	int error = error_of(part);

	leave_slot(part);
	end_runs(part);
	part->state = DP_PART_WAITING;
	if (!error)
		advance(part);
	else if (!dp_ring_was_interrupted(error))
		finish(part, error);
	else if (job->cancelled)
		finish(part, -ECANCELED);
	else if (dp_os_now_ns() >= job->deadline_ns)
		finish(part, -ETIMEDOUT);
	/* Else it was taken along by a cancellation of somebody else's. */
}

/* The kernel has answered every request of the runs. */
static void after_kernel(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	assert(part->state == DP_PART_KERNEL && !part->pending);
	dp_gate_open(jobs->leases, part->report.segment);
	if (part->job->blocking) {
		end_round(part);
		return;
	}
	dp_punch_forget(&jobs->punch, &part->request);
	if (part->job->way == DP_WAY_RECLAIM || !runs_done(part)) {
		end_round(part);
		return;
	}
	/* Also when a run failed: what was done is going to be used. */
	part->state = DP_PART_SETTLING;
	part->pending = dp_punch_settle(&jobs->punch, &part->request,
					part->result, is_shmem(part));
}

/* -------------------------------------------------------- what was answered */

static void ran(struct dp_part *part, const struct dp_answer *answer)
{
	part->result[answer->run] = answer->result;
	if (!part->pending)
		after_kernel(part);
}

static void settled(struct dp_part *part, const struct dp_answer *answer)
{
	for (uint32_t i = 0; i < part->request.runs; i++)
		if (!part->result[i] && (i == answer->run || !is_shmem(part)))
			part->result[i] = answer->result;
	if (!part->pending)
		end_round(part);
}

static void take_answer(struct dp_jobs *jobs, const struct dp_answer *answer)
{
	struct dp_part *part = NULL;

	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (jobs->in_kernel[i] &&
		    jobs->in_kernel[i]->request.attempt == answer->attempt)
			part = jobs->in_kernel[i];
	if (!part || answer->to > DP_ANSWER_SETTLE)
		return;
	assert(part->pending && answer->run < part->request.runs);
	part->pending--;
	if (answer->to == DP_ANSWER_RUN)
		ran(part, answer);
	else
		settled(part, answer);
}

/* What no answer moves. */
static void look_at(struct dp_part *part)
{
	struct dp_punch *punch = &part->job->jobs->punch;
	uint64_t now_ns = dp_os_now_ns();

	if (part->state == DP_PART_WAITING)
		advance(part);
	if (part->state == DP_PART_WAITING)
		dp_punch_tick(punch);
	if (part->state != DP_PART_KERNEL || now_ns < part->again_ns)
		return;
	part->again_ns = now_ns + STEP_NS;
	dp_punch_cancel(punch, &part->request);
}

static void look(struct dp_jobs *jobs)
{
	struct dp_answer answer;

	while (dp_punch_next(&jobs->punch, &answer))
		take_answer(jobs, &answer);
	for (struct daxpin_job *job = jobs->first; job; job = job->next)
		for (uint32_t i = 0; i < job->parts && job->open_parts &&
		     !job->blocking && !job->zero; i++)
			look_at(&job->part[i]);
}

void dp_jobs_look(struct dp_jobs *jobs)
{
	if (!atomic_load(&jobs->under_way))
		return;
	pthread_mutex_lock(&jobs->mutex);
	look(jobs);
	pthread_mutex_unlock(&jobs->mutex);
}

void dp_jobs_refused(struct dp_jobs *jobs)
{
	atomic_store(&jobs->retry, true);
	if (!atomic_load(&jobs->under_way) ||
	    pthread_mutex_trylock(&jobs->mutex))
		return;
	look(jobs);
	pthread_mutex_unlock(&jobs->mutex);
}

bool dp_jobs_may_give_space(struct dp_jobs *jobs)
{
	bool full;

	if (atomic_load(&jobs->holes.claimed))
		return true;
	if (!atomic_load(&jobs->holes.blocks))
		return false;
	pthread_mutex_lock(&jobs->mutex);
	full = jobs->full;
	pthread_mutex_unlock(&jobs->mutex);
	return !full;
}

/* --------------------------------------------------------------- whole jobs */

void dp_jobs_init(struct dp_jobs *jobs, struct dp_pool *media,
		  struct dp_space *space, struct dp_leases *leases,
		  struct dp_events *events, struct dp_holders *holders)
{
	pthread_mutex_init(&jobs->mutex, NULL);
	jobs->holes.media = media;
	jobs->holes.space = space;
	jobs->leases = leases;
	jobs->events = events;
	jobs->holders = holders;
	jobs->retry_notice.event.type = DAXPIN_EVENT_RETRY;
}

void dp_jobs_fini(struct dp_jobs *jobs)
{
	assert(!jobs->first);
	if (!jobs->events)
		return;
	dp_punch_close(&jobs->punch);
	pthread_mutex_destroy(&jobs->mutex);
}

/*
 * On device-dax there is only this to do: a chunk is nobody's meanwhile, and no
 * hold in the segment can be of its blocks, so gate and counter do not matter.
 */
static void zero_free(struct dp_part *part)
{
	struct daxpin_job *job = part->job;
	struct dp_jobs *jobs = job->jobs;
	struct dp_pool *media = jobs->holes.media;
	const struct dp_segment *segment = &media->segment[part->report.segment];
	uint32_t chunks = segment->size >> DP_CHUNK_SHIFT;

	for (uint32_t i = 1; i < chunks && job->budget && spare(part); i++) {
		struct dp_run run = { i, 1 };

		if (!dp_holes_claim_one(&jobs->holes, part->report.segment, i,
					job->way, true))
			continue;
		pthread_mutex_unlock(&jobs->mutex);
		dp_persist_wipe(&media->persist, segment->base +
				((uint64_t)i << DP_CHUNK_SHIFT), DP_CHUNK_SIZE);
		pthread_mutex_lock(&jobs->mutex);
		dp_holes_end(&jobs->holes, part->report.segment, job->way, run,
			     DP_WAY_UNCHANGED);
		part->report.done_bytes += DP_CHUNK_SIZE;
		job->budget--;
	}
	dp_jobs_tell_refused(jobs);
	finish(part, 0);
}

/* Claims, gate and part are this thread's: no need for the mutex meanwhile. */
static void block_on(struct dp_part *part)
{
	struct dp_jobs *jobs = part->job->jobs;

	pthread_mutex_unlock(&jobs->mutex);
	for (uint32_t i = 0; i < part->request.runs; i++) {
		int ret = dp_punch_here(&part->request, i);

		if (!ret && part->job->way == DP_WAY_REFILL)
			ret = dp_punch_settle_here(&part->request, i,
						   is_shmem(part));
		part->result[i] = ret;
	}
	pthread_mutex_lock(&jobs->mutex);
	part->pending = 0;
	after_kernel(part);
}

static void run_blocking(struct daxpin_job *job)
{
	struct dp_jobs *jobs = job->jobs;

	for (uint32_t i = 0; i < job->parts; i++) {
		struct dp_part *part = &job->part[i];

		while (part->state != DP_PART_OVER) {
			if (part->state == DP_PART_KERNEL) {
				block_on(part);
				continue;
			}
			advance(part);
			if (part->state != DP_PART_WAITING)
				continue;
			pthread_mutex_unlock(&jobs->mutex);
			dp_os_sleep_ns(STEP_NS);
			pthread_mutex_lock(&jobs->mutex);
		}
	}
}

static int make_parts(struct daxpin_job *job, uint32_t segment)
{
	bool all = segment == DAXPIN_ALL_SEGMENTS;

	job->parts = all ? job->jobs->holes.media->segments : 1;
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

int dp_job_begin(struct daxpin_job *job, uint32_t segment)
{
	struct dp_jobs *jobs = job->jobs;
	int ret = make_parts(job, segment);

	if (ret)
		return ret;
	pthread_mutex_lock(&jobs->mutex);
	if (!job->zero && !job->blocking && !jobs->punch.open)
		ret = dp_punch_open(&jobs->punch,
				    jobs->holes.media->lock.fd,
				    jobs->events->fd);
	if (ret) {
		pthread_mutex_unlock(&jobs->mutex);
		free(job->part);
		return ret;
	}
	job->next = jobs->first;
	jobs->first = job;
	atomic_fetch_add(&jobs->count, 1);
	atomic_fetch_add(&jobs->under_way, 1);
	for (uint32_t i = 0; job->zero && i < job->parts; i++)
		zero_free(&job->part[i]);
	if (job->blocking)
		run_blocking(job);
	else
		look(jobs);
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
	pthread_mutex_lock(&job->jobs->mutex);
	job->cancelled = true;
	for (uint32_t i = 0; i < job->parts; i++)
		if (job->part[i].state == DP_PART_KERNEL)
			job->part[i].again_ns = 0;
	look(job->jobs);
	pthread_mutex_unlock(&job->jobs->mutex);
}

static bool had_to_do(const struct daxpin_job_part *report)
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
		const struct daxpin_job_part *report = &job->part[i].report;

		if (!had_to_do(report))
			continue;
		if (fn)
			fn(report, arg);
		ret_summary->segments++;
		ret_summary->done_bytes += report->done_bytes;
		ret_summary->left_bytes += report->left_bytes;
		if (!ret_summary->result)
			ret_summary->result = report->result;
	}
	pthread_mutex_unlock(&job->jobs->mutex);
}

void dp_job_end(struct daxpin_job *job)
{
	struct dp_jobs *jobs = job->jobs;
	struct daxpin_job **at = &jobs->first;

	pthread_mutex_lock(&jobs->mutex);
	assert(!job->open_parts);
	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	pthread_mutex_unlock(&jobs->mutex);
	dp_events_withdraw(jobs->events, &job->over);
	atomic_fetch_sub(&jobs->count, 1);
	free(job->part);
	free(job);
}

static bool is_wanted(const struct dp_jobs *jobs, uint32_t segment)
{
	for (const struct daxpin_job *job = jobs->first; job; job = job->next)
		for (uint32_t i = 0; i < job->parts; i++)
			if (job->part[i].report.segment == segment &&
			    job->part[i].state != DP_PART_OVER)
				return true;
	return false;
}

int dp_jobs_pin(struct dp_jobs *jobs, struct daxpin_registration *registration,
		uint32_t segment)
{
	int ret = -EAGAIN;

	if (segment >= jobs->holes.media->segments)
		return -EINVAL;
	pthread_mutex_lock(&jobs->mutex);
	if (!dp_holes_any(&jobs->holes, segment) && !is_wanted(jobs, segment))
		ret = dp_registration_pin(jobs->holders, registration, segment);
	pthread_mutex_unlock(&jobs->mutex);
	return ret;
}
