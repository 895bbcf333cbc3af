/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools from create to close: sizes, opens, and which processes may have a pool at the
 * same time.
 */
#include "fake_clock.h"
#include "media.h"
#include "shm.h"
#include "logged.h"
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <linux/magic.h>

#define NOBODY		65534
#define LONG_MS		600000		/* limit of a wait that must end */

#define skip_because(...) do {						\
	print_message("# skipped: " __VA_ARGS__);			\
	print_message("\n");						\
	skip();								\
} while (0)

/* Returns how many bytes a test may use on shmem: half of what is free. */
static uint64_t spare_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	struct statvfs fs;
	unsigned long kib = 0;
	char line[128];

	while (file && !kib && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %lu", &kib);
	if (file)
		fclose(file);
	if (statvfs(shm_directory(), &fs))
		return 0;
	return dp_min(kib * 1024ull, fs.f_bavail * fs.f_bsize) / 2;
}

static uint64_t segment_bytes(struct fixture *f, uint32_t index)
{
	struct daxpin_segment segment;

	assert_int_equal(daxpin_segment(f->pool, index, &segment), 0);
	return segment.size;
}

/* Reserves until nothing is left. Returns the sum. */
static uint64_t reserve_all(struct fixture *f)
{
	uint64_t size = pool_info(f).largest_extent, sum = 0;
	struct daxpin_extent extent;

	while (size) {
		if (daxpin_reserve(f->pool, size, 0, &extent))
			size = size > DAXPIN_CHUNK_SIZE ?
			       size - DAXPIN_CHUNK_SIZE : 0;
		else
			sum += size;
	}
	return sum;
}

/* ---------------------------------------------------------------- creating */

static void create_makes_the_directory(void **state)
{
	struct fixture *f = *state;
	char path[64];

	strcpy(path, f->path);
	strcat(f->path, "/sub");
	create_pool(f);
	close_pool(f);
	assert_int_equal(count_files(f->path), 2);
	open_pool(f);
	close_pool(f);
	strcpy(f->path, path);
}

static void pool_holds_its_data_over_a_reopen(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent, again;
	uint64_t size;

	extent = reserve(f, 3 * 4096);
	memset(daxpin_ptr(f->pool, extent, 0), 0xa7, 3 * 4096);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	assert_int_equal(fixture_reopen(f), 0);
	assert_null(daxpin_ptr(f->pool, extent, 0));
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &again), 0);
	assert_int_equal(daxpin_size(f->pool, again, &size), 0);
	assert_int_equal(size, 3 * 4096);
	for (uint64_t i = 0; i < size; i++)
		assert_int_equal(*(uint8_t *)daxpin_ptr(f->pool, again, i),
				 0xa7);
}

static void info_describes_the_pool(void **state)
{
	static const unsigned char none[16];
	struct fixture *f = *state;
	struct daxpin_pool_info info;

	f->options.pool_size = 96 * MIB;
	create_pool(f);
	info = pool_info(f);
	assert_int_equal(info.source, DAXPIN_SOURCE_SHMEM);
	assert_int_equal(info.granularity, DAXPIN_GRANULARITY_CACHE_LINE);
	assert_int_equal(info.segments, 3);
	assert_int_equal(info.flags, 0);
	assert_int_equal(info.segment_size, 32 * MIB);
	assert_int_equal(info.epoch, 1);
	assert_int_equal(info.media_bytes, 96 * MIB);
	assert_int_equal(info.usable_bytes, 90 * MIB);
	assert_int_equal(info.free_bytes, 90 * MIB);
	assert_int_equal(info.largest_extent, 30 * MIB);
	assert_int_equal(info.hole_bytes, 0);
	assert_int_equal(info.unaligned_chunks, 0);
	assert_int_equal(info.ignored_files, 0);
	assert_int_equal(info.registrations, 0);
	assert_int_equal(info.unclean, 0);
	assert_memory_not_equal(info.uuid, none, 16);
	assert_int_equal(reserve_all(f), 90 * MIB);
	assert_int_equal(pool_info(f).free_bytes, 0);
}

static void info_writes_no_more_than_the_caller_has(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info info;

	memset(&info, 0x5a, sizeof(info));
	info.size = offsetof(struct daxpin_pool_info, epoch);
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_int_equal(info.segment_size, 32 * MIB);
	assert_int_equal(info.epoch, 0x5a5a5a5a5a5a5a5a);
	info.size = 4;
	assert_int_equal(daxpin_pool_info(f->pool, &info), -EINVAL);
	assert_int_equal(daxpin_pool_info(f->pool, NULL), -EINVAL);
	assert_int_equal(daxpin_pool_info(NULL, &info), -EINVAL);
}

