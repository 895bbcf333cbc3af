/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What daxpin_check() finds, and that it changes nothing: findings.h compares the
 * pool's metadata before and after every check.
 */
#include "findings.h"
#include "needs.h"

/* ------------------------------------------------------------- whole pools */

static void an_intact_pool_is_clean_and_its_extents_are_counted(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent gone;
	struct daxpin_pool_info info;
	struct findings found;

	open_pool(f);
	live(f, 3 * DP_BLOCK_SIZE);
	gone = live(f, MIB);
	make_root(f, "index");
	/*
	 * The pool retires the extent last: otherwise the next extent would begin at
	 * its block.
	 */
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, gone), 0);
	info = pool_info(f);
	close_pool(f);
	assert_clean(f);
	check_pool(f, &found);
	assert_int_equal(found.count, 1);
	assert_int_equal(found.finding[0].structure,
			 DAXPIN_STRUCTURE_SUPERBLOCK);
	assert_int_equal(found.summary.source, DAXPIN_SOURCE_SHMEM);
	assert_int_equal(found.summary.segments, 3);
	assert_int_equal(found.summary.segment_size, 32 * MIB);
	assert_int_equal(found.summary.media_bytes, 96 * MIB);
	assert_int_equal(found.summary.epoch, info.epoch);
	assert_memory_equal(found.summary.uuid, info.uuid, 16);
	assert_int_equal(found.summary.unclean, 0);
	assert_int_equal(found.summary.extents, 2);
	assert_int_equal(found.summary.extent_bytes, 4 * DP_BLOCK_SIZE);
	assert_int_equal(found.summary.free_bytes, info.free_bytes);
	assert_int_equal(found.summary.used_words, 1);
	assert_int_equal(found.summary.roots, 1);
	assert_int_equal(found.summary.roots_stale, 0);
	assert_int_equal(found.summary.lanes_open, 0);
	assert_int_equal(found.summary.lanes_torn, 0);
	assert_int_equal(found.summary.repaired, 0);
}

static void a_check_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct findings found;
	uint64_t before;

	put_extent(f, 1, 600, 8);
	put_extent(f, 1, 604, 1);
	write_raw(f, 2, 1000, 0);
	corrupt_page(f, 2, DP_COPY_OFFSET);
	before = fingerprint(f->path);
	check_pool(f, &found);
	assert_true(found.summary.damages >= 3);
	assert_int_equal(fingerprint(f->path), before);
}

static void holes_are_counted(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	need_populate_write();
	punch(f, 0, 4 * MIB);
	punch(f, 2, 30 * MIB);
	assert_clean(f);
	check_pool(f, &found);
	assert_int_equal(found.summary.hole_bytes, 4 * MIB);
	assert_int_equal(found.summary.free_bytes, 86 * MIB);
}

static void an_unclean_pool_is_noted_but_not_damage(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);
	struct findings found;
	char words[32];

	assert_int_equal(child.result, 0);
	kill_child(&child);
	snprintf(words, sizeof(words), "process %d", child.pid);
	assert_note(f, DAXPIN_STRUCTURE_OWNER, DAXPIN_CURE_OPEN, words);
	check_pool(f, &found);
	assert_int_equal(found.summary.unclean, 1);
}

static void check_of_an_open_pool_names_its_owner(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);
	struct findings found;
	char words[32];

	assert_int_equal(child.result, 0);
	snprintf(words, sizeof(words), "process %d", child.pid);
	assert_int_equal(try_check(f, &found), -EBUSY);
	assert_says(f, words);
	kill_child(&child);
	assert_clean(f);
}

static void check_works_while_a_reader_has_the_pool(void **state)
{
	struct fixture *f = *state;
	struct child child;

	f->options.flags = DAXPIN_POOL_READONLY;
	child = start_child(f, child_opens, NULL);
	f->options.flags = 0;
	assert_int_equal(child.result, 0);
	assert_clean(f);
	kill_child(&child);
}

