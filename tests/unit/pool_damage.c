/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Paths without a pool, and damaged pools: each refusal has its errno and its message,
 * and changes no byte.
 */
#include "findings.h"
#include "invariant.h"
#include "media.h"

/* ------------------------------------------------------------- not a pool */

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

static void open_refuses_a_segment_0_of_text(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0000", "dear sir", 0);
	assert_open_fails(f, -EUCLEAN, "truncated");
	assert_create_fails(f, -EEXIST, "overwrite");
	write_file(f, "segment.0000", "dear sir", 64 * MIB);
	assert_open_fails(f, -EMEDIUMTYPE, f->path);
	assert_create_fails(f, -EEXIST, "overwrite");
}

/* The text is not in the first page, but the file is not blank. */
static void create_refuses_a_file_that_begins_with_zeroes(void **state)
{
	struct fixture *f = *state;

	write_file(f, "segment.0000", "", 64 * MIB);
	patch(f, 0, 64 << 10, "other", 5);
	assert_open_fails(f, -EMEDIUMTYPE, f->path);
	assert_create_fails(f, -EEXIST, "overwrite");
}

static void open_refuses_other_formats(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	super.version = DP_VERSION + 1;
	write_super(f, 0, super);
	assert_open_fails(f, -EPROTONOSUPPORT, "use a newer daxpin");
	assert_says(f, f->path);
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

static void check_truncated(struct fixture *f, uint32_t segment)
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
	check_truncated(*state, 0);
}

static void open_refuses_a_truncated_middle_segment(void **state)
{
	check_truncated(*state, 1);
}

static void open_refuses_a_truncated_last_segment(void **state)
{
	check_truncated(*state, 2);
}

static void check_missing(struct fixture *f, uint32_t segment)
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
	check_missing(*state, 0);
}

static void open_refuses_a_missing_middle_segment(void **state)
{
	check_missing(*state, 1);
}

static void open_refuses_a_missing_last_segment(void **state)
{
	check_missing(*state, 2);
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

/* The older half is where a torn write of the next change would have been. */
static void open_works_with_the_older_half_damaged(void **state)
{
	struct fixture *f = *state;
	struct dp_super half[2];
	int older;

	look(f, 0, DP_SUPER_OFFSET, half, sizeof(half));
	older = half[0].sequence > half[1].sequence;
	spoil(f, 0, DP_SUPER_OFFSET + older * sizeof(half[0]) + 100);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
	close_pool(f);
}

/* The newest half was torn before its copy was written, so the older one is used. */
static void open_takes_the_older_half_when_the_newer_is_torn(void **state)
{
	struct fixture *f = *state;
	struct dp_super half[2];
	int newer;

	look(f, 0, DP_SUPER_OFFSET, half, sizeof(half));
	newer = half[1].sequence > half[0].sequence;
	spoil(f, 0, DP_SUPER_OFFSET + newer * sizeof(half[0]) + 100);
	spoil(f, 0, DP_COPY_OFFSET + newer * sizeof(half[0]) + 100);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 1);	/* as in the older half */
	close_pool(f);
}

static void open_works_without_the_copy(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 0, DP_COPY_OFFSET, zero, sizeof(zero));
	open_pool(f);
	close_pool(f);
}

/* Damages all halves, so that nothing is left to restore from. */
static void spoil_all_halves(struct fixture *f, uint32_t segment)
{
	const uint64_t half = sizeof(struct dp_super);

	for (int i = 0; i < 2; i++) {
		spoil(f, segment, DP_SUPER_OFFSET + i * half + 100);
		spoil(f, segment, DP_COPY_OFFSET + i * half + 100);
	}
}

static void check_all_halves(struct fixture *f, uint32_t segment)
{
	char words[32];

	snprintf(words, sizeof(words), "segment %u", segment);
	spoil_all_halves(f, segment);
	assert_open_fails(f, -EUCLEAN, "superblock at offset 0x0");
	assert_says(f, words);
	assert_says(f, f->path);
	assert_says(f, "its copy at 0x1f0000 are both damaged");
	assert_says(f, "untouched");
}

