/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A repair leaves a clean pool that opens, and a backup that restores every byte that
 * was there. The repair loses data only if the callback agrees.
 */
#include "child.h"
#include "findings.h"
#include "pool/blocks.h"
#include "forbid.h"
#include "check/patch.h"
#include "media/super.h"
#include <sys/resource.h>
#include <sys/syscall.h>

static bool has_backup(struct fixture *f)
{
	char path[128];

	backup_path(f, path);
	return !access(path, F_OK);
}

static int try_repair(struct fixture *f, int answer, struct findings *found)
{
	char path[128];

	backup_path(f, path);
	memset(found, 0, sizeof(*found));
	found->summary.size = sizeof(found->summary);
	found->answer = answer;
	f->errmsg[0] = '\0';
	return daxpin_repair(f->path, &f->options, path, collect, found,
			     &found->summary);
}

static void repair_pool(struct fixture *f, int answer, uint32_t repaired)
{
	struct findings found;
	int ret = try_repair(f, answer, &found);

	if (ret)
		fail_msg("repair: %d, %s", ret, f->errmsg);
	assert_int_equal(found.summary.repaired, repaired);
	assert_int_equal(has_backup(f), repaired > 0);
}

/* Asserts that the repair fails and leaves the pool as it is. */
static void repair_fails(struct fixture *f, int error, const char *words)
{
	uint64_t before = fingerprint(f->path);
	struct findings found;

	assert_int_equal(try_repair(f, 1, &found), error);
	assert_says(f, words);
	assert_int_equal(fingerprint(f->path), before);
}

static int try_undo(struct fixture *f)
{
	char path[128];

	backup_path(f, path);
	f->errmsg[0] = '\0';
	return daxpin_repair_undo(f->path, &f->options, path);
}

static void undo(struct fixture *f)
{
	int ret = try_undo(f);

	if (ret)
		fail_msg("undo: %d, %s", ret, f->errmsg);
}

static void undo_fails(struct fixture *f, int error, const char *words)
{
	uint64_t before = fingerprint(f->path);

	assert_int_equal(try_undo(f), error);
	assert_says(f, words);
	assert_int_equal(fingerprint(f->path), before);
}

static void forget_backup(struct fixture *f)
{
	char path[128];

	backup_path(f, path);
	assert_int_equal(unlink(path), 0);
}

static void read_patches(struct fixture *f, struct dp_patches *patches)
{
	char path[128], *text = malloc(8 * MIB);

	assert_non_null(text);
	backup_path(f, path);
	assert_true(dp_os_read_file(path, text, 8 * MIB) > 0);
	assert_int_equal(dp_patches_parse(patches, text, NULL), 0);
	free(text);
}

/* Writes a second backup, which the test does not use. */
static void repair_again(struct fixture *f)
{
	struct findings found = {
		.answer = 1, .summary.size = sizeof(found.summary),
	};
	char path[128];
	int ret;

	backup_path(f, path);
	strcat(path, "2");
	ret = daxpin_repair(f->path, &f->options, path, collect, &found,
			    &found.summary);
	unlink(path);
	assert_int_equal(ret, 0);
}

static void apply(struct fixture *f, const struct dp_patches *patches,
		  size_t count)
{
	for (size_t i = 0; i < count; i++)
		patch(f, patches->patch[i].segment, patches->patch[i].offset,
		      patches->patch[i].new, patches->patch[i].length);
}

/*
 * The power fails between any two changes. If that leaves damage, a second repair
 * completes the first, with other sequence numbers but at the same offsets.
 */
static void check_every_cut(struct fixture *f, uint64_t all_before,
			    uint64_t all_after)
{
	uint64_t done = metadata_fingerprint(f->path), before;
	struct dp_patches patches;

	read_patches(f, &patches);
	undo(f);
	assert_int_equal(fingerprint(f->path), all_before);
	before = metadata_fingerprint(f->path);
	for (size_t cut = 0; cut <= patches.count; cut++) {
		undo(f);
		assert_int_equal(metadata_fingerprint(f->path), before);
		apply(f, &patches, cut);
		repair_again(f);
		assert_clean(f);
		apply(f, &patches, patches.count);
		assert_int_equal(metadata_fingerprint(f->path), done);
	}
	assert_int_equal(fingerprint(f->path), all_after);
	dp_patches_fini(&patches);
}

