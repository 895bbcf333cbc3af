/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A degraded open quarantines damaged metadata and what it describes: those blocks are
 * never allocated, the rest of the pool can be used, and the damaged words stay as they
 * are.
 */
#include "needs.h"
#include "slabs.h"
#include "support/invariant.h"

#define SEGMENT_BLOCKS	(32 * MIB / DP_BLOCK_SIZE)
#define CHUNK_BLOCKS	(SEGMENT_BLOCKS - 512)	/* blocks for extents */

/* Puts an extent on media, in a closed pool. */
static void put(struct fixture *f, uint32_t segment, uint32_t block,
		uint32_t blocks)
{
	write_word(f, segment, block,
		   (struct dp_word) { DP_KIND_DATA, blocks, 7, 0 });
}

static uint64_t addr_of(uint32_t segment, uint32_t block)
{
	return segment * 32 * MIB + (uint64_t)block * DP_BLOCK_SIZE;
}

static bool exists(struct fixture *f, uint32_t segment, uint32_t block)
{
	struct daxpin_extent extent;
	int ret = daxpin_extent_at(f->pool, addr_of(segment, block), &extent);

	assert_true(!ret || ret == -ENOENT);
	return !ret;
}

static void open_degraded(struct fixture *f, uint32_t flags)
{
	f->options.flags = DAXPIN_POOL_DEGRADED | flags;
	open_pool(f);
	assert_int_equal(pool_info(f).flags, f->options.flags);
	f->options.flags = 0;
	dp_invariants(f->pool);
}

/*
 * Opens for reading, which changes no byte, and for writing. Both quarantine the same
 * blocks; the second then reserves every free block, and gets none of those.
 */
static void check_quarantine(struct fixture *f, uint32_t segment,
			     uint32_t begin, uint32_t end, uint64_t more_bytes)
{
	uint64_t bytes = (end - begin) * DP_BLOCK_SIZE + more_bytes;
	uint64_t before = fingerprint(f->path), free_bytes;
	struct daxpin_extent extent;

	assert_open_fails(f, -EUCLEAN, "untouched");
	open_degraded(f, DAXPIN_POOL_READONLY);
	assert_int_equal(pool_info(f).quarantined_bytes, bytes);
	close_pool(f);
	assert_int_equal(fingerprint(f->path), before);
	open_degraded(f, 0);
	assert_int_equal(pool_info(f).quarantined_bytes, bytes);
	assert_int_equal(pool_info(f).usable_bytes, 90 * MIB - bytes);
	free_bytes = pool_info(f).free_bytes;
	while (!daxpin_reserve(f->pool, 1, 0, &extent)) {
		assert_false(extent.addr >= addr_of(segment, begin) &&
			     extent.addr < addr_of(segment, end));
		free_bytes -= DP_BLOCK_SIZE;
	}
	assert_int_equal(free_bytes, 0);
	assert_int_equal(pool_info(f).free_bytes, 0);
	dp_invariants(f->pool);
	close_pool(f);
	/* The damage is still there for the next open. */
	assert_open_fails(f, -EUCLEAN, "untouched");
}

static void a_bad_word_quarantines_up_to_the_next_extent(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 600, 8);
	put(f, 1, 2000, 4);
	write_raw(f, 1, 1000, 0);
	check_quarantine(f, 1, 1000, 2000, 0);
	open_degraded(f, 0);
	assert_true(exists(f, 1, 600));
	assert_true(exists(f, 1, 2000));
	close_pool(f);
}

static void a_bad_word_after_the_last_extent_quarantines_the_rest(void **state)
{
	struct fixture *f = *state;

	put(f, 2, 600, 8);
	write_raw(f, 2, 8191, 0);
	check_quarantine(f, 2, 8191, 8192, 0);
	write_raw(f, 2, 608, 0);
	check_quarantine(f, 2, 608, 8192, 0);
	write_word(f, 2, 8191, free_word);
	check_quarantine(f, 2, 608, 8192, 0);
}

