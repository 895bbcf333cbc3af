/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim and refill of space on tmpfs. What needs a DAX filesystem is tested in
 * tests/lab/reclaim_pins.c.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include "child.h"
#include "core/handle.h"
#include "fixture.h"
#include "forbid.h"
#include "needs.h"
#include "segment_files.h"
#include "support/invariant.h"
#include "../support/fake_clock.h"

#define HANG_MS	600000			/* limit of a wait that must end */
#define MIB	(1ull << 20)
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED	true
#else
#define IS_SANITIZED	false
#endif
#define CHUNK	((uint64_t)DAXPIN_CHUNK_SIZE)
/* Two segments of 16 chunks. The first chunk of each is metadata. */
#define ALL	(30 * CHUNK)

static struct daxpin_job_options all_for(uint64_t ms)
{
	return (struct daxpin_job_options) {
		.size = sizeof(struct daxpin_job_options),
		.segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = ms ? daxpin_deadline_ms(ms) : 0,
	};
}

static struct daxpin_job_summary summary_of(struct daxpin_job *job)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };

	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	return summary;
}

static struct daxpin_job_summary finish(struct fixture *f,
					struct daxpin_job *job)
{
	struct daxpin_job_summary summary;

	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
	summary = summary_of(job);
	assert_int_equal(daxpin_job_end(job), 0);
	dp_invariants(f->pool);
	return summary;
}

static struct daxpin_job_summary run(struct fixture *f,
	int (*what)(struct daxpin_pool *, const struct daxpin_job_options *,
		    struct daxpin_job **),
	const struct daxpin_job_options *options)
{
	/* A job without a deadline lets a punch take one second. */
	const struct daxpin_job_options with_deadline = all_for(HANG_MS);
	struct daxpin_job *job;

	assert_int_equal(
		what(f->pool, options ? options : &with_deadline, &job), 0);
	return finish(f, job);
}

/* The space that the files take on the filesystem. */
static uint64_t file_bytes(struct fixture *f)
{
	uint64_t bytes;

	assert_int_equal(segment_files(f->path, &bytes), 2);
	return bytes;
}

static void keep(struct fixture *f, struct daxpin_extent extent)
{
	const struct daxpin_op op = {
		.type = DAXPIN_OP_KEEP, .extent = extent,
	};

	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
}

/* ------------------------------------------------------- reclaim and refill */

static void all_free_space_is_reclaimed_and_refilled(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct daxpin_job_summary s;
	uint64_t before = file_bytes(f);

	s = run(f, daxpin_reclaim, NULL);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.segments, 2);
	assert_int_equal(s.done_bytes, ALL);
	assert_int_equal(file_bytes(f), before - ALL);
	assert_int_equal(pool_info(f).hole_bytes, ALL);
	assert_int_equal(pool_info(f).free_bytes, 0);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent), -ENOSPC);

	s = run(f, daxpin_refill, NULL);
	assert_int_equal(s.done_bytes, ALL);
	assert_int_equal(file_bytes(f), before);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_int_equal(pool_info(f).free_bytes, ALL);
	extent = reserve(f, 15 * CHUNK);
	memset(daxpin_ptr(f->pool, extent, 0), 1, 15 * CHUNK);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* Chunks in use are not touched, even if only a part of them is in use. */
static void reclaim_does_not_touch_chunks_in_use(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent live = reserve(f, 3 * CHUNK + 4096);
	struct daxpin_job_summary s;
	char *at = daxpin_ptr(f->pool, live, 0);

	memset(at, 0x5a, 3 * CHUNK + 4096);
	keep(f, live);
	s = run(f, daxpin_reclaim, NULL);
	assert_int_equal(s.done_bytes, ALL - 4 * CHUNK);
	for (uint64_t i = 0; i < 3 * CHUNK + 4096; i++)
		assert_int_equal(at[i], 0x5a);
	assert_int_equal(pool_info(f).free_bytes, CHUNK - 4096);
	s = run(f, daxpin_refill, NULL);
	assert_int_equal(s.done_bytes, ALL - 4 * CHUNK);
}

/* The first halves of two chunks are free: together as many blocks as a chunk has. */
static void chunks_that_begin_free_are_no_candidates(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent half[4];
	struct daxpin_job_summary s;

	for (int i = 0; i < 4; i++) {
		half[i] = reserve(f, CHUNK / 2);
		assert_int_equal(half[i].addr % CHUNK, i % 2 ? CHUNK / 2 : 0);
		memset(daxpin_ptr(f->pool, half[i], 0), 0x5a, CHUNK / 2);
	}
	for (int i = 0; i < 4; i += 2)
		assert_int_equal(daxpin_cancel(f->pool, half[i]), 0);
	s = run(f, daxpin_reclaim, NULL);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, ALL - 2 * CHUNK);
	for (int i = 1; i < 4; i += 2) {
		assert_int_equal(*(char *)daxpin_ptr(f->pool, half[i], 0), 0x5a);
		assert_int_equal(daxpin_cancel(f->pool, half[i]), 0);
	}
}

