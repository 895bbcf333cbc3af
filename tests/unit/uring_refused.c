/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The adapter's calls to the kernel about a ring fail once: by a signal, or for lack of
 * memory or of a descriptor. The failure must not be permanent, whichever call it is.
 * Further tests have a page that the kernel cannot pin, and a child that is forked
 * during such a call.
 */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "child.h"
#include "needs.h"
#include "uring_fixture.h"

#define SEGMENT		(32u << 20)
#define PAGE		4096u
#define BY_INDEX	(1u << 31)	/* a flag of the operation */
#define EVERY		UINT32_MAX	/* no operation of io_uring_register() */

/*
 * Of the counted calls of io_uring_register() or io_uring_setup(), the one with the
 * number `at` fails. The first has the number 1; if `at` is 0, none fails.
 */
static struct {
	long number;			/* __NR_io_uring_... */
	uint32_t operation;		/* which to count, or EVERY */
	uint32_t at, seen;
	bool is_lasting;		/* all later ones fail, too */
	int error;
	sigset_t blocked_after;		/* signals that the next call has blocked */
	bool is_next;
} failing;

/* Makes another thread wait before its io_uring_setup(). */
static struct {
	atomic_bool waits;
	sem_t begun, over;
} setup_call;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static bool is_counted(long number, const long *with)
{
	return number == failing.number &&
	       (failing.operation == EVERY || number != __NR_io_uring_register ||
		((unsigned long)with[1] & ~BY_INDEX) == failing.operation);
}

static bool must_fail(long number, const long *with)
{
	if (failing.is_next)
		pthread_sigmask(SIG_BLOCK, NULL, &failing.blocked_after);
	failing.is_next = failing.at && is_counted(number, with) &&
			  (++failing.seen == failing.at ||
			   (failing.is_lasting && failing.seen > failing.at));
	return failing.is_next;
}

/*
 * Callers pass fewer arguments than this file reads. AddressSanitizer would report the
 * rest as an access to the frame of the function that called.
 */
__attribute__((no_sanitize_address))
static long argument(va_list list)
{
	return va_arg(list, long);
}

