/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim on the DAX filesystem that DAXPIN_TEST_FSDAX names, under pins that
 * the library knows nothing of: a page in a pipe, which is pinned until the pipe
 * is read, and another process's O_DIRECT reads from the disk that
 * DAXPIN_TEST_SLOWER names, which answers after 1.5 s.
 */
#include "reclaim_fixture.h"
#include <pthread.h>
#include <sys/resource.h>
#include "core/handle.h"
#include "support/invariant.h"
#include "pins.h"

#define READERS		2

static const char *directory, *disk;
static struct child reader[READERS];

/* -------------------------------------------------------------------- readers */

struct reading {
	struct fixture *f;
	int index;
};

static int keep_reading(void *arg, int parent)
{
	const struct reading *reading = arg;
	uint64_t at = live_extent[A].addr % SEGMENT + reading->index * 4096;
	int fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	char *base;

	(void)parent;
	base = map_segment(reading->f, A);
	usleep(750000 * reading->index);
	while (pread(fd, base + at, 4096, 0) == 4096)
		;
	return 1;
}

/* Two processes take turns, so that a page of A is under DMA at any time. */
static void start_readers(struct fixture *f)
{
	long long before = pinned_pages();

	for (int i = 0; i < READERS; i++) {
		struct reading reading = { f, i };

		reader[i] = fork_child(keep_reading, &reading);
	}
	for (int i = 0; i < 500 && pinned_pages() < before + READERS; i++)
		usleep(20000);
	assert_true(pinned_pages() >= before + READERS);
}

/* Dead, and what they began has landed. */
static void end_readers(void)
{
	for (int i = 0; i < READERS; i++) {
		if (reader[i].pid <= 0)
			continue;
		stop_child(&reader[i]);
		reader[i].pid = 0;
	}
}

static int setup(void **state)
{
	return reclaim_setup(state, directory);
}

static int teardown(void **state)
{
	int ret;

	unpin();
	end_readers();
	ret = end_jobs();
	return fixture_teardown(state) | ret;
}

/* --------------------------------------------------------- under a foreign pin */

/* A job in A that gave up has done nothing at all (A7). */
static void assert_nothing_happened(struct fixture *f,
				    struct daxpin_job_summary s, int result,
				    const struct shape *before)
{
	struct daxpin_extent extent;

	assert_int_equal(s.result, result);
	assert_int_equal(s.done_bytes, 0);
	assert_same_shape(f, A, before);
	assert_int_equal(info_of(f).hole_bytes, 0);
	extent = reserve(f, FREE);
	assert_int_equal(extent.addr / SEGMENT, A);
	assert_int_equal(wrong_in_extent(f, extent, FREE), 0);
	assert_live_is_intact(f);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
}

static void time_out_then_retry(struct fixture *f, uint64_t pinned_at)
{
	struct shape before = shape_of(f, A);
	struct daxpin_extent extent;
	struct daxpin_job *job;

	hoard_others(f);
	pin(f, A, pinned_at);
	job = begin(f, daxpin_reclaim, A, 1500);
	assert_waits(job, A_WHILE_MS);
	assert_int_equal(daxpin_reserve(f->pool, 4096, 0, &extent), -EAGAIN);
	assert_int_equal(summary_of(job).result, -EINPROGRESS);
	assert_nothing_happened(f, finish(f, job), -ETIMEDOUT, &before);
	unpin();
	must_do(f, daxpin_reclaim, A, FREE);
	assert_reclaimed(f, &before);
}

static void what_is_to_be_punched_is_pinned(void **state)
{
	struct fixture *f = *state;

	time_out_then_retry(f, free_at(A) + FREE / 2);
}

/* The kernel looks at the whole file (KERNEL 1.3). */
static void another_page_of_the_file_is_pinned(void **state)
{
	struct fixture *f = *state;

	time_out_then_retry(f, live_extent[A].addr % SEGMENT);
}

/* Four runs for the kernel, and between them what is in use. */
static void scatter(struct fixture *f, struct daxpin_extent *chunk)
{
	hoard_others(f);
	for (int i = 0; i < 8; i++)
		chunk[i] = reserve(f, CHUNK);
	for (int i = 0; i < 8; i += 2)
		assert_int_equal(daxpin_cancel(f->pool, chunk[i]), 0);
}