static void granularity_is_page_on_shmem_unless_asked_for(void **state)
{
	static const uint32_t wanted[] = {
		DAXPIN_GRANULARITY_AUTO, DAXPIN_GRANULARITY_PAGE,
		DAXPIN_GRANULARITY_CACHE_LINE, DAXPIN_GRANULARITY_BYTE,
	};
	static const uint32_t got[] = {
		DAXPIN_GRANULARITY_PAGE, DAXPIN_GRANULARITY_PAGE,
		DAXPIN_GRANULARITY_CACHE_LINE, DAXPIN_GRANULARITY_BYTE,
	};
	struct fixture *f = *state;

	f->options.pool_size = 32 * MIB;
	create_pool(f);
	for (int i = 0; i < 4; i++) {
		close_pool(f);
		f->options.granularity = wanted[i];
		open_pool(f);
		assert_int_equal(pool_info(f).granularity, got[i]);
		live(f, 4096);
	}
	close_pool(f);
	f->options.granularity = DAXPIN_GRANULARITY_PAGE + 1;
	assert_open_fails(f, -EINVAL, "granularity 4");
}

static void segment_sizes_from_32_to_512_mib_work(void **state)
{
	struct fixture *f = *state;

	for (uint64_t size = 32 * MIB; size <= 512 * MIB; size *= 2) {
		if (size > spare_bytes())
			skip_because("no memory for a segment of %d MiB",
				     (int)(size / MIB));
		f->options.segment_size = size;
		f->options.pool_size = size;
		f->options.flags = DAXPIN_POOL_OVERWRITE;
		create_pool(f);
		assert_int_equal(pool_info(f).segments, 1);
		assert_int_equal(pool_info(f).largest_extent, size - 2 * MIB);
		live(f, size - 2 * MIB);
		close_pool(f);
		f->options.flags = 0;
		open_pool(f);
		assert_int_equal(pool_info(f).free_bytes, 0);
		close_pool(f);
	}
}

static void last_segment_may_be_short(void **state)
{
	struct fixture *f = *state;

	f->options.segment_size = 64 * MIB;
	f->options.pool_size = 98 * MIB;
	create_pool(f);
	assert_int_equal(pool_info(f).segments, 2);
	assert_int_equal(segment_bytes(f, 0), 64 * MIB);
	assert_int_equal(segment_bytes(f, 1), 34 * MIB);
	assert_int_equal(pool_info(f).usable_bytes, 94 * MIB);
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).usable_bytes, 94 * MIB);
	assert_int_equal(reserve_all(f), 94 * MIB);
}

static void a_remainder_below_32_mib_becomes_no_segment(void **state)
{
	struct fixture *f = *state;
	struct daxpin_segment segment;

	f->options.segment_size = 64 * MIB;
	f->options.pool_size = 94 * MIB;
	create_pool(f);
	assert_int_equal(pool_info(f).segments, 1);
	assert_int_equal(daxpin_segment(f->pool, 1, &segment), -ENOENT);
	assert_int_equal(pool_info(f).usable_bytes, 62 * MIB);
	close_pool(f);
	open_pool(f);
	close_pool(f);
}

/* The only segment may be the short one. */
static void a_pool_can_be_smaller_than_segment_size(void **state)
{
	struct fixture *f = *state;

	f->options.segment_size = 0;	/* 256 MiB */
	f->options.pool_size = 34 * MIB;
	create_pool(f);
	assert_int_equal(pool_info(f).segment_size, DAXPIN_SEGMENT_DEFAULT);
	assert_int_equal(pool_info(f).segments, 1);
	assert_int_equal(segment_bytes(f, 0), 34 * MIB);
	assert_int_equal(pool_info(f).largest_extent, 32 * MIB);
	close_pool(f);
	open_pool(f);
	assert_int_equal(reserve_all(f), 32 * MIB);
}

static void pool_may_have_64_segments(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	if (spare_bytes() < 64 * 32 * MIB)
		skip_because("no memory for 64 segments of 32 MiB");
	f->options.pool_size = 64 * 32 * MIB;
	create_pool(f);
	for (int i = 0; i < 64; i++)
		live(f, 30 * MIB);
	assert_int_equal(pool_info(f).free_bytes, 0);
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).segments, 64);
	assert_int_equal(pool_info(f).free_bytes, 0);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(daxpin_extent_at(f->pool, i * 32 * MIB +
						  2 * MIB, &extent), 0);
}

static void create_refuses_impossible_sizes(void **state)
{
	static const struct {
		uint64_t pool, segment;
	} bad[] = {
		{ 30 * MIB, 32 * MIB }, { 4096, 32 * MIB },
		{ 30 * MIB - 1, 32 * MIB }, { UINT64_MAX, 32 * MIB },
		{ UINT64_MAX - 2 * MIB, 32 * MIB },
		{ (16384 * 32 + 32) * MIB, 32 * MIB },
		/* Counts of segments that are 0 and 1 in 32 bits. */
		{ (1ull << 32) * 32 * MIB, 32 * MIB },
		{ ((1ull << 32) + 1) * 32 * MIB, 32 * MIB },
		{ 64 * MIB, 16 * MIB }, { 64 * MIB, 48 * MIB },
		{ 64 * MIB, 2048 * MIB }, { 64 * MIB, 1 },
		{ 64 * MIB, UINT64_MAX },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f->options.pool_size = bad[i].pool;
		f->options.segment_size = bad[i].segment;
		assert_create_fails(f, -EINVAL, "32");
		assert_int_equal(count_files(f->path), 0);
	}
}

