/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens and creates of paths that have no pool, and of pools that are damaged. Those
 * that fail return the documented errno, explain it in errmsg, and change no byte.
 */
#include "findings.h"
#include "invariant.h"
#include "media.h"
#include "needs.h"
#include <daxpin-status.h>

/* -------------------------------------------------- paths that have no pool */

static void open_refuses_a_path_that_does_not_exist(void **state)
{
	struct fixture *f = *state;

	strcat(f->path, "/none");
	assert_open_fails(f, -ENOENT, f->path);
	assert_says(f, "does not exist");
	f->path[strlen(f->path) - 5] = '\0';
}

static void open_refuses_a_path_through_a_file(void **state)
{
	struct fixture *f = *state;
	char path[64];

	write_file(f, "file", "hello", 0);
	strcpy(path, f->path);
	strcat(f->path, "/file/pool");
	assert_open_fails(f, -ENOTDIR, f->path);
	strcpy(f->path, path);
}

static void open_refuses_an_empty_directory(void **state)
{
	struct fixture *f = *state;

	assert_open_fails(f, -EMEDIUMTYPE, "no daxpin pool");
	assert_says(f, f->path);
	assert_int_equal(count_files(f->path), 0);
}

static void open_refuses_a_directory_of_other_files(void **state)
{
	struct fixture *f = *state;

	write_file(f, "letter", "dear sir", 0);
	write_file(f, "segment.1", "not ours", 0);
	assert_open_fails(f, -EMEDIUMTYPE, "no daxpin pool");
	assert_says(f, f->path);
}

static void open_refuses_another_programs_file(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int ret;

	write_file(f, "file", "hello", 64 * MIB);
	file_name(f, "file", path);
	ret = daxpin_pool_open(path, &f->options, &f->pool);
	assert_int_equal(ret, -EMEDIUMTYPE);
	assert_says(f, path);
	assert_says(f, "another program's file");
	ret = daxpin_pool_create(path, &f->options, &f->pool);
	assert_int_equal(ret, -EMEDIUMTYPE);
	assert_says(f, path);
}

static void open_refuses_a_device_that_is_not_dax(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(daxpin_pool_open("/dev/null", &f->options, &f->pool),
			 -ENODEV);
	assert_says(f, "/dev/null is not a device-dax node");
}

static void open_refuses_a_first_segment_that_is_a_text_file(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0000", "dear sir", 0);
	assert_open_fails(f, -EUCLEAN, "truncated");
	assert_create_fails(f, -EEXIST, "overwrite");
	write_file(f, "segment.0000", "dear sir", 64 * MIB);
	assert_open_fails(f, -EMEDIUMTYPE, f->path);
	assert_create_fails(f, -EEXIST, "overwrite");
}

/* A create overwrites only blank files, and this one has text behind zeroes. */
static void create_refuses_a_file_with_other_data_behind_zeroes(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0000", "", 64 * MIB);
	patch(f, 0, 64 << 10, "other", 5);
	assert_open_fails(f, -EMEDIUMTYPE, f->path);
	assert_create_fails(f, -EEXIST, "overwrite");
}

static void no_leftover(const struct daxpin_leftover *leftover, void *arg)
{
	(void)arg;
	print_message("%s\n", leftover->sentence);
	assert_null(leftover);
}

static void open_refuses_newer_and_older_formats(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.version = DP_VERSION + 1;
	write_super(f, 0, super);
	assert_open_fails(f, -EPROTONOSUPPORT, "use a newer daxpin");
	assert_says(f, f->path);
	assert_int_equal(daxpin_leftovers(f->path, f->errmsg, sizeof(f->errmsg),
					  no_leftover, NULL, NULL), -EPROTONOSUPPORT);
	assert_says(f, "use a newer daxpin");
	assert_create_fails(f, -EEXIST, f->path);
	super.version = 1;
	super.sequence += 2;
	write_super(f, 0, super);
	assert_open_fails(f, -EPROTONOSUPPORT, "development version");
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_create_fails(f, -EPROTONOSUPPORT, "remove the files");
	f->options.flags = 0;
}

/* ------------------------------------------------------------------ files */

static void truncate_segment(struct fixture *f, uint32_t segment, uint64_t size)
{
	char path[128];

	segment_path(f, segment, path);
	assert_int_equal(truncate(path, size), 0);
}

static void assert_truncated_refused(struct fixture *f, uint32_t segment)
{
	char words[32];

	snprintf(words, sizeof(words), "segment %u", segment);
	truncate_segment(f, segment, 32 * MIB - 1);
	assert_open_fails(f, -EUCLEAN, "truncated");
	assert_says(f, words);
	assert_says(f, f->path);
	truncate_segment(f, segment, 2 * MIB);
	assert_open_fails(f, -EUCLEAN, "truncated");
	truncate_segment(f, segment, 100);
	assert_open_fails(f, -EUCLEAN, "truncated");
	assert_says(f, words);
	truncate_segment(f, segment, 0);
	assert_open_fails(f, -EUCLEAN, "truncated");
	assert_says(f, words);
	assert_create_fails(f, -EEXIST, f->path);
}