static void check_of_a_path_without_a_pool_fails(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	assert_int_equal(try_check(f, &found), -EMEDIUMTYPE);
	write_file(f, "segment.0000", "dear sir", 64 * MIB);
	assert_int_equal(try_check(f, &found), -EMEDIUMTYPE);
	assert_int_equal(found.count, 0);
	strcat(f->path, "/none");
	assert_int_equal(try_check(f, &found), -ENOENT);
	f->path[strlen(f->path) - 5] = '\0';
}

static void a_newer_version_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);
	struct findings found;

	super.flags |= 0x100;
	write_super(f, 0, super);
	assert_int_equal(try_check(f, &found), -EPROTONOSUPPORT);
	super.flags = 0;
	super.version = DP_VERSION + 1;
	write_super(f, 0, super);
	assert_int_equal(try_check(f, &found), -EPROTONOSUPPORT);
}

static int stop(const struct daxpin_finding *finding, void *arg)
{
	(void)finding;
	++*(int *)arg;
	return -ECANCELED;
}

static void a_callback_can_stop_the_check(void **state)
{
	struct fixture *f = *state;
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	int times = 0;

	assert_int_equal(daxpin_check(f->path, &f->options, stop, &times,
				      &summary), -ECANCELED);
	assert_int_equal(times, 1);
}

static void bad_arguments_are_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_check_summary summary = { .size = 4 };

	assert_int_equal(daxpin_check(NULL, &f->options, NULL, NULL, &summary),
			 -EINVAL);
	assert_int_equal(daxpin_check(f->path, NULL, NULL, NULL, NULL),
			 -EINVAL);
	assert_int_equal(daxpin_check(f->path, NULL, NULL, NULL, &summary),
			 -EINVAL);
	summary.size = sizeof(summary);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_int_equal(daxpin_check(f->path, &f->options, NULL, NULL,
				      &summary), -EINVAL);
	f->options.flags = 0;
	assert_int_equal(daxpin_repair(f->path, &f->options, NULL, NULL, NULL,
				       &summary), -EINVAL);
	assert_int_equal(daxpin_repair_undo(f->path, &f->options, NULL),
			 -EINVAL);
	/* A caller of an older version gets only the fields that it knows. */
	memset(&summary, 0xa5, sizeof(summary));
	summary.size = offsetof(struct daxpin_check_summary, epoch);
	assert_int_equal(daxpin_check(f->path, NULL, NULL, NULL, &summary), 0);
	assert_int_equal(summary.media_bytes, 96 * MIB);
	assert_int_equal(summary.epoch, 0xa5a5a5a5a5a5a5a5ull);
}

/* ------------------------------------------------------------- superblocks */

static void superblock_pages_are_found(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i < 3; i++) {
		corrupt_page(f, i, DP_SUPER_OFFSET);
		assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK,
			      DAXPIN_CURE_DERIVED, i, DP_SUPER_OFFSET,
			      "the superblock is damaged");
		corrupt_page(f, i, DP_SUPER_OFFSET);
		corrupt_page(f, i, DP_COPY_OFFSET);
		assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK,
			      DAXPIN_CURE_DERIVED, i, DP_COPY_OFFSET,
			      "the superblock's copy is damaged");
		corrupt_page(f, i, DP_COPY_OFFSET);
	}
	assert_clean(f);
}

static void a_page_older_than_its_copy_is_found(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	corrupt(f, 0, (super.sequence & 1) * sizeof(super) + 100);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_DERIVED, 0,
		      DP_SUPER_OFFSET, "the superblock is damaged");
}

static void one_torn_superblock_half_is_not_damage(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);
	uint64_t older = (~super.sequence & 1) * sizeof(super) + 100;
	uint64_t newer = (super.sequence & 1) * sizeof(super) + 100;

	corrupt(f, 0, DP_SUPER_OFFSET + older);
	assert_clean(f);
	corrupt(f, 0, DP_COPY_OFFSET + older);
	assert_clean(f);
	corrupt(f, 0, DP_SUPER_OFFSET + older);
	corrupt(f, 0, DP_COPY_OFFSET + older);
	/* The copy is one change older than the page. */
	corrupt(f, 0, DP_COPY_OFFSET + newer);
	assert_clean(f);
}