static void open_refuses_a_superblock_without_an_intact_half(void **state)
{
	check_all_halves(*state, 0);
	assert_create_fails(*state, -EEXIST, "overwrite");
}

static void open_refuses_a_later_segments_lost_superblock(void **state)
{
	check_all_halves(*state, 2);
}

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

/* A wiped page is damage, not a blank medium: the copy shows it. */
static void a_wiped_superblock_is_not_a_blank_medium(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 0, DP_SUPER_OFFSET, zero, sizeof(zero));
	assert_create_fails(f, -EEXIST, "overwrite");
	patch(f, 0, DP_COPY_OFFSET, zero, sizeof(zero));
	assert_says_wiped(f);
}

/*
 * A wiped first segment is not blank if the others are not. No remedy that the message
 * names destroys the others.
 */
static void a_wiped_first_segment_is_not_a_blank_medium(void **state)
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

/* A file that is not a segment is not called one. */
static void foreign_later_segments_are_not_called_a_pool(void **state)
{
	struct fixture *f = *state;

	f->options.segment_size = 32 * MIB;
	f->options.pool_size = 96 * MIB;
	write_file(f, "segment.0000", "", 32 * MIB);
	write_file(f, "segment.0002", "dear sir", 32 * MIB);
	assert_open_fails(f, -EMEDIUMTYPE, "there is no daxpin pool");
	assert_create_fails(f, -EEXIST, "give another path");
}

static void later_segment_without_superblock_is_damage(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 1, DP_SUPER_OFFSET, zero, sizeof(zero));
	patch(f, 1, DP_COPY_OFFSET, zero, sizeof(zero));
	assert_open_fails(f, -EUCLEAN, "segment 1");
	assert_says(f, "untouched");
	assert_null(strstr(f->errmsg, "create"));
}

static void check_nonsense(struct fixture *f, struct dp_super super)
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
	check_nonsense(f, super);
	super = good, super.segment_size = 1;
	check_nonsense(f, super);
	super = good, super.segment_size = 0;
	check_nonsense(f, super);
	super = good, super.segments = 2;
	check_nonsense(f, super);
	super = good, super.segments = 0;
	check_nonsense(f, super);
	super = good, super.pool_size = 64 * MIB;
	check_nonsense(f, super);
	super = good, super.pool_size = UINT64_MAX;
	check_nonsense(f, super);
	super = good, super.pool_size = 0;
	check_nonsense(f, super);
	super = good, super.size = 30 * MIB;
	check_nonsense(f, super);
	super = good, super.size = 0;
	check_nonsense(f, super);
	super = good, super.index = 1;
	check_nonsense(f, super);
	super = good, super.owner.contexts = DP_RDMA_CONTEXTS_MAX + 1;
	check_nonsense(f, super);
	super = good, super.segment_set[0] = 0x3;
	check_nonsense(f, super);
	super = good, super.segment_set[DP_SEGMENTS_MAX / 8 - 1] = 0x80;
	check_nonsense(f, super);
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