static void create_that_fails_removes_its_directory(void **state)
{
	struct fixture *f = *state;
	char path[64];

	strcpy(path, f->path);
	strcat(f->path, "/sub");
	f->options.pool_size = 1;
	assert_create_fails(f, -EINVAL, "32");
	assert_int_equal(access(f->path, F_OK), -1);
	strcpy(f->path, path);
}

static void create_refuses_an_existing_pool(void **state)
{
	struct fixture *f = *state;

	assert_create_fails(f, -EEXIST, f->path);
	assert_says(f, "overwrite");
	open_pool(f);
	close_pool(f);
}

static void overwrite_makes_a_new_pool(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info before, after;
	struct daxpin_extent extent, found;

	extent = live(f, 4096);
	before = pool_info(f);
	close_pool(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = 32 * MIB;
	create_pool(f);
	after = pool_info(f);
	assert_memory_not_equal(before.uuid, after.uuid, 16);
	assert_true(after.epoch > before.epoch);
	assert_int_equal(after.segments, 1);
	assert_int_equal(after.ignored_files, 1);	/* never unlinked */
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &found),
			 -ENOENT);
}

/* ---------------------------------------------------- create without space */

/* Mounts a small tmpfs over the test's directory, in a mount namespace of the test. */
static void mount_small(struct fixture *f, const char *options)
{
	if (geteuid())
		skip_because("a mount needs root");
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("small", f->path, "tmpfs", 0, options))
		skip_because("no mount here: %s", strerror(errno));
}

static void create_without_room_removes_what_it_made(void **state)
{
	struct fixture *f = *state;
	char path[64];

	mount_small(f, "size=48m,mode=700");
	write_file(f, "letter", "dear sir", 0);
	assert_create_fails(f, -ENOSPC, "the pool needs 67108864 bytes");
	assert_says(f, f->path);
	assert_int_equal(count_files(f->path), 1);
	strcpy(path, f->path);
	strcat(f->path, "/sub");
	assert_create_fails(f, -ENOSPC, "free some space");
	assert_int_equal(access(f->path, F_OK), -1);
	strcpy(f->path, path);
	f->options.pool_size = 32 * MIB;
	create_pool(f);
	close_pool(f);
	umount2(f->path, MNT_DETACH);
}

/* Each report advances the clock, so that the next step reports too. */
struct work {
	uint32_t reports, stop_at;
	uint64_t done, total;
	bool ends_time;
};

static int note_work(const struct daxpin_wait *wait, void *arg)
{
	struct work *work = arg;

	assert_int_equal(wait->size, sizeof(*wait));
	assert_int_equal(wait->owner, DAXPIN_OWNER_NONE);
	assert_int_equal(wait->pid, 0);
	assert_true(!work->reports || wait->done_bytes > work->done);
	work->done = wait->done_bytes;
	work->total = wait->total_bytes;
	advance_clock(work->ends_time ? 2 * LONG_MS : 200);
	return ++work->reports == work->stop_at;
}

static void create_reports_its_progress(void **state)
{
	struct fixture *f = *state;
	struct work work = { .reports = 0 };

	f->options.progress = note_work;
	f->options.progress_arg = &work;
	/*
	 * The deadline limits only waits for other owners, so create succeeds after it.
	 */
	f->options.deadline_ns = 0;
	create_pool(f);
	assert_int_equal(work.total, 64 * MIB);
	assert_int_equal(work.done, 48 * MIB);
	assert_int_equal(work.reports, 4);
	close_pool(f);
}

static void put_zeroes(struct fixture *f, unsigned int segment, uint64_t size)
{
	char path[128], *zeroes = calloc(1, size);
	int fd;

	snprintf(path, sizeof(path), "%s/segment.%04u", f->path, segment);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, zeroes, size), size);
	close(fd);
	free(zeroes);
}

struct reading {
	uint64_t done, total;
	uint32_t reports, stop_at;
};

static int note_reading(const struct daxpin_wait *wait, void *arg)
{
	struct reading *reading = arg;

	assert_int_equal(wait->owner, DAXPIN_OWNER_NONE);
	assert_true(!reading->reports || wait->done_bytes > reading->done);
	assert_true(wait->done_bytes < wait->total_bytes);
	reading->done = wait->done_bytes;
	reading->total = wait->total_bytes;
	advance_clock(200);
	return ++reading->reports == reading->stop_at;
}

/*
 * create and open must read every byte of these files to find that they are all zeroes.
 */