static void without_an_intact_superblock_half_there_is_no_cure(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	corrupt_page(f, 0, DP_SUPER_OFFSET);
	corrupt_page(f, 0, DP_COPY_OFFSET);
	corrupt(f, 1, word_at(1000));
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 0, 0,
		      "no half of the superblock is whole");
	check_pool(f, &found);
	assert_int_equal(found.summary.segments, 0);
}

static void a_later_segment_without_superblocks_is_found(void **state)
{
	struct fixture *f = *state;
	char *zero = calloc(1, DP_CHUNK_SIZE);

	corrupt_page(f, 1, DP_SUPER_OFFSET);
	corrupt_page(f, 1, DP_COPY_OFFSET);
	/* Nothing records which open the file was last part of. */
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_LOSSY, 1,
		      0, "the superblock and its copy are damaged");
	/* Nothing in the file shows that it belongs to this pool. */
	patch(f, 1, 0, zero, DP_CHUNK_SIZE);
	free(zero);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 1, 0,
		      "neither superblock nor table");
}

static void a_foreign_segment_is_found(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 2), good = super;

	super.uuid[0] ^= 1;
	write_super(f, 2, super);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 2, 0,
		      "another segment of this one");
	super = good, super.index = 1, super.sequence += 2;
	write_super(f, 2, super);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 2, 0,
		      "another segment of this one");
	super = good, super.size -= 2 * MIB, super.sequence += 4;
	write_super(f, 2, super);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 2, 0,
		      "another segment of this one");
}

static void inconsistent_superblock_fields_are_found(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.segments = 2;
	write_super(f, 0, super);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 0, 0,
		      "impossible values");
	super.segments = 3;
	super.sequence += 2;
	super.flags = DP_SUPER_CREATING;
	write_super(f, 0, super);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 0, 0,
		      "create was interrupted");
}

/* ------------------------------------------------------------------- files */

static void missing_and_short_files_are_found(void **state)
{
	struct fixture *f = *state;
	struct findings found;
	char path[128];

	segment_path(f, 1, path);
	assert_int_equal(truncate(path, 32 * MIB - 1), 0);
	assert_damage(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE, 1, 0,
		      "truncated");
	assert_int_equal(truncate(path, 100), 0);
	assert_damage(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE, 1, 0,
		      "truncated");
	assert_int_equal(unlink(path), 0);
	assert_damage(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE, 1, 0,
		      "missing");
	segment_path(f, 0, path);
	assert_int_equal(truncate(path, 5000), 0);
	assert_damage(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE, 0, 0,
		      "truncated");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(try_check(f, &found), -EUCLEAN);
	assert_says(f, "segment.0000 is missing");
}

static void extra_files_are_noted(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0003", "extra", 0);
	write_file(f, "segment.0999", "extra", 0);
	assert_note(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE,
		    "2 segment file(s)");
}

/* A hole over zeroes is only a note. A hole over other metadata is damage. */
static void a_hole_in_metadata_is_damage_only_if_it_is_in_use(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	punch_at(f, 2, DP_LANES_END, DP_TABLE_OFFSET - DP_LANES_END);
	assert_note(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_OPEN,
		    "segment 2: 2 MiB with metadata or extents are holes");
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	punch(f, 2, 0);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 2, 0,
		      "neither superblock nor table");
}

/* ------------------------------------------------------------------ tables */

