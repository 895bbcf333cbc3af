/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call that is refused for a reason that will pass is followed by DAXPIN_EVENT_RETRY,
 * whatever the call and the reason. A call that is refused for a reason that will not
 * pass does not return -EAGAIN.
 */
#include "child.h"
#include "core/handle.h"
#include "fixture.h"
#include "forbid.h"
#include "invariant.h"
#include "needs.h"
#include "os/os.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define CHUNK		DAXPIN_CHUNK_SIZE
#define ALL		(30ull * CHUNK)	/* in two segments */
#define LONG_MS		600000
#define ROUNDS		2000

static bool take_retry(struct fixture *f)
{
	struct daxpin_event event;
	bool any = false;

	while (daxpin_next_event(f->pool, &event) == 1)
		any |= event.type == DAXPIN_EVENT_RETRY;
	return any;
}

static uint64_t hole_bytes(struct fixture *f)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	return info.hole_bytes;
}

static struct daxpin_job *begin(struct fixture *f,
				int (*start)(struct daxpin_pool *,
					     const struct daxpin_job_options *,
					     struct daxpin_job **))
{
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = daxpin_deadline_ms(LONG_MS),
	};
	struct daxpin_job *job;

	assert_int_equal(start(f->pool, &options, &job), 0);
	return job;
}

static void finish(struct daxpin_job *job)
{
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

/* ---------------------------------------------------------------- the space */

static void a_reserve_with_only_holes_left_is_enospc(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	need_io_uring();
	finish(begin(f, daxpin_reclaim));
	assert_int_equal(hole_bytes(f), ALL);
	take_retry(f);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent), -ENOSPC);
	assert_false(take_retry(f));
	finish(begin(f, daxpin_refill));
	assert_true(take_retry(f));
	extent = reserve(f, 1);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

/*
 * A refill is under way and adds no space. Its end still ends the refusal, so RETRY is
 * sent.
 */
static void retry_is_sent_after_a_refill_that_adds_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent live, extent;
	struct daxpin_job *job;

	need_io_uring();
	live = reserve(f, CHUNK);
	finish(begin(f, daxpin_reclaim));
	assert_int_equal(daxpin_hold(f->pool, live, DAXPIN_HOLD_READ), 0);
	extent = live;
	/* The other segment is refilled. In this one the job waits for the hold. */
	job = begin(f, daxpin_refill);
	while (daxpin_job_wait(job, daxpin_deadline_ms(1)) &&
	       hole_bytes(f) > 14 * CHUNK)
		;
	while (!daxpin_reserve(f->pool, CHUNK, 0, &extent))
		;
	take_retry(f);
	assert_int_equal(daxpin_reserve(f->pool, CHUNK, 0, &extent), -EAGAIN);
	assert_int_equal(daxpin_job_cancel(job), 0);
	finish(job);
	assert_true(take_retry(f));
	assert_int_equal(daxpin_reserve(f->pool, CHUNK, 0, &extent), -ENOSPC);
	assert_int_equal(daxpin_drop(f->pool, live), 0);
	assert_false(take_retry(f));
	assert_int_equal(daxpin_cancel(f->pool, live), 0);
	assert_true(take_retry(f));
}

/*
 * Blocks become free by a retire, by the last drop of a retired extent, and by a
 * cancel.
 */
static void retry_is_sent_at_the_first_free_after_a_refusal(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent[30], held;
	uint32_t i;

	for (i = 0; i < 30; i++)
		extent[i] = reserve(f, CHUNK);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent[0]), 0);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent[1]), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(daxpin_reserve(f->pool, 1, 0, &held), -ENOSPC);
		assert_false(take_retry(f));
		if (i == 0) {
			assert_int_equal(publish(f, DAXPIN_OP_RETIRE,
						 extent[0]), 0);
		} else if (i == 1) {
			assert_int_equal(daxpin_hold(f->pool, extent[1],
						     DAXPIN_HOLD_READ), 0);
			assert_int_equal(publish(f, DAXPIN_OP_RETIRE,
						 extent[1]), 0);
			assert_false(take_retry(f));
			assert_int_equal(daxpin_drop(f->pool, extent[1]), 0);
		} else {
			assert_int_equal(daxpin_cancel(f->pool, extent[2]), 0);
		}
		assert_true(take_retry(f));
		reserve(f, CHUNK);
	}
	/* A free that follows no refusal sends no event. */
	assert_int_equal(daxpin_cancel(f->pool, extent[3]), 0);
	assert_false(take_retry(f));
}

/* --------------------------------- free runs in the caches of other threads */

static atomic_uint fences;

bool __real_dp_os_membarrier(void);
bool __wrap_dp_os_membarrier(void);