static void a_lost_first_word_quarantines_its_extent(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 600, 100);
	put(f, 1, 700, 1);
	corrupt(f, 1, word_at(600));
	check_quarantine(f, 1, 600, 700, 0);
}

static void a_wiped_page_is_one_quarantine(void **state)
{
	struct fixture *f = *state;
	char zero[DP_BLOCK_SIZE] = "";

	put(f, 1, 1000, 100);		/* into the wiped page */
	put(f, 1, 1600, 3);
	patch(f, 1, word_at(1024), zero, sizeof(zero));
	/*
	 * Of extent 1000 to 1099 only the blocks of damaged words are quarantined.
	 * After that extent, all blocks up to the next extent are.
	 */
	check_quarantine(f, 1, 1100, 1600, 76 * DP_BLOCK_SIZE);
}

static void overlapping_extents_are_both_quarantined(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 600, 100);
	put(f, 1, 650, 100);
	put(f, 1, 740, 50);
	put(f, 1, 1000, 1);
	check_quarantine(f, 1, 600, 1000, 0);
	open_degraded(f, DAXPIN_POOL_READONLY);
	assert_false(exists(f, 1, 600));
	assert_false(exists(f, 1, 650));
	assert_false(exists(f, 1, 740));
	assert_true(exists(f, 1, 1000));
	close_pool(f);
}

static void an_extent_past_the_end_is_quarantined_with_its_range(void **state)
{
	struct fixture *f = *state;

	put(f, 0, 8000, 193);
	put(f, 0, 8100, 2);
	check_quarantine(f, 0, 8000, 8100, 0);
	open_degraded(f, 0);
	assert_true(exists(f, 0, 8100));
	close_pool(f);
}

/*
 * The extent is retired. Its blocks are free again except the one with the damaged
 * word.
 */
static void a_bad_word_inside_an_extent_quarantines_one_block(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	char bytes[8 * DP_BLOCK_SIZE];
	uint64_t before, raw;

	put(f, 1, 600, 8);
	write_raw(f, 1, 603, 0x1234);
	open_degraded(f, 0);
	assert_int_equal(pool_info(f).quarantined_bytes, DP_BLOCK_SIZE);
	before = pool_info(f).free_bytes;
	assert_int_equal(daxpin_extent_at(f->pool, addr_of(1, 600), &extent),
			 0);
	/* The data is intact. */
	assert_int_equal(daxpin_read(f->pool, extent, 0, sizeof(bytes), bytes), 0);
	assert_int_equal(daxpin_persist(f->pool, extent, 0, 0), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	assert_int_equal(pool_info(f).free_bytes, before + 7 * DP_BLOCK_SIZE);
	dp_invariants(f->pool);
	while (!daxpin_reserve(f->pool, DP_BLOCK_SIZE, 0, &extent)) {
		assert_int_not_equal(extent.addr, addr_of(1, 603));
		assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	}
	dp_invariants(f->pool);
	close_pool(f);
	look(f, 1, word_at(603), &raw, sizeof(raw));
	assert_int_equal(raw, 0x1234);
	open_degraded(f, DAXPIN_POOL_READONLY);
	/* The ends of the later extents are known, so no other block is quarantined. */
	assert_int_equal(pool_info(f).quarantined_bytes, DP_BLOCK_SIZE);
	close_pool(f);
}

/* W7: the extent is intact. */
static void an_extent_in_a_hole_can_be_used(void **state)
{
	struct fixture *f = *state;

	need_populate_write();
	put(f, 1, 1500, 100);		/* 64 of its blocks in the hole */
	punch(f, 1, 6 * MIB);
	open_degraded(f, DAXPIN_POOL_READONLY);
	assert_true(exists(f, 1, 1500));
	assert_int_equal(pool_info(f).hole_bytes, 0);
	assert_int_equal(pool_info(f).sparse_bytes, 2 * MIB);
	assert_int_equal(pool_info(f).quarantined_bytes, 0);
	close_pool(f);
	open_degraded(f, 0);
	assert_true(exists(f, 1, 1500));
	assert_int_equal(pool_info(f).sparse_bytes, 0);
	close_pool(f);
	assert_true(is_backed(f, 1, 6 * MIB, 2 * MIB));
}

static void an_intact_pool_opens_without_quarantine(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 600, 8);
	open_degraded(f, 0);
	assert_int_equal(pool_info(f).quarantined_bytes, 0);
	assert_int_equal(pool_info(f).usable_bytes, 90 * MIB);
	close_pool(f);
	assert_int_equal(daxpin_pool_create(f->path, &(struct
			 daxpin_pool_options) {
			 .size = sizeof(struct daxpin_pool_options),
			 .flags = DAXPIN_POOL_DEGRADED }, &f->pool), -EINVAL);
}