static void bad_words_are_found(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	put_extent(f, 1, 600, 8);
	put_extent(f, 1, 2000, 4);
	write_raw(f, 1, 1000, 0);
	assert_damage(f, DAXPIN_STRUCTURE_TABLE, DAXPIN_CURE_LOSSY, 1,
		      word_at(1000), "blocks 1000 to 1999");
	check_pool(f, &found);
	assert_int_equal(found.summary.extents, 2);
	assert_int_equal(found.summary.quarantined_bytes,
			 1000 * DP_BLOCK_SIZE);
	write_word(f, 1, 1000, free_word);
	write_raw(f, 1, 603, 0);
	write_raw(f, 1, 604, 1);
	assert_damage(f, DAXPIN_STRUCTURE_TABLE, DAXPIN_CURE_DERIVED, 1,
		      word_at(603), "blocks 603 to 604");
	check_pool(f, &found);
	assert_int_equal(found.summary.extents, 2);
	write_raw(f, 1, 606, 1);
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 2);
}

static void overlaps_and_ends_are_found(void **state)
{
	struct fixture *f = *state;

	put_extent(f, 0, 600, 100);
	put_extent(f, 0, 650, 1);
	assert_damage(f, DAXPIN_STRUCTURE_TABLE, DAXPIN_CURE_LOSSY, 0,
		      word_at(650), "inside the one of blocks 600 to 699");
	write_word(f, 0, 650, free_word);
	put_extent(f, 0, 8191, 2);
	assert_damage(f, DAXPIN_STRUCTURE_TABLE, DAXPIN_CURE_LOSSY, 0,
		      word_at(8191), "past the segment's end");
}

/* W7: the extent is intact and reads as zeroes. */
static void an_extent_in_a_hole_is_a_note(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	need_populate_write();
	put_extent(f, 1, 1500, 100);
	punch(f, 1, 6 * MIB);
	punch(f, 1, 10 * MIB);
	assert_note(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_OPEN,
		    "segment 1: 2 MiB with metadata or extents are holes");
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	assert_int_equal(found.summary.extents, 1);
	assert_int_equal(found.summary.hole_bytes, 2 * MIB);
	assert_int_equal(found.summary.quarantined_bytes, 0);
	assert_int_equal(found.summary.free_bytes,
			 88 * MIB - 100 * DP_BLOCK_SIZE);
}

/* ------------------------------------------------------------ shared blocks */

static bool blocks_are_shared;

struct shared_walk {
	int (*fn)(const struct dp_os_extent *, void *);
	void *arg;
};

static int walk_as_shared(const struct dp_os_extent *extent, void *arg)
{
	const struct shared_walk *walk = arg;
	struct dp_os_extent shared = *extent;

	shared.shared = true;
	return walk->fn(&shared, walk->arg);
}

int __real_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *, void *), void *arg);
int __wrap_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *, void *), void *arg);

int __wrap_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *, void *), void *arg)
{
	struct shared_walk walk = { fn, arg };

	return blocks_are_shared ?
	       __real_dp_os_seek_data(fd, size, walk_as_shared, &walk) :
	       __real_dp_os_seek_data(fd, size, fn, arg);
}

/* W8: `cp -a` can make a file's blocks shared, which changes none of its bytes. */
static void blocks_shared_with_a_copy_are_a_note(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	need_populate_write();
	put_extent(f, 1, 1500, 100);
	/* A file on shmem without a hole is not searched. */
	punch(f, 1, 10 * MIB);
	blocks_are_shared = true;
	assert_note(f, DAXPIN_STRUCTURE_FILE, DAXPIN_CURE_NONE,
		    "segment 1: 30 MiB of its file share blocks");
	check_pool(f, &found);
	assert_int_equal(found.summary.extents, 1);
	assert_int_equal(found.summary.quarantined_bytes, 0);
	open_pool(f);
	assert_int_equal(pool_info(f).quarantined_bytes, 0);
	close_pool(f);
}

static int teardown_shared(void **state)
{
	blocks_are_shared = false;
	return fixture_teardown(state);
}