/*
 * A freed small extent stays in the thread's cache, which does not prevent the reclaim.
 */
static void reclaim_empties_the_threads_cache(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_summary s;

	assert_int_equal(daxpin_cancel(f->pool, reserve(f, 4096)), 0);
	assert_int_equal(pool_info(f).free_bytes, ALL);
	s = run(f, daxpin_reclaim, NULL);
	assert_int_equal(s.done_bytes, ALL);
	assert_int_equal(pool_info(f).free_bytes, 0);
	s = run(f, daxpin_refill, NULL);
	assert_int_equal(s.done_bytes, ALL);
}

static void options_bytes_keep_bytes_and_segment_limit_a_job(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = all_for(HANG_MS);

	options.bytes = 3 * CHUNK + 1;
	assert_int_equal(run(f, daxpin_reclaim, &options).done_bytes, 3 * CHUNK);
	options.bytes = 0;
	options.keep_bytes = 20 * CHUNK - 1;
	assert_int_equal(run(f, daxpin_reclaim, &options).done_bytes, 7 * CHUNK);
	assert_int_equal(pool_info(f).free_bytes, 20 * CHUNK);
	options.segment = 1;
	options.keep_bytes = 0;
	run(f, daxpin_reclaim, &options);
	options.segment = 0;
	run(f, daxpin_reclaim, &options);
	assert_int_equal(pool_info(f).hole_bytes, ALL);
	options.bytes = 5 * CHUNK;
	assert_int_equal(run(f, daxpin_refill, &options).done_bytes, 5 * CHUNK);
	assert_int_equal(pool_info(f).free_bytes, 5 * CHUNK);
}

/*
 * A job handles a limited number of runs of chunks each time that it closes the gate.
 */
static void scattered_chunks_are_reclaimed_and_refilled(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent[30];
	struct daxpin_job_summary s;

	for (int i = 0; i < 30; i++)
		extent[i] = reserve(f, CHUNK);
	for (int i = 0; i < 30; i += 2)
		assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
	s = run(f, daxpin_reclaim, NULL);
	assert_int_equal(s.done_bytes, 15 * CHUNK);
	for (int i = 1; i < 30; i += 2)
		assert_int_equal(daxpin_cancel(f->pool, extent[i]), 0);
	s = run(f, daxpin_refill, NULL);
	assert_int_equal(s.done_bytes, 15 * CHUNK);
}

/* Reopens the pool once with holes, and once after a refill. */
static void open_finds_the_holes_of_a_reclaim(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent live = reserve(f, CHUNK), extent;

	keep(f, live);
	run(f, daxpin_reclaim, NULL);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(pool_info(f).hole_bytes, ALL - CHUNK);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent), -ENOSPC);
	assert_int_equal(run(f, daxpin_refill, NULL).done_bytes, ALL - CHUNK);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	extent = reserve(f, 14 * CHUNK);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* ------------------------------------------------------------ segments in use */

struct seen {
	struct daxpin_job_part part[8];
	struct daxpin_holder holder[8];
	char label[8][DAXPIN_LABEL_MAX];
	int count;
};

static void note_part(const struct daxpin_job_part *part, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(part->size, sizeof(*part));
	if (part->holder) {
		assert_int_equal(part->holder->size, sizeof(*part->holder));
		seen->holder[seen->count] = *part->holder;
		snprintf(seen->label[seen->count], DAXPIN_LABEL_MAX, "%s",
			 part->holder->label ? part->holder->label : "");
	}
	seen->part[seen->count++] = *part;
}

static struct seen parts_of(struct daxpin_job *job)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct seen seen = { .count = 0 };

	assert_int_equal(daxpin_job_report(job, note_part, &seen, &summary), 0);
	assert_int_equal(seen.count, summary.segments);
	return seen;
}

/* Waits until the segment that is not in use was punched, and passes the deadline. */
static void pass_deadline(struct fixture *f, struct daxpin_job *job)
{
	while (pool_info(f).hole_bytes < 15 * CHUNK)
		assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(10)),
				 -ETIMEDOUT);
	advance_clock(2 * HANG_MS);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
}

/*
 * The segment in use is left alone and the report names its holder. The other is
 * punched.
 */
