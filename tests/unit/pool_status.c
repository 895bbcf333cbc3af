/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The status page: what a reader sees of a pool in use, that it never sees a torn or
 * foreign page, and that the page is not created over what others have prepared.
 * DAXPIN_TEST_READS is how often the page is read while it is written.
 */
#include "child.h"
#include "core/handle.h"
#include "fixture.h"
#include "logged.h"
#include "media/layout.h"
#include "needs.h"
#include <daxpin-status.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include "fake_clock.h"

#define MIB		(UINT64_C(1) << 20)
#define READS		5000
#define WORKERS		4

uint64_t __real_dp_os_now_coarse_ns(void);
uint64_t __wrap_dp_os_now_coarse_ns(void);

uint64_t __wrap_dp_os_now_coarse_ns(void)
{
	return __wrap_dp_os_now_ns();
}

static int reads(void)
{
	const char *text = getenv("DAXPIN_TEST_READS");

	return text ? atoi(text) : READS;
}

/* ------------------------------------------------------------------- helpers */

static const char *page_path(struct fixture *f)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/status", f->path);
	return path;
}

static int read_page(struct fixture *f, struct daxpin_status **ret_status)
{
	return daxpin_status_open(f->path, f->errmsg, sizeof(f->errmsg), ret_status);
}

static void assert_no_page(struct fixture *f, int error, const char *words)
{
	struct daxpin_status *status = NULL;

	assert_int_equal(read_page(f, &status), error);
	assert_null(status);
	if (!strstr(f->errmsg, words))
		fail_msg("\"%s\" does not say \"%s\"", f->errmsg, words);
}

static struct daxpin_status *must_read(struct fixture *f)
{
	struct daxpin_status *status;
	int ret = read_page(f, &status);

	if (ret)
		fail_msg("%d: %s", ret, f->errmsg);
	return status;
}

static struct daxpin_status_info info_of(const struct daxpin_status *status)
{
	struct daxpin_status_info info = { .size = sizeof(info) };

	assert_int_equal(daxpin_status_info(status, &info), 0);
	return info;
}

/* The owner writes a snapshot now. */
static void refresh(struct fixture *f)
{
	atomic_store(&f->pool->status_due_ns, 0);
	pool_info(f);
}

static void patch(struct fixture *f, off_t at, const void *bytes, size_t size)
{
	int fd = open(page_path(f), O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, at), size);
	close(fd);
}

/* ------------------------------------------------------------ what it shows */

struct seen {
	int holds, registrations, jobs, segments;
	char first[DAXPIN_LABEL_MAX], registration[DAXPIN_LABEL_MAX];
	struct daxpin_extent extent;
	uint64_t age_ns, free_bytes;
	struct daxpin_status_job job;
};

static void see_hold(const struct daxpin_holder *holder, void *arg)
{
	struct seen *seen = arg;
	char *label = holder->extent.addr ? seen->first : seen->registration;

	if (!label[0])
		snprintf(label, DAXPIN_LABEL_MAX, "%s", holder->label);
	if (!holder->extent.addr) {
		seen->registrations++;
		return;
	}
	if (!seen->holds++) {
		seen->extent = holder->extent;
		seen->age_ns = holder->age_ns;
	}
}

static void see_segment(const struct daxpin_status_segment *segment, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(segment->segment, seen->segments++);
	seen->free_bytes += segment->free_bytes;
}

static void see_job(const struct daxpin_status_job *job, void *arg)
{
	struct seen *seen = arg;

	seen->jobs++;
	seen->job = *job;
}

static struct seen see(const struct daxpin_status *status)
{
	struct seen seen = { 0 };

	daxpin_status_holds(status, see_hold, &seen);
	daxpin_status_segments(status, see_segment, &seen);
	daxpin_status_jobs(status, see_job, &seen);
	return seen;
}

