/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a punch on this kernel waits for pinned pages, observed and not guessed from
 * the version. A pipe pins a page of a scratch file; then a ring punches another 2 MiB
 * of that file. On a DAX filesystem the punch must wait, be cancellable, and complete
 * when the page is released.
 *
 * The pinned page itself is never punched: kernels before 6.15 warn about that if they
 * do not wait. The pipe is emptied before the file's name is removed and before it is
 * closed, for the reason in doctor_testbed.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "doctor.h"
#include "doctor_ring.h"

#define ENTRIES		8
#define CANCEL		UINT64_MAX	/* user_data; punches count from 1 */
#define MARK		0x6d
/* A punch is taken to wait if it takes at least this much longer than one without a
 * pin. */
#define WAITED_MS	300u
#define WAITED_TIMES	20u

struct trial {
	struct doctor *doctor;
	struct io_uring ring;
	int fd;
	int pipe[2];
	char *base;			/* 2 chunks: a page of the first is pinned,
					   and the second is punched */
	char name[SCRATCH_NAME_SIZE];
	unsigned int waited_ms;		/* a punch that takes longer is waiting */
	uint64_t punches;
	bool in_flight;
};

/* ---------------------------------------------------------------- its parts */

/* Allocate the second chunk, and write MARK to its first page. */
static int fill(struct trial *t)
{
	int ret = fallocate(t->fd, 0, CHUNK, CHUNK) ? -errno : 0;

	if (!ret)
		ret = testbed_touch(t->base + CHUNK, PAGE, true);
	if (!ret)
		memset(t->base + CHUNK, MARK, PAGE);
	return ret;
}

/* Does every byte of the second chunk's first page have this value? */
static bool is_filled(const struct trial *t, char byte)
{
	const char *page = t->base + CHUNK;

	return page[0] == byte && !memcmp(page, page + 1, PAGE - 1);
}

static int pin(struct trial *t)
{
	struct iovec iov = { t->base, PAGE };
	int ret = testbed_touch(t->base, PAGE, true);

	if (ret)
		return ret;
	return vmsplice(t->pipe[1], &iov, 1, 0) == (ssize_t)PAGE ? 0 : -EIO;
}

static void release_child(struct trial *t)
{
	char bytes[PAGE];
	ssize_t got;

	do
		got = read(t->pipe[0], bytes, sizeof(bytes));
	while (got > 0 || (got < 0 && errno == EINTR));
}

static void punch(struct trial *t)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring);

	io_uring_prep_fallocate(sqe, t->fd,
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				CHUNK, CHUNK);
	sqe->user_data = ++t->punches;
	io_uring_submit(&t->ring);
	t->in_flight = true;
}

static bool ended(struct trial *t, unsigned int ms, int *ret_result)
{
	if (t->in_flight &&
	    ring_await(&t->ring, t->punches, ms, ret_result))
		t->in_flight = false;
	return !t->in_flight;
}

/* The result of cancelling a punch that waits. */
struct taken_back {
	bool over;
	bool intact;			/* it has punched nothing */
	int result;
};

static void take_back(struct trial *t, struct taken_back *ret_back)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t->ring);
	struct taken_back back = { .over = false };

	io_uring_prep_cancel64(sqe, t->punches, 0);
	sqe->user_data = CANCEL;
	io_uring_submit(&t->ring);
	back.over = ended(t, WAIT_LIMIT_MS, &back.result);
	back.intact = t->base && is_filled(t, MARK);
	*ret_back = back;
}

/* -------------------------------------------------------------- what to say */

static void report_unknown(struct trial *t, const char *what, int error)
{
	doctor_report(t->doctor, (struct answer) {
		.subject = SUBJECT_PUNCH_WAITS, .verdict = VERDICT_UNKNOWN,
		.needed = t->doctor->place.source == DAXPIN_SOURCE_FSDAX,
		.remedy = "free some space in the directory, and run this as a user who has permission to write to it",
	}, "%s: %s", what, strerror(-error));
}

static void report_no_wait(struct trial *t, int result)
{
	bool dax = t->doctor->place.source == DAXPIN_SOURCE_FSDAX;

	doctor_report(t->doctor, (struct answer) {
		.subject = SUBJECT_PUNCH_WAITS, .verdict = VERDICT_NO,
		.needed = dax,
		.remedy = dax ? "let no hardware write here: this kernel frees blocks under it" : NULL,
	}, "a punch beside a pinned page ended at once, with result %d%s",
		      result,
		      dax ? "" : "; daxpin revokes what it registered before it punches");
}

static void report_cancel(struct trial *t, const struct taken_back *back)
{
	bool good = back->over && back->result && back->intact;

	doctor_report(t->doctor, (struct answer) {
		.subject = SUBJECT_PUNCH_CANCEL, .needed = true,
		.verdict = good ? VERDICT_YES : VERDICT_NO,
		.remedy = good ? NULL : "use a newer kernel: on this one a punch cannot have a deadline",
	}, good ? "the waiting punch was cancelled (result %d), and nothing was punched" :
	   back->over ? "the punch was cancelled, but ended with result %d, or had punched already" :
	   "the punch continued to wait although it was cancelled (%d)", back->result);
}