/* Refuses the loss, repairs, undoes, repairs again, and opens the pool. */
static void repair_and_open(struct fixture *f, bool lossy)
{
	uint64_t before = fingerprint(f->path), after;

	if (lossy) {
		repair_pool(f, 0, 0);
		assert_int_equal(fingerprint(f->path), before);
	}
	repair_pool(f, lossy, 1);
	assert_clean(f);
	after = fingerprint(f->path);
	assert_int_not_equal(after, before);
	undo(f);
	assert_int_equal(fingerprint(f->path), before);
	/* A second undo is harmless: the first may have been interrupted. */
	undo(f);
	assert_int_equal(fingerprint(f->path), before);
	forget_backup(f);
	repair_pool(f, lossy, 1);
	assert_int_equal(fingerprint(f->path), after);
	check_every_cut(f, before, after);
	open_pool(f);
	dp_invariants(f->pool);
	close_pool(f);
	assert_clean(f);
}

/* ------------------------------------------------------------- superblocks */

static void lost_superblock_pages_are_restored(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	need_no_verbs();
	corrupt_page(f, 0, DP_SUPER_OFFSET);
	repair_and_open(f, false);
	/*
	 * D15: the repair counts as an open and takes a new epoch, and so does the open
	 * that follows.
	 */
	assert_int_equal(read_super(f, 0).epoch, super.epoch + 2);
	assert_int_equal(read_super(f, 0).flags, 0);
}

static void a_superblock_page_older_than_its_copy_is_restored(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);

	need_no_verbs();
	corrupt(f, 0, (super.sequence & 1) * sizeof(super) + 100);
	repair_and_open(f, false);
	assert_int_equal(read_super(f, 0).epoch, super.epoch + 2);
}

/* After a cut the page is either still lost or has the new epoch. */
static void an_interrupted_repair_uses_no_epoch_twice(void **state)
{
	struct fixture *f = *state;
	uint64_t epoch = read_super(f, 0).epoch;
	char page[3][2][DP_SUPER_SIZE];
	struct dp_patches patches;

	need_no_verbs();
	corrupt_page(f, 0, DP_SUPER_OFFSET);
	for (uint32_t i = 0; i < 6; i++)
		look(f, i / 2, dp_super_offset[i % 2], page[i / 2][i % 2],
		     DP_SUPER_SIZE);
	repair_pool(f, 0, 1);
	read_patches(f, &patches);
	assert_int_equal(patches.count, 3);
	for (size_t cut = 0; cut <= patches.count; cut++) {
		for (uint32_t i = 0; i < 6; i++)
			patch(f, i / 2, dp_super_offset[i % 2],
			      page[i / 2][i % 2], DP_SUPER_SIZE);
		apply(f, &patches, cut);
		open_pool(f);
		assert_int_equal(pool_info(f).epoch, epoch + 1 + (cut > 0));
		assert_int_equal(pool_info(f).unclean, 1);
		close_pool(f);
	}
	dp_patches_fini(&patches);
}

static void a_lost_superblock_copy_is_restored(void **state)
{
	struct fixture *f = *state;
	struct dp_super half[2][2];

	corrupt_page(f, 0, DP_COPY_OFFSET);
	repair_and_open(f, false);
	look(f, 0, DP_SUPER_OFFSET, half[0], DP_SUPER_SIZE);
	look(f, 0, DP_COPY_OFFSET, half[1], DP_SUPER_SIZE);
	assert_memory_equal(half[0], half[1], DP_SUPER_SIZE);
}

/* Tools that copy only changed files compare the times: see pool_epoch.c. */
static void a_repair_sets_the_time_of_the_file_that_it_writes_to(void **state)
{
	struct fixture *f = *state;

	corrupt_page(f, 1, DP_SUPER_OFFSET);
	make_files_old(f);
	repair_pool(f, 0, 1);
	assert_int_equal(count_old_files(f), 2);
	make_files_old(f);
	undo(f);
	assert_int_equal(count_old_files(f), 2);
}

static void superblocks_of_later_segments_are_restored(void **state)
{
	struct fixture *f = *state;

	corrupt_page(f, 1, DP_SUPER_OFFSET);
	repair_and_open(f, false);
	forget_backup(f);
	corrupt_page(f, 2, DP_COPY_OFFSET);
	repair_and_open(f, false);
}

