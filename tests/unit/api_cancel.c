/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call may be a cancellation point only at its beginning. Each call is made by a
 * thread whose cancellation is already pending, and then once for each system call
 * inside it, with a cancellation that arrives in that system call. Every system call
 * counts as a cancellation point, except those that are made by syscall() or need no
 * kernel. The call must return; afterwards the pool is used, drained and closed.
 */
#include "cancelled.h"
#include "fixture.h"
#include "invariant.h"
#include "needs.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MIB		(UINT64_C(1) << 20)

/* Arguments that a call needs, and its outputs. */
struct context {
	struct fixture f;
	char other[80];			/* the path of another pool */
	char backup[80];
	struct daxpin_pool *pool;	/* the other pool, if it is open */
	struct daxpin_extent extent;	/* reserved */
	struct daxpin_extent live;
	struct daxpin_hold hold;
	struct daxpin_watch watch;
	struct daxpin_registration *registration;
	struct daxpin_job *job;
};

struct call {
	const char *name;
	void (*before)(struct context *s);
	int (*run)(struct context *s);
	void (*after)(struct context *s, int ret);
	bool is_point;			/* a cancellation point at its beginning */
};

/* ---------------------------------------------------------------- the calls */

static struct daxpin_op op_of(uint32_t type, struct daxpin_extent extent)
{
	return (struct daxpin_op) { .type = type, .extent = extent };
}

static void must_work(struct context *s, int ret)
{
	(void)s;
	must(ret);
}

static void reserve_one(struct context *s)
{
	s->extent = reserve(&s->f, 8192);
}

static void cancel_one(struct context *s, int ret)
{
	must(ret);
	must(daxpin_cancel(s->f.pool, s->extent));
}

static int run_reserve(struct context *s)
{
	return daxpin_reserve(s->f.pool, 8192, DAXPIN_RESERVE_ZERO, &s->extent);
}

static int run_cancel(struct context *s)
{
	return daxpin_cancel(s->f.pool, s->extent);
}

static int run_read(struct context *s)
{
	char to[4096];

	return daxpin_read(s->f.pool, s->live, 0, sizeof(to), to);
}

static int run_persist(struct context *s)
{
	return daxpin_persist(s->f.pool, s->live, 0, 0);
}

static int run_publish(struct context *s)
{
	struct daxpin_op ops[] = {
		op_of(DAXPIN_OP_KEEP, s->extent),
		op_of(DAXPIN_OP_SET, s->live),
		op_of(DAXPIN_OP_ROOT, s->extent),
	};

	ops[1].value = 7;
	ops[2].name = "root";
	return daxpin_publish(s->f.pool, ops, 3, NULL, NULL);
}

static void unpublish(struct context *s, int ret)
{
	struct daxpin_op ops[] = {
		op_of(DAXPIN_OP_ROOT, (struct daxpin_extent) { 0, 0 }),
		op_of(DAXPIN_OP_RETIRE, s->extent),
	};

	must(ret);
	ops[0].name = "root";
	must(daxpin_publish(s->f.pool, ops, 2, NULL, NULL));
}

/* Each extent is a chunk and is kept, so that the next one's word is usually the first
 * in a page of the table. */
static void reserve_chunk(struct context *s)
{
	must(daxpin_reserve(s->f.pool, DAXPIN_CHUNK_SIZE, 0, &s->extent));
}

static int run_keep(struct context *s)
{
	return publish(&s->f, DAXPIN_OP_KEEP, s->extent);
}

/*
 * The extent has a watch and the event descriptor is armed, so that the drop writes to
 * it.
 */
static void hold_and_watch(struct context *s)
{
	reserve_one(s);
	must(daxpin_hold(s->f.pool, s->extent, DAXPIN_HOLD_READ));
	s->watch = (struct daxpin_watch) { .arg = NULL };
	must(daxpin_watch(s->f.pool, s->extent, NULL, &s->watch));
	must(daxpin_event_arm(s->f.pool));
}

static int run_drop(struct context *s)
{
	return daxpin_drop(s->f.pool, s->extent);
}

static void expect_the_event(struct context *s, int ret)
{
	struct daxpin_event event;

	must(ret);
	assert_int_equal(daxpin_next_event(s->f.pool, &event), 1);
	assert_ptr_equal(event.watch, &s->watch);
	must(daxpin_cancel(s->f.pool, s->extent));
}

static int run_watch(struct context *s)
{
	s->watch = (struct daxpin_watch) { .arg = NULL };
	return daxpin_watch(s->f.pool, s->extent, NULL, &s->watch);
}