static void a_held_segment_is_not_reclaimed_and_its_holder_is_reported(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_hold hold = { .access = 0 };
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_job *job;
	struct seen seen;
	int held = extent.addr / (32 * MIB);

	assert_int_equal(daxpin_hold_labelled(f->pool, extent,
					      DAXPIN_HOLD_WRITE, "a slow disk",
					      &hold), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	pass_deadline(f, job);
	seen = parts_of(job);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.part[held].result, -EBUSY);
	assert_int_equal(seen.part[held].done_bytes, 0);
	assert_int_equal(seen.part[held].left_bytes, 14 * CHUNK);
	assert_string_equal(seen.label[held], "a slow disk");
	assert_int_equal(seen.holder[held].extent.addr, extent.addr);
	assert_int_equal(seen.part[!held].result, 0);
	assert_int_equal(seen.part[!held].done_bytes, 15 * CHUNK);
	assert_int_equal(daxpin_job_end(job), 0);
	/* The held segment can be used as before. */
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* A chunk in a cache would not be found by the next reclaim. */
static void refilled_chunks_are_in_no_cache(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_cancel(f->pool, reserve(f, 4096)), 0);
	assert_int_equal(run(f, daxpin_reclaim, NULL).done_bytes, ALL);
	assert_int_equal(run(f, daxpin_refill, NULL).done_bytes, ALL);
	assert_int_equal(dp_caches_blocks(&f->pool->spaces.caches), 0);
}

/* With a deadline the job waits for the drop, and does not refuse holds meanwhile. */
static void a_job_waits_for_the_drop(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_job *job;

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(30)),
			 -ETIMEDOUT);
	assert_int_equal(daxpin_job_end(job), -EBUSY);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(summary_of(job).result, -EINPROGRESS);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(finish(f, job).done_bytes, ALL - CHUNK);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void a_waiting_job_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_job *job;
	struct daxpin_job_summary s;

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	options.segment = extent.addr / (32 * MIB);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_cancel(job), 0);
	s = finish(f, job);
	assert_int_equal(s.result, -ECANCELED);
	assert_int_equal(s.left_bytes, 14 * CHUNK);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static struct dp_caches *caches;
static struct dp_jobs *jobs;
static struct dp_cache *entered;		/* a cache that its thread is in */
static unsigned int sleeps;

void __real_dp_os_sleep_ns(uint64_t ns);
void __wrap_dp_os_sleep_ns(uint64_t ns);

/* When a thread sleeps to wait for the other thread's cache, that thread leaves it. */
void __wrap_dp_os_sleep_ns(uint64_t ns)
{
	if (!entered) {
		__real_dp_os_sleep_ns(ns);
		return;
	}
	sleeps++;
	/*
	 * The sleeping thread does not have the mutex of the jobs, which other threads
	 * need (I33).
	 */
	assert_int_equal(pthread_mutex_trylock(&jobs->mutex), 0);
	pthread_mutex_unlock(&jobs->mutex);
	dp_cache_leave(caches, entered);
	entered = NULL;
}

static void let_another_thread_enter_cache(struct fixture *f)
{
	unsigned int mine = dp_thread_slot();

	caches = &f->pool->spaces.caches;
	jobs = &f->pool->jobs;
	dp_thread_slot_mine = 20 + 1;
	entered = dp_cache_enter(caches);
	dp_thread_slot_mine = mine + 1;
	assert_non_null(entered);
	sleeps = 0;
}

/*
 * A hold that finds the gate closed reads the completions of the job's ring. It must
 * not continue the job with another segment: that would empty the caches of all
 * threads, which means waiting for threads that are in their cache.
 */
static void a_hold_at_a_closed_gate_does_not_wait_for_a_cache(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent held = reserve(f, 2 * CHUNK);
	struct daxpin_extent wanted = reserve(f, 14 * CHUNK);
	struct daxpin_job *job;
	int ret;

	assert_int_not_equal(held.addr / (32 * MIB), wanted.addr / (32 * MIB));
	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	let_another_thread_enter_cache(f);
	do {
		ret = daxpin_hold(f->pool, wanted, DAXPIN_HOLD_READ);
	} while (ret == -EAGAIN);
	assert_int_equal(ret, 0);
	assert_int_equal(sleeps, 0);
	/* The next call that may sleep continues the job, and waits for the cache. */
	assert_int_equal(daxpin_job_wait(job, 0), -ETIMEDOUT);
	assert_int_equal(sleeps, 1);
	assert_int_equal(daxpin_drop(f->pool, wanted), 0);
	assert_int_equal(daxpin_drop(f->pool, held), 0);
	assert_int_equal(finish(f, job).done_bytes, ALL - 16 * CHUNK);
	assert_int_equal(daxpin_cancel(f->pool, wanted), 0);
	assert_int_equal(daxpin_cancel(f->pool, held), 0);
}

/* No call that continues a job sleeps with a mutex that other threads need (C1, C4). */
static void a_job_that_waits_for_a_cache_has_no_mutex_locked(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent held = reserve(f, 2 * CHUNK), rest;
	struct daxpin_job *job;

	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_READ), 0);
	let_another_thread_enter_cache(f);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(sleeps, 1);
	let_another_thread_enter_cache(f);
	assert_int_equal(daxpin_job_wait(job, 0), -ETIMEDOUT);
	assert_int_equal(sleeps, 1);
	let_another_thread_enter_cache(f);
	while (!daxpin_reserve(f->pool, CHUNK, 0, &rest))
		;
	assert_int_equal(sleeps, 1);
	let_another_thread_enter_cache(f);
	assert_int_equal(daxpin_job_cancel(job), 0);
	assert_int_equal(sleeps, 1);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	assert_int_equal(daxpin_drop(f->pool, held), 0);
}