static void a_lost_superblock_is_derived_from_segment_0(void **state)
{
	struct fixture *f = *state;
	struct dp_super before = read_super(f, 2), after;
	char zero[DP_SUPER_SIZE] = "";

	patch(f, 2, DP_SUPER_OFFSET, zero, sizeof(zero));
	patch(f, 2, DP_COPY_OFFSET, zero, sizeof(zero));
	repair_pool(f, 1, 1);
	after = read_super(f, 2);
	before.sequence = 1;
	dp_super_seal(&before);
	assert_memory_equal(&before, &after, sizeof(before));
	undo(f);
	forget_backup(f);
	repair_and_open(f, true);
}

static void damage_without_a_cure_is_left_as_it_is(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	corrupt_page(f, 0, DP_SUPER_OFFSET);
	corrupt_page(f, 0, DP_COPY_OFFSET);
	before = fingerprint(f->path);
	repair_pool(f, 1, 0);
	assert_int_equal(fingerprint(f->path), before);
}

/* ------------------------------------------------------------------ tables */

static void damaged_words_inside_an_extent_are_rebuilt(void **state)
{
	struct fixture *f = *state;
	struct dp_word word;
	uint64_t raw, seed = dp_layout_seed(read_super(f, 0).uuid);

	put_extent(f, 1, 600, 8);
	write_word(f, 1, 3000, (struct dp_word) { DP_KIND_FREE, 1, 70000, 0 });
	write_raw(f, 1, 603, 0);
	write_raw(f, 1, 604, ~0ull);
	repair_and_open(f, false);
	look(f, 1, word_at(603), &raw, sizeof(raw));
	assert_true(dp_word_decode(seed, 8192 + 603, raw, &word));
	assert_int_equal(word.kind, DP_KIND_FREE);
	/* No other extent has had this generation. */
	assert_int_equal(word.gen, 70001);
}

/* D14: the rebuilt word has a generation that no root names. */
static void a_rebuilt_word_does_not_revive_a_root(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct dp_word word;
	uint64_t raw, seed = dp_layout_seed(read_super(f, 0).uuid);
	uint32_t segment, block;

	open_pool(f);
	make_root(f, "index");
	assert_int_equal(daxpin_root(f->pool, "index", &extent), 0);
	close_pool(f);
	segment = extent.addr / (32 * MIB);
	block = extent.addr % (32 * MIB) / DP_BLOCK_SIZE;
	write_word(f, segment, 3000, (struct dp_word) {
		   DP_KIND_FREE, 1, 70000, 0 });
	write_raw(f, segment, block, 0);
	repair_and_open(f, true);
	look(f, segment, word_at(block), &raw, sizeof(raw));
	assert_true(dp_word_decode(seed, segment * 8192 + block, raw, &word));
	assert_int_equal(word.gen & DP_ROOT_GEN_MASK,
			 (extent.gen + 1) & DP_ROOT_GEN_MASK);
	open_pool(f);
	assert_int_equal(daxpin_root(f->pool, "index", &extent), -ESTALE);
	close_pool(f);
}

static void damaged_words_in_free_space_are_freed_with_consent(void **state)
{
	struct fixture *f = *state;

	put_extent(f, 1, 600, 8);
	put_extent(f, 1, 2000, 1);
	write_raw(f, 1, 1000, 0);
	write_raw(f, 1, 1500, 0);
	repair_and_open(f, true);
	open_pool(f);
	assert_int_equal(pool_info(f).free_bytes, 90 * MIB - 9 * DP_BLOCK_SIZE);
	close_pool(f);
}

static bool exists(struct fixture *f, uint32_t segment, uint32_t block)
{
	struct daxpin_extent extent;

	return !daxpin_extent_at(f->pool, addr_of(segment, block), &extent);
}

static void the_first_of_overlapping_extents_is_kept(void **state)
{
	struct fixture *f = *state;

	put_extent(f, 1, 600, 100);
	put_extent(f, 1, 650, 100);
	put_extent(f, 1, 660, 1);
	put_extent(f, 1, 740, 50);
	repair_and_open(f, true);
	open_pool(f);
	assert_true(exists(f, 1, 600));
	assert_false(exists(f, 1, 650));
	assert_false(exists(f, 1, 660));
	assert_true(exists(f, 1, 740));
	close_pool(f);
}

