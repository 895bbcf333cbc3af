/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads reserve, hold, publish, retire, drop, wait and watch at random
 * (actions.c), and a shadow knows the owner of each block (shadow.c) and of each small
 * object (objects.c). Meanwhile the pool grows by a segment, or loses it. A round ends
 * when a drain succeeds, or after a while; then all threads pause, everything is
 * compared with the shadow, and the pool is drained, closed and opened again.
 *
 *	stress [--seconds N] [--threads N] [--seed N] [--kills N]
 *
 * Without options it takes a few seconds, for every build. All of it runs in a child,
 * so that the pool is always removed. The seed decides what threads do; the scheduler
 * decides the order.
 *
 * In a second test (killed.c) such children are killed, and each next one finds what
 * the one before has left; every other kill comes while the pool grows or shrinks. For
 * 200 kills and nothing else: stress --seconds 0 --kills 200.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "fixture.h"
#include "support/invariant.h"
#include "child.h"
#include "killed.h"
#include "needs.h"
#include "objects.h"

#define ACTIONS_MAX	32

static struct {
	unsigned int seconds, threads, seed, kills;
} option = { 3, 4, 0, 3 };

/* In memory that a child shares with its parent, which kills it. */
static struct {
	_Atomic uint64_t resizes_begun, grown, shrunk;
	struct killed survived;
} *victim;

static struct {
	struct fixture *f;
	struct thread thread[THREADS_MAX];
	struct thread self;		/* of the main thread, for its numbers */
	_Atomic unsigned int quiet;	/* threads that have paused */
	_Atomic bool go;		/* threads drop the holds in the bag and end */
	pthread_t consumer;
	int leave;			/* eventfd: ends the consumer */
	_Atomic uint64_t done[ACTIONS_MAX];
	uint64_t rounds, drained, holes, grown, shrunk;
} run;

static void must(const char *call, int ret, int right)
{
	if (ret != right)
		shadow_fail("%s: %d, %s", call, ret, run.f->errmsg);
}

/* ------------------------------------------------------------- the threads */

static void *work(void *arg)
{
	struct thread *thread = arg;

	while (!atomic_load(&world.stop)) {
		int i = act(thread);

		if (i >= 0)
			atomic_fetch_add_explicit(&run.done[i], 1,
						  memory_order_relaxed);
	}
	atomic_fetch_add(&run.quiet, 1);
	while (!atomic_load(&run.go))
		usleep(100);
	while (drop_from_bag(thread))
		;
	/* After the last drop the pool may be closed: do not access it. */
	return NULL;
}

/* Sleeps until there is an event. If it is not woken, it sleeps for ever. */
static void *consume(void *arg)
{
	struct pollfd fd[] = {
		{ daxpin_event_fd(world.pool), POLLIN, 0 },
		{ run.leave, POLLIN, 0 },
	};
	uint64_t count;

	while (!fd[1].revents) {
		while (read(fd[0].fd, &count, sizeof(count)) > 0)
			;
		if (!daxpin_event_arm(world.pool))
			poll(fd, 2, -1);
		else
			poll(&fd[1], 1, 0);
		while (take_event())
			;
	}
	return arg;
}

static void begin_consumer(void)
{
	run.leave = eventfd(0, EFD_CLOEXEC);
	must("thread", pthread_create(&run.consumer, NULL, consume, NULL), 0);
}

static void end_consumer(void)
{
	uint64_t one = 1;

	if (write(run.leave, &one, sizeof(one)) != sizeof(one))
		shadow_fail("the consumer cannot be ended");
	pthread_join(run.consumer, NULL);
	close(run.leave);
}

/* ------------------------------------------------ comparing with the shadow */

/*
 * While all threads pause, the library's state of each extent and its holds must be
 * those of the shadow, and its counters those of its words (I29).
 */
static void compare(void)
{
	for (uint64_t b = 0; b < STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE; b++) {
		enum daxpin_state state = DAXPIN_STATE_FREE;
		struct named named;
		enum shadow_state right = shadow_look(b, &named);
		int ret, holds;

		if (!named.generation)
			continue;
		ret = daxpin_state(world.pool, named.extent, &state);
		if ((right == SHADOW_OVER) != (ret == -ESTALE) ||
		    (!ret && (int)state != (int)right))
			shadow_fail("generation %" PRIu64 " of block %" PRIu64
				    " is in state %d (%d), and should be in %d",
				    named.generation, b, state, ret, right);
		if (right == SHADOW_OVER)
			continue;
		holds = daxpin_holds(world.pool, named.extent, NULL, NULL);
		if (holds != (int)shadow_holds(named))
			shadow_fail("generation %" PRIu64 " has %d holds, not %u",
				    named.generation, holds,
				    shadow_holds(named));
		check_stamps(named, 0);
	}
	objects_compare();
	dp_invariants(world.pool);
}