/* The first run waits, and none of the others is begun. */
static void many_runs_time_out(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_extent chunk[8];
	struct daxpin_job_summary s;

	scatter(f, chunk);
	pin(f, A, live_extent[A].addr % SEGMENT);
	s = finish(f, begin(f, daxpin_reclaim, A, 0));
	assert_int_equal(s.result, -ETIMEDOUT);
	assert_int_equal(s.left_bytes, FREE / 2);
	for (int i = 1; i < 8; i += 2)
		assert_int_equal(daxpin_cancel(f->pool, chunk[i]), 0);
	assert_nothing_happened(f, s, -ETIMEDOUT, &before);
	unpin();
	must_do(f, daxpin_reclaim, A, FREE);
	assert_reclaimed(f, &before);
}

static void a_job_is_cancelled_while_the_kernel_waits(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_job *job;

	hoard_others(f);
	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, 3600000);
	assert_waits(job, A_WHILE_MS);
	assert_int_equal(daxpin_job_cancel(job), 0);
	assert_nothing_happened(f, finish(f, job), -ECANCELED, &before);
	unpin();
	must_do(f, daxpin_reclaim, A, FREE);
	assert_reclaimed(f, &before);
}

/* The last pin goes, and the kernel goes on by itself. */
static void a_job_is_done_when_the_pin_goes(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_job_summary s;
	struct daxpin_job *job;

	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, 3600000);
	assert_waits(job, A_WHILE_MS);
	unpin();
	s = finish(f, job);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, FREE);
	assert_reclaimed(f, &before);
}

static void others_read_into_the_file(void **state)
{
	struct fixture *f = *state;
	struct shape before;

	/* What they read is there already, so that it changes nothing. */
	memset(daxpin_ptr(f->pool, live_extent[A], 0), 0xa5, READERS * 4096);
	hoard_others(f);
	before = shape_of(f, A);
	start_readers(f);
	assert_int_equal(finish(f, begin(f, daxpin_reclaim, A, 2500)).result,
			 -ETIMEDOUT);
	end_readers();
	assert_same_shape(f, A, &before);
	assert_int_equal(info_of(f).hole_bytes, 0);
	must_do(f, daxpin_reclaim, A, FREE);
	assert_true(reads_as_zeroes(f, A, free_at(A), FREE));
}

/* --------------------------------------------------------------- the deadline */

static int read_a_byte(void *arg, int parent)
{
	char byte;

	(void)parent;
	return pread(open_file(arg, A), &byte, 1, 0) != 1;
}

/* A process that reads the file: not before a punch that waits has ended. */
static struct child start_pread(struct fixture *f)
{
	return fork_child(read_a_byte, f);
}

static bool is_over(struct child *child, int wait_ms)
{
	int status;

	return child_ends_within(child, wait_ms, &status);
}

static void *begins_for_an_hour(void *arg)
{
	begin(arg, daxpin_reclaim, A, 3600000);
	/* Its request is with a worker by then, or the kernel drops it. */
	usleep(A_WHILE_MS * 1000);
	return NULL;
}

static void *begins_with_a_deadline(void *arg)
{
	begin(arg, daxpin_reclaim, A, 2500);
	usleep(A_WHILE_MS * 1000);
	return NULL;
}

static bool has_ended(pthread_t thread, int seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	return !pthread_timedjoin_np(thread, NULL, &until);
}

/* The pin stays, and the thread is gone. */
static void begin_in_a_thread(struct fixture *f, void *(*fn)(void *f))
{
	pthread_t thread;
	bool ended;

	assert_int_equal(pthread_create(&thread, NULL, fn, f), 0);
	ended = has_ended(thread, PATIENCE_MS / 1000);
	if (!ended) {
		unpin();
		pthread_join(thread, NULL);
	}
	assert_true(ended);
}

/* No call into the library from the begin on until the kernel waits no more. */
static void deadline_passes(struct fixture *f, uint64_t deadline_ns)
{
	bool at_once, before_deadline, at_last;
	struct child child;

	child = start_pread(f);
	at_once = is_over(&child, A_WHILE_MS);
	before_deadline = daxpin_deadline_ms(0) < deadline_ns;
	at_last = at_once || is_over(&child, 20000);
	if (at_last) {
		/* That was of one run, perhaps; the next would wait again. */
		usleep(500000);
		child = start_pread(f);
		at_last = is_over(&child, 20000);
	}
	if (!at_last) {
		unpin();
		end_child(&child);
	}
	assert_true(at_last);
	/* On a machine so slow nothing was seen of the wait. */
	assert_true(!at_once || !before_deadline);
}

