/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open refuses a pool whose segments are not all as the same open left them, because
 * some were restored from a backup (W4). It also refuses a pool in which some files,
 * but not all, are copies of those that it was created with (W5).
 */
#include "findings.h"

#define SEGMENTS	3

/* Chunk 0 of each segment, all that an open reads. */
struct backup {
	char *chunk[SEGMENTS];
};

static struct backup back_up(struct fixture *f)
{
	struct backup backup;

	for (uint32_t i = 0; i < SEGMENTS; i++) {
		backup.chunk[i] = malloc(DP_CHUNK_SIZE);
		assert_non_null(backup.chunk[i]);
		look(f, i, 0, backup.chunk[i], DP_CHUNK_SIZE);
	}
	return backup;
}

/* Writes back into the same file, so that the inode stays the same. */
static void restore(struct fixture *f, const struct backup *backup,
		    uint32_t segment)
{
	patch(f, segment, 0, backup->chunk[segment], DP_CHUNK_SIZE);
}

static void free_backup(struct backup *backup)
{
	for (uint32_t i = 0; i < SEGMENTS; i++)
		free(backup->chunk[i]);
}

/* Replaces the file with a copy, as cp and mv do. */
static void replace_file(struct fixture *f, uint32_t segment)
{
	char *chunk = malloc(DP_CHUNK_SIZE), path[128], other[140];
	int fd;

	assert_non_null(chunk);
	look(f, segment, 0, chunk, DP_CHUNK_SIZE);
	segment_path(f, segment, path);
	snprintf(other, sizeof(other), "%s.new", path);
	fd = open(other, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, chunk, DP_CHUNK_SIZE, 0), DP_CHUNK_SIZE);
	assert_int_equal(posix_fallocate(fd, 0, 32 * MIB), 0);
	close(fd);
	assert_int_equal(rename(other, path), 0);
	free(chunk);
}

static void replace_all(struct fixture *f)
{
	for (uint32_t i = 0; i < SEGMENTS; i++)
		replace_file(f, i);
}

static void open_and_close(struct fixture *f)
{
	open_pool(f);
	close_pool(f);
}

/*
 * Leaves the pool as if its owner had died: saves the metadata while the pool is open,
 * closes the pool, and restores the metadata.
 */
static void leave_open(struct fixture *f)
{
	struct backup backup;

	open_pool(f);
	backup = back_up(f);
	close_pool(f);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		restore(f, &backup, i);
	free_backup(&backup);
}

/*
 * Asserts that the errors of open contain these words, and that a check reports the
 * damage with the same words and with the segment's number.
 */
static void assert_refused(struct fixture *f, uint32_t segment, const char *words)
{
	assert_open_fails(f, -EUCLEAN, words);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, words);
	f->options.flags = 0;
	assert_damage(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE, segment, 0,
		      words);
}

/* ------------------------------------- segments as different opens left them */

static void open_refuses_a_segment_of_an_older_backup(void **state)
{
	struct fixture *f = *state;
	struct backup backup = back_up(f), now;

	open_and_close(f);
	now = back_up(f);
	restore(f, &backup, 1);
	assert_refused(f, 1, "segment 1 of ");
	assert_refused(f, 1, "is older by 1 open than the others");
	restore(f, &now, 1);
	open_and_close(f);
	restore(f, &backup, 2);
	assert_refused(f, 2, "is older by 2 opens than the others");
	free_backup(&backup);
	free_backup(&now);
}

static void open_refuses_segment_0_of_an_older_backup(void **state)
{
	struct fixture *f = *state;
	struct backup backup = back_up(f);

	open_and_close(f);
	restore(f, &backup, 0);
	assert_refused(f, 0, "segment 0 of ");
	assert_refused(f, 0, "is older by 1 open than the others");
	free_backup(&backup);
}

