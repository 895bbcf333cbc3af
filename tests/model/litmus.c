/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs the two-sided races of lib/extent/state.c and lib/extent/event.c on this CPU:
 * each side stores and then reads what the other stores, and at least one must see the
 * other's store. The models in this directory prove that for store buffers in general;
 * here the library's functions race on two CPUs as often as the time allows.
 *
 * A test of the same race with one side weakened to a plain store instead of the locked
 * instruction shows that such a failure would be found. If it does not occur on this
 * machine within the time, that test is skipped.
 *
 * DAXPIN_TEST_LITMUS_MS is the time for each race, 1000 by default. A weakened race may
 * take ten times as long, and ends at the first failure.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>
#include "extent/event.h"
#include "extent/state.h"
#include "os/os.h"
#include <cmocka.h>

#define SHIFT		14u		/* a segment of 64 MiB */
#define WEAK_FACTOR	10		/* a weakened race ends at the first failure */

static struct {
	struct dp_spaces spaces;
	struct dp_events events;
	struct dp_states states;
	uint64_t block, generation;	/* one live extent */
	struct daxpin_watch watch;
	_Atomic int queued;		/* of a queue of events without a mutex */
	int cpu[2];
	uint64_t ms;
} world;

/*
 * A round: reset(); both sides run at the same time, and each returns whether it missed
 * the other's store; undo(). The left side runs in a thread of its own, the rest in the
 * test's thread.
 */
struct race {
	void (*reset)(void);
	bool (*left)(void);
	bool (*right)(void);
	void (*undo)(bool left, bool right);
};

/* ------------------------------------------------------------- two threads */

struct meeting {
	const struct race *race;
	_Atomic uint64_t arrived;
	_Atomic bool over;
	bool left;			/* the left side's result */
};

/* Waits until both threads have called it for the n-th time. */
static void meet(struct meeting *meeting, uint64_t n)
{
	unsigned int spins = 0;

	atomic_fetch_add(&meeting->arrived, 1);
	while (atomic_load(&meeting->arrived) < 2 * n)
		if (++spins % 262144 == 0)
			sched_yield();
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* Pinning may fail: then the sides overlap less often. */
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/*
 * Brings the words that are read into the cache, so that the read is early and the
 * store late. Varies the delay, so that neither side always starts first.
 */
static void warm_up(unsigned int *seed)
{
	struct dp_extent_state *state = dp_state_at(&world.states, world.block);
	struct dp_gates *gates = &world.states.gates;
	volatile unsigned int n = rand_r(seed) % 64;

	n += (atomic_load(&gates->closed[0]) + atomic_load(&state->roots) +
	      atomic_load(&state->word) + atomic_load(&world.queued) +
	      atomic_load(&dp_gate_counter(gates, 0, DP_THREAD_SLOT_SHARED)->inc) +
	      atomic_load(&world.events.armed)) % 2;
	while (n)
		n--;
}

static void *left_side(void *arg)
{
	struct meeting *meeting = arg;
	unsigned int seed = 1;

	pin(world.cpu[0]);
	for (uint64_t n = 0;; n += 2) {
		meet(meeting, n + 1);
		if (atomic_load(&meeting->over))
			return NULL;
		warm_up(&seed);
		meeting->left = meeting->race->left();
		meet(meeting, n + 2);
	}
}

/*
 * Returns in how many rounds both sides missed. Ends after the time, or after `enough`
 * of them.
 */
static uint64_t run(const struct race *race, uint64_t enough, uint64_t ms,
		    uint64_t *ret_rounds)
{
	struct meeting meeting = { .race = race };
	uint64_t end = dp_os_now_ns() + ms * 1000000, both = 0, n = 0;
	unsigned int seed = 2;
	pthread_t thread;
	bool right;

	assert_int_equal(pthread_create(&thread, NULL, left_side, &meeting), 0);
	pin(world.cpu[1]);
	while (both < enough && dp_os_now_ns() < end) {
		race->reset();
		meet(&meeting, ++n);
		warm_up(&seed);
		right = race->right();
		meet(&meeting, ++n);
		both += meeting.left && right;
		race->undo(meeting.left, right);
	}
	atomic_store(&meeting.over, true);
	meet(&meeting, ++n);
	pthread_join(thread, NULL);
	*ret_rounds = n / 2;
	return both;
}

static void never_both(const struct race *race)
{
	uint64_t rounds, both = run(race, UINT64_MAX, world.ms, &rounds);

	print_message("# %llu rounds, both missed in %llu\n",
		      (unsigned long long)rounds, (unsigned long long)both);
	assert_true(rounds);
	assert_int_equal(both, 0);
}

static void sometimes_both(const struct race *race)
{
	uint64_t rounds, both = run(race, 1, WEAK_FACTOR * world.ms, &rounds);

	if (both) {
		print_message("# both missed in round %llu\n",
			      (unsigned long long)rounds);
		return;
	}
	print_message("# skipped: this did not happen in %llu rounds: the test before shows less on this machine\n",
		      (unsigned long long)rounds);
	skip();
}

static void nothing(void)
{
}

/* ------------------------------------------------ state and counter, gate */

/* Returns true if the hold was granted, so it did not see the closed gate. */
static bool hold(void)
{
	int ret = dp_state_hold(&world.states, world.block, world.generation, 1,
				false);

	assert(ret == 0 || ret == -EAGAIN);
	return !ret;
}

/* Returns true if no hold was found. */
static bool close_and_count(void)
{
	dp_gate_close(dp_state_gates(&world.states), 0);
	return !dp_gate_busy(dp_state_gates(&world.states), 0);
}

static void drop_and_open(bool held, bool idle)
{
	(void)idle;
	if (held)
		assert_int_equal(dp_state_drop(&world.states, world.block,
					       world.generation, 1), 1);
	dp_gate_open(dp_state_gates(&world.states), 0);
	assert_int_equal(dp_gate_busy(dp_state_gates(&world.states), 0), 0);
}

static _Atomic uint64_t *weak_word(uint32_t which)
{
	struct dp_gate_counter *counter =
		dp_gate_counter(&world.states.gates, 0, DP_THREAD_SLOT_SHARED);

	return which ? &counter->dec : &counter->inc;
}

static void store_up(_Atomic uint64_t *word)
{
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);

	atomic_store_explicit(word, now + 1, memory_order_release);
}