static void extents_past_the_segments_end_are_removed_with_consent(void **state)
{
	struct fixture *f = *state;

	put_extent(f, 0, 8191, 2);
	repair_and_open(f, true);
}

/*
 * W7: the extent is intact, so no loss is proposed, even to a callback that agrees to
 * everything.
 */
static void extents_in_holes_are_not_repaired(void **state)
{
	struct fixture *f = *state;

	put_extent(f, 2, 1500, 100);
	punch(f, 2, 6 * MIB);
	repair_pool(f, 1, 0);
	open_pool(f);
	assert_true(exists(f, 2, 1500));
	close_pool(f);
}

static uint32_t allocations;
static bool has_no_data;

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
	return has_no_data ? 0 : __real_dp_os_seek_data(fd, size, fn, arg);
}

int __real_dp_blocks_allocate(struct dp_blocks *blocks,
			      struct dp_blocks_range range);
int __wrap_dp_blocks_allocate(struct dp_blocks *blocks,
			      struct dp_blocks_range range);
int __wrap_dp_blocks_allocate(struct dp_blocks *blocks,
			      struct dp_blocks_range range)
{
	allocations += !range.offset && range.size == DP_CHUNK_SIZE;
	return __real_dp_blocks_allocate(blocks, range);
}

/*
 * A store to a hole needs a new block, and is SIGBUS if there is none. A check on shmem
 * allocates pages by its own loads. So this test only makes the library find holes, and
 * counts how often it allocates the metadata's blocks.
 */
static void metadata_is_allocated_before_it_is_repaired(void **state)
{
	struct fixture *f = *state;
	char zero[DP_BLOCK_SIZE] = "";

	put_extent(f, 1, 1000, 100);
	patch(f, 1, word_at(1024), zero, sizeof(zero));
	/* A file on shmem without a hole is not searched. */
	punch(f, 1, 10 * MIB);
	allocations = 0;
	has_no_data = true;
	repair_pool(f, 1, 2);
	has_no_data = false;
	assert_int_equal(allocations, 1);
}

static void a_wiped_page_of_words_is_rewritten(void **state)
{
	struct fixture *f = *state;
	char zero[DP_BLOCK_SIZE] = "";
	uint64_t before;

	put_extent(f, 1, 1000, 100);
	patch(f, 1, word_at(1024), zero, sizeof(zero));
	before = fingerprint(f->path);
	/*
	 * The words inside the extent are rewritten without a loss, the others only
	 * with consent.
	 */
	repair_pool(f, 0, 1);
	undo(f);
	assert_int_equal(fingerprint(f->path), before);
	forget_backup(f);
	repair_pool(f, 1, 2);
	assert_clean(f);
	open_pool(f);
	assert_true(exists(f, 1, 1000));
	dp_invariants(f->pool);
	close_pool(f);
}

static void a_repair_does_not_write_to_poison(void **state)
{
	struct fixture *f = *state;
	uint64_t before, raw;

	put_poison(f, 1, word_at(1024));
	before = fingerprint(f->path);
	repair_pool(f, 1, 0);
	assert_int_equal(fingerprint(f->path), before);
	/* The poisoned page and a word that can be repaired lie in the same range. */
	write_raw(f, 1, 1000, 0);
	repair_pool(f, 1, 1);
	look(f, 1, word_at(1000), &raw, sizeof(raw));
	assert_int_not_equal(raw, 0);
	write_word(f, 1, 1000, free_word);
	assert_int_equal(fingerprint(f->path), before);
}

/* -------------------------------------------------------- lanes and roots */

static void torn_lanes_are_emptied(void **state)
{
	struct fixture *f = *state;
	uint64_t at = DP_LANES_OFFSET + 5 * DP_BLOCK_SIZE;
	struct dp_patches patches;
	struct dp_lane lane;
	uint32_t count = 3;

	patch(f, 0, at + offsetof(struct dp_lane, count), &count,
	      sizeof(count));
	repair_and_open(f, false);
	look(f, 0, at, &lane, sizeof(lane));
	assert_int_equal(lane.count, 0);
	assert_int_equal(lane.sequence, lane.done);
	/* The sequence number of the torn batch is used up first (lane.c). */
	assert_int_equal(lane.done, 1);
	read_patches(f, &patches);
	assert_int_equal(patches.count, 2);
	assert_int_equal(patches.patch[0].offset,
			 at + offsetof(struct dp_lane, done));
	assert_int_equal(patches.patch[1].offset, at);
	dp_patches_fini(&patches);
}

