/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Space is given back and allocated again by io_uring, while others publish; and the
 * layout barrier. Holes are words of the medium: a punch may be durable at any time
 * after it, a refill is durable after a sync. In no state after a cut may a live extent
 * or a free block be in a hole (oracle.c).
 *
 * The seed decides the order in which the kernel executes and completes requests.
 * Extents that are reserved meanwhile must have blocks, and keep them (world.c).
 */
#include <errno.h>
#include "core/handle.h"
#include "kinds.h"
#include "machine/handle.h"
#include "machine/machine.h"
#include "os/os.h"
#include "random.h"

#define MS		1000000ull
#define CHUNKS(n)	((n) * DP_CHUNK_SIZE)
#define STUCK_NS	(600000 * MS)

/* ------------------------------------------------------------------- jobs */

static const struct machine_ring_plan calm = { .present = true, .late = 40 };

/* Open the pool on a machine with io_uring of that kind. */
static bool begin(struct world *world, struct machine_ring_plan plan)
{
	machine.ring.present = true;
	recover(world);
	plan.seed = random_next(&world->random);
	machine.ring = plan;
	if (!world->level)
		world_ready(world);
	return !world_is_wrong(world);
}

static struct daxpin_job *begin_job(struct world *world, bool refill,
				    uint32_t segment, uint64_t bytes,
				    uint64_t policy_ns)
{
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = segment, .bytes = bytes,
		.flags = machine.ring.present ? 0 : DAXPIN_JOB_BLOCKING,
		.keep_bytes = CHUNKS(4),
		.deadline_ns = machine.now_ns + policy_ns,
	};
	struct daxpin_job *job = NULL;
	int ret = refill ? daxpin_refill(world->pool, &options, &job) :
		  daxpin_reclaim(world->pool, &options, &job);

	if (ret)
		world_wrong(world, "%s: %d", refill ? "refill" : "reclaim", ret);
	return job;
}

/*
 * No block of a hole may be free. Unless a request failed half way, the library must
 * count as many holes as the files have.
 */
static void check_chunks(struct world *world)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t holes = 0;

	for (uint32_t i = 0; i < MEDIA_SEGMENTS; i++)
		for (uint32_t c = 1; c < media_segment_size / DP_CHUNK_SIZE;
		     c++) {
			if (!machine_inode(i)->hole[c])
				continue;
			holes++;
			if (dp_bits_is_free(dp_spaces_bits(&world->pool->spaces, i),
					    c * DP_CHUNK_BLOCKS))
				world_wrong(world, "segment %u, chunk %u is free although it is a hole",
					    i, c);
		}
	daxpin_pool_info(world->pool, &info);
	if (!machine.ring.failed && !machine.ring.full &&
	    info.hole_bytes != CHUNKS(holes))
		world_wrong(world, "the library counts %llu bytes of holes, the file has %llu chunks",
			    (unsigned long long)info.hole_bytes,
			    (unsigned long long)holes);
}

static int end_job(struct world *world, struct daxpin_job *job)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };

	if (!job)
		return -EINVAL;
	if (daxpin_job_wait(job, machine.now_ns + STUCK_NS))
		world_wrong(world, "a job does not end");
	daxpin_job_report(job, NULL, NULL, &summary);
	if (daxpin_job_end(job))
		world_wrong(world, "a job has ended but daxpin_job_end fails");
	return summary.result;
}

/* All jobs have ended. */
static void check_result(struct world *world, int result, int may_be)
{
	if (result && result != may_be && !world_is_wrong(world))
		world_wrong(world, "a job's result is %d", result);
}

/* -------------------------------------------- other calls during a job */

/* The gate of a segment that is being punched refuses holds. */
static void try_publish(struct world *world, const struct world_batch *batch)
{
	int ret = world_publish(world, batch);

	if (ret && ret != -EAGAIN)
		world_wrong(world, "publish: %d", ret);
}

static void keep_one(struct world *world, uint32_t blocks)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent extent;

	if (world_reserve(world, blocks, 0, &extent))
		return;
	world_fill(world, &extent);
	batch_keep(&batch, &extent, 0);
	try_publish(world, &batch);
}

static void change_one(struct world *world, bool retire)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[48];
	uint32_t count = world_list(world, list, 48), some;

	if (!count)
		return;
	some = random_below(&world->random, count);
	if (retire)
		batch_retire(&batch, &list[some]);
	else
		batch_set(&batch, &list[some], 64, random_next(&world->random));
	try_publish(world, &batch);
}

