/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open for writing restores a lost superblock page from its copy. A page that a
 * power failure left half written is not damage.
 */
#include "media.h"
#include "forbid.h"
#include <sys/syscall.h>

#define HALF	sizeof(struct dp_super)

/* [page or copy][half], as on media. */
struct halves {
	struct dp_super half[2][2];
};

static const uint64_t place[2] = { DP_SUPER_OFFSET, DP_COPY_OFFSET };

static struct halves look_at_halves(struct fixture *f, uint32_t segment)
{
	struct halves halves;

	for (int i = 0; i < 2; i++)
		look(f, segment, place[i], halves.half[i], 2 * HALF);
	return halves;
}

/* The halves of all segments of a pool, all from one open. */
struct pool_halves {
	struct halves segment[3];
};

static struct pool_halves look_at_pool(struct fixture *f)
{
	struct pool_halves all;

	for (uint32_t i = 0; i < 3; i++)
		all.segment[i] = look_at_halves(f, i);
	return all;
}

static void put_halves(struct fixture *f, uint32_t segment,
		       const struct halves *halves)
{
	for (int i = 0; i < 2; i++)
		patch(f, segment, place[i], halves->half[i], 2 * HALF);
}

static void put_pool(struct fixture *f, const struct pool_halves *all)
{
	for (uint32_t i = 0; i < 3; i++)
		put_halves(f, i, &all->segment[i]);
}

/* Damages the halves whose bit is set: page 0, page 1, copy 0, copy 1. */
static void corrupt_halves(struct fixture *f, uint32_t segment, unsigned int mask)
{
	for (int i = 0; i < 4; i++)
		if (mask & 1u << i)
			corrupt(f, segment, place[i / 2] + i % 2 * HALF + 100);
}

/* The same rule, computed independently: the newest half that is not in the mask. */
static const struct dp_super *newest_but(const struct halves *halves,
					 unsigned int mask, bool *ret_from_copy)
{
	const struct dp_super *found = NULL;

	for (int i = 0; i < 4; i++) {
		const struct dp_super *half = &halves->half[i / 2][i % 2];

		if (mask & 1u << i || !dp_super_is_whole(half) ||
		    (found && half->sequence <= found->sequence))
			continue;
		found = half;
		*ret_from_copy = i / 2;
	}
	return found;
}

static void assert_settled(struct fixture *f, uint64_t epoch)
{
	struct halves halves = look_at_halves(f, 0);

	for (int i = 0; i < 2; i++) {
		assert_true(dp_super_is_whole(&halves.half[0][i]));
		assert_memory_equal(&halves.half[0][i], &halves.half[1][i],
				    HALF);
	}
	assert_int_equal(read_super(f, 0).epoch, epoch);
	assert_int_equal(read_super(f, 0).flags, 0);
}

static void open_restored(struct fixture *f, const struct dp_super *from,
			  bool from_copy)
{
	open_pool(f);
	/* D15: greater than that of every segment. */
	assert_int_equal(pool_info(f).epoch, from->epoch + 1);
	assert_int_equal(pool_info(f).unclean,
			 from_copy || from->flags & DP_SUPER_UNCLEAN);
	assert_int_equal(read_super(f, 0).flags, DP_SUPER_UNCLEAN);
	close_pool(f);
	open_pool(f);
	assert_int_equal(pool_info(f).unclean, 0);
	close_pool(f);
	assert_settled(f, from->epoch + 2);
}

/* One subset of the four halves is damaged. */
static void try_one(struct fixture *f, const struct pool_halves *whole,
		    unsigned int mask)
{
	bool from_copy = false;
	const struct dp_super *from = newest_but(&whole->segment[0], mask,
						 &from_copy);

	put_pool(f, whole);
	corrupt_halves(f, 0, mask);
	if (!from) {
		assert_open_fails(f, -EUCLEAN, "superblock at offset 0x0");
		return;
	}
	f->options.flags = DAXPIN_POOL_READONLY;
	if (from_copy) {
		assert_open_fails(f, -EUCLEAN, "for writing once");
		assert_says(f, "its copy is whole");
	} else if (from->flags & DP_SUPER_UNCLEAN) {
		assert_open_fails(f, -EUCLEAN, "for writing once");
	} else {
		open_pool(f);
		close_pool(f);
	}
	f->options.flags = 0;
	open_restored(f, from, from_copy);
}

static void every_subset_of_damaged_halves_is_restored_or_refused(void **state)
{
	struct fixture *f = *state;
	struct pool_halves whole = look_at_pool(f);

	need_no_verbs();
	for (unsigned int mask = 0; mask < 16; mask++)
		try_one(f, &whole, mask);
}

/* The half that the next open writes first. */
static struct dp_super next_opening(const struct dp_super *last)
{
	struct dp_super next = *last;

	next.sequence++;
	next.before_epoch = next.epoch++;
	next.before_open_id = next.open_id++;
	next.flags = DP_SUPER_UNCLEAN | DP_SUPER_OPENING;
	dp_super_seal(&next);
	return next;
}

