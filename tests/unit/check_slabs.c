/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What check and repair do with slabs: their words tell which objects are live, and a
 * repair never makes an object free that may be live.
 */
#include "findings.h"
#include "forbid.h"
#include "slabs.h"
#include "check/patch.h"
#include "os/os.h"
#include "pool/blocks.h"

#define BLOCK		600u		/* of the slab, in segment 1 */
#define AT		(BLOCK * DP_BLOCK_SIZE)
#define CLASS		3u		/* 64 bytes: 1021 objects, 22 words */
#define ALL		((1ull << DP_SLAB_WORD_OBJECTS) - 1)

static int slab_setup(void **state)
{
	int ret = closed_setup(state);

	if (!ret)
		put_slab(*state, 1, BLOCK, CLASS);
	return ret;
}

static void repair_pool(struct fixture *f, int answer, uint32_t repaired)
{
	struct findings found = {
		.answer = answer, .summary.size = sizeof(found.summary),
	};
	char path[128];
	int ret;

	backup_path(f, path);
	unlink(path);
	ret = daxpin_repair(f->path, &f->options, path, collect, &found,
			    &found.summary);
	if (ret)
		fail_msg("repair: %d, %s", ret, f->errmsg);
	assert_int_equal(found.summary.repaired, repaired);
}

static uint64_t bits_of(struct fixture *f, uint32_t word)
{
	uint64_t raw, bits;

	look(f, 1, slab_word_at(BLOCK, word), &raw, sizeof(raw));
	assert_true(dp_slab_decode(dp_layout_seed(read_super(f, 0).uuid),
				   32 * MIB + slab_word_at(BLOCK, word), raw, &bits));
	return bits;
}

/*
 * Repairs, undoes, and repairs again: with the same bytes as after the first time. The
 * words of a slab are past the first chunk, so all bytes are compared.
 */
static void repair_and_undo(struct fixture *f, bool lossy)
{
	uint64_t before = whole_fingerprint(f->path), after;
	char path[128];

	if (lossy) {
		repair_pool(f, 0, 0);
		assert_int_equal(whole_fingerprint(f->path), before);
	}
	repair_pool(f, lossy, 1);
	assert_clean(f);
	after = whole_fingerprint(f->path);
	assert_int_not_equal(after, before);
	backup_path(f, path);
	assert_int_equal(daxpin_repair_undo(f->path, &f->options, path), 0);
	assert_int_equal(whole_fingerprint(f->path), before);
	repair_pool(f, lossy, 1);
	assert_int_equal(whole_fingerprint(f->path), after);
}

/* ------------------------------------------------------------------- counts */

static void slabs_and_their_objects_are_counted(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	check_pool(f, &found);
	assert_int_equal(found.summary.slabs, 1);
	assert_int_equal(found.summary.objects, 0);
	put_slab(f, 2, 700, 39);
	put_bits(f, 1, BLOCK, 0, ALL);
	put_bits(f, 1, BLOCK, 21, 1ull << 33);
	put_bits(f, 2, 700, 0, 5);
	assert_clean(f);
	check_pool(f, &found);
	assert_int_equal(found.summary.slabs, 2);
	assert_int_equal(found.summary.objects, 47 + 1 + 2);
	assert_int_equal(found.summary.extents, 0);
	assert_int_equal(found.summary.extent_bytes, 0);
	assert_int_equal(found.summary.free_bytes, 90 * MIB - 2 * DP_SLAB_SIZE);
}

/* A batch that the last owner committed but did not complete. */
static void words_are_read_as_open_lanes_will_leave_them(void **state)
{
	struct fixture *f = *state;
	struct dp_lane_entry entry = {
		addr_of(1, BLOCK) + dp_slab_word_offset(4),
		slab_word(f, 1, BLOCK, 4, 7),
	};
	struct findings found;

	corrupt(f, 1, slab_word_at(BLOCK, 4));
	put_open_lane(f, 3, &entry, 1);
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	assert_int_equal(found.summary.objects, 3);
}

/* ------------------------------------------------------------------- damage */

static void objects_of_a_word_that_fails_its_check_become_live(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	put_bits(f, 1, BLOCK, 0, 1);
	put_bits(f, 1, BLOCK, 1, 5);
	put_bits(f, 1, BLOCK, 2, 2);
	corrupt(f, 1, slab_word_at(BLOCK, 1));
	assert_damage(f, DAXPIN_STRUCTURE_SLAB, DAXPIN_CURE_LOSSY, 1,
		      slab_word_at(BLOCK, 1), "slab at block 600, objects 47 to 93 of 64 bytes");
	check_pool(f, &found);
	assert_int_equal(found.summary.objects, 1 + 47 + 1);
	repair_and_undo(f, true);
	assert_int_equal(bits_of(f, 0), 1);
	assert_int_equal(bits_of(f, 1), ALL);
	assert_int_equal(bits_of(f, 2), 2);
}