static void damaged_lanes_are_emptied(void **state)
{
	struct fixture *f = *state;
	uint64_t at = DP_LANES_OFFSET + 5 * DP_BLOCK_SIZE, done = 99;
	struct dp_lane_entry entry = { 8, 1 };
	struct dp_lane lane;

	patch(f, 0, at + offsetof(struct dp_lane, done), &done, sizeof(done));
	repair_and_open(f, true);
	look(f, 0, at, &lane, sizeof(lane));
	assert_int_equal(lane.done, 100);
	forget_backup(f);
	put_open_lane(f, 6, &entry, 1);
	repair_and_open(f, true);
}

/* A word that an open lane will write is left to the open, which replays the lane. */
static void open_lanes_are_left_for_the_next_open(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = dp_layout_seed(read_super(f, 0).uuid), before;
	struct dp_lane_entry entry = {
		addr_of(1, 0) + word_at(1000),
		dp_word_encode(seed, 8192 + 1000, free_word)
	};

	write_raw(f, 1, 1000, 0);
	put_open_lane(f, 0, &entry, 1);
	before = fingerprint(f->path);
	repair_pool(f, 1, 0);
	assert_int_equal(fingerprint(f->path), before);
	write_raw(f, 2, 2000, 0);
	repair_and_open(f, true);
}

static void damaged_roots_are_cleared(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;

	open_pool(f);
	make_root(f, "one");
	make_root(f, "two");
	close_pool(f);
	corrupt(f, 0, DP_ROOTS_OFFSET + offsetof(struct dp_root, word));
	repair_and_open(f, true);
	forget_backup(f);
	corrupt(f, 0, DP_ROOTS_OFFSET + sizeof(struct dp_root));
	repair_and_open(f, true);
	open_pool(f);
	assert_int_equal(daxpin_root(f->pool, "one", &extent), -ENOENT);
	assert_int_equal(daxpin_root(f->pool, "two", &extent), -ENOENT);
	close_pool(f);
}

/* --------------------------------------------------- what prevents a repair */

static void repair_of_a_clean_pool_changes_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t before = fingerprint(f->path);

	repair_pool(f, 1, 0);
	assert_int_equal(fingerprint(f->path), before);
}

static void repair_of_an_open_pool_is_busy(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, child_opens, NULL);

	assert_int_equal(child.result, 0);
	repair_fails(f, -EBUSY, "is open in process");
	kill_child(&child);
	/* Once the owner is dead, the repair works. */
	repair_pool(f, 1, 0);
	f->options.flags = DAXPIN_POOL_READONLY | DAXPIN_POOL_DEGRADED;
	child = start_child(f, child_opens, NULL);
	f->options.flags = 0;
	assert_int_equal(child.result, 0);
	repair_fails(f, -EBUSY, "");
	kill_child(&child);
}

static int child_repairs(struct fixture *f)
{
	struct findings found;

	return try_repair(f, 1, &found);
}

static void repair_is_busy_if_the_owner_cannot_be_determined(void **state)
{
	struct fixture *f = *state;

	need_no_verbs();
	corrupt_page(f, 0, DP_SUPER_OFFSET);
	assert_busy_without_sockets(f, child_repairs);
	assert_false(has_backup(f));
}

static int stop_at_damage(const struct daxpin_finding *finding, void *arg)
{
	(void)arg;
	return finding->severity == DAXPIN_SEVERITY_DAMAGE &&
	       finding->segment == 2 ? -ECANCELED : 1;
}

/* Nothing is stored until the callback has agreed to all of it. */
static void a_callback_can_stop_the_repair(void **state)
{
	struct fixture *f = *state;
	struct daxpin_check_summary summary = { .size = sizeof(summary) };
	uint64_t before;
	char path[128];

	backup_path(f, path);
	write_raw(f, 1, 1000, 0);
	write_raw(f, 2, 1000, 0);
	before = fingerprint(f->path);
	assert_int_equal(daxpin_repair(f->path, &f->options, path,
				       stop_at_damage, NULL, &summary),
			 -ECANCELED);
	assert_int_equal(fingerprint(f->path), before);
	assert_false(has_backup(f));
}