static void publish_some(struct world *world, uint32_t count)
{
	for (; count && !world_is_wrong(world); count--) {
		switch (random_below(&world->random, 4)) {
		case 0:
			change_one(world, true);
			break;
		case 1:
			change_one(world, false);
			break;
		case 2:
			keep_one(world, 512);
			break;
		default:
			keep_one(world, 1);
		}
		daxpin_next_event(world->pool, &(struct daxpin_event) {
			.type = 0 });
	}
}

/*
 * Reserves all chunks that are entirely free, publishes the first two and cancels the
 * others. world_reserve() checks each.
 */
static void take_all(struct world *world)
{
	struct world_extent extent[32];
	uint32_t count = 0;

	keep_one(world, DP_CHUNK_BLOCKS);
	keep_one(world, DP_CHUNK_BLOCKS);
	while (count < 32 && !world_is_wrong(world) &&
	       !world_reserve(world, DP_CHUNK_BLOCKS, 0, &extent[count]))
		count++;
	while (count)
		daxpin_cancel(world->pool, extent[--count].extent);
}

/* ------------------------------------------------------------------ reclaim */

/* Every third chunk is in use, so that a request has several runs. */
static void setup_fragments(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent extent[28];

	if (world_create(world, false))
		return;
	for (uint32_t i = 0; i < 28; i++)
		if (world_reserve(world, DP_CHUNK_BLOCKS, 0, &extent[i]))
			world_wrong(world, "no chunk %u", i);
	for (uint32_t i = 0; i < 28; i++) {
		if (i % 3) {
			daxpin_cancel(world->pool, extent[i].extent);
			continue;
		}
		world_fill(world, &extent[i]);
		batch_keep(&batch, &extent[i], 0);
	}
	world_commit(world, &batch);
	world_close(world);
}

static void run_reclaim(struct world *world)
{
	struct daxpin_job *job;

	if (!begin(world, calm))
		return;
	job = begin_job(world, false, 1, CHUNKS(3), 0);
	publish_some(world, 4);
	check_result(world, end_job(world, job), 0);
	check_chunks(world);
	publish_some(world, 2);
}

/* Two jobs in both segments, many runs each. */
static void run_parts(struct world *world)
{
	struct daxpin_job *job[2];

	if (!begin(world, calm))
		return;
	job[0] = begin_job(world, false, DAXPIN_ALL_SEGMENTS, 0, 5000 * MS);
	publish_some(world, 2);
	job[1] = begin_job(world, false, 0, CHUNKS(2), 5000 * MS);
	publish_some(world, 4);
	for (uint32_t i = 0; i < 2; i++)
		check_result(world, end_job(world, job[i]), 0);
	check_chunks(world);
	publish_some(world, 2);
}

/* Requests fail, as in a kernel that is short of memory or whose medium fails. */
static void run_failing(struct world *world)
{
	static const struct machine_ring_plan plan = {
		.present = true, .late = 40, .interrupted = 60, .failed = 80,
		.full = 60, .lost = 60,
	};
	struct daxpin_job *job;

	if (!begin(world, plan))
		return;
	for (uint32_t i = 0; i < 3 && !world_is_wrong(world); i++) {
		job = begin_job(world, i == 2, i & 1, CHUNKS(4), 5000 * MS);
		publish_some(world, 2);
		end_job(world, job);
		check_chunks(world);
	}
	take_all(world);
}

/* ------------------------------------------------------- cancelled and late */

/* A pin in the file keeps the kernel from beginning for a while. */
static void run_cancelled(struct world *world)
{
	struct machine_ring_plan plan = calm;
	struct daxpin_job *job;
	uint64_t pinned_ns;

	plan.lost = 100;
	if (!begin(world, plan))
		return;
	pinned_ns = random_below(&world->random, 3) * MS;
	if (pinned_ns)
		machine_pin(1, machine.now_ns + pinned_ns, NULL, NULL);
	job = begin_job(world, false, 1, CHUNKS(3), 60000 * MS);
	publish_some(world, random_below(&world->random, 3));
	if (job)
		daxpin_job_cancel(job);
	publish_some(world, 2);
	check_result(world, end_job(world, job), -ECANCELED);
	check_chunks(world);
	take_all(world);
}

/* The pin ends more than a second after the deadline. */
static void run_late(struct world *world)
{
	struct machine_ring_plan plan = calm;
	struct daxpin_job *job;

	plan.lost = 100;
	if (!begin(world, plan))
		return;
	machine_pin(1, machine.now_ns + 1001 * MS +
		    random_below(&world->random, 3) * 10 * MS, NULL, NULL);
	job = begin_job(world, false, 1, CHUNKS(3), 10 * MS);
	publish_some(world, 2);
	dp_os_sleep_ns(999 * MS);
	publish_some(world, 2);
	check_result(world, end_job(world, job), -ETIMEDOUT);
	check_chunks(world);
	take_all(world);
}