static void open_refuses_a_truncated_first_segment(void **state)
{
	assert_truncated_refused(*state, 0);
}

static void open_refuses_a_truncated_middle_segment(void **state)
{
	assert_truncated_refused(*state, 1);
}

static void open_refuses_a_truncated_last_segment(void **state)
{
	assert_truncated_refused(*state, 2);
}

static void assert_missing_refused(struct fixture *f, uint32_t segment)
{
	char path[128], aside[128], *name;

	segment_path(f, segment, path);
	name = strrchr(path, '/') + 1;
	file_name(f, "aside", aside);
	assert_int_equal(rename(path, aside), 0);
	assert_open_fails(f, -EUCLEAN, name);
	assert_says(f, "missing");
	assert_create_fails(f, -EEXIST, f->path);
	assert_int_equal(rename(aside, path), 0);
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_missing_first_segment(void **state)
{
	assert_missing_refused(*state, 0);
}

static void open_refuses_a_missing_middle_segment(void **state)
{
	assert_missing_refused(*state, 1);
}

static void open_refuses_a_missing_last_segment(void **state)
{
	assert_missing_refused(*state, 2);
}

static void open_counts_and_ignores_extra_segments(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0003", "extra", 0);
	write_file(f, "segment.16383", "extra", 0);
	/* These names are not segment names. */
	write_file(f, "segment.3", "", 0);
	write_file(f, "segment.00003", "", 0);
	write_file(f, "segment.16384", "", 0);
	write_file(f, "segment.0003~", "", 0);
	write_file(f, "letter", "", 0);
	open_pool(f);
	assert_int_equal(pool_info(f).ignored_files, 2);
	assert_int_equal(pool_info(f).segments, 3);
	close_pool(f);
	assert_int_equal(count_files(f->path), 10);
}

static void swap(struct fixture *f, uint32_t a, uint32_t b)
{
	char path_a[128], path_b[128], aside[128];

	segment_path(f, a, path_a);
	segment_path(f, b, path_b);
	file_name(f, "aside", aside);
	assert_int_equal(rename(path_a, aside), 0);
	assert_int_equal(rename(path_b, path_a), 0);
	assert_int_equal(rename(aside, path_b), 0);
}

static void open_refuses_swapped_segments(void **state)
{
	struct fixture *f = *state;

	swap(f, 1, 2);
	assert_open_fails(f, -EUCLEAN, "segment 1");
	assert_says(f, "is a segment of another pool, or another segment of this one");
	swap(f, 1, 2);
	swap(f, 0, 2);
	assert_open_fails(f, -EUCLEAN, f->path);
	swap(f, 0, 2);
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_segment_of_another_pool(void **state)
{
	struct fixture *f = *state;
	char path[128], theirs[128];
	void *other_state = NULL;
	struct fixture *other;

	assert_int_equal(closed_setup(&other_state), 0);
	other = other_state;
	segment_path(f, 1, path);
	segment_path(other, 1, theirs);
	assert_int_equal(rename(theirs, path), 0);
	assert_int_equal(fixture_teardown(&other_state), 0);
	assert_open_fails(f, -EUCLEAN, "segment 1");
	assert_says(f, f->path);
	assert_says(f, "is a segment of another pool, or another segment of this one");
}

/* ------------------------------------------------------------ superblocks */

/* A torn write damages only the older half: the next change is written there. */
static void open_succeeds_if_the_older_superblock_half_is_damaged(void **state)
{
	struct fixture *f = *state;
	struct dp_super half[2];
	int older;

	look(f, 0, DP_SUPER_OFFSET, half, sizeof(half));
	older = half[0].sequence > half[1].sequence;
	corrupt(f, 0, DP_SUPER_OFFSET + older * sizeof(half[0]) + 100);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
	close_pool(f);
}

/* Neither the newer half nor its copy is intact, as if the power had failed earlier. */
static void open_uses_the_older_superblock_half_if_the_newer_is_torn(void **state)
{
	struct fixture *f = *state;
	struct dp_super half[2];
	int newer;

	look(f, 0, DP_SUPER_OFFSET, half, sizeof(half));
	newer = half[1].sequence > half[0].sequence;
	corrupt(f, 0, DP_SUPER_OFFSET + newer * sizeof(half[0]) + 100);
	corrupt(f, 0, DP_COPY_OFFSET + newer * sizeof(half[0]) + 100);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);	/* as in the older half */
	close_pool(f);
}

static void open_succeeds_without_the_copy_of_the_superblock(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 0, DP_COPY_OFFSET, zero, sizeof(zero));
	open_pool(f);
	close_pool(f);
}