/* On shmem a load from a mapping allocates the page. */
static void a_check_allocates_no_page_in_a_hole(void **state)
{
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	struct fixture *f = *state;

	put(f, 1, 600, 8);
	punch_at(f, 1, word_at(1024), DP_BLOCK_SIZE);
	assert_int_equal(daxpin_check(f->path, &f->options, NULL, NULL, &summary), 0);
	assert_false(is_backed(f, 1, word_at(1024), DP_BLOCK_SIZE));
}

/* ---------------------------------------------------- opens for reading */

static void a_degraded_read_only_open_accepts_an_unclean_pool(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);
	uint64_t before;

	super.flags = DP_SUPER_UNCLEAN | DP_SUPER_OWNER_UNKNOWN;
	write_super(f, 0, super);
	before = fingerprint(f->path);
	open_degraded(f, DAXPIN_POOL_READONLY);
	assert_int_equal(pool_info(f).unclean, 1);
	close_pool(f);
	assert_int_equal(fingerprint(f->path), before);
}

static void a_degraded_read_only_open_accepts_lost_superblocks(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";
	uint64_t before;

	patch(f, 0, DP_SUPER_OFFSET, zero, sizeof(zero));
	patch(f, 1, DP_SUPER_OFFSET, zero, sizeof(zero));
	before = fingerprint(f->path);
	open_degraded(f, DAXPIN_POOL_READONLY);
	close_pool(f);
	assert_int_equal(fingerprint(f->path), before);
}

static void a_degraded_read_only_open_reads_through_open_lanes(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid), before;
	const struct dp_word head = { DP_KIND_DATA, 4, 3, 0 };
	struct dp_lane_entry entries[2];

	put(f, 1, 600, 8);
	entries[0].addr = 32 * MIB + word_at(600);
	entries[0].value = dp_word_encode(seed, 8192 + 600, free_word);
	entries[1].addr = 64 * MIB + word_at(700);
	entries[1].value = dp_word_encode(seed, 16384 + 700, head);
	put_open_lane(f, 9, entries, 2);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, "committed but did not complete");
	before = fingerprint(f->path);
	open_degraded(f, DAXPIN_POOL_READONLY);
	assert_false(exists(f, 1, 600));
	assert_true(exists(f, 2, 700));
	close_pool(f);
	assert_int_equal(fingerprint(f->path), before);
	open_pool(f);
	assert_false(exists(f, 1, 600));
	assert_true(exists(f, 2, 700));
	close_pool(f);
}

/*
 * The lane is intact, but its entries are invalid. One begins at the last byte of a
 * table, so a change there would end after the table's copy in memory.
 */
static void a_degraded_read_only_open_skips_invalid_lane_entries(void **state)
{
	struct fixture *f = *state;
	struct dp_lane_entry entries[] = {
		{ 32 * MIB + word_at(8191) + 7, ~0ull },
		{ 32 * MIB + word_at(900), 1 },
		{ ~0ull, 2 }, { DP_LANES_OFFSET, 3 },
	};

	put(f, 1, 900, 1);
	put_open_lane(f, 0, entries, 4);
	assert_open_fails(f, -EUCLEAN, "are not a word that a batch can change");
	f->options.flags = DAXPIN_POOL_DEGRADED;
	assert_open_fails(f, -EUCLEAN, "are not a word that a batch can change");
	open_degraded(f, DAXPIN_POOL_READONLY);
	assert_true(exists(f, 1, 900));
	assert_int_equal(pool_info(f).quarantined_bytes, 0);
	close_pool(f);
}