static int count_live(struct daxpin_pool *pool, struct daxpin_extent extent,
		      uint64_t size, void *arg)
{
	struct named named;
	uint64_t *count = arg;

	(void)pool;
	if (shadow_look(extent.addr / DAXPIN_BLOCK_SIZE, &named) !=
	    SHADOW_LIVE || named.blocks * DAXPIN_BLOCK_SIZE != size)
		shadow_fail("an extent of %" PRIu64 " bytes at 0x%" PRIx64
			    " came back", size, extent.addr);
	*count += size;
	return 0;
}

/* Extents that were kept are there with their bytes, and no others. */
static void compare_reopened(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	uint64_t live = 0, found = 0;
	struct named named;

	for (uint64_t b = 0; b < STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE; b++) {
		enum shadow_state state = shadow_look(b, &named);
		struct daxpin_extent extent;

		if (!named.generation)
			continue;
		if (state != SHADOW_LIVE) {
			shadow_forget(named);
			continue;
		}
		must("extent_at", daxpin_extent_at(world.pool, named.extent.addr,
						   &extent), 0);
		shadow_reopened(&named, extent);
		check_stamps(named, 0);
		live += named.blocks * DAXPIN_BLOCK_SIZE;
	}
	must("foreach", daxpin_foreach(world.pool, count_live, &found), 0);
	must("info", daxpin_pool_info(world.pool, &info), 0);
	if (live != found || info.free_bytes + info.hole_bytes !=
			     info.usable_bytes - info.slab_bytes - live)
		shadow_fail("%" PRIu64 " bytes live, %" PRIu64 " found, %" PRIu64
			    " in slabs, %" PRIu64 " free, %" PRIu64 " holes", live,
			    found, info.slab_bytes, info.free_bytes,
			    info.hole_bytes);
	objects_reopened();
	run.holes += info.hole_bytes / DAXPIN_CHUNK_SIZE;
	dp_invariants(world.pool);
}

/* --------------------------------------------------------------- the rounds */

static uint32_t segments(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	must("info", daxpin_pool_info(world.pool, &info), 0);
	return info.segments;
}

static int refill_all(void)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.flags = world.job_flags,
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
	};
	struct daxpin_job *job;

	must("refill", daxpin_refill(world.pool, &options, &job), 0);
	must("refill", daxpin_job_wait(job, daxpin_deadline_ms(2 * HANG_MS)), 0);
	must("report", daxpin_job_report(job, NULL, NULL, &summary), 0);
	must("refill", daxpin_job_end(job), 0);
	return summary.result;
}

/* Removes everything, so that whole chunks are free. */
static void clear_all(void)
{
	struct named named;

	objects_leave(0);
	for (int i = 0; i < NAMES; i++) {
		char name[16];
		struct daxpin_op op = {
			.type = DAXPIN_OP_ROOT, .name = name,
		};
		int ret;

		snprintf(name, sizeof(name), "r%d", i);
		ret = daxpin_publish(world.pool, &op, 1, NULL, NULL);
		if (ret != -ENOENT)
			must("removing a name", ret, 0);
	}
	for (uint64_t b = 0; b < STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE; b++) {
		struct daxpin_op op = { .type = DAXPIN_OP_RETIRE };

		if (shadow_look(b, &named) != SHADOW_LIVE)
			continue;
		op.extent = named.extent;
		shadow_ending(named);
		must("retire", daxpin_publish(world.pool, &op, 1,
					      NULL, NULL), 0);
	}
}

/*
 * Most of the space is in pads, so that the rest is reused again and again. A pad that
 * is cancelled is a chunk for a reclaim.
 */
static void make_pads(void)
{
	must("refill", refill_all(), 0);
	world.pads = segments() * SEGMENT_PADS - 1;
	if (chance(&run.self, 4))
		clear_all();
	for (uint32_t i = 0; i < PADS; i++) {
		world.pad[i].named.generation = 0;
		if (i < world.pads)
			make_pad(&run.self, &world.pad[i]);
	}
}

