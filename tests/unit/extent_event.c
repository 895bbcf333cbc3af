/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting, waking and events, and what a forked child may not do. */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include "child.h"
#include "fixture.h"
#include "needs.h"
#include "support/invariant.h"
#include "os/os.h"

#define LONG_MS 600000		/* never reached unless a wake-up is lost */

static struct daxpin_extent held(struct fixture *f)
{
	struct daxpin_extent extent = live(f, 4096);

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	return extent;
}

/* ---------------------------------------------------------------- waiting */

struct waiter {
	pthread_t thread;
	struct fixture *f;
	struct daxpin_extent extent;
	int ret;
	_Atomic bool ended;
};

static void *wait_thread(void *arg)
{
	uint64_t deadline_ns = daxpin_deadline_ms(LONG_MS);
	struct waiter *w = arg;

	w->ret = daxpin_wait_idle(w->f->pool, w->extent, deadline_ns);
	/* It was not woken: the deadline passed. */
	if (daxpin_deadline_ms(0) >= deadline_ns)
		w->ret = -ETIMEDOUT;
	atomic_store(&w->ended, true);
	return NULL;
}

static void begin_wait(struct waiter *w, struct fixture *f,
		       struct daxpin_extent extent)
{
	w->f = f;
	w->extent = extent;
	atomic_init(&w->ended, false);
	assert_int_equal(pthread_create(&w->thread, NULL, wait_thread, w), 0);
}

static const void *word_of(struct fixture *f, struct daxpin_extent extent)
{
	return &dp_state_at(&f->pool->states, extent.addr >> 12)->word;
}

/* Returns how many threads sleep: the number that a requeue to the same word finds. */
static long sleeping(const void *word)
{
	return syscall(SYS_futex, word, FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG, 0,
		       (void *)(intptr_t)INT32_MAX, word, 0);
}

/* Waits until all of them sleep. None may end before. */
static void until_sleeping(struct waiter *w, int count)
{
	while (sleeping(word_of(w->f, w->extent)) != count) {
		for (int i = 0; i < count; i++)
			assert_false(atomic_load(&w[i].ended));
		usleep(100);
	}
}

static void end_wait(struct waiter *w)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	assert_int_equal(w->ret, 0);
}

static void a_drop_wakes_every_waiter(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct waiter waiter[4];

	for (int i = 0; i < 4; i++)
		begin_wait(&waiter[i], f, extent);
	until_sleeping(waiter, 4);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	for (int i = 0; i < 4; i++)
		end_wait(&waiter[i]);
	dp_invariants(f->pool);
}

/* I44: a woken thread reads the word again. */
static void a_wait_continues_after_a_spurious_wake(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct waiter waiter;

	begin_wait(&waiter, f, extent);
	for (int i = 0; i < 50; i++) {
		until_sleeping(&waiter, 1);
		dp_os_futex_wake(word_of(f, extent));
	}
	until_sleeping(&waiter, 1);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	end_wait(&waiter);
}

static void the_end_of_a_generation_wakes_its_waiters(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct waiter waiter;

	begin_wait(&waiter, f, extent);
	until_sleeping(&waiter, 1);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	end_wait(&waiter);
	assert_int_equal(daxpin_wait_idle(f->pool, extent, 0), 0);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);

	assert_int_equal(daxpin_wait_idle(f->pool, extent,
					  daxpin_deadline_ms(30)), -ETIMEDOUT);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_wait_idle(f->pool, extent,
					  DAXPIN_NO_DEADLINE), 0);
}

static void waits_and_drops_race_without_a_lost_wakeup(void **state)
{
	struct fixture *f = *state;
	struct waiter waiter;

	for (int i = 0; i < 3000; i++) {
		struct daxpin_extent extent = held(f);

		begin_wait(&waiter, f, extent);
		if (i % 3 == 0)
			sched_yield();
		assert_int_equal(daxpin_drop(f->pool, extent), 0);
		end_wait(&waiter);
		assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	}
	dp_invariants(f->pool);
}

/* ----------------------------------------------------------------- events */

static bool readable(struct fixture *f)
{
	struct pollfd fd = { daxpin_event_fd(f->pool), POLLIN, 0 };

	return poll(&fd, 1, 0) == 1;
}

static void a_watch_gives_one_event(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct daxpin_watch watch = { .state = 0 };
	struct daxpin_event event;

	assert_int_equal(daxpin_watch(f->pool, extent, f, &watch), 0);
	assert_int_equal(daxpin_watch(f->pool, extent, f, &watch), -EINVAL);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
	assert_int_equal(daxpin_event_arm(f->pool), 0);
	assert_false(readable(f));
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_true(readable(f));
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_ptr_equal(event.watch, &watch);
	assert_ptr_equal(event.watch->arg, f);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
}

static void the_fd_is_written_only_when_armed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct daxpin_watch watch = { .state = 0 };
	struct daxpin_event event;

	assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_false(readable(f));
	assert_int_equal(daxpin_event_arm(f->pool), 1);	/* look, don't sleep */
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(daxpin_event_arm(f->pool), 0);
}

static void a_watch_on_an_idle_extent_queues_its_event_immediately(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_watch watch = { .state = 0 };
	struct daxpin_event event;

	assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
}

static void unwatch_removes_a_watch_or_its_event(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct daxpin_watch watch[3] = { { .state = 0 } };
	struct daxpin_event event;

	for (int i = 0; i < 3; i++)
		assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch[i]), 0);
	assert_int_equal(daxpin_unwatch(f->pool, &watch[1]), 1);
	assert_int_equal(daxpin_unwatch(f->pool, &watch[1]), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_unwatch(f->pool, &watch[2]), 1);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_ptr_equal(event.watch, &watch[0]);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
}

