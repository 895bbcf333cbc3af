/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reclaim on the DAX filesystem that DAXPIN_TEST_FSDAX names, under pins that the
 * library does not know: a page in a pipe, which is pinned until the pipe is read, and
 * O_DIRECT reads of other processes from disks over the one that DAXPIN_TEST_DISK
 * names, which land when the test decides.
 */
#include "reclaim_fixture.h"
#include <pthread.h>
#include <sys/resource.h>
#include "core/handle.h"
#include "support/invariant.h"
#include "../support/fake_clock.h"
#include "../support/held_disk.h"

#define READERS		2
#define TURNS		3
#define HOUR_MS		3600000
#define FIRST_DEADLINE_MS	1500

static const char *directory;
static struct held_disk disk[READERS];	/* one each */
static struct child reader[READERS];

/* -------------------------------------------------------------------- readers */

struct reading {
	struct fixture *f;
	int index;
};

/* Reads into a page of its own, from a disk of its own, again and again. */
static int keep_reading(void *arg, int parent)
{
	const struct reading *reading = arg;
	uint64_t at = live_extent[A].addr % SEGMENT + reading->index * 4096;
	int fd = held_disk_open(&disk[reading->index]);
	char *base;

	(void)parent;
	base = map_segment(reading->f, A);
	while (pread(fd, base + at, 4096, 0) == 4096)
		;
	return 1;
}

/* Returns when its first read is held. */
static void start_reader(struct fixture *f, int i)
{
	struct reading reading = { f, i };

	assert_int_equal(held_disk_make(&disk[i]), 0);
	reader[i] = fork_child(keep_reading, &reading);
	assert_true(held_disk_wait(&disk[i], 1));
}

/* Lets its read land, and waits until its next one is held. */
static void take_turn(int i)
{
	assert_int_equal(held_disk_land(&disk[i]), 0);
	assert_true(held_disk_wait(&disk[i], 1));
}

/* Kills all readers. Their reads have landed on return. */
static void end_readers(void)
{
	int status;

	for (int i = 0; i < READERS; i++) {
		if (reader[i].pid <= 0)
			continue;
		kill(reader[i].pid, SIGKILL);
		/* It may have started one more read before it died. */
		do
			held_disk_land(&disk[i]);
		while (!child_ends_within(&reader[i], 100, &status));
		reader[i].pid = 0;
	}
}

static int remove_disks(void)
{
	int ret = 0;

	for (int i = 0; i < READERS; i++)
		ret |= held_disk_remove(&disk[i]);
	return ret;
}

static int setup(void **state)
{
	restore_clock();
	return reclaim_setup(state, directory);
}

static int teardown(void **state)
{
	int ret;

	unpin();
	end_readers();
	ret = end_jobs() | remove_disks();
	return fixture_teardown(state) | ret;
}

/* --------------------------------------------------------- under a foreign pin */

/* A job in A that ended without success has changed nothing (A7). */
static void assert_nothing_happened(struct fixture *f,
				    struct daxpin_job_summary s, int result,
				    const struct shape *before)
{
	struct daxpin_extent extent;

	assert_int_equal(s.result, result);
	assert_int_equal(s.done_bytes, 0);
	assert_same_shape(f, A, before);
	assert_int_equal(pool_info(f).hole_bytes, 0);
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

	reserve_others(f);
	pin(f, A, pinned_at);
	job = begin(f, daxpin_reclaim, A, WAIT_LIMIT_MS);
	assert_kernel_waits(job);
	assert_int_equal(daxpin_reserve(f->pool, 4096, 0, &extent), -EAGAIN);
	assert_int_equal(summary_of(job).result, -EINPROGRESS);
	advance_clock(2 * WAIT_LIMIT_MS);
	assert_nothing_happened(f, finish(f, job), -ETIMEDOUT, &before);
	unpin();
	must_do(f, daxpin_reclaim, A, FREE);
	assert_reclaimed(f, &before);
}

static void a_pin_of_the_punched_range_times_out(void **state)
{
	struct fixture *f = *state;

	time_out_then_retry(f, free_at(A) + FREE / 2);
}

/* The kernel checks the whole file (kernel.md K7). */
static void a_pin_of_another_page_of_the_file_times_out(void **state)
{
	struct fixture *f = *state;

	time_out_then_retry(f, live_extent[A].addr % SEGMENT);
}