static void the_page_shows_what_the_owner_does(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a ring",
	};
	struct daxpin_pool_info info = { .size = sizeof(info) }, now;
	struct daxpin_extent one = live(f, MIB), other = live(f, 4096);
	struct daxpin_hold hold[2] = { { .access = 0 } };
	struct daxpin_registration *registration;
	struct daxpin_status *status;
	struct daxpin_status_info about;
	struct seen seen;

	need_genuine_proc();
	assert_int_equal(daxpin_hold_labelled(f->pool, one, DAXPIN_HOLD_READ,
					      "the first", &hold[0]), 0);
	advance_clock(5000);
	assert_int_equal(daxpin_hold_labelled(f->pool, other, DAXPIN_HOLD_WRITE,
					      "the second", &hold[1]), 0);
	assert_int_equal(daxpin_register(f->pool, 0, &options, &registration), 0);
	refresh(f);
	now = pool_info(f);
	status = must_read(f);
	about = info_of(status);
	assert_int_equal(about.alive, DAXPIN_YES);
	assert_int_equal(about.pid, getpid());
	assert_int_equal(about.held_extents, 2);
	assert_int_equal(about.labelled_holds, 2);
	assert_true(about.snapshots >= 2 && about.open_ns > 0);
	assert_int_equal(daxpin_status_pool(status, &info), 0);
	info.status_error = now.status_error;
	assert_memory_equal(&info, &now, sizeof(info));
	seen = see(status);
	assert_int_equal(seen.holds, 2);
	assert_int_equal(seen.registrations, 1);
	assert_string_equal(seen.first, "the first");
	assert_string_equal(seen.registration, "a ring");
	assert_int_equal(seen.extent.addr, one.addr);
	assert_int_equal(seen.extent.gen, one.gen);
	assert_true(seen.age_ns >= 5000 * UINT64_C(1000000));
	assert_int_equal(seen.segments, now.segments);
	assert_true(seen.free_bytes <= now.free_bytes);
	daxpin_status_close(status);
	assert_int_equal(daxpin_unregister(registration), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold[0]), 0);
	assert_int_equal(daxpin_drop_labelled(f->pool, &hold[1]), 0);
}

static void cells_show_metadata_holes_and_fill(void **state)
{
	struct fixture *f = *state;
	struct daxpin_job_options options = {
		.size = sizeof(options), .segment = DAXPIN_ALL_SEGMENTS,
		.flags = DAXPIN_JOB_BLOCKING,
	};
	struct daxpin_extent chunk = live(f, DAXPIN_CHUNK_SIZE);
	struct daxpin_extent half = live(f, DAXPIN_CHUNK_SIZE / 2);
	uint64_t at = chunk.addr / DAXPIN_CHUNK_SIZE;
	struct daxpin_status *status;
	struct daxpin_job *job;
	const unsigned char *cell;
	struct seen seen;

	refresh(f);
	status = must_read(f);
	cell = daxpin_status_cells(status);
	assert_int_equal(info_of(status).cells,
			 pool_info(f).media_bytes / DAXPIN_CHUNK_SIZE);
	assert_int_equal(info_of(status).cell_chunks, 1);
	assert_int_equal(cell[0], DAXPIN_CELL_META);
	assert_int_equal(chunk.addr % DAXPIN_CHUNK_SIZE, 0);
	assert_int_equal(cell[at], 100);
	assert_int_equal(cell[half.addr / DAXPIN_CHUNK_SIZE], 50);
	daxpin_status_close(status);
	assert_int_equal(daxpin_reclaim(f->pool, &options, &job), 0);
	assert_int_equal(daxpin_job_wait(job, DAXPIN_NO_DEADLINE), 0);
	refresh(f);
	status = must_read(f);
	seen = see(status);
	assert_int_equal(seen.jobs, 1);
	assert_int_equal(seen.job.segments_left, 0);
	assert_true(seen.job.done_bytes > 0);
	assert_int_equal(daxpin_status_cells(status)[info_of(status).cells - 1],
			 DAXPIN_CELL_HOLE);
	assert_int_equal(daxpin_status_cells(status)[at], 100);
	daxpin_status_close(status);
	assert_int_equal(daxpin_job_end(job), 0);
}

static void see_age(const struct daxpin_holder *holder, void *arg)
{
	uint64_t *last = arg;

	/* The oldest first, and none of those that are younger than the kept ones. */
	assert_true(holder->age_ns <= *last);
	assert_string_not_equal(holder->label, "young");
	*last = holder->age_ns;
}

/* More labelled holds than are listed, in a random order of extents: the oldest
 * remain. */