/* The medium was cleared there, as a tool that clears poison does. */
static void zeroes_are_damage_and_the_last_word_gets_its_own_objects(void **state)
{
	static const char zeroes[DP_BLOCK_SIZE];
	struct fixture *f = *state;
	struct findings found;

	patch(f, 1, AT, zeroes, sizeof(zeroes));
	assert_damage(f, DAXPIN_STRUCTURE_SLAB, DAXPIN_CURE_LOSSY, 1, AT,
		      "objects 0 to 1020 of 64 bytes");
	check_pool(f, &found);
	assert_int_equal(found.summary.objects, 1021);
	repair_and_undo(f, true);
	assert_int_equal(bits_of(f, 0), ALL);
	assert_int_equal(bits_of(f, 21), (1ull << 34) - 1);
}

static void each_run_of_damaged_words_is_a_finding(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	corrupt(f, 1, slab_word_at(BLOCK, 0));
	corrupt(f, 1, slab_word_at(BLOCK, 1));
	corrupt(f, 1, slab_word_at(BLOCK, 21));
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 2);
	repair_pool(f, 1, 2);
	assert_clean(f);
}

static void bits_past_the_last_object_are_cleared(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	put_bits(f, 1, BLOCK, 21, 1ull << 34 | 1ull << 46 | 3);
	assert_damage(f, DAXPIN_STRUCTURE_SLAB, DAXPIN_CURE_DERIVED, 1,
		      slab_word_at(BLOCK, 21), "it has 1021 objects of 64 bytes");
	check_pool(f, &found);
	assert_int_equal(found.summary.objects, 2);
	repair_and_undo(f, false);
	assert_int_equal(bits_of(f, 21), 3);
}

static void words_that_cannot_be_read_have_no_cure(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	put_poison(f, 1, AT);
	assert_damage(f, DAXPIN_STRUCTURE_SLAB, DAXPIN_CURE_NONE, 1, AT,
		      "which of its 1021 objects of 64 bytes are live cannot be read");
	before = fingerprint(f->path);
	repair_pool(f, 1, 0);
	assert_int_equal(fingerprint(f->path), before);
}

static void an_open_reports_words_that_cannot_be_read(void **state)
{
	struct fixture *f = *state;

	put_poison(f, 1, AT);
	assert_open_fails(f, -EIO, "which objects of 64 bytes are live in the slab at block 600");
	assert_says(f, "segment 1");
	f->options.flags = DAXPIN_POOL_DEGRADED;
	open_pool(f);
	assert_int_equal(pool_info(f).slab_bytes, 0);
	assert_int_equal(pool_info(f).quarantined_bytes, DP_SLAB_SIZE);
	close_pool(f);
}

/* Only the block of the words is needed to know the objects. */
static void a_bad_block_behind_the_words_is_damage_of_data(void **state)
{
	struct fixture *f = *state;

	known_bad = (struct dp_badblocks_run) { AT + DP_BLOCK_SIZE,
						AT + 2 * DP_BLOCK_SIZE };
	/* The other segments have free space there. */
	assert_damage(f, DAXPIN_STRUCTURE_DATA, DAXPIN_CURE_NONE, 1,
		      AT + DP_BLOCK_SIZE, "a published extent has them");
	known_bad = (struct dp_badblocks_run) { 0, 0 };
}

static struct {
	bool has_no_data;		/* each chunk is a hole */
	uint32_t calls;
	struct dp_blocks_range range;	/* of the last one */
} allocated;

int __real_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *extent, void *arg),
			   void *arg);
int __wrap_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *extent, void *arg),
			   void *arg);
int __wrap_dp_os_seek_data(int fd, uint64_t size,
			   int (*fn)(const struct dp_os_extent *extent, void *arg),
			   void *arg)
{
	return allocated.has_no_data ? 0 : __real_dp_os_seek_data(fd, size, fn, arg);
}

int __real_dp_blocks_allocate(struct dp_blocks *blocks,
			      struct dp_blocks_range range);
int __wrap_dp_blocks_allocate(struct dp_blocks *blocks,
			      struct dp_blocks_range range);
int __wrap_dp_blocks_allocate(struct dp_blocks *blocks,
			      struct dp_blocks_range range)
{
	allocated.calls++;
	allocated.range = range;
	return __real_dp_blocks_allocate(blocks, range);
}

/*
 * A sparse copy has a hole only where there were zeroes, so the words were lost. Before
 * the repair stores to the hole it allocates blocks. A check on shmem allocates pages
 * by its own loads, so the library is made to find the hole again.
 */