static void a_degraded_read_only_open_skips_damaged_lanes(void **state)
{
	struct fixture *f = *state;
	uint64_t far = 1000;

	patch(f, 0, DP_LANES_OFFSET + 3 * DP_BLOCK_SIZE +
	      offsetof(struct dp_lane, done), &far, sizeof(far));
	assert_open_fails(f, -EUCLEAN, "redo lane 3");
	f->options.flags = DAXPIN_POOL_DEGRADED;
	assert_open_fails(f, -EUCLEAN, "redo lane 3");
	open_degraded(f, DAXPIN_POOL_READONLY);
	close_pool(f);
}

/* ------------------------------------------------------------------- roots */

static void make_root(struct fixture *f, const char *name)
{
	struct daxpin_op ops[] = {
		{ .type = DAXPIN_OP_KEEP, .extent = reserve(f, 4096) },
		{ .type = DAXPIN_OP_ROOT, .name = name },
	};

	ops[1].extent = ops[0].extent;
	assert_int_equal(daxpin_publish(f->pool, ops, 2, NULL, NULL), 0);
}

static void a_degraded_open_skips_a_damaged_root(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct dp_root root, after;

	open_pool(f);
	make_root(f, "first");
	make_root(f, "second");
	close_pool(f);
	corrupt(f, 0, DP_ROOTS_OFFSET);
	assert_open_fails(f, -EUCLEAN, "root slot 0");
	look(f, 0, DP_ROOTS_OFFSET, &root, sizeof(root));
	open_degraded(f, 0);
	assert_int_equal(daxpin_root(f->pool, "second", &extent), 0);
	assert_int_equal(daxpin_root(f->pool, "first", &extent), -ENOENT);
	/* The name is published again, in another slot. */
	make_root(f, "first");
	assert_int_equal(daxpin_root(f->pool, "first", &extent), 0);
	dp_invariants(f->pool);
	close_pool(f);
	look(f, 0, DP_ROOTS_OFFSET, &after, sizeof(after));
	assert_memory_equal(&root, &after, sizeof(root));
}

static struct daxpin_extent rooted(struct fixture *f)
{
	struct daxpin_extent extent;

	open_pool(f);
	make_root(f, "name");
	assert_int_equal(daxpin_root(f->pool, "name", &extent), 0);
	close_pool(f);
	return extent;
}

static void assert_is_stale(struct fixture *f)
{
	struct daxpin_extent extent;

	dp_invariants(f->pool);
	assert_int_equal(daxpin_root(f->pool, "name", &extent), -ESTALE);
	close_pool(f);
	open_pool(f);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_root(f->pool, "name", &extent), -ESTALE);
	close_pool(f);
}

/* Keeps an extent in the blocks of `was`, with the generation that a root's word cannot
 * distinguish from that of `was`. */
static void reuse_generations(struct fixture *f, struct daxpin_extent was)
{
	struct daxpin_extent extent;

	for (;;) {
		extent = reserve(f, 4096);
		assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
		if (extent.addr == was.addr &&
		    !((extent.gen ^ was.gen) & DP_ROOT_GEN_MASK))
			return;
		assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	}
}

/* After a repair that has made the word of an extent FREE. */
static void a_stale_root_names_nothing_that_a_degraded_open_keeps(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent was = rooted(f);

	write_word(f, was.addr / (32 * MIB), was.addr / DP_BLOCK_SIZE % SEGMENT_BLOCKS,
		   (struct dp_word) { DP_KIND_FREE, 1, was.gen + 1, 0 });
	open_degraded(f, 0);
	reuse_generations(f, was);
	assert_is_stale(f);
}

/* Keeps objects until one is at that pool address, where one is free. */
static void keep_object_at(struct fixture *f, uint64_t at)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_KEEP };

	do {
		assert_int_equal(daxpin_object_reserve(f->pool, 64, 0,
						       &op.extent.addr), 0);
		assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	} while (op.extent.addr != at);
}

