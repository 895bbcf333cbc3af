/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Publishes of several operations, SET, and roots: what is allowed, the error of each
 * mistake, that a refused batch changes nothing, what a reopen finds, and many threads.
 * What power failures do to them is tested in tests/sim.
 */
#include <pthread.h>
#include "media.h"
#include "support/invariant.h"

#define ASSERT_PUBLISH(f, ops, result) do {				\
	assert_int_equal(daxpin_publish((f)->pool, ops,			\
			 sizeof(ops) / sizeof((ops)[0]), NULL, NULL), result); \
	dp_invariants((f)->pool);						\
} while (0)

static struct daxpin_op keep(struct daxpin_extent extent)
{
	return (struct daxpin_op) { .type = DAXPIN_OP_KEEP, .extent = extent };
}

static struct daxpin_op retire(struct daxpin_extent extent)
{
	return (struct daxpin_op) { .type = DAXPIN_OP_RETIRE, .extent = extent };
}

static struct daxpin_op set(struct daxpin_extent extent, uint64_t offset,
			    uint64_t value)
{
	return (struct daxpin_op) { .type = DAXPIN_OP_SET, .extent = extent,
		.offset = offset, .value = value };
}

static struct daxpin_op root(const char *name, struct daxpin_extent extent)
{
	return (struct daxpin_op) { .type = DAXPIN_OP_ROOT, .extent = extent,
		.name = name };
}

static const struct daxpin_extent nothing;

static enum daxpin_state state_of(struct fixture *f, struct daxpin_extent extent)
{
	enum daxpin_state state = DAXPIN_STATE_FREE;
	int ret = daxpin_state(f->pool, extent, &state);

	assert_true(!ret || ret == -ESTALE);
	return state;
}

static uint64_t value_at(struct fixture *f, struct daxpin_extent extent,
			uint64_t offset)
{
	uint64_t *word = daxpin_ptr(f->pool, extent, offset);

	assert_non_null(word);
	return *word;
}

static void assert_root(struct fixture *f, const char *name,
			struct daxpin_extent extent)
{
	struct daxpin_extent found;
	int ret = daxpin_root(f->pool, name, &found);

	if (!extent.addr) {
		assert_int_equal(ret, -ENOENT);
		return;
	}
	assert_int_equal(ret, 0);
	assert_true(found.addr == extent.addr);
}

/* ------------------------------------ the operation that failed, and errmsg */

/*
 * The publish fails with this error at this operation, and errmsg contains the words.
 */
static void assert_fails_at(struct fixture *f, const struct daxpin_op *ops,
			    size_t count, int error, size_t at,
			    const char *words)
{
	char errmsg[400] = "old";
	const struct daxpin_publish_options options = {
		.size = sizeof(options), .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	size_t failed = 1000;

	assert_int_equal(daxpin_publish(f->pool, ops, count, &options, &failed),
			 error);
	assert_int_equal(failed, at);
	if (!strstr(errmsg, words))
		fail_msg("\"%s\" does not contain \"%s\"", errmsg, words);
	assert_int_equal(daxpin_publish(f->pool, ops, count, NULL, NULL), error);
}

static void errmsg_and_failed_name_the_operation_that_fails(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent a = live(f, 4096), b = reserve(f, 4096);
	struct daxpin_extent gone = live(f, 4096), held = reserve(f, 4096);
	struct daxpin_op stale[] = { keep(b), retire(gone) };
	struct daxpin_op busy[] = { retire(a), keep(b), keep(held) };
	struct daxpin_op twice[] = { set(a, 8, 1), keep(b), set(a, 8, 2) };
	struct daxpin_op nameless[] = {
		keep(b), root("none", (struct daxpin_extent) { 0, 0 })
	};
	struct daxpin_op range[] = { retire(a), keep(b) };
	struct daxpin_op again[] = { keep(a) };

	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, gone), 0);
	assert_fails_at(f, stale, 2, -ESTALE, 1, "operation 1 (RETIRE of");
	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_WRITE), 0);
	assert_fails_at(f, busy, 3, -EBUSY, 2, "DAXPIN_OP_WRITERS");
	assert_int_equal(daxpin_drop(f->pool, held), 0);
	assert_fails_at(f, twice, 3, -EINVAL, 2, "sets the same word");
	assert_fails_at(f, nameless, 2, -ENOENT, 1, "(ROOT \"none\")");
	range[1].offset = 4097;
	assert_fails_at(f, range, 2, -EINVAL, 1, "operation 1 (KEEP of");
	assert_fails_at(f, again, 1, -EINVAL, 0, "is not reserved");
}