long __wrap_syscall(long number, ...)
{
	long with[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		with[i] = argument(list);
	va_end(list);
	if (number == __NR_io_uring_setup && atomic_load(&setup_call.waits)) {
		sem_post(&setup_call.begun);
		sem_wait(&setup_call.over);
	}
	if (must_fail(number, with)) {
		errno = failing.error;
		return -1;
	}
	return __real_syscall(number, with[0], with[1], with[2], with[3], with[4],
			      with[5]);
}

/*
 * What /proc shows of the tables of a ring: nothing, as recent kernels do while another
 * thread is in the ring; only their sizes, as older ones do; or the read fails.
 */
static struct {
	enum { SHOWN, NOTHING, SIZES, UNREADABLE } what;
	uint32_t reads;			/* so many times, then all is shown */
} hidden;

ssize_t __real___getdelim(char **line, size_t *size, int end, FILE *file);
ssize_t __wrap___getdelim(char **line, size_t *size, int end, FILE *file);
ssize_t __wrap_getline(char **line, size_t *size, FILE *file);

ssize_t __wrap___getdelim(char **line, size_t *size, int end, FILE *file)
{
	ssize_t ret = __real___getdelim(line, size, end, file);
	unsigned int number;

	if (!hidden.reads || ret <= 0 ||
	    !(hidden.what == SIZES ? sscanf(*line, " %u:", &number) == 1 :
	      !strncmp(*line, "User", 4)))
		return ret;
	hidden.reads--;
	if (hidden.what != SIZES) {
		errno = hidden.what == UNREADABLE ? ENOMEM : 0;
		return -1;
	}
	while (ret > 0 && sscanf(*line, " %u:", &number) == 1)
		ret = __real___getdelim(line, size, end, file);
	return ret;
}

/* Without optimization, the C library's header does not replace it. */
ssize_t __wrap_getline(char **line, size_t *size, FILE *file)
{
	return __wrap___getdelim(line, size, '\n', file);
}

static void fail_at(long number, uint32_t operation, uint32_t at, int error)
{
	memset(&failing, 0, sizeof(failing));
	failing.number = number;
	failing.operation = operation;
	failing.at = at;
	failing.error = error;
}

/* Returns whether a call has failed since fail_at(), and ends the failures. */
static bool failed(void)
{
	bool any = failing.at && failing.seen >= failing.at;

	failing.at = 0;
	return any;
}

static void detach(struct world *w)
{
	assert_int_equal(daxpin_uring_detach(w->uring), 0);
	w->uring = NULL;
}

/* Asserts that an attach succeeds and registers all segments, so nothing of an earlier
 * attach is in its way. */
static void assert_all_fixed(struct world *w)
{
	assert_int_equal(attach(w, DAXPIN_URING_NEED_FIXED), 0);
	assert_int_equal(info_of(w->uring).plain_segments, 0);
	detach(w);
	assert_int_equal(pool_info(&w->f).registrations, 0);
}

static bool sharing_works(struct world *w)
{
	const struct daxpin_extent extent = live(&w->f, PAGE);
	uint32_t shared;

	assert_int_equal(attach(w, 0), 0);
	fix(w, extent);
	shared = info_of(w->uring).shared_segments;
	detach(w);
	if (!shared)
		print_message("# skipped: this kernel does not copy one buffer\n");
	return shared;
}

/* ---------------------------------------------------------------- interrupted */

/*
 * One system call of an attach, a prepare and a detach is interrupted. The library
 * repeats it with all signals blocked, and then restores the thread's mask.
 */
static void an_interrupted_call_is_repeated_with_all_signals_blocked(void **state)
{
	struct world *w = *state;
	struct daxpin_extent extent = live(&w->f, PAGE);
	uint32_t calls = 0;
	sigset_t now;

	need_fixed_buffers(w);
	do {
		fail_at(__NR_io_uring_register, EVERY, ++calls, EINTR);
		sigemptyset(&failing.blocked_after);
		assert_int_equal(attach(w, 0), 0);
		fix(w, extent);
		detach(w);
		pthread_sigmask(SIG_BLOCK, NULL, &now);
		assert_false(sigismember(&now, SIGALRM));
		assert_int_equal(sigismember(&failing.blocked_after, SIGALRM),
				 failing.seen >= calls);
		assert_int_equal(sigismember(&failing.blocked_after, SIGTERM),
				 failing.seen >= calls);
	} while (failed());
	print_message("# each of %u calls was interrupted\n", calls - 1);
	assert_true(calls > 5);
}

/* ------------------------------------------------------------------ refused once */

static const uint32_t attach_flags[] = {
	0, DAXPIN_URING_EAGER, DAXPIN_URING_NEED_FIXED, DAXPIN_URING_PLAIN,
};

/* The calls of an attach to a pool of two segments do not grow with the slots, of which
 * there are 2048. */
#define ATTACH_CALLS 40

/*
 * The attach fails with that error, or succeeds. If it fails, nothing is left of it
 * that prevents the next attach or makes its requests plain.
 */
static void an_attach_that_is_refused_memory_can_be_repeated(void **state)
{
	struct world *w = *state;
	bool any;
	uint32_t at;
	int ret;

	need_fixed_buffers(w);
	for (size_t i = 0; i < sizeof(attach_flags) / sizeof(attach_flags[0]); i++) {
		at = 0;
		do {
			fail_at(__NR_io_uring_register, EVERY, ++at, ENOMEM);
			ret = attach(w, attach_flags[i]);
			any = failed();
			assert_true(!ret || ret == -ENOMEM);
			assert_int_equal(!ret, !w->f.errmsg[0]);
			if (!ret && attach_flags[i] != DAXPIN_URING_PLAIN)
				fix(w, live(&w->f, PAGE));
			if (!ret)
				detach(w);
			else
				w->uring = NULL;
			assert_int_equal(pool_info(&w->f).registrations, 0);
		} while (any);
		assert_all_fixed(w);
		print_message("# flags 0x%x: each of %u calls\n", attach_flags[i],
			      at - 1);
		assert_true(at <= ATTACH_CALLS);
	}
}

static int open_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/*
 * From some call on there is no memory, so the attach cannot be undone either. What is
 * left of it is in the ring's tables, and ends with the ring.
 */
static void an_attach_that_cannot_be_undone_leaves_nothing_in_the_pool(void **state)
{
	static const uint32_t flags[] = { DAXPIN_URING_EAGER, DAXPIN_URING_NEED_FIXED };
	struct world *w = *state;
	uint32_t at;
	int before, ret;
	bool any;

	need_reclaimable_buffers(w);
	end_reclaim(begin_reclaim(w, 1));
	before = open_descriptors();
	for (size_t i = 0; i < 2; i++) {
		at = 0;
		do {
			fail_at(__NR_io_uring_register, EVERY, ++at, ENOMEM);
			failing.is_lasting = true;
			ret = attach(w, flags[i]);
			any = failed();
			assert_true(!ret || ret == -ENOMEM);
			if (!ret)
				detach(w);
			w->uring = NULL;
			assert_int_equal(pool_info(&w->f).registrations, 0);
			io_uring_queue_exit(&w->ring);
			assert_int_equal(io_uring_queue_init(8, &w->ring, 0), 0);
			assert_int_equal(open_descriptors(), before);
		} while (any);
		assert_true(at > 5);
	}
}

/* A detach that fails can be repeated, and then succeeds. */
static void a_detach_that_is_refused_can_be_repeated(void **state)
{
	struct world *w = *state;
	uint32_t at = 0;
	int ret;

	need_fixed_buffers(w);
	do {
		assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
		fail_at(__NR_io_uring_register, EVERY, ++at, ENOMEM);
		ret = daxpin_uring_detach(w->uring);
		assert_true(!ret || ret == -ENOMEM);
		if (ret) {
			assert_int_equal(daxpin_pool_close(w->f.pool), -EBUSY);
			detach(w);
		}
		w->uring = NULL;
		assert_int_equal(fixture_reopen(&w->f), 0);
	} while (failed());
	assert_true(at > 2);
}

/* ------------------------------------------------- what could not be tried */

/* If the kernel has no memory for the probe, the attach fails. It does not take the
 * operations to be missing. */
static void what_the_kernel_could_not_report_is_not_taken_to_be_missing(void **state)
{
	struct world *w = *state;

	for (uint32_t at = 1; at <= 2; at++) {
		fail_at(__NR_io_uring_register, IORING_REGISTER_PROBE, at, ENOMEM);
		assert_int_equal(attach(w, 0), -ENOMEM);
		assert_true(failed());
		assert_true(w->f.errmsg[0]);
		w->uring = NULL;
	}
	assert_int_equal(attach(w, 0), 0);
}

/*
 * The first prepare lacks a descriptor or memory for the ring from which all rings
 * copy. So this ring registers that segment itself, and shares the next one.
 */
static void assert_shares_later(struct world *w, long number, uint32_t operation,
				int error)
{
	struct daxpin_extent first = live(&w->f, PAGE), second = first;

	while (second.addr / SEGMENT == first.addr / SEGMENT)
		second = live(&w->f, 2 << 20);
	assert_int_equal(attach(w, 0), 0);
	fail_at(number, operation, 1, error);
	fix(w, first);
	assert_true(failed());
	assert_int_equal(info_of(w->uring).share_error, -error);
	assert_int_equal(info_of(w->uring).fixed_segments, 1);
	assert_int_equal(info_of(w->uring).shared_segments, 0);
	fix(w, second);
	assert_int_equal(info_of(w->uring).share_error, 0);
	assert_int_equal(info_of(w->uring).shared_segments, 1);
	detach(w);
}

static void a_ring_shares_after_a_shortage(void **state)
{
	struct world *w = *state;

	need_fixed_buffers(w);
	if (!sharing_works(w))
		skip();
	assert_shares_later(w, __NR_io_uring_setup, 0, EMFILE);
	assert_shares_later(w, __NR_io_uring_setup, 0, ENOMEM);
	/* This call is part of the trial whether the kernel copies one buffer. */
	assert_shares_later(w, __NR_io_uring_register,
			    IORING_REGISTER_BUFFERS_UPDATE, ENOMEM);
}

/* At the attach there is no memory for any buffer; later there is. */
static void an_eager_ring_without_memory_can_prepare_later(void **state)
{
	const struct daxpin_extent all = { 0, 0 };
	struct world *w = *state;

	need_fixed_buffers(w);
	for (int i = 0; i < 2; i++) {
		fail_at(__NR_io_uring_register, IORING_REGISTER_BUFFERS_UPDATE, 1,
			ENOMEM);
		failing.is_lasting = true;
		assert_int_equal(attach(w, DAXPIN_URING_EAGER), 0);
		assert_int_equal(daxpin_uring_prepare(w->uring, all), -ENOMEM);
		assert_true(failed());
		assert_int_equal(info_of(w->uring).fixed_segments, 0);
		assert_int_equal(info_of(w->uring).fallback, -ENOMEM);
		assert_int_equal(daxpin_uring_service(w->uring), 0);
		assert_int_equal(daxpin_uring_prepare(w->uring, i ? all :
						      live(&w->f, PAGE)), 0);
		assert_int_equal(info_of(w->uring).fixed_segments, i + 1);
		detach(w);
	}
}

/* ------------------------------------------------ a page that cannot be pinned */

static char *page_of(struct world *w, uint32_t segment, uint64_t offset)
{
	struct daxpin_segment found;

	assert_int_equal(daxpin_segment(w->f.pool, segment, &found), 0);
	return (char *)found.base + offset;
}

/* The kernel returns EFAULT, as for a page that went bad. */
static void forbid_page(char *page, bool forbid)
{
	assert_int_equal(mprotect(page, PAGE, forbid ? PROT_NONE :
				  PROT_READ | PROT_WRITE), 0);
}

/* The first pages of the segments are those that an attach tries. */
static void a_page_that_cannot_be_pinned_makes_only_its_segment_plain(void **state)
{
	static const struct {
		uint32_t segment;
		uint64_t offset;
	} bad[] = { { 0, 0 }, { 0, SEGMENT - PAGE }, { 1, 0 } };
	static const uint32_t flags[] = { 0, DAXPIN_URING_EAGER };
	const struct daxpin_extent all = { 0, 0 };
	struct world *w = *state;
	struct daxpin_uring_info info;

	need_fixed_buffers(w);
	for (size_t i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]); i++) {
		char *page = page_of(w, bad[i / 2].segment, bad[i / 2].offset);

		forbid_page(page, true);
		assert_int_equal(attach(w, flags[i % 2]), 0);
		assert_int_equal(daxpin_uring_prepare(w->uring, all), -EIO);
		info = info_of(w->uring);
		assert_int_equal(info.fixed_segments, 1);
		assert_int_equal(info.plain_segments, 1);
		assert_int_equal(info.fallback, -EIO);
		assert_int_equal(daxpin_uring_service(w->uring), 0);
		forbid_page(page, false);
		/* Service does not try again, because each attempt takes long. */
		assert_int_equal(daxpin_uring_service(w->uring), 0);
		assert_int_equal(info_of(w->uring).fixed_segments, 1);
		assert_int_equal(daxpin_uring_prepare(w->uring, all), 0);
		assert_int_equal(info_of(w->uring).fixed_segments, 2);
		detach(w);
	}
}

