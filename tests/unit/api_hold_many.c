/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hold_many takes all of its holds or none. drop_many makes every drop that is
 * possible, and a count that falls from n to 0 does so in one step with one wake-up.
 * The last tests list the holders and registrations of the whole pool.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include "fixture.h"
#include "support/invariant.h"
#include "../support/fake_clock.h"

#define MS	1000000

#define N		5
#define LONG_MS		600000	/* never reached unless a wake-up is lost */

/* ---------------------------------------------------------- counting wake-ups */

static _Atomic int wakes;

void __real_dp_os_futex_wake(const void *word);
void __wrap_dp_os_futex_wake(const void *word);

void __wrap_dp_os_futex_wake(const void *word)
{
	atomic_fetch_add(&wakes, 1);
	__real_dp_os_futex_wake(word);
}

static bool no_memory;

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return no_memory ? NULL : __real_aligned_alloc(alignment, size);
}

/* GCC makes a malloc() of a first realloc(). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size)
{
	return no_memory ? NULL : __real_realloc(memory, size);
}

struct waiter {
	pthread_t thread;
	struct fixture *f;
	struct daxpin_extent extent;
	int ret;
};

static void *wait_thread(void *arg)
{
	struct waiter *w = arg;

	w->ret = daxpin_wait_idle(w->f->pool, w->extent,
				  daxpin_deadline_ms(LONG_MS));
	return NULL;
}

static bool is_waited_for(struct fixture *f, struct daxpin_extent extent)
{
	return atomic_load(&dp_state_at(&f->pool->states, extent.addr >> 12)->word) & 1;
}

static void begin_wait(struct waiter *w, struct fixture *f,
		       struct daxpin_extent extent)
{
	w->f = f;
	w->extent = extent;
	assert_int_equal(pthread_create(&w->thread, NULL, wait_thread, w), 0);
	while (!is_waited_for(f, extent))
		sched_yield();
}

static void end_wait(struct waiter *w)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	assert_int_equal(w->ret, 0);
}

/* -------------------------------------------------------------- small things */

static int count_of(struct fixture *f, struct daxpin_extent extent)
{
	return daxpin_holds(f->pool, extent, NULL, NULL);
}

static void make(struct fixture *f, struct daxpin_extent *extents, size_t count)
{
	for (size_t i = 0; i < count; i++)
		extents[i] = live(f, 4096);
}

static void repeat(struct daxpin_extent *extents, struct daxpin_extent extent,
		   size_t count)
{
	for (size_t i = 0; i < count; i++)
		extents[i] = extent;
}

static uint32_t segment_of(struct fixture *f, struct daxpin_extent extent)
{
	return extent.addr >> 12 >> dp_states_shift(&f->pool->states);
}

/* -------------------------------------------------------------------- holds */

static void hold_many_and_drop_many_count_each_entry(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[N + 3];
	size_t failed = 77;

	make(f, e, N);
	/* The list names one extent twice in a row, and again later. */
	e[N] = e[N - 1];
	e[N + 1] = e[0];
	e[N + 2] = e[N - 1];
	assert_int_equal(daxpin_hold_many(f->pool, e, N + 3, DAXPIN_HOLD_READ,
					  &failed), 0);
	assert_int_equal(count_of(f, e[0]), 2);
	assert_int_equal(count_of(f, e[1]), 1);
	assert_int_equal(count_of(f, e[N - 1]), 3);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_drop_many(f->pool, e, N + 3, &failed), 0);
	for (int i = 0; i < N; i++)
		assert_int_equal(count_of(f, e[i]), 0);
	assert_int_equal(failed, 77);
	dp_invariants(f->pool);
}

static void hold_many_and_drop_many_accept_an_empty_list(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e = live(f, 4096);
	size_t failed = 77;

	assert_int_equal(daxpin_hold_many(f->pool, NULL, 0, DAXPIN_HOLD_READ,
					  &failed), 0);
	assert_int_equal(daxpin_drop_many(f->pool, NULL, 0, &failed), 0);
	assert_int_equal(failed, 77);
	assert_int_equal(daxpin_hold_many(f->pool, NULL, 1, DAXPIN_HOLD_READ,
					  &failed), -EINVAL);
	assert_int_equal(failed, 1);
	assert_int_equal(daxpin_drop_many(f->pool, NULL, 1, NULL), -EINVAL);
	assert_int_equal(daxpin_hold_many(f->pool, &e, 1, 0, NULL), -EINVAL);
	assert_int_equal(daxpin_hold_many(f->pool, &e, 1, 4, NULL), -EINVAL);
	assert_int_equal(daxpin_hold_many(NULL, &e, 1, 1, NULL), -EINVAL);
	assert_int_equal(daxpin_drop_many(NULL, &e, 1, NULL), -EINVAL);
	assert_int_equal(count_of(f, e), 0);
}