/* The check counts what a degraded open counts: free and quarantined bytes. */
static void check_counts_match_a_degraded_open(void **state)
{
	struct fixture *f = *state;
	struct daxpin_pool_info info;
	struct findings found;

	srand(7);
	for (int i = 0; i < 40; i++)
		put_extent(f, rand() % 3, 512 + rand() % 7000,
			   1 + rand() % 40);
	for (int i = 0; i < 40; i++)
		write_raw(f, rand() % 3, 512 + rand() % 7680, rand());
	check_pool(f, &found);
	assert_true(found.summary.damages > 10);
	f->options.flags = DAXPIN_POOL_DEGRADED | DAXPIN_POOL_READONLY;
	open_pool(f);
	f->options.flags = 0;
	info = pool_info(f);
	assert_int_equal(info.free_bytes, found.summary.free_bytes);
	assert_int_equal(info.quarantined_bytes,
			 found.summary.quarantined_bytes);
	close_pool(f);
}

/* ------------------------------------------------------------------- lanes */

static void torn_lanes_are_noted_but_not_damage(void **state)
{
	struct fixture *f = *state;
	struct findings found;
	uint32_t count = 3;

	patch(f, 0, DP_LANES_OFFSET + 5 * DP_BLOCK_SIZE +
	      offsetof(struct dp_lane, count), &count, sizeof(count));
	assert_note(f, DAXPIN_STRUCTURE_LANE, DAXPIN_CURE_DERIVED,
		    "redo lane 5");
	check_pool(f, &found);
	assert_int_equal(found.summary.lanes_torn, 1);
}

/* The check reads the tables as they will be after the lanes are replayed. */
static void check_reads_words_as_open_lanes_will_leave_them(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	struct dp_lane_entry entries[2] = {
		{ addr_of(1, 0) + word_at(1000),
		  dp_word_encode(seed, 8192 + 1000, free_word) },
		{ addr_of(0, 0) + word_at(700),
		  dp_word_encode(seed, 700, (struct dp_word) {
				 DP_KIND_DATA, 5, 1, 0 }) },
	};
	struct findings found;

	write_raw(f, 1, 1000, 0);
	put_open_lane(f, 63, entries, 2);
	assert_note(f, DAXPIN_STRUCTURE_LANE, DAXPIN_CURE_OPEN,
		    "redo lane 63 holds a committed batch of 2 changes");
	check_pool(f, &found);
	assert_int_equal(found.summary.lanes_open, 1);
	assert_int_equal(found.summary.extents, 1);
	assert_int_equal(found.summary.extent_bytes, 5 * DP_BLOCK_SIZE);
	open_pool(f);
	close_pool(f);
	assert_clean(f);
}

/* This covers roots. A batch with one invalid entry is not replayed at all. */
static void check_reads_roots_as_open_lanes_will_leave_them(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	struct dp_lane_entry entries[3] = {
		{ DP_ROOTS_OFFSET + offsetof(struct dp_root, word),
		  dp_root_encode(seed, 0, (struct dp_root_word) { 0, 0, 0 }) },
		{ addr_of(0, 0) + word_at(700),
		  dp_word_encode(seed, 700, (struct dp_word) {
				 DP_KIND_DATA, 5, 1, 0 }) },
		{ 8, 1 },
	};
	struct findings found;

	open_pool(f);
	make_root(f, "index");
	close_pool(f);
	put_open_lane(f, 60, entries, 2);
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	assert_int_equal(found.summary.roots, 0);
	assert_int_equal(found.summary.extents, 2);
	put_open_lane(f, 60, entries, 3);
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 1);
	assert_int_equal(found.summary.roots, 1);
	assert_int_equal(found.summary.extents, 1);
}

static void damaged_lanes_are_found(void **state)
{
	struct fixture *f = *state;
	uint64_t at = DP_LANES_OFFSET + 7 * DP_BLOCK_SIZE, done = 99;
	struct dp_lane_entry entry = { 8, 1 };

	patch(f, 0, at + offsetof(struct dp_lane, done), &done, 8);
	assert_damage(f, DAXPIN_STRUCTURE_LANE, DAXPIN_CURE_LOSSY, 0, at,
		      "redo lane 7 is damaged");
	done = 0;
	patch(f, 0, at + offsetof(struct dp_lane, done), &done, 8);
	assert_clean(f);
	put_open_lane(f, 7, &entry, 1);
	assert_damage(f, DAXPIN_STRUCTURE_LANE, DAXPIN_CURE_LOSSY, 0, at,
		      "changes 0x8, where no batch can change a word");
}