static void the_oldest_holds_are_listed(void **state)
{
	enum { LISTED = DAXPIN_STATUS_HOLDERS, HOLDS = 5 * LISTED, EXTENTS = 97 };
	struct fixture *f = *state;
	static struct daxpin_hold hold[HOLDS];
	struct daxpin_extent extent[EXTENTS];
	struct daxpin_status *status;
	uint64_t last = UINT64_MAX;
	struct seen seen;

	for (int i = 0; i < EXTENTS; i++)
		extent[i] = live(f, 4096);
	for (int i = 0; i < HOLDS; i++) {
		advance_clock(1);
		assert_int_equal(daxpin_hold_labelled(
			f->pool, extent[i * 31 % EXTENTS], DAXPIN_HOLD_READ,
			!i ? "oldest" : i < LISTED ? "old" : "young",
			&hold[i]), 0);
	}
	refresh(f);
	status = must_read(f);
	seen = see(status);
	assert_int_equal(seen.holds, DAXPIN_STATUS_HOLDERS);
	assert_string_equal(seen.first, "oldest");
	assert_int_equal(info_of(status).labelled_holds, HOLDS);
	daxpin_status_holds(status, see_age, &last);
	daxpin_status_close(status);
	for (int i = 0; i < HOLDS; i++)
		assert_int_equal(daxpin_drop_labelled(f->pool, &hold[i]), 0);
}

static void a_snapshot_is_not_written_more_often_than_its_interval(void **state)
{
	struct fixture *f = *state;
	struct daxpin_status *status;
	uint64_t before, after;

	refresh(f);
	status = must_read(f);
	before = info_of(status).snapshots;
	daxpin_status_close(status);
	stop_clock();
	for (int i = 0; i < 1000; i++)
		pool_info(f);
	status = must_read(f);
	after = info_of(status).snapshots;
	daxpin_status_close(status);
	restore_clock();
	assert_true(after <= before + 1);
}

/* ---------------------------------------------------------------- never torn */

/* Up to 15 pages, so that a reader takes long enough to be overtaken. */
#define CELLS(n)	(1 + (n) * 7919 % 60000)

/* Writes snapshots whose bytes all follow from their number. */
struct uniform {
	struct fixture *f;
	_Atomic bool done;
};

static void *write_uniform(void *arg)
{
	struct uniform *uniform = arg;
	struct dp_status *status = &uniform->f->pool->status;
	struct dp_status_snapshot *s = dp_status_next(status);
	uint64_t *figure = (uint64_t *)&s->figures;

	for (uint64_t n = 1; !atomic_load(&uniform->done); n++) {
		s->cells = CELLS(n);
		s->labelled = n;
		for (size_t i = 0; i < sizeof(s->figures) / 8; i++)
			figure[i] = n;
		s->figures.segment_count = s->segments;
		memset((void *)dp_status_cells(s), (int)(n % 251), s->cells);
		assert_int_equal(dp_status_write(status), 0);
	}
	return NULL;
}

static bool is_uniform(const struct dp_status_snapshot *s)
{
	const uint64_t *figure = (const uint64_t *)&s->figures;
	const uint8_t *cell = dp_status_cells(s);
	uint64_t n = s->labelled, wrong = s->cells != CELLS(n);

	for (size_t i = 0; i < sizeof(s->figures) / 8; i++)
		wrong += &figure[i] != &s->figures.segment_count && figure[i] != n;
	for (uint32_t i = 0; i < s->cells; i++)
		wrong += cell[i] != n % 251;
	return !wrong;
}

struct read_count {
	uint64_t last;			/* snapshot that was read */
	uint64_t good, torn, replaced;
};

/* The first snapshot is the open's, which is not uniform. */
static int read_once(const struct fixture *f, uint64_t first, struct read_count *count)
{
	struct dp_status_copy copy;
	int ret = dp_status_read(f->path, &copy, NULL);

	if (ret) {
		count->replaced += ret == -EBUSY;
		return ret == -EBUSY ? 0 : ret;
	}
	if (copy.snapshot->turn < count->last ||
	    (copy.snapshot->turn > first && !is_uniform(copy.snapshot)))
		count->torn++;
	else
		count->good += copy.snapshot->turn > first;
	count->last = copy.snapshot->turn;
	dp_status_free(&copy);
	return 0;
}