/* ----------------------------------------------------------- registrations */

static struct daxpin_registration *register_all(struct fixture *f,
						uint32_t flags)
{
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "an adapter", .flags = flags,
	};
	struct daxpin_registration *registration;

	assert_int_equal(daxpin_register(f->pool, DAXPIN_ALL_SEGMENTS, &options,
					 &registration), 0);
	return registration;
}

/* A registration that pins all segments permanently. */
static void a_registration_of_all_segments_prevents_reclaim(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration = register_all(f, 0);
	struct daxpin_job *job;
	struct seen seen;

	assert_int_equal(daxpin_registration_pin(registration, 0), -EINVAL);
	assert_int_equal(daxpin_reclaim(f->pool, NULL, &job), 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
	seen = parts_of(job);
	assert_int_equal(seen.count, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(seen.part[i].result, -EBUSY);
		assert_string_equal(seen.label[i], "an adapter");
	}
	assert_int_equal(daxpin_job_end(job), 0);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_int_equal(daxpin_unregister(registration), 0);
	assert_int_equal(run(f, daxpin_reclaim, NULL).done_bytes, ALL);
}

/*
 * While the kernel punches a segment, no permanent pin is allowed: it could get pages
 * that the punch removes from the file.
 */
static void a_registration_during_a_punch_is_eagain_until_its_end(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *r;
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "an adapter",
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_event event;
	struct daxpin_job *job;

	/* Completions are not read before the wait. */
	assert_int_equal(daxpin_reclaim(f->pool, NULL, &job), 0);
	assert_int_equal(daxpin_register(f->pool, DAXPIN_ALL_SEGMENTS, &options,
					 &r), -EAGAIN);
	assert_non_null(strstr(f->errmsg, "DAXPIN_EVENT_RETRY"));
	assert_int_equal(daxpin_register(f->pool, 1, &options, &r), -EAGAIN);
	r = register_all(f, DAXPIN_REGISTRATION_BY_SEGMENT);
	assert_int_equal(daxpin_unregister(r), 0);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(event.type, DAXPIN_EVENT_RETRY);
	assert_int_equal(daxpin_job_end(job), 0);
	assert_int_equal(pool_info(f).registrations, 0);
	r = register_all(f, 0);
	assert_int_equal(daxpin_unregister(r), 0);
}

/* The job waits until the pin is given back, and no new pin is allowed meanwhile. */
static void reclaim_requests_a_pinned_segment_with_an_event(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *r =
		register_all(f, DAXPIN_REGISTRATION_BY_SEGMENT);
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_event event;
	struct daxpin_job *job;
	uint32_t segment = 0;

	assert_int_equal(daxpin_registration_pin(r, 2), -EINVAL);
	assert_int_equal(daxpin_registration_revoked(r, 1), -EINVAL);
	assert_int_equal(daxpin_registration_pin(r, 1), 0);
	assert_int_equal(daxpin_registration_pin(r, 1), -EALREADY);
	assert_int_equal(daxpin_registration_wanted(r, &segment), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	while (pool_info(f).hole_bytes < 15 * CHUNK)
		assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(10)),
				 -ETIMEDOUT);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(event.type, DAXPIN_EVENT_REVOKE);
	assert_ptr_equal(event.registration, r);
	assert_int_equal(daxpin_registration_wanted(r, &segment), 1);
	assert_int_equal(segment, 1);
	assert_int_equal(daxpin_registration_pin(r, 0), -ENOSPC);
	assert_int_equal(daxpin_registration_revoked(r, 1), 0);
	assert_int_equal(daxpin_registration_pin(r, 1), -EAGAIN);
	assert_int_equal(finish(f, job).done_bytes, ALL);
	assert_int_equal(daxpin_registration_pin(r, 1), -ENOSPC);
	run(f, daxpin_refill, NULL);
	assert_int_equal(daxpin_registration_pin(r, 1), 0);
	assert_int_equal(daxpin_unregister(r), 0);
}