/* ------------------------------------------------------------- the backup */

static void a_repair_that_cannot_write_its_backup_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char path[128];
	int fd;

	write_raw(f, 1, 1000, 0);
	backup_path(f, path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	repair_fails(f, -EEXIST, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	repair_fails(f, -EEXIST, path);
	assert_int_equal(rmdir(path), 0);
}

/*
 * In a child with a file size limit, which SIGXFSZ would kill. The limit is lifted
 * again before the child flushes its output.
 */
static int repair_with_small_files(void *arg)
{
	struct fixture *f = arg;
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit))
		return 1;
	limit.rlim_cur = 16;
	if (setrlimit(RLIMIT_FSIZE, &limit))
		return 2;
	repair_fails(f, -EFBIG, "RLIMIT_FSIZE is 16:");
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_FSIZE, &limit) || has_backup(f) ? 3 : 0;
}

static void a_backup_above_the_file_size_limit_is_efbig_without_a_signal(void **state)
{
	struct fixture *f = *state;

	need_no_verbs();
	corrupt_page(f, 0, DP_SUPER_OFFSET);
	assert_int_equal(run_child(repair_with_small_files, f), 0);
	repair_pool(f, 0, 1);
}

static void undo_is_refused_if_the_pool_was_opened_since(void **state)
{
	struct fixture *f = *state;

	need_no_verbs();
	corrupt_page(f, 0, DP_SUPER_OFFSET);
	repair_pool(f, 0, 1);
	open_pool(f);
	close_pool(f);
	undo_fails(f, -EUCLEAN, "written to since the repair");
}

static void another_pools_backup_is_refused(void **state)
{
	struct fixture *f = *state;
	struct dp_super super;

	write_raw(f, 1, 1000, 0);
	repair_pool(f, 1, 1);
	super = read_super(f, 0);
	super.uuid[15] ^= 1;
	write_super(f, 0, super);
	undo_fails(f, -EUCLEAN, "of another pool");
}

/* A backup is refused with any byte changed, and cut at any length. */
static void a_damaged_backup_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128], text[1024], other[1024];
	struct dp_patches patches;
	int length;

	write_raw(f, 1, 1000, 0x1122334455667788);
	repair_pool(f, 1, 1);
	backup_path(f, path);
	length = dp_os_read_file(path, text, sizeof(text));
	assert_true(length > 100);
	assert_int_equal(dp_patches_parse(&patches, text, NULL), 0);
	assert_int_equal(patches.count, 1);
	dp_patches_fini(&patches);
	for (int i = 0; i < length; i++) {
		memcpy(other, text, sizeof(text));
		other[i] ^= 1;
		assert_int_equal(dp_patches_parse(&patches, other, NULL),
				 -EINVAL);
		memcpy(other, text, sizeof(text));
		other[i] = '\0';
		assert_int_equal(dp_patches_parse(&patches, other, NULL),
				 -EINVAL);
	}
	assert_int_equal(truncate(path, length - 1), 0);
	undo_fails(f, -EINVAL, "the backup file is damaged");
	forget_backup(f);
	undo_fails(f, -ENOENT, path);
}

static void undo_from_fails(struct fixture *f, const char *backup, int error,
			    const char *words)
{
	uint64_t before = fingerprint(f->path);

	f->errmsg[0] = '\0';
	assert_int_equal(daxpin_repair_undo(f->path, &f->options, backup),
			 error);
	assert_says(f, words);
	assert_int_equal(fingerprint(f->path), before);
}