static void fixed_buffers_that_are_needed_are_eio_if_a_page_is_bad(void **state)
{
	struct world *w = *state;
	char *page = page_of(w, 1, SEGMENT / 2);

	need_fixed_buffers(w);
	forbid_page(page, true);
	assert_int_equal(attach(w, DAXPIN_URING_NEED_FIXED), -EIO);
	assert_non_null(strstr(w->f.errmsg, "cannot be pinned"));
	w->uring = NULL;
	forbid_page(page, false);
	assert_all_fixed(w);
}

/* ------------------------------------------------------- few free descriptors */

/* Leaves this number of free descriptors. Runs in a child. */
static int leave_descriptors(int count)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -1;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return -1;
	fd = dup(0);
	close(fd);
	/* All numbers below fd are taken. */
	limit.rlim_cur = fd + count;
	return fd < 0 ? -1 : setrlimit(RLIMIT_NOFILE, &limit);
}

/*
 * The file slots that the options name are in use, which /proc shows. With too few free
 * descriptors to read /proc the attach fails with -EMFILE, and with enough with -EBUSY.
 */
static int attach_with_few(void *arg)
{
	struct world own = { .f = *(struct fixture *)arg }, *w = &own;
	struct daxpin_uring_options options =
		uring_options(w, DAXPIN_URING_FILE_SLOT);
	int files[8] = { -1, -1, -1, 0, -1, -1, -1, -1 }, ret;

	if (daxpin_pool_open(w->f.path, NULL, &w->f.pool) ||
	    io_uring_queue_init(8, &w->ring, 0) ||
	    io_uring_register_files(&w->ring, files, 8))
		return 1;
	options.file_slot = 2;
	for (int count = 0; count < 8; count++) {
		if (leave_descriptors(count))
			return 2;
		ret = daxpin_uring_attach(w->f.pool, &w->ring, &options, &w->uring);
		if (ret != (count < 4 ? -EMFILE : -EBUSY)) {
			fprintf(stderr, "# %d descriptors: %d\n", count, ret);
			return 3;
		}
	}
	return 0;
}

