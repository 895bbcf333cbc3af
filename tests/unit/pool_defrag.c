/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defragmentation must not move a pool's blocks while they are pinned (W6). These tests
 * show which files the library marks against it, when, and what it reports if a file
 * has no mark. The files are on shmem, and wrapped calls make it look like XFS.
 */
#include <linux/magic.h>
#include "logged.h"
#include "media.h"
#include "os/os.h"

#define MARKS_MAX	16

/* The marked inodes, and the results of the calls. */
static struct {
	uint64_t magic;
	uint64_t inode[MARKS_MAX];
	uint32_t count;
	uint32_t calls;
	int get_error, set_error;
	bool drops_marks;		/* succeeds without a mark, as ext4 does */
} disk;

int __real_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic);
int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg);
int __wrap_dp_os_nodefrag(int fd);
int __wrap_dp_os_set_nodefrag(int fd);

int __wrap_dp_os_filesystem(int fd, uint64_t *ret_magic)
{
	int ret = __real_dp_os_filesystem(fd, ret_magic);

	if (disk.magic)
		*ret_magic = disk.magic;
	return ret;
}

int __wrap_dp_os_fiemap(int fd, int (*fn)(const struct dp_os_extent *, void *),
			void *arg)
{
	return dp_os_seek_data(fd, 32 * MIB, fn, arg);
}

/* Returns the index of an inode in the list of marks, or the list's length. */
static uint32_t mark_of(const struct stat *st)
{
	uint32_t i = 0;

	while (i < disk.count && disk.inode[i] != st->st_ino)
		i++;
	return i;
}

int __wrap_dp_os_nodefrag(int fd)
{
	struct stat st;

	disk.calls++;
	assert_int_equal(fstat(fd, &st), 0);
	return disk.get_error ? disk.get_error : mark_of(&st) < disk.count;
}

int __wrap_dp_os_set_nodefrag(int fd)
{
	struct stat st;
	uint32_t i;

	disk.calls++;
	assert_int_equal(fstat(fd, &st), 0);
	if (disk.set_error || disk.drops_marks)
		return disk.set_error;
	i = mark_of(&st);
	assert_true(i < MARKS_MAX);
	disk.inode[i] = st.st_ino;
	if (i == disk.count)
		disk.count++;
	return 0;
}

static bool is_marked(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return mark_of(&st) < disk.count;
}

static int marked_segments(struct fixture *f)
{
	char path[128];
	int count = 0;

	for (int i = 0; i < 3; i++) {
		segment_path(f, i, path);
		count += is_marked(path);
	}
	return count;
}

/* A closed pool of three segments in a directory that its create made. */
static int defrag_setup(void **state)
{
	struct fixture *f;

	memset(&disk, 0, sizeof(disk));
	disk.magic = XFS_SUPER_MAGIC;
	if (fixture_make(state, 96 * MIB))
		return -1;
	f = *state;
	f->options.granularity = DAXPIN_GRANULARITY_AUTO;
	if (rmdir(f->path))
		return -1;
	create_pool(f);
	close_pool(f);
	return 0;
}

/* A restore from a backup loses the marks. */
static void lose_the_marks(void)
{
	disk.count = 0;
}

static uint32_t movable_at_open(struct fixture *f)
{
	uint32_t movable;

	open_pool(f);
	movable = pool_info(f).movable;
	close_pool(f);
	return movable;
}

/* Returns the number of files about which a check warns. */
static unsigned int warnings(struct fixture *f)
{
	return count_notes(f, "xfs_fsr may move");
}

/* ------------------------------------------------------------------- tests */

static void a_create_marks_every_file_and_its_directory(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(marked_segments(f), 3);
	assert_true(is_marked(f->path));
	assert_int_equal(warnings(f), 0);
	assert_int_equal(movable_at_open(f), DAXPIN_NO);
}

static void an_existing_directory_is_not_marked(void **state)
{
	struct fixture *f = *state;

	lose_the_marks();
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
	assert_int_equal(pool_info(f).movable, DAXPIN_NO);
	assert_int_equal(marked_segments(f), 3);
	assert_false(is_marked(f->path));
}

static void an_open_for_writing_restores_a_lost_mark(void **state)
{
	struct fixture *f = *state;

	lose_the_marks();
	assert_int_equal(warnings(f), 3);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_int_equal(movable_at_open(f), DAXPIN_YES);
	assert_int_equal(marked_segments(f), 0);
	f->options.flags = 0;
	assert_int_equal(movable_at_open(f), DAXPIN_NO);
	assert_int_equal(marked_segments(f), 3);
	assert_int_equal(warnings(f), 0);
}

static void a_mark_that_the_filesystem_refuses_is_reported(void **state)
{
	static const int error[] = { -EPERM, -EROFS, -ENOTTY };
	struct fixture *f = *state;

	lose_the_marks();
	for (size_t i = 0; i < sizeof(error) / sizeof(error[0]); i++) {
		disk.set_error = error[i];
		log_lines(f);
		assert_int_equal(movable_at_open(f), DAXPIN_YES);
		assert_logged(f, strerror(-error[i]));
		assert_logged(f, "open it for writing once as their owner or root");
		assert_int_equal(warnings(f), 3);
	}
	disk.set_error = 0;
	log_lines(f);
	assert_int_equal(movable_at_open(f), DAXPIN_NO);
	assert_int_equal(count_logged("defragmenting"), 0);
}

static void a_mark_that_the_filesystem_drops_is_reported(void **state)
{
	struct fixture *f = *state;

	lose_the_marks();
	disk.drops_marks = true;
	log_lines(f);
	assert_int_equal(movable_at_open(f), DAXPIN_YES);
	assert_logged(f, "not marked against defragmenting: xfs_fsr");
	assert_int_equal(warnings(f), 3);
}

/* daxpin_pool_info() reports the pool as movable if one of its files has no mark. */
static void one_file_without_a_mark_is_reported(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char path[128];

	segment_path(f, 1, path);
	assert_int_equal(stat(path, &st), 0);
	disk.inode[mark_of(&st)] = 0;
	disk.set_error = -EPERM;
	assert_int_equal(movable_at_open(f), DAXPIN_YES);
	assert_int_equal(warnings(f), 1);
}

static void a_mark_that_cannot_be_read_is_unknown(void **state)
{
	struct fixture *f = *state;

	disk.get_error = -EIO;
	assert_int_equal(movable_at_open(f), DAXPIN_UNKNOWN);
	assert_int_equal(warnings(f), 0);
}

static void other_filesystems_are_not_marked_or_reported(void **state)
{
	static const uint64_t magic[] = { EXT4_SUPER_MAGIC, TMPFS_MAGIC };
	struct fixture *f = *state;

	lose_the_marks();
	disk.calls = 0;
	for (size_t i = 0; i < sizeof(magic) / sizeof(magic[0]); i++) {
		disk.magic = magic[i];
		assert_int_equal(movable_at_open(f), DAXPIN_UNKNOWN);
		assert_int_equal(warnings(f), 0);
	}
	assert_int_equal(disk.calls, 0);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, defrag_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_create_marks_every_file_and_its_directory),
		TEST(an_existing_directory_is_not_marked),
		TEST(an_open_for_writing_restores_a_lost_mark),
		TEST(a_mark_that_the_filesystem_refuses_is_reported),
		TEST(a_mark_that_the_filesystem_drops_is_reported),
		TEST(one_file_without_a_mark_is_reported),
		TEST(a_mark_that_cannot_be_read_is_unknown),
		TEST(other_filesystems_are_not_marked_or_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