static void what_may_be_blank_is_read_with_reports(void **state)
{
	struct reading reading = { .stop_at = 20 };
	struct fixture *f = *state;

	mkdir(f->path, 0700);
	put_zeroes(f, 0, 32 * MIB);
	put_zeroes(f, 1, 32 * MIB);
	f->options.progress = note_reading;
	f->options.progress_arg = &reading;
	assert_create_fails(f, -ECANCELED, "gave up when 42 of 64 MiB");
	assert_int_equal(reading.reports, 20);
	assert_int_equal(reading.total, 64 * MIB);
	assert_int_equal(count_files(f->path), 2);
	reading = (struct reading) { .stop_at = 5 };
	assert_open_fails(f, -ECANCELED, "gave up when 10 of 32 MiB");
	f->options.progress = NULL;
	create_pool(f);
	close_pool(f);
}

static void create_ends_when_progress_returns_nonzero(void **state)
{
	struct fixture *f = *state;
	struct work work = { .stop_at = 4 };

	f->options.progress = note_work;
	f->options.progress_arg = &work;
	assert_create_fails(f, -ECANCELED, "48 of 64 MiB");
	assert_int_equal(count_files(f->path), 0);
	f->options.progress = NULL;
	create_pool(f);
	close_pool(f);
}

static void create_ends_at_the_deadline(void **state)
{
	struct fixture *f = *state;
	struct work work = { .ends_time = true };

	f->options.progress = note_work;
	f->options.progress_arg = &work;
	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	assert_create_fails(f, -ETIMEDOUT, "deadline");
	assert_int_equal(work.reports, 1);
	assert_int_equal(count_files(f->path), 0);
}

static void create_without_room_leaves_the_old_pool(void **state)
{
	struct fixture *f = *state;

	mount_small(f, "size=80m,mode=700");
	create_pool(f);
	live(f, 4096);
	close_pool(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = 128 * MIB;
	assert_create_fails(f, -ENOSPC, "67108864 bytes");
	assert_int_equal(count_files(f->path), 2);
	f->options.flags = 0;
	f->options.pool_size = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).free_bytes, 60 * MIB - 4096);
	close_pool(f);
	umount2(f->path, MNT_DETACH);
}

/* ------------------------------------------------------------ interrupted */

static void open_refuses_an_unfinished_create_and_create_completes_it(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.flags = DP_SUPER_CREATING;
	write_super(f, 0, super);
	assert_open_fails(f, -EUCLEAN, "its create was interrupted");
	assert_says(f, f->path);
	f->options.flags = DAXPIN_POOL_CREATE;
	open_pool(f);
	f->options.flags = 0;
	assert_int_equal(pool_info(f).segments, 3);
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
}

/* Files as a create leaves them that ended before it wrote the superblock. */
static void create_completes_blank_files(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0000", "", 32 * MIB);
	write_file(f, "segment.0001", "", 32 * MIB);
	assert_open_fails(f, -EMEDIUMTYPE, f->path);
	create_pool(f);
	close_pool(f);
	open_pool(f);
}

/* Segment 1 belongs to a pool whose segment 0 is now blank. */
static void create_refuses_when_a_later_segment_is_not_blank(void **state)
{
	struct fixture *f = *state;
	char path[128];

	close_pool(f);
	segment_path(f, 0, path);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, 32 * MIB), 0);
	assert_open_fails(f, -EUCLEAN, "segment.0000 was wiped");
	assert_create_fails(f, -EEXIST, "segment.0000 was wiped");
}

/* ------------------------------------------------------- epochs and crashes */

static void epoch_grows_with_each_open(void **state)
{
	struct fixture *f = *state;
	uint64_t epoch = pool_info(f).epoch;

	for (int i = 1; i < 5; i++) {
		assert_int_equal(fixture_reopen(f), 0);
		assert_int_equal(pool_info(f).epoch, epoch + i);
	}
}

static int child_fills(struct fixture *f)
{
	struct daxpin_extent extent;

	if (child_opens(f))
		return 1;
	live(f, 8192);
	extent = live(f, 8192);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	reserve(f, 8192);
	return 0;
}

static void a_killed_owners_pool_opens_without_waiting_as_unclean(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_fills, NULL);
	struct daxpin_pool_info info;

	assert_int_equal(child.result, 0);
	kill_child(&child);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, "open it for writing once");
	assert_says(f, f->path);
	f->options.flags = 0;
	open_pool(f);
	info = pool_info(f);
	assert_int_equal(info.unclean, 1);
	assert_int_equal(info.epoch, 3);
	/* Extents that were retired or only reserved are free again. */
	assert_int_equal(info.free_bytes, 90 * MIB - 8192);
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
}

/* ----------------------------------------------------------- bad arguments */

static void check_both(struct fixture *f, int error, const char *words)
{
	assert_open_fails(f, error, words);
	assert_create_fails(f, error, words);
}

static void unknown_flags_are_refused(void **state)
{
	struct fixture *f = *state;

	f->options.flags = 0x80000000;
	check_both(f, -EINVAL, "flags 0x80000000");
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_create_fails(f, -EINVAL, "flags 0x1");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_open_fails(f, -EINVAL, "flags 0x2");
}