/* The extent is idle, so the event is queued during the call. */
static void unwatch_and_cancel(struct context *s, int ret)
{
	must(ret);
	assert_int_equal(daxpin_unwatch(s->f.pool, &s->watch), 1);
	must(daxpin_cancel(s->f.pool, s->extent));
}

static int run_hold(struct context *s)
{
	return daxpin_hold(s->f.pool, s->extent, DAXPIN_HOLD_WRITE);
}

static void drop_and_cancel(struct context *s, int ret)
{
	must(ret);
	must(daxpin_drop(s->f.pool, s->extent));
	must(daxpin_cancel(s->f.pool, s->extent));
}

static int run_hold_labelled(struct context *s)
{
	s->hold = (struct daxpin_hold) { .access = 0 };
	return daxpin_hold_labelled(s->f.pool, s->extent, DAXPIN_HOLD_READ,
				    "cancelled", &s->hold);
}

static void drop_labelled_and_cancel(struct context *s, int ret)
{
	must(ret);
	must(daxpin_drop_labelled(s->f.pool, &s->hold));
	must(daxpin_cancel(s->f.pool, s->extent));
}

/*
 * A drop waits while a report has its hold. The report ends when the drop has made a
 * system call, so it waits in each attempt.
 */
static atomic_bool reported, dropped;
static pthread_t reporter;

static void wait_for_the_drop(const struct daxpin_holder *holder, void *arg)
{
	(void)holder;
	(void)arg;
	atomic_store(&reported, true);
	while (!atomic_load(&dropped) && !system_calls_until_now())
		sched_yield();
}

static void *report_until_the_drop(void *arg)
{
	struct context *s = arg;

	return (void *)(intptr_t)daxpin_holds(s->f.pool, s->extent, wait_for_the_drop,
					      NULL);
}

static void hold_and_report(struct context *s)
{
	reserve_one(s);
	must(run_hold_labelled(s));
	atomic_store(&reported, false);
	atomic_store(&dropped, false);
	forget_system_calls();
	must(pthread_create(&reporter, NULL, report_until_the_drop, s));
	while (!atomic_load(&reported))
		sched_yield();
}

static int run_drop_labelled(struct context *s)
{
	int ret = daxpin_drop_labelled(s->f.pool, &s->hold);

	atomic_store(&dropped, true);
	return ret;
}

static void expect_no_hold(struct context *s, int ret)
{
	void *holds;

	must(ret);
	must(pthread_join(reporter, &holds));
	assert_int_equal((intptr_t)holds, 1);
	assert_true(system_calls_until_now());
	assert_int_equal(s->hold.access, 0);
	must(daxpin_holds(s->f.pool, s->extent, NULL, NULL));
	must(daxpin_cancel(s->f.pool, s->extent));
}

static void called_back(const struct daxpin_holder *holder, void *arg)
{
	(void)holder;
	++*(int *)arg;
	system_call(true);		/* a callback may make system calls */
}

static void hold_one(struct context *s)
{
	reserve_one(s);
	must(run_hold(s));
}

static int run_holds(struct context *s)
{
	const struct daxpin_extent all = { 0, 0 };
	int called = 0;

	return daxpin_holds(s->f.pool, all, called_back, &called) != 1 ||
	       called != 1;
}

static int found_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	++*(int *)arg;
	system_call(true);		/* a callback may make system calls */
	return 0;
}

static int run_foreach(struct context *s)
{
	int called = 0;

	return daxpin_foreach(s->f.pool, found_extent, &called) || called != 1;
}

static int run_foreach_in(struct context *s)
{
	int called = 0;

	return daxpin_foreach_in(s->f.pool, 0, 0, found_extent, &called) || called != 1;
}

static int run_copy(struct context *s)
{
	return daxpin_copy(s->f.pool, s->live, NULL, &s->extent);
}

static int run_wait_idle(struct context *s)
{
	return daxpin_wait_idle(s->f.pool, s->extent, daxpin_deadline_ms(2)) !=
	       -ETIMEDOUT;
}

static int run_drain(struct context *s)
{
	return daxpin_pool_drain(s->f.pool, daxpin_deadline_ms(2)) !=
	       -ETIMEDOUT;
}

static int run_register(struct context *s)
{
	const struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "cancelled",
		.flags = DAXPIN_REGISTRATION_BY_SEGMENT,
	};

	return daxpin_register(s->f.pool, DAXPIN_ALL_SEGMENTS, &options,
			       &s->registration);
}

static void register_one(struct context *s)
{
	must(run_register(s));
}

static int run_unregister(struct context *s)
{
	return daxpin_unregister(s->registration);
}

static void unregister_one(struct context *s, int ret)
{
	must(ret);
	must(run_unregister(s));
}