/* No slot is ever empty: each has a live extent, a new one, or a copy. */
static void fill_slots(void)
{
	struct named named;
	uint32_t filled = 0;

	for (uint64_t b = 0; b < STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE; b++)
		if (shadow_look(b, &named) == SHADOW_LIVE && filled < SLOTS &&
		    named.blocks <= EXTENT_BLOCKS)
			world.slot[filled++].named = named;
	while (filled < SLOTS && !make_extent(&run.self, &named))
		world.slot[filled++].named = named;
	if (!filled)
		shadow_fail("no extent is live and no space is free");
	for (uint32_t i = filled; i < SLOTS; i++)
		world.slot[i].named = world.slot[chance(&run.self,
							filled)].named;
}

/*
 * A thread that still waits has no hold, and what it waits for is in the bag. A thread
 * that has paused does nothing until it is resumed.
 */
static void stop_all(void)
{
	int ms = 0;

	atomic_store(&world.stop, true);
	for (; atomic_load(&run.quiet) < option.threads; ms++) {
		usleep(1000);
		if (ms > 5)
			drop_from_bag(&run.self);
	}
}

/* All threads pause; only the kernel may be active. */
static void end_jobs(void)
{
	for (int i = 0; i < JOBS; i++) {
		struct daxpin_job *job = world.job[i].job;

		if (!job)
			continue;
		must("close, with a job", daxpin_pool_close(world.pool), -EBUSY);
		must("cancel", daxpin_job_cancel(job), 0);
		must("a job that was cancelled",
		     daxpin_job_wait(job, daxpin_deadline_ms(HANG_MS)), 0);
		if (!end_job(&world.job[i]))
			shadow_fail("a job has ended but daxpin_job_end fails");
	}
}

/* A pool in use does not close, and continues to work. */
static void try_close(void)
{
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "stress",
	};
	struct daxpin_registration *registration;

	must("register", daxpin_register(world.pool, 0, &options,
					 &registration), 0);
	must("close, registered", daxpin_pool_close(world.pool), -EBUSY);
	must("unregister", daxpin_unregister(registration), 0);
	if (world.bag.count)
		must("close, held", daxpin_pool_close(world.pool), -EBUSY);
}

/* Everything is idle, so each watch has its event, and the consumer was woken. */
static void wait_for_events(void)
{
	uint64_t deadline_ns = daxpin_deadline_ms(HANG_MS);

	for (unsigned int i = 0; i < option.threads; i++)
		for (int j = 0; j < WATCHES; j++)
			while (atomic_load(&run.thread[i].watch[j].state) ==
			       WATCH_SET) {
				if (daxpin_deadline_ms(0) > deadline_ns)
					shadow_fail("a watch has no event, or the consumer was not woken");
				usleep(100);
			}
}

static void join_all(void)
{
	for (unsigned int i = 0; i < option.threads; i++)
		pthread_join(run.thread[i].thread, NULL);
}

/*
 * Lets the threads drop the remaining holds, drains and closes. If abrupt, it closes as
 * soon as the drain has succeeded; the last drop may not have returned by then.
 */
static void drain_and_close(bool abrupt)
{
	if (abrupt) {
		end_consumer();
		try_close();
	}
	atomic_fetch_add(&world.gates_begun, 1);
	atomic_store(&run.go, true);
	must("drain", daxpin_pool_drain(world.pool, DAXPIN_NO_DEADLINE), 0);
	if (!abrupt) {
		wait_for_events();
		end_consumer();
		join_all();
	}
	must("close", daxpin_pool_close(world.pool), 0);
	if (abrupt)
		join_all();
	atomic_store(&world.gates_over, atomic_load(&world.gates_begun));
}

static void begin_round(void)
{
	make_pads();
	fill_slots();
	atomic_store(&world.stop, false);
	atomic_store(&world.drained, false);
	atomic_store(&run.quiet, 0);
	atomic_store(&run.go, false);
	world.bag.in_use = chance(&run.self, 4);
	world.jobs_in_use = chance(&run.self, 3);
	begin_consumer();
	for (unsigned int i = 0; i < option.threads; i++) {
		struct thread *thread = &run.thread[i];

		/* Closing the pool has ended all watches. */
		memset(thread, 0, sizeof(*thread));
		thread->random = (option.seed * 4096ull + run.rounds) *
				 THREADS_MAX + i + 1;
		for (int j = 0; j < 8; j++)
			chance(thread, 1);
		must("thread", pthread_create(&thread->thread, NULL, work,
					      thread), 0);
	}
}

/* The pool grows while threads use it, and is made smaller again in a later round. */
static void resize(void)
{
	if (victim)
		victim->resizes_begun++;
	if (segments() == STRESS_SIZE / STRESS_SEGMENT) {
		grow();
		run.grown++;
	} else {
		run.shrunk += shrink(&run.self, 100);
	}
	if (victim) {
		victim->grown += run.grown;
		victim->shrunk += run.shrunk;
		run.grown = run.shrunk = 0;
	}
}