struct later_options {
	struct daxpin_pool_options now;
	uint64_t more;
};

static void options_of_a_later_version_are_e2big_unless_zero(void **state)
{
	struct fixture *f = *state;
	struct later_options later = { f->options, 1 };

	later.now.size = sizeof(later);
	assert_int_equal(daxpin_pool_open(f->path, &later.now, &f->pool),
			 -E2BIG);
	assert_says(f, "options");
	assert_int_equal(daxpin_pool_create(f->path, &later.now, &f->pool),
			 -E2BIG);
	assert_null(f->pool);
	later.more = 0;
	assert_int_equal(daxpin_pool_open(f->path, &later.now, &f->pool), 0);
}

static void options_of_an_earlier_version_are_accepted(void **state)
{
	struct fixture *f = *state;

	f->options.flags = DAXPIN_POOL_READONLY;
	f->options.size = offsetof(struct daxpin_pool_options, pool_size);
	open_pool(f);
	assert_int_equal(pool_info(f).flags, DAXPIN_POOL_READONLY);
	close_pool(f);
	f->options.size = 0;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -EINVAL);
}

static void null_arguments_are_refused_or_harmless(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_open(NULL, &f->options, &f->pool),
			 -EINVAL);
	assert_true(f->errmsg[0]);
	f->errmsg[0] = '\0';
	assert_int_equal(daxpin_pool_open(f->path, &f->options, NULL), -EINVAL);
	assert_true(f->errmsg[0]);
	assert_int_equal(daxpin_pool_create(NULL, &f->options, &f->pool),
			 -EINVAL);
	assert_int_equal(daxpin_pool_create(f->path, &f->options, NULL),
			 -EINVAL);
	/* create accepts NULL options, and finds the pool of the fixture. */
	assert_int_equal(daxpin_pool_create(f->path, NULL, &f->pool), -EEXIST);
	assert_int_equal(daxpin_pool_close(NULL), 0);
	assert_int_equal(daxpin_pool_drain(NULL, 0), -EINVAL);
	assert_int_equal(daxpin_lock_fd(NULL), -EINVAL);
	assert_int_equal(daxpin_anchor_fd(NULL), -EINVAL);
	assert_int_equal(daxpin_pool_open(f->path, NULL, &f->pool), 0);
}

static void errmsg_is_cut_to_its_buffer(void **state)
{
	struct fixture *f = *state;
	char *errmsg = malloc(8);

	assert_non_null(errmsg);
	f->options.errmsg = errmsg;
	f->options.errmsg_size = 8;
	strcat(f->path, "/none");
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -ENOENT);
	assert_int_equal(strlen(errmsg), 7);
	f->options.errmsg_size = 0;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -ENOENT);
	f->options.errmsg = NULL;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -ENOENT);
	f->path[strlen(f->path) - 5] = '\0';
	free(errmsg);
}

/* ------------------------------------------------------------------- owners */

static void second_open_in_a_process_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool *second = NULL;

	assert_int_equal(daxpin_pool_open(f->path, &f->options, &second),
			 -EBUSY);
	assert_says(f, "in this process");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &second),
			 -EBUSY);
	assert_says(f, "in this process");
	f->options.flags = 0;
	assert_null(second);
	/*
	 * The first open is not affected: another process is still refused with the
	 * owner's name.
	 */
	live(f, 4096);
	assert_int_equal(fixture_reopen(f), 0);
}

static void assert_names(struct fixture *f, const struct child *child)
{
	char words[32];

	snprintf(words, sizeof(words), "process %d", child->pid);
	assert_says(f, words);
}

static void open_in_another_process_names_the_owner(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, child_closes);

	assert_int_equal(child.result, 0);
	assert_open_fails(f, -EBUSY, "is open in");
	assert_names(f, &child);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EBUSY, "is open in");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_create_fails(f, -EBUSY, "is open in");
	assert_names(f, &child);
	f->options.flags = 0;
	release_child(&child);
	assert_int_equal(end_child(&child), 0);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
}

struct reports {
	int times;
	int pid;
	enum daxpin_owner owner;
	uint64_t waited_ns;
	struct child *child;		/* the owner closes at the second report */
	int answer;
	bool ends_time;			/* at the third report */
};

static int on_progress(const struct daxpin_wait *wait, void *arg)
{
	struct reports *reports = arg;

	reports->pid = wait->pid;
	reports->owner = wait->owner;
	reports->waited_ns = wait->waited_ns;
	if (++reports->times == 2 && reports->child)
		release_child(reports->child);
	if (reports->ends_time && reports->times == 3)
		advance_clock(2 * LONG_MS);
	return reports->answer;
}

static void open_waits_for_the_owner_to_close(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, child_closes);
	struct reports reports = { .child = &child };

	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	f->options.progress = on_progress;
	f->options.progress_arg = &reports;
	open_pool(f);
	assert_true(reports.times >= 2);
	assert_int_equal(reports.owner, DAXPIN_OWNER_ALIVE);
	assert_int_equal(reports.pid, child.pid);
	assert_true(reports.waited_ns >= 50000000);
	assert_int_equal(end_child(&child), 0);
	assert_int_equal(pool_info(f).unclean, 0);
}