/* Makes a call only after the eventfd was written, as an application may. */
static void sleep_on_events(struct world *world, struct daxpin_job *job)
{
	const struct machine_handle *fd =
		machine_handle(world->pool->jobs.events->fd);
	uint64_t until_ns = machine.now_ns + STUCK_NS, seen = 0;

	while (!dp_job_is_over(job) && machine.now_ns < until_ns) {
		dp_os_sleep_ns(MS);
		if (fd->count == seen)
			continue;
		seen = fd->count;
		daxpin_next_event(world->pool, &(struct daxpin_event) {
			.type = 0 });
	}
	if (dp_job_is_over(job))
		return;
	world_wrong(world, "a reclaim is stuck although nothing is pinned");
	daxpin_job_cancel(job);
}

/*
 * The kernel does not wake the request when the pin has ended, so the library must
 * submit it again. No deadline ends it.
 */
static void run_asleep(struct world *world)
{
	struct machine_ring_plan plan = calm;
	struct daxpin_job *job;

	plan.forgets = true;
	plan.lost = 100;
	if (!begin(world, plan))
		return;
	machine_pin(1, machine.now_ns + random_below(&world->random, 4) * 400 *
		    MS + MS, NULL, NULL);
	job = begin_job(world, false, 1, CHUNKS(3), 3 * STUCK_NS);
	publish_some(world, 2);
	if (job)
		sleep_on_events(world, job);
	check_result(world, end_job(world, job), 0);
	check_chunks(world);
	take_all(world);
}

/*
 * No worker begins the request for a while, so the library submits it again; the
 * application makes its next call after the deadline. The job must succeed all the
 * same: it was not cancelled.
 */
static void run_busy(struct world *world)
{
	struct daxpin_job *job;

	if (!begin(world, calm))
		return;
	machine.ring.busy_until_ns = machine.now_ns + 400 * MS;
	job = begin_job(world, false, 1, CHUNKS(3), 500 * MS);
	dp_os_sleep_ns(random_below(&world->random, 3) * 100 * MS);
	publish_some(world, 2);
	dp_os_sleep_ns(300 * MS);
	publish_some(world, 1);
	dp_os_sleep_ns(300 * MS);
	check_result(world, end_job(world, job), 0);
	check_chunks(world);
}

/* ------------------------------------------------------------------- refill */

static void setup_holes(struct world *world)
{
	machine.ring.present = true;
	setup_left_pool(world);
	if (!world->pool)
		return;
	end_job(world, begin_job(world, false, DAXPIN_ALL_SEGMENTS, 0, 0));
	for (uint32_t i = 0; i < MEDIA_SEGMENTS; i++)
		machine_sync_inode(i);
	world_close(world);
}

static void run_refill(struct world *world)
{
	struct daxpin_job *job;

	if (!begin(world, calm))
		return;
	job = begin_job(world, true, 1, CHUNKS(5), 5000 * MS);
	publish_some(world, 4);
	take_all(world);
	check_result(world, end_job(world, job), 0);
	check_chunks(world);
	take_all(world);
}

/* The call that begins the job allocates, without io_uring. */
static void run_refill_blocking(struct world *world)
{
	struct daxpin_job *job;

	if (!begin(world, (struct machine_ring_plan) { .present = false }))
		return;
	job = begin_job(world, true, 1, CHUNKS(5), 5000 * MS);
	check_result(world, end_job(world, job), 0);
	check_chunks(world);
	take_all(world);
	publish_some(world, 2);
}

/* The filesystem has room for some of the chunks. */
static void run_refill_full(struct world *world)
{
	struct machine_ring_plan plan = calm;
	struct daxpin_job *job;

	plan.full = 1;			/* it fails half way */
	if (!begin(world, plan))
		return;
	machine.room = 2 + random_below(&world->random, 3);
	job = begin_job(world, true, DAXPIN_ALL_SEGMENTS, CHUNKS(8), 5000 * MS);
	publish_some(world, 3);
	check_result(world, end_job(world, job), -ENOSPC);
	check_chunks(world);
	take_all(world);
	machine.room = UINT64_MAX;
}

/* ------------------------------------------------------------ the barrier */

/* The device of a dead process writes to the address that it was given. */
static void land(void *arg)
{
	const struct world_extent *extent = arg;
	uint64_t size = extent->blocks * DP_BLOCK_SIZE, zero = 0;

	for (uint64_t at = 0; at < size; at = model_next_offset(at, size))
		media_store(media_base() + extent->extent.addr + at, &zero,
			    sizeof(zero));
}