static void check_table(struct fixture *f, uint32_t segment, uint32_t block,
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

	spoil(f, 1, word_at(1000) + 5);
	check_table(f, 1, 1000, "fails its check");
	spoil(f, 1, word_at(1000) + 5);
	spoil(f, 2, word_at(8191));
	check_table(f, 2, 8191, "fails its check");
	spoil(f, 2, word_at(8191));
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_wiped_word(void **state)
{
	struct fixture *f = *state;

	write_raw(f, 0, 512, 0);
	check_table(f, 0, 512, "fails its check");
}

static void open_refuses_a_wiped_table_page(void **state)
{
	struct fixture *f = *state;
	char zero[DP_BLOCK_SIZE] = "";

	patch(f, 1, word_at(1024), zero, sizeof(zero));
	check_table(f, 1, 1024, "fails its check");
}

static void open_refuses_a_word_of_another_block(void **state)
{
	struct fixture *f = *state;
	uint64_t raw;

	look(f, 1, word_at(600), &raw, 8);
	write_raw(f, 1, 601, raw);
	check_table(f, 1, 601, "fails its check");
}

static void open_refuses_overlapping_extents(void **state)
{
	struct fixture *f = *state;

	write_word(f, 1, 600, (struct dp_word) { DP_KIND_DATA, 8, 1 });
	open_pool(f);
	close_pool(f);
	write_word(f, 1, 607, (struct dp_word) { DP_KIND_DATA, 1, 1 });
	check_table(f, 1, 607, "overlap");
	write_word(f, 1, 607, free_word);
	write_word(f, 1, 608, (struct dp_word) { DP_KIND_DATA, 1, 1 });
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_damaged_word_inside_an_extent(void **state)
{
	struct fixture *f = *state;

	write_word(f, 1, 600, (struct dp_word) { DP_KIND_DATA, 8, 1 });
	write_raw(f, 1, 603, 0);
	check_table(f, 1, 603, "fails its check");
}

static void open_refuses_an_extent_past_the_segments_end(void **state)
{
	struct fixture *f = *state;

	write_word(f, 0, 8190, (struct dp_word) { DP_KIND_DATA, 2, 1 });
	open_pool(f);
	close_pool(f);
	write_word(f, 0, 8190, (struct dp_word) { DP_KIND_DATA, 3, 1 });
	check_table(f, 0, 8190, "past the segment's end");
	write_word(f, 0, 8190, (struct dp_word) { DP_KIND_DATA, 1 << 17, 1 });
	check_table(f, 0, 8190, "past the segment's end");
}

static void open_refuses_slabs_of_a_later_version(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);
	uint64_t body = (uint64_t)DP_KIND_SLAB << DP_WORD_KIND_SHIFT |
			(DP_SLAB_BLOCKS - 1);
	struct dp_word word;

	while (!dp_word_decode(seed, 600, body, &word))
		body += 1ull << DP_WORD_CHECK_SHIFT;
	write_raw(f, 0, 600, body);
	assert_open_fails(f, -EPROTONOSUPPORT, "slab");
	assert_says(f, "segment 0, block 600");
}

/* Simulates a full filesystem: --wrap replaces dp_os_fallocate(). */
static bool no_room;

int __real_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);
int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length);

int __wrap_dp_os_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	return no_room ? -ENOSPC :
			 __real_dp_os_fallocate(fd, mode, offset, length);
}

/*
 * W7: a chunk with a published extent gets its blocks again. Other chunks stay holes.
 */