/* The counter is raised, and the gate read without a CAS between them. */
static bool weak_hold(void)
{
	store_up(weak_word(0));
	return !atomic_load_explicit(world.states.gates.closed,
				     memory_order_acquire);
}

static void weak_drop_and_open(bool held, bool idle)
{
	(void)held;
	(void)idle;
	store_up(weak_word(1));
	dp_gate_open(dp_state_gates(&world.states), 0);
}

/* Reads only one slot: reading all would take so long that the race would not show. */
static bool close_and_look(void)
{
	dp_gate_close(dp_state_gates(&world.states), 0);
	return atomic_load_explicit(weak_word(0), memory_order_acquire) ==
	       atomic_load_explicit(weak_word(1), memory_order_acquire);
}

/* The gate is closed by a plain store. */
static bool weak_close_and_count(void)
{
	atomic_store_explicit(world.states.gates.closed, 1,
			      memory_order_release);
	return !dp_gate_busy(dp_state_gates(&world.states), 0);
}

static void a_hold_or_the_closer_sees_the_other(void **state)
{
	(void)state;
	never_both(&(struct race) { nothing, hold, close_and_count,
				    drop_and_open });
}

static void a_hold_without_a_locked_instruction_is_missed(void **state)
{
	(void)state;
	sometimes_both(&(struct race) { nothing, weak_hold, close_and_look,
					weak_drop_and_open });
}

static void a_gate_without_a_locked_instruction_is_missed(void **state)
{
	(void)state;
	sometimes_both(&(struct race) { nothing, hold, weak_close_and_count,
					drop_and_open });
}

/* -------------------------------------------------------- event and armed */

static bool busy(void *arg)
{
	(void)arg;
	return true;
}

static void watch(void)
{
	const struct daxpin_watch wanted = {
		.extent.addr = world.block << 12,
	};

	dp_events_watch(&world.events, &world.watch, &wanted, busy, NULL);
}

static void fire(void)
{
	dp_events_fire(&world.events, world.block << 12);
}

/* Returns true if the queue was not armed, so the fd was not written. */
static bool fire_and_look(void)
{
	uint64_t value;

	fire();
	return read(world.events.fd, &value, sizeof(value)) != sizeof(value);
}

/* Returns true if there was no event, so the consumer would sleep. */
static bool arm(void)
{
	return !dp_events_arm(&world.events);
}

static void take_event(bool asleep, bool unwritten)
{
	struct daxpin_event event;

	(void)asleep;
	(void)unwritten;
	assert_true(dp_events_next(&world.events, &event));
	assert_ptr_equal(event.watch, &world.watch);
	atomic_store(&world.events.armed, 0);
}