static void a_page_that_is_written_is_never_torn(void **state)
{
	struct fixture *f = *state;
	struct uniform uniform = { .f = f };
	struct read_count count = { 0 };
	uint64_t first;
	pthread_t writer;
	int ret = 0;

	refresh(f);
	assert_int_equal(read_once(f, UINT64_MAX, &count), 0);
	first = count.last;
	assert_int_equal(pthread_create(&writer, NULL, write_uniform, &uniform), 0);
	for (int i = 0; i < reads() && !ret && !count.torn; i++)
		ret = read_once(f, first, &count);
	/* First the writer ends, because an assertion that fails closes the pool. */
	atomic_store(&uniform.done, true);
	pthread_join(writer, NULL);
	print_message("# %d reads, %ju of them compared, %ju given up; %ju snapshots\n",
		      reads(), (uintmax_t)count.good, (uintmax_t)count.replaced,
		      (uintmax_t)count.last);
	assert_int_equal(ret, 0);
	assert_int_equal(count.torn, 0);
	assert_true(count.good > 0);
}

struct workers {
	struct fixture *f;
	_Atomic bool done;
};

static void *work(void *arg)
{
	struct workers *workers = arg;
	struct fixture *f = workers->f;
	struct daxpin_hold hold = { .access = 0 };
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_extent extent;

	while (!atomic_load(&workers->done)) {
		assert_int_equal(daxpin_reserve(f->pool, 65536, 0, &extent), 0);
		assert_int_equal(daxpin_hold_labelled(f->pool, extent,
						      DAXPIN_HOLD_WRITE, "worker",
						      &hold), 0);
		atomic_store(&f->pool->status_due_ns, 0);
		assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
		assert_int_equal(info.status_error, 0);
		assert_int_equal(daxpin_drop_labelled(f->pool, &hold), 0);
		assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	}
	return NULL;
}

static void the_page_is_plausible_while_threads_work(void **state)
{
	struct fixture *f = *state;
	struct workers workers = { .f = f };
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_status *status;
	pthread_t thread[WORKERS];
	struct seen seen;
	int ret, good = 0;

	/* Waits for locks end by the kernel's clock. */
	restore_clock();
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, &workers), 0);
	for (int i = 0; i < reads() / 10; i++) {
		ret = read_page(f, &status);
		if (ret == -EBUSY)
			continue;
		assert_int_equal(ret, 0);
		good++;
		assert_int_equal(daxpin_status_pool(status, &info), 0);
		assert_true(info.free_bytes <= info.usable_bytes);
		assert_true(info_of(status).labelled_holds <= WORKERS);
		seen = see(status);
		assert_int_equal(seen.holds, info_of(status).labelled_holds);
		assert_true(!seen.holds || !strcmp(seen.first, "worker"));
		daxpin_status_close(status);
	}
	atomic_store(&workers.done, true);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(thread[i], NULL);
	assert_true(good > 0);
}

static uint64_t slot_of(struct fixture *f, uint64_t *ret_other)
{
	struct dp_status_copy copy;
	uint64_t turn, size;

	refresh(f);
	assert_int_equal(dp_status_read(f->path, &copy, NULL), 0);
	turn = copy.snapshot->turn;
	size = copy.header.slot_size;
	dp_status_free(&copy);
	*ret_other = DP_STATUS_SLOTS + (turn + 1) % 2 * size;
	return DP_STATUS_SLOTS + turn % 2 * size;
}

static void an_owner_that_dies_while_it_writes_leaves_the_last_snapshot(void **state)
{
	struct fixture *f = *state;
	struct daxpin_status *status;
	uint64_t slot, other, before;

	/* Each slot is once the one that is written. */
	for (int i = 0; i < 2; i++) {
		slot = slot_of(f, &other);
		status = must_read(f);
		before = info_of(status).snapshots;
		daxpin_status_close(status);
		patch(f, other, "half of one", 11);
		status = must_read(f);
		assert_int_equal(info_of(status).snapshots, before);
		daxpin_status_close(status);
		patch(f, slot + 100, "damage", 6);
		assert_no_page(f, -EUCLEAN, "damaged");
	}
	refresh(f);
	daxpin_status_close(must_read(f));
}

/* -------------------------------------------------------------- foreign pages */

static void a_changed_header_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t byte;
	int fd = open(page_path(f), O_RDWR | O_CLOEXEC);
	struct daxpin_status *status;
	const uint32_t newer = DP_STATUS_VERSION + 1, older = DP_STATUS_VERSION - 1;

	for (size_t at = 0; at < sizeof(struct dp_status_header); at++) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x11;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		assert_int_not_equal(read_page(f, &status), 0);
		assert_true(strstr(f->errmsg, "status"));
		byte ^= 0x11;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	patch(f, offsetof(struct dp_status_header, version), &newer, 4);
	assert_no_page(f, -EPROTONOSUPPORT, "use a newer daxpin");
	patch(f, offsetof(struct dp_status_header, version), &older, 4);
	assert_no_page(f, -EPROTONOSUPPORT, "use an older daxpin");
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_no_page(f, -EUCLEAN, "beginning");
	close(fd);
}