/* After the deadline the job no longer requests the pin. */
static void a_pin_that_is_not_given_back_ends_the_job_busy(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *r =
		register_all(f, DAXPIN_REGISTRATION_BY_SEGMENT);
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_job_summary s;
	struct daxpin_job *job;
	uint32_t segment = 0;

	assert_int_equal(daxpin_registration_pin(r, 0), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	pass_deadline(f, job);
	s = finish(f, job);
	assert_int_equal(s.result, -EBUSY);
	assert_int_equal(s.done_bytes, 15 * CHUNK);
	assert_int_equal(daxpin_registration_wanted(r, &segment), 0);
	assert_int_equal(daxpin_unregister(r), 0);
}

/* ------------------------------------------------------------------ events */

static _Atomic int wakes;		/* returns of poll() in next_of() */

static int next_of(struct fixture *f, struct daxpin_event *event)
{
	struct pollfd poll_fd = { daxpin_event_fd(f->pool), POLLIN, 0 };
	uint64_t count;

	for (;;) {
		if (daxpin_event_arm(f->pool) == 0) {
			assert_int_equal(poll(&poll_fd, 1, HANG_MS), 1);
			assert_int_equal(read(poll_fd.fd, &count, 8), 8);
			atomic_fetch_add(&wakes, 1);
		}
		if (daxpin_next_event(f->pool, event))
			return 1;
	}
}

struct late_drop {
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
};

/* Drops after the job was polled without success several times. */
static void *drop_late(void *arg)
{
	struct late_drop *late = arg;

	for (int ms = 0; ms < HANG_MS && atomic_load(&wakes) < 5; ms++)
		usleep(1000);
	return daxpin_drop(late->pool, late->extent) ? arg : NULL;
}

/*
 * The job waits for a hold, and the drop does not signal the eventfd. A thread that
 * only polls the eventfd and reads events must nevertheless complete the job.
 */
static void a_thread_that_only_polls_the_event_fd_completes_a_job(void **state)
{
	struct fixture *f = *state;
	struct late_drop late = { .pool = f->pool };
	pthread_t thread;
	void *failed;
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_event event;
	struct daxpin_job *job;

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	late.extent = extent;
	atomic_store(&wakes, 0);
	assert_int_equal(pthread_create(&thread, NULL, drop_late, &late), 0);
	assert_int_equal(next_of(f, &event), 1);
	pthread_join(thread, &failed);
	assert_null(failed);
	assert_int_equal(event.type, DAXPIN_EVENT_JOB);
	assert_ptr_equal(event.job, job);
	assert_int_equal(finish(f, job).done_bytes, ALL - CHUNK);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* The event comes when the reserve may succeed. */
static void a_refused_reserve_gets_a_retry_event(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct daxpin_event event;

	run(f, daxpin_reclaim, NULL);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent), -ENOSPC);
	run(f, daxpin_refill, NULL);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(event.type, DAXPIN_EVENT_RETRY);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
	extent = reserve(f, 1);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* ------------------------------------------------- in a process of its own */

#define CANNOT	255			/* unavailable on this machine */
#define CHILD(condition) do { if (!(condition)) return __LINE__; } while (0)

struct child_test {
	struct fixture *f;
	int (*fn)(struct fixture *f);
};

static int run_child_test(void *arg)
{
	const struct child_test *test = arg;
	int line = test->fn(test->f);

	if (line && line != CANNOT)
		fprintf(stderr, "# line %d: %s\n", line, test->f->errmsg);
	return line == CANNOT ? CANNOT : !!line;
}

/*
 * Closes the pool, runs fn in a child, and opens the pool. fn returns 0, CANNOT, or the
 * line of the check that failed.
 */
static void in_child(struct fixture *f, int (*fn)(struct fixture *f),
		     const char *why_not)
{
	struct child_test test = { f, fn };
	int status;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	status = run_child(run_child_test, &test);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	if (status == CANNOT) {
		print_message("# skipped: %s\n", why_not);
		skip();
	}
	assert_int_equal(status, 0);
}

/* ------------------------------------------------------- holds at a closed gate */

static uint32_t ring_load(const struct dp_ring *ring, uint32_t offset)
{
	return atomic_load((const _Atomic uint32_t *)((char *)ring->rings + offset));
}

/* Waits until the queue has the completion of each run, and until the ring's thread
 * sleeps, so that another request would need a system call. */
static void await_completions(struct fixture *f)
{
	const struct dp_jobs *pool_jobs = &f->pool->jobs;
	const struct dp_ring *ring = &pool_jobs->punch.ring;
	uint64_t hang_ns = daxpin_deadline_ms(HANG_MS);
	uint32_t pending = 0;

	for (uint32_t i = 0; i < DP_PARTS_MAX; i++)
		if (pool_jobs->in_kernel[i])
			pending += pool_jobs->in_kernel[i]->pending;
	assert_int_not_equal(pending, 0);
	while (ring_load(ring, ring->params.cq_off.tail) -
	       ring_load(ring, ring->params.cq_off.head) != pending ||
	       !(ring_load(ring, ring->params.sq_off.flags) &
		 IORING_SQ_NEED_WAKEUP)) {
		assert_true(daxpin_deadline_ms(0) < hang_ns);
		sched_yield();
	}
}

/* Begins to reclaim the segment of an extent. The kernel completes the punches, and
 * their completions stay in the queue. */
static struct daxpin_job *reclaim_unseen(struct fixture *f,
					 struct daxpin_extent extent)
{
	const struct daxpin_job_options options = {
		.size = sizeof(options),
		.segment = extent.addr / (32 * MIB),
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
	};
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	await_completions(f);
	return job;
}

static int hold_while_all_is_locked(struct fixture *f)
{
	struct daxpin_extent extent;
	int ret;

	f->options.deadline_ns = 0;
	CHILD(!daxpin_pool_open(f->path, &f->options, &f->pool));
	extent = reserve(f, 4096);
	reclaim_unseen(f, extent);
	/* An earlier call was refused, and waits for a RETRY. */
	dp_events_refused(&f->pool->events);
	pthread_mutex_lock(&f->pool->events.mutex);
	pthread_mutex_lock(&f->pool->holders.mutex);
	for (uint32_t i = 0; i < f->pool->media.geometry.segments; i++)
		f->pool->spaces.space[i].lock.state = 1;
	if (forbid_all_but(SYS_exit_group))
		return CANNOT;
	ret = daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ);
	syscall(SYS_exit_group, ret ? 1 : 0);
	return 1;
}