/*
 * Returns a random kernel: it wakes a request that waits for a pin but may interrupt
 * it, or does not wake it; it can truncate by a ring or not; and it may be out of
 * space.
 */
static struct machine_ring_plan any_kernel(struct world *world)
{
	struct machine_ring_plan plan = {
		.present = true, .late = 40, .lost = 100, .full = 60,
		.forgets = random_below(&world->random, 2),
		.old = random_below(&world->random, 2),
	};

	if (!plan.forgets)
		plan.interrupted = 60;
	return plan;
}

static void open_in_time(struct world *world)
{
	uint64_t until_ns = machine.now_ns + STUCK_NS;

	if (world_open_until(world, until_ns) || machine.now_ns >= until_ns)
		world_wrong(world, "an open is stuck although nothing is pinned");
}

static void run_barrier(struct world *world)
{
	const struct machine_ring_plan plan = any_kernel(world);
	uint64_t pinned_ns = random_below(&world->random, 5) * 500 * MS;
	struct world_extent *dead = &world->slot[0];
	uint32_t events;
	int ret;

	if (!begin(world, plan) || world_reserve(world, 2, 0, dead))
		return;
	world_kill(world);
	machine_pin(dead->extent.addr / media_segment_size,
		    machine.now_ns + pinned_ns + MS, land, dead);
	events = media_events();
	ret = world_open_until(world, machine.now_ns + 10 * MS);
	if (ret && media_events() != events && pinned_ns > 1100 * MS)
		world_wrong(world, "an open that was refused stored something");
	if (ret == -EBUSY)
		open_in_time(world);
	if (machine_is_pinned(dead->extent.addr / media_segment_size))
		world_wrong(world, "opened while the dead owner's pages are pinned");
	publish_some(world, 3);
	dp_os_sleep_ns(5000 * MS);
}

/*
 * Nothing is pinned, but no worker of the ring begins for a while. This is not evidence
 * of pins, so the open waits until a worker has begun.
 */
static void run_barrier_busy(struct world *world)
{
	const struct machine_ring_plan plan = any_kernel(world);

	if (!begin(world, plan))
		return;
	world_kill(world);
	machine.ring.busy_until_ns = machine.now_ns + 1000 * MS *
				     (1 + random_below(&world->random, 4));
	machine.ring.begins_after_ns = random_below(&world->random, 5) * 1000 *
				       MS;
	if (world_open_until(world, machine.now_ns + 10 * MS))
		world_wrong(world, "the open reports a pin although no worker has begun");
	publish_some(world, 2);
}

static const struct kind list[] = {
	{ "reclaim", "a few chunks, while others publish", 2, 2, 1, 6, 100,
	  setup_pool, run_reclaim, NULL },
	{ "reclaim-parts", "all segments, two jobs at once", 2, 2, 1, 4, 100,
	  setup_fragments, run_parts, NULL },
	{ "reclaim-failing", "requests interrupted, failed, or done in part", 2, 2,
	  1, 8, 100, setup_fragments, run_failing, NULL },
	{ "reclaim-cancelled", "cancelled before, while and after the kernel begins", 2,
	  2, 1, 8, 100, setup_fragments, run_cancelled, NULL },
	{ "reclaim-late", "pinned past the deadline", 2, 2, 1, 6, 100,
	  setup_fragments, run_late, NULL },
	{ "reclaim-asleep", "a kernel that does not wake a request at unpin",
	  2, 2, 1, 6, 100, setup_fragments, run_asleep, NULL },
	{ "reclaim-busy", "no worker begins for a while", 2, 2, 1, 6, 100,
	  setup_fragments, run_busy, NULL },
	{ "refill", "holes allocated again and published", 2, 2, 1, 4, 100,
	  setup_holes, run_refill, NULL },
	{ "refill-blocking", "holes allocated again without io_uring", 2, 2, 1, 2,
	  100, setup_holes, run_refill_blocking, NULL },
	{ "refill-full", "a filesystem with room for a part", 2, 2, 1, 6, 100,
	  setup_holes, run_refill_full, NULL },
	{ "barrier", "a dead owner's pages pinned at open", 2, 2, 1, 12, 100,
	  setup_pool, run_barrier, NULL },
	{ "barrier-busy", "an open when no worker begins for a while", 2, 2, 1,
	  4, 100, setup_pool, run_barrier_busy, NULL },
};

const struct kind_list kinds_reclaim = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};