bool __wrap_dp_os_membarrier(void)
{
	fences++;
	return __real_dp_os_membarrier();
}

/*
 * What the thread that caches small runs does after a reserve of another thread failed.
 */
enum next { ENDS, FREES, RESERVES };

struct holder {
	struct daxpin_pool *pool;
	enum next next;
	struct daxpin_extent extent;
	pthread_t thread;
	pthread_barrier_t turn;
};

static void must(int ret)
{
	if (ret)
		abort();
}

static void *keep_small(void *arg)
{
	struct holder *holder = arg;
	struct daxpin_extent freed;

	must(daxpin_reserve(holder->pool, 4096, 0, &holder->extent));
	must(daxpin_reserve(holder->pool, 4096, 0, &freed));
	must(daxpin_cancel(holder->pool, freed));
	pthread_barrier_wait(&holder->turn);
	pthread_barrier_wait(&holder->turn);
	if (holder->next == FREES)
		must(daxpin_cancel(holder->pool, holder->extent));
	if (holder->next == RESERVES)
		must(daxpin_reserve(holder->pool, 4096, 0, &freed));
	if (holder->next != ENDS) {
		pthread_barrier_wait(&holder->turn);
		pthread_barrier_wait(&holder->turn);
	}
	return NULL;
}

static void start_holder(struct holder *holder, struct daxpin_pool *pool,
			 enum next next)
{
	*holder = (struct holder) { .pool = pool, .next = next };
	must(pthread_barrier_init(&holder->turn, NULL, 2));
	must(pthread_create(&holder->thread, NULL, keep_small, holder));
	pthread_barrier_wait(&holder->turn);
}

/* Lets the holder's thread make its next step, and waits for it. */
static void resume_holder(struct holder *holder)
{
	pthread_barrier_wait(&holder->turn);
	if (holder->next != ENDS)
		pthread_barrier_wait(&holder->turn);
	else
		must(pthread_join(holder->thread, NULL));
}

static void end_holder(struct holder *holder)
{
	if (holder->next == ENDS)
		return;
	pthread_barrier_wait(&holder->turn);
	must(pthread_join(holder->thread, NULL));
}

/* A reserve that finds no space empties the cache of each thread once. */
static void a_refused_reserve_empties_other_caches_once(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent more;
	struct holder holder;
	unsigned int count;

	for (int i = 0; i < 29; i++)
		reserve(f, CHUNK);
	start_holder(&holder, f->pool, ENDS);
	fences = 0;
	assert_int_equal(daxpin_reserve(f->pool, CHUNK, 0, &more), -ENOSPC);
	count = fences;
	resume_holder(&holder);
#ifdef __SANITIZE_THREAD__	/* each thread makes its own */
	assert_int_equal(count, 0);
#else
	assert_int_equal(count, 1);
#endif
}

/*
 * A process whose seccomp filter forbids membarrier(2) while its pool is open. Returns
 * 0, or the number of the step that failed. The last chunk has two blocks in use or
 * cached by the other thread; the main thread wants 500 of the 510 others.
 */
static int forbid_the_fence(struct fixture *f, enum next next)
{
	struct daxpin_extent extent;
	struct holder holder;
	int ret = 0;

	must(daxpin_pool_open(f->path, &f->options, &f->pool));
	for (int i = 0; i < 29; i++)
		must(daxpin_reserve(f->pool, CHUNK, 0, &extent));
	start_holder(&holder, f->pool, next);
	must(forbid(SYS_membarrier, EPERM));
#ifndef __SANITIZE_THREAD__
	/*
	 * The reserve cannot know whether the other thread is in its cache, so it
	 * leaves it alone.
	 */
	if (daxpin_reserve(f->pool, 500 * 4096, 0, &extent) != -ENOSPC)
		ret = 1;
	else if (take_retry(f))
		ret = 2;
	resume_holder(&holder);
	if (!ret && !take_retry(f))
		ret = 3;
#else
	resume_holder(&holder);
#endif
	if (!ret && daxpin_reserve(f->pool, 500 * 4096, 0, &extent))
		ret = 4;
	end_holder(&holder);
	return ret;
}

static int forbid_and_free(struct fixture *f)
{
	return forbid_the_fence(f, FREES);
}

static int forbid_and_reserve(struct fixture *f)
{
	return forbid_the_fence(f, RESERVES);
}

static int forbid_and_end(struct fixture *f)
{
	return forbid_the_fence(f, ENDS);
}

static void what_a_thread_keeps_comes_back(struct fixture *f,
					   int (*fn)(struct fixture *f))
{
	struct child child;

	need_seccomp();
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	child = start_child(f, fn, NULL);
	release_child(&child);
	end_child(&child);
	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(child.result, 0);
}