static void report_waits(struct trial *t, bool over, int result)
{
	bool good = over && !result && is_filled(t, 0);

	doctor_report(t->doctor, (struct answer) {
		.subject = SUBJECT_PUNCH_WAITS, .needed = true,
		.verdict = good ? VERDICT_YES : VERDICT_NO,
		.remedy = good ? NULL : "use another kernel: on this one a wait for pinned memory does not end when the memory is released",
	}, good ? "a punch waited while a page of its file was pinned (watched for %u ms), and completed when the page was released" :
	   "a punch waited %u ms for a pinned page, and did not complete when the page was released",
		      t->waited_ms);
}

static void report_idle(struct trial *t, bool waits)
{
	doctor_report(t->doctor, (struct answer) {
		.subject = SUBJECT_IDLE_AT_ZERO,
		.verdict = waits ? VERDICT_YES : VERDICT_NO,
	}, waits ? "a punch waits for a pinned page even in a file that is not mapped, as from Linux 6.15 on" :
	   "a punch does not wait for a pinned page in a file that is not mapped, as up to Linux 6.14: open pools keep their files mapped");
}

/* ---------------------------------------------------------------- the trial */

/* Measure a punch without a pin, to set the time that counts as waiting. */
static int measure(struct trial *t)
{
	uint64_t before = ring_now_ms();
	int result;

	punch(t);
	if (!ended(t, WAIT_LIMIT_MS, &result))
		return -ETIMEDOUT;
	t->waited_ms = WAITED_MS + WAITED_TIMES * (ring_now_ms() - before);
	return result ? result : fill(t);
}

/* Punch while the page is pinned. True: the punch waited until the pin was released. */
static bool try_wait(struct trial *t)
{
	struct taken_back back = { .over = false };
	bool over;
	int result = 0;

	punch(t);
	if (!ended(t, t->waited_ms, &result)) {
		take_back(t, &back);
		if (back.over)
			punch(t);
	}
	if (ended(t, t->waited_ms, &result)) {
		release_child(t);
		report_no_wait(t, result);
		return false;
	}
	release_child(t);
	over = ended(t, WAIT_LIMIT_MS, &result);
	report_waits(t, over, result);
	report_cancel(t, &back);
	return over && !result;
}

/* Punch while a page is pinned and the file has no mapping. A pool's file must never be
 * in this state, so this is done on the scratch file only. */
static int try_unmapped(struct trial *t)
{
	int result = 0, ret = fill(t);
	bool waits;

	if (!ret)
		ret = pin(t);
	if (ret)
		return ret;
	munmap(t->base, 2 * CHUNK);
	t->base = NULL;
	punch(t);
	waits = !ended(t, t->waited_ms, &result);
	release_child(t);
	if (!ended(t, WAIT_LIMIT_MS, &result))
		return -ETIMEDOUT;
	if (!result)
		report_idle(t, waits);
	return result;
}

static void run_trial(struct trial *t)
{
	int ret = fill(t);

	if (!ret)
		ret = measure(t);
	if (ret) {
		report_unknown(t, "a scratch file cannot be punched by the ring",
			       ret);
		return;
	}
	ret = pin(t);
	if (ret) {
		report_unknown(t, "a page cannot be pinned by vmsplice()", ret);
		return;
	}
	if (!try_wait(t))
		return;
	ret = try_unmapped(t);
	if (ret)
		doctor_report(t->doctor, (struct answer) {
			.subject = SUBJECT_IDLE_AT_ZERO,
			.verdict = VERDICT_UNKNOWN,
		}, "the trial with a file that is not mapped failed: %s", strerror(-ret));
}

/* --------------------------------------------------------- before and after */

static int set_up(struct trial *t)
{
	int ret;

	ret = testbed_named_file(&t->doctor->place, 2 * CHUNK, t->name);
	if (ret < 0)
		return ret;
	t->fd = ret;
	t->base = testbed_map(t->fd, 2 * CHUNK, MAP_SHARED);
	if (!t->base)
		return -errno;
	if (pipe2(t->pipe, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	ret = io_uring_queue_init(ENTRIES, &t->ring, 0);
	if (ret)
		t->ring.ring_fd = -1;
	return ret;
}

static void tear_down(struct trial *t)
{
	struct taken_back back;

	if (t->pipe[0] >= 0)
		release_child(t);
	if (t->in_flight)
		take_back(t, &back);
	if (t->ring.ring_fd >= 0)
		io_uring_queue_exit(&t->ring);
	for (int i = 0; i < 2; i++)
		if (t->pipe[i] >= 0)
			close(t->pipe[i]);
	if (t->base)
		munmap(t->base, 2 * CHUNK);
	if (t->fd >= 0) {
		unlinkat(t->doctor->place.fd, t->name, 0);
		close(t->fd);
	}
}

/* Signals are blocked until the file is removed, which takes a second or two. */
void doctor_punch(struct doctor *doctor)
{
	struct trial t = {
		.doctor = doctor, .fd = -1, .pipe = { -1, -1 },
		.ring.ring_fd = -1,
	};
	sigset_t all, before;
	int ret;

	testbed_sweep(&doctor->place);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	ret = set_up(&t);
	if (ret)
		report_unknown(&t, "no scratch file can be created in the directory", ret);
	else
		run_trial(&t);
	tear_down(&t);
	sigprocmask(SIG_SETMASK, &before, NULL);
}
