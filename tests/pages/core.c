/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The examples of the manual pages of libdaxpin: each is included as it stands on its
 * page (extract.py), in a function that has the variables and functions that it names.
 */
#include <assert.h>
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include "fixture.h"
#include "needs.h"

/* clang compares the indentation of an example's last line with that of the line after
 * the #include. */
#pragma GCC diagnostic ignored "-Wmisleading-indentation"

#define MEANWHILE	meanwhile(pool);

static void (*meanwhile_fn)(struct daxpin_pool *pool);

static void meanwhile(struct daxpin_pool *pool)
{
	if (meanwhile_fn)
		meanwhile_fn(pool);
	meanwhile_fn = NULL;
}

/* Examples print to stderr, because stdout has the lines of TAP. */
static int print_to_stderr(void)
{
	int saved = dup(STDOUT_FILENO);

	fflush(stdout);
	assert_true(saved >= 0);
	assert_int_equal(dup2(STDERR_FILENO, STDOUT_FILENO), STDOUT_FILENO);
	return saved;
}

static void print_to_stdout(int saved)
{
	fflush(stdout);
	assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
	close(saved);
}

/* ------------------------------------------------------------- daxpin_check(3) */

static void check_example(const char *path)
{
#include "daxpin_check-1.inc"
}

static void check_reports_a_clean_pool(void **state)
{
	struct fixture *f = *state;
	int saved = print_to_stderr();

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	check_example(f->path);
	print_to_stdout(saved);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

/* -------------------------------------------------------------- daxpin_hold(3) */

static int hold_by_index(struct daxpin_pool *pool, struct daxpin_extent index,
			 uint64_t slot, struct daxpin_extent *ret_extent)
{
	struct daxpin_extent extent = { 0, 0 };
	int ret;

#include "daxpin_hold-1.inc"
	*ret_extent = extent;
	return ret;
}

static void an_index_of_addresses_needs_no_lock(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent index = live(f, 4096), one = live(f, 4096), found;
	struct daxpin_op set = {
		.type = DAXPIN_OP_SET, .extent = index, .offset = 16,
		.value = one.addr,
	};

	assert_int_equal(hold_by_index(f->pool, index, 2, &found), -ENOENT);
	assert_int_equal(daxpin_publish(f->pool, &set, 1, NULL, NULL), 0);
	assert_int_equal(hold_by_index(f->pool, index, 2, &found), 0);
	assert_int_equal(found.addr, one.addr);
	assert_int_equal(daxpin_drop(f->pool, one), 0);
}

static struct dma {
	struct daxpin_pool *pool;
	struct daxpin_hold hold;
	struct daxpin_extent extent;
} dma;

static void start_dma(void *memory, struct dma *request)
{
	assert_non_null(memory);
	assert_int_equal(daxpin_idle(request->pool, request->hold.extent), 0);
}

static int labelled_example(struct daxpin_pool *pool,
			    struct daxpin_extent extent, struct dma *request)
{
	int ret;

#include "daxpin_hold-2.inc"
	return ret;
}

static void a_labelled_hold_lasts_as_long_as_the_dma(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);

	dma = (struct dma) { .pool = f->pool };
	assert_int_equal(labelled_example(f->pool, extent, &dma), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

static int gathered;

static void start_gather(struct daxpin_pool *pool,
			 const struct daxpin_extent *extents, size_t n)
{
	for (size_t i = 0; i < n; i++)
		gathered += !daxpin_idle(pool, extents[i]);
}

static int complain(int ret, size_t failed)
{
	assert_int_equal(failed, 1);
	return ret;
}

static int many_example(struct daxpin_pool *pool,
			const struct daxpin_extent *extents, size_t n)
{
	size_t failed;
	int ret;

#include "daxpin_hold-3.inc"
	return ret;
}

static void many_are_held_or_none(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extents[2] = { live(f, 4096), live(f, 4096) };

	assert_int_equal(many_example(f->pool, extents, 2), 0);
	assert_int_equal(gathered, 2);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extents[1]), 0);
	assert_int_equal(many_example(f->pool, extents, 2), -ESTALE);
	assert_int_equal(daxpin_idle(f->pool, extents[0]), 1);
}