/* Each sentence names the one cause, with what was given. */
static void errmsg_of_einval_names_the_cause(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent a = live(f, 8192), b = reserve(f, 4096);
	struct daxpin_extent none = { 0, 0 };
	struct daxpin_op odd = set(a, 12, 1), past = set(a, 8192, 1);
	struct daxpin_op early = set(b, 0, 1), unused = retire(a), unknown = keep(b);
	struct daxpin_op range = keep(b), durable = keep(b), nowhere = retire(none);
	struct daxpin_op unkept = retire(b), nameless = root("", a), flags = keep(b);
	struct daxpin_op kept[] = { keep(b), retire(b) };
	struct daxpin_op gone[] = { retire(a), set(a, 0, 1) };
	struct daxpin_op names[] = { root("n", a), root("n", none) };

	assert_fails_at(f, &odd, 1, -EINVAL, 0, "offset 12 is not a multiple of 8");
	assert_fails_at(f, &past, 1, -EINVAL, 0,
			"offset 8192 is not inside the extent of 8192 bytes");
	assert_fails_at(f, &early, 1, -EINVAL, 0, "or in the same call");
	unused.value = 1;
	assert_fails_at(f, &unused, 1, -EINVAL, 0, "does not use the field value");
	unknown.type = 77;
	assert_fails_at(f, &unknown, 1, -EINVAL, 0, "there is no type 77");
	range.length = 4097;
	assert_fails_at(f, &range, 1, -EINVAL, 0,
			"offset 0 and length 4097 are not inside the extent of 4096");
	durable.flags = DAXPIN_OP_PERSISTED;
	durable.length = 1;
	assert_fails_at(f, &durable, 1, -EINVAL, 0, "DAXPIN_OP_PERSISTED");
	flags.flags = 0x80;
	assert_fails_at(f, &flags, 1, -EINVAL, 0, "flags 0x80");
	assert_fails_at(f, &nowhere, 1, -EINVAL, 0, "not that of an extent");
	assert_fails_at(f, &unkept, 1, -EINVAL, 0, "daxpin_cancel()");
	assert_fails_at(f, &nameless, 1, -EINVAL, 0, "NULL or empty");
	assert_fails_at(f, kept, 2, -EINVAL, 1, "operation 0 of the call keeps");
	assert_fails_at(f, gone, 2, -EINVAL, 1, "operation 0 of the call retires");
	assert_fails_at(f, names, 2, -EINVAL, 1, "changes the same name");
}

static void errmsg_of_a_retired_extent_speaks_of_the_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent a = live(f, 4096);
	struct daxpin_op again = retire(a);

	assert_int_equal(daxpin_hold(f->pool, a, DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, a), 0);
	assert_fails_at(f, &again, 1, -EALREADY, 0, "the extent is retired already");
	assert_int_equal(daxpin_drop(f->pool, a), 0);
	assert_fails_at(f, &again, 1, -ESTALE, 0, "the extent was freed");
}

static void a_publish_that_fails_as_a_whole_names_no_operation(void **state)
{
	struct fixture *f = *state;
	static struct daxpin_op ops[DAXPIN_OPS_MAX + 1];

	assert_fails_at(f, ops, DAXPIN_OPS_MAX + 1, -E2BIG, DAXPIN_OPS_MAX + 1,
			"249 operations");
	assert_fails_at(f, ops, 0, -EINVAL, 0, "an argument is invalid");
}

static void a_publish_that_succeeds_empties_errmsg(void **state)
{
	struct fixture *f = *state;
	struct daxpin_op op = keep(reserve(f, 4096));
	char errmsg[100] = "old";
	struct daxpin_publish_options options = {
		.size = sizeof(options), .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	size_t failed = 77;

	assert_int_equal(daxpin_publish(f->pool, &op, 1, &options, &failed), 0);
	assert_string_equal(errmsg, "");
	assert_int_equal(failed, 77);
	op.type = DAXPIN_OP_RETIRE;
	options.flags = 1;
	assert_int_equal(daxpin_publish(f->pool, &op, 1, &options, &failed),
			 -EINVAL);
	assert_int_equal(failed, 1);
	assert_non_null(strstr(errmsg, "0x1"));
	op.reserved[1] = 1;
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -EINVAL);
}

/* -------------------------------------------------------- what a batch does */

static void a_batch_survives_a_reopen(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent old = live(f, 8192), a = reserve(f, 4096);
	struct daxpin_extent b = reserve(f, 1 << 20), found;
	struct daxpin_op ops[] = {
		keep(a), root("b", b), retire(old), keep(b), root("a", a),
		set(b, 4096, 77), set(a, 4088, 78),
	};

	ASSERT_PUBLISH(f, ops, 0);
	assert_int_equal(state_of(f, a), DAXPIN_STATE_LIVE);
	assert_int_equal(state_of(f, b), DAXPIN_STATE_LIVE);
	assert_int_equal(state_of(f, old), DAXPIN_STATE_FREE);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	assert_root(f, "a", a);
	assert_root(f, "b", b);
	assert_int_equal(daxpin_extent_at(f->pool, old.addr, &found), -ENOENT);
	assert_int_equal(daxpin_root(f->pool, "a", &found), 0);
	assert_int_equal(value_at(f, found, 4088), 78);
	assert_int_equal(daxpin_root(f->pool, "b", &found), 0);
	assert_int_equal(value_at(f, found, 4096), 77);
}

static void a_batch_spans_segments(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent a = reserve(f, 30 << 20), b = reserve(f, 30 << 20);
	struct daxpin_op ops[] = { keep(b), keep(a), set(b, 0, 1), set(a, 0, 2) };

	assert_true(a.addr >> 25 != b.addr >> 25);
	ASSERT_PUBLISH(f, ops, 0);
	assert_int_equal(value_at(f, a, 0), 2);
	assert_int_equal(value_at(f, b, 0), 1);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(daxpin_extent_at(f->pool, a.addr, &a), 0);
	assert_int_equal(daxpin_extent_at(f->pool, b.addr, &b), 0);
}

static void the_largest_batch_is_published(void **state)
{
	static struct daxpin_op ops[DAXPIN_OPS_MAX + 1];
	static struct daxpin_extent extent[DAXPIN_OPS_MAX + 1];
	struct fixture *f = *state;
	uint64_t before = free_bytes(f);

	for (size_t i = 0; i <= DAXPIN_OPS_MAX; i++) {
		extent[i] = reserve(f, 4096);
		ops[i] = keep(extent[i]);
	}
	ASSERT_PUBLISH(f, ops, -E2BIG);
	assert_int_equal(state_of(f, extent[0]), DAXPIN_STATE_RESERVED);
	assert_int_equal(daxpin_publish(f->pool, ops, DAXPIN_OPS_MAX,
					NULL, NULL), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent[DAXPIN_OPS_MAX]), 0);
	for (size_t i = 0; i < DAXPIN_OPS_MAX; i++) {
		assert_int_equal(state_of(f, extent[i]), DAXPIN_STATE_LIVE);
		ops[i] = retire(extent[i]);
	}
	assert_int_equal(daxpin_publish(f->pool, ops, DAXPIN_OPS_MAX,
					NULL, NULL), 0);
	assert_int_equal(free_bytes(f), before);
	dp_invariants(f->pool);
}