static void open_fails_at_the_deadline(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);
	struct reports reports = { .ends_time = true };
	uint64_t deadline = daxpin_deadline_ms(LONG_MS);

	f->options.deadline_ns = deadline;
	f->options.progress = on_progress;
	f->options.progress_arg = &reports;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -EBUSY);
	assert_names(f, &child);
	assert_true(daxpin_deadline_ms(0) >= deadline);
	/* The deadline passed with the third report. */
	assert_int_equal(reports.times, 3);
	f->options.deadline_ns = 0;
	kill_child(&child);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
}

static void open_fails_when_progress_returns_nonzero(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);
	struct reports reports = { .answer = 1 };

	f->options.deadline_ns = DAXPIN_NO_DEADLINE;
	f->options.progress = on_progress;
	f->options.progress_arg = &reports;
	assert_open_fails(f, -ECANCELED, "gave up");
	assert_int_equal(reports.times, 1);
	kill_child(&child);
}

static int child_reports_owner(struct fixture *f)
{
	struct daxpin_pool *second = NULL;
	int ret = daxpin_pool_open(f->path, &f->options, &second);
	char words[32];

	snprintf(words, sizeof(words), "process %d", getppid());
	return ret == -EBUSY && strstr(f->errmsg, words) ? 0 : 1;
}

/* A forked child is another process, so its open names the parent as the owner. */
static void forked_child_names_its_parent(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_reports_owner, NULL);

	assert_int_equal(child.result, 0);
	kill_child(&child);
}

/* The file that an open waits for is replaced, and then its owner dies. */
struct replacement {
	struct fixture *f;
	struct child *child;
};

static int replace_first(const struct daxpin_wait *wait, void *arg)
{
	struct replacement *replacement = arg;
	char path[128];

	(void)wait;
	segment_path(replacement->f, 0, path);
	unlink(path);
	write_file(replacement->f, "segment.0000", "", 32 * MIB);
	kill(replacement->child->pid, SIGKILL);
	return 0;
}

static void open_refuses_a_file_that_was_replaced_while_it_waited(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);
	struct replacement replacement = { f, &child };

	f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
	f->options.progress = replace_first;
	f->options.progress_arg = &replacement;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool),
			 -EBUSY);
	assert_says(f, "replaced");
	assert_int_equal(end_child(&child), -SIGKILL);
}

/* ------------------------------------------------------------ permissions */

static int as_nobody(struct fixture *f)
{
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
		return -ENOSYS;
	(void)f;
	return 0;
}

static int nobody_opens(struct fixture *f)
{
	int ret = as_nobody(f);

	if (!ret)
		ret = child_opens(f);
	/* Returns 1: refused, with the path and the cause. */
	if (ret == -EACCES && strstr(f->errmsg, f->path) &&
	    strstr(f->errmsg, "Permission denied"))
		return 1;
	return ret;
}

static int nobody_creates(struct fixture *f)
{
	strcat(f->path, "/sub");
	if (as_nobody(f))
		return -ENOSYS;
	if (child_creates(f) == -EACCES && strstr(f->errmsg, f->path) &&
	    strstr(f->errmsg, "Permission denied"))
		return 1;
	return 0;
}

static int as_other(struct fixture *f, int (*fn)(struct fixture *f))
{
	struct child child = start_child(f, fn, NULL);

	kill_child(&child);
	return child.result;
}

static void open_without_permission_is_eacces(void **state)
{
	struct fixture *f = *state;
	char path[128];

	if (geteuid())
		skip_because("becoming another user needs root");
	assert_int_equal(chmod(f->path, 0700), 0);
	assert_int_equal(as_other(f, nobody_opens), 1);
	assert_int_equal(chmod(f->path, 0755), 0);
	for (int i = 0; i < 3; i++) {
		segment_path(f, i, path);
		assert_int_equal(chmod(path, i ? 0644 : 0600), 0);
	}
	assert_int_equal(as_other(f, nobody_opens), 1);
	segment_path(f, 0, path);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(as_other(f, nobody_opens), 1);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_int_equal(as_other(f, nobody_opens), 0);
	f->options.flags = 0;
	assert_int_equal(as_other(f, nobody_creates), 1);
	open_pool(f);
}

/* ---------------------------------------------------------------- read-only */

static void readers_share_and_exclude_writers(void **state)
{
	struct fixture *f = *state;
	struct child child;

	f->options.flags = DAXPIN_POOL_READONLY;
	child = start_child(f, child_opens, child_closes);
	assert_int_equal(child.result, 0);
	open_pool(f);
	assert_int_equal(pool_info(f).flags, DAXPIN_POOL_READONLY);
	assert_int_equal(pool_info(f).epoch, 1);	/* unchanged */
	close_pool(f);
	f->options.flags = 0;
	assert_open_fails(f, -EBUSY, "is open in");
	assert_names(f, &child);
	release_child(&child);
	assert_int_equal(end_child(&child), 0);
	open_pool(f);
}

