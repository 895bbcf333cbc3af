/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layout barrier, on the DAX filesystem that DAXPIN_TEST_FSDAX names: writes of a
 * dead owner's ring that was never attached, and a page that is pinned by a pipe. The
 * owner reads from a disk that holds the read until the test lets it land: after the
 * fifth report that the barrier waits for it, or, if no barrier waits, after the
 * successor has written.
 */
#include "media.h"
#include <liburing.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "forbid.h"
#include "owner/barrier.h"
#include "os/os.h"
#include "os/ring.h"
#include "../support/fake_clock.h"
#include "../support/held_disk.h"
#include "../support/pins.h"

#define LENGTH		65536u
#define OURS		0x3c
#define HANG_MS		600000		/* limit of a wait that must end */
#define REPORTS		5		/* reports of pins before the release */

static const char *directory, *kernel;
static struct held_disk disk;
static long long pins_before;
static uint64_t target;		/* pool address that the dead owner reads to */

/* --------------------------------------------------------------- fixtures */

/* Makes a closed pool of three segments, with an extent in the second. */
static int setup(void **state)
{
	struct daxpin_extent first, extent;
	struct fixture *f;

	if (empty_setup(state))
		return -1;
	f = *state;
	nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX", directory);
	if (!mkdtemp(f->path))
		return -1;
	if (held_disk_make(&disk))
		return -1;
	pins_before = pinned_pages();
	f->options.pool_size = 96 * MIB;
	create_pool(f);
	first = live(f, 30 * MIB);
	extent = live(f, LENGTH);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, first), 0);
	target = extent.addr;
	assert_int_equal(target / (32 * MIB), 1);
	close_pool(f);
	return 0;
}

/* In the child: reads with a ring that is not attached to the pool. */
static int reads_by_a_foreign_ring(struct fixture *f)
{
	int fd = held_disk_open(&disk);
	struct daxpin_extent extent;
	struct io_uring ring;
	int ret = child_opens(f);

	if (!ret)
		ret = daxpin_extent_at(f->pool, target, &extent);
	if (ret || fd < 0 || io_uring_queue_init(8, &ring, 0))
		return ret ? ret : -EIO;
	io_uring_prep_read(io_uring_get_sqe(&ring), fd,
			   daxpin_ptr(f->pool, extent, 0), LENGTH, 0);
	return io_uring_submit(&ring) == 1 ? 0 : -EIO;
}

/*
 * Waits for the lock too: the kernel frees the dead owner's private ring some time
 * later.
 */