static void a_hold_many_that_fails_holds_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[N], held;
	size_t failed = 77;

	make(f, e, N);
	held = live(f, 4096);
	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, held), 0);
	e[3] = held;
	assert_int_equal(daxpin_hold_many(f->pool, e, N, DAXPIN_HOLD_READ,
					  &failed), -EALREADY);
	assert_int_equal(failed, 3);
	for (int i = 0; i < N; i++)
		assert_int_equal(count_of(f, e[i]), i == 3);
	assert_int_equal(daxpin_drop(f->pool, held), 0);
	assert_int_equal(daxpin_hold_many(f->pool, e, N, DAXPIN_HOLD_READ,
					  &failed), -ESTALE);
	e[0].addr = 1;
	assert_int_equal(daxpin_hold_many(f->pool, e, N, DAXPIN_HOLD_READ,
					  &failed), -EINVAL);
	assert_int_equal(failed, 0);
	dp_invariants(f->pool);
}

/*
 * Holds that hold_many undoes are dropped like any others, so a thread that began to
 * wait meanwhile is woken. The list is long to give that thread time, and its last
 * entry always fails.
 */
#define LONG_LIST	400

struct undoer {
	struct fixture *f;
	struct daxpin_extent e[LONG_LIST];
	_Atomic bool stop;
};

static void *hold_and_undo(void *arg)
{
	struct undoer *u = arg;
	size_t failed;

	while (!atomic_load(&u->stop)) {
		assert_int_equal(daxpin_hold_many(u->f->pool, u->e, LONG_LIST,
						  DAXPIN_HOLD_READ, &failed),
				 -ESTALE);
		assert_int_equal(failed, LONG_LIST - 1);
	}
	return NULL;
}

static void a_hold_many_that_fails_wakes_waiters(void **state)
{
	struct undoer u = { .f = *state };
	pthread_t thread;

	make(u.f, u.e, LONG_LIST);
	assert_int_equal(publish(u.f, DAXPIN_OP_RETIRE, u.e[LONG_LIST - 1]), 0);
	atomic_store(&wakes, 0);
	assert_int_equal(pthread_create(&thread, NULL, hold_and_undo, &u), 0);
	while (atomic_load(&wakes) < 200)
		assert_int_equal(daxpin_wait_idle(u.f->pool, u.e[0],
						  daxpin_deadline_ms(LONG_MS)),
				 0);
	atomic_store(&u.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(count_of(u.f, u.e[0]), 0);
	dp_invariants(u.f->pool);
}

static void a_closed_gate_refuses_a_whole_hold_many(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[N];
	size_t failed;

	make(f, e, N);
	repeat(e + 1, e[1], N - 1);
	assert_int_equal(segment_of(f, e[0]), segment_of(f, e[1]));
	dp_gate_close(dp_state_gates(&f->pool->states), segment_of(f, e[1]));
	assert_int_equal(daxpin_hold_many(f->pool, e + 1, N - 1,
					  DAXPIN_HOLD_WRITE, &failed), -EAGAIN);
	assert_int_equal(failed, 0);
	assert_int_equal(count_of(f, e[1]), 0);
	/* The segment is idle under the closed gate, and stays so (D16). */
	assert_int_equal(dp_gate_busy(dp_state_gates(&f->pool->states),
					 segment_of(f, e[1])), 0);
	dp_gate_open(dp_state_gates(&f->pool->states), segment_of(f, e[1]));
	dp_invariants(f->pool);
}

static void hold_many_of_one_extent_is_refused_at_the_hold_limit(void **state)
{
	struct fixture *f = *state;
	static struct daxpin_extent e[DAXPIN_HOLDS_MAX + 2];
	size_t failed;

	repeat(e, live(f, 4096), DAXPIN_HOLDS_MAX + 2);
	assert_int_equal(daxpin_hold_many(f->pool, e, DAXPIN_HOLDS_MAX + 1,
					  DAXPIN_HOLD_READ, &failed),
			 -EOVERFLOW);
	assert_int_equal(count_of(f, e[0]), 0);
	assert_int_equal(daxpin_hold_many(f->pool, e, DAXPIN_HOLDS_MAX,
					  DAXPIN_HOLD_READ, &failed), 0);
	assert_int_equal(count_of(f, e[0]), DAXPIN_HOLDS_MAX);
	assert_int_equal(daxpin_hold_many(f->pool, e, 1, DAXPIN_HOLD_READ,
					  NULL), -EOVERFLOW);
	assert_int_equal(daxpin_drop_many(f->pool, e, DAXPIN_HOLDS_MAX - 1,
					  NULL), 0);
	assert_int_equal(daxpin_hold_many(f->pool, e, DAXPIN_HOLDS_MAX,
					  DAXPIN_HOLD_READ, &failed),
			 -EOVERFLOW);
	assert_int_equal(failed, 0);
	assert_int_equal(daxpin_hold_many(f->pool, e, DAXPIN_HOLDS_MAX - 1,
					  DAXPIN_HOLD_READ, NULL), 0);
	assert_int_equal(count_of(f, e[0]), DAXPIN_HOLDS_MAX);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_drop_many(f->pool, e, DAXPIN_HOLDS_MAX + 2,
					  &failed), -EINVAL);
	assert_int_equal(failed, DAXPIN_HOLDS_MAX);
	assert_int_equal(count_of(f, e[0]), 0);
	dp_invariants(f->pool);
}

