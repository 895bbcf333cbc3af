/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A timer interrupts the process all the time, as that of a profiler or of a language
 * runtime does. Every call must succeed as without it, with and without SA_RESTART.
 * The handler starts the timer again, so that even on a slow machine the program
 * runs between two signals: for a very short time, a short one or a longer one.
 */
#include <signal.h>
#include <time.h>
#include "fixture.h"
#include "needs.h"

#define MIB		(UINT64_C(1) << 20)
#define HANG_MS		600000		/* limit of a wait that must end */
#define ROUNDS		20

static timer_t timer;
static volatile sig_atomic_t ticks;

static void start_timer(void)
{
	static const long delay_ns[] = { 20000, 20000, 20000, 200000, 2000000 };
	const struct itimerspec once = {
		.it_value.tv_nsec = delay_ns[ticks % 5],
	};

	timer_settime(timer, 0, &once, NULL);
}

static void tick(int signal)
{
	(void)signal;
	ticks++;
	start_timer();
}

static void interrupt(int flags)
{
	struct sigaction action = { .sa_handler = tick, .sa_flags = flags };
	struct sigevent event = {
		.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM,
	};

	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	ticks = 0;
	start_timer();
}

/* After this no signal comes: one that is pending is ignored. */
static int stop_timer(void **state)
{
	signal(SIGALRM, SIG_IGN);
	timer_delete(timer);
	return fixture_teardown(state);
}

static void run_job(struct fixture *f,
		    int (*begin)(struct daxpin_pool *,
				 const struct daxpin_job_options *,
				 struct daxpin_job **))
{
	const struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
	};
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;

	assert_int_equal(begin(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, options.deadline_ns), 0);
	assert_int_equal(daxpin_job_report(job, NULL, NULL, &summary), 0);
	assert_int_equal(summary.result, 0);
	assert_int_equal(summary.left_bytes, 0);
	assert_true(summary.done_bytes > 0);
	assert_int_equal(daxpin_job_end(job), 0);
}

/* One extent from its reserve to its end. */
static void use(struct fixture *f)
{
	struct daxpin_extent extent = live(f, 4 * MIB);
	struct daxpin_watch watch = { .arg = NULL };
	struct daxpin_event event;

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	memset(daxpin_ptr(f->pool, extent, 0), 7, 4 * MIB);
	assert_int_equal(daxpin_persist(f->pool, extent, 0, 0), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(daxpin_watch(f->pool, extent, NULL, &watch), 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	while (daxpin_next_event(f->pool, &event))
		;
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

static void assert_all_calls_succeed(struct fixture *f, int flags)
{
	const uint64_t free_before = 62 * MIB;

	need_io_uring();
	f->options.pool_size = 128 * MIB;
	f->options.segment_size = 64 * MIB;
	f->options.deadline_ns = daxpin_deadline_ms(HANG_MS);
	interrupt(flags);
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool), 0);
	for (int i = 0; i < ROUNDS; i++)
		use(f);
	run_job(f, daxpin_reclaim);
	run_job(f, daxpin_refill);
	assert_true(free_bytes(f) >= free_before);
	assert_int_equal(daxpin_pool_drain(f->pool, f->options.deadline_ns), 0);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	use(f);
	print_message("# %d signals\n", (int)ticks);
	assert_true(ticks > 0);
}

static void calls_succeed_while_a_timer_interrupts_them(void **state)
{
	assert_all_calls_succeed(*state, 0);
}

static void calls_succeed_while_a_timer_restarts_them(void **state)
{
	assert_all_calls_succeed(*state, SA_RESTART);
}

static int setup(void **state)
{
	return fixture_make(state, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, stop_timer)
	const struct CMUnitTest tests[] = {
		TEST(calls_succeed_while_a_timer_interrupts_them),
		TEST(calls_succeed_while_a_timer_restarts_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