static void a_page_of_another_size_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(truncate(page_path(f), DP_STATUS_SLOTS + 100), 0);
	assert_no_page(f, -EUCLEAN, "another size");
}

static void refuse_forged_count(struct fixture *f, uint32_t offset)
{
	uint64_t other, slot = slot_of(f, &other);
	const uint32_t forged = 0x7fffffff;

	patch(f, slot + offset, &forged, sizeof(forged));
	assert_no_page(f, -EUCLEAN, "damaged");
}

static void counts_out_of_bounds_are_refused(void **state)
{
	struct fixture *f = *state;

	refuse_forged_count(f, offsetof(struct dp_status_snapshot, holders));
	refuse_forged_count(f, offsetof(struct dp_status_snapshot, jobs));
	refuse_forged_count(f, offsetof(struct dp_status_snapshot, segments));
	refuse_forged_count(f, offsetof(struct dp_status_snapshot, cells));
	refuse_forged_count(f, offsetof(struct dp_status_snapshot, bytes));
}

/* The check of a forged page can be right. */
static void a_forged_label_without_an_end_is_refused(void **state)
{
	struct fixture *f = *state;
	struct dp_status *status = &f->pool->status;
	struct dp_status_snapshot *s = dp_status_next(status);
	struct dp_status_holder *holder;

	refresh(f);
	s->holders = 1;
	holder = (void *)dp_status_holders(s);
	memset(holder, 'x', sizeof(*holder));
	assert_int_equal(dp_status_write(status), 0);
	assert_no_page(f, -EUCLEAN, "damaged");
	refresh(f);
}

static void a_copied_page_is_refused(void **state)
{
	struct fixture *f = *state;
	char command[400];

	snprintf(command, sizeof(command), "cd %s && cp -a status new && mv new status",
		 f->path);
	assert_int_equal(system(command), 0);
	assert_no_page(f, -EUCLEAN, "copy");
}

static void a_page_of_another_user_is_refused(void **state)
{
	struct fixture *f = *state;

	if (geteuid()) {
		print_message("# skipped: only root can give a file away\n");
		skip();
	}
	assert_int_equal(chown(page_path(f), 4711, (gid_t)-1), 0);
	assert_no_page(f, -EPERM, "user 4711");
}

/* ------------------------------------------------------------- making the page */

static void a_prepared_name_is_replaced_and_not_followed(void **state)
{
	struct fixture *f = *state;
	char victim[128], contents[16] = "";
	int fd;

	snprintf(victim, sizeof(victim), "%s/victim", f->path);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	assert_int_equal(access(page_path(f), F_OK), -1);
	fd = open(victim, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "untouched", 9), 9);
	assert_int_equal(symlink(victim, page_path(f)), 0);
	assert_no_page(f, -EUCLEAN, "symbolic link");
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	daxpin_status_close(must_read(f));
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	assert_int_equal(link(victim, page_path(f)), 0);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(pread(fd, contents, sizeof(contents) - 1, 0), 9);
	assert_string_equal(contents, "untouched");
	close(fd);
	assert_int_equal(unlink(victim), 0);
}

static void without_a_page_the_pool_opens_and_says_why(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	assert_int_equal(mkdir(page_path(f), 0700), 0);
	log_lines(f);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(count_logged("no status page"), 1);
	assert_int_equal(count_logged("/status cannot be created"), 1);
	assert_true(pool_info(f).status_error < 0);
	assert_no_page(f, -EUCLEAN, "not a regular file");
	assert_int_equal(rmdir(page_path(f)), 0);
}

static void reopen_with(struct fixture *f, uint32_t flags)
{
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->options.flags = flags;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
}

static void the_page_can_be_switched_off(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pool_info(f).status_error, 0);
	reopen_with(f, DAXPIN_POOL_NO_STATUS);
	assert_int_equal(pool_info(f).status_error, -ENODATA);
	assert_no_page(f, -ENODATA, "keeps no status page");
	reopen_with(f, DAXPIN_POOL_READONLY);
	assert_int_equal(pool_info(f).status_error, -ENODATA);
	assert_no_page(f, -ENODATA, "is not open for writing");
}