static void an_extent_in_a_hole_is_allocated_and_reads_as_zeroes(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t bytes[2] = { 1, 1 };

	write_word(f, 1, 1500, (struct dp_word) { DP_KIND_DATA, 100, 1 });
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
 * Zero is not a valid word, so a hole over used metadata is damage, and one over unused
 * metadata is not.
 */
static void metadata_in_a_hole_read_as_zeroes(void **state)
{
	struct fixture *f = *state;

	punch_at(f, 1, DP_LANES_END, DP_TABLE_OFFSET - DP_LANES_END);
	open_pool(f);
	close_pool(f);
	assert_true(is_backed(f, 1, 0, DP_CHUNK_SIZE));
	punch_at(f, 1, word_at(1024), DP_BLOCK_SIZE);
	assert_open_fails(f, -EUCLEAN, "(block 1024)");
}

/* The lane with the batch was committed: it is replayed even into a hole. */
static void a_batch_is_completed_in_a_hole(void **state)
{
	struct fixture *f = *state;
	const struct dp_lane_entry entry = {
		.addr = 32 * MIB + 1600 * 4096ull, .value = 77,
	};
	uint64_t now;

	write_word(f, 1, 1500, (struct dp_word) { DP_KIND_DATA, 200, 1 });
	punch(f, 1, 6 * MIB);
	put_open_lane(f, 3, &entry, 1);
	open_pool(f);
	dp_invariants(f->pool);
	close_pool(f);
	look(f, 1, 1600 * 4096ull, &now, sizeof(now));
	assert_int_equal(now, 77);
}

/* Nothing was stored, so the next open with enough space finds the same pool. */
static void without_space_for_its_holes_a_pool_is_left_unchanged(void **state)
{
	struct fixture *f = *state;

	write_word(f, 1, 1500, (struct dp_word) { DP_KIND_DATA, 100, 1 });
	punch(f, 1, 6 * MIB);
	no_room = true;
	assert_open_fails(f, -ENOSPC, "2 MiB");
	assert_says(f, "holes");
	no_room = false;
	open_pool(f);
	close_pool(f);
}

/* D9: a hole is never allocated. */
static void reserve_never_returns_a_hole(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t taken = 0;

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

/* The half is at the offset where the next change would overwrite the newest half. */
static void open_refuses_superblock_halves_in_the_wrong_place(void **state)
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

/* Asserts that a lane is refused if no order of stores can explain a changed byte. */
static void check_damaged_lane(struct fixture *f, uint32_t index, size_t offset)
{
	uint64_t at = DP_LANES_OFFSET + index * sizeof(struct dp_lane);
	char words[64];

	spoil(f, 0, at + offset);
	snprintf(words, sizeof(words), "redo lane %u at offset 0x%llx", index,
		 (unsigned long long)at);
	assert_open_fails(f, -EUCLEAN, words);
	assert_says(f, "untouched");
	spoil(f, 0, at + offset);
}

/* A torn lane is what a power failure leaves of a batch that was never committed. */
static void check_torn_lane(struct fixture *f, uint32_t index, size_t offset)
{
	uint64_t at = DP_LANES_OFFSET + index * sizeof(struct dp_lane);

	spoil(f, 0, at + offset);
	open_pool(f);
	close_pool(f);
}

static void open_refuses_a_damaged_lane(void **state)
{
	struct fixture *f = *state;

	check_damaged_lane(f, 5, offsetof(struct dp_lane, sequence));
	check_damaged_lane(f, 5, offsetof(struct dp_lane, sequence) + 7);
	check_damaged_lane(f, 63, offsetof(struct dp_lane, done) + 1);
	open_pool(f);
	close_pool(f);
}

static void open_discards_a_torn_lane(void **state)
{
	struct fixture *f = *state;

	check_torn_lane(f, 0, offsetof(struct dp_lane, count));
	check_torn_lane(f, 0, offsetof(struct dp_lane, count) + 3);
	check_torn_lane(f, 63, offsetof(struct dp_lane, epoch));
	check_torn_lane(f, 63, offsetof(struct dp_lane, check));
}

/* ----------------------------------------------- overwriting a damaged pool */

static void create_anew(struct fixture *f)
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
		spoil(f, 0, DP_SUPER_OFFSET + half * sizeof(struct dp_super));
		create_anew(f);
	}
	spoil(f, 0, DP_SUPER_OFFSET);
	spoil(f, 0, DP_SUPER_OFFSET + sizeof(struct dp_super));
	create_anew(f);
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

	spoil(f, 1, word_at(1000));
	create_anew(f);
}

/*
 * The number of verbs contexts on this machine, or the error of counting them; 1000:
 * the real count.
 */
#define REAL_CONTEXTS	1000

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
 * The record of the owner's verbs contexts was in the first segment, which is lost. The
 * owner's rings keep the other files locked; its RDMA has certainly ended only if the
 * machine has no verbs context at all.
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
	create_anew(f);
	contexts = REAL_CONTEXTS;
}