#include "daxpin_hold-4.inc"

static void try_to_close(struct daxpin_pool *pool)
{
#include "daxpin_hold-5.inc"
}

static void what_keeps_a_pool_open_is_printed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_hold hold = { 0 };
	int saved;

	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_READ,
					      "a peer", &hold), 0);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	saved = print_to_stderr();
	try_to_close(f->pool);
	print_to_stdout(saved);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
}

static int retire_and_wait(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct daxpin_op retire = {
		.type = DAXPIN_OP_RETIRE, .extent = extent,
	};
	int ret;

#include "daxpin_hold-6.inc"
	return ret;
}

static void a_retired_extent_is_waited_for(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(retire_and_wait(f->pool, live(f, 4096)), 0);
}

/* ------------------------------------------------------- daxpin_pool_create(3) */

#include "daxpin_pool_create-1.inc"

static void a_service_creates_its_pool_and_finds_it(void **state)
{
	struct fixture *f = *state;
	uint64_t size = f->options.pool_size;
	struct daxpin_pool *pool;
	char path[80];

	snprintf(path, sizeof(path), "%s/service", f->path);
	assert_int_equal(open_or_create(path, size, &pool), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(open_or_create(path, size, &pool), 0);
	assert_int_equal(daxpin_pool_close(pool), 0);
	assert_int_equal(open_or_create(path, 2 * size, &pool), -ENOSPC);
}

/* A process that has the pool open and writes a byte to fd when it has. */
static pid_t owner_to_be_killed(const struct fixture *f, int fd)
{
	struct daxpin_pool *pool;
	pid_t pid = fork();

	if (pid)
		return pid;
	if (open_or_create(f->path, f->options.pool_size, &pool) ||
	    write(fd, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void a_service_starts_again_after_a_kill(void **state)
{
	struct fixture *f = *state;
	int ends[2];
	pid_t pid;
	char byte;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(pipe(ends), 0);
	pid = owner_to_be_killed(f, ends[1]);
	assert_true(pid > 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(open_or_create(f->path, f->options.pool_size, &f->pool),
			 0);
	assert_int_equal(pool_info(f).unclean, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ends[0]);
}

static struct daxpin_pool *open_example(const char *path)
{
#include "daxpin_pool_create-2.inc"
	return pool;
}

static void a_pool_is_opened_with_a_deadline(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = open_example(f->path);
	assert_non_null(f->pool);
}

/* ----------------------------------------------------------- daxpin_publish(3) */

static int publish_example(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	int ret;

#include "daxpin_publish-1.inc"
	return ret;
}

static void look_whether_it_is_live(struct daxpin_pool *pool)
{
	enum daxpin_state state;

	assert_int_equal(daxpin_state(pool, dma.extent, &state), 0);
	assert_int_equal(state, DAXPIN_STATE_LIVE);
}

static void an_extent_is_kept_and_retired(void **state)
{
	struct fixture *f = *state;

	dma.extent = reserve(f, 4096);
	meanwhile_fn = look_whether_it_is_live;
	assert_int_equal(publish_example(f->pool, dma.extent), 0);
	assert_null(meanwhile_fn);
}

static int replace_example(struct daxpin_pool *pool,
			   struct daxpin_extent new_index,
			   struct daxpin_extent old_index)
{
	int ret;

#include "daxpin_publish-2.inc"
	return ret;
}

static void what_a_root_names_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent old_index = live(f, 4096), new_index, found;
	struct daxpin_op root = {
		.type = DAXPIN_OP_ROOT, .extent = old_index, .name = "index",
	};

	assert_int_equal(daxpin_publish(f->pool, &root, 1, NULL, NULL), 0);
	new_index = reserve(f, 4096);
	assert_int_equal(replace_example(f->pool, new_index, old_index), 0);
	assert_int_equal(daxpin_root(f->pool, "index", &found), 0);
	assert_int_equal(found.addr, new_index.addr);
}

/* ----------------------------------------------------------- daxpin_reclaim(3) */

static int parts;

static void print_part(const struct daxpin_job_part *part, void *arg)
{
	(void)arg;
	parts++;
	printf("# segment %u: %d\n", part->segment, part->result);
}

static int reclaim_example(struct daxpin_pool *pool)
{
	int ret;

#include "daxpin_reclaim-1.inc"
	return ret;
}

static void free_space_is_given_back(void **state)
{
	struct fixture *f = *state;

	need_io_uring();
	/* A small pool has less free space than the example leaves. */
	parts = 0;
	assert_int_equal(reclaim_example(f->pool), 0);
	assert_int_equal(parts, 0);
}

/* ---------------------------------------------------------- daxpin_register(3) */

static int pinned;

static int accelerator_pin(void *base, uint64_t size)
{
	assert_non_null(base);
	assert_true(size > 0);
	pinned++;
	return 0;
}

static void accelerator_unpin_all(void)
{
	pinned = 0;
}

static int register_example(struct daxpin_pool *pool)
{
	int ret;

#include "daxpin_register-1.inc"
	return ret;
}

static void look_at_the_pins(struct daxpin_pool *pool)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_pool_info(pool, &info), 0);
	assert_int_equal(info.registrations, 1);
	assert_int_equal(pinned, info.segments);
}

static void each_segment_is_pinned_once(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info info = { .size = sizeof(info) };

	meanwhile_fn = look_at_the_pins;
	assert_int_equal(register_example(f->pool), 0);
	assert_int_equal(pinned, 0);
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(info.registrations, 0);
}

/* ----------------------------------------------------------- daxpin_reserve(3) */

static int fill_result;

static int fill(void *memory, size_t size)
{
	memset(memory, 1, size);
	return fill_result;
}

static int reserve_example(struct daxpin_pool *pool,
			   struct daxpin_extent *ret_extent)
{
#include "daxpin_reserve-1.inc"
	*ret_extent = extent;
	return 0;
}

static void what_cannot_be_filled_is_cancelled(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = { 0, 0 };
	uint64_t before = free_bytes(f);

	fill_result = -EIO;
	assert_int_equal(reserve_example(f->pool, &extent), -EIO);
	assert_int_equal(free_bytes(f), before);
	fill_result = 0;
	assert_int_equal(reserve_example(f->pool, &extent), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static int move(struct daxpin_pool *pool, struct daxpin_extent from,
		struct daxpin_extent index, uint64_t offset)
{
#include "daxpin_reserve-3.inc"
}

static void an_extent_moves(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent index = live(f, 4096), from = live(f, 65536), to;
	uint64_t *word = daxpin_ptr(f->pool, index, 8), before;

	memset(daxpin_ptr(f->pool, from, 0), 7, 65536);
	assert_int_equal(move(f->pool, from, index, 8), 0);
	assert_int_equal(daxpin_extent_at(f->pool, *word, &to), 0);
	assert_int_equal(*(char *)daxpin_ptr(f->pool, to, 65535), 7);
	assert_null(daxpin_ptr(f->pool, from, 0));
	before = free_bytes(f);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, index), 0);
	assert_int_equal(move(f->pool, to, index, 8), -ESTALE);
	assert_int_equal(free_bytes(f), before + 4096);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, to), 0);
}