/* ------------------------------------------------------------------- roots */

static void damaged_roots_are_found(void **state)
{
	struct fixture *f = *state;
	uint64_t word = offsetof(struct dp_root, word);
	struct findings found;

	open_pool(f);
	make_root(f, "bell\a");
	close_pool(f);
	corrupt(f, 0, DP_ROOTS_OFFSET + word);
	assert_damage(f, DAXPIN_STRUCTURE_ROOT, DAXPIN_CURE_LOSSY, 0,
		      DP_ROOTS_OFFSET,
		      "root slot 0, \"bell?\": its word fails its check");
	corrupt(f, 0, DP_ROOTS_OFFSET + word);
	corrupt(f, 0, DP_ROOTS_OFFSET + 2);
	assert_damage(f, DAXPIN_STRUCTURE_ROOT, DAXPIN_CURE_LOSSY, 0,
		      DP_ROOTS_OFFSET, "the name fails its check");
	corrupt(f, 0, DP_ROOTS_OFFSET + 2);
	check_pool(f, &found);
	assert_int_equal(found.summary.roots, 1);
}

static void stale_roots_are_noted(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct findings found;
	uint32_t block;

	open_pool(f);
	make_root(f, "index");
	make_root(f, "other");
	assert_int_equal(daxpin_root(f->pool, "index", &extent), 0);
	close_pool(f);
	block = extent.addr % (32 * MIB) / DP_BLOCK_SIZE;
	/* The next generation of the same block is another extent. */
	write_word(f, extent.addr / (32 * MIB), block, (struct dp_word) {
		   DP_KIND_DATA, 1, 77, 0 });
	assert_note(f, DAXPIN_STRUCTURE_ROOT, DAXPIN_CURE_NONE,
		    "root slot 0 is stale");
	check_pool(f, &found);
	assert_int_equal(found.summary.roots, 2);
	assert_int_equal(found.summary.roots_stale, 1);
}

/* ------------------------------------------------------------------ poison */

static void poison_in_a_table_is_found_without_a_fault(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	put_extent(f, 1, 600, 8);
	put_poison(f, 1, word_at(1024));	/* words of 1024 to 1535 */
	assert_damage(f, DAXPIN_STRUCTURE_TABLE, DAXPIN_CURE_NONE, 1,
		      word_at(1024), "cannot be read");
	check_pool(f, &found);
	assert_int_equal(found.summary.extents, 1);
}

static void poison_in_a_lane_is_found(void **state)
{
	struct fixture *f = *state;

	put_poison(f, 0, DP_LANES_OFFSET + 3 * DP_BLOCK_SIZE);
	assert_damage(f, DAXPIN_STRUCTURE_LANE, DAXPIN_CURE_NONE, 0,
		      DP_LANES_OFFSET + 3 * DP_BLOCK_SIZE,
		      "redo lane 3 cannot be read");
}

static void poison_in_the_roots_is_found(void **state)
{
	struct fixture *f = *state;

	put_poison(f, 0, DP_ROOTS_OFFSET + DP_BLOCK_SIZE);
	assert_damage(f, DAXPIN_STRUCTURE_ROOT, DAXPIN_CURE_NONE, 0,
		      DP_ROOTS_OFFSET + DP_BLOCK_SIZE, "cannot be read");
}

static void poison_in_superblocks_is_found(void **state)
{
	struct fixture *f = *state;

	put_poison(f, 0, DP_SUPER_OFFSET);
	assert_damage(f, DAXPIN_STRUCTURE_SUPERBLOCK, DAXPIN_CURE_NONE, 0,
		      DP_SUPER_OFFSET, "the superblock cannot be read");
	f->options.flags = DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED;
	open_pool(f);
	close_pool(f);
	f->options.flags = 0;
	assert_open_fails(f, -EIO, "cannot be read");
}