/* -------------------------------------------------------------------- drops */

/*
 * I38: the count falls from n to 0 in one step, with one wake-up and one event, and the
 * blocks become free.
 */
static void drop_many_drops_the_last_holds_in_one_step(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_bytes(f);
	struct daxpin_extent e[N];
	struct daxpin_watch watch = { .state = 0 };
	struct pollfd fd = { daxpin_event_fd(f->pool), POLLIN, 0 };
	struct daxpin_event event;
	struct waiter waiter[2];
	int woken;

	repeat(e, live(f, 8192), N);
	assert_int_equal(daxpin_hold_many(f->pool, e, N, DAXPIN_HOLD_WRITE,
					  NULL), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, e[0]), 0);
	assert_int_equal(daxpin_watch(f->pool, e[0], NULL, &watch), 0);
	assert_int_equal(daxpin_event_arm(f->pool), 0);
	for (int i = 0; i < 2; i++)
		begin_wait(&waiter[i], f, e[0]);
	atomic_store(&wakes, 0);
	assert_int_equal(daxpin_drop_many(f->pool, e, N, NULL), 0);
	woken = atomic_load(&wakes);
	/* Wakes both waiters, so that the test ends even if the drop did not. */
	__real_dp_os_futex_wake(&dp_state_at(&f->pool->states, e[0].addr >> 12)->word);
	for (int i = 0; i < 2; i++)
		end_wait(&waiter[i]);
	assert_int_equal(woken, 1);
	assert_int_equal(poll(&fd, 1, 0), 1);
	assert_int_equal(daxpin_next_event(f->pool, &event), 1);
	assert_int_equal(daxpin_next_event(f->pool, &event), 0);
	assert_int_equal(free_bytes(f), before);
	assert_int_equal(daxpin_drop(f->pool, e[0]), -ESTALE);
	dp_invariants(f->pool);
}

static void waits_and_many_drops_race_without_a_lost_wakeup(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[N];
	struct waiter waiter;

	repeat(e, live(f, 4096), N);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(daxpin_hold_many(f->pool, e, N,
						  DAXPIN_HOLD_READ, NULL), 0);
		waiter.f = f;
		waiter.extent = e[0];
		assert_int_equal(pthread_create(&waiter.thread, NULL,
						wait_thread, &waiter), 0);
		if (i % 3 == 0)
			sched_yield();
		assert_int_equal(daxpin_drop_many(f->pool, e, i % N, NULL), 0);
		assert_int_equal(daxpin_drop_many(f->pool, e, N - i % N, NULL),
				 0);
		end_wait(&waiter);
	}
	dp_invariants(f->pool);
}