static int run_pin(struct context *s)
{
	return daxpin_registration_pin(s->registration, 0);
}

static void pin_one(struct context *s)
{
	register_one(s);
	must(run_pin(s));
}

static int run_revoked(struct context *s)
{
	return daxpin_registration_revoked(s->registration, 0);
}

static int run_reclaim(struct context *s)
{
	return daxpin_reclaim(s->f.pool, NULL, &s->job);
}

static int run_job_wait(struct context *s)
{
	return daxpin_job_wait(s->job, DAXPIN_NO_DEADLINE);
}

static int run_job_end(struct context *s)
{
	return daxpin_job_end(s->job);
}

static int run_refill(struct context *s)
{
	return daxpin_refill(s->f.pool, NULL, &s->job);
}

static void refill_all(struct context *s)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	must(run_refill(s));
	must(run_job_wait(s));
	must(run_job_end(s));
	must(daxpin_pool_info(s->f.pool, &info));
	assert_int_equal(info.hole_bytes, 0);
}

static void end_job_and_refill(struct context *s, int ret)
{
	must(ret);
	must(run_job_wait(s));
	must(run_job_end(s));
	refill_all(s);
}

static void end_job(struct context *s, int ret)
{
	must(ret);
	must(run_job_wait(s));
	must(run_job_end(s));
}

static void reclaim_all(struct context *s)
{
	must(run_reclaim(s));
	must(run_job_wait(s));
}

static void begin_reclaim(struct context *s)
{
	must(run_reclaim(s));
}

static void reclaim_to_the_end(struct context *s)
{
	reclaim_all(s);
	must(run_job_end(s));
}

static void refill_after_the_end(struct context *s, int ret)
{
	must(ret);
	refill_all(s);
}

/* The call polls all jobs, and all of them have ended. */
static int run_next_event(struct context *s)
{
	struct daxpin_event event;

	return daxpin_next_event(s->f.pool, &event) < 0;
}

static int run_job_cancel(struct context *s)
{
	return daxpin_job_cancel(s->job);
}

static int run_job_report(struct context *s)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };

	return daxpin_job_report(s->job, NULL, NULL, &summary);
}

static void end_job_of_all(struct context *s, int ret)
{
	must(ret);
	must(run_job_end(s));
	refill_all(s);
}

/* -------------------------------------------------- calls that take a path */

static const struct daxpin_pool_options small = {
	.size = sizeof(small), .pool_size = 32 * MIB,
	.segment_size = DAXPIN_SEGMENT_MIN, .flags = DAXPIN_POOL_OVERWRITE,
};

static int run_create(struct context *s)
{
	return daxpin_pool_create(s->other, &small, &s->pool);
}

static int run_open(struct context *s)
{
	return daxpin_pool_open(s->other, NULL, &s->pool);
}

static int run_close(struct context *s)
{
	return daxpin_pool_close(s->pool);
}

static void close_other(struct context *s, int ret)
{
	must(ret);
	must(run_close(s));
}

static void create_and_close(struct context *s)
{
	must(run_create(s));
	must(run_close(s));
}

static void open_other(struct context *s)
{
	must(run_open(s));
}

/* No lock is left in this process, so the next open succeeds without waiting. */
static void open_once_more(struct context *s, int ret)
{
	must(ret);
	must(run_open(s));
	must(run_close(s));
}

static int run_check(struct context *s)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };

	return daxpin_check(s->other, NULL, NULL, NULL, &summary);
}

static int run_repair(struct context *s)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };

	return daxpin_repair(s->other, NULL, s->backup, NULL, NULL, &summary);
}

/* No repair was made, so there is nothing to undo. */
static int run_repair_undo(struct context *s)
{
	return daxpin_repair_undo(s->other, NULL, s->backup) >= 0;
}

/* ----------------------------------------------------------------- the test */