/* Damages all halves, so that nothing is left to restore from. */
static void corrupt_all_halves(struct fixture *f, uint32_t segment)
{
	const uint64_t half = sizeof(struct dp_super);

	for (int i = 0; i < 2; i++) {
		corrupt(f, segment, DP_SUPER_OFFSET + i * half + 100);
		corrupt(f, segment, DP_COPY_OFFSET + i * half + 100);
	}
}

static void assert_lost_superblock_refused(struct fixture *f, uint32_t segment)
{
	char words[32];

	snprintf(words, sizeof(words), "segment %u", segment);
	corrupt_all_halves(f, segment);
	assert_open_fails(f, -EUCLEAN, "superblock at offset 0x0");
	assert_says(f, words);
	assert_says(f, f->path);
	assert_says(f, "its copy at 0x1f0000 are both damaged");
	assert_says(f, "untouched");
}

static void open_refuses_a_superblock_without_an_intact_half(void **state)
{
	assert_lost_superblock_refused(*state, 0);
	assert_create_fails(*state, -EEXIST, "overwrite");
}

static void open_refuses_a_later_segments_lost_superblock(void **state)
{
	assert_lost_superblock_refused(*state, 2);
}

/* Asserts that open, create and check advise to restore the wiped first segment. */
static void assert_says_wiped(struct fixture *f)
{
	const char *cure = "restore it from the backup that the other files are of";
	struct findings found;

	assert_open_fails(f, -EUCLEAN, cure);
	assert_null(strstr(f->errmsg, "create"));
	assert_create_fails(f, -EEXIST, cure);
	assert_says(f, "to destroy it create with the overwrite flag");
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 1);
	assert_non_null(strstr(found.what[0], cure));
}

/* The superblock's copy, or else the other segments, show that there was a pool. */
static void open_and_create_do_not_take_a_wiped_superblock_for_blank(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 0, DP_SUPER_OFFSET, zero, sizeof(zero));
	assert_create_fails(f, -EEXIST, "overwrite");
	patch(f, 0, DP_COPY_OFFSET, zero, sizeof(zero));
	assert_says_wiped(f);
}

/*
 * The other segments show that there was a pool. The errmsg does not recommend a
 * create, which would destroy them.
 */
static void open_and_create_do_not_take_a_wiped_segment_0_for_blank(void **state)
{
	struct fixture *f = *state;
	char *zero = calloc(1, DP_CHUNK_SIZE), path[128];

	patch(f, 0, 0, zero, DP_CHUNK_SIZE);
	assert_says_wiped(f);
	segment_path(f, 1, path);
	assert_int_equal(unlink(path), 0);
	assert_says_wiped(f);		/* found by the third segment */
	f->options.pool_size = f->options.segment_size = 32 * MIB;
	assert_says_wiped(f);
	f->options.segment_size = 64 * MIB;
	f->options.pool_size = 128 * MIB;
	assert_says_wiped(f);
	truncate_segment(f, 0, 0);
	assert_open_fails(f, -EUCLEAN, "restore the file");
	assert_null(strstr(f->errmsg, "create"));
	free(zero);
}

/* The file named segment.0002 has no superblock, so errmsg must not claim a pool. */
static void open_finds_no_pool_if_no_segment_has_a_superblock(void **state)
{
	struct fixture *f = *state;

	f->options.segment_size = 32 * MIB;
	f->options.pool_size = 96 * MIB;
	write_file(f, "segment.0000", "", 32 * MIB);
	write_file(f, "segment.0002", "dear sir", 32 * MIB);
	assert_open_fails(f, -EMEDIUMTYPE, "there is no daxpin pool");
	assert_create_fails(f, -EEXIST, "give another path");
}

static void open_refuses_a_later_segment_without_a_superblock(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 1, DP_SUPER_OFFSET, zero, sizeof(zero));
	patch(f, 1, DP_COPY_OFFSET, zero, sizeof(zero));
	assert_open_fails(f, -EUCLEAN, "segment 1");
	assert_says(f, "untouched");
	assert_null(strstr(f->errmsg, "create"));
}

static void assert_inconsistent(struct fixture *f, struct dp_super super)
{
	struct dp_super good = read_super(f, 0);

	write_super(f, 0, super);
	assert_open_fails(f, -EUCLEAN, f->path);
	assert_says(f, "untouched");
	write_super(f, 0, good);
}

