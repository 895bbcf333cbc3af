/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forked children can release what they inherited without harming their parent, and can
 * use pools of their own, whatever the parent's threads were doing at the fork.
 */
#include "child.h"
#include "extent/thread_slot.h"
#include "fixture.h"
#include "invariant.h"
#include "needs.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MIB		(UINT64_C(1) << 20)
#define THREADS		8
#define CHILDREN	40
#define LONG_MS		600000

/* ------------------------------------------------------- what is inherited */

/* Counts this process's descriptors of files of the pool. */
static int count_descriptors(const char *path)
{
	DIR *dir = opendir("/proc/self/fd");
	char name[300], link[300];
	struct dirent *entry;
	int count = 0;

	while (dir && (entry = readdir(dir))) {
		ssize_t length;

		snprintf(name, sizeof(name), "/proc/self/fd/%s", entry->d_name);
		length = readlink(name, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = '\0';
		count += !!strstr(link, path);
	}
	if (dir)
		closedir(dir);
	return count;
}

static int count_mappings(const char *path)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[400];
	int count = 0;

	while (maps && fgets(line, sizeof(line), maps))
		count += !!strstr(line, path);
	if (maps)
		fclose(maps);
	return count;
}

static int gives_back(void *arg)
{
	struct fixture *f = arg;

	if (!count_descriptors(f->path) || !count_mappings(f->path))
		return 1;
	if (daxpin_pool_close(f->pool))
		return 2;
	return count_descriptors(f->path) || count_mappings(f->path) ? 3 : 0;
}

static int opens_at_once(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_pool *pool;

	return -daxpin_pool_open(f->path, &f->options, &pool);
}

/*
 * Tests the lock through a second open file, in a child: a close here would drop the
 * parent's alive byte.
 */
static int finds_it_locked(void *arg)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", *(int *)arg);
	fd = open(path, O_RDWR);
	return fd < 0 || !flock(fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK;
}

static void a_child_releases_what_it_inherited_without_unlocking_the_parent(
	void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);
	int fd = daxpin_lock_fd(f->pool);

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(run_child(gives_back, f), 0);
	/* The parent's lock and pool are unchanged. */
	assert_int_equal(run_child(finds_it_locked, &fd), 0);
	assert_int_equal(run_child(opens_at_once, f), EBUSY);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	dp_invariants(f->pool);
}

/* ------------------------------------------- in a callback, and beside a wait */

/* Closes the inherited pool, and creates and closes another. */
static int uses_another_pool(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_pool_options options = f->options;
	struct daxpin_pool *pool;
	char path[80];

	if (daxpin_pool_close(f->pool))
		return 1;
	snprintf(path, sizeof(path), "%s/other", f->path);
	options.flags = DAXPIN_POOL_CREATE;
	options.pool_size = 32 * MIB;
	if (daxpin_pool_open(path, &options, &pool))
		return 2;
	return daxpin_pool_close(pool) ? 3 : 0;
}

struct forking {
	struct fixture *f;
	unsigned int forks;
	int status;
};

static void fork_here(struct forking *forking)
{
	forking->forks++;
	forking->status |= run_child(uses_another_pool, forking->f);
}

static int fork_at_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	fork_here(arg);
	return 0;
}

static int fork_at_name(struct daxpin_pool *pool, const char *name,
			struct daxpin_extent extent, void *arg)
{
	(void)name;
	return fork_at_extent(pool, extent, 0, arg);
}

/* The library holds a mutex of the list of holders during this callback. */
static void fork_at_holder(const struct daxpin_holder *holder, void *arg)
{
	(void)holder;
	fork_here(arg);
}