/* Makes four runs of free chunks, with chunks in use between them. */
static void scatter(struct fixture *f, struct daxpin_extent *chunk)
{
	reserve_others(f);
	for (int i = 0; i < 8; i++)
		chunk[i] = reserve(f, CHUNK);
	for (int i = 0; i < 8; i += 2)
		assert_int_equal(daxpin_cancel(f->pool, chunk[i]), 0);
}

/* The first run waits, and no other one is started. */
static void after_a_timeout_no_other_run_is_started(void **state)
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

	reserve_others(f);
	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, HOUR_MS);
	assert_kernel_waits(job);
	assert_int_equal(daxpin_job_cancel(job), 0);
	assert_nothing_happened(f, finish(f, job), -ECANCELED, &before);
	unpin();
	must_do(f, daxpin_reclaim, A, FREE);
	assert_reclaimed(f, &before);
}

/* The last pin ends, and the kernel continues by itself. */
static void a_job_ends_when_the_pin_ends(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_job_summary s;
	struct daxpin_job *job;

	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, HOUR_MS);
	assert_kernel_waits(job);
	unpin();
	s = finish(f, job);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, FREE);
	assert_reclaimed(f, &before);
}

/*
 * A read of another process lands. Linux 6.1 does not wake the punch then, so it is
 * requested again.
 */
static void a_job_ends_when_a_read_has_landed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_summary s;
	struct daxpin_job *job;
	struct shape before;

	/* The memory has these bytes already, so that the read changes nothing. */
	memset(daxpin_ptr(f->pool, live_extent[A], 0), HELD_DISK_BYTE, 4096);
	before = shape_of(f, A);
	start_reader(f, 0);
	job = begin(f, daxpin_reclaim, A, HOUR_MS);
	assert_kernel_waits(job);
	kill(reader[0].pid, SIGKILL);
	end_readers();
	s = finish(f, job);
	assert_int_equal(s.result, 0);
	assert_int_equal(s.done_bytes, FREE);
	assert_int_equal(pool_info(f).hole_bytes, FREE);
	assert_int_equal(shape_of(f, A).mapped, before.mapped - FREE);
	assert_true(reads_as_zeroes(f, A, free_at(A), FREE));
}

/* The readers alternate, so that a page of A is under DMA at any time. */
static void a_job_times_out_while_others_read_into_the_file(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job *job;
	struct shape before;

	/* The memory has these bytes already, so that the reads change nothing. */
	memset(daxpin_ptr(f->pool, live_extent[A], 0), HELD_DISK_BYTE,
	       READERS * 4096);
	reserve_others(f);
	before = shape_of(f, A);
	for (int i = 0; i < READERS; i++)
		start_reader(f, i);
	job = begin(f, daxpin_reclaim, A, WAIT_LIMIT_MS);
	assert_kernel_waits(job);
	for (int i = 0; i < TURNS * READERS; i++) {
		take_turn(i % READERS);
		assert_kernel_waits(job);
	}
	advance_clock(2 * WAIT_LIMIT_MS);
	assert_int_equal(finish(f, job).result, -ETIMEDOUT);
	end_readers();
	assert_same_shape(f, A, &before);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	must_do(f, daxpin_reclaim, A, FREE);
	assert_true(reads_as_zeroes(f, A, free_at(A), FREE));
}

/* --------------------------------------------------------------- the deadline */

#define ANSWER_TO	3u		/* bits of user_data, see punch.c */

/* Counts the runs whose completions the library has not read yet. */
static uint32_t runs_answered(const struct fixture *f)
{
	const struct dp_ring *ring = &f->pool->jobs.punch.ring;
	const struct io_cqring_offsets *at = &ring->params.cq_off;
	const char *rings = ring->rings;
	const struct io_uring_cqe *cqe = (const void *)(rings + at->cqes);
	uint32_t head = *(const uint32_t *)(rings + at->head), runs = 0;
	uint32_t tail = atomic_load((_Atomic uint32_t *)(rings + at->tail));

	for (; head != tail; head++)
		runs += (cqe[head & (ring->params.cq_entries - 1)].user_data &
			 ANSWER_TO) == DP_COMPLETION_RUN;
	return runs;
}

static bool all_are_answered(const struct fixture *f, uint32_t runs)
{
	for (int ms = 0; ms < WAIT_LIMIT_MS; ms++) {
		if (runs_answered(f) == runs)
			return true;
		usleep(1000);
	}
	return false;
}

struct beginning {
	struct fixture *f;
	uint64_t ms;
	uint64_t deadline_ns;
	bool waits;			/* the kernel waits in its request */
};