static void open_refuses_inconsistent_superblock_fields(void **state)
{
	struct fixture *f = *state;
	struct dp_super good = read_super(f, 0), super;

	super = good, super.segment_size = 48 * MIB;
	assert_inconsistent(f, super);
	super = good, super.segment_size = 1;
	assert_inconsistent(f, super);
	super = good, super.segment_size = 0;
	assert_inconsistent(f, super);
	super = good, super.segments = 2;
	assert_inconsistent(f, super);
	super = good, super.segments = 0;
	assert_inconsistent(f, super);
	super = good, super.pool_size = 64 * MIB;
	assert_inconsistent(f, super);
	super = good, super.pool_size = UINT64_MAX;
	assert_inconsistent(f, super);
	super = good, super.pool_size = 0;
	assert_inconsistent(f, super);
	super = good, super.size = 30 * MIB;
	assert_inconsistent(f, super);
	super = good, super.size = 0;
	assert_inconsistent(f, super);
	super = good, super.index = 1;
	assert_inconsistent(f, super);
	super = good, super.short_size = super.segment_size;
	assert_inconsistent(f, super);
	super = good, super.short_size = super.segment_size + 32 * MIB;
	assert_inconsistent(f, super);
	super = good, super.short_size = 30 * MIB;
	assert_inconsistent(f, super);
	super = good, super.short_index = 1;
	assert_inconsistent(f, super);
	super = good, super.owner.contexts = DP_RDMA_CONTEXTS_MAX + 1;
	assert_inconsistent(f, super);
	super = good, super.segment_set[0] = 0x3;
	assert_inconsistent(f, super);
	super = good, super.segment_set[DP_SEGMENTS_MAX / 8 - 1] = 0x80;
	assert_inconsistent(f, super);
	open_pool(f);
	close_pool(f);
}

/* An epoch is never used twice, so it may not wrap (D15). */
static void a_pool_whose_epoch_cannot_grow_is_opened_only_for_reading(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.epoch = DP_SUPER_COUNTS_END;
	super.before_epoch = super.epoch - 1;
	for (uint32_t i = 0; i < super.segments; i++) {
		struct dp_super own = read_super(f, i);

		own.epoch = super.epoch;
		own.before_epoch = super.before_epoch;
		write_super(f, i, own);
	}
	assert_fails(f, daxpin_pool_open, -EUCLEAN, "too many to count another",
		     fingerprint);
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	assert_fails(f, daxpin_pool_create, -EUCLEAN, "too many to count another",
		     fingerprint);
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_segment_of_another_size(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 2);

	super.size = 34 * MIB;
	write_super(f, 2, super);
	assert_open_fails(f, -EUCLEAN, "segment 2");
}

/* ------------------------------------------------------------------ tables */

static void assert_table_refused(struct fixture *f, uint32_t segment, uint32_t block,
				 const char *words)
{
	char place[64];

	snprintf(place, sizeof(place), "segment %u, descriptor table", segment);
	assert_open_fails(f, -EUCLEAN, words);
	assert_says(f, place);
	snprintf(place, sizeof(place), "offset 0x%llx (block %u)",
		 (unsigned long long)word_at(block), block);
	assert_says(f, place);
	assert_says(f, "untouched");
}

static void open_refuses_a_damaged_word(void **state)
{
	struct fixture *f = *state;

	corrupt(f, 1, word_at(1000) + 5);
	assert_table_refused(f, 1, 1000, "fails its check");
	corrupt(f, 1, word_at(1000) + 5);
	corrupt(f, 2, word_at(8191));
	assert_table_refused(f, 2, 8191, "fails its check");
	corrupt(f, 2, word_at(8191));
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_wiped_word(void **state)
{
	struct fixture *f = *state;

	write_raw(f, 0, 512, 0);
	assert_table_refused(f, 0, 512, "fails its check");
}

static void open_refuses_a_wiped_table_page(void **state)
{
	struct fixture *f = *state;
	char zero[DP_BLOCK_SIZE] = "";

	patch(f, 1, word_at(1024), zero, sizeof(zero));
	assert_table_refused(f, 1, 1024, "fails its check");
}

static void open_refuses_a_word_of_another_block(void **state)
{
	struct fixture *f = *state;
	uint64_t raw;

	look(f, 1, word_at(600), &raw, 8);
	write_raw(f, 1, 601, raw);
	assert_table_refused(f, 1, 601, "fails its check");
}

static void open_refuses_overlapping_extents(void **state)
{
	struct fixture *f = *state;

	write_word(f, 1, 600, (struct dp_word) { DP_KIND_DATA, 8, 1, 0 });
	open_pool(f);
	close_pool(f);
	write_word(f, 1, 607, (struct dp_word) { DP_KIND_DATA, 1, 1, 0 });
	assert_table_refused(f, 1, 607, "overlap");
	write_word(f, 1, 607, free_word);
	write_word(f, 1, 608, (struct dp_word) { DP_KIND_DATA, 1, 1, 0 });
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_damaged_word_inside_an_extent(void **state)
{
	struct fixture *f = *state;

	write_word(f, 1, 600, (struct dp_word) { DP_KIND_DATA, 8, 1, 0 });
	write_raw(f, 1, 603, 0);
	assert_table_refused(f, 1, 603, "fails its check");
}

static void open_refuses_an_extent_past_the_segments_end(void **state)
{
	struct fixture *f = *state;

	write_word(f, 0, 8190, (struct dp_word) { DP_KIND_DATA, 2, 1, 0 });
	open_pool(f);
	close_pool(f);
	write_word(f, 0, 8190, (struct dp_word) { DP_KIND_DATA, 3, 1, 0 });
	assert_table_refused(f, 0, 8190, "past the segment's end");
	write_word(f, 0, 8190, (struct dp_word) { DP_KIND_DATA, 1 << 17, 1, 0 });
	assert_table_refused(f, 0, 8190, "past the segment's end");
}

static void open_refuses_a_slab_whose_words_fail_their_check(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	struct dp_word word = { DP_KIND_SLAB, DP_SLAB_BLOCKS, 0, 5 };

	write_raw(f, 0, 600, dp_word_encode(seed, 600, word));
	assert_open_fails(f, -EUCLEAN, "slab at block 600, objects 0 to 46 of 96 bytes");
	assert_says(f, "segment 0");
	assert_says(f, "unknown which of these objects are live");
	assert_says(f, "left untouched: `daxpin check` shows what can be repaired");
	/* A degraded open has everything else. */
	f->options.flags = DAXPIN_POOL_DEGRADED;
	assert_int_equal(daxpin_pool_open(f->path, &f->options, &f->pool), 0);
	assert_int_equal(pool_info(f).quarantined_bytes,
			 DP_SLAB_BLOCKS * DP_BLOCK_SIZE);
	assert_int_equal(pool_info(f).slab_bytes, 0);
}

/* With is_full an allocation fails as on a full filesystem. */
static bool is_full;

int __real_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);

int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	return is_full ? -ENOSPC :
			 __real_dp_os_fallocate(fd, mode, offset, length);
}