/* An undo would store the content of the backup to the pool. */
static void a_backup_that_others_can_write_is_refused(void **state)
{
	struct fixture *f = *state;
	char path[128], other[140];

	write_raw(f, 1, 1000, 0);
	repair_pool(f, 1, 1);
	backup_path(f, path);
	snprintf(other, sizeof(other), "%s.other", path);
	assert_int_equal(symlink(path, other), 0);
	undo_from_fails(f, other, -EINVAL, "symbolic link");
	assert_int_equal(unlink(other), 0);
	assert_int_equal(mkfifo(other, 0600), 0);
	undo_from_fails(f, other, -EINVAL, "is a FIFO");
	assert_int_equal(unlink(other), 0);
	undo_from_fails(f, f->path, -EINVAL, "is a directory");
	assert_int_equal(chmod(path, 0666), 0);
	undo_from_fails(f, path, -EPERM, "every user can write to");
	f->options.flags = DAXPIN_POOL_ANY_OWNER;
	undo(f);
	f->options.flags = 0;
}

/* Closing a descriptor of an open pool's file would drop the owner's alive byte. */
static void a_file_of_an_open_pool_is_refused_as_a_backup(void **state)
{
	struct fixture *f = *state;
	struct flock byte = { .l_type = F_WRLCK, .l_len = 1 };
	struct daxpin_pool_options options = f->options;
	struct daxpin_pool *other = NULL;
	char path[128], file[150];
	int status, fd;

	snprintf(path, sizeof(path), "%s/other", f->path);
	snprintf(file, sizeof(file), "%s/segment.0000", path);
	options.pool_size = options.segment_size = 32 * MIB;
	assert_int_equal(daxpin_pool_create(path, &options, &other), 0);
	undo_from_fails(f, file, -EBUSY, "this process has open");
	if (!fork()) {
		fd = open(file, O_RDWR);
		_exit(fcntl(fd, F_GETLK, &byte) || byte.l_type == F_UNLCK);
	}
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
	assert_int_equal(daxpin_pool_close(other), 0);
}

/* A repair can be undone by hand: docs/format.md says how. */
static void a_backup_is_text_that_a_person_can_read(void **state)
{
	struct fixture *f = *state;
	char path[128], text[1024];

	write_raw(f, 1, 1000, 0x1122334455667788);
	repair_pool(f, 1, 1);
	backup_path(f, path);
	assert_true(dp_os_read_file(path, text, sizeof(text)) > 0);
	assert_non_null(strstr(text, "daxpin backup 1\nuuid "));
	assert_non_null(strstr(text, "segment 1 offset 0xf1a38 length 8\n"
			       "old 8877665544332211\nnew "));
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, closed_setup, backup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lost_superblock_pages_are_restored),
		TEST(a_superblock_page_older_than_its_copy_is_restored),
		TEST(an_interrupted_repair_uses_no_epoch_twice),
		TEST(a_lost_superblock_copy_is_restored),
		TEST(a_repair_sets_the_time_of_the_file_that_it_writes_to),
		TEST(superblocks_of_later_segments_are_restored),
		TEST(a_lost_superblock_is_derived_from_segment_0),
		TEST(damage_without_a_cure_is_left_as_it_is),
		TEST(damaged_words_inside_an_extent_are_rebuilt),
		TEST(a_rebuilt_word_does_not_revive_a_root),
		TEST(damaged_words_in_free_space_are_freed_with_consent),
		TEST(the_first_of_overlapping_extents_is_kept),
		TEST(extents_past_the_segments_end_are_removed_with_consent),
		TEST(extents_in_holes_are_not_repaired),
		TEST(metadata_is_allocated_before_it_is_repaired),
		TEST(a_wiped_page_of_words_is_rewritten),
		TEST(a_repair_does_not_write_to_poison),
		TEST(torn_lanes_are_emptied),
		TEST(damaged_lanes_are_emptied),
		TEST(open_lanes_are_left_for_the_next_open),
		TEST(damaged_roots_are_cleared),
		TEST(repair_of_a_clean_pool_changes_nothing),
		TEST(repair_of_an_open_pool_is_busy),
		TEST(repair_is_busy_if_the_owner_cannot_be_determined),
		TEST(a_callback_can_stop_the_repair),
		TEST(a_repair_that_cannot_write_its_backup_changes_nothing),
		TEST(a_backup_above_the_file_size_limit_is_efbig_without_a_signal),
		TEST(undo_is_refused_if_the_pool_was_opened_since),
		TEST(another_pools_backup_is_refused),
		TEST(a_backup_that_others_can_write_is_refused),
		TEST(a_file_of_an_open_pool_is_refused_as_a_backup),
		TEST(a_damaged_backup_is_refused),
		TEST(a_backup_is_text_that_a_person_can_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