static void known_bad_blocks_are_found(void **state)
{
	struct fixture *f = *state;
	struct findings found;
	struct daxpin_pool_info info;

	known_bad = (struct dp_badblocks_run) { 10 * MIB, 10 * MIB + 8192 };
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	assert_int_equal(found.summary.bad_bytes, 3 * 8192);
	assert_int_equal(found.summary.quarantined_bytes, 0);
	put_extent(f, 1, 2561, 1);
	assert_damage(f, DAXPIN_STRUCTURE_DATA, DAXPIN_CURE_NONE, 1, 10 * MIB,
		      "what stood there is lost");
	check_pool(f, &found);
	open_pool(f);
	info = pool_info(f);
	close_pool(f);
	known_bad = (struct dp_badblocks_run) { 0, 0 };
	assert_int_equal(info.bad_bytes, found.summary.bad_bytes);
	assert_int_equal(info.free_bytes, found.summary.free_bytes);
}

static void a_degraded_open_quarantines_behind_poison(void **state)
{
	struct fixture *f = *state;

	put_extent(f, 1, 600, 8);
	put_extent(f, 1, 2000, 8);
	put_poison(f, 1, word_at(1024));
	assert_open_fails(f, -EIO, "cannot be read");
	f->options.flags = DAXPIN_POOL_DEGRADED;
	open_pool(f);
	f->options.flags = 0;
	assert_int_equal(pool_info(f).quarantined_bytes,
			 (2000 - 1024) * DP_BLOCK_SIZE);
	close_pool(f);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, closed_setup, fixture_teardown)
#define TEST_EMPTY(name) \
	cmocka_unit_test_setup_teardown(name, empty_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_intact_pool_is_clean_and_its_extents_are_counted),
		TEST(a_check_changes_nothing),
		TEST(holes_are_counted),
		TEST(an_unclean_pool_is_noted_but_not_damage),
		TEST(check_of_an_open_pool_names_its_owner),
		TEST(check_works_while_a_reader_has_the_pool),
		TEST_EMPTY(check_of_a_path_without_a_pool_fails),
		TEST(a_newer_version_is_an_error),
		TEST(a_callback_can_stop_the_check),
		TEST(bad_arguments_are_refused),
		TEST(superblock_pages_are_found),
		TEST(a_page_older_than_its_copy_is_found),
		TEST(one_torn_superblock_half_is_not_damage),
		TEST(without_an_intact_superblock_half_there_is_no_cure),
		TEST(a_later_segment_without_superblocks_is_found),
		TEST(a_foreign_segment_is_found),
		TEST(inconsistent_superblock_fields_are_found),
		TEST(missing_and_short_files_are_found),
		TEST(extra_files_are_noted),
		TEST(a_hole_in_metadata_is_damage_only_if_it_is_in_use),
		TEST(bad_words_are_found),
		TEST(overlaps_and_ends_are_found),
		TEST(an_extent_in_a_hole_is_a_note),
		cmocka_unit_test_setup_teardown(blocks_shared_with_a_copy_are_a_note,
						closed_setup, teardown_shared),
		TEST(check_counts_match_a_degraded_open),
		TEST(torn_lanes_are_noted_but_not_damage),
		TEST(check_reads_words_as_open_lanes_will_leave_them),
		TEST(check_reads_roots_as_open_lanes_will_leave_them),
		TEST(damaged_lanes_are_found),
		TEST(damaged_roots_are_found),
		TEST(stale_roots_are_noted),
		TEST(poison_in_a_table_is_found_without_a_fault),
		TEST(poison_in_a_lane_is_found),
		TEST(poison_in_the_roots_is_found),
		TEST(poison_in_superblocks_is_found),
		TEST(known_bad_blocks_are_found),
		TEST(a_degraded_open_quarantines_behind_poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