static void kill_and_wait_for_the_lock(struct fixture *f, struct child *child)
{
	int fd;

	kill_child(child);
	fd = open_file(f, 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	close(fd);
}

/* Kills the pool's owner, while a read of its ring continues. */
static pid_t kill_the_reader(struct fixture *f)
{
	struct child child = start_child(f, reads_by_a_foreign_ring, NULL);

	assert_int_equal(child.result, 0);
	assert_true(held_disk_wait(&disk, 1));
	kill_and_wait_for_the_lock(f, &child);
	return child.pid;
}

static void kill_an_idle_owner(struct fixture *f)
{
	struct child child = start_child(f, child_opens, NULL);

	assert_int_equal(child.result, 0);
	kill_and_wait_for_the_lock(f, &child);
}

/* Lets the read land, if it is still held. Returns the number of bytes that changed. */
static uint32_t late_bytes(const volatile unsigned char *memory)
{
	uint32_t late = 0;

	assert_int_equal(held_disk_land(&disk), 0);
	for (uint32_t i = 0; i < LENGTH; i++)
		late += memory[i] != OURS;
	return late;
}

/* ------------------------------------------------------ what the barrier does */

enum order { NO_BARRIER, BARRIER_THEN_MAP, MAP_THEN_BARRIER };

static int same_fd(uint32_t index, void *arg)
{
	assert_int_equal(index, 0);
	return *(int *)arg;
}

/* The read lands after several reports, so the barrier does not end at the first. */
static int release_read(const struct dp_wait *wait, void *arg)
{
	int *reports = arg;

	if (wait->owner == DP_OWNER_PINNED && ++*reports == REPORTS)
		return held_disk_land(&disk);
	return 0;
}

static void pass_barrier(int fd)
{
	int reports = 0;
	char errmsg[400] = "";
	const struct dp_barrier barrier = {
		.path = "it", .files = 1, .file = same_fd, .arg = &fd,
	};
	struct dp_wait_policy policy = {
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
		.progress = release_read, .arg = &reports,
	};
	int ret;

	dp_wait_begin(&policy);
	ret = dp_barrier_pass(&barrier, &policy,
			      &(struct dp_errmsg) { errmsg, sizeof(errmsg) });
	if (ret)
		fail_msg("%d: %s", ret, errmsg);
}

/*
 * A successor without daxpin: takes the lock, then maps and passes the barrier in
 * `order`.
 */
static uint32_t succeed(struct fixture *f, enum order order)
{
	int lock = open_file(f, 0), fd = open_file(f, target / (32 * MIB));
	unsigned char *base;
	uint32_t late;

	assert_int_equal(flock(lock, LOCK_EX), 0);
	if (order == BARRIER_THEN_MAP)
		pass_barrier(fd);
	base = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(base, MAP_FAILED);
	if (order == MAP_THEN_BARRIER)
		pass_barrier(fd);
	memset(base + target % (32 * MIB), OURS, LENGTH);
	late = late_bytes(base + target % (32 * MIB));
	munmap(base, 32 * MIB);
	close(fd);
	close(lock);
	return late;
}

static void without_a_barrier_the_read_lands_late(void **state)
{
	struct fixture *f = *state;

	kill_the_reader(f);
	assert_int_not_equal(succeed(f, NO_BARRIER), 0);
}

/* Kernels differ (kernel.md K10). The lab has one of each kind. */
static void on_legacy_kernels_a_barrier_before_mapping_does_not_wait(void **state)
{
	struct fixture *f = *state;
	bool legacy = !strcmp(kernel, "legacy");
	uint32_t late;

	kill_the_reader(f);
	late = succeed(f, BARRIER_THEN_MAP);
	print_message("# barrier, then map: %u bytes were late\n", late);
	if (legacy)
		assert_int_not_equal(late, 0);
	if (!strcmp(kernel, "idle-at-zero"))
		assert_int_equal(late, 0);
}

static void a_barrier_after_mapping_waits_for_the_read(void **state)
{
	struct fixture *f = *state;

	kill_the_reader(f);
	assert_int_equal(succeed(f, MAP_THEN_BARRIER), 0);
}

/* -------------------------------------------------------------- in the pool */

struct reports {
	int times;		/* reports of pins */
	int pid;
	int answer;
	bool releases_read;	/* at the fifth report */
	bool ends_time;		/* the deadline passes then */
};

static int on_progress(const struct daxpin_wait *wait, void *arg)
{
	struct reports *reports = arg;

	if (wait->owner != DAXPIN_OWNER_PINNED)
		return 0;
	reports->pid = wait->pid;
	if (++reports->times == REPORTS && reports->releases_read)
		assert_int_equal(held_disk_land(&disk), 0);
	if (reports->times == REPORTS && reports->ends_time)
		advance_clock(2 * HANG_MS);
	return reports->answer;
}

static void wait_for_pins(struct fixture *f, uint64_t ms, struct reports *reports)
{
	f->options.deadline_ns = daxpin_deadline_ms(ms);
	f->options.progress = reports ? on_progress : NULL;
	f->options.progress_arg = reports;
}

static void open_waits_for_a_read_of_an_unattached_ring(void **state)
{
	struct fixture *f = *state;
	struct reports reports = { .releases_read = true };
	pid_t pid = kill_the_reader(f);
	struct daxpin_extent extent;
	unsigned char *memory;

	wait_for_pins(f, HANG_MS, &reports);
	open_pool(f);
	assert_true(reports.times >= REPORTS);
	assert_int_equal(reports.pid, pid);
	assert_int_equal(daxpin_extent_at(f->pool, target, &extent), 0);
	memory = daxpin_ptr(f->pool, extent, 0);
	/* The owner's read had landed completely before the open returned. */
	for (uint32_t i = 0; i < LENGTH; i++)
		assert_int_equal(memory[i], 0xa5);
	memset(memory, OURS, LENGTH);
	assert_int_equal(late_bytes(memory), 0);
}

/* The new pool is larger than the old one, so that some files are old and some new. */
static void create_waits_for_a_read_of_an_unattached_ring(void **state)
{
	struct fixture *f = *state;
	struct reports reports = { 0 };
	struct dp_super before, after;
	struct daxpin_extent extent;
	unsigned char *memory;

	kill_the_reader(f);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = 160 * MIB;
	before = read_super(f, 0);
	wait_for_pins(f, 0, &reports);
	assert_int_equal(daxpin_pool_create(f->path, &f->options, &f->pool),
			 -EBUSY);
	assert_says(f, "segment 1");
	after = read_super(f, 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(count_files(f->path), 3);

	reports = (struct reports) { .releases_read = true };
	wait_for_pins(f, HANG_MS, &reports);
	create_pool(f);
	assert_true(reports.times >= REPORTS);
	assert_int_equal(pool_info(f).segments, 5);
	reserve(f, 30 * MIB);
	extent = reserve(f, 30 * MIB);
	assert_int_equal(extent.addr / (32 * MIB), target / (32 * MIB));
	memory = daxpin_ptr(f->pool, extent, target - extent.addr);
	memset(memory, OURS, LENGTH);
	assert_int_equal(late_bytes(memory), 0);
}

/* --------------------------------------------------- pages pinned by a pipe */

/* Puts a page of segment 1 into a pipe, which pins it until the pipe is read. */
static void pin(struct fixture *f, int pipe_fd[2])
{
	int fd = open_file(f, 1);
	char *base = mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED,
			  fd, 0);
	struct iovec page;

	assert_ptr_not_equal(base, MAP_FAILED);
	page = (struct iovec) { base + 4 * MIB, 4096 };
	/* If the page were never written, the pipe would pin the zero page. */
	base[4 * MIB] = 1;
	assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
	assert_int_equal(vmsplice(pipe_fd[1], &page, 1, 0), 4096);
	munmap(base, 32 * MIB);
	close(fd);
}

static void unpin(int pipe_fd[2])
{
	char page[4096];

	assert_int_equal(read(pipe_fd[0], page, 4096), 4096);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

static int read_a_byte(void *arg, int parent)
{
	char byte;

	(void)parent;
	return pread(open_file(arg, 1), &byte, 1, 0) != 1;
}

/* A barrier that still waited would block this in the kernel (kernel.md K9). */
static bool can_be_read(struct fixture *f)
{
	struct child child = fork_child(read_a_byte, f);
	int status;

	return child_ends_within(&child, HANG_MS, &status);
}

static void check_pinned(struct fixture *f, struct reports *reports, int error,
			 const char *words)
{
	int pipe_fd[2], ret;
	bool readable;

	pin(f, pipe_fd);
	wait_for_pins(f, HANG_MS, reports);
	ret = daxpin_pool_open(f->path, &f->options, &f->pool);
	readable = can_be_read(f);
	unpin(pipe_fd);
	assert_int_equal(ret, error);
	assert_true(readable);
	assert_null(f->pool);
	assert_says(f, words);
	wait_for_pins(f, HANG_MS, NULL);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
}

static void pinned_memory_is_busy_at_the_deadline(void **state)
{
	struct fixture *f = *state;
	struct reports reports = { .ends_time = true };

	kill_an_idle_owner(f);
	check_pinned(f, &reports, -EBUSY, "segment 1");
	assert_int_equal(reports.times, REPORTS);
}

static void progress_ends_the_wait_for_pinned_memory(void **state)
{
	struct fixture *f = *state;
	struct reports reports = { .answer = 1 };

	kill_an_idle_owner(f);
	check_pinned(f, &reports, -ECANCELED, "gave up");
}

/* The library waits for pins only after an unclean shutdown. */
static void open_of_a_clean_pool_does_not_wait_for_pins(void **state)
{
	struct fixture *f = *state;
	int pipe_fd[2];

	pin(f, pipe_fd);
	f->options.deadline_ns = 0;
	open_pool(f);
	close_pool(f);
	unpin(pipe_fd);
}

static void without_pins_no_deadline_is_needed(void **state)
{
	struct fixture *f = *state;

	kill_an_idle_owner(f);
	f->options.deadline_ns = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
}

/*
 * Before Linux 6.9 the barrier on ext4 uses a block past the end of the file
 * (barrier.c).
 */
static uint64_t blocks_past_end(const struct fixture *f)
{
	struct io_uring_probe *probe = io_uring_get_probe();
	bool truncates;
	struct statfs fs;

	assert_non_null(probe);
	truncates = io_uring_opcode_supported(probe, DP_RING_FTRUNCATE);
	io_uring_free_probe(probe);
	assert_int_equal(statfs(f->path, &fs), 0);
	return !truncates && fs.f_type == EXT4_SUPER_MAGIC ? 4096 / 512 : 0;
}

/* Bytes, blocks and sizes are unchanged, however the open ends. */
static void the_barrier_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	uint64_t sum;
	char path[128];
	int fd;

	kill_an_idle_owner(f);
	sum = fingerprint(f->path);
	segment_path(f, 1, path);
	assert_int_equal(stat(path, &before), 0);
	fd = open_file(f, 1);
	pass_barrier(fd);
	close(fd);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(before.st_blocks + blocks_past_end(f),
			 after.st_blocks);
	assert_int_equal(fingerprint(f->path), sum);
	/* Finally an open that succeeds. */
	fd = open_file(f, 1);
	pass_barrier(fd);
	close(fd);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(before.st_blocks, after.st_blocks);
}

/* ----------------------------------------------------------- without io_uring */

/* In a child. Returns 0, the number of the step that failed, or 77 without seccomp. */
static int opens_without_rings(struct fixture *f)
{
	if (forbid(SYS_io_uring_setup, EPERM))
		return 77;
	f->options.deadline_ns = daxpin_deadline_ms(5000);
	if (child_opens(f) != -ENOSYS)
		return 1;
	if (!strstr(f->errmsg, "io_uring"))
		return 2;
	f->options.deadline_ns = DAXPIN_NO_DEADLINE;
	if (child_opens(f))
		return 3;
	return child_closes(f) ? 4 : 0;
}

static void without_io_uring_an_open_with_a_deadline_is_enosys(void **state)
{
	struct fixture *f = *state;
	struct child child;

	kill_an_idle_owner(f);
	child = start_child(f, opens_without_rings, NULL);
	release_child(&child);
	assert_int_equal(end_child(&child), 0);
	if (child.result == 77) {
		print_message("# skipped: seccomp is unavailable\n");
		skip();
	}
	assert_int_equal(child.result, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int ret;

	f->options.progress = NULL;
	/*
	 * The reads must land first, because the removal of the files would wait for
	 * them, or on older kernels would not, and warn.
	 */
	ret = held_disk_land(&disk);
	ret |= daxpin_pool_close(f->pool);
	f->pool = NULL;
	ret |= !pins_await(pins_before);
	ret |= fixture_teardown(state);
	return ret | held_disk_remove(&disk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(without_a_barrier_the_read_lands_late),
		TEST(on_legacy_kernels_a_barrier_before_mapping_does_not_wait),
		TEST(a_barrier_after_mapping_waits_for_the_read),
		TEST(open_waits_for_a_read_of_an_unattached_ring),
		TEST(create_waits_for_a_read_of_an_unattached_ring),
		TEST(pinned_memory_is_busy_at_the_deadline),
		TEST(progress_ends_the_wait_for_pinned_memory),
		TEST(open_of_a_clean_pool_does_not_wait_for_pins),
		TEST(without_pins_no_deadline_is_needed),
		TEST(the_barrier_changes_nothing),
		TEST(without_io_uring_an_open_with_a_deadline_is_enosys),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	kernel = getenv("DAXPIN_TEST_KERNEL");
	if (!directory || !getenv("DAXPIN_TEST_DISK")) {
		printf("DAXPIN_TEST_FSDAX and DAXPIN_TEST_DISK are not both set\n");
		return 77;
	}
	if (!kernel)
		kernel = "custom";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