/*
 * The job has ended in the kernel, so a hold opens the gate that the job has closed. It
 * takes no lock that another thread may have, and makes no system call: it does not
 * wait for room in the ring (I33).
 */
static void a_hold_at_a_closed_gate_never_sleeps(void **state)
{
	struct fixture *f = *state;

	if (IS_SANITIZED) {
		print_message("# skipped: a sanitizer makes system calls of its own\n");
		skip();
	}
	/* The ring of the dead child keeps the lock for a moment. */
	f->options.deadline_ns = daxpin_deadline_ms(HANG_MS);
	in_child(f, hold_while_all_is_locked, "seccomp is unavailable here");
}

/* A hold opens the gate, and the next call that may sleep does the rest (C4). */
static void a_job_ends_after_a_hold_has_opened_its_gate(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);
	struct dp_gates *gates = dp_state_gates(&f->pool->states);
	uint32_t segment = extent.addr / (32 * MIB);
	struct daxpin_job *job = reclaim_unseen(f, extent);
	struct daxpin_event event;

	/* The gate is closed once more, so that the hold is refused nevertheless. */
	dp_gate_close(gates, segment);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), -EAGAIN);
	dp_gate_open(gates, segment);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(summary_of(job).done_bytes, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(daxpin_next_event(f->pool, &event), 1);
		assert_int_equal(event.type, i ? DAXPIN_EVENT_JOB :
						 DAXPIN_EVENT_RETRY);
	}
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(finish(f, job).done_bytes, 14 * CHUNK);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* A job that is cancelled between a hold and its next step does not lose chunks. */
static void a_job_whose_gate_a_hold_has_opened_can_be_cancelled(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_job *job = reclaim_unseen(f, extent);

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_job_cancel(job), 0);
	assert_int_equal(finish(f, job).done_bytes, 14 * CHUNK);
	assert_int_equal(pool_info(f).hole_bytes, 14 * CHUNK);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(run(f, daxpin_refill, NULL).done_bytes, 14 * CHUNK);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/* ------------------------------------------------------ without a private ring */

static int refusal;			/* the errno of io_uring_setup() */

static int reclaim_blocking(struct fixture *f)
{
	struct daxpin_job_options options = all_for(0);
	struct daxpin_extent extent;
	struct daxpin_job *job;

	if (forbid(SYS_io_uring_setup, refusal))
		return CANNOT;
	CHILD(!daxpin_pool_open(f->path, &f->options, &f->pool));
	options.errmsg = f->errmsg;
	options.errmsg_size = sizeof(f->errmsg);
	CHILD(daxpin_reclaim(f->pool, &options, &job) == -ENOSYS);
	CHILD(strstr(f->errmsg, "DAXPIN_JOB_BLOCKING"));
	CHILD(pool_info(f).hole_bytes == 0);
	options.flags = DAXPIN_JOB_BLOCKING;
	CHILD(!daxpin_reserve(f->pool, 4096, 0, &extent));
	CHILD(!daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ));
	CHILD(!daxpin_reclaim(f->pool, &options, &job));
	CHILD(summary_of(job).result == -EBUSY);
	CHILD(summary_of(job).done_bytes == 15 * CHUNK);
	CHILD(!daxpin_job_end(job));
	CHILD(!daxpin_drop(f->pool, extent));
	CHILD(!daxpin_cancel(f->pool, extent));
	CHILD(!daxpin_reclaim(f->pool, &options, &job));
	CHILD(summary_of(job).done_bytes == 15 * CHUNK);
	CHILD(!daxpin_job_end(job));
	CHILD(pool_info(f).hole_bytes == ALL);
	CHILD(!daxpin_refill(f->pool, &options, &job));
	CHILD(summary_of(job).done_bytes == ALL);
	CHILD(!daxpin_job_end(job));
	CHILD(pool_info(f).free_bytes == ALL);
	dp_invariants(f->pool);
	CHILD(!daxpin_pool_close(f->pool));
	return 0;
}

static void jobs_work_without_io_uring(void **state)
{
	struct fixture *f = *state;

	refusal = EPERM;
	in_child(f, reclaim_blocking, "no seccomp here");
	assert_int_equal(pool_info(f).hole_bytes, 0);
}

/* EAGAIN is what a user gets at the limit of processes, which root does not have. */
static void jobs_work_without_a_kernel_thread_for_the_ring(void **state)
{
	refusal = EAGAIN;
	in_child(*state, reclaim_blocking, "no seccomp here");
}