static void open_refuses_a_segment_that_is_newer_than_the_others(void **state)
{
	struct fixture *f = *state;
	struct backup older = back_up(f), newer;

	open_and_close(f);
	newer = back_up(f);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		restore(f, &older, i);
	restore(f, &newer, 2);
	assert_refused(f, 2, "segment 2 of ");
	assert_refused(f, 2, "is newer by 1 open than the others");
	free_backup(&older);
	free_backup(&newer);
}

/* Both copies were opened once, so the epochs are equal. */
static void open_refuses_a_segment_of_another_copy_of_the_pool(void **state)
{
	struct fixture *f = *state;
	struct backup before = back_up(f), one;

	open_and_close(f);
	one = back_up(f);
	for (uint32_t i = 0; i < SEGMENTS; i++)
		restore(f, &before, i);
	open_and_close(f);
	restore(f, &one, 1);
	assert_refused(f, 1, "another copy of this pool");
	free_backup(&before);
	free_backup(&one);
}

static void open_refuses_a_segment_that_was_copied_from_an_open_pool(void **state)
{
	struct fixture *f = *state;
	struct backup early;

	open_pool(f);
	early = back_up(f);
	close_pool(f);
	restore(f, &early, 2);
	assert_refused(f, 2, "was copied while the pool was open");
	free_backup(&early);
}

/*
 * An open that is interrupted leaves segment 0 with the mark OPENING. The other
 * segments may then be older, but only by that one open.
 */
static void after_an_interrupted_open_segments_may_be_one_open_older(void **state)
{
	struct fixture *f = *state;
	struct backup oldest = back_up(f), before;
	struct dp_super super;

	open_and_close(f);
	before = back_up(f);
	open_and_close(f);
	super = read_super(f, 0);
	super.flags = DP_SUPER_UNCLEAN | DP_SUPER_OPENING;
	write_super(f, 0, super);
	restore(f, &before, 1);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, "open it for writing once");
	f->options.flags = 0;
	open_and_close(f);
	assert_clean(f);
	super.sequence += 10;
	write_super(f, 0, super);
	for (uint32_t i = 1; i < SEGMENTS; i++)
		restore(f, &before, i);
	restore(f, &oldest, 2);
	assert_open_fails(f, -EUCLEAN, "segment 2 of ");
	assert_says(f, "is older by 1 open");
	free_backup(&oldest);
	free_backup(&before);
}

/*
 * A degraded open quarantines the segment, and the next normal open refuses it again.
 */
static void a_degraded_open_does_not_change_an_older_segment(void **state)
{
	struct fixture *f = *state;
	struct backup backup = back_up(f);
	char *now = malloc(DP_CHUNK_SIZE);

	assert_non_null(now);
	open_and_close(f);
	restore(f, &backup, 1);
	f->options.flags = DAXPIN_POOL_DEGRADED;
	open_pool(f);
	assert_int_equal(pool_info(f).quarantined_bytes, 30 * MIB);
	close_pool(f);
	f->options.flags = 0;
	look(f, 1, 0, now, DP_CHUNK_SIZE);
	assert_memory_equal(now, backup.chunk[1], DP_CHUNK_SIZE);
	assert_refused(f, 1, "is older by 2 opens than the others");
	free(now);
	free_backup(&backup);
}

/* As when the machine was hibernated and another system opened the pool meanwhile. */
static void close_is_estale_after_another_system_opened_the_pool(void **state)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct dp_super super;
	uint64_t before;

	open_pool(f);
	super = read_super(f, 0);
	super.epoch++;
	super.open_id ^= 1;
	super.sequence++;
	write_super(f, 0, super);
	before = fingerprint(f->path);
	assert_int_equal(daxpin_pool_close(f->pool), -ESTALE);
	/* The handle is still open, for reading. */
	assert_int_equal(daxpin_pool_info(f->pool, &info), 0);
	assert_true(info.flags & DAXPIN_POOL_READONLY);
	assert_int_equal(daxpin_reserve(f->pool, 1, 0, &extent), -EROFS);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	f->pool = NULL;
	assert_int_equal(fingerprint(f->path), before);
}