/*
 * W7: an open allocates the blocks of a chunk that has a published extent. Chunks that
 * are free stay holes.
 */
static void an_extent_in_a_hole_is_allocated_and_reads_as_zeroes(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t bytes[2] = { 1, 1 };

	need_populate_write();
	write_word(f, 1, 1500, (struct dp_word) { DP_KIND_DATA, 100, 1, 0 });
	punch(f, 1, 6 * MIB);		/* blocks 1536 to 2047 */
	punch_at(f, 1, 8 * MIB, 8192);	/* of a chunk that is free */
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	assert_int_equal(pool_info(f).sparse_bytes, 2 * MIB);
	assert_int_equal(pool_info(f).hole_bytes, 2 * MIB);
	close_pool(f);
	assert_false(is_backed(f, 1, 6 * MIB, 2 * MIB));
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(daxpin_extent_at(f->pool, 32 * MIB + 1500 * 4096ull,
					  &extent), 0);
	assert_int_equal(daxpin_read(f->pool, extent, 64 * 4096, sizeof(bytes),
				     bytes), 0);
	assert_true(!bytes[0] && !bytes[1]);
	assert_int_equal(pool_info(f).hole_bytes, 2 * MIB);
	assert_int_equal(pool_info(f).sparse_bytes, 0);
	assert_int_equal(pool_info(f).free_bytes, 88 * MIB - 100 * 4096);
	dp_invariants(f->pool);
	close_pool(f);
	assert_true(is_backed(f, 1, 6 * MIB, 2 * MIB));
	assert_false(is_backed(f, 1, 8 * MIB, 2 * MIB));
}

/*
 * A hole reads as zeroes. That is damage in a table page in use, because zero is not a
 * valid word, but not in metadata that is not in use.
 */
static void a_hole_in_metadata_is_damage_only_if_it_is_in_use(void **state)
{
	struct fixture *f = *state;

	need_populate_write();
	punch_at(f, 1, DP_LANES_END, DP_TABLE_OFFSET - DP_LANES_END);
	open_pool(f);
	close_pool(f);
	assert_true(is_backed(f, 1, 0, DP_CHUNK_SIZE));
	punch_at(f, 1, word_at(1024), DP_BLOCK_SIZE);
	assert_open_fails(f, -EUCLEAN, "(block 1024)");
}

/* The batch sets a word of an extent whose chunk is a hole. */
static void a_committed_batch_is_replayed_into_a_hole(void **state)
{
	struct fixture *f = *state;
	const struct dp_lane_entry entry = {
		.addr = 32 * MIB + 1600 * 4096ull, .value = 77,
	};
	uint64_t now;

	need_populate_write();
	write_word(f, 1, 1500, (struct dp_word) { DP_KIND_DATA, 200, 1, 0 });
	punch(f, 1, 6 * MIB);
	put_open_lane(f, 3, &entry, 1);
	open_pool(f);
	dp_invariants(f->pool);
	close_pool(f);
	look(f, 1, 1600 * 4096ull, &now, sizeof(now));
	assert_int_equal(now, 77);
}