static void round_of_it(void)
{
	uint32_t ms = 20 + chance(&run.self, 200);
	uint32_t at = chance(&run.self, victim ? ms : 3 * ms);

	/* On a machine that hangs, an alarm ends the round. */
	alarm(300);
	begin_round();
	for (uint32_t i = 0; i < ms && !atomic_load(&world.stop); i++) {
		usleep(1000);
		if (i == at)
			resize();
	}
	stop_all();
	end_jobs();
	compare();
	run.drained += atomic_load(&world.drained);
	drain_and_close(chance(&run.self, 2));
	must("open", daxpin_pool_open(run.f->path, &run.f->options,
				      &world.pool), 0);
	compare_reopened();
	run.rounds++;
}

static void say(uint64_t seconds)
{
	printf("# %" PRIu64 " s: %" PRIu64 " rounds, %" PRIu64 " ended by a drain, %"
	       PRIu64 " generations, %" PRIu64 " holes when rounds ended, %" PRIu64
	       " times larger, %" PRIu64 " times smaller;", seconds, run.rounds,
	       run.drained, shadow_generations(), run.holes, run.grown, run.shrunk);
	for (uint32_t i = 0; i < action_count(); i++)
		printf(" %s %" PRIu64 "%s", actions[i].name,
		       atomic_load(&run.done[i]),
		       i + 1 < action_count() ? "," : "\n");
	fflush(stdout);
}

/*
 * Each action must have had an effect, and a drain must have succeeded: otherwise the
 * run shows little.
 */
static bool is_enough(void)
{
	for (uint32_t i = 0; i < action_count(); i++)
		if (!atomic_load(&run.done[i]))
			return false;
	return run.drained && run.holes && run.shrunk;
}

static uint64_t seconds_now(void)
{
	return daxpin_deadline_ms(0) / 1000000000;
}

static void init_mutexes(void)
{
	pthread_mutex_init(&world.bag.mutex, NULL);
	for (int i = 0; i < SLOTS; i++)
		pthread_mutex_init(&world.slot[i].mutex, NULL);
	for (int i = 0; i < PADS; i++)
		pthread_mutex_init(&world.pad[i].mutex, NULL);
	for (int i = 0; i < JOBS; i++)
		pthread_mutex_init(&world.job[i].mutex, NULL);
}

/* Runs in a child: the rounds until the time is over. */
static int stress(void)
{
	uint64_t begin = seconds_now(), now, minute = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run.self.random = option.seed + 1;
	if (shadow_init(STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE, option.seed))
		return 1;
	objects_init();
	init_mutexes();
	must("create", daxpin_pool_create(run.f->path, &run.f->options,
					  &world.pool), 0);
	while ((now = seconds_now() - begin) < option.seconds || !is_enough()) {
		round_of_it();
		if (now / 60 != minute) {
			minute = now / 60;
			say(now);
		}
	}
	say(now);
	must("close", daxpin_pool_close(world.pool), 0);
	objects_fini();
	shadow_fini();
	return 0;
}

/* -------------------------------------------------------------------- kills */

/* Runs in a child until it is killed: looks at what the one before has left, and goes
 * on with it. */
static int stress_until_killed(void *arg, int fd)
{
	const unsigned int *number = arg;

	run.self.random = option.seed + *number + 1;
	init_mutexes();
	run.f->options.deadline_ns = daxpin_deadline_ms(HANG_MS);
	must("open", daxpin_pool_open(run.f->path, &run.f->options, &world.pool), 0);
	killed_compare(&victim->survived);
	must("refill", refill_all(), 0);
	killed_check_files(run.f->path);
	dp_invariants(world.pool);
	if (!send_step(fd))
		return 1;
	for (run.rounds = *number * 4096;; run.rounds++)
		round_of_it();
}

/* Kills it while the pool grows or shrinks, or some time after that. */
static void kill_one(unsigned int number)
{
	struct child child = fork_child(stress_until_killed, &number);
	bool is_begun = number % 2;
	uint64_t before;
	int status;

	assert_true(await_step(child.fd));
	before = is_begun ? victim->resizes_begun : victim->grown + victim->shrunk;
	while ((is_begun ? victim->resizes_begun : victim->grown + victim->shrunk) ==
	       before) {
		if (child_ends_within(&child, 0, &status))
			fail_msg("--seed %u: kill %u, exit %d", option.seed, number,
				 status);
		usleep(20);
	}
	usleep(number * 7919 % (is_begun ? 4000 : 40000));
	kill_child(&child);
}