/* ------------------------------------------------------------- times of files */

/*
 * rsync, and other tools that copy only what changed, compare the files' times. On
 * shmem the library's stores need not change them (K37).
 */
static void each_open_for_writing_and_close_sets_the_times_of_all_files(void **state)
{
	struct fixture *f = *state;

	make_files_old(f);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_and_close(f);
	assert_int_equal(count_old_files(f), SEGMENTS);
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(count_old_files(f), 0);
	make_files_old(f);
	close_pool(f);
	assert_int_equal(count_old_files(f), 0);
}

/* -------------------------------------------------------------- copied files */

static void a_copy_of_a_closed_pool_is_accepted(void **state)
{
	struct fixture *f = *state;
	struct dp_super before = read_super(f, 1), after;

	replace_all(f);
	assert_note(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_OPEN,
		    "is a copy of a pool that was closed");
	f->options.flags = DAXPIN_POOL_READONLY;
	open_and_close(f);
	f->options.flags = 0;
	open_and_close(f);
	after = read_super(f, 1);
	assert_int_not_equal(memcmp(&before.file, &after.file,
				    sizeof(before.file)), 0);
	assert_clean(f);
	/* The open recorded the new files as the pool's own, so it is no copy now. */
	leave_open(f);
	open_and_close(f);
}

static void a_copy_of_an_open_pool_must_be_adopted(void **state)
{
	struct fixture *f = *state;

	leave_open(f);
	replace_all(f);
	assert_open_fails(f, -EUCLEAN, "is a copy of a pool that was not closed");
	assert_damage(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE, 0, 0,
		      "is a copy of a pool that was not closed");
	f->options.flags = DAXPIN_POOL_ADOPT;
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);
	close_pool(f);
	f->options.flags = 0;
	open_and_close(f);
	assert_clean(f);
}

static void open_refuses_a_mixture_of_copies_and_original_files(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < SEGMENTS; i++) {
		struct backup backup = back_up(f);
		char words[64];

		replace_file(f, i);
		snprintf(words, sizeof(words), "segment %u of ", i);
		assert_refused(f, i, words);
		f->options.flags = DAXPIN_POOL_ADOPT;
		assert_open_fails(f, -EUCLEAN, "is a copy, but segment ");
		f->options.flags = DAXPIN_POOL_ADOPT | DAXPIN_POOL_DEGRADED;
		assert_open_fails(f, -EUCLEAN, "is a copy, but segment ");
		f->options.flags = 0;
		/* The errmsg advises to copy all files. */
		replace_all(f);
		open_and_close(f);
		free_backup(&backup);
	}
}

/* -------------------------------------------------------------------- uuid */

static void open_with_a_uuid_opens_only_that_pool(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	memcpy(f->options.uuid, read_super(f, 0).uuid, 16);
	open_and_close(f);
	assert_clean(f);
	f->options.uuid[7] ^= 1;
	assert_open_fails(f, -ENXIO, "another pool");
	assert_int_equal(try_check(f, &found), -ENXIO);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_create_fails(f, -EINVAL, "uuid");
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, closed_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open_refuses_a_segment_of_an_older_backup),
		TEST(open_refuses_segment_0_of_an_older_backup),
		TEST(open_refuses_a_segment_that_is_newer_than_the_others),
		TEST(open_refuses_a_segment_of_another_copy_of_the_pool),
		TEST(open_refuses_a_segment_that_was_copied_from_an_open_pool),
		TEST(after_an_interrupted_open_segments_may_be_one_open_older),
		TEST(a_degraded_open_does_not_change_an_older_segment),
		TEST(close_is_estale_after_another_system_opened_the_pool),
		TEST(each_open_for_writing_and_close_sets_the_times_of_all_files),
		TEST(a_copy_of_a_closed_pool_is_accepted),
		TEST(a_copy_of_an_open_pool_must_be_adopted),
		TEST(open_refuses_a_mixture_of_copies_and_original_files),
		TEST(open_with_a_uuid_opens_only_that_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