static void readonly_open_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t before = fingerprint(f->path);

	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	close_pool(f);
	assert_int_equal(fingerprint(f->path), before);
}

static void readonly_pool_refuses_to_write(void **state)
{
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a", .rdma_device = "none0",
	};
	struct fixture *f = *state;
	struct daxpin_registration *registration = NULL;
	struct daxpin_extent extent = live(f, 4096), other;

	close_pool(f);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
	assert_non_null(daxpin_ptr(f->pool, extent, 0));
	assert_int_equal(daxpin_reserve(f->pool, 4096, 0, &other), -EROFS);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), -EROFS);
	assert_int_equal(daxpin_persist(f->pool, extent, 0, 4096), -EROFS);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_WRITE),
			 -EROFS);
	assert_int_equal(daxpin_register(f->pool, 0, &options, &registration),
			 -EROFS);
	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
}

/* -------------------------------------------------------------- on a disk */

static bool is_disk(const char *path)
{
	struct statx stx;
	struct statfs fs;

	if (statfs(path, &fs) || fs.f_type == TMPFS_MAGIC ||
	    fs.f_type == 0x01021997 /* 9p */ || access(path, W_OK))
		return false;
	return !statx(AT_FDCWD, path, 0, 0, &stx) &&
	       !(stx.stx_attributes & STATX_ATTR_DAX);
}

/* Moves the test to a directory on a disk, if there is one. */
static void go_to_disk(struct fixture *f)
{
	static const char *const place[] = { ".", "/var/tmp", "/tmp" };

	for (int i = 0; i < 3; i++) {
		if (!is_disk(place[i]))
			continue;
		rmdir(f->path);
		snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX",
			 place[i]);
		assert_non_null(mkdtemp(f->path));
		f->options.granularity = DAXPIN_GRANULARITY_AUTO;
		return;
	}
	skip_because("no directory is on a disk");
}

static void disk_pool_is_durable_through_msync(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct daxpin_op op;

	go_to_disk(f);
	create_pool(f);
	assert_int_equal(pool_info(f).source, DAXPIN_SOURCE_DISK);
	assert_int_equal(pool_info(f).granularity, DAXPIN_GRANULARITY_PAGE);
	assert_int_equal(pool_info(f).hole_bytes, 0);
	extent = reserve(f, 8192);
	strcpy(daxpin_ptr(f->pool, extent, 4096), "on disk");
	op = (struct daxpin_op) {
		.type = DAXPIN_OP_KEEP,
		.extent = extent,
	};
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_persist(f->pool, extent, 4096, 8), 0);
	close_pool(f);
	open_pool(f);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
	assert_string_equal(daxpin_ptr(f->pool, extent, 4096), "on disk");
	assert_int_equal(pool_info(f).free_bytes, 60 * MIB - 8192);
}

static void disk_pool_refuses_hardware(void **state)
{
	struct fixture *f = *state;
	struct daxpin_registration *registration = NULL;
	struct daxpin_registration_options options = {
		.size = sizeof(options), .label = "a",
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	go_to_disk(f);
	create_pool(f);
	for (int i = 0; i < 2; i++) {
		f->errmsg[0] = '\0';
		assert_int_equal(daxpin_register(f->pool, i ?
						 DAXPIN_ALL_SEGMENTS : 0,
						 &options, &registration),
				 -EOPNOTSUPP);
		assert_null(registration);
		assert_says(f, f->path);
		assert_says(f, "disk");
	}
}

static void disk_pool_refuses_finer_granularity(void **state)
{
	struct fixture *f = *state;

	go_to_disk(f);
	f->options.granularity = DAXPIN_GRANULARITY_CACHE_LINE;
	assert_create_fails(f, -EINVAL, "page granularity");
	assert_says(f, f->path);
	assert_int_equal(count_files(f->path), 0);
	f->options.granularity = DAXPIN_GRANULARITY_AUTO;
	create_pool(f);
	close_pool(f);
	f->options.granularity = DAXPIN_GRANULARITY_BYTE;
	assert_open_fails(f, -EINVAL, "page granularity");
}

#define TEST(name, setup) \
	cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

/* ------------------------------------------------------------------- the log */

static int end_at_the_third(const struct daxpin_wait *wait, void *arg)
{
	int *reports = arg;

	assert_int_equal(wait->owner, DAXPIN_OWNER_ALIVE);
	return ++*reports == 3;
}

static void a_wait_is_logged_once(void **state)
{
	struct fixture *f = *state;
	int reports = 0;
	struct child child = start_child(f, child_opens, NULL);
	int ret;

	assert_int_equal(child.result, 0);
	log_lines(f);
	f->options.deadline_ns = DAXPIN_NO_DEADLINE;
	f->options.progress = end_at_the_third;
	f->options.progress_arg = &reports;
	ret = daxpin_pool_open(f->path, &f->options, &f->pool);
	kill_child(&child);
	assert_int_equal(ret, -ECANCELED);
	assert_int_equal(reports, 3);
	assert_int_equal(logged.lines, 1);
	assert_logged(f, "waits for the process that has the pool open");
}

static void what_an_open_finds_is_logged(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);

	assert_int_equal(child.result, 0);
	kill_child(&child);
	log_lines(f);
	open_pool(f);
	assert_logged(f, "its last owner did not close it");
	logged.lines = 0;
	daxpin_log(f->pool, "from an adapter");
	assert_logged(f, "from an adapter");
	daxpin_log(f->pool, NULL);
	daxpin_log(NULL, "nowhere");
	assert_int_equal(logged.lines, 1);
	close_pool(f);
	logged.lines = 0;
	open_pool(f);
	for (int i = 0; i < logged.lines; i++)
		assert_null(strstr(logged.line[i], "did not close"));
	close_pool(f);
	log_lines(f);
	f->options.log = NULL;
	open_pool(f);
	assert_int_equal(logged.lines, 0);
}