/* A later open, when there is enough space, finds the same pool. */
static void an_open_without_space_to_fill_holes_changes_nothing(void **state)
{
	struct fixture *f = *state;

	need_populate_write();
	write_word(f, 1, 1500, (struct dp_word) { DP_KIND_DATA, 100, 1, 0 });
	punch(f, 1, 6 * MIB);
	is_full = true;
	assert_open_fails(f, -ENOSPC, "2 MiB");
	assert_says(f, "holes");
	is_full = false;
	open_pool(f);
	close_pool(f);
}

/* D9: a hole is never allocated. */
static void reserve_never_returns_a_hole(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t taken = 0;

	need_populate_write();
	punch(f, 0, 4 * MIB);
	punch(f, 2, 30 * MIB);
	open_pool(f);
	assert_int_equal(pool_info(f).hole_bytes, 4 * MIB);
	assert_int_equal(pool_info(f).free_bytes, 86 * MIB);
	while (!daxpin_reserve(f->pool, MIB, 0, &extent)) {
		uint64_t at = extent.addr / (2 * MIB);

		assert_int_not_equal(at, 2);
		assert_int_not_equal(at, 32 + 15);
		taken += MIB;
	}
	assert_int_equal(taken, 86 * MIB);
	close_pool(f);
}

/*
 * The two halves are swapped. If the open used them, the next change would overwrite
 * the newer half.
 */
static void open_refuses_swapped_superblock_halves(void **state)
{
	struct fixture *f = *state;
	const uint64_t page[] = { DP_SUPER_OFFSET, DP_COPY_OFFSET };
	struct dp_super half[2];

	for (int i = 0; i < 2; i++) {
		look(f, 0, page[i], half, sizeof(half));
		patch(f, 0, page[i], &half[1], sizeof(half[1]));
		patch(f, 0, page[i] + sizeof(half[0]), &half[0],
		      sizeof(half[0]));
	}
	assert_open_fails(f, -EUCLEAN, "the superblock at offset 0x0");
}

/* ------------------------------------------------------------------- lanes */

/*
 * Asserts that open refuses a lane in which a byte was changed that no power failure
 * can change.
 */
static void assert_lane_refused(struct fixture *f, uint32_t index, size_t offset)
{
	uint64_t at = DP_LANES_OFFSET + index * sizeof(struct dp_lane);
	char words[64];

	corrupt(f, 0, at + offset);
	snprintf(words, sizeof(words), "redo lane %u at offset 0x%llx", index,
		 (unsigned long long)at);
	assert_open_fails(f, -EUCLEAN, words);
	assert_says(f, "untouched");
	corrupt(f, 0, at + offset);
}