static void a_child_forked_in_a_callback_opens_another_pool(void **state)
{
	struct fixture *f = *state;
	struct forking forking = { .f = f };
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_op op = {
		.type = DAXPIN_OP_ROOT, .extent = extent, .name = "here"
	};
	struct daxpin_hold hold = { .access = 0 };
	const struct daxpin_extent all = { 0, 0 };

	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ, "this",
					      &hold), 0);
	assert_int_equal(daxpin_foreach(f->pool, fork_at_extent, &forking), 0);
	assert_int_equal(daxpin_roots(f->pool, fork_at_name, &forking), 0);
	assert_int_equal(daxpin_holds(f->pool, all, fork_at_holder, &forking), 1);
	assert_int_equal(forking.forks, 3);
	assert_int_equal(forking.status, 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
	dp_invariants(f->pool);
}

static struct daxpin_extent waited_for;

static void *wait_until_idle(void *arg)
{
	struct fixture *f = arg;

	return (void *)(intptr_t)daxpin_wait_idle(f->pool, waited_for,
						  daxpin_deadline_ms(LONG_MS));
}

static void *drain(void *arg)
{
	struct fixture *f = arg;

	return (void *)(intptr_t)daxpin_pool_drain(f->pool,
						   daxpin_deadline_ms(LONG_MS));
}

