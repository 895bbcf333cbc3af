/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * D19: which pages of a descriptor table are in use, and which of them an open reads.
 */
#include "media.h"
#include "invariant.h"
#include "pool/segment.h"

static bool refuse_flush;

int __real_dp_persist_flush(struct dp_persist *persist, const void *from,
			    uint64_t size);
int __wrap_dp_persist_flush(struct dp_persist *persist, const void *from,
			    uint64_t size);
int __wrap_dp_persist_flush(struct dp_persist *persist, const void *from,
			    uint64_t size)
{
	if (!refuse_flush)
		return __real_dp_persist_flush(persist, from, size);
	persist->error = -EIO;
	return -EIO;
}

/* A closed pool whose tables were never used, with garbage in them. */
static int unused_setup(void **state)
{
	char *garbage = malloc(DP_CHUNK_SIZE);
	struct fixture *f;

	if (!garbage || fixture_setup_sized(state, 96 * MIB))
		return -1;
	f = *state;
	close_pool(f);
	memset(garbage, 0xa5, DP_CHUNK_SIZE);
	for (uint32_t i = 0; i < 3; i++)
		patch(f, i, DP_TABLE_OFFSET, garbage, 32 * MIB / DP_BLOCK_SIZE * 8);
	free(garbage);
	return 0;
}

/* Bits of the bitmap's first word, which covers all pages of these segments. */
static uint64_t bits_of(struct fixture *f, uint32_t segment)
{
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid), raw, bits;

	look(f, segment, DP_PAGES_OFFSET, &raw, sizeof(raw));
	assert_true(dp_pages_decode(seed, segment * 8192, raw, &bits));
	return bits;
}

static void open_does_not_read_unused_pages(void **state)
{
	struct fixture *f = *state;
	uint64_t before = fingerprint(f->path);

	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).free_bytes, 90 * MIB);
	close_pool(f);
	f->options.flags = 0;
	assert_int_equal(count_notes(f, "table"), 0);
	assert_int_equal(fingerprint(f->path), before);
}

static void the_first_keep_in_a_page_formats_it(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint32_t segment, page;
	uint64_t word;

	open_pool(f);
	extent = reserve(f, 4 * MIB);
	segment = extent.addr / (32 * MIB);
	page = extent.addr % (32 * MIB) / DP_CHUNK_SIZE;
	assert_int_equal(bits_of(f, segment), 0);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	/* The extent's inner words would be in pages that were never formatted. */
	assert_int_equal(bits_of(f, segment), 1ull << page);
	look(f, segment, word_at((page + 1) * DP_PAGE_WORDS), &word, 8);
	assert_int_equal(word, 0xa5a5a5a5a5a5a5a5);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).free_bytes, 86 * MIB);
}

static void a_cancel_formats_no_page(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	open_pool(f);
	extent = reserve(f, DP_BLOCK_SIZE);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(bits_of(f, i), 0);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
}

static void a_page_that_cannot_be_formatted_stays_unused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	open_pool(f);
	extent = reserve(f, DP_BLOCK_SIZE);
	refuse_flush = true;
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), -EIO);
	refuse_flush = false;
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(bits_of(f, i), 0);
	/* Clears the error, as another open of the pool would. */
	f->pool->media.persist.error = 0;
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
}

/* Formatting a page overwrites all that was in it before. */
static void a_page_is_formatted_as_a_whole(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	open_pool(f);
	while (!daxpin_reserve(f->pool, MIB, 0, &extent))
		assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).free_bytes, 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(bits_of(f, i), 0xfffe);
}

static void a_damaged_bitmap_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t bits = 1ull << 16, raw;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid);

	corrupt(f, 1, DP_PAGES_OFFSET + 3);
	assert_open_fails(f, -EUCLEAN, "segment 1, page bitmap, offset 0x2000");
	corrupt(f, 1, DP_PAGES_OFFSET + 3);
	corrupt(f, 2, DP_PAGES_OFFSET + 80);
	assert_open_fails(f, -EUCLEAN, "segment 2, page bitmap, offset 0x2050");
	corrupt(f, 2, DP_PAGES_OFFSET + 80);
	/* The bitmap has a bit for a page that the table does not have. */
	raw = dp_pages_encode(seed, 0, bits);
	patch(f, 0, DP_PAGES_OFFSET, &raw, sizeof(raw));
	assert_open_fails(f, -EUCLEAN, "segment 0, page bitmap");
}

/* A read-only degraded open finds the pages in use from the pages themselves. */
static void a_degraded_read_only_open_works_without_the_bitmap(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	open_pool(f);
	extent = live(f, 3 * MIB);
	close_pool(f);
	for (uint32_t i = 0; i < 3; i++)
		corrupt(f, i, DP_PAGES_OFFSET);
	f->options.flags = DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED;
	open_pool(f);
	f->options.flags = 0;
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).quarantined_bytes, 0);
	assert_int_equal(pool_info(f).free_bytes, 87 * MIB);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
}