/* Invalid entries do not keep the others from being dropped. */
static void drop_many_makes_valid_drops_despite_invalid_entries(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[N], over = live(f, 4096), idle = live(f, 4096);
	size_t failed = 77;

	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, over), 0);
	make(f, e, N);
	e[1] = e[0];
	assert_int_equal(daxpin_hold_many(f->pool, e, N, DAXPIN_HOLD_WRITE,
					  NULL), 0);
	assert_int_equal(daxpin_drop_many(f->pool, (struct daxpin_extent[]) {
		e[2], over, e[3], { 5, e[0].gen }, idle, e[4], e[0], e[0],
	}, 8, &failed), -ESTALE);
	assert_int_equal(failed, 1);
	for (int i = 0; i < N; i++)
		assert_int_equal(count_of(f, e[i]), 0);
	dp_invariants(f->pool);
}

/*
 * Three entries name an extent with two holds: two are dropped, as by three single
 * calls.
 */
static void drop_many_with_excess_entries_drops_what_is_held(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[5];
	size_t failed;

	e[0] = live(f, 4096);
	repeat(e + 1, live(f, 4096), 3);
	e[4] = live(f, 4096);
	for (int retired = 0; retired < 2; retired++) {
		for (int i = 0; i < 5; i++)
			if (i != 2)
				assert_int_equal(daxpin_hold(f->pool, e[i],
							     DAXPIN_HOLD_READ),
						 0);
		if (retired)
			assert_int_equal(publish(f, DAXPIN_OP_RETIRE, e[1]), 0);
		assert_int_equal(daxpin_drop_many(f->pool, e, 5, &failed),
				 retired ? -ESTALE : -EINVAL);
		assert_int_equal(failed, 3);
		assert_int_equal(count_of(f, e[0]), 0);
		assert_int_equal(count_of(f, e[1]), retired ? -ESTALE : 0);
		assert_int_equal(count_of(f, e[4]), 0);
		dp_invariants(f->pool);
	}
}

/* ---------------------------------------------------------- who holds what */

struct seen {
	int count;
	struct daxpin_holder holder[8];
};

/* A hold that another thread takes during a report. */
struct late {
	struct fixture *f;
	struct daxpin_extent extent;
	struct daxpin_hold hold;
	struct seen seen;
	pthread_t thread;
	int ret;
};

static void see(const struct daxpin_holder *holder, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->count < 8);
	seen->holder[seen->count++] = *holder;
}

static struct daxpin_registration *enlist(struct fixture *f, uint32_t segment,
					  const char *label)
{
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = label,
	};
	struct daxpin_registration *registration;

	assert_int_equal(daxpin_register(f->pool, segment, &options,
					 &registration), 0);
	return registration;
}

/* Makes one extent in each segment: e[0] in the first, e[1] in the second. */
static void make_apart(struct fixture *f, struct daxpin_extent e[2])
{
	e[0] = live(f, 30 << 20);
	e[1] = live(f, 30 << 20);
	if (e[0].addr > e[1].addr) {
		struct daxpin_extent first = e[1];

		e[1] = e[0];
		e[0] = first;
	}
	assert_int_equal(segment_of(f, e[0]), 0);
	assert_int_equal(segment_of(f, e[1]), 1);
}

/* Holds are listed in address order, retired extents included, labelled holds first. */
static void check_holds(const struct seen *seen, const struct daxpin_extent e[2])
{
	assert_int_equal(seen->holder[0].extent.addr, e[0].addr);
	assert_int_equal(seen->holder[0].extent.gen, e[0].gen);
	assert_int_equal(seen->holder[0].count, 3);
	assert_null(seen->holder[0].label);
	assert_int_equal(seen->holder[0].segment, 0);
	for (int i = 1; i < 4; i++) {
		assert_int_equal(seen->holder[i].extent.addr, e[1].addr);
		assert_int_equal(seen->holder[i].segment, 1);
		assert_int_equal(seen->holder[i].count, 1);
	}
	assert_null(seen->holder[3].label);
	for (int i = 1; i < 3; i++) {
		const struct daxpin_holder *holder = &seen->holder[i];
		bool is_old = !strcmp(holder->label, "old");

		assert_int_equal(holder->access, is_old ? DAXPIN_HOLD_WRITE :
				 DAXPIN_HOLD_READ);
		assert_int_equal(holder->age_ns, is_old ? 3 * MS : 2 * MS);
	}
}