static void unqueue(void)
{
	atomic_store(&world.queued, 0);
	atomic_store(&world.events.armed, 0);
}

/* A queue without the mutex, and a plain store to armed. */
static bool weak_arm(void)
{
	atomic_store_explicit(&world.events.armed, 1, memory_order_release);
	return !atomic_load_explicit(&world.queued, memory_order_acquire);
}

static bool weak_fire(void)
{
	atomic_store_explicit(&world.queued, 1, memory_order_release);
	return !atomic_exchange(&world.events.armed, 0);
}

static void forget(bool left, bool right)
{
	(void)left;
	(void)right;
}

static void an_event_or_the_consumer_sees_the_other(void **state)
{
	(void)state;
	never_both(&(struct race) { watch, arm, fire_and_look, take_event });
}

static void armed_by_a_plain_store_is_missed(void **state)
{
	(void)state;
	sometimes_both(&(struct race) { unqueue, weak_arm, weak_fire, forget });
}

/* --------------------------------------------------------- root and claim */

/* Returns true if no claim was found, so the root may name the extent. */
static bool count_root(void)
{
	dp_state_add_root(&world.states, world.block);
	return !dp_state_read(&world.states, world.block).publishing;
}

static bool weak_count_root(void)
{
	_Atomic uint32_t *roots =
		&dp_state_at(&world.states, world.block)->roots;

	atomic_store_explicit(roots, atomic_load(roots) + 1,
			      memory_order_release);
	return !dp_state_read(&world.states, world.block).publishing;
}

/* Returns true if no root was found, so the extent may be retired. */
static bool claim_and_count(void)
{
	int ret = dp_state_claim(&world.states, world.block, world.generation,
				 DP_STATE_LIVE, false);

	assert_int_equal(ret, 0);
	return !dp_state_roots(&world.states, world.block);
}

static void release_child(bool left, bool right)
{
	(void)left;
	(void)right;
	dp_state_remove_root(&world.states, world.block);
	dp_state_unclaim(&world.states, world.block);
}

static void a_root_or_the_retire_sees_the_other(void **state)
{
	(void)state;
	never_both(&(struct race) { nothing, count_root, claim_and_count,
				    release_child });
}

static void a_root_counted_by_a_plain_store_is_missed(void **state)
{
	(void)state;
	sometimes_both(&(struct race) { nothing, weak_count_root,
					claim_and_count, release_child });
}

/* ------------------------------------------------------------------- main */

/* Finds two CPUs that this process may use; returns 0 if there are none. */
static int choose_cpus(void)
{
	cpu_set_t set;
	int found = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 0;
	for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
		if (CPU_ISSET(i, &set))
			world.cpu[found++] = i;
	return found == 2;
}

static int set_up(void **state)
{
	const char *ms = getenv("DAXPIN_TEST_LITMUS_MS");
	uint64_t block;

	(void)state;
	world.ms = ms ? strtoull(ms, NULL, 0) : 1000;
	assert_int_equal(dp_spaces_init(&world.spaces, 1, 1, SHIFT, &world.events), 0);
	assert_int_equal(dp_spaces_add(&world.spaces, 0, 1u << SHIFT), 0);
	assert_int_equal(dp_spaces_open(&world.spaces, 0), 0);
	assert_int_equal(dp_events_init(&world.events), 0);
	assert_int_equal(dp_states_init(&world.states, 1, 1, SHIFT, &world.spaces,
					&world.events), 0);
	assert_int_equal(dp_spaces_claim(&world.spaces, 1, &block), 0);
	world.block = block;
	world.generation = dp_state_reserve(&world.states, block, 1);
	assert_int_equal(dp_state_claim(&world.states, block, world.generation,
					DP_STATE_RESERVED, false), 0);
	dp_state_settle_kept(&world.states, block);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dp_states_fini(&world.states);
	dp_events_fini(&world.events);
	dp_spaces_fini(&world.spaces);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hold_or_the_closer_sees_the_other),
		cmocka_unit_test(a_hold_without_a_locked_instruction_is_missed),
		cmocka_unit_test(a_gate_without_a_locked_instruction_is_missed),
		cmocka_unit_test(an_event_or_the_consumer_sees_the_other),
		cmocka_unit_test(armed_by_a_plain_store_is_missed),
		cmocka_unit_test(a_root_or_the_retire_sees_the_other),
		cmocka_unit_test(a_root_counted_by_a_plain_store_is_missed),
	};

	if (!choose_cpus()) {
		printf("1..0 # SKIP a race needs two CPUs\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