/* The power failed between page and copy, so the page is one change ahead. */
static void every_subset_is_handled_if_the_copy_is_one_change_behind(void **state)
{
	struct fixture *f = *state;
	struct pool_halves whole = look_at_pool(f);
	bool in_copy;
	struct dp_super next = next_opening(
		newest_but(&whole.segment[0], 0, &in_copy));

	need_no_verbs();
	whole.segment[0].half[0][next.sequence & 1] = next;
	for (unsigned int mask = 0; mask < 16; mask++)
		try_one(f, &whole, mask);
}

/* Every cut of one change, torn at any of its cache lines, opens without a report. */
static void torn_changes_are_no_damage(void **state)
{
	struct fixture *f = *state;
	struct pool_halves whole = look_at_pool(f), cut;
	bool in_copy, whole_half;
	struct dp_super last = *newest_but(&whole.segment[0], 0, &in_copy);
	struct dp_super next = next_opening(&last);

	for (int copy = 0; copy < 2; copy++) {
		for (size_t at = 0; at <= HALF; at += 256) {
			struct halves *first = &cut.segment[0];

			cut = whole;
			if (copy)
				first->half[0][next.sequence & 1] = next;
			memcpy(&first->half[copy][next.sequence & 1], &next,
			       at);
			put_pool(f, &cut);
			open_pool(f);
			/* The segments are those of the undamaged pool. */
			whole_half = at >= offsetof(struct dp_super, segment_set);
			assert_int_equal(pool_info(f).unclean, copy || whole_half);
			assert_int_equal(pool_info(f).epoch, last.epoch + 1 +
					 (copy || whole_half));
			close_pool(f);
		}
	}
}

static void an_unknown_owner_is_cleared_after_the_wait(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 0);
	uint64_t epoch = super.epoch;

	need_no_verbs();
	super.flags = DP_SUPER_UNCLEAN | DP_SUPER_OWNER_UNKNOWN;
	write_super(f, 0, super);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, "for writing once");
	f->options.flags = 0;
	/* The flag is kept as long as an open fails for another reason. */
	corrupt(f, 1, word_at(1000));
	assert_open_fails(f, -EUCLEAN, "descriptor table");
	assert_true(read_super(f, 0).flags & DP_SUPER_OWNER_UNKNOWN);
	corrupt(f, 1, word_at(1000));
	open_pool(f);
	assert_int_equal(read_super(f, 0).flags, DP_SUPER_UNCLEAN);
	assert_int_equal(pool_info(f).epoch, epoch + 1);
	close_pool(f);
}

/* Whether any RDMA is in use cannot be determined, so the open does not guess. */
static void a_lost_record_is_busy_if_rdma_cannot_be_queried(void **state)
{
	struct fixture *f = *state;

	need_no_verbs();
	corrupt_halves(f, 0, 3);
	assert_busy_without_sockets(f, child_opens);
	open_pool(f);
	close_pool(f);
}

/* ----------------------------------------------------------- later segments */

static void later_segments_are_restored_too(void **state)
{
	struct fixture *f = *state;
	char zero[DP_SUPER_SIZE] = "";
	struct dp_super before = read_super(f, 2), after;

	patch(f, 2, DP_SUPER_OFFSET, zero, sizeof(zero));
	corrupt_halves(f, 1, 3);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, "segment 1");
	assert_says(f, "for writing once");
	f->options.flags = 0;
	open_pool(f);
	/* It records no owner, so the pool counts as clean, as before. */
	assert_int_equal(pool_info(f).unclean, 0);
	close_pool(f);
	after = read_super(f, 2);
	assert_int_equal(after.sequence, before.sequence + 2);
	assert_int_equal(after.epoch, before.epoch + 1);
	after.sequence = before.sequence;
	after.epoch = before.epoch;
	after.open_id = before.open_id;
	dp_super_seal(&after);
	assert_memory_equal(&after, &before, sizeof(after));
	f->options.flags = DAXPIN_POOL_READONLY;
	open_pool(f);
	close_pool(f);
}

/* Nothing is stored before all checks have passed, not even restored superblocks. */
static void nothing_is_restored_when_the_open_fails(void **state)
{
	struct fixture *f = *state;

	need_no_verbs();
	corrupt_halves(f, 0, 3);
	corrupt_halves(f, 1, 3);
	corrupt(f, 2, word_at(8191));
	assert_open_fails(f, -EUCLEAN, "segment 2, descriptor table");
	corrupt(f, 2, word_at(8191));
	open_pool(f);
	close_pool(f);
}

static void the_copy_of_another_pool_is_not_restored(void **state)
{
	struct fixture *f = *state;
	struct dp_super super = read_super(f, 1);

	super.uuid[3] ^= 1;
	write_super(f, 1, super);
	corrupt_halves(f, 1, 3);
	assert_open_fails(f, -EUCLEAN, "another segment of this one");
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, closed_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_subset_of_damaged_halves_is_restored_or_refused),
		TEST(every_subset_is_handled_if_the_copy_is_one_change_behind),
		TEST(torn_changes_are_no_damage),
		TEST(an_unknown_owner_is_cleared_after_the_wait),
		TEST(a_lost_record_is_busy_if_rdma_cannot_be_queried),
		TEST(later_segments_are_restored_too),
		TEST(nothing_is_restored_when_the_open_fails),
		TEST(the_copy_of_another_pool_is_not_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