static void check_registrations(const struct seen *seen)
{
	for (int i = 4; i < 6; i++) {
		const struct daxpin_holder *holder = &seen->holder[i];
		bool is_ring = !strcmp(holder->label, "a ring");

		assert_int_equal(holder->extent.addr, 0);
		assert_int_equal(holder->extent.gen, 0);
		assert_int_equal(holder->segment,
				 is_ring ? DAXPIN_ALL_SEGMENTS : 1);
		assert_int_equal(holder->age_ns, is_ring ? 3 * MS : MS);
	}
}

uint64_t __wrap_dp_os_now_coarse_ns(void);
uint64_t __wrap_dp_os_now_coarse_ns(void)
{
	return __wrap_dp_os_now_ns();
}

static void daxpin_holds_lists_all_holds_and_registrations(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent e[2], all = { 0, 0 };
	struct daxpin_hold old = { .access = 0 }, young = { .access = 0 };
	struct daxpin_registration *ring, *one;
	struct seen seen = { .count = 0 };

	stop_clock();
	make_apart(f, e);
	assert_int_equal(daxpin_holds(f->pool, all, see, &seen), 0);
	assert_int_equal(seen.count, 0);
	ring = enlist(f, DAXPIN_ALL_SEGMENTS, "a ring");
	assert_int_equal(daxpin_hold_labelled(f->pool, e[1], DAXPIN_HOLD_WRITE,
					      "old", &old), 0);
	advance_clock(1);
	assert_int_equal(daxpin_hold_labelled(f->pool, e[1], DAXPIN_HOLD_READ,
					      "young", &young), 0);
	assert_int_equal(daxpin_hold_many(f->pool, (struct daxpin_extent[]) {
		e[0], e[0], e[0], e[1] }, 4, DAXPIN_HOLD_READ, NULL), 0);
	advance_clock(1);
	one = enlist(f, 1, "one segment");
	advance_clock(1);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, e[0]), 0);
	assert_int_equal(daxpin_holds(f->pool, all, NULL, NULL), 6);
	assert_int_equal(daxpin_holds(f->pool, all, see, &seen), 6);
	assert_int_equal(seen.count, 6);
	check_holds(&seen, e);
	check_registrations(&seen);
	assert_int_equal(daxpin_drop_labelled(f->pool, &old), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &young), 0);
	assert_int_equal(daxpin_drop_many(f->pool, (struct daxpin_extent[]) {
		e[1], e[0], e[0], e[0] }, 4, NULL), 0);
	assert_int_equal(daxpin_unregister(one), 0);
	assert_int_equal(daxpin_unregister(ring), 0);
	seen.count = 0;
	assert_int_equal(daxpin_holds(f->pool, all, see, &seen), 0);
	assert_int_equal(seen.count, 0);
}

static void *take_later(void *arg)
{
	struct late *late = arg;

	late->ret = daxpin_hold_labelled(late->f->pool, late->extent, DAXPIN_HOLD_READ,
					 "late", &late->hold);
	return NULL;
}

/* Its own table is read later than that of this thread, which has the first hold. */
static void take_another(const struct daxpin_holder *holder, void *arg)
{
	struct late *late = arg;

	see(holder, &late->seen);
	if (late->seen.count > 1)
		return;
	advance_clock(1);
	assert_int_equal(pthread_create(&late->thread, NULL, take_later, late), 0);
	assert_int_equal(pthread_join(late->thread, NULL), 0);
}

static void a_hold_that_is_taken_during_a_report_has_a_small_age(void **state)
{
	struct late late = { .f = *state };
	struct daxpin_hold first = { .access = 0 };

	stop_clock();
	late.extent = live(late.f, 4096);
	assert_int_equal(daxpin_hold_labelled(late.f->pool, late.extent,
			 DAXPIN_HOLD_READ, "first", &first), 0);
	advance_clock(1);
	assert_int_equal(daxpin_holds(late.f->pool, late.extent, take_another, &late),
			 1);
	assert_int_equal(late.ret, 0);
	assert_int_equal(late.seen.count, 2);
	assert_int_equal(late.seen.holder[0].age_ns, MS);
	assert_string_equal(late.seen.holder[1].label, "late");
	assert_int_equal(late.seen.holder[1].age_ns, 1);
	assert_int_equal(daxpin_drop_labelled(late.f->pool, &first), 0);
	assert_int_equal(daxpin_drop_labelled(late.f->pool, &late.hold), 0);
}