/* A root has no generation of an object, so the next one there would have the name. */
static void a_stale_root_names_no_object_that_a_degraded_open_keeps(void **state)
{
	struct fixture *f = *state;
	uint64_t offset = 600 * DP_BLOCK_SIZE + dp_slab_shape(3).first;

	put_slab(f, 1, 600, 3);
	put_object_root(f, 0, "name", offset);
	open_degraded(f, 0);
	keep_object_at(f, 32 * MIB + offset);
	assert_is_stale(f);
}

/* A repair may find the extent again. */
static void a_degraded_open_keeps_the_root_of_a_damaged_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent was = rooted(f), extent;
	uint32_t segment = was.addr / (32 * MIB);
	uint64_t at = word_at(was.addr / DP_BLOCK_SIZE % SEGMENT_BLOCKS), word;

	look(f, segment, at, &word, sizeof(word));
	corrupt(f, segment, at);
	open_degraded(f, 0);
	assert_int_equal(daxpin_root(f->pool, "name", &extent), -ESTALE);
	close_pool(f);
	patch(f, segment, at, &word, sizeof(word));
	open_pool(f);
	assert_int_equal(daxpin_root(f->pool, "name", &extent), 0);
	assert_int_equal(extent.addr, was.addr);
	close_pool(f);
}

/* The pool address of object i of the slab of class 3 at a block of segment 1. */
static uint64_t object_at(uint32_t block, uint32_t i)
{
	return addr_of(1, block) + dp_slab_shape(3).first + i * 64;
}

static void keep_1000_objects_outside(struct fixture *f, uint64_t begin, uint64_t end)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_KEEP };

	for (uint32_t i = 0; i < 1000; i++) {
		uint64_t *addr = &op.extent.addr;

		assert_int_equal(daxpin_object_reserve(f->pool, 64, 0, addr), 0);
		assert_false(*addr >= begin && *addr < end);
		assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	}
}

/* Objects 0 and 2 of the first slab are live, and 0 of the second one. */
static void a_damaged_slab_costs_only_its_objects(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent named;
	uint64_t size;

	put_slab(f, 1, 600, 3);
	put_bits(f, 1, 600, 0, 5);
	put_slab(f, 1, 700, 3);
	put_bits(f, 1, 700, 0, 1);
	put_object_root(f, 0, "name", object_at(600, 2) - addr_of(1, 0));
	corrupt(f, 1, slab_word_at(600, 0));
	assert_open_fails(f, -EUCLEAN, "slab at block 600, objects 0 to 46 of 64 bytes");
	open_degraded(f, 0);
	assert_int_equal(pool_info(f).quarantined_bytes, DP_SLAB_SIZE);
	assert_int_equal(daxpin_object_size(f->pool, object_at(600, 0), &size),
			 -EINVAL);
	assert_int_equal(daxpin_object_size(f->pool, object_at(700, 0), &size), 0);
	assert_int_equal(daxpin_root(f->pool, "name", &named), -ESTALE);
	keep_1000_objects_outside(f, addr_of(1, 600), addr_of(1, 616));
	dp_invariants(f->pool);
	close_pool(f);
	/* As a repair does, but with the objects that were live. */
	put_bits(f, 1, 600, 0, 5);
	open_pool(f);
	assert_int_equal(daxpin_object_size(f->pool, object_at(600, 0), &size), 0);
	assert_int_equal(daxpin_root(f->pool, "name", &named), 0);
	assert_int_equal(named.addr, object_at(600, 2));
	close_pool(f);
}

/* The slab is intact, so its objects are allocated, also in the block whose descriptor
 * word is damaged. */
static void a_stale_root_names_no_object_in_a_quarantined_block(void **state)
{
	struct fixture *f = *state;
	uint64_t at = object_at(600, (DP_BLOCK_SIZE - dp_slab_shape(3).first) / 64 + 3);
	struct daxpin_extent extent;

	put_slab(f, 1, 600, 3);
	put_object_root(f, 0, "name", at - addr_of(1, 0));
	corrupt(f, 1, word_at(601));
	open_degraded(f, 0);
	keep_object_at(f, at);
	dp_invariants(f->pool);
	close_pool(f);
	open_degraded(f, 0);
	assert_int_equal(daxpin_root(f->pool, "name", &extent), -ESTALE);
	close_pool(f);
}