/* Returns false if the deadline passed before the wait for pins was seen. */
static bool is_seen_to_wait(const struct fixture *f)
{
	for (int ms = 0; ms < WAIT_LIMIT_MS; ms++) {
		if (kernel_stack_has(getpid(), WAITS_FOR_PINS))
			return true;
		if (runs_answered(f))
			return false;
		usleep(1000);
	}
	return false;
}

/*
 * Begins the job, and returns when the kernel waits for pins: a thread must not exit
 * before a worker has its request.
 */
static void *begins(void *arg)
{
	struct beginning *beginning = arg;

	beginning->deadline_ns = daxpin_deadline_ms(beginning->ms);
	begin(beginning->f, daxpin_reclaim, A, beginning->ms);
	beginning->waits = is_seen_to_wait(beginning->f);
	return NULL;
}

static bool has_ended(pthread_t thread, int seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	return !pthread_timedjoin_np(thread, NULL, &until);
}

/* Begins the job in a thread that ends, while the pin stays. */
static void *begins_in_a_thread(void *arg)
{
	pthread_t thread;
	bool ended;

	assert_int_equal(pthread_create(&thread, NULL, begins, arg), 0);
	ended = has_ended(thread, WAIT_LIMIT_MS / 1000);
	if (!ended) {
		unpin();
		pthread_join(thread, NULL);
	}
	assert_true(ended);
	return NULL;
}

/*
 * Between the begin of the job and the kernel's completion this does not call the
 * library.
 */
static void deadline_passes(struct fixture *f, void *(*how)(void *beginning),
			    uint32_t runs)
{
	struct beginning b = { .f = f, .ms = FIRST_DEADLINE_MS };

	/* On a slow machine the wait is seen only with a later deadline. */
	for (how(&b); !b.waits; how(&b)) {
		assert_int_equal(finish(f, open_jobs[0]).result, -ETIMEDOUT);
		b.ms *= 2;
	}
	assert_true(all_are_answered(f, runs));
	assert_true(daxpin_deadline_ms(0) >= b.deadline_ns);
	assert_int_equal(finish(f, open_jobs[0]).result, -ETIMEDOUT);
}

static void the_kernel_keeps_the_deadline_of_a_job(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_extent chunk[8];

	scatter(f, chunk);
	pin(f, A, free_at(A));
	deadline_passes(f, begins, 4);
	assert_same_shape(f, A, &before);
}

static void a_deadline_passes_after_the_end_of_the_thread_that_set_it(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);

	pin(f, A, free_at(A));
	deadline_passes(f, begins_in_a_thread, 1);
	assert_same_shape(f, A, &before);
}

/*
 * The request does not belong to the thread, so it continues to wait after the thread's
 * end.
 */
static void a_job_continues_after_the_end_of_the_thread_that_began_it(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct beginning beginning = { .f = f, .ms = HOUR_MS };

	pin(f, A, free_at(A));
	begins_in_a_thread(&beginning);
	assert_true(beginning.waits);
	assert_true(is_seen_to_wait(f));
	assert_int_equal(daxpin_hold(f->pool, live_extent[A],
				     DAXPIN_HOLD_READ), -EAGAIN);
	unpin();
	assert_int_equal(finish(f, open_jobs[0]).done_bytes, FREE);
	assert_reclaimed(f, &before);
}

/* ------------------------------------------------------ one segment, another */

static void a_pin_delays_only_its_own_segment(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job *job;

	pin(f, A, live_extent[A].addr % SEGMENT);
	job = begin(f, daxpin_reclaim, A, HOUR_MS);
	assert_kernel_waits(job);
	must_do(f, daxpin_reclaim, B, FREE);
	assert_int_equal(daxpin_job_end(job), -EBUSY);
	assert_true(reads_as_zeroes(f, B, free_at(B), FREE));
	must_do(f, daxpin_refill, B, FREE);
	assert_int_equal(daxpin_job_end(job), -EBUSY);
	assert_int_equal(daxpin_job_cancel(job), 0);
	assert_int_equal(finish(f, job).result, -ECANCELED);

	/* The same with one job for all segments. */
	job = begin(f, daxpin_reclaim, DAXPIN_ALL_SEGMENTS, HOUR_MS);
	for (int ms = 0; ms < WAIT_LIMIT_MS && pool_info(f).hole_bytes < 2 * FREE;
	     ms++) {
		assert_waits(job);
		usleep(1000);
	}
	assert_int_equal(pool_info(f).hole_bytes, 2 * FREE);
	unpin();
	assert_int_equal(finish(f, job).done_bytes, 3 * FREE);
}