static void a_slot_in_use_is_not_replaced_for_lack_of_descriptors(void **state)
{
	struct world *w = *state;
	int status;

	assert_int_equal(daxpin_pool_close(w->f.pool), 0);
	w->f.pool = NULL;
	status = run_child(attach_with_few, &w->f);
	w->f.options.flags = 0;
	w->f.options.deadline_ns = daxpin_deadline_ms(600000);
	assert_int_equal(daxpin_pool_open(w->f.path, &w->f.options, &w->f.pool), 0);
	assert_int_equal(status, 0);
}

/*
 * Slot 3 is in use. The attach sees that, or fails because it cannot find out, but
 * never takes it for free.
 */
static void a_slot_in_use_is_not_replaced_while_the_ring_is_busy(void **state)
{
	static const struct {
		int what;
		uint32_t reads;
		int expected;
	} cases[] = {
		{ NOTHING, 1, -EBUSY }, { NOTHING, 3, -EBUSY },
		{ NOTHING, UINT32_MAX, -EBUSY }, { SIZES, 1, -EBUSY },
		{ SIZES, 3, -EBUSY }, { UNREADABLE, 1, -ENOMEM },
	};
	int files[8] = { -1, -1, -1, 0, -1, -1, -1, -1 };
	struct world *w = *state;
	struct daxpin_uring_options options =
		uring_options(w, DAXPIN_URING_FILE_SLOT);

	assert_int_equal(io_uring_register_files(&w->ring, files, 8), 0);
	options.file_slot = 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hidden.what = cases[i].what;
		hidden.reads = cases[i].reads;
		assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
						     &w->uring), cases[i].expected);
		w->uring = NULL;
		assert_int_equal(!hidden.reads, cases[i].reads != UINT32_MAX);
		hidden.reads = 0;
	}
	options.file_slot = 4;
	assert_int_equal(daxpin_uring_attach(w->f.pool, &w->ring, &options,
					     &w->uring), 0);
}