/* A watch that is in use is refused before any of its fields change. */
static void a_watch_in_use_is_refused_unchanged(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f), other = held(f);
	struct daxpin_watch watch = { .state = 0 };
	struct daxpin_event event;

	assert_int_equal(daxpin_watch(f->pool, extent, f, &watch), 0);
	assert_int_equal(daxpin_watch(f->pool, other, NULL, &watch), -EINVAL);
	assert_int_equal(daxpin_drop(f->pool, other), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_watch(f->pool, other, NULL, &watch), -EINVAL);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(event.watch->extent.addr, extent.addr);
	assert_ptr_equal(event.watch->arg, f);
}

struct watcher {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct daxpin_pool *pool;
	struct daxpin_extent extent;
	struct daxpin_watch *watch;
	int ret;
};

static void *watch_thread(void *arg)
{
	struct watcher *w = arg;

	pthread_barrier_wait(w->barrier);
	w->ret = daxpin_watch(w->pool, w->extent, w, w->watch);
	return NULL;
}

static void two_threads_cannot_use_one_watch(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent[] = { held(f), held(f) };
	struct daxpin_watch watch = { .state = 0 };
	struct watcher watcher[2];
	struct daxpin_event event;
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 200; i++) {
		for (int j = 0; j < 2; j++) {
			watcher[j] = (struct watcher) {
				.barrier = &barrier, .pool = f->pool,
				.extent = extent[j], .watch = &watch,
			};
			assert_int_equal(pthread_create(&watcher[j].thread,
							NULL, watch_thread,
							&watcher[j]), 0);
		}
		for (int j = 0; j < 2; j++)
			assert_int_equal(pthread_join(watcher[j].thread, NULL),
					 0);
		assert_int_equal(watcher[0].ret + watcher[1].ret, -EINVAL);
		assert_ptr_equal(watch.arg, &watcher[watcher[0].ret != 0]);
		assert_int_equal(daxpin_unwatch(f->pool, &watch), 1);
	}
	pthread_barrier_destroy(&barrier);
	for (int j = 0; j < 2; j++)
		assert_int_equal(daxpin_drop(f->pool, extent[j]), 0);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
}

/* ------------------------------------------------------------------- fork */

struct call {
	struct fixture *f;
	struct daxpin_extent extent;
};

static int every_call(void *arg)
{
	const struct call *call = arg;
	struct daxpin_extent extent = call->extent;
	struct fixture *f = call->f;
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP, .extent = extent };
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "child",
	};
	struct daxpin_registration *registration;
	struct daxpin_watch watch = { .state = 0 };
	struct daxpin_hold hold = { .access = 0 };
	struct daxpin_segment segment;
	struct daxpin_event event;
	enum daxpin_state state;
	uint64_t size;
	const int ret[] = {
		daxpin_pool_drain(f->pool, 0),
		daxpin_pool_info(f->pool, &info),
		daxpin_reserve(f->pool, 4096, 0, &extent),
		daxpin_cancel(f->pool, extent),
		daxpin_publish(f->pool, &op, 1, NULL, NULL),
		daxpin_extent_at(f->pool, extent.addr, &extent),
		daxpin_size(f->pool, extent, &size),
		daxpin_state(f->pool, extent, &state),
		daxpin_persist(f->pool, extent, 0, 1),
		daxpin_foreach(f->pool, NULL, NULL),
		daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ),
		daxpin_hold_clone(f->pool, extent, DAXPIN_HOLD_READ),
		daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ, "x", &hold),
		daxpin_hold_many(f->pool, &extent, 1, DAXPIN_HOLD_READ, NULL),
		daxpin_drop(f->pool, extent),
		daxpin_drop_many(f->pool, &extent, 1, NULL),
		daxpin_drop_labelled(f->pool, &hold),
		daxpin_holds(f->pool, extent, NULL, NULL),
		daxpin_idle(f->pool, extent),
		daxpin_wait_idle(f->pool, extent, 0),
		daxpin_watch(f->pool, extent, NULL, &watch),
		daxpin_unwatch(f->pool, &watch),
		daxpin_event_fd(f->pool),
		daxpin_event_arm(f->pool),
		daxpin_next_event(f->pool, &event),
		daxpin_segment(f->pool, 0, &segment),
		daxpin_lock_fd(f->pool),
		daxpin_anchor_fd(f->pool),
		daxpin_register(f->pool, 0, &options, &registration),
	};

	for (size_t i = 0; i < sizeof(ret) / sizeof(ret[0]); i++)
		if (ret[i] != -EOWNERDEAD)
			return i + 1;
	return daxpin_ptr(f->pool, extent, 0) ? 100 : 0;
}

static void calls_in_a_forked_child_are_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = held(f);
	struct call call = { f, extent };

	need_wipe_on_fork();
	assert_int_equal(run_child(every_call, &call), 0);
	assert_int_equal(daxpin_holds(f->pool, extent, NULL, NULL), 1);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	dp_invariants(f->pool);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_drop_wakes_every_waiter),
		TEST(a_wait_continues_after_a_spurious_wake),
		TEST(the_end_of_a_generation_wakes_its_waiters),
		TEST(a_wait_ends_at_its_deadline),
		TEST(waits_and_drops_race_without_a_lost_wakeup),
		TEST(a_watch_gives_one_event),
		TEST(the_fd_is_written_only_when_armed),
		TEST(a_watch_on_an_idle_extent_queues_its_event_immediately),
		TEST(unwatch_removes_a_watch_or_its_event),
		TEST(a_watch_in_use_is_refused_unchanged),
		TEST(two_threads_cannot_use_one_watch),
		TEST(calls_in_a_forked_child_are_refused),
	};

	return cmocka_run_group_tests_name("extent_event", tests, NULL, NULL);
}