static void a_retired_extent_of_a_batch_waits_for_its_holder(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent old = live(f, 4096), new = reserve(f, 4096);
	struct daxpin_op ops[] = { keep(new), retire(old) };

	assert_int_equal(daxpin_hold(f->pool, old, DAXPIN_HOLD_READ), 0);
	ASSERT_PUBLISH(f, ops, 0);
	assert_int_equal(state_of(f, old), DAXPIN_STATE_RETIRED);
	assert_int_equal(daxpin_drop(f->pool, old), 0);
	assert_int_equal(state_of(f, old), DAXPIN_STATE_FREE);
}

/* ------------------------------------------------------- all, or none at all */

/* Asserts that the batch is refused, changes nothing and leaves nothing claimed. */
static void assert_refused(struct fixture *f, struct daxpin_op bad, int error)
{
	struct daxpin_extent live_one = live(f, 4096), new = reserve(f, 4096);
	struct daxpin_op ops[] = {
		keep(new), retire(live_one), root("r", new),
		set(live_one, 8, 1), bad,
	};
	struct daxpin_op good[] = { keep(new), retire(live_one) };

	/* A SET and a RETIRE of one extent exclude each other. */
	ops[3] = set(new, 8, 1);
	ASSERT_PUBLISH(f, ops, error);
	ops[4] = ops[0];
	ops[0] = bad;
	ASSERT_PUBLISH(f, ops, error);
	assert_root(f, "r", nothing);
	assert_int_equal(state_of(f, new), DAXPIN_STATE_RESERVED);
	assert_int_equal(state_of(f, live_one), DAXPIN_STATE_LIVE);
	assert_int_equal(value_at(f, new, 8), 0);
	ASSERT_PUBLISH(f, good, 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, new), 0);
}

static void a_refused_batch_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent reserved = reserve(f, 4096), held = reserve(f, 4096);
	struct daxpin_extent alive = live(f, 4096), over = live(f, 4096);
	struct daxpin_extent retired = live(f, 4096), named = live(f, 4096);
	struct daxpin_op name = root("name", named);

	assert_int_equal(daxpin_publish(f->pool, &name, 1, NULL, NULL), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, over), 0);
	/* This extent's block is that of `over`, so no batch below names both. */
	reserve(f, 4096);
	assert_int_equal(daxpin_hold(f->pool, retired, DAXPIN_HOLD_READ), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, retired), 0);
	assert_int_equal(daxpin_hold(f->pool, held, DAXPIN_HOLD_WRITE), 0);

	assert_refused(f, keep(alive), -EINVAL);
	assert_refused(f, keep(held), -EBUSY);
	assert_refused(f, keep(over), -ESTALE);
	assert_refused(f, keep(retired), -EALREADY);
	assert_refused(f, retire(reserved), -EINVAL);
	assert_refused(f, retire(over), -ESTALE);
	assert_refused(f, retire(retired), -EALREADY);
	assert_refused(f, retire(named), -EBUSY);
	assert_refused(f, set(reserved, 0, 1), -EINVAL);
	assert_refused(f, set(over, 0, 1), -ESTALE);
	assert_refused(f, set(retired, 0, 1), -EALREADY);
	assert_refused(f, set(alive, 4096, 1), -EINVAL);
	assert_refused(f, set(alive, 4092, 1), -EINVAL);
	assert_refused(f, set(alive, UINT64_MAX - 7, 1), -EINVAL);
	assert_refused(f, root("x", reserved), -EINVAL);
	assert_refused(f, root("x", over), -ESTALE);
	assert_refused(f, root("x", retired), -EALREADY);
	assert_refused(f, root("x", nothing), -ENOENT);
	assert_refused(f, root("", alive), -EINVAL);
	assert_refused(f, root(NULL, alive), -EINVAL);
	assert_refused(f, root("r", alive), -EINVAL);
	assert_refused(f, (struct daxpin_op) { .extent = alive }, -EINVAL);
	assert_refused(f, (struct daxpin_op) { .type = 5, .extent = alive },
		       -EINVAL);
	assert_int_equal(daxpin_drop(f->pool, retired), 0);
	assert_int_equal(daxpin_drop(f->pool, held), 0);
}

/* Fields that an operation does not use may get a meaning later, so they must be 0. */
static void unused_fields_must_be_zero(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent alive = live(f, 4096);
	struct daxpin_op op;

	for (int type = DAXPIN_OP_KEEP; type <= DAXPIN_OP_ROOT; type++) {
		bool is_keep = type == DAXPIN_OP_KEEP;
		struct daxpin_extent extent = is_keep ? reserve(f, 4096) : alive;
		const char *name = type == DAXPIN_OP_ROOT ? "n" : NULL;
		struct daxpin_op good = { .type = type, .extent = extent,
					  .name = name };

		op = good;
		op.flags = is_keep ? 4 : 1;
		assert_refused(f, op, -EINVAL);
		op = good;
		op.length = 8;
		if (!is_keep)
			assert_refused(f, op, -EINVAL);
		op = good;
		op.value = 1;
		if (type != DAXPIN_OP_SET)
			assert_refused(f, op, -EINVAL);
		op = good;
		op.name = name ? NULL : "n";
		assert_refused(f, op, -EINVAL);
		op = good;
		op.offset = 8;
		if (!is_keep && type != DAXPIN_OP_SET)
			assert_refused(f, op, -EINVAL);
	}
}