/* Mounts a tmpfs that ends with this process. */
static int mount_small(struct fixture *f)
{
	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", f->path, "tmpfs", 0, "size=65m,mode=700"))
		return CANNOT;
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	CHILD(!daxpin_pool_create(f->path, &f->options, &f->pool));
	f->options.flags = 0;
	return 0;
}

typedef bool choose_fn(uint64_t segment, uint64_t chunk);

/*
 * Makes `holes` chunks, chosen by fn, into holes, with space on the filesystem for
 * `room`.
 */
static int make_room(struct fixture *f, choose_fn *is_hole, int holes, int room)
{
	const struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent extent[30];
	bool hole[30];
	struct daxpin_job *job;
	char path[128];
	int fd;

	for (int i = 0; i < 30; i++) {
		CHILD(!daxpin_reserve(f->pool, CHUNK, 0, &extent[i]));
		hole[i] = is_hole(extent[i].addr / DAXPIN_SEGMENT_MIN,
				  extent[i].addr % DAXPIN_SEGMENT_MIN / CHUNK);
	}
	for (int i = 0; i < 30; i++)
		CHILD(!hole[i] || !daxpin_cancel(f->pool, extent[i]));
	CHILD(!daxpin_reclaim(f->pool, &options, &job));
	CHILD(!daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)));
	CHILD(summary_of(job).done_bytes == holes * CHUNK);
	CHILD(!daxpin_job_end(job));
	for (int i = 0; i < 30; i++)
		CHILD(hole[i] || !daxpin_cancel(f->pool, extent[i]));
	snprintf(path, sizeof(path), "%s/filler", f->path);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHILD(fd >= 0 && !fallocate(fd, 0, 0, (holes - room) * CHUNK));
	close(fd);
	return 0;
}

static bool ended_with(struct fixture *f, struct daxpin_job *job, int result)
{
	struct daxpin_job_summary s = summary_of(job);

	snprintf(f->errmsg, sizeof(f->errmsg),
		 "it ended with %d, done %llu, left %llu", s.result,
		 (unsigned long long)s.done_bytes,
		 (unsigned long long)s.left_bytes);
	return s.result == result;
}

/*
 * Refills until the filesystem is full, and reopens: the chunks done must stay usable.
 */
static int refill_until_full(struct fixture *f, uint64_t all, uint64_t *ret_done)
{
	struct daxpin_job_options options = all_for(HANG_MS);
	struct daxpin_extent extent;
	struct daxpin_job *job;
	uint64_t holes;

	CHILD(!daxpin_refill(f->pool, &options, &job));
	CHILD(!daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)));
	CHILD(ended_with(f, job, -ENOSPC));
	*ret_done = summary_of(job).done_bytes;
	CHILD(*ret_done + summary_of(job).left_bytes == all);
	holes = pool_info(f).hole_bytes;
	CHILD(holes == summary_of(job).left_bytes);
	CHILD(!daxpin_job_end(job));
	while (!daxpin_reserve(f->pool, CHUNK, 0, &extent))
		;
	CHILD(daxpin_reserve(f->pool, CHUNK, 0, &extent) == -ENOSPC);
	/*
	 * Chunks without pages are holes at the next open: on tmpfs an allocation is
	 * visible only as pages (kernel.md K19).
	 */
	CHILD(!daxpin_pool_close(f->pool));
	CHILD(!daxpin_pool_open(f->path, &f->options, &f->pool));
	CHILD(pool_info(f).hole_bytes == holes);
	while (!daxpin_reserve(f->pool, CHUNK, 0, &extent))
		memset(daxpin_ptr(f->pool, extent, 0), 0x5a, CHUNK);
	CHILD(!daxpin_pool_close(f->pool));
	CHILD(!daxpin_pool_open(f->path, &f->options, &f->pool));
	CHILD(pool_info(f).hole_bytes == holes);
	dp_invariants(f->pool);
	CHILD(!daxpin_pool_close(f->pool));
	return 0;
}

static bool is_even(uint64_t segment, uint64_t chunk)
{
	(void)segment;
	return chunk > 1 && !(chunk % 2);
}

static int refill_with_space_for_five(struct fixture *f)
{
	uint64_t done;
	int line = mount_small(f);

	if (!line)
		line = make_room(f, is_even, 14, 5);
	if (!line)
		line = refill_until_full(f, 14 * CHUNK, &done);
	if (line)
		return line;
	CHILD(done >= CHUNK);
	return 0;
}