static void without_memory_no_hold_remains_and_no_report_is_partial(void **state)
{
	const struct daxpin_extent all = { 0, 0 };
	struct daxpin_hold hold = { .access = 0 };
	struct seen seen = { .count = 0 };
	struct fixture *f = *state;
	struct daxpin_extent e = live(f, 4096);

	no_memory = true;
	assert_int_equal(daxpin_hold_labelled(f->pool, e, DAXPIN_HOLD_READ, "none",
					      &hold), -ENOMEM);
	no_memory = false;
	assert_int_equal(daxpin_holds(f->pool, e, NULL, NULL), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), -EINVAL);
	assert_int_equal(daxpin_hold_labelled(f->pool, e, DAXPIN_HOLD_READ, "one",
					      &hold), 0);
	no_memory = true;
	assert_int_equal(daxpin_holds(f->pool, all, see, &seen), -ENOMEM);
	assert_int_equal(daxpin_holds(f->pool, all, NULL, NULL), 1);
	no_memory = false;
	assert_int_equal(seen.count, 0);
	assert_int_equal(daxpin_holds(f->pool, all, see, &seen), 1);
	assert_int_equal(seen.count, 1);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
	dp_invariants(f->pool);
}

#define THOUSANDS	5000

static void count_labels(const struct daxpin_holder *holder, void *arg)
{
	uint32_t *seen = arg;
	uint32_t i;

	assert_int_equal(sscanf(holder->label, "%u", &i), 1);
	seen[i]++;
}

/* The list includes round addresses, and labels that replace many dropped ones. */
static void thousands_of_labelled_holds_are_all_listed(void **state)
{
	static struct daxpin_hold holds[THOUSANDS];
	static char labels[THOUSANDS][12];
	static uint32_t seen[THOUSANDS];
	const struct daxpin_extent all = { 0, 0 };
	struct daxpin_extent extent;
	struct fixture *f = *state;
	uint32_t i, round;

	for (i = 0; i < THOUSANDS; i++)
		snprintf(labels[i], sizeof(labels[i]), "%u", i);
	for (round = 1; round <= 3; round++) {
		for (i = 0; i < THOUSANDS; i++) {
			if (holds[i].access)
				continue;
			assert_int_equal(daxpin_reserve(f->pool, 4096, 0,
							&extent), 0);
			assert_int_equal(daxpin_hold_labelled(f->pool, extent,
					DAXPIN_HOLD_READ, labels[i],
					&holds[i]), 0);
			assert_int_equal(daxpin_cancel(f->pool, extent), 0);
		}
		memset(seen, 0, sizeof(seen));
		assert_int_equal(daxpin_holds(f->pool, all, count_labels, seen),
				 THOUSANDS);
		for (i = 0; i < THOUSANDS; i++) {
			assert_int_equal(seen[i], 1);
			seen[i] = 0;
			assert_int_equal(daxpin_holds(f->pool, holds[i].extent,
						      count_labels, seen), 1);
			assert_int_equal(seen[i], 1);
			if (round == 3 || i % (round + 1) == 0)
				assert_int_equal(daxpin_drop_labelled(f->pool,
							&holds[i]), 0);
		}
	}
	assert_int_equal(daxpin_holds(f->pool, all, NULL, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(hold_many_and_drop_many_count_each_entry),
		TEST(hold_many_and_drop_many_accept_an_empty_list),
		TEST(a_hold_many_that_fails_holds_nothing),
		TEST(a_hold_many_that_fails_wakes_waiters),
		TEST(a_closed_gate_refuses_a_whole_hold_many),
		TEST(hold_many_of_one_extent_is_refused_at_the_hold_limit),
		TEST(drop_many_drops_the_last_holds_in_one_step),
		TEST(waits_and_many_drops_race_without_a_lost_wakeup),
		TEST(drop_many_makes_valid_drops_despite_invalid_entries),
		TEST(drop_many_with_excess_entries_drops_what_is_held),
		TEST(daxpin_holds_lists_all_holds_and_registrations),
		TEST(a_hold_that_is_taken_during_a_report_has_a_small_age),
		TEST(without_memory_no_hold_remains_and_no_report_is_partial),
		TEST(thousands_of_labelled_holds_are_all_listed),
	};

	return cmocka_run_group_tests_name("api_hold_many", tests, NULL, NULL);
}