/* -------------------------------------------------------------------------- fork */

static void *attach_eagerly(void *arg)
{
	int ret = attach(arg, DAXPIN_URING_EAGER);

	/* So that the test goes on if the attach made no ring. */
	sem_post(&setup_call.begun);
	return ret ? arg : NULL;
}

/* Runs in a child, while another thread of the parent is in an attach. */
static int attach_another(void *arg)
{
	struct world own = { .f = *(struct fixture *)arg }, *w = &own;
	int ret;

	atomic_store(&setup_call.waits, false);
	alarm(600);
	strcat(w->f.path, "/other");
	w->f.options.pool_size = SEGMENT;
	w->f.options.errmsg = w->f.errmsg;
	if (daxpin_pool_close(w->f.pool) ||
	    daxpin_pool_create(w->f.path, &w->f.options, &w->f.pool) ||
	    io_uring_queue_init(8, &w->ring, 0))
		return 1;
	ret = attach(w, DAXPIN_URING_EAGER) ? 2 : daxpin_uring_detach(w->uring) ? 3 : 0;
	return daxpin_pool_close(w->f.pool) ? 4 : ret;
}

/* At the fork, another thread of the parent holds the mutex of the shared rings. */
static void a_child_forked_during_an_attach_attaches_a_ring(void **state)
{
	struct world *w = *state;
	pthread_t thread;
	void *failure;
	int status;

	need_fixed_buffers(w);
	assert_int_equal(sem_init(&setup_call.begun, 0, 0), 0);
	assert_int_equal(sem_init(&setup_call.over, 0, 0), 0);
	atomic_store(&setup_call.waits, true);
	assert_int_equal(pthread_create(&thread, NULL, attach_eagerly, w), 0);
	assert_int_equal(sem_wait(&setup_call.begun), 0);
	status = run_child(attach_another, &w->f);
	atomic_store(&setup_call.waits, false);
	sem_post(&setup_call.over);
	pthread_join(thread, &failure);
	assert_null(failure);
	assert_int_equal(status, 0);
}

/* -------------------------------------------------------------------------- */

static int end_failures(void **state)
{
	failing.at = 0;
	hidden.reads = 0;
	return teardown(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, end_failures)
	const struct CMUnitTest tests[] = {
		TEST(an_interrupted_call_is_repeated_with_all_signals_blocked),
		TEST(an_attach_that_is_refused_memory_can_be_repeated),
		TEST(an_attach_that_cannot_be_undone_leaves_nothing_in_the_pool),
		TEST(a_detach_that_is_refused_can_be_repeated),
		TEST(what_the_kernel_could_not_report_is_not_taken_to_be_missing),
		TEST(a_ring_shares_after_a_shortage),
		TEST(an_eager_ring_without_memory_can_prepare_later),
		TEST(a_page_that_cannot_be_pinned_makes_only_its_segment_plain),
		TEST(fixed_buffers_that_are_needed_are_eio_if_a_page_is_bad),
		TEST(a_slot_in_use_is_not_replaced_for_lack_of_descriptors),
		TEST(a_slot_in_use_is_not_replaced_while_the_ring_is_busy),
		TEST(a_child_forked_during_an_attach_attaches_a_ring),
	};

	if (skip_all_without_io_uring())
		return 0;
	return cmocka_run_group_tests_name("uring_refused", tests, NULL, NULL);
}