static void setting_one_word_twice_in_a_batch_is_einval(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent alive = live(f, 4096), new = reserve(f, 4096);
	struct daxpin_op keeps[] = { keep(new), keep(new) };
	struct daxpin_op retires[] = { retire(alive), retire(alive) };
	struct daxpin_op sets[] = { set(alive, 8, 1), set(alive, 8, 2) };
	struct daxpin_op roots[] = { root("a", alive), root("a", alive) };
	struct daxpin_op set_retired[] = { retire(alive), set(alive, 8, 2) };
	struct daxpin_op name_retired[] = { root("a", alive), retire(alive) };
	struct daxpin_op two_names[] = { root("a", alive), root("b", alive) };
	struct daxpin_op no_names[] = { root("a", nothing), root("b", nothing) };

	ASSERT_PUBLISH(f, keeps, -EINVAL);
	ASSERT_PUBLISH(f, retires, -EINVAL);
	ASSERT_PUBLISH(f, sets, -EINVAL);
	ASSERT_PUBLISH(f, roots, -EINVAL);
	ASSERT_PUBLISH(f, set_retired, -EINVAL);
	ASSERT_PUBLISH(f, name_retired, -EINVAL);
	ASSERT_PUBLISH(f, two_names, 0);
	ASSERT_PUBLISH(f, no_names, 0);
	assert_int_equal(state_of(f, new), DAXPIN_STATE_RESERVED);
}

static const size_t counts[] = { 2, 3, 15, 16, 17, 31, 32, 33, 64, 65,
				 128, 129, DAXPIN_OPS_MAX };

/* The last SET is of the same word as each of the others. */
static void a_word_set_twice_is_found_in_a_batch_of_any_size(void **state)
{
	struct daxpin_op ops[DAXPIN_OPS_MAX];
	struct fixture *f = *state;
	struct daxpin_extent words = live(f, 8192);

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t last = counts[i] - 1;

		for (size_t j = 0; j <= last; j++)
			ops[j] = set(words, j * 24 % 8192, j);
		assert_int_equal(daxpin_publish(f->pool, ops, last + 1, NULL,
						NULL), 0);
		for (size_t j = 0; j < last; j++) {
			ops[last].offset = ops[j].offset;
			assert_fails_at(f, ops, last + 1, -EINVAL, last,
					"sets the same word");
		}
	}
}

/* The KEEPs and the SETs are in opposite orders, then in the same. */
static void a_batch_of_any_size_sets_words_of_what_it_keeps(void **state)
{
	struct daxpin_op ops[DAXPIN_OPS_MAX + 1];
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t half = counts[i] / 2;

		for (size_t order = 0; order < 2; order++) {
			for (size_t j = 0; j < half; j++) {
				struct daxpin_extent new = reserve(f, 4096);

				ops[j] = keep(new);
				ops[order ? half + j : 2 * half - 1 - j] =
					set(new, 8, j + 1);
			}
			assert_int_equal(daxpin_publish(f->pool, ops, 2 * half, NULL,
							NULL), 0);
			for (size_t j = 0; j < half; j++)
				assert_int_equal(value_at(f, ops[j].extent, 8), j + 1);
		}
	}
}

static void an_extent_kept_twice_is_found_in_a_batch_of_any_size(void **state)
{
	struct daxpin_op ops[DAXPIN_OPS_MAX];
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t last = counts[i] - 1;
		struct daxpin_extent new = reserve(f, 4096);

		for (size_t j = 0; j < last; j++)
			ops[j] = keep(reserve(f, 4096));
		for (size_t j = 0; j < last; j += 1 + last / 5) {
			ops[last] = ops[j];
			assert_fails_at(f, ops, last + 1, -EINVAL, last,
					"keeps the same extent");
		}
		ops[last] = keep(new);
		assert_int_equal(daxpin_publish(f->pool, ops, last + 1, NULL,
						NULL), 0);
		assert_int_equal(state_of(f, new), DAXPIN_STATE_LIVE);
	}
}

/* ------------------------------------------------------------------- roots */

static void a_root_can_be_moved_and_removed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent old = live(f, 4096), new = reserve(f, 4096), found;
	struct daxpin_op name[] = { root("index", old) };
	struct daxpin_op replace[] = {
		keep(new), root("index", new), retire(old),
	};
	struct daxpin_op again = root("index", new);
	struct daxpin_op gone[] = { root("index", nothing), retire(new) };

	assert_int_equal(daxpin_root(f->pool, "index", &found), -ENOENT);
	ASSERT_PUBLISH(f, name, 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, old), -EBUSY);
	ASSERT_PUBLISH(f, replace, 0);
	assert_root(f, "index", new);
	assert_int_equal(daxpin_publish(f->pool, &again, 1, NULL, NULL), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, new), -EBUSY);
	assert_int_equal(fixture_reopen(f), 0);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_root(f->pool, "index", &new), 0);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, new), -EBUSY);
	gone[1].extent = new;
	ASSERT_PUBLISH(f, gone, 0);
	assert_root(f, "index", nothing);
	assert_int_equal(state_of(f, new), DAXPIN_STATE_FREE);
	assert_int_equal(fixture_reopen(f), 0);
	assert_root(f, "index", nothing);
}

static void an_extent_with_two_names_is_retired_after_both_are_removed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096);
	struct daxpin_op names[] = { root("a", extent), root("b", extent) };
	struct daxpin_op one[] = { root("a", nothing), retire(extent) };
	struct daxpin_op both[] = {
		root("a", nothing), retire(extent), root("b", nothing),
	};

	ASSERT_PUBLISH(f, names, 0);
	ASSERT_PUBLISH(f, one, -EBUSY);
	assert_root(f, "a", extent);
	ASSERT_PUBLISH(f, both, 0);
	assert_root(f, "b", nothing);
}