/* A committed batch changes a word of a page whose bit in the bitmap was lost. */
static void a_lane_entry_for_an_unused_page_is_refused(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);
	const struct dp_lane_entry entry = {
		32 * MIB + word_at(700),
		dp_word_encode(dp_layout_seed(super.uuid), 8192 + 700,
			       (struct dp_word) { DP_KIND_DATA, 4, 3, 0 }),
	};

	put_open_lane(f, 2, &entry, 1);
	assert_open_fails(f, -EUCLEAN, "are not a word that a batch can change");
	use_page(f, 1, 700);
	open_pool(f);
	dp_invariants(f->pool);
}

/* ----------------------------------------------------------- large segments */

static int large_setup(void **state)
{
	struct fixture *f;

	if (fixture_make(state, 1024 * MIB + 32 * MIB))
		return -1;
	f = *state;
	f->options.segment_size = 1024 * MIB;
	return 0;
}

static void need_room(struct fixture *f)
{
	int ret = daxpin_pool_create(f->path, &f->options, &f->pool);

	if (ret == -ENOSPC) {
		print_message("# skipped: %s\n", f->errmsg);
		skip();
	}
	assert_int_equal(ret, 0);
}

/*
 * Its table is chunk 1, so its metadata take 4 MiB, as in the last segment, which is
 * shorter.
 */
static void a_segment_of_1_gib_works(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent whole, rest, extent;

	need_room(f);
	assert_int_equal(pool_info(f).segments, 2);
	assert_int_equal(pool_info(f).free_bytes, (1020 + 28) * MIB);
	assert_int_equal(daxpin_reserve(f->pool, 1021 * MIB, 0, &whole), -EFBIG);
	assert_int_equal(daxpin_reserve(f->pool, 1020 * MIB, 0, &whole), 0);
	assert_int_equal(whole.addr, 4 * MIB);
	rest = reserve(f, 28 * MIB);
	assert_int_equal(rest.addr, (1024 + 4) * MIB);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, whole), 0);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, rest), 0);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	assert_int_equal(pool_info(f).free_bytes, 0);
	assert_int_equal(daxpin_extent_at(f->pool, whole.addr, &extent), 0);
	assert_int_equal(daxpin_extent_at(f->pool, rest.addr, &rest), 0);
	assert_int_equal(daxpin_extent_at(f->pool, 2 * MIB, &whole), -EINVAL);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(pool_info(f).free_bytes, 1020 * MIB);
	close_pool(f);
	assert_int_equal(count_notes(f, "table"), 0);
}

/* The table of a large segment is checked and repaired at its own offset. */
static void the_table_of_a_large_segment_is_checked_and_repaired(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	uint64_t at, word;

	need_room(f);
	extent = live(f, 4 * MIB);
	close_pool(f);
	at = DP_CHUNK_SIZE + dp_word_offset(extent.addr / DP_BLOCK_SIZE);
	look(f, 0, at, &word, sizeof(word));
	corrupt(f, 0, at);
	assert_open_fails(f, -EUCLEAN, "segment 0, descriptor table");
	patch(f, 0, at, &word, sizeof(word));
	open_pool(f);
}

static void the_default_segment_size_grows_with_the_pool(void **state)
{
	const uint64_t gib = 1024 * MIB;

	(void)state;
	assert_int_equal(dp_geometry_default_segment_size(32 * MIB), 256 * MIB);
	assert_int_equal(dp_geometry_default_segment_size(64 * gib), 256 * MIB);
	assert_int_equal(dp_geometry_default_segment_size(65 * gib), 512 * MIB);
	assert_int_equal(dp_geometry_default_segment_size(1024 * gib), gib);
	assert_int_equal(dp_geometry_default_segment_size(16384 * gib), gib);
	assert_int_equal(dp_geometry_count(16384 * gib, gib), 16384);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, unused_setup, fixture_teardown)
#define TEST_LARGE(name) \
	cmocka_unit_test_setup_teardown(name, large_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(open_does_not_read_unused_pages),
		TEST(the_first_keep_in_a_page_formats_it),
		TEST(a_cancel_formats_no_page),
		TEST(a_page_that_cannot_be_formatted_stays_unused),
		TEST(a_page_is_formatted_as_a_whole),
		TEST(a_damaged_bitmap_is_refused),
		TEST(a_degraded_read_only_open_works_without_the_bitmap),
		TEST(a_lane_entry_for_an_unused_page_is_refused),
		TEST_LARGE(a_segment_of_1_gib_works),
		TEST_LARGE(the_table_of_a_large_segment_is_checked_and_repaired),
		cmocka_unit_test(the_default_segment_size_grows_with_the_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