static void a_slab_in_a_hole_is_damaged_and_gets_blocks(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	punch(f, 1, AT / DP_CHUNK_SIZE * DP_CHUNK_SIZE);
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 1);
	punch(f, 1, AT / DP_CHUNK_SIZE * DP_CHUNK_SIZE);
	memset(&allocated, 0, sizeof(allocated));
	allocated.has_no_data = true;
	repair_pool(f, 1, 1);
	allocated.has_no_data = false;
	assert_int_equal(allocated.calls, 1);
	assert_int_equal(allocated.range.offset, AT / DP_CHUNK_SIZE * DP_CHUNK_SIZE);
	assert_int_equal(allocated.range.size, DP_CHUNK_SIZE);
	assert_clean(f);
	assert_int_equal(bits_of(f, 21), (1ull << 34) - 1);
}

/* ------------------------------------------------------------------- roots */

static void roots_of_objects_are_found_or_stale(void **state)
{
	struct fixture *f = *state;
	uint64_t first = AT + dp_slab_shape(CLASS).first;
	struct findings found;

	put_bits(f, 1, BLOCK, 0, 2);
	put_object_root(f, 0, "live", first + 64);
	check_pool(f, &found);
	assert_int_equal(found.summary.roots, 1);
	assert_int_equal(found.summary.roots_stale, 0);
	put_object_root(f, 1, "free", first);
	put_object_root(f, 2, "inside", first + 64 + 16);
	put_object_root(f, 3, "word", AT);
	put_object_root(f, 4, "elsewhere", AT + DP_SLAB_SIZE);
	check_pool(f, &found);
	assert_int_equal(found.summary.damages, 0);
	assert_int_equal(found.summary.roots, 5);
	assert_int_equal(found.summary.roots_stale, 4);
	for (uint32_t i = 0; i < found.count; i++)
		if (found.finding[i].structure == DAXPIN_STRUCTURE_ROOT)
			assert_non_null(strstr(found.what[i], "no object at 0x"));
}

/* It is not stale while it is unknown which objects are live. */
static void a_root_of_an_object_that_may_be_live_is_not_stale(void **state)
{
	struct fixture *f = *state;
	struct findings found;

	put_object_root(f, 0, "index", AT + dp_slab_shape(CLASS).first);
	check_pool(f, &found);
	assert_int_equal(found.summary.roots_stale, 1);
	corrupt(f, 1, slab_word_at(BLOCK, 0));
	check_pool(f, &found);
	assert_int_equal(found.summary.roots_stale, 0);
}

/* ------------------------------------------------------------------- backup */

static void write_backup(struct fixture *f, uint64_t offset)
{
	struct dp_patches patches = { .patch = NULL };
	char path[128], *text;
	size_t size;
	FILE *file;

	memcpy(patches.uuid, read_super(f, 0).uuid, 16);
	assert_int_equal(dp_patches_add(&patches, 1, offset, "oldbytes", "newbytes",
					8), 0);
	assert_int_equal(dp_patches_format(&patches, &text, &size), 0);
	backup_path(f, path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	free(text);
	dp_patches_fini(&patches);
}

static void a_backup_of_a_larger_segment_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t before = fingerprint(f->path);
	char path[128];

	backup_path(f, path);
	write_backup(f, 32 * MIB);
	assert_int_equal(daxpin_repair_undo(f->path, &f->options, path), -EUCLEAN);
	assert_says(f, "segment 1 ends before offset 0x2000000");
	write_backup(f, 32 * MIB - 8);
	assert_int_equal(daxpin_repair_undo(f->path, &f->options, path), -EUCLEAN);
	assert_says(f, "written to since the repair");
	assert_int_equal(fingerprint(f->path), before);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, slab_setup, backup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slabs_and_their_objects_are_counted),
		TEST(words_are_read_as_open_lanes_will_leave_them),
		TEST(objects_of_a_word_that_fails_its_check_become_live),
		TEST(zeroes_are_damage_and_the_last_word_gets_its_own_objects),
		TEST(each_run_of_damaged_words_is_a_finding),
		TEST(bits_past_the_last_object_are_cleared),
		TEST(words_that_cannot_be_read_have_no_cure),
		TEST(an_open_reports_words_that_cannot_be_read),
		TEST(a_bad_block_behind_the_words_is_damage_of_data),
		TEST(a_slab_in_a_hole_is_damaged_and_gets_blocks),
		TEST(roots_of_objects_are_found_or_stale),
		TEST(a_root_of_an_object_that_may_be_live_is_not_stale),
		TEST(a_backup_of_a_larger_segment_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