static void root_names_have_limits(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096), found;
	char longest[DAXPIN_ROOT_NAME_MAX] = { 0 };
	char longer[DAXPIN_ROOT_NAME_MAX + 1] = { 0 };
	struct daxpin_op op = root(longest, extent);

	memset(longest, 'x', DAXPIN_ROOT_NAME_MAX - 1);
	memset(longer, 'x', DAXPIN_ROOT_NAME_MAX);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	op.name = longer;
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL),
			 -ENAMETOOLONG);
	assert_int_equal(daxpin_root(f->pool, longer, &found), -ENAMETOOLONG);
	assert_int_equal(daxpin_root(f->pool, "", &found), -EINVAL);
	assert_int_equal(daxpin_root(f->pool, NULL, &found), -EINVAL);
	assert_int_equal(daxpin_root(f->pool, longest, NULL), -EINVAL);
	assert_int_equal(fixture_reopen(f), 0);
	assert_root(f, longest, extent);
}

struct names {
	char name[4][DAXPIN_ROOT_NAME_MAX];
	struct daxpin_extent extent[4];
	int count, most;
};

static int note_name(struct daxpin_pool *pool, const char *name,
		     struct daxpin_extent extent, void *arg)
{
	struct names *names = arg;

	assert_true(names->count < 4);
	strcpy(names->name[names->count], name);
	names->extent[names->count++] = extent;
	if (extent.addr)
		assert_int_equal(daxpin_idle(pool, extent), 1);
	return names->count == names->most ? 77 : 0;
}

static void roots_can_be_listed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent a = live(f, 4096), b = live(f, 8192);
	struct daxpin_op ops[] = { root("one", a), root("two", b) };
	struct names names = { .most = -1 };

	assert_int_equal(daxpin_roots(f->pool, note_name, &names), 0);
	assert_int_equal(names.count, 0);
	ASSERT_PUBLISH(f, ops, 0);
	assert_int_equal(daxpin_roots(f->pool, note_name, &names), 0);
	assert_int_equal(names.count, 2);
	for (int i = 0; i < 2; i++) {
		bool one = !strcmp(names.name[i], "one");

		assert_true(one || !strcmp(names.name[i], "two"));
		assert_true(names.extent[i].addr == (one ? a : b).addr);
		assert_true(names.extent[i].gen == (one ? a : b).gen);
	}
	names = (struct names) { .most = 1 };
	assert_int_equal(daxpin_roots(f->pool, note_name, &names), 77);
	assert_int_equal(names.count, 1);
	assert_int_equal(daxpin_roots(f->pool, NULL, NULL), -EINVAL);
}

/* "x0", "x1" and so on name the extent, or are removed. */
static void name_many(struct fixture *f, char letter,
		      struct daxpin_extent extent)
{
	char name[16];

	for (int i = 0; i < (int)DP_ROOTS / 2; i++) {
		struct daxpin_op op = root(name, extent);

		snprintf(name, sizeof(name), "%c%d", letter, i);
		assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL),
				 0);
	}
}

static void assert_many(struct fixture *f, char letter,
			struct daxpin_extent extent)
{
	char name[16];

	for (int i = 0; i < (int)DP_ROOTS / 2; i++) {
		snprintf(name, sizeof(name), "%c%d", letter, i);
		assert_root(f, name, extent);
	}
}

/*
 * There are so many names that their hashes collide. The names that are removed were
 * inserted before the others.
 */
static void names_stay_when_others_are_removed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent one = live(f, 4096), other = live(f, 4096);

	name_many(f, 'a', one);
	name_many(f, 'b', other);
	name_many(f, 'a', nothing);
	assert_many(f, 'a', nothing);
	assert_many(f, 'b', other);
	name_many(f, 'c', one);
	assert_many(f, 'b', other);
	assert_many(f, 'c', one);
	name_many(f, 'b', nothing);
	assert_many(f, 'c', one);
	dp_invariants(f->pool);
}

static void a_root_beyond_the_limit_is_enospc(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = live(f, 4096), found;
	struct daxpin_op op = root(NULL, extent);
	char name[16];

	op.name = name;
	for (unsigned int i = 0; i < DAXPIN_ROOTS_MAX; i++) {
		snprintf(name, sizeof(name), "root %u", i);
		assert_int_equal(daxpin_publish(f->pool, &op, 1,
						NULL, NULL), 0);
	}
	strcpy(name, "one more");
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -ENOSPC);
	dp_invariants(f->pool);
	assert_int_equal(fixture_reopen(f), 0);
	op = root("root 500", nothing);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
	op = root("one more", extent);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(daxpin_root(f->pool, "root 1023", &found), 0);
	assert_int_equal(daxpin_root(f->pool, "root 500", &found), -ENOENT);
}

/* -------------------------------------------------------------------- sets */

static void a_set_needs_a_live_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_op op = set(extent, 16, 5);

	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -EINVAL);
	assert_int_equal(publish(f, DAXPIN_OP_KEEP, extent), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_int_equal(value_at(f, extent, 16), 5);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(fixture_reopen(f), 0);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), -ESTALE);
	assert_int_equal(daxpin_extent_at(f->pool, extent.addr, &extent), 0);
	assert_int_equal(value_at(f, extent, 16), 5);
}