/* -------------------------------------------------------- daxpin_pool_shrink(3) */

static int move_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
		       uint64_t size, void *arg)
{
	(void)size;
	(void)arg;
	return daxpin_publish(pool, &(struct daxpin_op) {
			.type = DAXPIN_OP_RETIRE, .extent = extent }, 1, NULL, NULL);
}

#include "daxpin_pool_shrink-1.inc"

static void a_pool_shrinks(void **state)
{
	struct fixture *f = *state;
	uint64_t size = pool_info(f).segment_size;
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.progress = move_all, .progress_arg = &size,
	};

	for (uint32_t i = 0; i < pool_info(f).segments; i++)
		live(f, size / 2 + 4096);
	assert_int_equal(daxpin_pool_shrink(f->pool, size, &options), 0);
	assert_int_equal(pool_info(f).segments, 1);
}

static struct daxpin_extent held_by_a_reader;

/* The last reader of a retired extent drops it, once. */
static bool more_space_can_come(struct daxpin_pool *pool)
{
	return !daxpin_drop(pool, held_by_a_reader);
}

static void other_event(const struct daxpin_event *event)
{
	fail_msg("event %u", event->type);
}

static int reserve_and_wait(struct daxpin_pool *pool, uint64_t size,
			    struct daxpin_extent *ret_extent)
{
#include "daxpin_reserve-2.inc"
	*ret_extent = extent;
	return 0;
}