static void without_membarrier_retry_follows_the_other_threads_next_free(void **state)
{
	what_a_thread_keeps_comes_back(*state, forbid_and_free);
}

static void without_membarrier_retry_follows_the_other_threads_next_reserve(
	void **state)
{
	what_a_thread_keeps_comes_back(*state, forbid_and_reserve);
}

static void without_membarrier_retry_is_sent_at_the_other_threads_end(void **state)
{
	what_a_thread_keeps_comes_back(*state, forbid_and_end);
}

/* ----------------------------------------------------------------- the gate */

/* A close that is refused closes the gates for a moment. A drain keeps them closed. */
struct gate {
	struct fixture *f;
	struct daxpin_extent extent;
	atomic_bool closed, refused;
};

static void *refuse(void *arg)
{
	struct gate *gate = arg;
	struct daxpin_op op = {
		.type = DAXPIN_OP_SET, .extent = gate->extent, .value = 1,
	};
	int ret;

	do {
		ret = daxpin_publish(gate->f->pool, &op, 1, NULL, NULL);
	} while (!ret);
	assert_int_equal(ret, -EAGAIN);
	atomic_store(&gate->refused, true);
	return NULL;
}

/* The SET is refused during a drain that then fails because another extent is held. */
static void retry_is_sent_after_a_refused_set(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent held = reserve(f, 4096);
	struct gate gate = { .f = f, .extent = live(f, 4096) };
	pthread_t thread;

	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_READ), 0);
	assert_int_equal(pthread_create(&thread, NULL, refuse, &gate), 0);
	while (!atomic_load(&gate.refused))
		assert_int_equal(daxpin_pool_drain(f->pool,
						   daxpin_deadline_ms(1)),
				 -ETIMEDOUT);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(take_retry(f));
	assert_int_equal(daxpin_drop(f->pool, held), 0);
	assert_int_equal(daxpin_cancel(f->pool, held), 0);
}

static int hold_one(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ);
}

static int drop_one(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_drop(f->pool, extent);
}

static struct daxpin_hold labelled;

static int hold_with_label(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_WRITE, "x", &labelled);
}

static int drop_with_label(struct fixture *f, struct daxpin_extent extent)
{
	(void)extent;
	return daxpin_drop_labelled(f->pool, &labelled);
}

static int hold_twice(struct fixture *f, struct daxpin_extent extent)
{
	const struct daxpin_extent both[] = { extent, extent };

	return daxpin_hold_many(f->pool, both, 2, DAXPIN_HOLD_READ, NULL);
}

static int drop_twice(struct fixture *f, struct daxpin_extent extent)
{
	const struct daxpin_extent both[] = { extent, extent };

	return daxpin_drop_many(f->pool, both, 2, NULL);
}

static int hold_by_address(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_hold_at(f->pool, extent.addr, DAXPIN_HOLD_READ, &extent);
}

static int set_word(struct fixture *f, struct daxpin_extent extent)
{
	const struct daxpin_op op = {
		.type = DAXPIN_OP_SET, .extent = extent, .value = 1,
	};

	return daxpin_publish(f->pool, &op, 1, NULL, NULL);
}

static const struct {
	const char *name;
	int (*call)(struct fixture *f, struct daxpin_extent extent);
	int (*undo)(struct fixture *f, struct daxpin_extent extent);
} at_gate[] = {
	{ "hold", hold_one, drop_one },
	{ "hold_labelled", hold_with_label, drop_with_label },
	{ "hold_many", hold_twice, drop_twice },
	{ "hold_at", hold_by_address, drop_one },
	{ "SET", set_word, NULL },
};

/* The test itself closes the gate and opens it, as a drain does. */
static void retry_is_sent_after_each_call_that_a_gate_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	uint32_t segment = extent.addr / DAXPIN_SEGMENT_MIN;

	for (size_t i = 0; i < sizeof(at_gate) / sizeof(at_gate[0]); i++) {
		print_message("# %s\n", at_gate[i].name);
		dp_gate_close(&f->pool->states.gates, segment);
		assert_int_equal(at_gate[i].call(f, extent), -EAGAIN);
		assert_false(take_retry(f));
		dp_gate_open(&f->pool->states.gates, segment);
		dp_events_notify_refused(&f->pool->events);
		assert_true(take_retry(f));
		assert_int_equal(at_gate[i].call(f, extent), 0);
		if (at_gate[i].undo)
			assert_int_equal(at_gate[i].undo(f, extent), 0);
		/* No event follows a call that succeeded. */
		dp_events_notify_refused(&f->pool->events);
		assert_false(take_retry(f));
		assert_int_equal(daxpin_idle(f->pool, extent), 1);
	}
}

/* ------------------------------------------------------------------ the pin */