/* Each SET is checked against its own extent, not against that of the SET before it. */
static void each_set_of_a_batch_is_checked_against_its_own_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent large = live(f, 8192), small = live(f, 4096);
	struct daxpin_extent new = reserve(f, 4096), gone = live(f, 4096);
	struct daxpin_op good[] = { set(large, 8, 1), set(large, 4096, 2),
				    set(small, 8, 3), set(large, 16, 4) };
	struct daxpin_op range[] = { set(large, 8, 5), set(small, 4096, 5) };
	struct daxpin_op early[] = { set(large, 8, 5), set(new, 8, 5) };
	struct daxpin_op late[] = { set(small, 8, 5), set(gone, 8, 5) };
	struct daxpin_op alone[] = { set(large, 8, 5), set(small, 8, 5) };
	struct daxpin_op kept[] = { keep(new), set(new, 8, 6), set(new, 16, 7),
				    set(small, 8, 8) };

	ASSERT_PUBLISH(f, good, 0);
	assert_int_equal(value_at(f, large, 4096), 2);
	assert_int_equal(value_at(f, large, 16), 4);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, gone), 0);
	assert_fails_at(f, range, 2, -EINVAL, 1, "operation 1");
	assert_fails_at(f, early, 2, -EINVAL, 1, "operation 1");
	assert_fails_at(f, late, 2, -ESTALE, 1, "operation 1");
	assert_int_equal(daxpin_hold(f->pool, small, DAXPIN_HOLD_WRITE |
				     DAXPIN_HOLD_EXCLUSIVE), 0);
	assert_fails_at(f, alone, 2, -EBUSY, 1, "operation 1");
	assert_int_equal(daxpin_drop(f->pool, small), 0);
	assert_int_equal(value_at(f, large, 8), 1);
	ASSERT_PUBLISH(f, kept, 0);
	assert_int_equal(value_at(f, new, 16), 7);
	/* Every hold was dropped, including those that a failed batch had taken. */
	assert_int_equal(daxpin_holds(f->pool, nothing, NULL, NULL), 0);
}

static void a_set_does_not_count_as_a_writer(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent = reserve(f, 4096);
	struct daxpin_op ops[] = { set(extent, 0, 1), keep(extent) };

	assert_int_equal(daxpin_hold(f->pool, extent, DAXPIN_HOLD_READ), 0);
	ASSERT_PUBLISH(f, ops, 0);
	assert_int_equal(daxpin_drop(f->pool, extent), 0);
}

/* ------------------------------------------------------------------- lanes */

static struct dp_lane_entry root_entry(struct fixture *f, uint32_t slot,
				       uint64_t block)
{
	struct dp_super super = read_super(f, 0);

	return (struct dp_lane_entry) {
		DP_ROOTS_OFFSET + slot * sizeof(struct dp_root) +
		offsetof(struct dp_root, word),
		dp_root_encode(dp_layout_seed(super.uuid), slot,
			       (struct dp_root_word) { block, 0, 0 })
	};
}

static struct dp_lane_entry descriptor_entry(struct fixture *f, uint64_t block,
					     struct dp_word word)
{
	struct dp_super super = read_super(f, 0);
	uint64_t in_segment = block % 8192;

	return (struct dp_lane_entry) {
		block / 8192 * (32 * MIB) + DP_TABLE_OFFSET +
			dp_word_offset(in_segment),
		dp_word_encode(dp_layout_seed(super.uuid), block, word)
	};
}

static void an_open_lane_is_replayed_once(void **state)
{
	struct fixture *f = *state;
	struct dp_word data = { DP_KIND_DATA, 2, 7, 0 };
	struct dp_lane_entry entries[] = {
		descriptor_entry(f, 600, data),
		descriptor_entry(f, 8192 + 700, data),
		{ 600 * 4096 + 8, 4711 },
	};
	struct daxpin_extent extent, other;

	put_open_lane(f, 17, entries, 3);
	f->options.flags = DAXPIN_POOL_READONLY;
	assert_open_fails(f, -EUCLEAN, "open it for writing once");
	f->options.flags = 0;
	open_pool(f);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_extent_at(f->pool, 600 * 4096, &extent), 0);
	assert_int_equal(daxpin_extent_at(f->pool, (8192 + 700) * 4096, &other),
			 0);
	assert_int_equal(value_at(f, extent, 8), 4711);
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, extent), 0);
	close_pool(f);
	open_pool(f);
	assert_int_equal(daxpin_extent_at(f->pool, 600 * 4096, &extent), -ENOENT);
	close_pool(f);
}

static void assert_lane_refused(struct fixture *f, struct dp_lane_entry entry)
{
	uint64_t at = DP_LANES_OFFSET + 3 * sizeof(struct dp_lane);
	struct dp_lane before;

	look(f, 0, at, &before, sizeof(before));
	put_open_lane(f, 3, &entry, 1);
	assert_open_fails(f, -EUCLEAN, "untouched");
	patch(f, 0, at, &before, sizeof(before));
}

static void a_lane_entry_that_is_not_for_a_word_is_refused(void **state)
{
	struct fixture *f = *state;
	struct dp_word data = { DP_KIND_DATA, 2, 7, 0 };
	struct dp_lane_entry good = descriptor_entry(f, 600, data);
	struct dp_lane_entry bad = good;

	bad.addr += 8;			/* the place of another block's word */
	assert_lane_refused(f, bad);
	bad = good;
	bad.value ^= 1;
	assert_lane_refused(f, bad);
	bad = root_entry(f, 5, 600);
	bad.addr += 64;
	assert_lane_refused(f, bad);
	bad.addr = 0;			/* the superblock */
	assert_lane_refused(f, bad);
	bad.addr = DP_COPY_OFFSET;
	assert_lane_refused(f, bad);
	bad.addr = DP_LANES_OFFSET + 64;
	assert_lane_refused(f, bad);
	bad.addr = 2 * MIB + 4;		/* not aligned */
	assert_lane_refused(f, bad);
	bad.addr = 96 * MIB;		/* past the last segment */
	assert_lane_refused(f, bad);
	bad.addr = UINT64_MAX - 7;
	assert_lane_refused(f, bad);
	bad = descriptor_entry(f, 8191, data);	/* past the segment's end */
	assert_lane_refused(f, bad);
	open_pool(f);
	close_pool(f);
}