static void the_deadline_is_the_kernels(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_extent chunk[8];
	uint64_t deadline_ns;
	struct daxpin_job *job;

	scatter(f, chunk);
	deadline_ns = daxpin_deadline_ms(2500);
	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, 2500);
	usleep(A_WHILE_MS * 1000);
	deadline_passes(f, deadline_ns);
	assert_int_equal(finish(f, job).result, -ETIMEDOUT);
	assert_same_shape(f, A, &before);
}

static void a_deadline_outlives_the_thread_that_set_it(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	uint64_t deadline_ns = daxpin_deadline_ms(2500);

	pin(f, A, free_at(A));
	begin_in_a_thread(f, begins_with_a_deadline);
	deadline_passes(f, deadline_ns);
	assert_int_equal(finish(f, open_jobs[0]).result, -ETIMEDOUT);
	assert_same_shape(f, A, &before);
}

/* The request is not the thread's, and goes on waiting without it: who reads the
 * file waits too. */
static void a_job_outlives_the_thread_that_began_it(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	bool waits, goes_on;
	struct child child;

	pin(f, A, free_at(A));
	begin_in_a_thread(f, begins_for_an_hour);
	child = start_pread(f);
	waits = !is_over(&child, A_WHILE_MS);
	goes_on = daxpin_hold(f->pool, live_extent[A], DAXPIN_HOLD_READ) ==
		  -EAGAIN;
	unpin();
	if (waits)
		end_child(&child);
	assert_true(waits);
	assert_true(goes_on);
	assert_int_equal(finish(f, open_jobs[0]).done_bytes, FREE);
	assert_reclaimed(f, &before);
}

/* ------------------------------------------------------ one segment, another */

static void a_pin_stops_its_own_segment_alone(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job *job;

	pin(f, A, live_extent[A].addr % SEGMENT);
	job = begin(f, daxpin_reclaim, A, 3600000);
	assert_waits(job, 50);
	must_do(f, daxpin_reclaim, B, FREE);
	assert_int_equal(daxpin_job_end(job), -EBUSY);
	assert_true(reads_as_zeroes(f, B, free_at(B), FREE));
	must_do(f, daxpin_refill, B, FREE);
	assert_int_equal(daxpin_job_end(job), -EBUSY);
	assert_int_equal(daxpin_job_cancel(job), 0);
	assert_int_equal(finish(f, job).result, -ECANCELED);

	/* In one job too. */
	job = begin(f, daxpin_reclaim, DAXPIN_ALL_SEGMENTS, 3600000);
	for (int i = 0; i < 2000 && info_of(f).hole_bytes < 2 * FREE; i++)
		assert_waits(job, 10);
	assert_int_equal(info_of(f).hole_bytes, 2 * FREE);
	unpin();
	assert_int_equal(finish(f, job).done_bytes, 3 * FREE);
}

/* By pages of 4 KiB: a fault for each that is not mapped any more. */
static char *map_small(struct fixture *f, uint32_t segment)
{
	char *base = map_segment(f, segment);

	assert_int_equal(madvise(base, SEGMENT, MADV_NOHUGEPAGE), 0);
	return base + live_extent[segment].addr % SEGMENT;
}

static long faults_of(volatile char *byte)
{
	struct rusage before, after;

	assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
	for (uint64_t at = 0; at < LIVE; at += 4096)
		byte[at] = byte[at];
	assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
	return after.ru_minflt - before.ru_minflt + after.ru_majflt -
	       before.ru_majflt;
}

static void a_punch_costs_no_fault_elsewhere(void **state)
{
	struct fixture *f = *state;
	char *small[2] = { map_small(f, A), map_small(f, B) };
	char *pool[2] = { daxpin_ptr(f->pool, live_extent[A], 0),
			  daxpin_ptr(f->pool, live_extent[B], 0) };
	long its_own, elsewhere, own_huge, other_huge;

	for (int i = 0; i < 2; i++) {
		faults_of(pool[i]);
		faults_of(small[i]);
	}
	must_do(f, daxpin_reclaim, A, FREE);
	/* The pool's first: what is mapped small once stays so. */
	other_huge = faults_of(pool[1]);
	own_huge = faults_of(pool[0]);
	elsewhere = faults_of(small[1]);
	its_own = faults_of(small[0]);
	print_message("# faults in %llu pages after a punch: %ld in its own segment, %ld in another; as the pool maps them %ld and %ld\n",
		      LIVE / 4096, its_own, elsewhere, own_huge, other_huge);
	for (int i = 0; i < 2; i++)
		munmap(small[i] - live_extent[A + i].addr % SEGMENT, SEGMENT);
	assert_true(elsewhere < 16);
	assert_true(other_huge < own_huge);
	/* As all would have it, were they one file. */
	assert_true(its_own >= (long)(LIVE / 4096));
	assert_live_is_intact(f);
}