/* A refill in a process that was killed leaves chunks half backed. */
static void half_backed_chunks_are_reclaimed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_summary s;
	uint64_t least;
	char path[128];
	int fd;

	run(f, daxpin_reclaim, NULL);
	least = file_bytes(f);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	snprintf(path, sizeof(path), "%s/segment.0001", f->path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	/* On tmpfs an allocation is visible only as pages (kernel.md K19). */
	for (uint64_t at = 0; at < CHUNK; at += 4096)
		assert_int_equal(pwrite(fd, path, 1, 3 * CHUNK + CHUNK / 2 + at),
				 1);
	close(fd);
	assert_int_equal(file_bytes(f), least + CHUNK);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(pool_info(f).free_bytes, 0);
	/* There is no free chunk. The two half-backed chunks do not count as free. */
	s = run(f, daxpin_reclaim, NULL);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, 2 * CHUNK);
	assert_int_equal(file_bytes(f), least);
	s = run(f, daxpin_refill, NULL);
	assert_int_equal(s.done_bytes, ALL);
	assert_int_equal(pool_info(f).free_bytes, ALL);
}

static void a_refill_that_runs_out_of_space_keeps_the_chunks_done(void **state)
{
	in_child(*state, refill_with_space_for_five, "no mount namespace is available");
}

static bool is_in_large_or_small_run(uint64_t segment, uint64_t chunk)
{
	return !segment && (chunk >= 8 || chunk == 4);
}

static int refill_with_space_for_small_run(struct fixture *f)
{
	uint64_t done;
	int line = mount_small(f);

	if (!line)
		line = make_room(f, is_in_large_or_small_run, 9, 3);
	if (!line)
		line = refill_until_full(f, 9 * CHUNK, &done);
	if (line)
		return line;
	CHILD(done == CHUNK);
	return 0;
}

/* In this segment one run of chunks exceeds the free space and one does not. */
static void refill_continues_after_a_run_that_does_not_fit(void **state)
{
	in_child(*state, refill_with_space_for_small_run,
		 "no mount namespace is available");
}

/* -------------------------------------------------------------- bad input */

static void invalid_job_arguments_are_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = all_for(0);
	struct daxpin_job_summary summary = { .size = 0 };
	struct daxpin_job *job;

	assert_int_equal(daxpin_reclaim(NULL, NULL, &job), -EINVAL);
	assert_int_equal(daxpin_reclaim(f->pool, NULL, NULL), -EINVAL);
	options.segment = 2;
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), -ENOENT);
	options.segment = 0;
	options.flags = 0x80;
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), -EINVAL);
	options.flags = DAXPIN_JOB_ZERO;
	assert_int_equal(daxpin_refill(f->pool, &options, &job), -EINVAL);
	assert_int_equal(daxpin_job_wait(NULL, 0), -EINVAL);
	assert_int_equal(daxpin_job_cancel(NULL), -EINVAL);
	assert_int_equal(daxpin_job_end(NULL), 0);
	assert_int_equal(daxpin_reclaim(f->pool, NULL, &job), 0);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), -EINVAL);
	assert_int_equal(daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
	assert_int_equal(daxpin_job_end(job), 0);
	/* A job with nothing to do ends immediately. */
	run(f, daxpin_reclaim, NULL);
	assert_int_equal(daxpin_reclaim(f->pool, NULL, &job), 0);
	assert_int_equal(summary_of(job).segments, 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

static int setup(void **state)
{
	return fixture_setup(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_free_space_is_reclaimed_and_refilled),
		TEST(reclaim_does_not_touch_chunks_in_use),
		TEST(chunks_that_begin_free_are_no_candidates),
		TEST(reclaim_empties_the_threads_cache),
		TEST(options_bytes_keep_bytes_and_segment_limit_a_job),
		TEST(scattered_chunks_are_reclaimed_and_refilled),
		TEST(open_finds_the_holes_of_a_reclaim),
		TEST(a_held_segment_is_not_reclaimed_and_its_holder_is_reported),
		TEST(refilled_chunks_are_in_no_cache),
		TEST(a_job_waits_for_the_drop),
		TEST(a_waiting_job_can_be_cancelled),
		TEST(a_hold_at_a_closed_gate_does_not_wait_for_a_cache),
		TEST(a_job_that_waits_for_a_cache_has_no_mutex_locked),
		TEST(a_hold_at_a_closed_gate_never_sleeps),
		TEST(a_job_ends_after_a_hold_has_opened_its_gate),
		TEST(a_job_whose_gate_a_hold_has_opened_can_be_cancelled),
		TEST(a_registration_of_all_segments_prevents_reclaim),
		TEST(a_registration_during_a_punch_is_eagain_until_its_end),
		TEST(reclaim_requests_a_pinned_segment_with_an_event),
		TEST(a_pin_that_is_not_given_back_ends_the_job_busy),
		TEST(a_thread_that_only_polls_the_event_fd_completes_a_job),
		TEST(a_refused_reserve_gets_a_retry_event),
		TEST(jobs_work_without_io_uring),
		TEST(jobs_work_without_a_kernel_thread_for_the_ring),
		TEST(half_backed_chunks_are_reclaimed),
		TEST(a_refill_that_runs_out_of_space_keeps_the_chunks_done),
		TEST(refill_continues_after_a_run_that_does_not_fit),
		TEST(invalid_job_arguments_are_refused),
	};

	if (skip_all_without_io_uring())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