static void a_damaged_root_is_refused(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent extent;
	struct daxpin_op op;
	uint64_t word;
	char letter;

	open_pool(f);
	extent = live(f, 4096);
	op = root("name", extent);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	close_pool(f);
	look(f, 0, DP_ROOTS_OFFSET, &letter, 1);
	assert_int_equal(letter, 'n');
	patch(f, 0, DP_ROOTS_OFFSET, "m", 1);
	assert_open_fails(f, -EUCLEAN, "root slot 0 at offset 0x10000: the name");
	patch(f, 0, DP_ROOTS_OFFSET, "n", 1);
	look(f, 0, DP_ROOTS_OFFSET + 64 + 48, &word, 8);
	patch(f, 0, DP_ROOTS_OFFSET + 64 + 48, "\0\0\0\0\0\0\0", 8);
	assert_open_fails(f, -EUCLEAN, "root slot 1 at offset 0x10040: the word");
	patch(f, 0, DP_ROOTS_OFFSET + 64 + 48, &word, 8);
	open_pool(f);
	assert_root(f, "name", extent);
	close_pool(f);
}

static void patch_word(struct fixture *f, struct daxpin_extent extent,
		       struct dp_word word)
{
	struct dp_lane_entry entry = descriptor_entry(f, extent.addr / 4096, word);

	patch(f, entry.addr / (32 * MIB), entry.addr % (32 * MIB),
	      &entry.value, 8);
}

/* Leaves the state after a repair: there is a name, but it leads to no extent. Returns
 * the extent that it had; the pool is closed. */
static struct daxpin_extent stale_root(struct fixture *f)
{
	struct dp_word none = { DP_KIND_FREE, 1, 9, 0 };
	struct daxpin_extent extent;
	struct daxpin_op op;

	open_pool(f);
	extent = live(f, 4096);
	op = root("name", extent);
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	close_pool(f);
	patch_word(f, extent, none);
	return extent;
}

static void a_root_whose_extent_is_gone_is_stale(void **state)
{
	struct fixture *f = *state;
	struct names names = { .most = -1 };
	struct daxpin_extent found;
	struct daxpin_op op;

	stale_root(f);
	open_pool(f);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_root(f->pool, "name", &found), -ESTALE);
	assert_int_equal(daxpin_roots(f->pool, note_name, &names), 0);
	assert_int_equal(names.count, 1);
	assert_true(!names.extent[0].addr && !names.extent[0].gen);
	op = root("name", live(f, 4096));
	assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	assert_root(f, "name", op.extent);
	dp_invariants(f->pool);
	close_pool(f);
}

/* A root has 15 bits of a generation. */
static void a_stale_root_names_no_later_extent(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent was = stale_root(f), extent, found;
	struct daxpin_op op;
	uint32_t reused = 0;

	open_pool(f);
	while (reused <= DP_ROOT_GEN_MASK) {
		extent = live(f, 4096);
		reused += extent.addr == was.addr;
		assert_int_equal(daxpin_root(f->pool, "name", &found), -ESTALE);
		op = retire(extent);
		assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL), 0);
	}
	close_pool(f);
}

/* The same, if generations were reached in other opens. */
static void a_root_stays_stale(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent was = stale_root(f), found;
	struct dp_word same = { DP_KIND_DATA, 1, was.gen & DP_WORD_GEN_MASK, 0 };

	open_pool(f);
	close_pool(f);
	patch_word(f, was, same);
	open_pool(f);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_root(f->pool, "name", &found), -ESTALE);
	close_pool(f);
}

/* ----------------------------------------------------------------- threads */

#define THREADS	4
#define ROUNDS	400
#define NAMES	700		/* kept names: so many that their hashes collide */

static struct {
	struct fixture *f;
	struct daxpin_extent index;
	_Atomic uint64_t value;
} world;

/* Each thread sets its own word, all in one cache line, and one word that all share. */
static void *set_words(void *arg)
{
	uint64_t me = (uintptr_t)arg;

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		struct daxpin_op ops[] = {
			set(world.index, me * 8, i),
			set(world.index, 512, atomic_fetch_add(&world.value, 1)),
			set(world.index, 1024 + me * 8, i),
		};

		assert_int_equal(daxpin_publish(world.f->pool, ops, 1 + i % 3,
						NULL, NULL),
				 0);
	}
	return NULL;
}

/* Replaces one extent by another, and the root that two threads share with it. */
static void *replace(void *arg)
{
	char name[8] = { 'a' + (uintptr_t)arg / 2 };
	struct daxpin_pool *pool = world.f->pool;
	struct daxpin_extent old, new;
	int ret;

	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(daxpin_reserve(pool, 8192, 0, &new), 0);
		do {
			ret = daxpin_root(pool, name, &old);
			assert_int_equal(ret, 0);
			ret = daxpin_publish(pool, (struct daxpin_op[]) {
				keep(new), root(name, new), retire(old),
			}, 3, NULL, NULL);
		} while (ret == -EBUSY || ret == -ESTALE || ret == -EALREADY);
		assert_int_equal(ret, 0);
	}
	return NULL;
}

/* Each thread publishes and removes names of its own. */
static void *name_and_forget(void *arg)
{
	struct daxpin_pool *pool = world.f->pool;
	char name[2][16];

	for (int i = 0; i < ROUNDS; i++) {
		for (int j = 0; j < 2; j++) {
			struct daxpin_op op = root(name[j], world.index);

			snprintf(name[j], sizeof(name[j]), "%d of %d",
				 (i + j) % 37, (int)(uintptr_t)arg);
			assert_int_equal(daxpin_publish(pool, &op, 1, NULL,
							NULL), 0);
		}
		for (int j = 0; j < 2; j++) {
			struct daxpin_op op = root(name[j], nothing);

			assert_int_equal(daxpin_publish(pool, &op, 1, NULL,
							NULL), 0);
		}
	}
	atomic_fetch_add(&world.value, 1);
	return NULL;
}