/* ---------------------------------------------------------------------- holds */

/* Under a hold, the library's own count, the kernel is not even asked. */
static void never_under_a_hold(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_extent own = live_extent[A];
	struct daxpin_job *job;

	assert_int_equal(daxpin_hold(f->pool, own, DAXPIN_HOLD_WRITE), 0);
	job = begin(f, daxpin_reclaim, A, 3600000);
	assert_waits(job, A_WHILE_MS);
	assert_same_shape(f, A, &before);
	assert_int_equal(daxpin_hold_clone(f->pool, own, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_drop(f->pool, own), 0);
	assert_waits(job, 50);
	assert_same_shape(f, A, &before);
	assert_int_equal(daxpin_drop(f->pool, own), 0);
	assert_int_equal(finish(f, job).done_bytes, FREE);
	assert_reclaimed(f, &before);
}

/* The event of that type, if it comes. */
static bool is_told(struct fixture *f, uint32_t type)
{
	struct daxpin_event event;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		while (daxpin_next_event(f->pool, &event))
			if (event.type == type)
				return true;
		usleep(1000);
	}
	return false;
}

static void no_hold_while_the_kernel_waits(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job *job;

	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, 3600000);
	assert_waits(job, A_WHILE_MS);
	assert_int_equal(daxpin_hold(f->pool, live_extent[A],
				     DAXPIN_HOLD_READ), -EAGAIN);
	/* Elsewhere as always. */
	assert_int_equal(daxpin_hold(f->pool, live_extent[B],
				     DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, live_extent[B]), 0);
	unpin();
	assert_true(is_told(f, DAXPIN_EVENT_RETRY));
	assert_int_equal(daxpin_hold(f->pool, live_extent[A],
				     DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, live_extent[A]), 0);
	assert_int_equal(finish(f, job).done_bytes, FREE);
}

/* Nobody comes by but he who wants the hold: he takes the answer himself. */
static void the_refused_one_opens_the_gate(void **state)
{
	struct fixture *f = *state;
	int ret = -EAGAIN;

	pin(f, A, free_at(A));
	begin(f, daxpin_reclaim, A, 3600000);
	for (int i = 0; i < 10; i++)
		assert_int_equal(daxpin_hold(f->pool, live_extent[A],
					     DAXPIN_HOLD_READ), -EAGAIN);
	unpin();
	for (int ms = 0; ms < PATIENCE_MS && ret; ms += 10) {
		usleep(10000);
		ret = daxpin_hold(f->pool, live_extent[A], DAXPIN_HOLD_READ);
	}
	assert_int_equal(ret, 0);
	assert_int_equal(daxpin_drop(f->pool, live_extent[A]), 0);
	assert_int_equal(finish(f, open_jobs[0]).done_bytes, FREE);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_to_be_punched_is_pinned),
		TEST(another_page_of_the_file_is_pinned),
		TEST(many_runs_time_out),
		TEST(a_job_is_cancelled_while_the_kernel_waits),
		TEST(a_job_is_done_when_the_pin_goes),
		TEST(others_read_into_the_file),
		TEST(the_deadline_is_the_kernels),
		TEST(a_pin_stops_its_own_segment_alone),
		TEST(a_punch_costs_no_fault_elsewhere),
		TEST(never_under_a_hold),
		TEST(no_hold_while_the_kernel_waits),
		TEST(the_refused_one_opens_the_gate),
		TEST(a_job_outlives_the_thread_that_began_it),
		TEST(a_deadline_outlives_the_thread_that_set_it),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	disk = getenv("DAXPIN_TEST_SLOWER");
	if (!directory || !disk) {
		printf("DAXPIN_TEST_FSDAX and DAXPIN_TEST_SLOWER are not both set\n");
		return 77;
	}
	check_pool = dp_invariants;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