static const struct call calls[] = {
	{ "reserve", NULL, run_reserve, cancel_one, false },
	{ "cancel", reserve_one, run_cancel, must_work, false },
	{ "read", NULL, run_read, must_work, true },
	{ "persist", NULL, run_persist, must_work, true },
	{ "publish", reserve_one, run_publish, unpublish, true },
	{ "drop", hold_and_watch, run_drop, expect_the_event, false },
	{ "watch", reserve_one, run_watch, unwatch_and_cancel, true },
	{ "hold", reserve_one, run_hold, drop_and_cancel, false },
	{ "hold_labelled", reserve_one, run_hold_labelled,
	  drop_labelled_and_cancel, false },
	{ "drop_labelled", hold_and_report, run_drop_labelled, expect_no_hold, false },
	{ "holds", hold_one, run_holds, drop_and_cancel, true },
	{ "foreach", NULL, run_foreach, must_work, true },
	{ "foreach_in", NULL, run_foreach_in, must_work, true },
	{ "copy", NULL, run_copy, cancel_one, true },
	{ "wait_idle", hold_one, run_wait_idle, drop_and_cancel, true },
	{ "pool_drain", hold_one, run_drain, drop_and_cancel, true },
	{ "register", NULL, run_register, unregister_one, false },
	{ "unregister", pin_one, run_unregister, must_work, false },
	{ "registration_pin", register_one, run_pin, unregister_one, false },
	{ "registration_revoked", pin_one, run_revoked, unregister_one, false },
	{ "reclaim", NULL, run_reclaim, end_job_and_refill, true },
	{ "refill", reclaim_to_the_end, run_refill, end_job, true },
	{ "job_wait", begin_reclaim, run_job_wait, end_job_of_all, true },
	{ "next_event", reclaim_all, run_next_event, end_job_of_all, false },
	{ "job_cancel", reclaim_all, run_job_cancel, end_job_of_all, false },
	{ "job_report", reclaim_all, run_job_report, end_job_of_all, false },
	{ "job_end", reclaim_all, run_job_end, refill_after_the_end, false },
	{ "pool_create", NULL, run_create, close_other, true },
	{ "pool_open", create_and_close, run_open, close_other, true },
	{ "pool_close", open_other, run_close, open_once_more, false },
	{ "check", NULL, run_check, open_once_more, true },
	{ "repair", NULL, run_repair, open_once_more, true },
	{ "repair_undo", NULL, run_repair_undo, open_once_more, true },
	/* The last, because it uses up the space. */
	{ "publish, in a new page", reserve_chunk, run_keep, must_work, true },
};

/* Uses the pool from reserve to the last drop. */
static void use_the_pool(struct context *s)
{
	struct daxpin_extent extent = live(&s->f, 4096);

	must(daxpin_hold(s->f.pool, extent, DAXPIN_HOLD_READ));
	must(publish(&s->f, DAXPIN_OP_RETIRE, extent));
	must(daxpin_drop(s->f.pool, extent));
	dp_invariants(s->f.pool);
}

struct attempt {
	const struct call *call;
	struct context *context;
};

static int try_call(void *arg)
{
	const struct attempt *attempt = arg;

	return attempt->call->run(attempt->context);
}

/* Returns the number of system calls that the call made. */
static unsigned int cancel_at(struct context *s, const struct call *call,
			      unsigned int at)
{
	struct attempt attempt = { call, s };
	struct cancelled c;

	if (call->before)
		call->before(s);
	c = call_cancelled_at(try_call, &attempt, at);
	if (!at && call->is_point) {
		/* The call has done nothing, so it can be made again. */
		assert_false(c.returned);
		assert_int_equal(c.seen, 0);
		c.ret = call->run(s);
		c.returned = true;
	}
	if (!c.returned)
		fail_msg("%s, cancelled in its system call %u, did not return",
			 call->name, at);
	/* The cancellation is not lost: the thread ends after the call. */
	assert_int_equal(c.ended, at <= c.seen);
	call->after(s, c.ret);
	use_the_pool(s);
	return c.seen;
}

static void a_call_is_cancelled_at_its_beginning_or_not_at_all(void **state)
{
	struct context *s = *state;
	unsigned int seen = 0, at;

	need_io_uring();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		/*
		 * at 0: pending before the call. A cancellation point then makes no
		 * system call.
		 */
		for (at = 0; at <= 1 || at <= seen; at++)
			seen = cancel_at(s, &calls[i], at);
		print_message("# %s: cancelled at each of %u system calls\n",
			      calls[i].name, seen);
	}
	must(daxpin_pool_drain(s->f.pool, daxpin_deadline_ms(600000)));
}

static int setup(void **state)
{
	struct context *s = calloc(1, sizeof(*s));
	void *made;

	if (!s || fixture_make(&made, 64 * MIB))
		return -1;
	memcpy(&s->f, made, sizeof(s->f));
	free(made);
	/* This makes publish and persist use system calls as well. */
	s->f.options.granularity = DAXPIN_GRANULARITY_PAGE;
	s->f.options.errmsg = s->f.errmsg;
	snprintf(s->other, sizeof(s->other), "%s/other", s->f.path);
	snprintf(s->backup, sizeof(s->backup), "%s/backup", s->f.path);
	if (daxpin_pool_create(s->f.path, &s->f.options, &s->f.pool))
		return -1;
	s->live = live(&s->f, 4096);
	*state = s;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_call_is_cancelled_at_its_beginning_or_not_at_all,
			setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("api_cancel", tests, NULL, NULL);
}