static void retry_is_sent_after_a_refused_pin(void **state)
{
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "pin",
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
	};
	struct fixture *f = *state;
	struct daxpin_extent held = reserve(f, 4096);
	struct daxpin_registration *r;
	struct daxpin_job *job;
	uint32_t segment = held.addr / DAXPIN_SEGMENT_MIN;

	need_io_uring();
	assert_int_equal(daxpin_register(f->pool, DAXPIN_ALL_SEGMENTS, &options,
					 &r), 0);
	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_READ), 0);
	job = begin(f, daxpin_reclaim);
	assert_int_equal(daxpin_registration_pin(r, segment), -EAGAIN);
	take_retry(f);
	assert_int_equal(daxpin_registration_pin(r, segment), -EAGAIN);
	assert_int_equal(daxpin_job_cancel(job), 0);
	finish(job);
	assert_true(take_retry(f));
	assert_int_equal(daxpin_registration_pin(r, segment), 0);
	assert_int_equal(daxpin_registration_revoked(r, segment), 0);
	assert_int_equal(daxpin_drop(f->pool, held), 0);
	assert_int_equal(daxpin_cancel(f->pool, held), 0);
	finish(begin(f, daxpin_reclaim));
	assert_int_equal(daxpin_registration_pin(r, segment), -ENOSPC);
	take_retry(f);
	assert_int_equal(daxpin_registration_pin(r, segment), -ENOSPC);
	finish(begin(f, daxpin_refill));
	assert_true(take_retry(f));
	assert_int_equal(daxpin_registration_pin(r, segment), 0);
	assert_int_equal(daxpin_unregister(r), 0);
}

/* --------------------------------------------------------- at the same time */

struct race {
	struct fixture *f;
	struct daxpin_extent extent;
	atomic_uint round;
};

/* Frees the only free extent once a round, at a varying time. */
static void *free_it(void *arg)
{
	struct race *race = arg;

	for (unsigned int round = 1; round <= ROUNDS; round++) {
		while (atomic_load(&race->round) < round)
			;
		for (volatile unsigned int i = round % 97 * 10; i; i--)
			;
		if (daxpin_cancel(race->f->pool, race->extent))
			abort();
	}
	return NULL;
}

/* Arms, polls and sleeps as an event loop does. A lost RETRY makes this time out. */
static void wait_for_retry(struct fixture *f)
{
	struct pollfd fd = {
		.fd = daxpin_event_fd(f->pool), .events = POLLIN,
	};
	uint64_t count;

	while (!take_retry(f)) {
		if (daxpin_event_arm(f->pool))
			continue;
		assert_int_equal(poll(&fd, 1, LONG_MS), 1);
		assert_int_equal(read(fd.fd, &count, sizeof(count)), 8);
	}
}

static void no_retry_is_lost_when_a_free_races_a_refusal(void **state)
{
	struct fixture *f = *state;
	struct race race = { .f = f };
	struct daxpin_extent next, rest[29];
	uint32_t refused = 0;
	pthread_t thread;

	for (int i = 0; i < 29; i++)
		rest[i] = reserve(f, CHUNK);
	race.extent = reserve(f, CHUNK);
	assert_int_equal(pthread_create(&thread, NULL, free_it, &race), 0);
	for (unsigned int round = 1; round <= ROUNDS; round++) {
		atomic_store(&race.round, round);
		while (daxpin_reserve(f->pool, CHUNK, 0, &next)) {
			refused++;
			wait_for_retry(f);
		}
		race.extent = next;
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	print_message("# %u refusals in %u rounds\n", refused, ROUNDS);
	for (int i = 0; i < 29; i++)
		assert_int_equal(daxpin_cancel(f->pool, rest[i]), 0);
	assert_int_equal(daxpin_cancel(f->pool, race.extent), 0);
	dp_invariants(f->pool);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_reserve_with_only_holes_left_is_enospc),
		TEST(retry_is_sent_after_a_refill_that_adds_nothing),
		TEST(retry_is_sent_at_the_first_free_after_a_refusal),
		TEST(a_refused_reserve_empties_other_caches_once),
		TEST(without_membarrier_retry_follows_the_other_threads_next_free),
		TEST(without_membarrier_retry_follows_the_other_threads_next_reserve),
		TEST(without_membarrier_retry_is_sent_at_the_other_threads_end),
		TEST(retry_is_sent_after_a_refused_set),
		TEST(retry_is_sent_after_each_call_that_a_gate_refused),
		TEST(retry_is_sent_after_a_refused_pin),
		TEST(no_retry_is_lost_when_a_free_races_a_refusal),
	};

	return cmocka_run_group_tests_name("api_retry", tests, NULL, NULL);
}