static int fail_at_root(struct daxpin_pool *pool, const char *name,
			struct daxpin_extent extent, void *arg)
{
	(void)pool; (void)name; (void)extent; (void)arg;
	return 1;
}

/* The name may be right again later, as after an error of the medium. */
static void what_a_root_with_a_damaged_name_names_stays(void **state)
{
	struct daxpin_op op = { .type = DAXPIN_OP_OBJECT_FREE };
	struct fixture *f = *state;
	struct daxpin_publish_options options = {
		.size = sizeof(options), .errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};
	struct daxpin_extent extent;
	char was;

	put_slab(f, 1, 600, 3);
	put_bits(f, 1, 600, 0, 5);
	put_object_root(f, 0, "name", object_at(600, 2) - addr_of(1, 0));
	look(f, 0, DP_ROOTS_OFFSET, &was, 1);
	corrupt(f, 0, DP_ROOTS_OFFSET);
	open_degraded(f, 0);
	dp_invariants(f->pool);
	op.extent.addr = object_at(600, 2);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, &options, NULL), -EBUSY);
	assert_non_null(strstr(f->errmsg, "whose name is damaged"));
	assert_int_equal(daxpin_roots(f->pool, fail_at_root, NULL), 0);
	close_pool(f);
	patch(f, 0, DP_ROOTS_OFFSET, &was, 1);
	open_pool(f);
	assert_int_equal(daxpin_root(f->pool, "name", &extent), 0);
	assert_int_equal(extent.addr, object_at(600, 2));
	close_pool(f);
}

/* The block is behind the last segment. */
static void a_root_that_names_a_block_behind_the_pool_is_stale(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid), word;
	struct dp_root_word behind[] = {
		{ 3 * SEGMENT_BLOCKS + 700, 1, 0 }, { UINT32_MAX, 1, 0 },
	};

	rooted(f);
	for (size_t i = 0; i < 2; i++) {
		word = dp_root_encode(seed, 0, behind[i]);
		patch(f, 0, DP_ROOTS_OFFSET + offsetof(struct dp_root, word), &word,
		      sizeof(word));
		open_degraded(f, 0);
		assert_is_stale(f);
	}
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, closed_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_bad_word_quarantines_up_to_the_next_extent),
		TEST(a_bad_word_after_the_last_extent_quarantines_the_rest),
		TEST(a_lost_first_word_quarantines_its_extent),
		TEST(a_wiped_page_is_one_quarantine),
		TEST(overlapping_extents_are_both_quarantined),
		TEST(an_extent_past_the_end_is_quarantined_with_its_range),
		TEST(a_bad_word_inside_an_extent_quarantines_one_block),
		TEST(an_extent_in_a_hole_can_be_used),
		TEST(an_intact_pool_opens_without_quarantine),
		TEST(a_degraded_read_only_open_accepts_an_unclean_pool),
		TEST(a_check_allocates_no_page_in_a_hole),
		TEST(a_degraded_read_only_open_accepts_lost_superblocks),
		TEST(a_degraded_read_only_open_reads_through_open_lanes),
		TEST(a_degraded_read_only_open_skips_invalid_lane_entries),
		TEST(a_degraded_read_only_open_skips_damaged_lanes),
		TEST(a_degraded_open_skips_a_damaged_root),
		TEST(a_stale_root_names_nothing_that_a_degraded_open_keeps),
		TEST(a_stale_root_names_no_object_that_a_degraded_open_keeps),
		TEST(a_degraded_open_keeps_the_root_of_a_damaged_extent),
		TEST(a_damaged_slab_costs_only_its_objects),
		TEST(a_root_that_names_a_block_behind_the_pool_is_stale),
		TEST(a_stale_root_names_no_object_in_a_quarantined_block),
		TEST(what_a_root_with_a_damaged_name_names_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