static void a_reserve_waits_for_space_that_can_come(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent held = live(f, 4096), extent;

	while (!daxpin_reserve(f->pool, 4096, 0, &extent))
		;
	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, held), 0);
	held_by_a_reader = held;
	assert_int_equal(reserve_and_wait(f->pool, 4096, &extent), 0);
	assert_int_equal(extent.addr, held.addr);
	assert_int_equal(reserve_and_wait(f->pool, 4096, &extent), -ENOSPC);
}

/* ---------------------------------------------------------- daxpin_strerror(3) */

static void strerror_example(struct daxpin_pool *pool,
			     struct daxpin_extent extent)
{
	int ret;

#include "daxpin_strerror-1.inc"
}

static void a_hold_is_dropped_or_the_program_ends(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	strerror_example(f->pool, extent);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
}

/* ------------------------------------------------------------- daxpin_watch(3) */

static int reused, retried;
static bool running;

static void reuse(void *arg)
{
	*(int *)arg += 1;
	running = !(reused && retried);
}

static void try_again(void)
{
	retried++;
	running = !(reused && retried);
}

static void watch_example(struct daxpin_pool *pool)
{
#include "daxpin_watch-1.inc"
}

/* A full pool, in which one extent is freed: both kinds of event. */
static void each_event_is_taken_for_what_it_is(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent held = live(f, 4096), extent;
	struct daxpin_watch watch = { .arg = NULL };

	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_watch(f->pool, held, &reused, &watch), 0);
	while (!daxpin_reserve(f->pool, 4096, 0, &extent))
		;
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, held), 0);
	assert_int_equal(daxpin_drop(f->pool, held), 0);
	reused = retried = 0;
	running = true;
	watch_example(f->pool);
	assert_int_equal(reused, 1);
	assert_true(retried > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(check_reports_a_clean_pool),
		TEST(an_index_of_addresses_needs_no_lock),
		TEST(a_labelled_hold_lasts_as_long_as_the_dma),
		TEST(many_are_held_or_none),
		TEST(what_keeps_a_pool_open_is_printed),
		TEST(a_retired_extent_is_waited_for),
		TEST(a_service_creates_its_pool_and_finds_it),
		TEST(a_service_starts_again_after_a_kill),
		TEST(a_pool_is_opened_with_a_deadline),
		TEST(an_extent_is_kept_and_retired),
		TEST(what_a_root_names_is_replaced),
		TEST(free_space_is_given_back),
		TEST(each_segment_is_pinned_once),
		TEST(what_cannot_be_filled_is_cancelled),
		TEST(an_extent_moves),
		TEST(a_pool_shrinks),
		TEST(a_reserve_waits_for_space_that_can_come),
		TEST(a_hold_is_dropped_or_the_program_ends),
		TEST(each_event_is_taken_for_what_it_is),
	};

	return cmocka_run_group_tests_name("pages_core", tests, NULL, NULL);
}