/* Mapped in pages of 4 KiB: one fault for each page that is not mapped any more. */
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

static void a_punch_causes_no_faults_in_other_segments(void **state)
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
	/* The pool's mapping first, since small mappings stay small. */
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
	/* If the segments were one file, all of them would fault like this. */
	assert_true(its_own >= (long)(LIVE / 4096));
	assert_live_is_intact(f);
}

/* ---------------------------------------------------------------------- holds */

/* While the library's own count has a hold, the kernel is not called. */
static void nothing_is_punched_in_a_segment_with_a_hold(void **state)
{
	struct fixture *f = *state;
	struct shape before = shape_of(f, A);
	struct daxpin_extent own = live_extent[A];
	struct daxpin_job *job;

	assert_int_equal(daxpin_hold(f->pool, own, DAXPIN_HOLD_WRITE), 0);
	job = begin(f, daxpin_reclaim, A, HOUR_MS);
	assert_waits_for_holder(job);
	assert_same_shape(f, A, &before);
	assert_int_equal(daxpin_hold_clone(f->pool, own, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(daxpin_drop(f->pool, own), 0);
	assert_waits_for_holder(job);
	assert_same_shape(f, A, &before);
	assert_int_equal(daxpin_drop(f->pool, own), 0);
	assert_int_equal(finish(f, job).done_bytes, FREE);
	assert_reclaimed(f, &before);
}

/* Waits for an event of that type. */
static bool gets_event(struct fixture *f, uint32_t type)
{
	struct daxpin_event event;

	for (int ms = 0; ms < WAIT_LIMIT_MS; ms++) {
		while (daxpin_next_event(f->pool, &event))
			if (event.type == type)
				return true;
		usleep(1000);
	}
	return false;
}

static void holds_are_refused_while_the_kernel_waits_for_pins(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job *job;

	pin(f, A, free_at(A));
	job = begin(f, daxpin_reclaim, A, HOUR_MS);
	assert_kernel_waits(job);
	assert_int_equal(daxpin_hold(f->pool, live_extent[A],
				     DAXPIN_HOLD_READ), -EAGAIN);
	/* Other segments are not affected. */
	assert_int_equal(daxpin_hold(f->pool, live_extent[B],
				     DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, live_extent[B]), 0);
	unpin();
	assert_true(gets_event(f, DAXPIN_EVENT_RETRY));
	assert_int_equal(daxpin_hold(f->pool, live_extent[A],
				     DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_drop(f->pool, live_extent[A]), 0);
	assert_int_equal(finish(f, job).done_bytes, FREE);
}

/*
 * The thread that wants the hold makes the only calls; they read the kernel's
 * completion.
 */
static void a_refused_hold_succeeds_after_the_punch_without_other_calls(void **state)
{
	struct fixture *f = *state;
	int ret = -EAGAIN;

	pin(f, A, free_at(A));
	begin(f, daxpin_reclaim, A, HOUR_MS);
	for (int i = 0; i < 10; i++)
		assert_int_equal(daxpin_hold(f->pool, live_extent[A],
					     DAXPIN_HOLD_READ), -EAGAIN);
	unpin();
	for (int ms = 0; ms < WAIT_LIMIT_MS && ret; ms += 10) {
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
		TEST(a_pin_of_the_punched_range_times_out),
		TEST(a_pin_of_another_page_of_the_file_times_out),
		TEST(after_a_timeout_no_other_run_is_started),
		TEST(a_job_is_cancelled_while_the_kernel_waits),
		TEST(a_job_ends_when_the_pin_ends),
		TEST(a_job_ends_when_a_read_has_landed),
		TEST(a_job_times_out_while_others_read_into_the_file),
		TEST(the_kernel_keeps_the_deadline_of_a_job),
		TEST(a_pin_delays_only_its_own_segment),
		TEST(a_punch_causes_no_faults_in_other_segments),
		TEST(nothing_is_punched_in_a_segment_with_a_hold),
		TEST(holds_are_refused_while_the_kernel_waits_for_pins),
		TEST(a_refused_hold_succeeds_after_the_punch_without_other_calls),
		TEST(a_job_continues_after_the_end_of_the_thread_that_began_it),
		TEST(a_deadline_passes_after_the_end_of_the_thread_that_set_it),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!directory || !getenv("DAXPIN_TEST_DISK")) {
		printf("DAXPIN_TEST_FSDAX and DAXPIN_TEST_DISK are not both set\n");
		return 77;
	}
	check_pool = dp_invariants;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