/* A last child finds what the last kill has left, and is killed after that. */
static void a_kill_loses_nothing_while_the_pool_grows_and_shrinks(void **state)
{
	uint64_t extents = 0, objects = 0;

	run.f = *state;
	victim = mmap(NULL, sizeof(*victim), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(victim, MAP_FAILED);
	assert_int_equal(shadow_init(STRESS_SIZE_MAX / DAXPIN_BLOCK_SIZE, option.seed),
			 0);
	objects_init();
	assert_int_equal(daxpin_pool_create(run.f->path, &run.f->options, &run.f->pool),
			 0);
	assert_int_equal(daxpin_pool_close(run.f->pool), 0);
	run.f->pool = NULL;
	for (unsigned int i = 0; i <= option.kills; i++) {
		kill_one(i);
		extents += victim->survived.extents;
		objects += victim->survived.objects;
	}
	print_message("# %u kills: %llu grows and shrinks begun, %llu and %llu done, %llu extents and %llu objects found\n",
		      option.kills + 1, (unsigned long long)victim->resizes_begun,
		      (unsigned long long)victim->grown,
		      (unsigned long long)victim->shrunk, (unsigned long long)extents,
		      (unsigned long long)objects);
	assert_true(extents && objects);
	objects_fini();
	shadow_fini();
	munmap(victim, sizeof(*victim));
	victim = NULL;
}

/* ---------------------------------------------------------------- the tests */

static void no_block_has_two_generations_at_once(void **state)
{
	int status;
	pid_t pid;

	run.f = *state;
	print_message("# stress: --seed %u, %u s, %u threads\n", option.seed,
		      option.seconds, option.threads);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		exit(stress());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("--seed %u: exit %d, signal %d", option.seed,
			 WEXITSTATUS(status),
			 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

struct leaver {
	pthread_t thread;
	struct fixture *f;
	struct daxpin_extent extent;
};

static void *hold_and_leave(void *arg)
{
	struct leaver *leaver = arg;

	for (int i = 0; i < 100; i++)
		if (daxpin_hold(leaver->f->pool, leaver->extent,
				DAXPIN_HOLD_READ) ||
		    daxpin_drop(leaver->f->pool, leaver->extent))
			return NULL;
	return leaver;
}

/*
 * Starts more short-lived threads than there are thread slots: slots are reused, and
 * some threads share one.
 */
static void counts_survive_their_threads(void **state)
{
	struct fixture *f = *state;
	struct leaver leaver[100];
	struct daxpin_extent extent = live(f, 4096);

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++) {
			leaver[i] = (struct leaver) { .f = f, .extent = extent };
			assert_int_equal(pthread_create(&leaver[i].thread, NULL,
							hold_and_leave,
							&leaver[i]), 0);
		}
		for (int i = 0; i < 100; i++) {
			void *done;

			pthread_join(leaver[i].thread, &done);
			assert_ptr_equal(done, &leaver[i]);
		}
		dp_invariants(f->pool);
	}
}

static int no_pool(void **state)
{
	return fixture_make(state, STRESS_SIZE);
}

static unsigned int number(const char *text, unsigned int most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (*end || end == text || value > most) {
		fprintf(stderr, "%s: a number up to %u\n", text, most);
		exit(2);
	}
	return value;
}

static void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "threads", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'r' },
		{ "kills", required_argument, NULL, 'k' },
		{ 0 },
	};
	int letter;

	option.seed = time(NULL) & 0xffffff;
	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (letter == 's')
			option.seconds = number(optarg, UINT32_MAX);
		else if (letter == 't')
			option.threads = number(optarg, THREADS_MAX);
		else if (letter == 'r')
			option.seed = number(optarg, UINT32_MAX);
		else if (letter == 'k')
			option.kills = number(optarg, UINT16_MAX);
		else
			exit(2);
	}
	if (!option.threads)
		exit(2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			no_block_has_two_generations_at_once, no_pool,
			fixture_teardown),
		cmocka_unit_test_setup_teardown(
			a_kill_loses_nothing_while_the_pool_grows_and_shrinks,
			no_pool, fixture_teardown),
		cmocka_unit_test_setup_teardown(counts_survive_their_threads,
						fixture_setup,
						fixture_teardown),
	};

	read_options(argc, argv);
	world.job_flags = has_io_uring() ? 0 : DAXPIN_JOB_BLOCKING;
	return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