static void the_mode_is_that_of_the_pool(void **state)
{
	struct fixture *f = *state;
	char first[128];
	struct stat stat_page;
	mode_t mask = umask(077);

	snprintf(first, sizeof(first), "%s/segment.0000", f->path);
	assert_int_equal(stat(page_path(f), &stat_page), 0);
	assert_int_equal(stat_page.st_mode & 07777, 0600);
	assert_int_equal(chmod(first, 0664), 0);
	reopen_with(f, DAXPIN_POOL_ANY_OWNER);
	assert_int_equal(stat(page_path(f), &stat_page), 0);
	assert_int_equal(stat_page.st_mode & 07777, 0644);
	umask(mask);
}

static int open_and_hold(void *arg, int fd)
{
	static struct daxpin_hold hold;
	struct fixture *f = arg;
	struct daxpin_extent extent;

	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	extent = live(f, 4096);
	assert_int_equal(daxpin_hold_labelled(f->pool, extent, DAXPIN_HOLD_WRITE,
					      "of the dead", &hold), 0);
	refresh(f);
	send_step(fd);
	pause();
	return 0;
}

static void a_dead_owners_page_remains_until_the_next_open(void **state)
{
	struct fixture *f = *state;
	struct daxpin_status *status;
	struct child child;

	need_genuine_proc();
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	child = fork_child(open_and_hold, f);
	assert_true(await_step(child.fd));
	status = must_read(f);
	assert_int_equal(info_of(status).alive, DAXPIN_YES);
	assert_int_equal(info_of(status).pid, child.pid);
	daxpin_status_close(status);
	kill_child(&child);
	status = must_read(f);
	assert_int_equal(info_of(status).alive, DAXPIN_NO);
	assert_string_equal(see(status).first, "of the dead");
	daxpin_status_close(status);
	f->options.deadline_ns = daxpin_deadline_ms(600000);
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	status = must_read(f);
	assert_int_equal(info_of(status).pid, getpid());
	assert_int_equal(see(status).holds, 0);
	daxpin_status_close(status);
}

static void arguments_are_checked(void **state)
{
	struct fixture *f = *state;
	struct daxpin_status *status;
	struct daxpin_status_info info = { .size = 1 };

	assert_int_equal(daxpin_status_open(NULL, NULL, 0, &status), -EINVAL);
	assert_int_equal(daxpin_status_open(f->path, NULL, 0, NULL), -EINVAL);
	assert_int_equal(daxpin_status_open("/none", f->errmsg, sizeof(f->errmsg),
					    &status), -ENOENT);
	assert_int_equal(daxpin_status_open("/dev/null", f->errmsg, sizeof(f->errmsg),
					    &status), -ENODEV);
	assert_int_equal(daxpin_status_info(NULL, &info), -EINVAL);
	assert_int_equal(daxpin_status_pool(NULL, NULL), -EINVAL);
	daxpin_status_close(NULL);
	status = must_read(f);
	assert_int_equal(daxpin_status_info(status, &info), -EINVAL);
	assert_int_equal(daxpin_status_pool(status, NULL), -EINVAL);
	daxpin_status_close(status);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_page_shows_what_the_owner_does),
		TEST(cells_show_metadata_holes_and_fill),
		TEST(the_oldest_holds_are_listed),
		TEST(a_snapshot_is_not_written_more_often_than_its_interval),
		TEST(a_page_that_is_written_is_never_torn),
		TEST(the_page_is_plausible_while_threads_work),
		TEST(an_owner_that_dies_while_it_writes_leaves_the_last_snapshot),
		TEST(a_changed_header_is_refused),
		TEST(a_page_of_another_size_is_refused),
		TEST(counts_out_of_bounds_are_refused),
		TEST(a_forged_label_without_an_end_is_refused),
		TEST(a_copied_page_is_refused),
		TEST(a_page_of_another_user_is_refused),
		TEST(a_prepared_name_is_replaced_and_not_followed),
		TEST(without_a_page_the_pool_opens_and_says_why),
		TEST(the_page_can_be_switched_off),
		TEST(the_mode_is_that_of_the_pool),
		TEST(a_dead_owners_page_remains_until_the_next_open),
		TEST(arguments_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