/* Another thread waits in fn() for the extent. A child's close must not wake it. */
static void fork_beside(struct fixture *f, void *(*fn)(void *arg))
{
	pthread_t thread;
	void *ret;

	assert_int_equal(daxpin_hold(f->pool, waited_for, DAXPIN_HOLD_READ), 0);
	assert_int_equal(pthread_create(&thread, NULL, fn, f), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(run_child(uses_another_pool, f), 0);
	assert_int_equal(daxpin_idle(f->pool, waited_for), 0);
	assert_int_equal(daxpin_drop(f->pool, waited_for), 0);
	assert_int_equal(pthread_join(thread, &ret), 0);
	assert_null(ret);
}

static void a_child_forked_beside_a_wait_opens_another_pool(void **state)
{
	struct fixture *f = *state;

	waited_for = live(f, 4096);
	fork_beside(f, wait_until_idle);
	fork_beside(f, drain);
}

/* ---------------------------------------------------------- after daemon(3) */

/* How the process opens its pool, and how many times it forks, each time exiting in the
 * parent. */
struct daemon {
	struct fixture *f;
	uint32_t flags;
	int forks;
};

/*
 * Runs in the process that survives. Returns 0, or the number of the step that failed.
 */
static int lives_on(struct fixture *f)
{
	struct daxpin_pool *pool = f->pool;

	f->options.flags = 0;
	if (daxpin_pool_open(f->path, &f->options, &f->pool) != -EBUSY)
		return 1;
	if (!strstr(f->errmsg, "this process") ||
	    !strstr(f->errmsg, "daxpin_pool_close()"))
		return 2;
	if (daxpin_pool_close(pool))
		return 3;
	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 4;
	return daxpin_pool_close(f->pool) ? 5 : 0;
}

/*
 * Forks, and exits in the parent. Returns in the child once the parent has ended: until
 * then the parent, too, has the pool open.
 */
static void fork_and_exit(void)
{
	pid_t parent = getpid();

	if (fork())
		_exit(0);
	prctl(PR_SET_PDEATHSIG, 0);
	while (getppid() == parent)
		usleep(1000);
}

/* An owner that forks and exits, as daemon(3) does. */
static int becomes_a_daemon(void *arg, int fd)
{
	const struct daemon *daemon = arg;
	struct fixture *f = daemon->f;
	unsigned char step;

	f->options.flags = daemon->flags;
	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 1;
	for (int i = 0; i < daemon->forks; i++)
		fork_and_exit();
	step = lives_on(f);
	send_message(fd, &step, sizeof(step));
	_exit(0);
}

static void daemon_opens_again(struct fixture *f, uint32_t flags, int forks)
{
	struct daemon daemon = { f, flags, forks };
	unsigned char step = 255;
	struct child child;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	child = fork_child(becomes_a_daemon, &daemon);
	assert_true(receive_message(child.fd, &step, sizeof(step)));
	assert_int_equal(end_child(&child), 0);
	assert_int_equal(step, 0);
	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

static void a_process_opens_its_pool_again_after_daemon(void **state)
{
	daemon_opens_again(*state, 0, 1);
}

static void a_process_opens_its_pool_again_after_two_forks(void **state)
{
	daemon_opens_again(*state, 0, 2);
}

/* The daemon has the pool open for reading, with a shared lock, when it forks. Then it
 * opens the pool for writing. */
static void a_reader_opens_its_pool_again_after_daemon(void **state)
{
	daemon_opens_again(*state, DAXPIN_POOL_READONLY, 1);
}

/* ------------------------------------------------------------- thread slots */

static pthread_barrier_t slots_taken, slots_used;

static void *take_slot(void *arg)
{
	(void)arg;
	dp_thread_slot();
	pthread_barrier_wait(&slots_taken);
	pthread_barrier_wait(&slots_used);
	return NULL;
}

static void *return_slot(void *arg)
{
	(void)arg;
	return (void *)(uintptr_t)dp_thread_slot();
}

static int has_slots(void *arg)
{
	pthread_t thread;
	void *slot;

	if (dp_thread_slot() != *(unsigned int *)arg)
		return 1;
	if (pthread_create(&thread, NULL, return_slot, NULL) ||
	    pthread_join(thread, &slot))
		return 2;
	if ((uintptr_t)slot == DP_THREAD_SLOT_SHARED)
		return 3;
	return (uintptr_t)slot == *(unsigned int *)arg ? 4 : 0;
}

static void a_child_can_use_the_thread_slots_of_its_parents_threads(void **state)
{
	pthread_t thread[DP_THREAD_SLOTS];
	unsigned int mine = dp_thread_slot();

	(void)state;
	assert_int_not_equal(mine, DP_THREAD_SLOT_SHARED);
	assert_int_equal(pthread_barrier_init(&slots_taken, NULL,
					      DP_THREAD_SLOTS + 1), 0);
	assert_int_equal(pthread_barrier_init(&slots_used, NULL,
					      DP_THREAD_SLOTS + 1), 0);
	for (unsigned int i = 0; i < DP_THREAD_SLOTS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, take_slot, NULL), 0);
	pthread_barrier_wait(&slots_taken);
	assert_int_equal(run_child(has_slots, &mine), 0);
	pthread_barrier_wait(&slots_used);
	for (unsigned int i = 0; i < DP_THREAD_SLOTS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	pthread_barrier_destroy(&slots_taken);
	pthread_barrier_destroy(&slots_used);
}

/* --------------------------------------------- a child without its handlers */

static pthread_barrier_t end_begun, end_over;

static void wait_in_an_end(unsigned int slot, void *arg)
{
	(void)slot;
	(void)arg;
	pthread_barrier_wait(&end_begun);
	pthread_barrier_wait(&end_over);
}

/* fork() without the handlers of pthread_atfork(). */
static pid_t fork_raw(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

/* A child has one thread, so a mutex that it waits for is never unlocked. */
static bool waits_for_a_mutex(pid_t pid)
{
	char path[40], text[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return text[0] && strtol(text, NULL, 10) == SYS_futex;
}

static int end_raw(pid_t pid)
{
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (waits_for_a_mutex(pid)) {
			print_message("# the child waits for a mutex of another thread\n");
			kill(pid, SIGKILL);
		}
		usleep(1000);
	}
	return status;
}

/* Another thread of the parent holds the mutex of the list of thread-end callbacks. */
static void a_child_of_a_raw_clone_opens_a_pool_while_a_parents_thread_ends(
	void **state)
{
	struct fixture *f = *state;
	struct dp_thread_end end = { .fn = wait_in_an_end };
	pthread_t thread;
	int status;
	pid_t pid;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	assert_int_equal(pthread_barrier_init(&end_begun, NULL, 2), 0);
	assert_int_equal(pthread_barrier_init(&end_over, NULL, 2), 0);
	assert_int_equal(dp_thread_ends_watch(&end), 0);
	assert_int_equal(pthread_create(&thread, NULL, return_slot, NULL), 0);
	pthread_barrier_wait(&end_begun);
	pid = fork_raw();
	if (!pid) {
		alarm(600);
		_exit(daxpin_pool_open(f->path, &f->options, &f->pool) ? 1 :
		      -daxpin_pool_close(f->pool));
	}
	status = end_raw(pid);
	pthread_barrier_wait(&end_over);
	assert_int_equal(pthread_join(thread, NULL), 0);
	dp_thread_ends_unwatch(&end);
	assert_int_equal(status, 0);
	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

/* ------------------------------------------------------------- busy threads */

struct busy {
	pthread_t thread;
	char path[80];
	char shared[80];		/* the pool of the first thread */
	void (*turn)(struct busy *busy);
	atomic_bool *stop;
	atomic_uint turns;
};

/* cmocka's assertions work only in the thread that runs the test. */
#define busy_must(call)							\
	do {								\
		int busy_ret = (call);					\
									\
		if (busy_ret) {						\
			fprintf(stderr, "%s: %d\n", #call, busy_ret);	\
			abort();					\
		}							\
	} while (0)

static int open_or_create(const char *path,
			  const struct daxpin_pool_options *options,
			  struct daxpin_pool **ret_pool)
{
	int ret = daxpin_pool_open(path, options, ret_pool);

	return ret && ret != -EBUSY ? daxpin_pool_create(path, options, ret_pool) : ret;
}

static struct daxpin_pool *busy_open(struct busy *busy)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.pool_size = 32 * MIB,
		.segment_size = DAXPIN_SEGMENT_MIN,
		.deadline_ns = daxpin_deadline_ms(LONG_MS),
	};
	struct daxpin_pool *pool;
	int ret;

	/*
	 * Neither an open nor a create waits for an open of another thread of the
	 * process, so they are repeated.
	 */
	while ((ret = open_or_create(busy->path, &options, &pool)) == -EBUSY)
		usleep(100);
	busy_must(ret);
	return pool;
}

/* Opens and closes a pool that no other thread uses. */
static void open_and_close(struct busy *busy)
{
	busy_must(daxpin_pool_close(busy_open(busy)));
}

/* Opens and closes a pool that other threads open too, so most opens are refused. */
static void fail_to_open(struct busy *busy)
{
	struct daxpin_pool *pool;

	if (!daxpin_pool_open(busy->shared, NULL, &pool))
		busy_must(daxpin_pool_close(pool));
}

static void busy_end_job(struct daxpin_job *job)
{
	busy_must(daxpin_job_wait(job, DAXPIN_NO_DEADLINE));
	busy_must(daxpin_job_end(job));
}

/* Takes most of a pool's mutexes at some time. */
static void use_a_pool(struct busy *busy)
{
	const struct daxpin_job_options some = {
		.size = sizeof(some), .keep_bytes = 8 * MIB,
		.segment = DAXPIN_ALL_SEGMENTS,
		.flags = has_io_uring() ? 0 : DAXPIN_JOB_BLOCKING,
	};
	const struct daxpin_job_options all = {
		.size = sizeof(all), .segment = DAXPIN_ALL_SEGMENTS,
		.flags = some.flags,
	};
	struct daxpin_pool *pool = busy_open(busy);

	for (int i = 0; i < 20; i++) {
		struct daxpin_op op = { .type = DAXPIN_OP_KEEP };
		struct daxpin_hold hold = { .access = 0 };
		struct daxpin_job *job;

		busy_must(daxpin_reserve(pool, 8192, 0, &op.extent));
		busy_must(daxpin_hold_labelled(pool, op.extent,
					       DAXPIN_HOLD_READ, "busy",
					       &hold));
		busy_must(daxpin_publish(pool, &op, 1, NULL, NULL));
		busy_must(daxpin_drop_labelled(pool, &hold));
		op.type = DAXPIN_OP_RETIRE;
		busy_must(daxpin_publish(pool, &op, 1, NULL, NULL));
		busy_must(daxpin_reclaim(pool, &some, &job));
		busy_end_job(job);
		busy_must(daxpin_refill(pool, &all, &job));
		busy_end_job(job);
	}
	busy_must(daxpin_pool_close(pool));
}

#define BUSY_TURNS	4

static void (*const busy_turns[BUSY_TURNS])(struct busy *) = {
	open_and_close, fail_to_open, use_a_pool, fail_to_open,
};

static void *be_busy(void *arg)
{
	struct busy *busy = arg;

	while (!atomic_load(busy->stop)) {
		busy->turn(busy);
		atomic_fetch_add(&busy->turns, 1);
	}
	return NULL;
}

static int opens_another_pool(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_pool *pool;
	int ret;

	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	ret = daxpin_pool_open(f->path, &f->options, &pool);
	return ret ? -ret : -daxpin_pool_close(pool);
}

/* Returns the number of children: CHILDREN, or DAXPIN_TEST_FORKS if it is set. */
static int count_children(void)
{
	const char *count = getenv("DAXPIN_TEST_FORKS");

	return count ? atoi(count) : CHILDREN;
}

/*
 * glibc's allocator works in a child; ASan's stays locked if another thread held its
 * lock.
 */
#if defined(__SANITIZE_ADDRESS__)
#define ALLOCATOR_BREAKS_IN_A_CHILD	true
#else
#define ALLOCATOR_BREAKS_IN_A_CHILD	false
#endif

static void start_busy(struct busy *busy, const struct fixture *f, int number,
		       atomic_bool *stop)
{
	snprintf(busy->path, sizeof(busy->path), "%s/%d", f->path, number);
	snprintf(busy->shared, sizeof(busy->shared), "%s/0", f->path);
	busy->turn = busy_turns[number % BUSY_TURNS];
	busy->stop = stop;
	assert_int_equal(pthread_create(&busy->thread, NULL, be_busy, busy), 0);
}

static void a_child_forked_while_threads_use_pools_opens_another_pool(void **state)
{
	struct fixture *f = *state;
	struct busy busy[THREADS] = { 0 };
	atomic_bool stop = false;
	int children = count_children();

	if (ALLOCATOR_BREAKS_IN_A_CHILD) {
		print_message("# skipped: AddressSanitizer's allocator can stay locked in a forked child\n");
		skip();
	}
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	for (int i = 0; i < THREADS; i++)
		start_busy(&busy[i], f, i, &stop);
	for (int i = 0; i < THREADS; i++)
		while (!atomic_load(&busy[i].turns))
			usleep(1000);
	for (int i = 0; i < children; i++)
		assert_int_equal(run_child(opens_another_pool, f), 0);
	atomic_store(&stop, true);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(busy[i].thread, NULL), 0);
	print_message("# %d children opened a pool\n", children);
	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_child_releases_what_it_inherited_without_unlocking_the_parent),
		TEST(a_child_forked_in_a_callback_opens_another_pool),
		TEST(a_child_forked_beside_a_wait_opens_another_pool),
		TEST(a_process_opens_its_pool_again_after_daemon),
		TEST(a_process_opens_its_pool_again_after_two_forks),
		TEST(a_reader_opens_its_pool_again_after_daemon),
		TEST(a_child_can_use_the_thread_slots_of_its_parents_threads),
		TEST(a_child_of_a_raw_clone_opens_a_pool_while_a_parents_thread_ends),
		TEST(a_child_forked_while_threads_use_pools_opens_another_pool),
	};

	if (skip_all_without_wipe_on_fork())
		return 0;
	return cmocka_run_group_tests_name("api_fork", tests, NULL, NULL);
}