/* The record was in the superblock, which has no intact half or is missing. */
static void overwrite_of_a_lost_superblock_waits_for_all_rdma(void **state)
{
	struct fixture *f = *state;

	spoil_all_halves(f, 0);
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

static void lose_first_page(struct fixture *f)
{
	static const char zero[DP_SUPER_SIZE];

	patch(f, 0, DP_SUPER_OFFSET, zero, sizeof(zero));
}

/* The wiped page had the last owner's record. A copy of a pool is a different case. */
static void a_lost_record_is_waited_for_unless_the_caller_overrides(void **state)
{
	struct fixture *f = *state;

	f->options.flags = DAXPIN_POOL_ADOPT;
	contexts = 3;
	lose_first_page(f);
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
 * A power failure in the very first superblock write: the magic and a part of the rest.
 */
static void a_torn_first_superblock_is_an_unfinished_create(void **state)
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

static void open_refuses_flags_it_does_not_know(void **state)
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
		TEST(open_refuses_a_segment_0_of_text, empty_setup),
		TEST(create_refuses_a_file_that_begins_with_zeroes,
		     empty_setup),
		TEST(open_refuses_other_formats, closed_setup),
		TEST(a_torn_first_superblock_is_an_unfinished_create, empty_setup),
		TEST(open_refuses_flags_it_does_not_know, closed_setup),
		TEST(open_refuses_a_truncated_first_segment, closed_setup),
		TEST(open_refuses_a_truncated_middle_segment, closed_setup),
		TEST(open_refuses_a_truncated_last_segment, closed_setup),
		TEST(open_refuses_a_missing_first_segment, closed_setup),
		TEST(open_refuses_a_missing_middle_segment, closed_setup),
		TEST(open_refuses_a_missing_last_segment, closed_setup),
		TEST(open_counts_and_ignores_extra_segments, closed_setup),
		TEST(open_refuses_swapped_segments, closed_setup),
		TEST(open_refuses_a_segment_of_another_pool, closed_setup),
		TEST(open_works_with_the_older_half_damaged,
		     closed_setup),
		TEST(open_takes_the_older_half_when_the_newer_is_torn,
		     closed_setup),
		TEST(open_works_without_the_copy, closed_setup),
		TEST(open_refuses_a_superblock_without_an_intact_half,
		     closed_setup),
		TEST(open_refuses_a_later_segments_lost_superblock,
		     closed_setup),
		TEST(a_wiped_superblock_is_not_a_blank_medium, closed_setup),
		TEST(later_segment_without_superblock_is_damage, closed_setup),
		TEST(open_refuses_inconsistent_superblock_fields,
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
		TEST(open_refuses_slabs_of_a_later_version, closed_setup),
		TEST(an_extent_in_a_hole_is_allocated_and_reads_as_zeroes,
		     closed_setup),
		TEST(metadata_in_a_hole_read_as_zeroes, closed_setup),
		TEST(a_batch_is_completed_in_a_hole, closed_setup),
		TEST(without_space_for_its_holes_a_pool_is_left_unchanged,
		     closed_setup),
		TEST(reserve_never_returns_a_hole, closed_setup),
		TEST(open_refuses_superblock_halves_in_the_wrong_place, closed_setup),
		TEST(open_refuses_a_damaged_lane, closed_setup),
		TEST(open_discards_a_torn_lane, closed_setup),
		TEST(a_wiped_first_segment_is_not_a_blank_medium, closed_setup),
		TEST(foreign_later_segments_are_not_called_a_pool, empty_setup),
		TEST(overwrite_replaces_a_damaged_superblock, closed_setup),
		TEST(overwrite_replaces_damaged_segments, closed_setup),
		TEST(overwrite_without_the_first_segment_waits_for_all_rdma,
		     closed_setup),
		TEST(a_lost_record_is_waited_for_unless_the_caller_overrides, closed_setup),
		TEST(overwrite_of_a_lost_superblock_waits_for_all_rdma,
		     closed_setup),
		TEST(overwrite_refuses_a_newer_format, closed_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