static void a_restored_superblock_is_logged(void **state)
{
	struct fixture *f = *state;
	char zeroes[DP_SUPER_SIZE] = { 0 };

	patch(f, 0, 0, zeroes, sizeof(zeroes));
	log_lines(f);
	f->options.deadline_ns = DAXPIN_NO_DEADLINE;
	f->options.flags = DAXPIN_POOL_DESPITE_RDMA;
	open_pool(f);
	assert_logged(f, "restored from the copy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(create_makes_the_directory, empty_setup),
		TEST(pool_holds_its_data_over_a_reopen, fixture_setup),
		TEST(info_describes_the_pool, empty_setup),
		TEST(info_writes_no_more_than_the_caller_has, fixture_setup),
		TEST(granularity_is_page_on_shmem_unless_asked_for,
		     empty_setup),
		TEST(segment_sizes_from_32_to_512_mib_work, empty_setup),
		TEST(last_segment_may_be_short, empty_setup),
		TEST(a_remainder_below_32_mib_becomes_no_segment, empty_setup),
		TEST(a_pool_can_be_smaller_than_segment_size, empty_setup),
		TEST(pool_may_have_64_segments, empty_setup),
		TEST(create_refuses_impossible_sizes, empty_setup),
		TEST(create_that_fails_removes_its_directory, empty_setup),
		TEST(create_refuses_an_existing_pool, closed_setup),
		TEST(overwrite_makes_a_new_pool, fixture_setup),
		TEST(create_without_room_removes_what_it_made, empty_setup),
		TEST(create_without_room_leaves_the_old_pool, empty_setup),
		TEST(create_reports_its_progress, empty_setup),
		TEST(create_ends_when_progress_returns_nonzero, empty_setup),
		TEST(what_may_be_blank_is_read_with_reports, empty_setup),
		TEST(create_ends_at_the_deadline, empty_setup),
		TEST(a_wait_is_logged_once, closed_setup),
		TEST(what_an_open_finds_is_logged, closed_setup),
		TEST(a_restored_superblock_is_logged, closed_setup),
		TEST(open_refuses_an_unfinished_create_and_create_completes_it,
		     closed_setup),
		TEST(create_completes_blank_files, empty_setup),
		TEST(create_refuses_when_a_later_segment_is_not_blank,
		     fixture_setup),
		TEST(epoch_grows_with_each_open, fixture_setup),
		TEST(a_killed_owners_pool_opens_without_waiting_as_unclean,
		     closed_setup),
		TEST(unknown_flags_are_refused, closed_setup),
		TEST(options_of_a_later_version_are_e2big_unless_zero,
		     closed_setup),
		TEST(options_of_an_earlier_version_are_accepted, closed_setup),
		TEST(null_arguments_are_refused_or_harmless, closed_setup),
		TEST(errmsg_is_cut_to_its_buffer, closed_setup),
		TEST(second_open_in_a_process_is_refused, fixture_setup),
		TEST(open_in_another_process_names_the_owner, closed_setup),
		TEST(open_waits_for_the_owner_to_close, closed_setup),
		TEST(open_fails_at_the_deadline, closed_setup),
		TEST(open_fails_when_progress_returns_nonzero, closed_setup),
		TEST(forked_child_names_its_parent, fixture_setup),
		TEST(open_refuses_a_file_that_was_replaced_while_it_waited,
		     closed_setup),
		TEST(open_without_permission_is_eacces, closed_setup),
		TEST(readers_share_and_exclude_writers, closed_setup),
		TEST(readonly_open_changes_nothing, closed_setup),
		TEST(readonly_pool_refuses_to_write, fixture_setup),
		TEST(disk_pool_is_durable_through_msync, empty_setup),
		TEST(disk_pool_refuses_hardware, empty_setup),
		TEST(disk_pool_refuses_finer_granularity, empty_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