/* A power failure leaves a torn lane if it interrupts a batch before its commit. */
static void assert_lane_discarded(struct fixture *f, uint32_t index, size_t offset)
{
	uint64_t at = DP_LANES_OFFSET + index * sizeof(struct dp_lane);

	corrupt(f, 0, at + offset);
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_damaged_lane(void **state)
{
	struct fixture *f = *state;

	assert_lane_refused(f, 5, offsetof(struct dp_lane, sequence));
	assert_lane_refused(f, 5, offsetof(struct dp_lane, sequence) + 7);
	assert_lane_refused(f, 63, offsetof(struct dp_lane, done) + 1);
	open_pool(f);
	close_pool(f);
}

static void open_discards_a_torn_lane(void **state)
{
	struct fixture *f = *state;

	assert_lane_discarded(f, 0, offsetof(struct dp_lane, count));
	assert_lane_discarded(f, 0, offsetof(struct dp_lane, count) + 3);
	assert_lane_discarded(f, 63, offsetof(struct dp_lane, epoch));
	assert_lane_discarded(f, 63, offsetof(struct dp_lane, check));
}

/* ----------------------------------------------- overwriting a damaged pool */

static void overwrite_and_reopen(struct fixture *f)
{
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	f->options.pool_size = 64 * MIB;
	create_pool(f);
	assert_int_equal(pool_info(f).segments, 2);
	close_pool(f);
	f->options.flags = 0;
	open_pool(f);
	assert_int_equal(pool_info(f).free_bytes, 60 * MIB);
	assert_int_equal(pool_info(f).unclean, 0);
	close_pool(f);
}

static void overwrite_replaces_a_damaged_superblock(void **state)
{
	struct fixture *f = *state;

	need_no_verbs();
	for (int half = 0; half < 2; half++) {
		corrupt(f, 0, DP_SUPER_OFFSET + half * sizeof(struct dp_super));
		overwrite_and_reopen(f);
	}
	corrupt(f, 0, DP_SUPER_OFFSET);
	corrupt(f, 0, DP_SUPER_OFFSET + sizeof(struct dp_super));
	overwrite_and_reopen(f);
}

static int overwrite(struct fixture *f)
{
	int ret;

	f->options.flags = DAXPIN_POOL_OVERWRITE;
	ret = daxpin_pool_create(f->path, &f->options, &f->pool);
	f->options.flags = 0;
	return ret;
}

static void overwrite_replaces_damaged_segments(void **state)
{
	struct fixture *f = *state;

	corrupt(f, 1, word_at(1000));
	overwrite_and_reopen(f);
}

/* The machine's verbs contexts are counted, not simulated. */
#define REAL_CONTEXTS	1000

/* The simulated number of verbs contexts, or the error of counting them. */
static int contexts = REAL_CONTEXTS;

int __real_dp_verbs_count_all(const struct dp_errmsg *errmsg);
int __wrap_dp_verbs_count_all(const struct dp_errmsg *errmsg);
int __wrap_dp_verbs_count_all(const struct dp_errmsg *errmsg)
{
	if (contexts == REAL_CONTEXTS)
		return __real_dp_verbs_count_all(errmsg);
	return contexts < 0 ? dp_fail(errmsg, contexts,
				      "the test cannot count them") :
	       contexts;
}

static void overwrite_is_busy(struct fixture *f, int count, const char *words)
{
	uint64_t before = metadata_fingerprint(f->path);

	contexts = count;
	assert_int_equal(overwrite(f), -EBUSY);
	assert_non_null(strstr(f->errmsg, words));
	assert_true(metadata_fingerprint(f->path) == before);
}

/*
 * The first segment, with the record of the owner's verbs contexts, is missing. The
 * locks of the other files show that the owner's rings have ended. Its RDMA has
 * certainly ended only if the machine has no verbs context at all.
 */
static void overwrite_without_the_first_segment_waits_for_all_rdma(void **state)
{
	struct fixture *f = *state;
	char path[128];

	segment_path(f, 0, path);
	assert_int_equal(unlink(path), 0);
	overwrite_is_busy(f, 3, "any of the 3 on this machine may be its own");
	overwrite_is_busy(f, -EBUSY, "the test cannot count them");
	contexts = 0;
	overwrite_and_reopen(f);
	contexts = REAL_CONTEXTS;
}

/* The owner's record was in the superblock, which is damaged or truncated here. */
static void overwrite_of_a_lost_superblock_waits_for_all_rdma(void **state)
{
	struct fixture *f = *state;

	corrupt_all_halves(f, 0);
	overwrite_is_busy(f, 3, "any of the 3 on this machine may be its own");
	truncate_segment(f, 0, 5000);
	overwrite_is_busy(f, -EBUSY, "the test cannot count them");
	f->options.flags = DAXPIN_POOL_OVERWRITE | DAXPIN_POOL_DESPITE_RDMA;
	create_pool(f);
	close_pool(f);
	f->options.flags = 0;
	contexts = REAL_CONTEXTS;
	open_pool(f);
}

static void wipe_first_page(struct fixture *f)
{
	static const char zero[DP_SUPER_SIZE];

	patch(f, 0, DP_SUPER_OFFSET, zero, sizeof(zero));
}

/* The wiped page contained the record of the last owner's verbs contexts. */
static void open_waits_for_all_rdma_if_the_owners_record_is_lost(void **state)
{
	struct fixture *f = *state;

	f->options.flags = DAXPIN_POOL_ADOPT;
	contexts = 3;
	wipe_first_page(f);
	assert_open_fails(f, -EBUSY, "any of the 3 on this machine may be its own");
	contexts = -EBUSY;
	assert_open_fails(f, -EBUSY, "the test cannot count them");
	f->options.flags = DAXPIN_POOL_DESPITE_RDMA;
	open_pool(f);
	close_pool(f);
	f->options.flags = 0;
	open_pool(f);
	close_pool(f);
	contexts = REAL_CONTEXTS;
}

static void overwrite_refuses_a_newer_format(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.version = DP_VERSION + 1;
	write_super(f, 0, super);
	assert_int_equal(overwrite(f), -EPROTONOSUPPORT);
	assert_non_null(strstr(f->errmsg, "newer"));
}

/*
 * A power failure during the first write of a create's superblock leaves the magic and
 * a part of the rest. Create can be called again.
 */
static void create_can_be_repeated_after_a_torn_first_superblock(void **state)
{
	struct fixture *f = *state;
	struct dp_super torn = { .magic = DP_MAGIC, .version = DP_VERSION };
	char path[128], *zeroes = calloc(1, DP_CHUNK_SIZE);
	int fd;

	memcpy(zeroes + sizeof(torn), &torn, sizeof(torn));
	create_pool(f);
	close_pool(f);
	for (int i = 0; i < 2; i++) {
		segment_path(f, i, path);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_int_equal(pwrite(fd, zeroes, DP_CHUNK_SIZE, 0),
				 DP_CHUNK_SIZE);
		close(fd);
		memset(zeroes, 0, DP_CHUNK_SIZE);
	}
	free(zeroes);
	assert_open_fails(f, -EUCLEAN, "damaged");
	create_pool(f);
	close_pool(f);
}

static void open_refuses_unknown_superblock_flags(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.flags |= 0x80;
	write_super(f, 0, super);
	assert_open_fails(f, -EPROTONOSUPPORT, "flags 0x80");
}

#define TEST(name, setup) \
	cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open_refuses_a_path_that_does_not_exist, empty_setup),
		TEST(open_refuses_a_path_through_a_file, empty_setup),
		TEST(open_refuses_an_empty_directory, empty_setup),
		TEST(open_refuses_a_directory_of_other_files, empty_setup),
		TEST(open_refuses_another_programs_file, empty_setup),
		TEST(open_refuses_a_device_that_is_not_dax, empty_setup),
		TEST(open_refuses_a_first_segment_that_is_a_text_file, empty_setup),
		TEST(create_refuses_a_file_with_other_data_behind_zeroes,
		     empty_setup),
		TEST(open_refuses_newer_and_older_formats, closed_setup),
		TEST(create_can_be_repeated_after_a_torn_first_superblock, empty_setup),
		TEST(open_refuses_unknown_superblock_flags, closed_setup),
		TEST(open_refuses_a_truncated_first_segment, closed_setup),
		TEST(open_refuses_a_truncated_middle_segment, closed_setup),
		TEST(open_refuses_a_truncated_last_segment, closed_setup),
		TEST(open_refuses_a_missing_first_segment, closed_setup),
		TEST(open_refuses_a_missing_middle_segment, closed_setup),
		TEST(open_refuses_a_missing_last_segment, closed_setup),
		TEST(open_counts_and_ignores_extra_segments, closed_setup),
		TEST(open_refuses_swapped_segments, closed_setup),
		TEST(open_refuses_a_segment_of_another_pool, closed_setup),
		TEST(open_succeeds_if_the_older_superblock_half_is_damaged,
		     closed_setup),
		TEST(open_uses_the_older_superblock_half_if_the_newer_is_torn,
		     closed_setup),
		TEST(open_succeeds_without_the_copy_of_the_superblock, closed_setup),
		TEST(open_refuses_a_superblock_without_an_intact_half,
		     closed_setup),
		TEST(open_refuses_a_later_segments_lost_superblock,
		     closed_setup),
		TEST(open_and_create_do_not_take_a_wiped_superblock_for_blank,
		     closed_setup),
		TEST(open_refuses_a_later_segment_without_a_superblock, closed_setup),
		TEST(open_refuses_inconsistent_superblock_fields,
		     closed_setup),
		TEST(a_pool_whose_epoch_cannot_grow_is_opened_only_for_reading,
		     closed_setup),
		TEST(open_refuses_a_segment_of_another_size, closed_setup),
		TEST(open_refuses_a_damaged_word, closed_setup),
		TEST(open_refuses_a_wiped_word, closed_setup),
		TEST(open_refuses_a_wiped_table_page, closed_setup),
		TEST(open_refuses_a_word_of_another_block, closed_setup),
		TEST(open_refuses_overlapping_extents, closed_setup),
		TEST(open_refuses_a_damaged_word_inside_an_extent,
		     closed_setup),
		TEST(open_refuses_an_extent_past_the_segments_end,
		     closed_setup),
		TEST(open_refuses_a_slab_whose_words_fail_their_check, closed_setup),
		TEST(an_extent_in_a_hole_is_allocated_and_reads_as_zeroes,
		     closed_setup),
		TEST(a_hole_in_metadata_is_damage_only_if_it_is_in_use, closed_setup),
		TEST(a_committed_batch_is_replayed_into_a_hole, closed_setup),
		TEST(an_open_without_space_to_fill_holes_changes_nothing,
		     closed_setup),
		TEST(reserve_never_returns_a_hole, closed_setup),
		TEST(open_refuses_swapped_superblock_halves, closed_setup),
		TEST(open_refuses_a_damaged_lane, closed_setup),
		TEST(open_discards_a_torn_lane, closed_setup),
		TEST(open_and_create_do_not_take_a_wiped_segment_0_for_blank,
		     closed_setup),
		TEST(open_finds_no_pool_if_no_segment_has_a_superblock, empty_setup),
		TEST(overwrite_replaces_a_damaged_superblock, closed_setup),
		TEST(overwrite_replaces_damaged_segments, closed_setup),
		TEST(overwrite_without_the_first_segment_waits_for_all_rdma,
		     closed_setup),
		TEST(open_waits_for_all_rdma_if_the_owners_record_is_lost,
		     closed_setup),
		TEST(overwrite_of_a_lost_superblock_waits_for_all_rdma,
		     closed_setup),
		TEST(overwrite_refuses_a_newer_format, closed_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