/* A name that is kept must be found at any time. Another may be found or not. */
static void look_up(struct daxpin_extent old, int i)
{
	struct daxpin_extent found;
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "%d", i % NAMES);
	assert_int_equal(daxpin_root(world.f->pool, name, &found), 0);
	assert_true(found.addr == old.addr && found.gen == old.gen);
	snprintf(name, sizeof(name), "%d of 1", i % 37);
	ret = daxpin_root(world.f->pool, name, &found);
	assert_true(ret == -ENOENT || !ret);
	assert_true(ret || (found.addr == world.index.addr &&
			    found.gen == world.index.gen));
}

static void *name_or_look_up(void *arg)
{
	struct daxpin_extent old;

	if ((uintptr_t)arg % 2)
		return name_and_forget(arg);
	assert_int_equal(daxpin_root(world.f->pool, "0", &old), 0);
	for (int i = 0; atomic_load(&world.value) < THREADS / 2; i++)
		look_up(old, i);
	return NULL;
}

static void run_threads(void *(*fn)(void *))
{
	pthread_t thread[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, fn,
						(void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void threads_set_words_of_one_cache_line(void **state)
{
	struct fixture *f = *state;

	world.f = f;
	world.index = live(f, 4096);
	world.value = 0;
	run_threads(set_words);
	for (uint64_t i = 0; i < THREADS; i++)
		assert_int_equal(value_at(f, world.index, i * 8), ROUNDS);
	dp_invariants(f->pool);
	assert_int_equal(daxpin_idle(f->pool, world.index), 1);
}

static void names_are_found_while_others_are_added_and_removed(void **state)
{
	struct fixture *f = *state;
	struct daxpin_extent old = live(f, 4096);
	char name[16];

	world.f = f;
	world.index = live(f, 4096);
	world.value = 0;
	for (int i = 0; i < NAMES; i++) {
		struct daxpin_op op = root(name, old);

		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(daxpin_publish(f->pool, &op, 1, NULL, NULL),
				 0);
	}
	run_threads(name_or_look_up);
	dp_invariants(f->pool);
	/* No name refers to the extent any more, so it can be retired. */
	assert_int_equal(publish(f, DAXPIN_OP_RETIRE, world.index), 0);
}

static void threads_replace_the_extent_of_a_shared_name(void **state)
{
	struct fixture *f = *state;
	uint64_t before = free_bytes(f);
	struct daxpin_op ops[] = {
		root("a", live(f, 8192)), root("b", live(f, 8192)),
	};

	world.f = f;
	ASSERT_PUBLISH(f, ops, 0);
	run_threads(replace);
	dp_invariants(f->pool);
	assert_int_equal(free_bytes(f), before - 2 * 8192);
}

#define TEST(name, setup)	\
	cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_batch_survives_a_reopen, fixture_setup),
		TEST(a_batch_spans_segments, fixture_setup),
		TEST(the_largest_batch_is_published, fixture_setup),
		TEST(a_retired_extent_of_a_batch_waits_for_its_holder,
		     fixture_setup),
		TEST(a_refused_batch_changes_nothing, fixture_setup),
		TEST(unused_fields_must_be_zero, fixture_setup),
		TEST(setting_one_word_twice_in_a_batch_is_einval, fixture_setup),
		TEST(a_word_set_twice_is_found_in_a_batch_of_any_size,
		     fixture_setup),
		TEST(a_batch_of_any_size_sets_words_of_what_it_keeps,
		     fixture_setup),
		TEST(an_extent_kept_twice_is_found_in_a_batch_of_any_size,
		     fixture_setup),
		TEST(a_root_can_be_moved_and_removed, fixture_setup),
		TEST(an_extent_with_two_names_is_retired_after_both_are_removed,
		     fixture_setup),
		TEST(root_names_have_limits, fixture_setup),
		TEST(a_root_beyond_the_limit_is_enospc, fixture_setup),
		TEST(names_stay_when_others_are_removed, fixture_setup),
		TEST(a_set_needs_a_live_extent, fixture_setup),
		TEST(each_set_of_a_batch_is_checked_against_its_own_extent,
		     fixture_setup),
		TEST(a_set_does_not_count_as_a_writer, fixture_setup),
		TEST(an_open_lane_is_replayed_once, closed_setup),
		TEST(a_lane_entry_that_is_not_for_a_word_is_refused,
		     closed_setup),
		TEST(a_damaged_root_is_refused, closed_setup),
		TEST(a_root_whose_extent_is_gone_is_stale, closed_setup),
		TEST(a_stale_root_names_no_later_extent, closed_setup),
		TEST(a_root_stays_stale, closed_setup),
		TEST(roots_can_be_listed, fixture_setup),
		TEST(errmsg_and_failed_name_the_operation_that_fails, fixture_setup),
		TEST(errmsg_of_einval_names_the_cause, fixture_setup),
		TEST(errmsg_of_a_retired_extent_speaks_of_the_extent,
		     fixture_setup),
		TEST(a_publish_that_fails_as_a_whole_names_no_operation, fixture_setup),
		TEST(a_publish_that_succeeds_empties_errmsg, fixture_setup),
		TEST(threads_set_words_of_one_cache_line, fixture_setup),
		TEST(threads_replace_the_extent_of_a_shared_name, fixture_setup),
		TEST(names_are_found_while_others_are_added_and_removed, fixture_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
